//! The result of one entry, derived from the records of its samples.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use temper_core::{Access, Distance, Member};
use temper_results::{
    Corrupted, Cost, Curve, DataDigest, Evaluation, Hits, Line, Over, Point, Queries, Record, wilson,
};

use crate::Setting;
use crate::checks::{Evidence, of_evaluation};
use crate::entry::{Entry, Sweep};
use crate::quantiles::distribution;

/// Totals over the records of an evaluation.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    n: usize,
    standing: usize,
    /// Samples whose logits are NaN unperturbed.
    undefined: usize,
    /// Samples of each class.
    labels: BTreeMap<u32, usize>,
    led: usize,
    hits: usize,
    min_norm: Vec<f64>,
    /// Queries on the samples that each attack without gradients broke, by the attack's label.
    queries: BTreeMap<String, Vec<u64>>,
    /// Samples that stand at each point of a sweep.
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
            sum.data = sum.data.plus(line.data);
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
        *self.labels.entry(record.label).or_default() += 1;
        if let Some(target) = record.target {
            self.led += 1;
            self.hits += usize::from(record.prediction == Some(target));
        }
        self.min_norm.extend(record.min_norm);
        if let (Some(attack), Some(queries)) = (&record.broken_by, record.queries) {
            self.queries.entry(attack.clone()).or_default().push(queries);
        }
        let Some(sweep) = &entry.sweep else { return };
        for (i, standing) in self.points.iter_mut().enumerate() {
            let at = sweep.radius.get(i).map_or(f64::NAN, |radius| radius.get());
            *standing += usize::from(record.stands_at(i, at));
        }
    }

    /// Numbers of samples evaluated, and of samples that stand.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.n, self.standing)
    }

    /// Samples that are classified correctly unperturbed.
    fn right(&self) -> usize {
        self.costs.first().map_or(0, |natural| natural.attacked - natural.broken.min(natural.attacked))
    }

    /// Images that could not be decoded, by index in the whole data set, with the reason.
    pub(crate) fn unreadable(&self) -> &BTreeMap<u64, String> {
        &self.unreadable
    }

    /// The result of an entry. `corrupted` holds the accuracies on corrupted images, if there are any.
    pub(crate) fn evaluation(
        self,
        setting: &Setting,
        (entry, members): (&Entry, &[Member]),
        corrupted: Option<Corrupted>,
    ) -> Evaluation {
        let total = |count: fn(&Cost) -> u64| self.costs.iter().map(count).sum();
        let attacked = !members.is_empty();
        let only = members.first().filter(|_| members.len() == 1);
        let curve = entry.sweep.as_ref().map(|sweep| self.curve(sweep));
        let distances = distribution(self.min_norm.clone());
        let costs = self.costs.iter().skip(1).zip(members);
        let attacks: Vec<Cost> = costs.map(|(cost, member)| self.with_queries(cost, member)).collect();
        let evidence = Evidence {
            setting,
            entry,
            members,
            n: self.n,
            standing: self.standing,
            right: self.right(),
            undefined: self.undefined,
            largest_class: self.labels.values().copied().max().unwrap_or(0),
            attacks: &attacks,
            distances: distances.as_ref(),
            curve: curve.as_ref(),
        };
        let warnings = of_evaluation(&evidence);
        // All corruptions use the same n images, so the interval is that of n images, not of n images per
        // corruption.
        let (accuracy, n, right) = match &corrupted {
            Some(table) => (table.mean, table.clean.n, (table.mean * table.clean.n as f64).round() as usize),
            None => (share(self.standing, self.n), self.n, self.standing),
        };
        Evaluation {
            name: entry.name.clone(),
            accuracy,
            n,
            skipped: self.unreadable.len(),
            interval: wilson(right, n),
            seconds: self.costs.iter().map(|cost| cost.seconds).sum(),
            forwards: total(|cost| cost.forwards),
            backwards: total(|cost| cost.backwards),
            attack: only.map(|member| member.label.clone()),
            norm: attacked.then(|| entry.norm()),
            radius: entry.radius.map(Distance::get),
            restarts: entry.restarts.map(NonZeroUsize::get).filter(|restarts| *restarts > 1),
            surrogate: setting.surrogate.map(|surrogate| surrogate.name.into()),
            surrogate_sha256: setting.surrogate.map(|surrogate| surrogate.sha256.into()),
            targets: only.and_then(|member| self.hits(entry, member)),
            median_distance: distances.as_ref().filter(|_| only.is_some()).and_then(|of| of.p50),
            corruptions: corrupted,
            warnings,
            data: self.data.to_string(),
            key: setting.key.clone(),
            weights: Some(setting.weights.into()),
            epoch: setting.epoch,
            judged_by: setting.judged_by.map(Into::into),
            attacks,
            distances,
            curve,
            // Known only from all evaluations together.
            optimality: None,
        }
    }

    /// The cost of an attack, with its queries if it uses no gradients.
    fn with_queries(&self, cost: &Cost, member: &Member) -> Cost {
        let queries = (member.attack.needs() < Access::Gradients).then(|| {
            let mut broken = self.queries.get(&member.label).cloned().unwrap_or_default();
            broken.sort_unstable();
            let median = broken.get(broken.len() / 2).map(|upper| {
                let lower = broken[(broken.len() - 1) / 2];
                f64::midpoint(lower as f64, *upper as f64)
            });
            Queries { budget: member.attack.budget(), median, most: broken.last().copied() }
        });
        Cost { queries, ..cost.clone() }
    }

    /// The points of a sweep.
    fn curve(&self, sweep: &Sweep) -> Curve {
        let over = if sweep.radius.is_empty() { Over::Steps } else { Over::Radius };
        let at = |i: usize| match sweep.radius.get(i) {
            Some(radius) => radius.get(),
            None => sweep.steps[i].get() as f64,
        };
        let point = |(i, standing): (usize, &usize)| Point {
            at: at(i),
            accuracy: share(*standing, self.n),
            interval: wilson(*standing, self.n),
        };
        Curve { over, points: self.points.iter().enumerate().map(point).collect() }
    }

    /// The target rate of one attack at one radius that runs once. Several radii or restarts have no target
    /// rate, because a sample that falls to another class early is not attacked again.
    fn hits(&self, entry: &Entry, only: &Member) -> Option<Hits> {
        let once = entry.radii().len() == 1 && only.restarts.get() == 1;
        (self.led > 0 && once).then(|| Hits {
            n: self.led,
            hits: self.hits,
            rate: share(self.hits, self.led),
            interval: wilson(self.hits, self.led),
        })
    }
}

fn share(hits: usize, n: usize) -> f64 {
    hits as f64 / n.max(1) as f64
}
