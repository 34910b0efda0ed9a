//! How far an epoch is, and what it comes to at its end.

use serde::{Deserialize, Serialize};
use temper_results::{Epoch, Percentiles};

/// What is done of an epoch: all that its report needs, and where to go on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Batches done.
    pub batches: usize,
    /// Samples in them.
    pub samples: usize,
    /// Samples that should have been in them, but could not be decoded.
    #[serde(default)]
    pub skipped: usize,
    /// Sum of their losses.
    pub loss: f64,
    /// How many of them, as trained on, were classified correctly.
    pub right: f64,
    /// Forward passes, counted a sample.
    pub forwards: u64,
    /// Backward passes, counted a sample.
    pub backwards: u64,
    /// Wall time in seconds.
    pub seconds: f64,
    /// Part of it that the step waited for data.
    pub waiting: f64,
    /// Samples whose gradient was exactly 0 in a pass of attack or probe at which they were classified correctly.
    #[serde(default)]
    pub vanished: usize,
}

/// A look at a running epoch.
#[derive(Debug, Clone, Copy)]
pub struct Glimpse {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Batch, from 1.
    pub batch: usize,
    /// Batches of an epoch.
    pub batches: usize,
    /// Mean loss of the epoch so far.
    pub loss: f64,
    /// Accuracy on what was trained on, so far.
    pub accuracy: f64,
    /// Radii, without a policy `None`.
    pub radii: Option<Percentiles>,
}

/// What `metrics.jsonl` holds of an epoch (from 1) that is done; `radii` are those of the samples that could
/// be decoded.
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

/// Who wants to see training run.
pub trait Watch {
    /// After some batches.
    fn glimpse(&mut self, glimpse: &Glimpse);

    /// Asked after every step, within which nothing can be saved: whether training pauses here, to be saved
    /// or to be stopped.
    fn pause(&mut self) -> bool {
        false
    }
}
