//! A convolution and its batch norm in training, as one operation: what stands between the two is never a tensor.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};

use super::batch_norm::{filled, given_moments, moment_tensors};
use super::{nhwc, slice, tensor, with};
use crate::kernel::{self, Buffer, Conv, ConvBackward, ConvForward, Finish, Moments, Numerics, Real, stored};

/// What one forward pass leaves for its backward pass.
struct Between<T: Real> {
    /// The convolution's output.
    sums: Buffer<T>,
    moments: Moments,
}

struct ConvNorm<T: Real> {
    shape: Conv,
    numerics: Numerics,
    relu: bool,
    /// Moments to normalise by; left out, the batch's own.
    given: Option<Moments>,
    between: Arc<OnceLock<Between<T>>>,
}

/// Applies a convolution without bias, batch norm (`line` is its weight and its bias, `[2 c]`) by `moments` or by those of the
/// batch, and `ReLU` if asked; differentiable with respect to `x`, `weight` and `line`. Returns the moments too, `[c]` each.
pub(crate) fn conv_norm(
    x: &Tensor,
    weight: &Tensor,
    line: &Tensor,
    (shape, numerics): (Conv, Numerics),
    relu: bool,
    moments: Option<&[Tensor; 2]>,
) -> Result<(Tensor, [Tensor; 2])> {
    fn run<T: Real>(
        [x, weight, line]: [&Tensor; 3],
        (shape, numerics): (Conv, Numerics),
        relu: bool,
        given: Option<Moments>,
    ) -> Result<(Tensor, [Tensor; 2])> {
        let between = Arc::new(OnceLock::new());
        let op = ConvNorm::<T> { shape, numerics, relu, given, between: between.clone() };
        let y = x.apply_op3(weight, line, op)?;
        let Some(between) = between.get() else { bail!("a convolution that never ran") };
        Ok((y, moment_tensors(&between.moments, shape.channels)?))
    }
    let given = moments.map(given_moments).transpose()?;
    by_dtype!(x.dtype(), run::<T>([x, weight, line], (shape, numerics), relu, given))
}

/// Weight and bias of the batch norm, one a stored channel each.
fn halves<T: Real>(line: &[T]) -> [Vec<T>; 2] {
    let (weight, bias) = line.split_at(line.len() / 2);
    [weight, bias].map(|half| filled(half.to_vec(), T::ZERO))
}

impl<T: Real> ConvNorm<T> {
    /// Gradients of the input, of the convolution's weight and of the line; those of untracked arguments are not computed.
    fn backward(
        &self,
        [x, weight, line]: [&Tensor; 3],
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let Some(Between { sums, moments }) = self.between.get() else {
            bail!("backward of a convolution that never ran")
        };
        let (shape, numerics) = (&self.shape, self.numerics);
        let [scale, _] = with::<T, _>(line, |line| Ok(halves(line)))?;
        let mut dy = Buffer::take(sums.len());
        let [mut of_line, of_bias] = with::<T, _>(result, |result| {
            with::<T, _>(gradient, |gradient| {
                let how = (moments, self.given.is_none());
                let relu = self.relu.then_some(result);
                Ok(kernel::batch_norm_gradients(sums, how, &scale, relu, gradient, &mut dy))
            })
        })?;
        let mut gradients = [None, None, None];
        if x.track_op() {
            let pack = |w: &[T]| Ok(ConvBackward::pack(shape, numerics, w, None));
            let mut dx = vec![T::ZERO; x.elem_count()];
            with::<T, _>(weight, pack)?.run(&dy, Finish::plain(&mut dx));
            gradients[0] = Some(tensor(dx, x.shape().clone())?);
        }
        if weight.track_op() {
            let dw = with::<T, _>(x, |x| Ok(kernel::conv_weight_gradient(shape, numerics, x, &dy)))?;
            gradients[1] = Some(tensor(dw, weight.shape().clone())?);
        }
        if line.track_op() {
            of_line.truncate(shape.channels);
            of_line.extend(&of_bias[..shape.channels]);
            gradients[2] = Some(tensor(of_line, 2 * shape.channels)?);
        }
        Ok(gradients)
    }
}

impl<T: Real> CustomOp3 for ConvNorm<T> {
    fn name(&self) -> &'static str {
        "conv-norm"
    }
    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        line: &CpuStorage,
        ll: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let packed = ConvForward::pack(&self.shape, self.numerics, slice::<T>(w, wl)?, None, None);
        let (n, [c, h, w]) = (xl.dims()[0], self.shape.output());
        let mut sums = Buffer::take(n * stored(c) * h * w);
        packed.run(slice::<T>(x, xl)?, Finish::plain(&mut sums));
        let moments = match &self.given {
            Some(given) => given.clone(),
            None => kernel::moments(&sums, stored(c)),
        };
        let [weight, bias] = halves(slice::<T>(line, ll)?);
        let mut out = vec![T::ZERO; sums.len()];
        kernel::batch_norm(&sums, &moments, &weight, &bias, self.relu, &mut out);
        if self.between.set(Between { sums, moments }).is_err() {
            bail!("what a convolution leaves serves one forward pass");
        }
        Ok((T::to_cpu_storage_owned(out), nhwc(n, [stored(c), h, w])))
    }
    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        line: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, dl] = self.backward([x, weight, line], result, gradient)?;
        Ok((dx, dw, dl))
    }
}
