//! Comparison of the evaluations of a run or a command with each other, and the warnings that follow from it.

use std::collections::BTreeSet;

use temper_results::{Evaluation, Warning};

use crate::checks::{of_inspection, of_network, together};
use crate::optimality::optimality;
use crate::seen::{NetworkName, Seen, Together};
use crate::{Inspection, Outcome};

/// The evaluations of a run or a command, with the warnings that need all of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Compared {
    /// The evaluations, in their order.
    pub evaluations: Vec<Evaluation>,
    /// Warnings about all numbers of a network.
    pub warnings: Vec<Warning>,
}

/// Compares evaluations of the same images. Warnings about one of them are added to it; those of `inspections`, one
/// for each network, are about all numbers of that network. `surrogates` are evaluations of surrogate networks on
/// unperturbed images, with which the others are compared and which are not results themselves.
pub fn compare(outcomes: Vec<Outcome>, surrogates: Vec<Outcome>, inspections: &[Inspection]) -> Compared {
    let (mut evaluations, seen): (Vec<Evaluation>, Vec<Seen>) =
        outcomes.into_iter().map(|outcome| (outcome.evaluation, outcome.seen)).unzip();
    let judged: BTreeSet<NetworkName> = seen.iter().map(|seen| seen.network.clone()).collect();
    let surrogates: Vec<Seen> = surrogates.into_iter().map(|outcome| outcome.seen).collect();
    let seen: Vec<&Seen> = seen.iter().chain(&surrogates).collect();
    let all = Together { all: &seen };
    for (evaluation, optimality) in evaluations.iter_mut().zip(optimality(&all)) {
        evaluation.optimality = optimality;
    }
    for found in together(&all) {
        if let Some(evaluation) = evaluations.get_mut(found.at) {
            evaluation.warnings.push(found.warning);
        }
    }
    let networks = all.widest().into_iter().filter(|seen| judged.contains(&seen.network));
    let several = judged.len() > 1;
    let about = |seen: &Seen| -> Vec<Warning> {
        let inspected = inspections.iter().filter(|inspection| inspection.network == seen.network);
        let inspected = inspected.flat_map(|inspection| {
            of_inspection(&Inspection { averaged: all.averages(&seen.network), ..inspection.clone() })
        });
        let warnings = of_network(seen).into_iter().chain(inspected);
        warnings.map(|warning| if several { warning.about(name(&seen.network)) } else { warning }).collect()
    };
    Compared { evaluations, warnings: networks.flat_map(about).collect() }
}

fn name(network: &NetworkName) -> String {
    match &network.judged_by {
        Some(name) => format!("network `{name}`"),
        None => format!("the {} weights", network.weights),
    }
}
