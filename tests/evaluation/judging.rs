//! Networks judged as `temper attack` does it: unperturbed, under entries, and inspected.

use std::ops::ControlFlow;
use std::sync::Arc;

use candle_core::Device;
use temper_core::Source;
use temper_evaluate::{BatchGlimpse, Cell, Compared, Entry, Setting, compare, evaluate, inspect};
use temper_nn::Frozen;
use temper_results::{Records, Warning};

use crate::attacks::trained::trained;

/// The stored network.
pub(crate) fn honest() -> Frozen {
    Frozen::new(&trained(1).0).unwrap()
}

/// An entry of this name within a radius, with further keys as lines of TOML.
pub(crate) fn entry(name: &str, radius: f64, keys: &str) -> Entry {
    toml::from_str(&format!("name = \"{name}\"\nradius = {radius:?}\n{keys}")).unwrap()
}

/// A network judged unperturbed, then under each entry.
pub(crate) fn judged(network: &Frozen, source: &Arc<dyn Source>, entries: &[Entry]) -> Compared {
    judged_in(&Setting::new(network, 50, 3, &Device::Cpu), source, entries)
}

/// As [`judged`], in a setting.
pub(crate) fn judged_in(setting: &Setting, source: &Arc<dyn Source>, entries: &[Entry]) -> Compared {
    let network = setting.network;
    let cells = [Cell::clean(source.clone())];
    let natural = Entry { name: "natural".into(), ..Entry::default() };
    let outcomes = std::iter::once(&natural).chain(entries).map(|entry| {
        let watch = &mut |_: &BatchGlimpse| ControlFlow::Continue(());
        evaluate(setting, entry, &cells, &mut Records::in_memory(), watch).unwrap().unwrap()
    });
    let outcomes = outcomes.collect();
    let along = entries.iter().any(|entry| entry.follows_gradients(network.network().classes()));
    compare(outcomes, vec![], &[inspect(setting, &cells[0], along).unwrap().unwrap()])
}

/// All warnings: of each evaluation, then of the network.
pub(crate) fn warnings(compared: &Compared) -> Vec<Warning> {
    let of_evaluations = compared.evaluations.iter().flat_map(|evaluation| &evaluation.warnings);
    of_evaluations.chain(&compared.warnings).cloned().collect()
}

pub(crate) fn ids(warnings: &[Warning]) -> Vec<&str> {
    warnings.iter().map(|warning| &*warning.id).collect()
}
