//! The progress of an epoch, and its summary at the end.

use serde::{Deserialize, Serialize};
use temper_results::{Epoch, Percentiles};

/// The progress of an epoch: everything that its report needs, and the position at which to continue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Number of batches done.
    pub batches: usize,
    /// Number of samples in them.
    pub samples: usize,
    /// Number of samples that should have been in them but could not be decoded.
    #[serde(default)]
    pub skipped: usize,
    /// Sum of their losses.
    pub loss: f64,
    /// Number of them that were classified correctly as trained on.
    pub right: f64,
    /// Forward passes, counted per sample.
    pub forwards: u64,
    /// Backward passes, counted per sample.
    pub backwards: u64,
    /// Wall time in seconds.
    pub seconds: f64,
    /// The part of it in which the step waited for data.
    pub waiting: f64,
    /// Samples whose gradient was exactly 0 in a pass of the attack or a probe that classified them correctly.
    #[serde(default)]
    pub vanished: usize,
}

/// A snapshot of a running epoch.
#[derive(Debug, Clone, Copy)]
pub struct Glimpse {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Batch, from 1.
    pub batch: usize,
    /// Number of batches of an epoch.
    pub batches: usize,
    /// Mean loss of the epoch so far.
    pub loss: f64,
    /// Accuracy on the images that were trained on, so far.
    pub accuracy: f64,
    /// Percentiles of the radii; `None` without a policy.
    pub radii: Option<Percentiles>,
}

/// The entry of `metrics.jsonl` for a completed epoch (from 1); `radii` are those of the samples that could be
/// decoded.
pub(crate) fn summary(epoch: usize, progress: &Progress, lr: f64, radii: &[f64]) -> Epoch {
    let n = progress.samples.max(1) as f64;
    Epoch {
        epoch,
        loss: progress.loss / n,
        accuracy: progress.right / n,
        skipped: progress.skipped,
        vanished: progress.vanished,
        lr,
        radii: Percentiles::of(radii),
        mean_radius: (!radii.is_empty()).then(|| radii.iter().sum::<f64>() / radii.len() as f64),
        forwards: progress.forwards as f64 / n,
        backwards: progress.backwards as f64 / n,
        seconds: progress.seconds,
        waiting_seconds: progress.waiting,
        waiting_share: progress.waiting / progress.seconds.max(f64::MIN_POSITIVE),
        held_out: None,
    }
}

/// An observer of training.
pub trait Watch {
    /// Called after some batches.
    fn glimpse(&mut self, glimpse: &Glimpse);

    /// Called after every step, because nothing can be saved within one: whether training pauses here, in order
    /// to be saved or stopped.
    fn pause(&mut self) -> bool {
        false
    }
}
