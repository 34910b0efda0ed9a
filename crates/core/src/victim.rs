//! The network under attack, and the interface through which an attack uses it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{D, Tensor, Var};
use temper_nn::{BatchNorm, Classifier, Frozen};

use crate::rows::{index_of, kept};
use crate::{Batch, Error, Result, Trace};

/// The network of a victim, and the mode of its batch norm.
#[derive(Debug, Clone, Copy)]
pub enum VictimNetwork<'a> {
    /// Evaluation mode: running statistics. Samples do not affect each other.
    Frozen(&'a Frozen),
    /// Training mode: statistics of the current batch, which also update the running ones (as in the authors'
    /// code).
    BatchStatistics(&'a Classifier),
}

/// The goal of an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Find any misclassified image. Used in evaluations.
    Mistake,
    /// Make the score as high as possible at the last iterate. Used in training and in Algorithm 2.
    Loss,
    /// Like `Loss`, for images that another network will judge: a success on this network does not end the
    /// attack.
    Transfer,
}

/// The access to a network that an attack may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// The predicted class of an image.
    Labels,
    /// Also the logits.
    Scores,
    /// Also gradients with respect to the pixels.
    Gradients,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Labels => "labels",
            Self::Scores => "logits",
            Self::Gradients => "gradients",
        })
    }
}

/// A callback for every pass, called with the number of samples. It can cancel the work, because an attack may
/// take minutes for a batch.
#[derive(Clone)]
pub struct Pulse(Arc<dyn Fn(usize) -> ControlFlow<()> + Send + Sync>);

impl Pulse {
    /// Calls `hear` at every forward and every backward pass; `Break` ends the attack with [`Error::Cancelled`].
    pub fn new(hear: impl Fn(usize) -> ControlFlow<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }
}

impl fmt::Debug for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pulse")
    }
}

/// Passes through a network, counted per sample: a forward pass of a batch of 128 counts 128. It also records
/// the samples whose gradient vanished.
#[derive(Debug, Default)]
pub struct Passes {
    forwards: AtomicU64,
    backwards: AtomicU64,
    /// By position in the batch.
    vanished: Mutex<BTreeSet<u32>>,
    /// Forward passes of attacks without access to gradients, by position in the batch.
    queries: Mutex<BTreeMap<u32, u64>>,
    pulse: Option<Pulse>,
}

impl Passes {
    /// A counter that calls `pulse` at every pass.
    pub fn heard_by(pulse: Option<Pulse>) -> Self {
        Self { pulse, ..Self::default() }
    }

    /// Calls the pulse for a pass. An error if it cancels the work.
    fn beat(&self, samples: usize) -> Result<()> {
        match self.pulse.as_ref().map(|pulse| (pulse.0)(samples)) {
            Some(ControlFlow::Break(())) => Err(Error::Cancelled),
            _ => Ok(()),
        }
    }

    /// Forward passes.
    pub fn forwards(&self) -> u64 {
        self.forwards.load(Ordering::Relaxed)
    }

    /// Backward passes.
    pub fn backwards(&self) -> u64 {
        self.backwards.load(Ordering::Relaxed)
    }

    /// Adds passes.
    pub fn count(&self, forwards: usize, backwards: usize) {
        self.forwards.fetch_add(forwards as u64, Ordering::Relaxed);
        self.backwards.fetch_add(backwards as u64, Ordering::Relaxed);
    }

    /// Samples, by position in the batch, whose gradient was exactly 0 in a pass that classified them
    /// correctly: an attack has no direction there.
    pub fn vanished(&self) -> BTreeSet<u32> {
        self.lost().clone()
    }

    /// Like [`Self::vanished`], and clears the record, because positions refer to one batch.
    pub fn take_vanished(&self) -> BTreeSet<u32> {
        std::mem::take(&mut *self.lost())
    }

    /// Queries of attacks without access to gradients: the number of images of each sample, by position in the
    /// batch, that the network classified. Clears the record, because positions refer to one batch.
    pub fn take_queries(&self) -> BTreeMap<u32, u64> {
        std::mem::take(&mut *self.asked())
    }

    /// The queries so far, like [`take_queries`](Self::take_queries) without removing them.
    pub(crate) fn queries(&self) -> BTreeMap<u32, u64> {
        self.asked().clone()
    }

