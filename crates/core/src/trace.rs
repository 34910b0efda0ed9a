//! A record of an attack's intermediate results, beside the images that it returns.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Intermediate results of attacks on the samples of one batch. The attack writes them through the victim
/// that carries the trace; the creator of the trace reads them afterwards.
#[derive(Debug)]
pub struct Trace {
    /// Numbers of steps after which misclassifications are recorded, ascending.
    milestones: Vec<usize>,
    notes: Mutex<Notes>,
}

#[derive(Debug)]
struct Notes {
    /// Target class, by position in the batch.
    targets: Vec<Option<u32>>,
    /// Whether the sample was misclassified, by position in the batch, then by milestone.
    mistaken: Vec<Vec<bool>>,
    /// The results of the iterates, by position in the batch.
    ways: Vec<Way>,
}

/// The results of an attack's iterates on one sample.
#[derive(Debug, Clone, Default)]
struct Way {
    /// Whether any iterate of any run was misclassified.
    mistaken: bool,
    /// The lowest score of the last run.
    lowest: f64,
    /// The highest score of the last run up to each step.
    highest: Vec<f64>,
}

/// A score still rises if its highest value rose by more than this share of its range in the last [`LATE`] steps
/// (Pintor et al. 2022, indicator of an incomplete optimisation).
const RISE: f64 = 0.05;

/// The number of steps at the end of a run over which the rise is measured.
const LATE: usize = 10;

/// The fewest steps that are judged. In a shorter run the last steps are too large a part of it to have
/// levelled off.
const ENOUGH: usize = 50;

impl Trace {
    /// A trace for a batch of `n` samples. `milestones`, ascending, are the numbers of steps after which
    /// misclassifications are recorded.
    pub fn new(n: usize, milestones: &[usize]) -> Self {
        let notes = Notes {
            targets: vec![None; n],
            mistaken: vec![vec![false; milestones.len()]; n],
            ways: vec![Way::default(); n],
        };
        Self { milestones: milestones.to_vec(), notes: Mutex::new(notes) }
    }

    /// The last target class of each sample, `[n]`; `None` for samples without a target.
    pub fn targets(&self) -> Vec<Option<u32>> {
        self.notes().targets.clone()
    }

    /// Whether each sample counts as broken after each number of steps, `[n][milestones]`. Only iterates that
    /// were classified count; the image that the attack returns is not among them. A sample is broken if one
    /// of several runs breaks it.
    pub fn mistaken(&self) -> Vec<Vec<bool>> {
        self.notes().mistaken.clone()
    }

    /// Whether any iterate of each sample was misclassified, `[n]`. Only iterates that were classified count; the
    /// image that the attack returns is not among them.
    pub fn ever_mistaken(&self) -> Vec<bool> {
        self.notes().ways.iter().map(|way| way.mistaken).collect()
    }

