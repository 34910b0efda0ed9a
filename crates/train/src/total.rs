//! What of a run depends on its number of epochs: the learning rate, and nothing else. A run may therefore go on with
//! another number wherever the rates of the steps that it has made agree.

use crate::plan::Plan;
use crate::progress::Progress;
use crate::schedule::Schedule;

/// A step whose learning rate depends on the number of epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherRate {
    /// The key of `train.schedule` that spreads the rate over the run.
    pub key: &'static str,
    /// The step, from 1.
    pub step: usize,
}

impl Plan {
    /// The first step before this position that would have had another learning rate in a run of `other` epochs;
    /// `None` if all rates have the same bits. `samples` is the number of training images.
    pub fn other_rate(
        &self,
        other: usize,
        samples: usize,
        (epoch, progress): (usize, Progress),
    ) -> Option<OtherRate> {
        let each = self.steps_an_epoch(samples);
        let done = epoch * each + progress.batches.div_ceil(self.accumulate.get());
        self.schedule.first_other(done, each, [self.epochs, other])
    }
}

impl Schedule {
    /// The first of the first `done` steps, `each` in an epoch, whose rate differs between runs of two numbers of
    /// epochs.
    fn first_other(&self, done: usize, each: usize, [one, other]: [usize; 2]) -> Option<OtherRate> {
        let bits = |step, epochs| self.factor(step, each, epochs).to_bits();
        let first = (0..done).find(|step| bits(*step, one) != bits(*step, other))?;
        Some(OtherRate { key: self.curve.key(), step: first + 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first of `done` steps that differs between runs of 8 and of 6 epochs, each of 2 steps.
    fn first(schedule: &str, done: usize) -> Option<(&'static str, usize)> {
        let schedule: Schedule = toml::from_str(schedule).unwrap();
        schedule.first_other(done, 2, [8, 6]).map(|other| (other.key, other.step))
    }

    #[test]
    fn falls_after_named_epochs_do_not_depend_on_the_number_of_epochs() {
        for schedule in ["", "steps = [2, 4]\nfactor = 0.5", "steps = [3]\nwarmup = 2"] {
            assert_eq!(first(schedule, 12), None, "{schedule}");
        }
    }

    #[test]
    fn curves_over_the_run_depend_on_it_from_their_first_different_step() {
        // The first step of a cosine has the whole rate, whatever its length.
        assert_eq!(first("cosine = {}", 1), None);
        assert_eq!(first("cosine = {}", 2), Some(("cosine", 2)));
        assert_eq!(first("cosine = {}", 12), Some(("cosine", 2)));
        assert_eq!(first("cosine = { end = 1.0 }", 12), None);
        assert_eq!(first("one-cycle = {}", 0), None);
        assert_eq!(first("one-cycle = {}", 2), Some(("one-cycle", 2)));
    }

    #[test]
    fn a_warm_up_before_a_cosine_is_the_same_in_any_run() {
        let schedule = "cosine = {}\nwarmup = 3";
        assert_eq!(first(schedule, 7), None);
        assert_eq!(first(schedule, 8), Some(("cosine", 8)));
    }
}
