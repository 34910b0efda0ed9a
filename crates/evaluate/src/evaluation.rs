//! The result of one entry, derived from the records of its samples.

use std::collections::BTreeMap;

use serde::Serialize;
use temper_core::{Norm, Pixels};

use crate::corrupted::Corrupted;
use crate::digest::DataDigest;
use crate::entry::Entry;
use crate::record::{Cost, Line, Record};
use crate::statistics::{Distances, wilson};

/// The result of one entry, as `results.json` holds it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// The entry's name.
    pub name: String,
    /// Share of samples that stand, 0 to 1. Of a sweep over radii: at the largest; over steps: after all of them. Of corruptions:
    /// the mean over kinds and severities.
    pub accuracy: f64,
    /// Samples judged.
    pub n: usize,
    /// Samples that should have been, but could not be decoded; absent if there are none.
    #[serde(skip_serializing_if = "is_zero")]
    pub skipped: usize,
    /// Which these are, by index in the whole data set, with the reason.
    #[serde(skip)]
    pub unreadable: BTreeMap<u64, String>,
    /// 95 % Wilson interval of the accuracy.
    pub interval: [f64; 2],
    /// Wall time.
    pub seconds: f64,
    /// Forward passes, counted a sample.
    pub forwards: u64,
    /// Backward passes, counted a sample.
    pub backwards: u64,
    /// The attack's name; absent for natural accuracy, and for several attacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attack: Option<String>,
    /// How the radius is measured; absent for natural accuracy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm: Option<Norm>,
    /// Radius in pixel values of [0, 1]; absent for natural accuracy and for a sweep over radii.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub radius: Option<f64>,
    /// What each attack did and cost, in their order; absent for natural accuracy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attacks: Vec<Cost>,
    /// Runs of each attack as a whole, if more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarts: Option<usize>,
    /// The network that images were crafted on, if not the one judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crafted_on: Option<String>,
    /// SHA-256 of its file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crafted_on_sha256: Option<String>,
    /// Of one targeted attack at one radius.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<Hits>,
    /// Of one minimum-norm attack: median distance of the adversarial images found, whatever the radius, in the attack's
    /// norm. Samples on which it failed count as infinitely far; absent if the median is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub median_distance: Option<f64>,
    /// For minimum-norm attacks: that distribution, over the samples that these attacks were run on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distances: Option<Distances>,
    /// Of a sweep: its points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curve: Option<Curve>,
    /// Of corrupted images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corruptions: Option<Corrupted>,
    /// What speaks against these numbers, as far as the evaluation itself can tell, in words; absent where nothing does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
    /// A hash of all images and labels judged: see [`DataDigest`].
    pub data: String,
    /// All that the numbers depend on, hashed: that of its lines in the file of records.
    pub key: String,
}

/// How often a targeted attack got the class that it aimed at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hits {
    /// Samples led to a class.
    pub n: usize,
    /// Those whose last image is taken for that class.
    pub hits: usize,
    /// Share of hits.
    pub rate: f64,
    /// Its 95 % Wilson interval.
    pub interval: [f64; 2],
}

/// Accuracy over something.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curve {
    /// `radius` or `steps`.
    pub over: &'static str,
    /// In ascending order.
    pub points: Vec<Point>,
}

/// A point of a curve.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// A radius in pixel values of [0, 1], or a number of steps.
    pub at: f64,
    /// Share of samples that stand.
    pub accuracy: f64,
    /// Its 95 % Wilson interval.
    pub interval: [f64; 2],
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// What records add up to.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    n: usize,
    standing: usize,
    /// Samples whose logits are not numbers, unperturbed.
    undefined: usize,
    led: usize,
    hits: usize,
    minimal: Vec<f64>,
    /// Standing at each point of a sweep.
    points: Vec<usize>,
    costs: Vec<Cost>,
    unreadable: BTreeMap<u64, String>,
    data: DataDigest,
}

