//! Convolution in training: differentiable with respect to its input, its weight and its bias.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};

use super::{nhwc, slice, tensor, with};
use crate::kernel::{
    self, Buffer, Conv, ConvBackward, ConvForward, Finish, Numerics, Pool, Real, column_sums, stored,
};

/// A convolution and what follows it in one pass, with the tape of that pass.
struct TrainedConv {
    shape: Conv,
    numerics: Numerics,
    relu: bool,
    pool: Option<Pool>,
    /// Winning taps of the pooling.
    tape: OnceLock<Vec<u8>>,
}

/// Applies a convolution with a torch weight and a bias, then `ReLU` and pooling if asked; differentiable with respect to
/// input, weight and bias.
pub(crate) fn conv(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    (shape, numerics): (Conv, Numerics),
    (relu, pool): (bool, Option<Pool>),
) -> Result<Tensor> {
    let op = TrainedConv { shape, numerics, relu, pool, tape: OnceLock::new() };
    match bias {
        Some(bias) => x.apply_op3(weight, bias, op),
        None => x.apply_op2(weight, op),
    }
}

impl TrainedConv {
    /// Stored channels, height and width of the convolution's own output.
    fn unpooled(&self) -> [usize; 3] {
        let [c, h, w] = self.shape.output();
        [stored(c), h, w]
    }

    fn forward<T: Real>(
        &self,
        (x, xl): (&CpuStorage, &Layout),
        (weight, wl): (&CpuStorage, &Layout),
        bias: Option<(&CpuStorage, &Layout)>,
    ) -> Result<(CpuStorage, Shape)> {
        let bias = bias.map(|(storage, layout)| slice::<T>(storage, layout)).transpose()?;
        let packed = ConvForward::pack(&self.shape, self.numerics, slice::<T>(weight, wl)?, bias, None);
        let (x, n, [c, h, w]) = (slice::<T>(x, xl)?, xl.dims()[0], self.unpooled());
        let Some(pool) = &self.pool else {
            let mut out = vec![T::ZERO; n * c * h * w];
            packed.run(x, Finish { relu: self.relu, ..Finish::plain(&mut out) });
            return Ok((T::to_cpu_storage_owned(out), nhwc(n, [c, h, w])));
        };
        let (Some(rows), Some(columns)) = (pool.output(h), pool.output(w)) else {
            bail!("the pooling window is larger than its input");
        };
        let mut out = vec![T::ZERO; n * c * rows * columns];
        let mut tape = vec![0; out.len()];
        packed.run_pooled(pool, self.relu, x, &mut out, &mut tape);
        if self.tape.set(tape).is_err() {
            bail!("a convolution's tape serves one forward pass");
        }
        Ok((T::to_cpu_storage_owned(out), nhwc(n, [c, rows, columns])))
    }

    /// Gradients of input, weight and bias; those of untracked arguments are not computed.
    fn backward<T: Real>(
        &self,
        x: &Tensor,
        weight: &Tensor,
        trains: [bool; 2],
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        with::<T, _>(gradient, |gradient| {
            if self.pool.is_none() && !self.relu {
                return self.gradients::<T>(x, weight, trains, gradient);
            }
            // The gradient of the convolution's own output.
            let mut sums = Buffer::take(x.dim(0)? * self.unpooled().iter().product::<usize>());
            match (&self.pool, self.tape.get()) {
                (Some(pool), Some(tape)) => {
                    let finish = Finish::plain(&mut sums);
                    kernel::max_pool_gradient(pool, self.unpooled(), tape, gradient, finish);
                }
                (Some(_), None) => bail!("backward of a convolution that never ran"),
                (None, _) => with::<T, _>(result, |result| {
                    kernel::relu_gradient(result, gradient, &mut sums);
                    Ok(())
                })?,
            }
            self.gradients::<T>(x, weight, trains, &sums)
        })
    }

    fn gradients<T: Real>(
        &self,
        x: &Tensor,
        weight: &Tensor,
        [weight_trains, bias_trains]: [bool; 2],
        dy: &[T],
    ) -> Result<[Option<Tensor>; 3]> {
        let (shape, numerics) = (&self.shape, self.numerics);
        let mut gradients = [None, None, None];
        if x.track_op() {
            let pack = |w: &[T]| Ok(ConvBackward::pack(shape, numerics, w, None));
            let backward = with::<T, _>(weight, pack)?;
            let mut dx = vec![T::ZERO; x.elem_count()];
            backward.run(dy, Finish::plain(&mut dx));
            gradients[0] = Some(tensor(dx, x.shape().clone())?);
        }
        if weight_trains {
            let dw = with::<T, _>(x, |x| Ok(kernel::conv_weight_gradient(shape, numerics, x, dy)))?;
            gradients[1] = Some(tensor(dw, weight.shape().clone())?);
        }
        if bias_trains {
            let mut db = column_sums(dy, stored(shape.channels));
            db.truncate(shape.channels);
            gradients[2] = Some(tensor(db, shape.channels)?);
        }
        Ok(gradients)
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
    trains: [bool; 2],
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
        let [dx, dw, _] =
            by_dtype!(x.dtype(), conv_backward::<T>(self, x, w, [w.track_op(), false], result, g))?;
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
        let trains = [w.track_op(), b.track_op()];
        let [dx, dw, db] = by_dtype!(x.dtype(), conv_backward::<T>(self, x, w, trains, result, g))?;
        Ok((dx, dw, db))
    }
}
