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
}

impl Trace {
    /// A trace for a batch of `n` samples. `milestones`, ascending, are the numbers of steps after which
    /// misclassifications are recorded.
    pub fn new(n: usize, milestones: &[usize]) -> Self {
        let notes = Notes { targets: vec![None; n], mistaken: vec![vec![false; milestones.len()]; n] };
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

    /// Whether there are any milestones.
    pub(crate) fn asks(&self) -> bool {
        !self.milestones.is_empty()
    }

    /// Whether another run can still break each of these samples at some milestone, even if it is broken by
    /// now.
    pub(crate) fn open(&self, positions: &[u32]) -> Vec<bool> {
        let notes = self.notes();
        positions.iter().map(|position| notes.mistaken[*position as usize].contains(&false)).collect()
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
}
