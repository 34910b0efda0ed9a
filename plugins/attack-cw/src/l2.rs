//! `cw-l2`: section VI-A of the paper, as in the authors' code.
//!
//! For a constant c, Adam minimises ||x' - x||^2 + c max(margin + confidence, 0). The constant is found by
//! bisection; until the first success it is multiplied by ten. The nearest successful image of all iterates
//! is returned.
//!
//! Deviations:
//!
//! - A sample that makes no progress ends its own descent; the authors' code uses the sum over the batch.
//!   Progress is a new minimum of the loss, or an image that is still moving away from the clean one. The
//!   authors' code compares two single iterates a tenth of the steps apart, which with few steps can end a
//!   descent at an unfavourable iterate of Adam.
//! - A sample without success is searched again without early stopping, and then with larger constants,
//!   because the scale of logits is arbitrary.
//! - Distances are measured to the clean image itself, not to its image in tanh space.

use temper_core::prelude::*;

use crate::adam::Adam;
use crate::front::{Front, Look, largest, sums};
use crate::margin::{Aim, Margin};
use crate::tanh::TanhBox;

plugin! { Attack "cw-l2";
    /// Carlini and Wagner's l2 attack: smallest l2 perturbation by Adam in tanh space, with a search for its constant.
    /// Carlini & Wagner 2017, <https://arxiv.org/abs/1608.04644>, section VI-A.
    /// Norms: l2, whatever the norm of the radius.
    pub struct CarliniWagnerL2 {
        /// Most steps of each descent (authors' code, foolbox, adv-lib, advertorch: 10000; CleverHans: 1000;
        /// torchattacks: 50; ART: 10).
        pub steps: NonZeroUsize = nonzero(1000),
        /// Descents, each with another constant (authors' code, foolbox, adv-lib, advertorch: 9; ART: 10;
        /// CleverHans: 5; torchattacks has no search: 1).
        pub binary_search_steps: NonZeroUsize = nonzero(9),
        /// Constant of the first descent, without unit: weight of the margin beside the squared distance
        /// (authors' code, foolbox, adv-lib, advertorch: 1e-3; CleverHans, ART: 0.01; torchattacks: 1).
        pub initial_const: Positive = Positive::of(1e-3),
        /// Adam's learning rate, in units of tanh space (authors' code, foolbox, adv-lib, torchattacks, ART:
        /// 0.01; CleverHans: 5e-3).
        pub learning_rate: Positive = Positive::of(0.01),
        /// How much larger than the own logit another must be for a success, in logits (all libraries: 0).
        pub confidence: NonNegative = NonNegative::of(0.0),
        /// End a sample's descent when a tenth of `steps`, but at least 100, neither lowered its least loss
        /// by 1 in 10,000 nor led the image further out. Where nothing is found so, descents go to their end.
        pub abort_early: bool = true,
        /// Class that is left: the `true` one, or the one `predicted` for the clean image (CleverHans and ART
        /// without labels).
        pub labels: Labels = Labels::True,
        /// Class aimed at: `none` (any wrong one), `random` (drawn evenly for each sample), or `least-likely`
        /// on the clean image.
        pub target: Target = Target::None,
    }
}

/// If the slope of the margin in a pixel exceeds that of the squared distance by this factor, larger
/// constants do not help.
const OUTWEIGHS: f64 = 1e4;
/// Beyond this constant single precision overflows.
const EDGE: f64 = 1e30;
/// Smallest number of steps between two checks of a descent's progress.
const WINDOW: usize = 100;
/// Smallest growth of the squared distance of an image that is still moving away.
const GROWTH: f64 = 1.1;

/// The progress of one sample's descent.
#[derive(Debug, Clone, Copy)]
struct Descent {
    /// Smallest loss so far.
    least: f64,
    /// Smallest loss at the last check.
    before: f64,
    /// Squared distance at the last check.
    square: f64,
}

impl Descent {
    const NONE: Self = Self { least: f64::INFINITY, before: f64::INFINITY, square: 0.0 };

