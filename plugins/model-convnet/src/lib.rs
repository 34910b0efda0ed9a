//! A small convolutional network in the manner of LeNet-5 (`LeCun` et al. 1998) and of the MNIST network of
//! Madry et al. 2018, <https://arxiv.org/abs/1706.06083>: convolutions with `ReLU` and pooling, then linear
//! layers.

use temper_core::prelude::*;

plugin! { Model "convnet";
    /// Small convolutional network: for each entry of `channels` a convolution,
    /// ReLU and max pooling; then linear layers.
    pub struct ConvNet {
        /// Output channels of each convolution.
        pub channels: Vec<NonZeroUsize> = vec![nonzero(32), nonzero(64)],
        /// Side of the convolution kernels, odd; padded so that convolutions keep height and width.
        pub kernel: NonZeroUsize = nonzero(3),
        /// Side and distance of the pooling windows; 1 leaves pooling out.
        pub pool: NonZeroUsize = nonzero(2),
        /// Batch norm after each convolution, which then has no bias.
        pub batch_norm: bool = false,
        /// Features of a linear layer with ReLU before the last one; 0 leaves it out.
        pub hidden: usize = 128,
        /// Subtracted from the pixels inside the network: one value, or one a channel.
        pub mean: Vec<f64> = vec![0.5],
        /// What the pixels are then divided by: one value, or one a channel.
        pub std: Vec<f64> = vec![0.5],
    }
}

impl Model for ConvNet {
    fn build(&self, input: [usize; 3], classes: usize) -> Result<Network> {
        let (kernel, pool) = (self.kernel.get(), self.pool.get());
        if kernel.is_multiple_of(2) {
            return Err(Error::refused(format!("`kernel` of convnet must be odd, got {kernel}")));
        }
        let mut network = Network::new(input);
        let mut x = network.normalize(network.input(), &self.mean, &self.std)?;
        for (i, channels) in self.channels.iter().enumerate() {
            let (channels, bias) = (channels.get(), !self.batch_norm);
            let options = Conv2d { channels, kernel, stride: 1, padding: kernel / 2, bias };
            x = network.conv(x, &format!("conv{}", i + 1), options)?;
            if self.batch_norm {
                x = network.batch_norm(x, &format!("bn{}", i + 1));
            }
            x = network.relu(x);
            if pool > 1 {
                x = network.max_pool(x, Pool2d { size: pool, stride: pool, padding: 0 })?;
            }
        }
        let mut last = 1;
        if self.hidden > 0 {
            x = network.linear(x, "fc1", self.hidden)?;
            x = network.relu(x);
            last = 2;
        }
        network.linear(x, &format!("fc{last}"), classes)?;
        Ok(network)
    }
}
