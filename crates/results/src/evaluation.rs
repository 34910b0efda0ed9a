//! The result of one evaluation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::corrupted::Corrupted;
use crate::is_zero;
use crate::norm::Norm;
use crate::record::Record;
use crate::warning::Warning;

/// The result of one evaluation, as `results.json` holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evaluation {
    /// Its name.
    pub name: String,
    /// Share of samples that are classified correctly after the attack, 0 to 1. Of a sweep over radii: at the
    /// largest; over steps: after all of them. Of corruptions: the mean over kinds and severities.
    pub accuracy: f64,
    /// Samples judged.
    pub n: usize,
    /// Samples that could not be decoded and so were not judged; absent if there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: usize,
    /// 95 % Wilson interval of the accuracy.
    pub interval: [f64; 2],
    /// Wall time.
    pub seconds: f64,
    /// Forward passes, counted a sample.
    pub forwards: u64,
    /// Backward passes, counted a sample.
    pub backwards: u64,
    /// The attack's label; absent for natural accuracy, and for several attacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attack: Option<String>,
    /// How the radius is measured; absent for natural accuracy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm: Option<Norm>,
    /// Radius in pixel values of [0, 1]; absent for natural accuracy and for a sweep over radii.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub radius: Option<f64>,
    /// What each attack did and cost, in their order; absent for natural accuracy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attacks: Vec<Cost>,
    /// Runs of each attack as a whole, if more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarts: Option<usize>,
    /// The surrogate network on which images were crafted, if not the network that was judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surrogate: Option<String>,
    /// SHA-256 of its file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surrogate_sha256: Option<String>,
    /// Of one targeted attack at one radius.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<Hits>,
    /// Of one minimum-norm attack: median distance of the adversarial images found, whatever the radius, in
    /// the attack's norm. Samples on which it failed count as infinitely far; absent if the median is
    /// infinite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub median_distance: Option<f64>,
    /// For minimum-norm attacks: that distribution, over the samples that these attacks were run on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distances: Option<Distances>,
    /// What it broke, over what all evaluations of the same network, norm and images broke together, 0 to 1: the local
    /// optimality of `AttackBench`. Absent if there is nothing to compare it with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimality: Option<f64>,
    /// Of a sweep: its points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curve: Option<Curve>,
    /// Of corrupted images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corruptions: Option<Corrupted>,
    /// Why these numbers should not be believed, as far as the evaluations themselves can tell; absent if there
    /// is no reason. A plain text, of files of before, is a caution without `id`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// A hash of all images and labels judged.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub data: String,
    /// A hash of all that the numbers depend on. The evaluation's lines in the file of records have the same.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// Which weights were judged: `last` or `best`; absent where there is no choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// The epoch that left these weights, from 1; of a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<usize>,
    /// The network that was judged, by its name in a transfer matrix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judged_by: Option<String>,
}

/// What an attack cost and did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// The attack's label; `natural` for the pass over the clean images.
    pub attack: String,
    /// Samples it was run on: those that stood. A sample counts once for every radius of a sweep and for
    /// every restart, but with a minimum-norm attack, which serves all radii, once.
    pub attacked: usize,
    /// Samples it broke first.
    pub broken: usize,
    /// Forward passes, counted a sample.
    pub forwards: u64,
    /// Backward passes, counted a sample.
    pub backwards: u64,
    /// Wall time.
    pub seconds: f64,
    /// Images whose gradient was exactly 0 in a pass at which they were still classified correctly, each
    /// counted once whatever the restarts and radii; absent if there were none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub vanished: usize,
    /// Those of them that stand in the end; absent if there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub vanished_standing: usize,
    /// Of several runs of it (`restarts` of the evaluation): samples that the last one broke; absent if there
    /// are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub broken_last: usize,
    /// Samples that it left standing while its loss was still rising by over 5 % of its range in the last 10 of at
    /// least 50 steps, counted once for every radius and restart; absent if there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rising: usize,
    /// Images that stand in the end although one of its iterates was misclassified; absent if there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub silent: usize,
    /// Of an attack that sees no gradients: its queries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queries: Option<Queries>,
}

/// The queries of an attack that sees no gradients: images that it showed the network.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Queries {
    /// The most for a sample in one run; absent if the attack has no such budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<usize>,
    /// Median over the samples that this attack broke, all its restarts and radii together; absent if it broke none. A
    /// minimum-norm attack goes on after its first success, so that its queries are those of the whole search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub median: Option<f64>,
    /// The most for one of these samples; absent if it broke none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most: Option<u64>,
}

impl Cost {
    /// Adds what the same attack did to other samples.
    pub fn add(&mut self, other: &Self) {
        self.attacked = self.attacked.saturating_add(other.attacked);
        self.broken = self.broken.saturating_add(other.broken);
        self.forwards = self.forwards.saturating_add(other.forwards);
        self.backwards = self.backwards.saturating_add(other.backwards);
        self.seconds += other.seconds;
        self.vanished = self.vanished.saturating_add(other.vanished);
        self.vanished_standing = self.vanished_standing.saturating_add(other.vanished_standing);
        self.broken_last = self.broken_last.saturating_add(other.broken_last);
        self.rising = self.rising.saturating_add(other.rising);
        self.silent = self.silent.saturating_add(other.silent);
    }
}

/// How often a targeted attack got the class that it aimed at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Hits {
    /// Samples led to a class.
    pub n: usize,
    /// Those whose last image is taken for that class.
    pub hits: usize,
    /// Share of hits, 0 to 1.
    pub rate: f64,
    /// Its 95 % Wilson interval.
    pub interval: [f64; 2],
}

/// How far away the adversarial images of a minimum-norm attack are, in its norm, whatever the radius.
/// Samples on which it failed count as infinitely far; a quantile that is infinite is null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Distances {
    /// Samples attacked.
    pub n: usize,
    /// Those of them for which an adversarial image was found.
    pub found: usize,
    /// 5 % of the samples are nearer.
    pub p5: Option<f64>,
    /// A quarter is nearer.
    pub p25: Option<f64>,
    /// The median.
    pub p50: Option<f64>,
    /// A quarter is further away.
    pub p75: Option<f64>,
    /// 5 % are further away.
    pub p95: Option<f64>,
}

/// Accuracy over radii or over numbers of steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Curve {
    /// What the points are at.
    pub over: Over,
    /// In ascending order.
    pub points: Vec<Point>,
}

/// What a sweep goes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// The radius.
    Radius,
    /// The number of steps.
    Steps,
}

impl Over {
    /// The word for it in files and tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Radius => "radius",
            Self::Steps => "steps",
        }
    }
}

/// A point of a curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// A radius in pixel values of [0, 1], or a number of steps.
    pub at: f64,
    /// Share of samples that stand, 0 to 1.
    pub accuracy: f64,
    /// Its 95 % Wilson interval.
    pub interval: [f64; 2],
}

impl Evaluation {
    /// Whether a record's sample stands at the `point`-th point of this evaluation's curve, counted from 0;
    /// `None` without such a point.
    pub fn stands_at(&self, record: &Record, point: usize) -> Option<bool> {
        let curve = self.curve.as_ref()?;
        let at = curve.points.get(point)?.at;
        Some(record.stands_at(point, at))
    }
}
