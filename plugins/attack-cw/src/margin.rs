//! The margin that all three attacks minimise.

use temper_core::prelude::*;
use temper_core::{DType, Forward};

/// The class that each sample is led away from, or towards.
#[derive(Debug, Clone)]
pub(crate) struct Aim {
    classes: Vec<u32>,
    towards: bool,
    confidence: f64,
}

/// The margin of a sample and what follows from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Margin {
    /// Margin plus confidence: below 0 if the attack succeeded. If a logit is NaN, it is minus infinity without a
    /// target, and NaN with one.
    pub(crate) loss: f64,
    /// Whether the attack succeeded with the required confidence.
    pub(crate) success: bool,
    /// The larger absolute value of the two logits, which determines the rounding error of the margin.
    pub(crate) scale: f64,
    /// The class with the largest logit, except the one that the aim names.
    other: u32,
}

impl Margin {
    /// The loss as a penalty: 0 if the attack succeeded.
    pub(crate) fn hinge(self) -> f64 {
        if self.success { 0.0 } else { self.loss.max(0.0) }
    }
}

impl Aim {
    /// Why this target is not supported; `None` if it is.
    pub(crate) fn problem(attack: &str, target: Target) -> Option<String> {
        matches!(target, Target::All | Target::Likeliest(_)).then(|| {
            format!("attack `{attack}` aims at one class at a time; `pgd` and `mi-fgsm` aim at several")
        })
    }

    pub(crate) fn new(victim: &Victim, target: Target, confidence: f64, rng: &Rng) -> Result<Self> {
        if victim.mixes_samples() {
            return Err(Error::refused(
                "the `cw` attacks go on with the samples that have not come to an end, so none may depend on its company: \
                 use `attack_batch_norm = \"eval\"`",
            ));
        }
        let targets = target.choose(victim, rng)?;
        let rows = Rows { labels: victim.labels().clone(), positions: victim.positions().clone() };
        let classes = match &targets {
            Some(targets) => targets.of(&rows)?,
            None => rows.labels,
        };
        Ok(Self { classes: classes.to_vec1()?, towards: targets.is_some(), confidence })
    }

    pub(crate) fn rows(&self, mask: &[bool]) -> Self {
        Self { classes: rows::kept(&self.classes, mask), ..*self }
    }

    /// The margins of logits `[n, classes]`.
    pub(crate) fn margins(&self, logits: &Tensor) -> Result<Vec<Margin>> {
        if logits.dim(1)? < 2 {
            return Err(Error::refused("an attack on margins needs at least two classes"));
        }
        let rows = logits.to_dtype(DType::F64)?.to_vec2::<f64>()?;
        Ok(rows.iter().zip(&self.classes).map(|(row, class)| self.margin(row, *class)).collect())
    }

    fn margin(&self, logits: &[f64], class: u32) -> Margin {
        let own = logits[class as usize];
        // A row with a NaN counts as misclassified, but it is not a target class.
        let undefined = logits.iter().any(|logit| logit.is_nan());
        let (mut other, mut largest) = (u32::from(class == 0), f64::NEG_INFINITY);
        for (k, logit) in (0..).zip(logits) {
            if k != class && *logit > largest {
                (other, largest) = (k, *logit);
            }
        }
        let margin = if self.towards { largest - own } else { own - largest };
        let loss = match (undefined, self.towards) {
            (false, _) => margin + self.confidence,
            (true, false) => f64::NEG_INFINITY,
            (true, true) => f64::NAN,
        };
        // Of equal logits the first is the prediction.
        let won = if self.towards { class < other } else { other < class };
        let scale = own.abs().max(largest.abs());
        Margin { loss, scale, success: loss < 0.0 || (loss == 0.0 && won), other }
    }

    /// The gradient of each sample's margin with respect to its pixels, `[n, c, h, w]`. If `all` is false it
    /// is 0 for samples that succeeded. One backward pass.
    pub(crate) fn gradient(&self, forward: &Forward, margins: &[Margin], all: bool) -> Result<Tensor> {
        let logits = forward.logits();
        let classes = logits.dim(1)?;
        let mut weights = vec![0f32; margins.len() * classes];
        for (i, margin) in margins.iter().enumerate().filter(|(_, margin)| all || !margin.success) {
            let sign = if self.towards { -1.0 } else { 1.0 };
            weights[i * classes + self.classes[i] as usize] = sign;
            weights[i * classes + margin.other as usize] = -sign;
        }
        let weights = Tensor::from_vec(weights, logits.shape(), logits.device())?.to_dtype(logits.dtype())?;
        Ok(forward.pass_of(&|logits, _| Ok((logits * &weights)?.sum(1)?))?.gradient)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn margin(logits: &[f64], class: u32, towards: bool, confidence: f64) -> Margin {
        Aim { classes: vec![], towards, confidence }.margin(logits, class)
    }

    #[test]
    fn negative_logits_have_the_margin_of_the_same_logits_raised() {
        // A mask of zeros at the own class would make 0 the largest of the other logits.
        let margin_of = |shift: f64| margin(&[-3.0 + shift, -5.0 + shift, -4.0 + shift], 0, false, 0.0);
        assert_eq!((margin_of(0.0).loss, margin_of(0.0).other), (1.0, 2));
        assert_eq!((margin_of(10.0).loss, margin_of(10.0).other), (1.0, 2));
        assert_eq!(margin(&[-3.0, -5.0, -4.0], 1, true, 0.5).loss, 2.5);
    }

    #[test]
    fn a_tie_is_a_success_only_where_the_first_of_equals_is() {
        assert!(!margin(&[2.0, 2.0], 0, false, 0.0).success);
        assert!(margin(&[2.0, 2.0], 1, false, 0.0).success);
        assert!(margin(&[2.0, 2.0], 0, true, 0.0).success);
        assert!(!margin(&[2.0, 2.0], 1, true, 0.0).success);
        assert!(!margin(&[2.0, 2.5], 0, false, 1.0).success, "half of the confidence asked for");
    }

    #[test]
    fn logits_that_are_not_numbers_are_misclassified_and_no_target() {
        for logits in [[f64::NAN, 1.0], [1.0, f64::NAN], [f64::NAN; 2]] {
            let lost = margin(&logits, 0, false, 5.0);
            assert!(lost.success && lost.hinge() == 0.0, "{logits:?}: {lost:?}");
            assert!(!margin(&logits, 0, true, 0.0).success, "{logits:?}");
        }
    }
}