    /// Checks the progress, and returns whether to continue.
    fn goes_on(&mut self, square: f64) -> bool {
        let goes_on = self.least <= self.before * 0.9999 || square > self.square * GROWTH;
        (self.before, self.square) = (self.least, square);
        goes_on
    }
}

/// The search for one sample's constant, and the nearest success so far.
#[derive(Debug, Clone, Copy)]
struct Search {
    constant: f64,
    lower: f64,
    upper: f64,
    /// Whether the current descent has succeeded.
    found: bool,
    /// Squared distance of the nearest success.
    best: f64,
    /// Largest slope of the margin in a pixel so far.
    slope: f64,
}

impl Search {
    /// Records an iterate, and returns whether it is the nearest success so far.
    fn hear(&mut self, margin: Margin, square: f64) -> bool {
        self.found |= margin.success;
        let better = margin.success && square < self.best;
        if better {
            self.best = square;
        }
        better
    }

    /// Updates the constant: bisection, or a factor of ten until the first success.
    fn next(&mut self) {
        match self.found {
            true => self.upper = self.upper.min(self.constant),
            false => self.lower = self.lower.max(self.constant),
        }
        self.constant = match self.upper.is_finite() {
            true => f64::midpoint(self.lower, self.upper),
            false => self.constant * 10.0,
        };
        self.found = false;
    }
}

impl Attack for CarliniWagnerL2 {
    fn min_norm(&self) -> Option<Norm> {
        Some(Norm::L2)
    }

    fn draws(&self) -> bool {
        self.target == Target::Random
    }

    fn problem(&self, _norm: Norm) -> Option<String> {
        Aim::problem("cw-l2", self.target)
    }

    fn perturb(&self, victim: &Victim, ball: &Ball, rng: &Rng) -> Result<Tensor> {
        let victim = self.labels.view(victim)?;
        let aim = Aim::new(&victim, self.target, self.confidence.get(), rng)?;
        let mut all = Found::none(ball.center());
        let mut constant = self.initial_const.get();
        self.search(&victim, &aim, (constant, self.abort_early), &mut all)?;
        // Samples without success are searched again: without early stopping, then with larger constants.
        let mut longer = self.abort_early && self.steps.get() > self.window();
        loop {
            if !longer {
                constant *= f64::powi(10.0, self.binary_search_steps.get().min(99) as i32);
            }
            longer = false;
            let open: Vec<bool> = all.could_succeed(constant);
            if constant >= EDGE || !open.contains(&true) {
                return Ok(all.nearest);
            }
            let mut some = all.rows(&open)?;
            self.search(&victim.rows(&open)?, &aim.rows(&open), (constant, false), &mut some)?;
            all.put(&some, &open)?;
        }
    }
}

/// The results so far.
struct Found {
    /// Clean images, `[n, c, h, w]`.
    clean: Tensor,
    /// The nearest success of each sample, otherwise the clean image, `[n, c, h, w]`.
    nearest: Tensor,
    /// Which samples have a success.
    succeeded: Vec<bool>,
    /// Largest slope of the margin in a pixel.
    slopes: Vec<f64>,
}

impl Found {
    fn none(clean: &Tensor) -> Self {
        let n = clean.dims()[0];
        Self { clean: clean.clone(), nearest: clean.clone(), succeeded: vec![false; n], slopes: vec![0.0; n] }
    }

    /// The samples without success for which a search from this constant could succeed: the margin has a
    /// slope, and it does not yet outweigh that of the distance.
    fn could_succeed(&self, constant: f64) -> Vec<bool> {
        let open =
            |(succeeded, slope): (&bool, &f64)| !succeeded && *slope > 0.0 && constant * slope < OUTWEIGHS;
        self.succeeded.iter().zip(&self.slopes).map(open).collect()
    }

    fn rows(&self, mask: &[bool]) -> Result<Self> {
        Ok(Self {
            clean: rows::select(&self.clean, mask)?,
            nearest: rows::select(&self.nearest, mask)?,
            succeeded: rows::kept(&self.succeeded, mask),
            slopes: rows::kept(&self.slopes, mask),
        })
    }