    fn asked(&self) -> MutexGuard<'_, BTreeMap<u32, u64>> {
        self.queries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.vanished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The samples of a victim.
#[derive(Debug, Clone)]
pub struct Rows {
    /// True classes, `[n]`, `u32`.
    pub labels: Tensor,
    /// Position of each sample in the batch from which the victim was created, `[n]`, `u32`.
    pub positions: Tensor,
}

/// The score that attacks maximise: a number for each sample, `[n]`, from its logits `[n, classes]`.
pub type Score<'a> = dyn Fn(&Tensor, &Rows) -> Result<Tensor> + 'a;

/// Logarithms of the softmax probabilities, `[n, classes]`, of logits `[n, classes]`.
pub fn log_softmax(logits: &Tensor) -> Result<Tensor> {
    Ok(candle_nn::ops::log_softmax(logits, D::Minus1)?)
}

/// Like [`Score`], from the logits of the clean images and the current logits, both `[n, classes]`.
pub type CleanScore<'a> = dyn Fn(&Tensor, &Tensor, &Rows) -> Result<Tensor> + 'a;

/// Cross-entropy of each sample, `[n]`.
pub fn cross_entropy(logits: &Tensor, rows: &Rows) -> Result<Tensor> {
    Ok(temper_nn::cross_entropy(logits, &rows.labels)?)
}

/// The logarithm of the odds against each sample's class, `[n]`: the score that attacks maximise by default.
/// Its gradient has the same direction as that of cross-entropy, and it orders images in the same way. It still
/// has a slope where rounding makes that of cross-entropy 0.
pub fn log_odds(logits: &Tensor, rows: &Rows) -> Result<Tensor> {
    Ok(temper_nn::log_odds(logits, &rows.labels)?)
}

/// One forward and one backward pass.
#[derive(Debug, Clone)]
pub struct Pass {
    /// `[n, classes]`.
    pub logits: Tensor,
    /// The score of each sample, `[n]`.
    pub scores: Tensor,
    /// Gradient of each sample's score with respect to its pixels, `[n, c, h, w]`.
    pub gradient: Tensor,
}

/// A forward pass that allows several backward passes, one for each score.
pub struct Forward<'a> {
    pixels: Var,
    logits: Tensor,
    rows: Rows,
    passes: &'a Passes,
}

impl Forward<'_> {
    /// `[n, classes]`.
    pub fn logits(&self) -> Tensor {
        self.logits.detach()
    }

    /// A score and its gradient: one backward pass.
    pub fn pass_of(&self, score: &Score<'_>) -> Result<Pass> {
        let scores = score(&self.logits, &self.rows)?;
        self.passes.count(0, scores.dim(0)?);
        self.passes.beat(scores.dim(0)?)?;
        let gradient = match scores.sum_all()?.backward()?.remove(&self.pixels) {
            Some(gradient) => gradient,
            // The score does not depend on the logits.
            None => self.pixels.zeros_like()?,
        };
        self.note_vanished(&gradient)?;
        Ok(Pass { logits: self.logits.detach(), scores: scores.detach(), gradient })
    }

    /// Records the samples that are classified correctly and have a gradient of 0.
    fn note_vanished(&self, gradient: &Tensor) -> Result<()> {
        let zero = temper_nn::zero_rows(gradient)?;
        if !zero.contains(&true) {
            return Ok(());
        }
        let labels = self.rows.labels.to_vec1::<u32>()?;
        let positions = self.rows.positions.to_vec1::<u32>()?;
        let predictions = temper_nn::predictions(&self.logits.detach())?;
        let lost = (0..zero.len()).filter(|i| zero[*i] && predictions[*i] == Some(labels[*i]));
        self.passes.lost().extend(lost.map(|i| positions[i]));
        Ok(())
    }
}

/// A frozen view of a network for one batch. It counts its passes.
#[derive(Clone)]
pub struct Victim<'a> {
    network: VictimNetwork<'a>,
    pixels: Tensor,
    rows: Rows,
    labels: Vec<u32>,
    ids: Vec<u64>,
    goal: Goal,
    score: &'a Score<'a>,
    /// Whether the score was set explicitly and is not the default one.
    own_score: bool,
    passes: &'a Passes,
    trace: Option<&'a Trace>,
    access: Access,
}

