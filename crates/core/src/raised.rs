//! The loss that an attack maximises.

use candle_core::Tensor;

use crate::{Error, Result, Rows, Target, cross_entropy, log_odds};

crate::options! {
    /// The loss that an attack maximises.
    #[derive(Default)]
    pub enum Raised {
        /// Cross-entropy, as log odds, whose gradient does not vanish when the network is confident.
        #[default]
        Ce = "ce",
        /// The largest logit of a wrong class minus that of the true one (Carlini and Wagner 2017).
        Margin = "margin",
        /// The difference of logits ratio (Croce and Hein 2020): the margin divided by the difference between
        /// the largest and the third largest logit.
        Dlr = "dlr",
    }
}

/// The number of classes that the difference of logits ratio needs, untargeted and targeted.
const DLR_CLASSES: [usize; 2] = [3, 4];

impl Raised {
    /// The loss's part of an attack's label; empty for the default.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Ce => "",
            Self::Margin => "-margin",
            Self::Dlr => "-dlr",
        }
    }

    /// The reason why an attack with this target cannot maximise this loss on a network with this number of
    /// classes, as text.
    pub fn problem(self, target: Target, classes: usize) -> Option<String> {
        let targeted = target != Target::None;
        let needed = match self {
            Self::Dlr => DLR_CLASSES[usize::from(targeted)],
            Self::Margin => 2,
            Self::Ce => 1 + usize::from(targeted),
        };
        (classes < needed).then(|| match self {
            Self::Dlr => few_for_dlr(needed, classes),
            _ => format!("the attack needs at least {needed} classes, not {classes}"),
        })
    }

    /// The untargeted loss of each sample, `[n]`, from logits `[n, classes]`. `mixes` is true on batch
    /// statistics, where the sum of all losses is differentiated. An error if there are too few classes.
    pub fn away(self, logits: &Tensor, rows: &Rows, mixes: bool) -> Result<Tensor> {
        match self {
            Self::Ce if mixes => cross_entropy(logits, rows),
            Self::Ce => log_odds(logits, rows),
            Self::Margin => margin(logits, &rows.labels),
            Self::Dlr => {
                let sorted = sorted(logits, DLR_CLASSES[0])?;
                over(&margin(logits, &rows.labels)?, &(sorted.get_on_dim(1, 0)? - sorted.get_on_dim(1, 2)?)?)
            }
        }
    }

    /// The targeted loss of each sample towards the class in `targets`, `[n]`, `u32`. Otherwise like
    /// [`Self::away`].
    pub fn towards(self, logits: &Tensor, targets: &Tensor, rows: &Rows, mixes: bool) -> Result<Tensor> {
        let aimed = Rows { labels: targets.clone(), positions: rows.positions.clone() };
        match self {
            Self::Ce => Ok(self.away(logits, &aimed, mixes)?.neg()?),
            Self::Margin => Ok(margin(logits, targets)?.neg()?),
            Self::Dlr => {
                let sorted = sorted(logits, DLR_CLASSES[1])?;
                let third = ((sorted.get_on_dim(1, 2)? + sorted.get_on_dim(1, 3)?)? / 2.0)?;
                let apart = (logit(logits, targets)? - logit(logits, &rows.labels)?)?;
                over(&apart, &(sorted.get_on_dim(1, 0)? - third)?)
            }
        }
    }
}

/// The logit of one class per sample, `[n]`.
fn logit(logits: &Tensor, classes: &Tensor) -> Result<Tensor> {
    Ok(logits.gather(&classes.unsqueeze(1)?, 1)?.squeeze(1)?)
}

/// The largest logit of the other classes minus that of `labels`, `[n]`. With equal logits the first is used.
fn margin(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    if logits.dim(1)? < 2 {
        return Err(Error::refused("the loss `margin` needs at least two classes"));
    }
    let column = labels.unsqueeze(1)?;
    let lowest = column.zeros_like()?.to_dtype(logits.dtype())?.affine(1.0, f64::NEG_INFINITY)?;
    let other = logits.detach().scatter(&column, &lowest, 1)?.argmax(1)?;
    Ok((logit(logits, &other)? - logit(logits, labels)?)?)
}

/// The logits of each sample in descending order, `[n, classes]`. An error if there are fewer than `needed`
/// classes.
fn sorted(logits: &Tensor, needed: usize) -> Result<Tensor> {
    let classes = logits.dim(1)?;
    if classes < needed {
        return Err(Error::refused(few_for_dlr(needed, classes)));
    }
    let order = logits.detach().contiguous()?.arg_sort_last_dim(false)?;
    Ok(logits.gather(&order, 1)?)
}

fn few_for_dlr(needed: usize, classes: usize) -> String {
    format!("the loss `dlr` needs at least {needed} classes, not {classes}: take `loss = \"margin\"`")
}

