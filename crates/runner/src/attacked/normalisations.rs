//! The pixel normalisation of attacked networks whose files do not record it.

use crate::attacked::{AttackedNetwork, Opened};
use crate::interrupt::Interrupt;
use crate::normalisation::{GOOD, Trial, Tried};

impl Opened {
    /// Adds a warning if the natural accuracy suggests that the assumed normalisation is wrong. Applies only to
    /// networks whose file does not record how they were trained.
    pub(crate) fn warn_of_normalisation(
        &mut self,
        target: usize,
        natural: f64,
        interrupt: &Interrupt,
    ) -> anyhow::Result<()> {
        if self.targets[target].told && natural < GOOD {
            let warning = self.trial(target, interrupt)?.all()?.warning("--model");
            self.warnings.extend(warning);
        }
        Ok(())
    }

    /// Counts the images that a network classifies correctly as it is and, if its file does not record its
    /// normalisation, under each usual one.
    pub(crate) fn normalisations(&self, target: usize, interrupt: &Interrupt) -> anyhow::Result<Tried> {
        let trial = self.trial(target, interrupt)?;
        if self.targets[target].told { trial.all() } else { trial.assumed() }
    }

    /// A network and all images of the split, because the chosen images may be too few.
    fn trial<'a>(&'a self, target: usize, interrupt: &'a Interrupt) -> anyhow::Result<Trial<'a>> {
        let AttackedNetwork { stored, frozen, .. } = &self.targets[target];
        Ok(Trial {
            model: stored.model,
            parameters: &stored.parameters,
            network: frozen,
            weights: stored.classifier.weights(),
            images: self.whole_split()?,
            batch: self.batch(),
            device: &self.device,
            interrupt,
        })
    }
}
