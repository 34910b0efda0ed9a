//! Training: the loop of IAAT's Algorithm 1, of which plain adversarial and clean training are special cases.
//!
//! The whole state of a run between two steps is one [`State`]: weights, their average, momentum, epsilon
//! memory, skipped images, completed epochs and the progress of the current one. All randomness is keyed by
//! (seed, purpose, epoch, sample), so a run continued from a checkpoint is bit-identical to one that was never
//! interrupted.

mod average;
mod checkpoint;
mod error;
mod files;
mod optimizer;
mod plan;
mod progress;
mod schedule;
mod total;
mod trainer;
mod weights;

pub use average::Ema;
pub use checkpoint::{Checkpoint, is_checkpoint, previous, put_aside};
pub use error::{Error, Result};
pub use files::save_weights;
pub use optimizer::{Optimizer, SgdState};
pub use plan::{BatchNormMode, MaybeAttack, Plan, Precision, StepBatchNorm};
pub use progress::{Glimpse, Progress, Watch};
pub use schedule::{Anneal, Cosine, Falls, OneCycle, RateCurve, Schedule, Warmup};
pub use temper_onnx::is_onnx;
pub use total::OtherRate;
pub use trainer::{State, Trainer};
pub use weights::{Weights, load_about, load_weights, load_weights_for};
