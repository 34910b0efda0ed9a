//! How the pixels of attacked networks are normalised, where their files do not say it.

use crate::attacked::{AttackedNetwork, Opened};
use crate::interrupt::Interrupt;
use crate::normalisation::{GOOD, Trial, Tried};

impl Opened {
    /// Adds a warning if the natural accuracy suggests that the assumed normalisation is wrong. Only for
    /// networks whose file does not say how they were trained.
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

    /// How many images a network classifies correctly as it is, and under each usual normalisation if its file does not
    /// say its own.
    pub(crate) fn normalisations(&self, target: usize, interrupt: &Interrupt) -> anyhow::Result<Tried> {
        let trial = self.trial(target, interrupt)?;
        if self.targets[target].told { trial.all() } else { trial.assumed() }
    }

    /// A network and all images of the split: the chosen ones may be too few.
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