    /// Whether the score of each sample was still rising at the end of the last run, `[n]`; false for runs that
    /// are too short to judge, and for attacks that record no scores.
    pub fn still_rising(&self) -> Vec<bool> {
        self.notes().ways.iter().map(Way::rises).collect()
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the target classes of the samples at these positions.
    pub(crate) fn aims(&self, positions: &[u32], targets: &[u32]) {
        let mut notes = self.notes();
        for (position, target) in positions.iter().zip(targets) {
            notes.targets[*position as usize] = Some(*target);
        }
    }

    /// Whether the result after this many steps must be recorded. If `for_good`, a misclassification also
    /// counts for all later milestones; otherwise only for the milestone at exactly this step.
    pub(crate) fn wants(&self, step: usize, for_good: bool) -> bool {
        match for_good {
            true => self.milestones.last().is_some_and(|last| step <= *last),
            false => self.milestones.binary_search(&step).is_ok(),
        }
    }

    /// Records which samples are misclassified after this many steps.
    pub(crate) fn hear(&self, step: usize, positions: &[u32], mistaken: &[bool], for_good: bool) {
        let mut notes = self.notes();
        for (position, _) in positions.iter().zip(mistaken).filter(|(_, mistaken)| **mistaken) {
            for (milestone, broken) in self.milestones.iter().zip(&mut notes.mistaken[*position as usize]) {
                *broken |= *milestone == step || for_good && *milestone > step;
            }
        }
    }

    /// Records which of these samples are misclassified at an iterate.
    pub(crate) fn hear_any(&self, positions: &[u32], mistaken: &[bool]) {
        let mut notes = self.notes();
        for (position, mistaken) in positions.iter().zip(mistaken) {
            notes.ways[*position as usize].mistaken |= *mistaken;
        }
    }

    /// Records the scores of these samples after this many steps.
    pub(crate) fn hear_scores(&self, step: usize, positions: &[u32], scores: &[f64]) {
        let mut notes = self.notes();
        for (position, score) in positions.iter().zip(scores) {
            notes.ways[*position as usize].hear(step, *score);
        }
    }

    /// Whether there are any milestones.
    pub(crate) fn asks(&self) -> bool {
        !self.milestones.is_empty()
    }

    /// Whether another run can still break each of these samples at some milestone, even if the sample is
    /// already broken.
    pub(crate) fn open(&self, positions: &[u32]) -> Vec<bool> {
        let notes = self.notes();
        positions.iter().map(|position| notes.mistaken[*position as usize].contains(&false)).collect()
    }
}

impl Way {
    fn hear(&mut self, step: usize, score: f64) {
        if step == 0 {
            (self.lowest, self.highest) = (f64::INFINITY, vec![]);
        }
        self.lowest = self.lowest.min(score);
        let before = self.highest.last().copied().unwrap_or(f64::NEG_INFINITY);
        self.highest.push(before.max(score));
    }

    fn rises(&self) -> bool {
        // An attack records the iterate before each of its steps, so there are as many iterates as steps.
        let iterates = self.highest.len();
        if iterates < ENOUGH {
            return false;
        }
        let (before, last) = (self.highest[iterates - 1 - LATE], self.highest[iterates - 1]);
        let range = last - self.lowest;
        range.is_finite() && last - before > RISE * range
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_counts_at_its_milestone_or_from_there_on() {
        let trace = Trace::new(3, &[2, 5, 9]);
        assert!(
            trace.wants(3, true) && !trace.wants(3, false) && trace.wants(5, false) && !trace.wants(10, true)
        );
        trace.hear(5, &[2, 0], &[true, false], false);
        trace.hear(3, &[1], &[true], true);
        let of = |sample: usize| trace.mistaken()[sample].clone();
        assert_eq!(
            [of(0), of(1), of(2)],
            [[false; 3], [false, true, true], [false, true, false]].map(Vec::from)
        );
        trace.hear(0, &[1], &[true], true);
        assert_eq!(trace.open(&[0, 1, 2]), [true, false, true]);
        assert!(trace.asks() && !Trace::new(1, &[]).asks());
        trace.aims(&[2], &[7]);
        assert_eq!(trace.targets(), [None, None, Some(7)]);
    }

    #[test]
    fn a_score_that_rises_to_the_end_is_told_from_one_that_has_levelled_off() {
        let trace = Trace::new(3, &[]);
        let ways: [fn(f64) -> f64; 3] =
            [|step| step, |step| step.min(10.0), |step| 0.4 * step + (step % 2.0)];
        for step in 0..50 {
            let scores: Vec<f64> = ways.iter().map(|way| way(step as f64)).collect();
            trace.hear_scores(step, &[2, 1, 0], &scores);
        }
        assert_eq!(trace.still_rising(), [true, false, true]);
        // A new run discards the scores of the last one, and this one is too short to judge.
        (0..49).for_each(|step| trace.hear_scores(step, &[0, 1, 2], &[step as f64; 3]));
        assert_eq!(trace.still_rising(), [false; 3]);
        trace.hear_any(&[1], &[true]);
        trace.hear_any(&[2, 1], &[false, false]);
        assert_eq!(trace.ever_mistaken(), [false, true, false]);
    }
}
