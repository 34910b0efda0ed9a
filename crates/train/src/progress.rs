//! How far an epoch is, and what it comes to at its end.

use serde::{Deserialize, Serialize};

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

/// The 5th, 50th and 95th percentile of the epsilon memory of the samples that could be decoded, in pixel values of [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// 5 % of the samples have less.
    pub p5: f64,
    /// The median.
    pub p50: f64,
    /// 5 % have more.
    pub p95: f64,
}

impl Percentiles {
    /// Of some numbers; `None` if there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let at = |share: f64| sorted[(share * last as f64).round() as usize];
        Some(Self { p5: at(0.05), p50: at(0.5), p95: at(0.95) })
    }
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

/// One epoch, as `metrics.jsonl` records it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EpochReport {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Mean training loss.
    pub loss: f64,
    /// Accuracy on the images trained on (perturbed where they were).
    pub accuracy: f64,
    /// Training images that could not be decoded, and so were not trained on; absent if there were none.
    #[serde(skip_serializing_if = "is_zero")]
    pub skipped: usize,
    /// Samples whose gradient was exactly 0 in a pass of attack or probe at which they were classified correctly: there the attack does
    /// not see where to go, and probes call safe what nobody tried; absent if there were none.
    #[serde(skip_serializing_if = "is_zero")]
    pub vanished: usize,
    /// Learning rate of the last step.
    pub lr: f64,
    /// Epsilon memory at its end; absent without a policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub radii: Option<Percentiles>,
    /// Mean of the epsilon memory at its end; absent without a policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_radius: Option<f64>,
    /// Forward passes a sample, of attack, probes and step.
    pub forwards: f64,
    /// Backward passes a sample.
    pub backwards: f64,
    /// Wall time.
    pub seconds: f64,
    /// Part of it in which the step waited for data.
    pub waiting_seconds: f64,
    /// The same as a share of the wall time, 0 to 1.
    pub waiting_share: f64,
}

impl EpochReport {
    /// The report of an epoch (from 1) that is done; `radii` are those of the samples that could be decoded.
    pub(crate) fn new(epoch: usize, progress: &Progress, lr: f64, radii: &[f64]) -> Self {
        let n = progress.samples.max(1) as f64;
        Self {
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
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// Who wants to see training run.
pub trait Watch {
    /// After some batches.
    fn glimpse(&mut self, glimpse: &Glimpse);

    /// Asked after every step, within which nothing can be saved: whether training pauses here, to be saved or to be stopped.
    fn pause(&mut self) -> bool {
        false
    }
}
