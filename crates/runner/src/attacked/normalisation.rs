//! Weights of other programs do not say how their pixels were normalised. Where natural accuracy is poor under what was assumed, the
//! usual ways are tried.

use std::sync::Arc;

use temper_core::nn::Frozen;
use temper_core::{
    Batch, Chosen, Dataset, Goal, Kind, Model, Network, Normalisation, Passes, Source, Subset, Victim,
};
use temper_data::Batches;
use temper_evaluate::wilson;
use toml::{Table, Value};

use crate::attacked::Opened;
use crate::attacked::networks::Target;
use crate::stored::{About, Stored};

/// A natural accuracy from which on the assumption is not questioned.
const GOOD: f64 = 0.9;
/// Images that each way is tried on.
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

/// What is assumed of a network that `--model` describes, and which usual normalisation serves it much better, if one does; nothing
/// for a network that says itself what it is, or whose natural accuracy is good.
pub(super) fn warning(opened: &Opened, target: &Target, natural: f64) -> anyhow::Result<Option<String>> {
    if !target.told || natural >= GOOD {
        return Ok(None);
    }
    // Not only the images that were chosen: few of them tell nothing.
    let whole = opened.whole_split()?;
    let images: Arc<dyn Source> = Arc::new(Subset::new(whole, TRIED));
    let n = images.len();
    let assumed = right(opened, &images, &target.frozen)?;
    let (mut best, mut served) = (0, vec![]);
    for Normalisation { name, mean, std } in usual() {
        let Some(frozen) = with(opened, target, mean, std)? else { continue };
        let right = right(opened, &images, &frozen)?;
        if right > best {
            (best, served) = (right, vec![]);
        }
        if right == best {
            served.push(format!("{name}: mean = {mean:?}, std = {std:?}"));
        }
    }
    // Beyond what so few images leave open.
    Ok((wilson(best, n)[0] > wilson(assumed, n)[1]).then(|| {
        let percent = |right: usize| right as f64 * 100.0 / n.max(1) as f64;
        format!(
            "{:.1} % of {n} images are right under the normalisation that was assumed, {:.1} % under another: if the weights were trained \
             so, add it to --model ({})",
            percent(assumed),
            percent(best),
            served.join("; ")
        )
    }))
}

/// The network under another normalisation; `None` where its model has no such options, or they do not fit.
fn with(opened: &Opened, target: &Target, mean: &[f64], std: &[f64]) -> anyhow::Result<Option<Frozen>> {
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
    let about = About { model, input: opened.input, classes: target.stored.classes.clone() };
    let stored = Stored::open(file.clone(), &about, target.numerics.into())?;
    Ok(Some(stored.frozen(opened.device())?))
}

/// How many of some images a network gets right.
fn right(opened: &Opened, images: &Arc<dyn Source>, network: &Frozen) -> anyhow::Result<usize> {
    let (order, passes) = ((0..images.len()).collect(), Passes::default());
    let mut right = 0;
    for raw in Batches::new(images.clone(), order, opened.batch(), None) {
        let raw = raw.map_err(temper_core::Error::from)?;
        if raw.ids.is_empty() {
            continue;
        }
        let batch = Batch::new(raw, opened.device())?;
        let victim = Victim::new(Network::Frozen(network), &batch, Goal::Mistake, &passes)?;
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
