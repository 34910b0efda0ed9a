//! my-model: cite the paper here, with its link, then say where this code deviates from it.

use temper_core::prelude::*;

plugin! { Model "my-model";
    /// Linear layers with ReLU between them.
    /// AUTHORS and YEAR, <https://arxiv.org/abs/NUMBER>.
    pub struct MyModel {
        /// Features of each layer before the last.
        pub hidden: Vec<NonZeroUsize> = vec![nonzero(64)],
        /// Subtracted from the pixels inside the network: one value, or one a channel.
        pub mean: Vec<f64> = vec![0.5],
        /// What the pixels are then divided by: one value, or one a channel.
        pub std: Vec<f64> = vec![0.5],
    }
}

impl Model for MyModel {
    fn build(&self, input: [usize; 3], classes: usize) -> Result<Network> {
        let mut network = Network::new(input);
        let mut x = network.normalize(network.input(), &self.mean, &self.std)?;
        for (i, features) in self.hidden.iter().enumerate() {
            x = network.linear(x, &format!("fc{}", i + 1), features.get())?;
            x = network.relu(x);
        }
        network.linear(x, &format!("fc{}", self.hidden.len() + 1), classes)?;
        Ok(network)
    }
}
