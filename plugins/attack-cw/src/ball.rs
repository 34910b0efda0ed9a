//! `cw-ball`: `CarliniLInfMethod` of ART 1.1 to 1.8
//! (<https://github.com/Trusted-AI/adversarial-robustness-toolbox>), which table 3 of the IAAT paper calls
//! CW. It is neither the l-inf attack of Carlini and Wagner's paper (`cw-linf`) nor PGD on their margin.
//!
//! The image is tanh of a variable, scaled to the box of all images within the radius, clamped to [0, 1].
//! Plain gradient descent lowers the margin. A line search halves each step's rate until the margin falls, or
//! doubles it while the margin falls further. A sample is removed when it succeeds; a sample without success
//! returns the clean image.
//!
//! Deviations:
//!
//! - Pixels of 0 and 1, which are at the edge of their box, start at tanh = `edge`. With ART's 0.999999 their
//!   slope is 2 millionths of that of other pixels, so they do not move in single precision, and the attack
//!   does nothing on black and white images.
//! - A sample of radius 0 keeps its image (ART divides by 0).
//! - A line search that finds no better point takes its first step (ART does not move, keeps the loss of the
//!   last point tried, and usually stays there).
//! - A line search whose steps were all lost in rounding continues with a longer step, not a shorter one.
//! - A low `edge` and few doublings keep pixels away from the ends of tanh, from which descent does not
//!   return.
//!
//! Table 3 used `labels = "predicted"` and counted natural errors as correct when they were led into their
//! true class. Evaluations here count natural errors as broken, so they give lower numbers.

use temper_core::prelude::*;

use crate::front::{Front, Look, largest};
use crate::margin::{Aim, Margin};
use crate::tanh::TanhBox;

/// A smaller change of the margin, relative to its logits, is rounding error of single precision.
const ROUNDING: f64 = 1e-6;
/// A rate with which any gradient reaches the edge of the box without becoming infinite.
const LARGEST: f64 = 1e20;

/// The largest change of the variable in the first step, in tanh space, if no rate is given.
const FIRST: f64 = 0.5;

plugin! { Attack "cw-ball";
    /// Carlini and Wagner's margin in a ball: lowered by gradient descent with line
    /// search (ART 1.1's CarliniLInfMethod).
    /// Carlini & Wagner 2017, <https://arxiv.org/abs/1608.04644>, for the margin;
    /// <https://github.com/Trusted-AI/adversarial-robustness-toolbox>, for the search.
    /// Norms: l-inf.
    pub struct CarliniWagnerBall {
        /// Most steps (the authors of IAAT: 40; ART: 10).
        pub steps: NonZeroUsize = nonzero(40),
        /// First learning rate in tanh space, as a multiple of each sample's radius (the authors of IAAT:
        /// 0.05; ART's 0.01 beside its radius of 0.3: 0.0333). Left out, the rate whose first step changes no
        /// tanh variable by more than a half: it follows the slope of the margin, whatever the radius and the
        /// size of the logits.
        pub learning_rate: Option<Positive> = None,
        /// Rates tried in a step, each half of the last, until one lowers the margin (ART: 5).
        pub halvings: NonZeroUsize = nonzero(5),
        /// Doublings of the rate in a step whose first rate lowered the margin (ART: 5).
        pub doublings: usize = 2,
        /// Where tanh is for a pixel on the edge of its box, without unit (ART: 0.999999, from which single
        /// precision does not move).
        pub edge: Share = Share::of(0.3),
        /// How much larger than the own logit another must be for a success, in logits (ART: 0).
        pub confidence: NonNegative = NonNegative::of(0.0),
        /// Class that is left: the `true` one, or the one `predicted` for the clean image (the authors of
        /// IAAT; ART without labels).
        pub labels: Labels = Labels::True,
        /// Class aimed at: `none` (any wrong one), `random` (drawn evenly for each sample), or `least-likely`
        /// on the clean image.
        pub target: Target = Target::None,
    }
}

impl Attack for CarliniWagnerBall {
    fn draws(&self) -> bool {
        self.target == Target::Random
    }

    fn problem(&self, norm: Norm) -> Option<String> {
        let hopeless = (norm != Norm::Linf).then(|| {
            "attack `cw-ball` searches l-inf balls only; for l2 there is `cw-l2`, which ignores the radius".into()
        });
        hopeless.or_else(|| Aim::problem("cw-ball", self.target))
    }

    fn most_passes(&self, _classes: usize) -> Option<[u64; 2]> {
        let steps = self.steps.get();
        // Each step tries rates, each with a forward pass.
        let rates = self.halvings.get() + self.doublings;
        Some([(steps * (1 + rates) + 1) as u64, steps as u64])
    }

    fn perturb(&self, victim: &Victim, ball: &Ball, rng: &Rng) -> Result<Tensor> {
        if let Some(problem) = self.problem(ball.norm()) {
            return Err(Error::refused(problem));
        }
        let victim = self.labels.view(victim)?;
        let aim = Aim::new(&victim, self.target, self.confidence.get(), rng)?;
        let (low, high) = ball.bounds();
        let mut front = Front::new(&victim, &aim, ball.center(), TanhBox::new(low, high, self.edge)?)?;
        let mut images = ball.center().clone();
        let radii = ball.radii().to_dtype(temper_core::DType::F64)?.to_vec1::<f64>()?;
        let mut rates: Option<Vec<f64>> = self
            .learning_rate
            .map(|rate| radii.iter().map(|radius| (radius * rate.get()).min(LARGEST)).collect());
        for step in 0..=self.steps.get() {
            let Look { image, forward, margins } = front.look()?;
            let success: Vec<bool> = margins.iter().map(|margin| margin.success).collect();
            images = front.put(&images, &image, &success)?;
            let stands: Vec<bool> = success.iter().map(|success| !success).collect();
            if step == self.steps.get() || !stands.contains(&true) {
                break;
            }
            let gradient = front.aim.gradient(&forward, &margins, true)?;
            let downhill = front.space.pull_back(&front.variable, &gradient.neg()?)?;
            let now = match rates.take() {
                Some(rates) => rates,
                None => first_rates(&downhill)?,
            };
            front.keep(&stands)?;
            let now = rows::kept(&now, &stands);
            let losses: Vec<f64> = rows::kept(&margins, &stands).iter().map(|margin| margin.loss).collect();
            let mut search = Search::new(&front, rows::select(&downhill, &stands)?, losses, now);
            search.run(self.halvings.get(), self.doublings)?;
            rates = Some(search.rates.clone());
            front.variable = search.best()?;
        }
        Ok(images)
    }
}

