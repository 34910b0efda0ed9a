//! `cw-ball`: `CarliniLInfMethod` of ART 1.1 to 1.8 (<https://github.com/Trusted-AI/adversarial-robustness-toolbox>), which the
//! IAAT paper's table 3 calls CW. It is neither the l-inf attack of Carlini and Wagner's paper (`cw-linf`) nor PGD on their margin.
//!
//! The image is tanh of a variable inside the box of all images within the radius, cut by [0, 1]. Plain gradient descent lowers
//! the margin: each step's rate is halved until the margin falls, or doubled as long as it falls further. A sample leaves when
//! it succeeds; one that does not is the clean image.
//!
//! Deviations: pixels of 0 and 1, which are on the edge of their box, begin at tanh = `edge`. ART's 0.999999 leaves them 2
//! millionths of the slope that others have, so that in single precision they do not move at all: on images of black and
//! white the attack then does nothing. A sample of radius 0 keeps its image (ART divides by 0). A search that found no
//! better point goes its first step all the same (ART stays, with the loss of the last point it tried, and most often for good), and
//! one whose steps were all lost in rounding goes on with a longer one, not a shorter one. A low `edge` and few doublings keep
//! pixels from the ends of tanh, from which descent does not bring them back. Table 3 ran with
//! `labels = "predicted"`, and counted natural errors that it led into their true class as correct; evaluations here count
//! natural errors as broken, so they give lower numbers.

use temper_core::prelude::*;

use crate::front::{Front, Look, largest};
use crate::margin::{Aim, Margin};
use crate::tanh::TanhBox;

/// A change of the margin below this share of its logits is rounding of single precision.
const ROUNDING: f64 = 1e-6;
/// A rate at which any gradient leads to the box's edge, and none to infinity.
const LARGEST: f64 = 1e20;

/// How far the first step goes, at most, in tanh space, where no rate is given.
const FIRST: f64 = 0.5;

plugin! { Attack "cw-ball";
    /// Carlini and Wagner's margin in a ball: lowered by gradient descent with line search (ART 1.1's CarliniLInfMethod).
    /// Carlini & Wagner 2017, <https://arxiv.org/abs/1608.04644>, for the margin;
    /// <https://github.com/Trusted-AI/adversarial-robustness-toolbox>, for the search.
    /// Norms: l-inf.
    pub struct CarliniWagnerBall {
        /// Most steps (the authors of IAAT: 40; ART: 10).
        pub steps: NonZeroUsize = nonzero(40),
        /// First learning rate in tanh space, as a multiple of each sample's radius (the authors of IAAT: 0.05; ART's 0.01 beside its
        /// radius of 0.3: 0.0333). Left out, the rate whose first step changes no tanh variable by more than a half: it follows the slope
        /// of the margin, whatever the radius and the size of the logits.
        pub learning_rate: Option<Positive> = None,
        /// Rates tried in a step, each half of the last, until one lowers the margin (ART: 5).
        pub halvings: NonZeroUsize = nonzero(5),
        /// Doublings of the rate in a step whose first rate lowered the margin (ART: 5).
        pub doublings: usize = 2,
        /// Where tanh is for a pixel on the edge of its box, without unit (ART: 0.999999, from which single precision does not
        /// move).
        pub edge: Share = Share::of(0.3),
        /// How much larger than the own logit another must be for a success, in logits (ART: 0).
        pub confidence: NonNegative = NonNegative::of(0.0),
        /// Class that is left: the `true` one, or the one `predicted` for the clean image (the authors of IAAT; ART without labels).
        pub labels: Labels = Labels::True,
        /// Class aimed at: `none` (any wrong one), `random` (drawn evenly for each sample), or `least-likely` on the clean
        /// image.
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

/// The rates whose step changes the variable by [`FIRST`] where it changes most; 0 without a slope.
fn first_rates(downhill: &Tensor) -> Result<Vec<f64>> {
    let rate = |most: &f64| if *most > 0.0 { (FIRST / most).min(LARGEST) } else { 0.0 };
    Ok(largest(downhill)?.iter().map(rate).collect())
}

/// A line search for each sample.
struct Search<'a, 'v> {
    front: &'a Front<'v>,
    /// In tanh space.
    downhill: Tensor,
    /// Loss at the start.
    start: Vec<f64>,
    /// Loss at the last point tried.
    last: Vec<f64>,
    /// Rate of the next, and in the end of the next step's first point.
    rates: Vec<f64>,
    /// Least loss, and the rate that gave it; 0 where none was better than the start.
    least: Vec<(f64, f64)>,
    success: Vec<bool>,
    /// Nothing tried so far changed the loss by more than rounding.
    unmoved: Vec<bool>,
}

impl<'a, 'v> Search<'a, 'v> {
    fn new(front: &'a Front<'v>, downhill: Tensor, start: Vec<f64>, rates: Vec<f64>) -> Self {
        let least = start.iter().map(|loss| (*loss, 0.0)).collect();
        let (last, n) = (start.clone(), start.len());
        let (success, unmoved) = (vec![false; n], vec![true; n]);
        Self { front, downhill, start, last, rates, least, success, unmoved }
    }

    /// Halves the rates where nothing is gained; doubles them where the first one gained, or where all were lost in rounding.
    fn run(&mut self, halvings: usize, doublings: usize) -> Result<()> {
        let n = self.start.len();
        let first = self.rates.clone();
        let mut tried = vec![0usize; n];
        for _ in 0..halvings {
            // A rate that was halved to 0 leads nowhere.
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
        // Where no rate lowered the margin, descent has come to an end, but the search has not: images count by whether they succeed,
        // so it goes the first step all the same, and on from there.
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

    /// Tries the present rates of the samples that `mask` names.
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
