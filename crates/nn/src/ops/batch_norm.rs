//! Batch norm in training: on the statistics of the batch, or on given ones.

use candle_core::{CpuStorage, CustomOp3, DType, Device, Layout, Result, Shape, Tensor, bail};

use super::{slice, tensor, with};
use crate::kernel::{self, Moments, Real, stored};

/// Batch norm by given moments, NHWC.
struct BatchNorm {
    relu: bool,
    moments: Moments,
    /// Are the moments those of the input, so that its gradient passes through them?
    own: bool,
}

/// Batch norm of `x` by `moments` (mean and variance, `[c]`), or by those of `x` itself; returns the result and the
/// (biased) moments.
pub(crate) fn batch_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    relu: bool,
    moments: Option<[Tensor; 2]>,
) -> Result<(Tensor, [Tensor; 2])> {
    fn run<T: Real>(x: &Tensor, channels: usize) -> Result<Moments> {
        with::<T, _>(x, |x| Ok(kernel::moments(x, channels)))
    }
    let (own, channels) = (moments.is_none(), weight.elem_count());
    let moments = match moments {
        Some(given) => given_moments(&given)?,
        None => by_dtype!(x.dtype(), run::<T>(x, stored(channels)))?,
    };
    let columns = moment_tensors(&moments, channels)?;
    Ok((x.apply_op3(weight, bias, BatchNorm { relu, moments, own })?, columns))
}

/// Moments from tensors `[c]`.
pub(super) fn given_moments([mean, variance]: &[Tensor; 2]) -> Result<Moments> {
    let numbers =
        |t: &Tensor| Ok::<_, candle_core::Error>(filled(t.to_dtype(DType::F64)?.to_vec1::<f64>()?, 0.0));
    Ok(Moments { mean: numbers(mean)?, variance: numbers(variance)? })
}

/// Moments as tensors `[c]`.
pub(super) fn moment_tensors(moments: &Moments, channels: usize) -> Result<[Tensor; 2]> {
    let column = |v: &[f64]| Tensor::new(&v[..channels], &Device::Cpu);
    Ok([column(&moments.mean)?, column(&moments.variance)?])
}

/// One number a stored channel: those beyond the true ones are `rest`.
pub(super) fn filled<T: Clone>(mut values: Vec<T>, rest: T) -> Vec<T> {
    values.resize(stored(values.len()), rest);
    values
}

impl BatchNorm {
    fn backward<T: Real>(
        &self,
        x: &Tensor,
        weight: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let channels = weight.elem_count();
        let mut dx = vec![T::ZERO; x.elem_count()];
        let [dw, db] = with::<T, _>(x, |x| {
            let weight = with::<T, _>(weight, |weight| Ok(filled(weight.to_vec(), T::ZERO)))?;
            with::<T, _>(result, |result| {
                with::<T, _>(gradient, |g| {
                    let moments = (&self.moments, self.own);
                    let relu = self.relu.then_some(result);
                    Ok(kernel::batch_norm_gradients(x, moments, &weight, relu, g, &mut dx))
                })
            })
        })?;
        let column = |mut values: Vec<T>| {
            values.truncate(channels);
            tensor(values, channels)
        };
        Ok([Some(tensor(dx, x.shape().clone())?), Some(column(dw)?), Some(column(db)?)])
    }
}

impl CustomOp3 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch-norm"
    }
    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        fn run<T: Real>(
            op: &BatchNorm,
            (x, xl): (&CpuStorage, &Layout),
            (w, wl): (&CpuStorage, &Layout),
            (b, bl): (&CpuStorage, &Layout),
        ) -> Result<(CpuStorage, Shape)> {
            let (x, w, b) = (slice::<T>(x, xl)?, slice::<T>(w, wl)?, slice::<T>(b, bl)?);
            let mut out = vec![T::ZERO; x.len()];
            let (w, b) = (filled(w.to_vec(), T::ZERO), filled(b.to_vec(), T::ZERO));
            kernel::batch_norm(x, &op.moments, &w, &b, op.relu, &mut out);
            Ok((T::to_cpu_storage_owned(out), xl.shape().clone()))
        }
        let dtype = candle_core::backend::BackendStorage::dtype(x);
        by_dtype!(dtype, run::<T>(self, (x, xl), (w, wl), (b, bl)))
    }
    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        result: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        fn run<T: Real>(
            op: &BatchNorm,
            x: &Tensor,
            w: &Tensor,
            result: &Tensor,
            g: &Tensor,
        ) -> Result<[Option<Tensor>; 3]> {
            op.backward::<T>(x, w, result, g)
        }
        let [dx, dw, db] = by_dtype!(x.dtype(), run::<T>(self, x, w, result, g))?;
        Ok((dx.filter(|_| x.track_op()), dw.filter(|_| w.track_op()), db.filter(|_| b.track_op())))
    }
}
