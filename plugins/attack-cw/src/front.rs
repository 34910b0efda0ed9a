//! The samples that are still attacked.

use temper_core::prelude::*;

use crate::margin::{Aim, Margin};
use crate::tanh::TanhBox;

/// The remaining samples of a batch of `n`, and the state that the attacks keep for them.
pub(crate) struct Front<'a> {
    pub(crate) victim: Victim<'a>,
    pub(crate) aim: Aim,
    /// Clean images, `[remaining, c, h, w]`.
    pub(crate) clean: Tensor,
    pub(crate) space: TanhBox,
    /// The variable of each sample, in tanh space.
    pub(crate) variable: Tensor,
    /// The index of each sample in the batch.
    pub(crate) rows: Vec<usize>,
    n: usize,
}

/// A forward pass at the current images.
pub(crate) struct Look<'a> {
    pub(crate) image: Tensor,
    pub(crate) forward: temper_core::Forward<'a>,
    pub(crate) margins: Vec<Margin>,
}

impl<'a> Front<'a> {
    /// All samples, at their clean images.
    pub(crate) fn new(victim: &Victim<'a>, aim: &Aim, clean: &Tensor, space: TanhBox) -> Result<Self> {
        let (n, variable) = (victim.len(), space.variable(clean)?);
        let (victim, aim, clean) = (victim.clone(), aim.clone(), clean.clone());
        Ok(Self { victim, aim, clean, space, variable, rows: (0..n).collect(), n })
    }

    /// Runs a forward pass at the current images.
    pub(crate) fn look(&self) -> Result<Look<'a>> {
        let image = self.space.pixels(&self.variable)?;
        let forward = self.victim.record(&image)?;
        let margins = self.aim.margins(&forward.logits())?;
        Ok(Look { image, forward, margins })
    }

    /// `images` `[n, c, h, w]`, with those of the samples that `mask` selects replaced by their rows of
    /// `image`.
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

    /// Keeps only the samples that `mask` selects.
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

/// For each row of `[n, c, h, w]` the sum of its values, in double precision.
pub(crate) fn sums(values: &Tensor) -> Result<Vec<f64>> {
    Ok(values.flatten_from(1)?.to_dtype(temper_core::DType::F64)?.sum(1)?.to_vec1()?)
}

/// For each row of `[n, c, h, w]` the largest absolute value.
pub(crate) fn largest(values: &Tensor) -> Result<Vec<f64>> {
    Ok(values.abs()?.flatten_from(1)?.max(1)?.to_dtype(temper_core::DType::F64)?.to_vec1()?)
}
