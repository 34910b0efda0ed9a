//! Training: the loop of IAAT's Algorithm 1, of which plain adversarial and clean training are cases.
//!
//! Everything that a run is at the end of an epoch lies in one [`State`]: weights, momentum, epsilon memory, number of
//! epochs done. All randomness is keyed by (seed, purpose, epoch, sample), so a run continued from a checkpoint gives the
//! bits of one that was never interrupted.

mod checkpoint;
mod error;
mod optimizer;
mod plan;
mod trainer;

pub use checkpoint::{Checkpoint, save_atomically, save_radii, save_weights};
pub use error::{Error, Result};
pub use optimizer::{Optimizer, Schedule, Sgd};
pub use plan::{BatchNormMode, MaybeAttack, Plan};
pub use trainer::{EpochReport, Glimpse, Percentiles, State, Trainer, Watch};
