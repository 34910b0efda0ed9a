//! Attacks: known optima, conformance of every registered attack, other libraries, defaults.

mod autoattack;
mod bad_attack;
mod carlini_wagner;
mod closed_form;
mod conformance;
mod deepfool;
mod defaults;
mod giving_up;
mod momentum;
mod peers;
mod peers_autoattack;
mod peers_trained;
mod pgd;
mod raised;
mod saturated;
pub(crate) mod trained;
