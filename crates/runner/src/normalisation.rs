//! Weights of other programs do not record how pixels were normalised. If the natural accuracy is low under
//! the assumed normalisation, the usual ones are tried.

use std::collections::BTreeMap;
use std::sync::Arc;

use temper_core::nn::{Classifier, Frozen};
use temper_core::{
    Batch, Chosen, Dataset, Device, Goal, Kind, Model, Normalisation, Passes, Source, Subset, Tensor, Victim,
    VictimNetwork,
};
use temper_data::Batches;
use temper_results::{Warning, wilson};
use toml::{Table, Value};

use crate::interrupt::Interrupt;

/// Natural accuracy at or above which the assumed normalisation is not questioned.
pub(crate) const GOOD: f64 = 0.9;
/// Number of images on which each normalisation is tried.
const TRIED: usize = 256;

/// Normalisations that are used independently of the data set.
const GENERAL: [Normalisation; 2] = [
    Normalisation { name: "none", mean: &[0.0], std: &[1.0] },
    Normalisation { name: "from -1 to 1", mean: &[0.5], std: &[0.5] },
];

/// The usual normalisations: the general ones, and those of all known data sets.
fn usual() -> Vec<Normalisation> {
    let datasets = <dyn Dataset as Kind>::plugins().into_iter();
    let of_datasets = datasets.filter_map(|plugin| {
        Chosen::<dyn Dataset>::by_name(plugin.name).ok().and_then(|dataset| dataset.facts().normalisation)
    });
    GENERAL.into_iter().chain(of_datasets).collect()
}

/// A network whose pixel normalisation is not recorded, and labelled images to try it on.
pub(crate) struct Trial<'a> {
    /// The model's name.
    pub(crate) model: &'a str,
    /// The model's parameters, with the assumed normalisation.
    pub(crate) parameters: &'a Table,
    /// The network with that normalisation.
    pub(crate) network: &'a Frozen,
    pub(crate) weights: BTreeMap<String, Tensor>,
    /// All available images. The network is tried on a subset that is spread evenly over them.
    pub(crate) images: Arc<dyn Source>,
    pub(crate) batch: usize,
    pub(crate) device: &'a Device,
    pub(crate) interrupt: &'a Interrupt,
}

/// Numbers of images that a network classifies correctly under each usual normalisation.
pub(crate) struct Tried {
    /// Number of images tried.
    pub(crate) n: usize,
    /// Number of correct ones under the model's own normalisation.
    pub(crate) assumed: usize,
    /// Numbers of correct ones under each usual normalisation that the model accepts.
    pub(crate) usual: Vec<(Normalisation, usize)>,
}

impl Tried {
    /// Whether the accuracy is so high that the assumed normalisation is not questioned.
    pub(crate) fn is_good(&self) -> bool {
        self.assumed as f64 >= GOOD * self.n as f64
    }

    /// A warning that the assumed normalisation is wrong, if another one is better and the 95 % intervals do not
    /// overlap. `place` is where the user sets the normalisation.
    pub(crate) fn warning(&self, place: &str) -> Option<Warning> {
        let Self { n, assumed, usual } = self;
        let best = usual.iter().map(|(_, right)| *right).max().unwrap_or(0);
        let served: Vec<String> = usual
            .iter()
            .filter(|(_, right)| *right == best)
            .map(|(Normalisation { name, mean, std }, _)| format!("{name}: mean = {mean:?}, std = {std:?}"))
            .collect();
        (wilson(best, *n)[0] > wilson(*assumed, *n)[1]).then(|| {
            let percent = |right: usize| right as f64 * 100.0 / (*n).max(1) as f64;
            let text = format!(
                "{:.1} % of {n} images are right under the normalisation that was assumed, {:.1} % under another",
                percent(*assumed),
                percent(best)
            );
            let advice = format!("if the weights were trained so, add it to {place} ({})", served.join("; "));
            Warning::severe("normalisation", text).with_figure(percent(best) / 100.0).advising(advice)
        })
    }
}

impl Trial<'_> {
    /// Tries the network as it is, and under each usual normalisation that its model accepts.
    pub(crate) fn all(&self) -> anyhow::Result<Tried> {
        self.beside(&self.assumed()?)
    }

    /// Tries the network as it is.
    pub(crate) fn assumed(&self) -> anyhow::Result<Tried> {
        let images = self.tried_on();
        Ok(Tried { n: images.len(), assumed: self.right(&images, self.network)?, usual: vec![] })
    }

    /// Adds the trials of each usual normalisation to `assumed`.
    pub(crate) fn beside(&self, assumed: &Tried) -> anyhow::Result<Tried> {
        Ok(Tried { usual: self.usual(&self.tried_on())?, ..*assumed })
    }

    /// The images that are tried, spread evenly over all.
    fn tried_on(&self) -> Arc<dyn Source> {
        Arc::new(Subset::new(self.images.clone(), TRIED))
    }

    fn usual(&self, images: &Arc<dyn Source>) -> anyhow::Result<Vec<(Normalisation, usize)>> {
        let mut all = vec![];
        for normalisation in usual() {
            let Some(frozen) = self.with(normalisation.mean, normalisation.std)? else { continue };
            all.push((normalisation, self.right(images, &frozen)?));
        }
        Ok(all)
    }

    /// The network with another normalisation; `None` if its model has no such options, or if they do not fit.
    fn with(&self, mean: &[f64], std: &[f64]) -> anyhow::Result<Option<Frozen>> {
        let documented = <dyn Model as Kind>::find(self.model).map_or(&[][..], |plugin| plugin.params);
        let knows = |name: &str| documented.iter().any(|param| param.name == name);
        let network = self.network.network();
        let input = network.input_shape();
        if !knows("mean") || !knows("std") || mean.len() > 1 && mean.len() != input[0] {
            return Ok(None);
        }
        let values = |values: &[f64]| Value::Array(values.iter().map(|value| Value::Float(*value)).collect());
        let mut options = self.parameters.clone();
        options.insert("mean".into(), values(mean));
        options.insert("std".into(), values(std));
        let table = Table::from_iter([(self.model.to_string(), Value::Table(options))]);
        let model: Chosen<dyn Model> = table.try_into()?;
        let network = model.build(input, network.classes())?.with_numerics(network.numerics());
        let classifier = Classifier::new(network, &self.weights)?.to_device(self.device)?;
        Ok(Some(Frozen::new(&classifier)?))
    }

    /// The number of images that a network classifies correctly.
    fn right(&self, images: &Arc<dyn Source>, network: &Frozen) -> anyhow::Result<usize> {
        let (order, passes) = ((0..images.len()).collect(), Passes::default());
        let mut right = 0;
        for raw in Batches::new(images.clone(), order, self.batch, None) {
            if self.interrupt.heard() {
                return Err(self.interrupt.ended("while usual normalisations of the pixels were tried"));
            }
            let raw = raw.map_err(temper_core::Error::from)?;
            if raw.ids.is_empty() {
                continue;
            }
            let batch = Batch::new(raw, self.device)?;
            let victim = Victim::new(VictimNetwork::Frozen(network), &batch, Goal::Mistake, &passes)?;
            right += victim.broken(&batch.pixels)?.iter().filter(|broken| !**broken).count();
        }
        Ok(right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_way_has_as_many_deviations_as_means_and_none_is_zero() {
        for Normalisation { name, mean, std } in usual() {
            assert!(mean.len() == std.len() && [1, 3].contains(&mean.len()), "{name}");
            assert!(std.iter().all(|std| *std > 0.0), "{name}");
        }
    }
}
