//! The samples that are still on their way.

use temper_core::prelude::*;

use crate::margin::{Aim, Margin};
use crate::tanh::TanhBox;

/// Those samples of a batch of `n` that have not come to an end, and what each of the attacks keeps for them.
pub(crate) struct Front<'a> {
    pub(crate) victim: Victim<'a>,
    pub(crate) aim: Aim,
    /// Clean images, `[remaining, c, h, w]`.
    pub(crate) clean: Tensor,
    pub(crate) space: TanhBox,
    /// Where each sample is, in tanh space.
    pub(crate) variable: Tensor,
    /// Which samples of the batch these are.
    pub(crate) rows: Vec<usize>,
    n: usize,
}

/// A pass at the present images.
pub(crate) struct Look<'a> {
    pub(crate) image: Tensor,
    pub(crate) forward: temper_core::Forward<'a>,
    pub(crate) margins: Vec<Margin>,
}

impl<'a> Front<'a> {
    /// All samples at their clean images.
    pub(crate) fn new(victim: &Victim<'a>, aim: &Aim, clean: &Tensor, space: TanhBox) -> Result<Self> {
        let (n, variable) = (victim.len(), space.variable(clean)?);
        let (victim, aim, clean) = (victim.clone(), aim.clone(), clean.clone());
        Ok(Self { victim, aim, clean, space, variable, rows: (0..n).collect(), n })
    }

    /// A forward pass at the present images.
    pub(crate) fn look(&self) -> Result<Look<'a>> {
        let image = self.space.pixels(&self.variable)?;
        let forward = self.victim.record(&image)?;
        let margins = self.aim.margins(&forward.logits())?;
        Ok(Look { image, forward, margins })
    }

    /// `images` `[n, c, h, w]` with those of the samples that `mask` names replaced by their rows of `image`.
    pub(crate) fn put(&self, images: &Tensor, image: &Tensor, mask: &[bool]) -> Result<Tensor> {
        let mut all = vec![false; self.n];
        for (row, named) in self.rows.iter().zip(mask) {
            all[*row] = *named;
        }
        match mask.contains(&true) {
            true => rows::replace(images, &rows::select(image, mask)?, &all),
            false => Ok(images.clone()),
        }
    }

    /// Goes on with the samples that `mask` names.
    pub(crate) fn keep(&mut self, mask: &[bool]) -> Result<()> {
        self.rows = rows::kept(&self.rows, mask);
        if !self.rows.is_empty() && mask.contains(&false) {
            (self.victim, self.aim) = (self.victim.rows(mask)?, self.aim.rows(mask));
            (self.clean, self.space) = (rows::select(&self.clean, mask)?, self.space.rows(mask)?);
            self.variable = rows::select(&self.variable, mask)?;
        }
        Ok(())
    }
}

/// A number for each row of `[n, c, h, w]`: the sum of its values in double precision.
pub(crate) fn sums(values: &Tensor) -> Result<Vec<f64>> {
    Ok(values.flatten_from(1)?.to_dtype(temper_core::DType::F64)?.sum(1)?.to_vec1()?)
}

/// A number for each row of `[n, c, h, w]`: the largest of its absolute values.
pub(crate) fn largest(values: &Tensor) -> Result<Vec<f64>> {
    Ok(values.abs()?.flatten_from(1)?.max(1)?.to_dtype(temper_core::DType::F64)?.to_vec1()?)
}
