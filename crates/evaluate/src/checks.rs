//! Checks that report when a number should not be trusted, as far as evaluations can detect it.
//!
//! Each check is a file of its own with a [`Check`], entered in [`CHECKS`]. It judges one evaluation by its
//! [`Evidence`], a network by its outputs for unperturbed images or by an [`Inspection`], or all evaluations of
//! a run or a command [`Together`]. Data flows one way: from records and costs to [`Evidence`] and [`Seen`],
//! then to warnings.

mod attack_parameters;
mod black_box;
mod classes;
mod constant_predictions;
mod curve_not_zero;
mod depends_on_batch;
mod incomplete;
mod larger_radius;
mod minimum_norm_elsewhere;
mod minimum_norm_wins;
mod more_steps;
mod nothing_found;
mod other_norm;
mod own_radii_broken;
mod pairs;
mod probabilities;
mod random_output;
mod restarts_without_draws;
mod silent_success;
mod single_step;
mod still_breaking;
mod surrogate_differs;
#[cfg(test)]
pub(crate) mod tests_support;
mod unbounded;
mod undefined_logits;
mod unstable;
mod vanished_gradients;
mod wrong_gradients;

use temper_core::Member;
use temper_results::{Cost, Curve, Distances, Warning};

use crate::Setting;
use crate::entry::Entry;
use crate::inspection::Inspection;
use crate::seen::{Seen, Together};

/// The entry of an evaluation, and the totals of its records.
pub(crate) struct Evidence<'a> {
    pub(crate) setting: &'a Setting<'a>,
    pub(crate) entry: &'a Entry,
    /// The attacks of the entry.
    pub(crate) members: &'a [Member],
    /// Images judged.
    pub(crate) n: usize,
    /// Images that stand in the end.
    pub(crate) standing: usize,
    /// Images that are classified correctly unperturbed.
    pub(crate) right: usize,
    /// Images whose logits are not numbers unperturbed.
    pub(crate) undefined: usize,
    /// Images of the class with most images.
    pub(crate) largest_class: usize,
    /// The cost of each attack, in the order of `members`.
    pub(crate) attacks: &'a [Cost],
    pub(crate) distances: Option<&'a Distances>,
    pub(crate) curve: Option<&'a Curve>,
}

/// A check. Its functions return warnings without an `id`, which is added to them.
pub(crate) struct Check {
    /// Its stable name.
    id: &'static str,
    /// The data that it reads, for the documentation.
    reads: &'static str,
    find: Find,
}

/// The subject of a check, and the function that judges it.
enum Find {
    /// One evaluation.
    Evaluation(fn(&Evidence) -> Vec<Warning>),
    /// A network, judged by the evaluation with the most unperturbed images.
    Network(fn(&Seen) -> Option<Warning>),
    /// All evaluations of a run or a command.
    Together(fn(&Together) -> Vec<Found>),
    /// A network, judged by passes over a few images that evaluations do not make.
    Inspection(fn(&Inspection) -> Option<Warning>),
}

/// A warning about one of several evaluations.
pub(crate) struct Found {
    /// The place of the evaluation whose number is in doubt.
    pub(crate) at: usize,
    pub(crate) warning: Warning,
}

/// All checks, in the order in which results list their warnings.
const CHECKS: &[&Check] = &[
    &attack_parameters::CHECK,
    &minimum_norm_elsewhere::CHECK,
    &restarts_without_draws::CHECK,
    &vanished_gradients::CHECK,
    &nothing_found::CHECK,
    &curve_not_zero::CHECK,
    &still_breaking::STEPS,
    &still_breaking::RESTARTS,
    &incomplete::CHECK,
    &silent_success::CHECK,
    &black_box::WITHIN,
    &own_radii_broken::CHECK,
    &other_norm::CHECK,
    &undefined_logits::CHECK,
    &probabilities::CHECK,
    &constant_predictions::CHECK,
    &classes::NEVER_PREDICTED,
    &classes::WITHOUT_IMAGES,
    &black_box::BETWEEN,
    &single_step::CHECK,
    &larger_radius::CHECK,
    &more_steps::CHECK,
    &minimum_norm_wins::CHECK,
    &surrogate_differs::CHECK,
    &random_output::CHECK,
    &depends_on_batch::CHECK,
    &wrong_gradients::CHECK,
    &unstable::CHECK,
    &unbounded::CHECK,
];

/// Each check: its `id`, and the data that it reads. A check of two kinds is listed twice.
pub fn checks() -> impl Iterator<Item = (&'static str, &'static str)> {
    CHECKS.iter().map(|check| (check.id, check.reads))
}

/// The warnings about one evaluation.
pub(crate) fn of_evaluation(evidence: &Evidence) -> Vec<Warning> {
    let found = CHECKS.iter().flat_map(|check| match check.find {
        Find::Evaluation(find) => check.named(find(evidence)),
        _ => vec![],
    });
    found.collect()
}

/// The warnings about a network.
pub(crate) fn of_network(seen: &Seen) -> Vec<Warning> {
    let found = CHECKS.iter().flat_map(|check| match check.find {
        Find::Network(find) => check.named(find(seen).into_iter().collect()),
        _ => vec![],
    });
    found.collect()
}

/// The warnings from an inspection of a network.
pub(crate) fn of_inspection(inspection: &Inspection) -> Vec<Warning> {
    let found = CHECKS.iter().flat_map(|check| match check.find {
        Find::Inspection(find) => check.named(find(inspection).into_iter().collect()),
        _ => vec![],
    });
    found.collect()
}

/// The warnings that need all evaluations of a run or a command.
pub(crate) fn together(all: &Together) -> Vec<Found> {
    let found = CHECKS.iter().flat_map(|check| match check.find {
        Find::Together(find) => {
            let named = |found: Found| Found { warning: check.name(found.warning), ..found };
            find(all).into_iter().map(named).collect()
        }
        _ => vec![],
    });
    found.collect()
}

impl Check {
    fn name(&self, warning: Warning) -> Warning {
        Warning { id: self.id.into(), ..warning }
    }

    fn named(&self, warnings: Vec<Warning>) -> Vec<Warning> {
        warnings.into_iter().map(|warning| self.name(warning)).collect()
    }
}

/// A number that is too high by at most this share of the images is imprecise; by more than this share, it is
/// wrong.
const WRONG: f64 = 0.01;

fn caution(text: impl Into<String>) -> Warning {
    Warning::caution("", text)
}

fn severe(text: impl Into<String>) -> Warning {
    Warning::severe("", text)
}

fn share(some: usize, all: usize) -> f64 {
    some as f64 / all.max(1) as f64
}

fn percent(some: usize, all: usize) -> f64 {
    share(some, all) * 100.0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_documentation_lists_every_check_with_what_it_reads() {
        let page = include_str!("../../../docs/evaluation.md");
        for (id, reads) in checks() {
            let row = page.lines().find(|line| line.starts_with(&format!("| `{id}` |")));
            assert!(row.is_some_and(|row| row.contains(reads)), "| `{id}` | ... | {reads} | ...");
        }
    }

    #[test]
    fn ids_are_words_for_scripts() {
        let ids: BTreeSet<&str> = checks().map(|(id, _)| id).collect();
        assert_eq!(ids.len(), CHECKS.len() - 1, "only the check of black-box attacks is of two kinds");
        for id in ids {
            assert!(id.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-'), "{id}");
        }
    }
}
