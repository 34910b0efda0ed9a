//! Networks from ONNX files, as `torch.onnx.export`, tf2onnx and others write them. The crate `temper-onnx` reads the
//! format; here a pipeline names the file.

use temper_core::prelude::*;

plugin! { Model "onnx";
    /// Network of an ONNX file, with its weights.
    pub struct Onnx {
        /// The file.
        pub path: Option<PathBuf> = None,
        /// Subtracted from the pixels before the graph: one value, or one a channel. Leave it out if the graph itself
        /// normalises.
        pub mean: Vec<f64> = vec![0.0],
        /// What the pixels are then divided by: one value, or one a channel.
        pub std: Vec<f64> = vec![1.0],
    }
}

impl Model for Onnx {
    fn build(&self, input: [usize; 3], classes: usize) -> Result<Network> {
        let Some(path) = &self.path else {
            return Err(Error::refused("`path` of onnx is missing: name the ONNX file"));
        };
        // The errors of `temper_onnx` name the file.
        let imported = temper_onnx::read_normalised(path, &self.mean, &self.std);
        let imported = imported.map_err(|error| Error::refused(error.to_string()))?;
        let network = imported.network;
        let [c, h, w] = network.input_shape();
        if network.input_shape() != input || network.classes() != classes {
            return Err(Error::refused(format!(
                "{} is a network for images of {c} x {h} x {w} and {} classes, the images are of {} x {} x {}, with \
                 {classes} classes",
                path.display(),
                network.classes(),
                input[0],
                input[1],
                input[2]
            )));
        }
        Ok(network)
    }

    fn weights(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}
