//! The schedule of checkpoints, and whether a sample's step length is halved at one (section 3 of the paper).

/// Share of all steps before the first checkpoint.
const FIRST: f64 = 0.22;
/// Shares of all steps: by how much each window is shorter than the one before, and the length of the shortest one.
const SHRINK: f64 = 0.03;
const LEAST: f64 = 0.06;

/// The windows between checkpoints.
pub(crate) struct Windows {
    /// Steps at the end of the current window.
    end: usize,
    length: usize,
    shrink: usize,
    least: usize,
}

impl Windows {
    /// The windows of an attack with this many steps.
    pub(crate) fn of(steps: usize) -> Self {
        let share = |share: f64| ((share * steps as f64) as usize).max(1);
        Self { end: share(FIRST), length: share(FIRST), shrink: share(SHRINK), least: share(LEAST) }
    }

    /// The length of the window that ends after this many steps, or `None`. Must be called after each step.
    pub(crate) fn ended_by(&mut self, step: usize) -> Option<usize> {
        if step < self.end {
            return None;
        }
        let length = self.length;
        self.length = length.saturating_sub(self.shrink).max(self.least);
        self.end += self.length;
        Some(length)
    }
}

/// The state of one sample's ascent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    /// Step length, as a multiple of the radius.
    pub(crate) length: f64,
    /// Loss of the last iterate.
    last: f64,
    /// Highest loss so far, and its value at the last checkpoint.
    best: f64,
    best_before: f64,
    /// Rises of the loss since the last checkpoint.
    rises: usize,
    /// Whether the step was halved at the last checkpoint. At the first one it counts as halved.
    halved: bool,
}

impl Progress {
    /// A sample at its start. The next loss is compared with `before`, or if that is `None` with `loss`.
    pub(crate) fn begin(length: f64, loss: f64, before: Option<f64>) -> Self {
        let last = before.unwrap_or(loss);
        Self { length, last, best: loss, best_before: loss, rises: 0, halved: true }
    }

    /// Records the loss of the next iterate, and returns whether it is the highest so far. A NaN never is.
    pub(crate) fn arrive(&mut self, loss: f64) -> bool {
        self.rises += usize::from(loss > self.last);
        self.last = loss;
        let better = loss > self.best || self.best.is_nan() && !loss.is_nan();
        if better {
            self.best = loss;
        }
        better
    }

    /// Ends a window of this many steps, and returns whether the step length was halved: the loss rose in at most the
    /// share `rho` of them, or the highest loss did not rise although the previous window had kept the step length.
    pub(crate) fn check(&mut self, window: usize, rho: f64) -> bool {
        let rarely = self.rises as f64 <= rho * window as f64;
        let stuck = !self.halved && self.best <= self.best_before;
        self.halved = rarely || stuck;
        self.best_before = self.best;
        self.rises = 0;
        if self.halved {
            self.length /= 2.0;
        }
        self.halved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoints(steps: usize) -> Vec<usize> {
        let mut windows = Windows::of(steps);
        (1..=steps).filter(|step| windows.ended_by(*step).is_some()).collect()
    }

    #[test]
    fn checkpoints_are_those_of_the_authors_code() {
        assert_eq!(checkpoints(100), [22, 41, 57, 70, 80, 87, 93, 99]);
        assert_eq!(checkpoints(50), [11, 21, 30, 38, 45]);
        assert_eq!(checkpoints(10), [2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(checkpoints(1), [1]);
        let mut windows = Windows::of(100);
        let lengths: Vec<usize> = (1..=100).filter_map(|step| windows.ended_by(step)).collect();
        assert_eq!(lengths, [22, 19, 16, 13, 10, 7, 6, 6]);
    }

    /// A sample whose loss rises in the first `rises` steps of a window, and falls in the others.
    fn after(mut progress: Progress, rises: usize, window: usize) -> Progress {
        let mut loss = progress.last;
        for step in 0..window {
            loss += if step < rises { 1.0 } else { -0.1 };
            progress.arrive(loss);
        }
        progress
    }

    #[test]
    fn a_share_of_exactly_rho_halves_the_step() {
        let begin = Progress::begin(2.0, 0.0, None);
        for (rises, window, halves) in [(12, 16, true), (13, 16, false), (16, 22, true), (17, 22, false)] {
            let mut progress = after(begin, rises, window);
            assert_eq!(progress.check(window, 0.75), halves, "{rises} of {window}");
            assert_eq!(progress.length, if halves { 1.0 } else { 2.0 });
        }
    }

    /// The loss falls far in one step, and then rises without coming back.
    fn dip(mut progress: Progress, window: usize) -> Progress {
        let best = progress.best;
        for step in 0..window {
            progress.arrive(best - 100.0 + step as f64);
        }
        progress
    }

    #[test]
    fn a_best_loss_that_stays_halves_the_step_unless_it_was_halved_before_or_nothing_was_checked_yet() {
        // At the first checkpoint only rises count.
        let mut progress = dip(Progress::begin(2.0, 0.0, None), 10);
        assert!(!progress.check(10, 0.75));
        // The last checkpoint did not halve the step, and the best loss is unchanged.
        let mut progress = dip(progress, 10);
        assert!(progress.check(10, 0.75));
        // The last checkpoint halved the step.
        let mut progress = dip(progress, 10);
        assert!(!progress.check(10, 0.75));
        // The best loss rose.
        let mut progress = after(dip(progress, 10), 200, 200);
        assert!(!progress.check(200, 0.75));
        assert_eq!(progress.length, 1.0);
    }

    #[test]
    fn the_first_loss_is_compared_with_the_start_or_with_a_given_number() {
        let rises = |start: f64, before: Option<f64>| {
            let mut progress = Progress::begin(2.0, start, before);
            progress.arrive(-1.0);
            progress.rises
        };
        assert_eq!([rises(-2.0, None), rises(0.0, None)], [1, 0]);
        assert_eq!([rises(-2.0, Some(0.0)), rises(0.0, Some(0.0))], [0, 0]);
        assert_eq!([rises(0.0, Some(f64::NEG_INFINITY)), rises(-2.0, Some(f64::INFINITY))], [1, 0]);
        // `before` is not a candidate for the best loss.
        let mut progress = Progress::begin(2.0, -2.0, Some(0.0));
        assert!(progress.arrive(-1.0) && !progress.arrive(-1.5));
    }

    #[test]
    fn a_loss_that_is_not_a_number_is_never_the_best() {
        let mut progress = Progress::begin(2.0, f64::NAN, None);
        assert!(!progress.arrive(f64::NAN) && progress.arrive(-1.0) && !progress.arrive(f64::NAN));
        assert!(progress.check(3, 0.75));
    }
}
