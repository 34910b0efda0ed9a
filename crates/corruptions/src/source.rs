//! A data set whose images are corrupted as they are read.

use std::sync::Arc;

use temper_data::{Error, Fit, Image, Result, Source};

use crate::generator::Generator;
use crate::kind::{Kind, Severity};
use crate::refusal::Refusal;

/// The images of a source, brought to one size, then corrupted in one way.
pub struct Corrupted {
    clean: Arc<dyn Source>,
    generator: Arc<Generator>,
    kind: Kind,
    severity: Severity,
    shape: [usize; 3],
}

impl Corrupted {
    /// Looks at the first image. The error says why it cannot be read, or why images of its shape cannot be corrupted.
    pub fn new(
        clean: Arc<dyn Source>,
        generator: Arc<Generator>,
        kind: Kind,
        severity: Severity,
    ) -> Result<Self, Refusal> {
        let shape = temper_data::shape(&*clean)?;
        generator.check(kind, shape)?;
        Ok(Self { clean, generator, kind, severity, shape })
    }
}

impl Source for Corrupted {
    fn len(&self) -> usize {
        self.clean.len()
    }

    fn classes(&self) -> &[String] {
        self.clean.classes()
    }

    fn read(&self, index: usize) -> Result<(Image, u32)> {
        let (image, label) = self.clean.read(index)?;
        let image = match self.clean.fit() {
            Some(fit) => fit.apply(&image),
            None => image,
        };
        if image.shape != self.shape {
            return Err(Error::Shape { index, got: image.shape, expected: self.shape });
        }
        let id = self.clean.index(index) as u64;
        match self.generator.corrupt(&image, self.kind, self.severity, id) {
            Ok(image) => Ok((image, label)),
            Err(refusal) => {
                let what = format!("image {index}: {refusal}");
                Err(Error::Malformed { file: self.clean.origin().into(), at: None, what })
            }
        }
    }

    fn index(&self, index: usize) -> usize {
        self.clean.index(index)
    }

    /// None: they are fitted before they are corrupted.
    fn fit(&self) -> Option<Fit> {
        None
    }

    fn origin(&self) -> String {
        let (name, severity) = (self.kind.name(), self.severity.get());
        format!(
            "{}, {name} at severity {severity}, {}",
            self.clean.origin(),
            self.generator.origin(self.kind)
        )
    }
}
