//! Convolution in training: differentiable with respect to its input, its weight and its bias.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};

use super::{nhwc, slice, tensor, with};
use crate::kernel::{self, Conv, ConvTape, ConvWeights, Panels, Real, Tail};

/// A convolution's shape and tail, and the tape of one forward pass.
struct Pass {
    shape: Conv,
    tail: Tail,
    tape: OnceLock<ConvTape>,
}

impl Pass {
    fn new(shape: Conv, tail: Tail) -> Self {
        Self { shape, tail, tape: OnceLock::new() }
    }

    fn forward<T: Real>(&self, x: &[T], weights: &ConvWeights<T>) -> Result<(CpuStorage, Shape)> {
        let n = x.len() / self.shape.input.iter().product::<usize>();
        let stored = self.shape.tailed(&self.tail);
        let len = n * stored.iter().product::<usize>();
        let mut out = vec![T::ZERO; len];
        let mut tape = vec![0; if self.tail.pool.is_some() { len } else { 0 }];
        kernel::conv(&self.shape, weights, &self.tail, x, &mut out, &mut tape);
        if self.tape.set(tape).is_err() {
            bail!("a convolution's tape serves one forward pass");
        }
        Ok((T::to_cpu_storage_owned(out), nhwc(n, stored)))
    }

    fn tape(&self) -> &[u8] {
        self.tape.get().map_or(&[], Vec::as_slice)
    }

    fn input_gradient<T: Real>(
        &self,
        backward: &Panels<T>,
        x: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<Tensor> {
        let mut dx = vec![T::ZERO; x.elem_count()];
        with::<T, _>(result, |result| {
            with::<T, _>(gradient, |gradient| {
                let result = (result, self.tape());
                kernel::conv_input_gradient(&self.shape, backward, &self.tail, result, gradient, &mut dx);
                Ok(())
            })
        })?;
        tensor(dx, x.shape().clone())
    }
}

struct TrainedConv(Pass);

/// Applies a convolution with a torch weight and a bias; differentiable with respect to all three.
pub(crate) fn conv(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    shape: Conv,
    tail: Tail,
) -> Result<Tensor> {
    let op = TrainedConv(Pass::new(shape, tail));
    match bias {
        Some(bias) => x.apply_op3(weight, bias, op),
        None => x.apply_op2(weight, op),
    }
}

impl TrainedConv {
    fn forward<T: Real>(
        &self,
        x: (&CpuStorage, &Layout),
        weight: (&CpuStorage, &Layout),
        bias: Option<(&CpuStorage, &Layout)>,
    ) -> Result<(CpuStorage, Shape)> {
        let bias = bias.map(|(storage, layout)| slice::<T>(storage, layout)).transpose()?;
        let weights = ConvWeights::pack(&self.0.shape, slice::<T>(weight.0, weight.1)?, bias, None);
        self.0.forward(slice::<T>(x.0, x.1)?, &weights)
    }

    /// Gradients of input, weight and bias; those of untracked arguments are not computed.
    fn backward<T: Real>(
        &self,
        x: &Tensor,
        weight: &Tensor,
        trains: bool,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let Pass { shape, tail, .. } = &self.0;
        let dx = match x.track_op() {
            true => {
                let pack = |w: &[T]| Ok(ConvWeights::pack_backward(shape, w, None));
                let backward = with::<T, _>(weight, pack)?;
                Some(self.0.input_gradient::<T>(&backward, x, result, gradient)?)
            }
            false => None,
        };
        if !trains {
            return Ok([dx, None, None]);
        }
        let tape = self.0.tape();
        let (dw, db) = with::<T, _>(x, |x| {
            with::<T, _>(result, |result| {
                with::<T, _>(gradient, |g| {
                    Ok(kernel::conv_weight_gradient(shape, tail, x, (result, tape), g))
                })
            })
        })?;
        Ok([dx, Some(tensor(dw, weight.shape().clone())?), Some(tensor(db, shape.channels)?)])
    }
}

type Bias<'a> = Option<(&'a CpuStorage, &'a Layout)>;

fn conv_forward<T: Real>(
    op: &TrainedConv,
    x: (&CpuStorage, &Layout),
    weight: (&CpuStorage, &Layout),
    bias: Bias<'_>,
) -> Result<(CpuStorage, Shape)> {
    op.forward::<T>(x, weight, bias)
}

fn conv_backward<T: Real>(
    op: &TrainedConv,
    x: &Tensor,
    weight: &Tensor,
    trains: bool,
    result: &Tensor,
    gradient: &Tensor,
) -> Result<[Option<Tensor>; 3]> {
    op.backward::<T>(x, weight, trains, result, gradient)
}

impl CustomOp2 for TrainedConv {
    fn name(&self) -> &'static str {
        "conv"
    }
    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let dtype = candle_core::backend::BackendStorage::dtype(x);
        by_dtype!(dtype, conv_forward::<T>(self, (x, xl), (w, wl), None))
    }
    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        result: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, _] = by_dtype!(x.dtype(), conv_backward::<T>(self, x, w, w.track_op(), result, g))?;
        Ok((dx, dw))
    }
}

impl CustomOp3 for TrainedConv {
    fn name(&self) -> &'static str {
        "conv-bias"
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
        let dtype = candle_core::backend::BackendStorage::dtype(x);
        by_dtype!(dtype, conv_forward::<T>(self, (x, xl), (w, wl), Some((b, bl))))
    }
    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        result: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let trains = w.track_op() || b.track_op();
        let [dx, dw, db] = by_dtype!(x.dtype(), conv_backward::<T>(self, x, w, trains, result, g))?;
        Ok((dx, dw, db))
    }
}