impl<'a> Victim<'a> {
    /// A view of `network` for `batch`. Its score is the log odds. With the statistics of the batch it is
    /// cross-entropy: each gradient is then that of the sum over all samples, in which every sample has the
    /// weight that it has in the authors' code.
    pub fn new(network: VictimNetwork<'a>, batch: &Batch, goal: Goal, passes: &'a Passes) -> Result<Self> {
        let positions = Tensor::arange(0, batch.len() as u32, batch.pixels.device())?;
        Ok(Self {
            network,
            pixels: batch.pixels.clone(),
            rows: Rows { labels: batch.labels.clone(), positions },
            labels: batch.labels.to_vec1()?,
            ids: batch.ids.clone(),
            goal,
            score: default_score(network),
            own_score: false,
            passes,
            trace: None,
            access: Access::Gradients,
        })
    }

    /// The same view with a trace, in which attacks record their iterates.
    pub fn traced(&self, trace: &'a Trace) -> Self {
        Self { trace: Some(trace), ..self.clone() }
    }

    /// The same view with another default score.
    pub fn with_score(&self, score: &'a Score<'a>) -> Self {
        Self { score, own_score: true, ..self.clone() }
    }

    /// The same view with its access limited to `access`; it never gains access. Without access to gradients,
    /// queries are counted for each sample.
    pub fn granting(&self, access: Access) -> Self {
        Self { access: self.access.min(access), ..self.clone() }
    }

    /// An error if the victim grants less access than this.
    fn demand(&self, asked: Access) -> Result<()> {
        match asked <= self.access {
            true => Ok(()),
            false => Err(Error::Denied { asked, granted: self.access }),
        }
    }

    /// Whether a score was set that attacks maximise instead of their own loss.
    pub fn has_own_score(&self) -> bool {
        self.own_score
    }

    /// The same view with other labels, `[n]`, `u32`, as the true ones.
    pub fn with_labels(&self, labels: &Tensor) -> Result<Self> {
        let rows = Rows { labels: labels.clone(), positions: self.rows.positions.clone() };
        Ok(Self { rows, labels: labels.to_vec1()?, ..self.clone() })
    }

    /// The clean images, `[n, c, h, w]`.
    pub fn pixels(&self) -> &Tensor {
        &self.pixels
    }

    /// True classes, `[n]`, `u32`.
    pub fn labels(&self) -> &Tensor {
        &self.rows.labels
    }

    /// Position of each sample in the batch from which the victim was created, `[n]`, `u32`.
    pub fn positions(&self) -> &Tensor {
        &self.rows.positions
    }

    /// Identity of each sample.
    pub fn ids(&self) -> &[u64] {
        &self.ids
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether the victim has no samples.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The goal of the attack.
    pub fn goal(&self) -> Goal {
        self.goal
    }

    /// Whether the result of one sample depends on the other samples.
    pub fn mixes_samples(&self) -> bool {
        matches!(self.network, VictimNetwork::BatchStatistics(_))
    }

    /// Number of classes of the network. Costs no pass.
    pub fn classes(&self) -> usize {
        match self.network {
            VictimNetwork::Frozen(frozen) => frozen.network().classes(),
            VictimNetwork::BatchStatistics(classifier) => classifier.network().classes(),
        }
    }

    /// The trace in which attacks record their iterates.
    pub(crate) fn trace(&self) -> Option<&'a Trace> {
        self.trace
    }

