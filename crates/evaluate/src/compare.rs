//! The evaluations of a run or a command together: what they say of each other, and of the network.

use temper_results::{Evaluation, Warning};

use crate::Outcome;
use crate::checks::{of_network, together};
use crate::seen::{NetworkName, Seen, Together};

/// The evaluations of a run or a command, with the warnings that only all of them give.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Compared {
    /// The evaluations, in their order.
    pub evaluations: Vec<Evaluation>,
    /// Warnings about all numbers of a network.
    pub warnings: Vec<Warning>,
}

/// Compares evaluations of the same images. Warnings about one of them are added to it.
pub fn compare(outcomes: Vec<Outcome>) -> Compared {
    let (mut evaluations, seen): (Vec<Evaluation>, Vec<Seen>) =
        outcomes.into_iter().map(|outcome| (outcome.evaluation, outcome.seen)).unzip();
    let seen: Vec<&Seen> = seen.iter().collect();
    let all = Together { all: &seen };
    for found in together(&all) {
        if let Some(evaluation) = evaluations.get_mut(found.at) {
            evaluation.warnings.push(found.warning);
        }
    }
    let networks = all.widest();
    let several = networks.len() > 1;
    let about = |seen: &Seen| -> Vec<Warning> {
        let warnings = of_network(seen).into_iter();
        warnings.map(|warning| if several { warning.about(name(&seen.network)) } else { warning }).collect()
    };
    Compared { evaluations, warnings: networks.into_iter().flat_map(about).collect() }
}

fn name(network: &NetworkName) -> String {
    match &network.judged_by {
        Some(name) => format!("network `{name}`"),
        None => format!("the {} weights", network.weights),
    }
}
