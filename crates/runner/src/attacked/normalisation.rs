//! Weights of other programs do not record how pixels were normalised. If the natural accuracy is low under
//! the assumed normalisation, the usual ones are tried.

use std::sync::Arc;

use temper_core::nn::Frozen;
use temper_core::{
    Batch, Chosen, Dataset, Goal, Kind, Model, Normalisation, Passes, Source, Subset, Victim, VictimNetwork,
};
use temper_data::Batches;
use temper_evaluate::wilson;
use temper_results::Warning;
use toml::{Table, Value};

use crate::attacked::Opened;
use crate::attacked::networks::AttackedNetwork;
use crate::stored::{About, Stored};

/// From this natural accuracy on the assumption is not questioned.
const GOOD: f64 = 0.9;
/// Number of images on which each normalisation is tried.
const TRIED: usize = 256;

/// Ways that are used whatever the images.
const GENERAL: [Normalisation; 2] = [
    Normalisation { name: "none", mean: &[0.0], std: &[1.0] },
    Normalisation { name: "from -1 to 1", mean: &[0.5], std: &[0.5] },
];

/// Means and standard deviations in use: the general ones, and those of all data sets that are known.
fn usual() -> Vec<Normalisation> {
    let datasets = <dyn Dataset as Kind>::plugins().into_iter();
    let of_datasets = datasets.filter_map(|plugin| {
        Chosen::<dyn Dataset>::by_name(plugin.name).ok().and_then(|dataset| dataset.facts().normalisation)
    });
    GENERAL.into_iter().chain(of_datasets).collect()
}

/// The normalisation assumed for a network that `--model` describes, and a usual normalisation that is much
/// better, if there is one. `None` for a network whose file records its model, or whose natural accuracy is
/// high.
pub(super) fn warning(
    opened: &Opened,
    target: &AttackedNetwork,
    natural: f64,
) -> anyhow::Result<Option<Warning>> {
    if !target.told || natural >= GOOD {
        return Ok(None);
    }
    let Tried { n, assumed, usual } = tried(opened, target)?;
    let best = usual.iter().map(|(_, right)| *right).max().unwrap_or(0);
    let served: Vec<String> = usual
        .iter()
        .filter(|(_, right)| *right == best)
        .map(|(Normalisation { name, mean, std }, _)| format!("{name}: mean = {mean:?}, std = {std:?}"))
        .collect();
    // The difference must exceed the confidence intervals.
    Ok((wilson(best, n)[0] > wilson(assumed, n)[1]).then(|| {
        let percent = |right: usize| right as f64 * 100.0 / n.max(1) as f64;
        let text = format!(
            "{:.1} % of {n} images are right under the normalisation that was assumed, {:.1} % under another",
            percent(assumed),
            percent(best)
        );
        let advice = format!("if the weights were trained so, add it to --model ({})", served.join("; "));
        Warning::severe("normalisation", text).with_figure(percent(best) / 100.0).advising(advice)
    }))
}

/// How many images a network classifies correctly under each usual normalisation.
pub(crate) struct Tried {
    /// Images that were tried.
    pub(crate) n: usize,
    /// Right ones under the normalisation that its model has.
    pub(crate) assumed: usize,
    /// Right ones under each that its model can have.
    pub(crate) usual: Vec<(Normalisation, usize)>,
}

/// Tries the usual normalisations, unless the file says its own, on images spread evenly over the whole split: the
/// chosen ones may be too few.
pub(super) fn tried(opened: &Opened, target: &AttackedNetwork) -> anyhow::Result<Tried> {
    let images: Arc<dyn Source> = Arc::new(Subset::new(opened.whole_split()?, TRIED));
    let mut all = vec![];
    for normalisation in usual().into_iter().filter(|_| target.told) {
        let Some(frozen) = with(opened, target, normalisation.mean, normalisation.std)? else { continue };
        all.push((normalisation, right(opened, &images, &frozen)?));
    }
    Ok(Tried { n: images.len(), assumed: right(opened, &images, &target.frozen)?, usual: all })
}

/// The network with another normalisation; `None` if its model has no such options, or they do not fit.
fn with(
    opened: &Opened,
    target: &AttackedNetwork,
    mean: &[f64],
    std: &[f64],
) -> anyhow::Result<Option<Frozen>> {
    let Stored { model, parameters, file, .. } = &target.stored;
    let documented = <dyn Model as Kind>::find(model).map_or(&[][..], |plugin| plugin.params);
    let knows = |name: &str| documented.iter().any(|param| param.name == name);
    if !knows("mean") || !knows("std") || mean.len() > 1 && mean.len() != opened.input[0] {
        return Ok(None);
    }
    let values = |values: &[f64]| Value::Array(values.iter().map(|value| Value::Float(*value)).collect());
    let mut options = parameters.clone();
    options.insert("mean".into(), values(mean));
    options.insert("std".into(), values(std));
    let table = Table::from_iter([((*model).to_string(), Value::Table(options))]);
    let model: Chosen<dyn Model> = table.try_into()?;
    let about = About { model, input: opened.input, classes: target.stored.classes.clone(), graph: None };
    let stored = Stored::open(file.clone(), &about, target.numerics.into())?;
    Ok(Some(stored.frozen(opened.device())?))
}

/// How many images a network classifies correctly.
fn right(opened: &Opened, images: &Arc<dyn Source>, network: &Frozen) -> anyhow::Result<usize> {
    let (order, passes) = ((0..images.len()).collect(), Passes::default());
    let mut right = 0;
    for raw in Batches::new(images.clone(), order, opened.batch(), None) {
        let raw = raw.map_err(temper_core::Error::from)?;
        if raw.ids.is_empty() {
            continue;
        }
        let batch = Batch::new(raw, opened.device())?;
        let victim = Victim::new(VictimNetwork::Frozen(network), &batch, Goal::Mistake, &passes)?;
        right += victim.broken(&batch.pixels)?.iter().filter(|broken| !**broken).count();
    }
    Ok(right)
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
