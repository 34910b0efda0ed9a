//! What an attack tells of its way, besides the images that it returns.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is written down while attacks run on the samples of one batch. A victim that carries it passes it on; who made it
/// reads it afterwards.
#[derive(Debug)]
pub struct Trace {
    /// Numbers of steps after which it is asked who errs, ascending.
    milestones: Vec<usize>,
    notes: Mutex<Notes>,
}

#[derive(Debug)]
struct Notes {
    /// By position in the batch.
    targets: Vec<Option<u32>>,
    /// By position in the batch, then by milestone.
    mistaken: Vec<Vec<bool>>,
}

impl Trace {
    /// For a batch of `n` samples; `milestones`, ascending, are numbers of steps after which it is asked who errs.
    pub fn new(n: usize, milestones: &[usize]) -> Self {
        let notes = Notes { targets: vec![None; n], mistaken: vec![vec![false; milestones.len()]; n] };
        Self { milestones: milestones.to_vec(), notes: Mutex::new(notes) }
    }

    /// The class that each sample was led to at last, `[n]`; none for those that were led nowhere.
    pub fn targets(&self) -> Vec<Option<u32>> {
        self.notes().targets.clone()
    }

    /// Whether each sample counts as broken after each number of steps, `[n][milestones]`, as far as iterates were judged:
    /// the one that the attack returns is not among them. Of several runs on a sample, one is enough.
    pub fn mistaken(&self) -> Vec<Vec<bool>> {
        self.notes().mistaken.clone()
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Samples, by position, are led to these classes from now on.
    pub(crate) fn aims(&self, positions: &[u32], targets: &[u32]) {
        let mut notes = self.notes();
        for (position, target) in positions.iter().zip(targets) {
            notes.targets[*position as usize] = Some(*target);
        }
    }

    /// Whether anybody asks who errs after this many steps, if an error once stays one (`for_good`), or only at that iterate.
    pub(crate) fn wants(&self, step: usize, for_good: bool) -> bool {
        match for_good {
            true => self.milestones.last().is_some_and(|last| step <= *last),
            false => self.milestones.binary_search(&step).is_ok(),
        }
    }

    /// Who errs after this many steps.
    pub(crate) fn hear(&self, step: usize, positions: &[u32], mistaken: &[bool], for_good: bool) {
        let mut notes = self.notes();
        for (position, _) in positions.iter().zip(mistaken).filter(|(_, mistaken)| **mistaken) {
            for (milestone, broken) in self.milestones.iter().zip(&mut notes.mistaken[*position as usize]) {
                *broken |= *milestone == step || for_good && *milestone > step;
            }
        }
    }

    /// Whether anybody asks who errs on the way.
    pub(crate) fn asks(&self) -> bool {
        !self.milestones.is_empty()
    }

    /// Whom another run may still break after fewer steps, whatever became of them in the end.
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