/// The rates with which the largest change of the variable is [`FIRST`]; 0 without a gradient.
fn first_rates(downhill: &Tensor) -> Result<Vec<f64>> {
    let rate = |most: &f64| if *most > 0.0 { (FIRST / most).min(LARGEST) } else { 0.0 };
    Ok(largest(downhill)?.iter().map(rate).collect())
}

/// A line search per sample.
struct Search<'a, 'v> {
    front: &'a Front<'v>,
    /// The start, in tanh space.
    downhill: Tensor,
    /// Loss at the start.
    start: Vec<f64>,
    /// Loss at the last point tried.
    last: Vec<f64>,
    /// The rate to try next; after the search, the first rate of the next step's search.
    rates: Vec<f64>,
    /// The smallest loss and its rate; the rate is 0 if no point was better than the start.
    least: Vec<(f64, f64)>,
    success: Vec<bool>,
    /// Whether no point so far changed the loss by more than rounding.
    unmoved: Vec<bool>,
}

impl<'a, 'v> Search<'a, 'v> {
    fn new(front: &'a Front<'v>, downhill: Tensor, start: Vec<f64>, rates: Vec<f64>) -> Self {
        let least = start.iter().map(|loss| (*loss, 0.0)).collect();
        let (last, n) = (start.clone(), start.len());
        let (success, unmoved) = (vec![false; n], vec![true; n]);
        Self { front, downhill, start, last, rates, least, success, unmoved }
    }

    /// Halves the rates of samples without improvement. Doubles them where the first rate improved the loss,
    /// or where all changes were lost in rounding.
    fn run(&mut self, halvings: usize, doublings: usize) -> Result<()> {
        let n = self.start.len();
        let first = self.rates.clone();
        let mut tried = vec![0usize; n];
        for _ in 0..halvings {
            // A rate that was halved to 0 cannot improve.
            let fails = |i: usize| self.last[i] >= self.start[i] && self.rates[i] > 0.0;
            let mask: Vec<bool> = (0..n).map(fails).collect();
            if !mask.contains(&true) {
                break;
            }
            self.attempt(&mask)?;
            for i in (0..n).filter(|i| mask[*i]) {
                self.rates[i] /= 2.0;
                tried[i] += 1;
            }
        }
        self.rates.iter_mut().for_each(|rate| *rate *= 2.0);
        for _ in 0..doublings {
            let gains = |i: usize| {
                let falls = self.last[i] <= self.least[i].0 && self.rates[i] < LARGEST;
                tried[i] == 1 && falls && !self.success[i]
            };
            let mask: Vec<bool> = (0..n).map(gains).collect();
            if !mask.contains(&true) {
                break;
            }
            self.rates.iter_mut().zip(&mask).filter(|(_, m)| **m).for_each(|(rate, _)| *rate *= 2.0);
            self.attempt(&mask)?;
        }
        self.rates.iter_mut().zip(&tried).filter(|(_, t)| **t == 1).for_each(|(rate, _)| *rate /= 2.0);
        // If no rate lowered the margin, descent has converged. But an image counts by whether it succeeds,
        // so the search takes the first step anyway and continues from there.
        for (i, first) in first.iter().enumerate() {
            if self.unmoved[i] {
                self.least[i] = (self.start[i], 0.0);
                self.rates[i] = (first * f64::powi(2.0, doublings.min(64) as i32)).min(LARGEST);
            } else if self.least[i].1 == 0.0 {
                self.least[i].1 = *first;
                self.rates[i] = *first;
            }
        }
        Ok(())
    }

    /// Tries the current rates of the samples that `mask` selects.
    fn attempt(&mut self, mask: &[bool]) -> Result<()> {
        let rates = rows::column(&self.rates, &self.downhill)?;
        let variable = (&self.front.variable + self.downhill.broadcast_mul(&rates)?)?;
        let image = self.front.space.rows(mask)?.pixels(&rows::select(&variable, mask)?)?;
        let logits = self.front.victim.rows(mask)?.logits(&image)?;
        let margins: Vec<Margin> = self.front.aim.rows(mask).margins(&logits)?;
        for (i, margin) in (0..mask.len()).filter(|i| mask[*i]).zip(margins) {
            self.last[i] = margin.loss;
            self.success[i] |= margin.success;
            self.unmoved[i] &=
                (margin.loss - self.start[i]).abs() <= ROUNDING * margin.scale && !margin.success;
            if margin.loss < self.least[i].0 || (margin.success && self.least[i].1 == 0.0) {
                self.least[i] = (margin.loss, self.rates[i]);
            }
        }
        Ok(())
    }

    /// The best points found.
    fn best(&self) -> Result<Tensor> {
        let rates: Vec<f64> = self.least.iter().map(|(_, rate)| *rate).collect();
        Ok((&self.front.variable + self.downhill.broadcast_mul(&rows::column(&rates, &self.downhill)?)?)?)
    }
}
