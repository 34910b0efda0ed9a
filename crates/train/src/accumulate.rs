//! Gradients summed over the batches of one step.

use std::collections::BTreeMap;

use candle_core::Tensor;
use temper_core::nn::{Classifier, Gradients};

use crate::error::Result;

/// A sum of gradients. One batch's are kept as they are.
#[derive(Debug, Default)]
pub(crate) enum Sum {
    #[default]
    Nothing,
    One(Gradients),
    Several(BTreeMap<String, Tensor>),
}

impl Sum {
    /// With those of one more batch.
    pub(crate) fn plus(self, more: Gradients, classifier: &Classifier) -> Result<Self> {
        let mut sums = match self {
            Self::Nothing => return Ok(Self::One(more)),
            Self::One(first) => tensors(&first, classifier)?,
            Self::Several(sums) => sums,
        };
        for (name, gradient) in tensors(&more, classifier)? {
            let sum = match sums.remove(&name) {
                Some(sum) => (sum + gradient)?,
                None => gradient,
            };
            sums.insert(name, sum);
        }
        Ok(Self::Several(sums))
    }

    /// The sum times `scale`, as an optimiser takes it; `None` of nothing.
    pub(crate) fn gradients(self, classifier: &Classifier, scale: f64) -> Result<Option<Gradients>> {
        let sums = match self {
            Self::Nothing => return Ok(None),
            Self::One(gradients) if scale == 1.0 => return Ok(Some(gradients)),
            Self::One(gradients) => tensors(&gradients, classifier)?,
            Self::Several(sums) => sums,
        };
        // The gradients of a function that is linear in the weights are its coefficients.
        let terms = classifier.trained().filter_map(|(name, weight)| Some((weight, sums.get(name)?)));
        let terms: Vec<Tensor> = terms
            .map(|(weight, sum)| (weight.as_tensor() * (sum * scale)?)?.sum_all())
            .collect::<candle_core::Result<_>>()?;
        Ok(Some(classifier.backward(&Tensor::stack(&terms, 0)?.sum_all()?)?))
    }
}

/// The gradients of all weights that have one.
fn tensors(gradients: &Gradients, classifier: &Classifier) -> Result<BTreeMap<String, Tensor>> {
    let of = classifier.trained().filter_map(|(name, _)| Some((name, gradients.get(name)?)));
    of.map(|(name, gradient)| Ok((name.to_owned(), gradient.tensor()?))).collect()
}
