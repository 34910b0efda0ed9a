//! Selection of a run's best weights by evaluations on held-out training images after epochs.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use anyhow::Context;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use temper_core::nn::{Classifier, Frozen};
use temper_core::{Attack, Chosen, Device, Distance, Norm, Source, nonzero};
use temper_evaluate::{BatchGlimpse, Cell, Entry, Outcome, Setting, evaluate};
use temper_results::{Best, Epoch, HeldOut, Records};
use temper_train::State;

use crate::config::Pipeline;
use crate::progress::EvaluationBar;

/// The `[select]` table of a pipeline.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(from = "SelectFields")]
pub struct Select {
    /// Epochs between two evaluations; the last epoch is always evaluated.
    pub every: NonZeroUsize,
    /// Training images held out.
    pub samples: NonZeroUsize,
    /// The weights that the final evaluations use.
    pub(crate) weights: Which,
    /// The evaluation on held-out images: robust accuracy under its attack, or natural accuracy without one.
    pub entry: Entry,
}

temper_core::options! {
    /// The weights that evaluations use.
    #[derive(Default)]
    pub enum Which {
        /// Those with the highest accuracy on the held-out images.
        #[default]
        Best = "best",
        /// Those of the last epoch.
        Last = "last",
        /// The best weights, then the last ones.
        Both = "both",
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SelectFields {
    /// Epochs between two evaluations; the last epoch is always evaluated.
    #[serde(default = "one")]
    every: NonZeroUsize,
    /// Training images held out.
    samples: NonZeroUsize,
    /// The weights that the final evaluations use.
    #[serde(default)]
    weights: Which,
    /// The attack on held-out images; without one, weights are selected by natural accuracy.
    attack: Option<Chosen<dyn Attack>>,
    /// The norm of the radius; by default that of training.
    norm: Option<Norm>,
    /// Radius of every image, in pixel values of [0, 1]; required with an attack.
    radius: Option<Distance>,
}

fn one() -> NonZeroUsize {
    nonzero(1)
}

impl From<SelectFields> for Select {
    fn from(SelectFields { every, samples, weights, attack, norm, radius }: SelectFields) -> Self {
        Self {
            every,
            samples,
            weights,
            entry: Entry { name: "held out".into(), attack, norm, radius, ..Entry::default() },
        }
    }
}

impl Serialize for Select {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct View<'a> {
            every: NonZeroUsize,
            samples: NonZeroUsize,
            weights: Which,
            attack: &'a Option<Chosen<dyn Attack>>,
            norm: Option<Norm>,
            radius: Option<Distance>,
        }
        let Self { every, samples, weights, entry: Entry { attack, norm, radius, .. } } = self;
        let view = View {
            every: *every,
            samples: *samples,
            weights: *weights,
            attack,
            norm: *norm,
            radius: *radius,
        };
        view.serialize(serializer)
    }
}

/// The best weights so far, from the metrics of the completed epochs. Of equally good epochs the first is chosen.
pub(crate) fn best(metrics: &[Epoch]) -> Option<Best> {
    let judged = metrics
        .iter()
        .filter_map(|epoch| Some(Best { epoch: epoch.epoch, accuracy: epoch.held_out.as_ref()?.accuracy }));
    judged.fold(None, |best: Option<Best>, next| match best {
        Some(best) if next.accuracy <= best.accuracy => Some(best),
        _ => Some(next),
    })
}

/// The held-out images that could not be decoded in the last evaluation, by index in the whole data set, with
/// the reason.
pub(crate) fn unreadable(metrics: &[Epoch]) -> BTreeMap<u64, String> {
    let judged = metrics.iter().rev().find_map(|epoch| epoch.held_out.as_ref());
    judged.map(|held_out| held_out.unreadable.clone()).unwrap_or_default()
}

impl Select {
    /// Whether the epoch (from 1) is to be evaluated.
    pub(crate) fn due(&self, epoch: usize, epochs: usize) -> bool {
        epoch.is_multiple_of(self.every.get()) || epoch == epochs
    }

    /// Evaluates the current weights.
    pub(crate) fn judge(
        &self,
        pipeline: &Pipeline,
        held_out: &Arc<dyn Source>,
        state: &State,
        device: &Device,
    ) -> anyhow::Result<HeldOut> {
        let classifier = Classifier::new(state.classifier.network().clone(), &state.result())?;
        // This evaluation cannot be interrupted: a completed epoch is evaluated before it is stored.
        let shown = EvaluationBar::new(&self.entry.name, held_out.len(), None);
        let mut watch = |glimpse: &BatchGlimpse| shown.glimpse(glimpse);
        let frozen = Frozen::new(&classifier)?;
        let setting = Setting::new(&frozen, pipeline.train.batch.get(), pipeline.seed, device);
        let cells = [Cell::clean(held_out.clone())];
        let judged = evaluate(&setting, &self.entry, &cells, &mut Records::in_memory(), &mut watch);
        drop(shown);
        let judged = judged.context("the images held out")?.context("a judgement was broken off")?;
        let Outcome { evaluation, unreadable, .. } = judged;
        Ok(HeldOut {
            accuracy: evaluation.accuracy,
            n: evaluation.n,
            forwards: evaluation.forwards as f64 / evaluation.n as f64,
            backwards: evaluation.backwards as f64 / evaluation.n as f64,
            seconds: evaluation.seconds,
            unreadable,
        })
    }
}
