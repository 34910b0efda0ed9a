//! Checks that say when a number should not be believed, in words, as far as the evaluation itself can tell.
//!
//! A check is a function in a file of its own. To add one, write `checks/NAME.rs` and enter it in [`CHECKS`].

mod curve;
mod gradients;
mod norms;
mod own_radii;
mod parameters;
mod searches;
mod undefined;

use temper_core::Member;
use temper_results::{Cost, Curve, Distances};

use crate::Setting;
use crate::entry::Entry;

/// What an evaluation was asked for, and what its records add up to.
pub(crate) struct Evidence<'a> {
    pub(crate) setting: &'a Setting<'a>,
    pub(crate) entry: &'a Entry,
    /// The attacks of the entry.
    pub(crate) members: &'a [Member],
    /// Images judged.
    pub(crate) n: usize,
    /// Images that are classified correctly unperturbed.
    pub(crate) right: usize,
    /// Images whose logits are not numbers unperturbed.
    pub(crate) undefined: usize,
    /// What each attack did.
    pub(crate) attacks: &'a [Cost],
    pub(crate) distances: Option<&'a Distances>,
    pub(crate) curve: Option<&'a Curve>,
}

/// Reasons not to believe an evaluation's numbers; empty if it finds none.
type Check = fn(&Evidence) -> Vec<String>;

/// All checks, in the order in which results list their warnings.
const CHECKS: [Check; 7] = [
    parameters::check,
    gradients::check,
    searches::check,
    curve::check,
    own_radii::check,
    norms::check,
    undefined::check,
];

/// The warnings of all checks.
pub(crate) fn warnings(evidence: &Evidence) -> Vec<String> {
    CHECKS.iter().flat_map(|check| check(evidence)).collect()
}

fn percent(some: usize, all: usize) -> f64 {
    some as f64 * 100.0 / all.max(1) as f64
}
