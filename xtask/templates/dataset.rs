//! my-dataset: say whose images these are, with a link and their licence, then in which files they lie.

use std::sync::Arc;

use temper_core::prelude::*;

plugin! { Dataset "my-dataset";
    /// Two classes of grey images: darker and brighter than the middle.
    pub struct MyDataset {
        /// Images of each split.
        pub n: NonZeroUsize = nonzero(100),
    }
}

impl Dataset for MyDataset {
    fn open(&self, split: Split) -> Result<Arc<dyn Source>> {
        let purpose = if split == Split::Train { "train" } else { "test" };
        let classes = ["dark", "bright"].map(String::from).to_vec();
        Ok(Arc::new(Grey { n: self.n.get(), rng: Rng::new(0, purpose), classes }))
    }
}

/// One split.
struct Grey {
    n: usize,
    rng: Rng,
    classes: Vec<String>,
}

impl Source for Grey {
    fn len(&self) -> usize {
        self.n
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn read(&self, index: usize) -> Result<(Image, u32), DataError> {
        // From -1 to 1, by index.
        let brightness = self.rng.uniform(&[index as u64], 1)[0];
        let byte = (127.5 * (brightness + 1.0)) as u8;
        Ok((Image::of_bytes([1, 8, 8], vec![byte; 64]), u32::from(brightness > 0.0)))
    }

    fn origin(&self) -> String {
        "drawn by my-dataset".into()
    }
}