    /// Records the results of the samples that `mask` selects.
    fn put(&mut self, some: &Self, mask: &[bool]) -> Result<()> {
        self.nearest = rows::replace(&self.nearest, &some.nearest, mask)?;
        for (row, i) in (0..mask.len()).filter(|i| mask[*i]).enumerate() {
            (self.succeeded[i], self.slopes[i]) = (some.succeeded[row], some.slopes[row]);
        }
        Ok(())
    }
}

impl CarliniWagnerL2 {
    /// Searches the constant, starting from a given one, with or without early stopping.
    fn search(
        &self,
        victim: &Victim,
        aim: &Aim,
        (constant, abort): (f64, bool),
        all: &mut Found,
    ) -> Result<()> {
        let search = Search {
            constant,
            lower: 0.0,
            upper: f64::INFINITY,
            found: false,
            best: f64::INFINITY,
            slope: 0.0,
        };
        let mut searches = vec![search; victim.len()];
        let last = self.binary_search_steps.get() - 1;
        for descent in 0..=last {
            if descent == last && last >= 9 {
                // As in the authors' code, a long search ends with the smallest constant that succeeded.
                for search in searches.iter_mut().filter(|search| search.upper.is_finite()) {
                    search.constant = search.upper;
                }
            }
            let front = Front::new(victim, aim, &all.clean, TanhBox::unit(&all.clean)?)?;
            self.descend(front, &mut searches, &mut all.nearest, abort)?;
            searches.iter_mut().for_each(Search::next);
        }
        all.succeeded = searches.iter().map(|search| search.best.is_finite()).collect();
        all.slopes = searches.iter().map(|search| search.slope).collect();
        Ok(())
    }

    /// Steps between two checks of a descent's progress.
    fn window(&self) -> usize {
        self.steps.get().div_ceil(10).max(WINDOW)
    }

    /// One descent for every sample from its clean image. The nearest successes are written to `nearest`,
    /// `[n, c, h, w]`.
    fn descend(
        &self,
        mut front: Front,
        searches: &mut [Search],
        nearest: &mut Tensor,
        abort: bool,
    ) -> Result<()> {
        let mut adam = Adam::new(&front.variable)?;
        let mut progress = vec![Descent::NONE; searches.len()];
        let window = self.window();
        for step in 0..self.steps.get() {
            let Look { image, forward, margins } = front.look()?;
            let offset = (&image - &front.clean)?;
            let squares = sums(&offset.sqr()?)?;
            let better = front.rows.iter().zip(margins.iter().zip(&squares));
            let better: Vec<bool> = better.map(|(row, (m, s))| searches[*row].hear(*m, *s)).collect();
            *nearest = front.put(nearest, &image, &better)?;

            let constants: Vec<f64> = front.rows.iter().map(|row| searches[*row].constant).collect();
            let raised = front.aim.gradient(&forward, &margins, false)?;
            for (row, slope) in front.rows.iter().zip(largest(&raised)?) {
                searches[*row].slope = searches[*row].slope.max(slope);
            }
            let raised = raised.broadcast_mul(&rows::column(&constants, &image)?)?;
            let gradient = (raised + offset.affine(2.0, 0.0)?)?;
            let mut gradient = front.space.pull_back(&front.variable, &gradient)?;
            if abort {
                for (i, progress) in progress.iter_mut().enumerate() {
                    progress.least = progress.least.min(squares[i] + constants[i] * margins[i].hinge());
                }
            }
            if abort && step % window == 0 {
                let stays: Vec<bool> = progress
                    .iter_mut()
                    .zip(&squares)
                    .map(|(progress, square)| progress.goes_on(*square))
                    .collect();
                front.keep(&stays)?;
                if front.rows.is_empty() {
                    break;
                }
                progress = rows::kept(&progress, &stays);
                (adam, gradient) = (adam.rows(&stays)?, rows::select(&gradient, &stays)?);
            }
            front.variable = (&front.variable + adam.step(&gradient, self.learning_rate.get())?)?;
        }
        Ok(())
    }
}