impl Sum {
    pub(crate) fn of<'l>(entry: &Entry, lines: impl Iterator<Item = &'l Line>) -> Self {
        let points = entry.sweep.as_ref().map_or(0, |sweep| sweep.radius.len().max(sweep.steps.len()));
        let mut sum = Self { points: vec![0; points], ..Self::default() };
        for line in lines {
            sum.unreadable.extend(line.unreadable.clone());
            sum.data = sum.data.plus(DataDigest::parse(&line.data).unwrap_or_default());
            if sum.costs.is_empty() {
                sum.costs = line
                    .costs
                    .iter()
                    .map(|cost| Cost { attack: cost.attack.clone(), ..Cost::default() })
                    .collect();
            }
            sum.costs.iter_mut().zip(&line.costs).for_each(|(sum, cost)| sum.add(cost));
            line.samples.records().for_each(|record| sum.hear(entry, &record));
        }
        sum
    }

    fn hear(&mut self, entry: &Entry, record: &Record) {
        self.n += 1;
        self.undefined += usize::from(record.natural.is_none());
        self.standing += usize::from(record.stands());
        if let Some(target) = record.target {
            self.led += 1;
            self.hits += usize::from(record.prediction == Some(target));
        }
        self.minimal.extend(record.minimal);
        let Some(sweep) = &entry.sweep else { return };
        for (i, standing) in self.points.iter_mut().enumerate() {
            let stands = match &record.steps {
                _ if record.natural != Some(record.label) => false,
                Some(broken) => broken.get(i) == Some(&false),
                None => {
                    record.radius.is_none_or(|radius| sweep.radius.get(i).is_some_and(|at| at.get() < radius))
                }
            };
            *standing += usize::from(stands);
        }
    }

    /// Samples judged, and those that stand.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.n, self.standing)
    }

    /// Samples whose logits are not numbers, unperturbed.
    pub(crate) fn undefined(&self) -> usize {
        self.undefined
    }

    /// Samples that are classified correctly unperturbed.
    pub(crate) fn right(&self) -> usize {
        self.costs.first().map_or(0, |natural| natural.attacked - natural.broken.min(natural.attacked))
    }

    /// Why the first image could not be decoded, if one could not.
    pub(crate) fn first_unreadable(&self) -> Option<&str> {
        self.unreadable.values().next().map(String::as_str)
    }

    pub(crate) fn evaluation(self, entry: &Entry) -> Evaluation {
        let total = |count: fn(&Cost) -> u64| self.costs.iter().map(count).sum();
        let labels = entry.labels();
        let once = entry.radii().len() == 1 && entry.restarts.is_none_or(|restarts| restarts.get() == 1);
        let attacked = !labels.is_empty();
        let distances = Distances::of(self.minimal);
        let points = self.points.iter().enumerate().map(|(i, standing)| (i, *standing));
        let curve = entry.sweep.as_ref().map(|sweep| {
            let over = if sweep.radius.is_empty() { "steps" } else { "radius" };
            let at = |i: usize| match sweep.radius.get(i) {
                Some(radius) => radius.get(),
                None => sweep.steps[i].get() as f64,
            };
            let point = |(i, standing): (usize, usize)| Point {
                at: at(i),
                accuracy: share(standing, self.n),
                interval: wilson(standing, self.n),
            };
            Curve { over, points: points.map(point).collect() }
        });
        Evaluation {
            name: entry.name.clone(),
            accuracy: share(self.standing, self.n),
            n: self.n,
            skipped: self.unreadable.len(),
            unreadable: self.unreadable,
            interval: wilson(self.standing, self.n),
            seconds: self.costs.iter().map(|cost| cost.seconds).sum(),
            forwards: total(|cost| cost.forwards),
            backwards: total(|cost| cost.backwards),
            attack: labels.first().filter(|_| labels.len() == 1).cloned(),
            norm: attacked.then(|| entry.norm()),
            radius: entry.radius.map(Pixels::get),
            attacks: if attacked { self.costs.iter().skip(1).cloned().collect() } else { vec![] },
            restarts: entry.restarts.map(std::num::NonZeroUsize::get).filter(|restarts| *restarts > 1),
            crafted_on: entry.crafted_on.as_ref().map(|path| path.display().to_string()),
            crafted_on_sha256: None,
            // Who falls early to another class is led no further: with more than one chance that would be no rate of hits.
            targets: (self.led > 0 && labels.len() == 1 && once).then(|| Hits {
                n: self.led,
                hits: self.hits,
                rate: share(self.hits, self.led),
                interval: wilson(self.hits, self.led),
            }),
            median_distance: distances.as_ref().filter(|_| labels.len() == 1).and_then(|of| of.p50),
            distances,
            curve,
            corruptions: None,
            doubts: vec![],
            data: self.data.to_string(),
            key: String::new(),
        }
    }
}

fn share(hits: usize, n: usize) -> f64 {
    hits as f64 / n.max(1) as f64
}