    /// The counter of its passes.
    pub(crate) fn passes(&self) -> &'a Passes {
        self.passes
    }

    fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        self.passes.count(self.len(), 0);
        self.passes.beat(self.len())?;
        if self.access < Access::Gradients {
            let mut asked = self.passes.asked();
            for position in self.rows.positions.to_vec1::<u32>()? {
                *asked.entry(position).or_default() += 1;
            }
        }
        Ok(match self.network {
            VictimNetwork::Frozen(frozen) => frozen.logits(pixels)?,
            VictimNetwork::BatchStatistics(classifier) => {
                classifier.train(pixels, false, BatchNorm::Update)?
            }
        })
    }

    /// Logits `[n, classes]` at `pixels`. An error if the victim grants labels alone.
    pub fn logits(&self, pixels: &Tensor) -> Result<Tensor> {
        self.demand(Access::Scores)?;
        Ok(self.forward(&pixels.detach())?.detach())
    }

    /// The default score of each sample at `pixels`, `[n]`, from one forward pass.
    pub fn scores(&self, pixels: &Tensor) -> Result<Tensor> {
        (self.score)(&self.logits(pixels)?, &self.rows)
    }

    /// Gradient of the default score, `[n, c, h, w]`.
    pub fn gradient(&self, pixels: &Tensor) -> Result<Tensor> {
        Ok(self.pass(pixels)?.gradient)
    }

    /// Gradient of a score written in candle operations, `[n, c, h, w]`.
    pub fn gradient_of(&self, pixels: &Tensor, score: &Score<'_>) -> Result<Tensor> {
        Ok(self.pass_of(pixels, score)?.gradient)
    }

    /// Logits, default score and its gradient in one go.
    pub fn pass(&self, pixels: &Tensor) -> Result<Pass> {
        self.pass_of(pixels, self.score)
    }

    /// Logits, a score and its gradient in one go.
    pub fn pass_of(&self, pixels: &Tensor, score: &Score<'_>) -> Result<Pass> {
        self.record(pixels)?.pass_of(score)
    }

    /// A forward pass at `pixels` that allows any number of backward passes, for gradients of several scores.
    /// An error if the victim grants no gradients.
    pub fn record(&self, pixels: &Tensor) -> Result<Forward<'a>> {
        self.demand(Access::Gradients)?;
        let pixels = Var::from_tensor(&pixels.detach())?;
        let logits = self.forward(&pixels)?;
        Ok(Forward { pixels, logits, rows: self.rows.clone(), passes: self.passes })
    }

    /// The predicted class of each of `pixels`, `[n, c, h, w]`; `None` where its logits are NaN. Every victim
    /// grants this.
    pub fn decisions(&self, pixels: &Tensor) -> Result<Vec<Option<u32>>> {
        self.predictions(&self.forward(&pixels.detach())?.detach())
    }

    /// Which samples are misclassified at `pixels`.
    pub fn broken(&self, pixels: &Tensor) -> Result<Vec<bool>> {
        self.broken_by(&self.forward(&pixels.detach())?.detach())
    }

    /// Which samples are misclassified by these logits. A row with a NaN counts as misclassified; with equal
    /// logits the first counts.
    pub fn broken_by(&self, logits: &Tensor) -> Result<Vec<bool>> {
        let predictions = self.predictions(logits)?;
        Ok(predictions.iter().zip(&self.labels).map(|(class, label)| *class != Some(*label)).collect())
    }

    /// The predicted class of each sample: the first of the largest logits; `None` for a row with a NaN.
    pub fn predictions(&self, logits: &Tensor) -> Result<Vec<Option<u32>>> {
        Ok(temper_nn::predictions(logits)?)
    }

    /// The view of the samples that `mask` selects.
    pub fn rows(&self, mask: &[bool]) -> Result<Self> {
        if mask.len() != self.len() {
            return Err(Error::refused(format!("a mask of {} for {} samples", mask.len(), self.len())));
        }
        if mask.iter().all(|keep| *keep) {
            return Ok(self.clone());
        }
        let index = index_of(mask, &self.pixels)?;
        Ok(Self {
            network: self.network,
            pixels: self.pixels.index_select(&index, 0)?,
            rows: Rows {
                labels: self.rows.labels.index_select(&index, 0)?,
                positions: self.rows.positions.index_select(&index, 0)?,
            },
            labels: kept(&self.labels, mask),
            ids: kept(&self.ids, mask),
            goal: self.goal,
            score: self.score,
            own_score: self.own_score,
            passes: self.passes,
            trace: self.trace,
            access: self.access,
        })
    }
}

fn default_score(network: VictimNetwork) -> &'static Score<'static> {
    match network {
        VictimNetwork::Frozen(_) => &log_odds,
        VictimNetwork::BatchStatistics(_) => &cross_entropy,
    }
}