/// A quotient. A denominator of 0 (equal logits) gives a large number instead of infinity.
fn over(above: &Tensor, below: &Tensor) -> Result<Tensor> {
    Ok((above / (below + 1e-12)?)?)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    fn rows(labels: &[u32]) -> Rows {
        let positions = (0..labels.len() as u32).collect::<Vec<_>>();
        let tensor = |values: &[u32]| Tensor::new(values, &Device::Cpu).unwrap();
        Rows { labels: tensor(labels), positions: tensor(&positions) }
    }

    /// Values and gradients computed by hand: z = (1, 4, 2, 0), with class 0 and with class 1.
    #[test]
    fn margin_and_dlr_are_those_of_their_papers() {
        let logits = Var::new(&[[1.0f64, 4.0, 2.0, 0.0], [1.0, 4.0, 2.0, 0.0]], &Device::Cpu).unwrap();
        let rows = rows(&[0, 1]);
        let numbers = |t: &Tensor| t.to_vec1::<f64>().unwrap();
        let margin = Raised::Margin.away(&logits, &rows, false).unwrap();
        assert_eq!(numbers(&margin), [3.0, -2.0]);
        // The denominator is the largest logit minus the third: 4 - 1.
        let dlr = Raised::Dlr.away(&logits, &rows, false).unwrap();
        let expected = [1.0, -2.0 / 3.0];
        assert!(numbers(&dlr).iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{dlr}");
        let gradient = margin.sum_all().unwrap().backward().unwrap().remove(&logits).unwrap();
        assert_eq!(gradient.to_vec2::<f64>().unwrap(), [[-1.0, 1.0, 0.0, 0.0], [0.0, -1.0, 1.0, 0.0]]);
        // Towards class 2: (2 - z_y) / (4 - (1 + 0) / 2).
        let targets = Tensor::new(&[2u32, 2], &Device::Cpu).unwrap();
        let towards = Raised::Dlr.towards(&logits, &targets, &rows, false).unwrap();
        let expected = [1.0 / 3.5, -2.0 / 3.5];
        assert!(numbers(&towards).iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{towards}");
        let towards = Raised::Margin.towards(&logits, &targets, &rows, false).unwrap();
        assert_eq!(numbers(&towards), [-2.0, -2.0]);
    }

    /// The ratio is invariant under z -> a z + b, so that a network cannot evade the attack by scaling its
    /// logits.
    #[test]
    fn dlr_does_not_depend_on_scale_or_shift() {
        let z = [[0.3f64, -1.2, 2.5, 0.9, 0.1], [1.0, 4.0, -2.0, 0.5, 3.0]];
        let rows = rows(&[2, 0]);
        let targets = Tensor::new(&[3u32, 4], &Device::Cpu).unwrap();
        let losses = |z: &Tensor| {
            [
                Raised::Dlr.away(z, &rows, false).unwrap(),
                Raised::Dlr.towards(z, &targets, &rows, false).unwrap(),
            ]
        };
        let numbers = |losses: &[Tensor; 2]| losses.each_ref().map(|loss| loss.to_vec1::<f64>().unwrap());
        let moved = |scale: f64, shift: f64| {
            ((Tensor::new(&z, &Device::Cpu).unwrap() * scale).unwrap() + shift).unwrap()
        };
        let plain = numbers(&losses(&moved(1.0, 0.0)));
        for (scale, shift) in [(1000.0, 0.0), (0.01, 7.0), (3.0, -20.0)] {
            let other = numbers(&losses(&moved(scale, shift)));
            let pairs = plain.iter().flatten().zip(other.iter().flatten());
            assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-9), "{plain:?} {other:?}");
        }
        let variable = Var::from_tensor(&moved(1.0, 0.0)).unwrap();
        for (which, loss) in losses(&variable).iter().enumerate() {
            let gradient = loss.sum_all().unwrap().backward().unwrap().remove(&variable).unwrap();
            let gradient = gradient.to_vec2::<f64>().unwrap();
            // Shifting or scaling all logits changes nothing, so the gradient is orthogonal to both.
            for (row, z) in gradient.iter().zip(z) {
                assert!(row.iter().sum::<f64>().abs() < 1e-9, "{row:?}");
                assert!(row.iter().zip(z).map(|(g, z)| g * z).sum::<f64>().abs() < 1e-9, "{row:?}");
            }
            // Finite differences: one logit is slightly larger.
            let step = 1e-6;
            for (row, class) in (0..2).flat_map(|row| (0..5).map(move |class| (row, class))) {
                let mut larger = z;
                larger[row][class] += step;
                let loss = numbers(&losses(&Tensor::new(&larger, &Device::Cpu).unwrap()))[which][row];
                let slope = (loss - plain[which][row]) / step;
                assert!(
                    (slope - gradient[row][class]).abs() < 1e-5,
                    "loss {which}, row {row}, class {class}"
                );
            }
        }
    }

    #[test]
    fn too_few_classes_are_an_error() {
        let two = Tensor::new(&[[1.0f32, 2.0]], &Device::Cpu).unwrap();
        let error = Raised::Dlr.away(&two, &rows(&[0]), false).unwrap_err().to_string();
        assert!(error.contains("needs at least 3 classes, not 2: take `loss = \"margin\"`"), "{error}");
        let one = Tensor::new(&[[1.0f32]], &Device::Cpu).unwrap();
        assert!(Raised::Margin.away(&one, &rows(&[0]), false).is_err());
    }
}
