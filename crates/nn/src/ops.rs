//! The kernels as candle operations. Activations are NHWC; only the pixels and their gradient are NCHW.
//!
//! Where candle asks for gradients of all arguments, an operation gives only those that are tracked: a frozen weight
//! costs nothing in the backward pass.

use std::sync::OnceLock;

use crate::kernel::{self, Conv, ConvTape, ConvWeights, Moments, Panels, Pool, Real, Tail};
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, DType, Device, Layout, Result, Shape, Storage, Tensor, bail,
};

/// Calls `f` with the element type of `dtype`.
macro_rules! by_dtype {
    ($dtype:expr, $f:ident :: <T> ( $($arg:expr),* )) => {
        match $dtype {
            DType::F32 => $f::<f32>($($arg),*),
            DType::F64 => $f::<f64>($($arg),*),
            other => bail!("kernels run in f32 and f64, not in {other:?}"),
        }
    };
}

/// The elements of a contiguous tensor's storage.
pub(crate) fn slice<'a, T: Real>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<T>()?[start..end]),
        None => bail!("kernels need contiguous tensors, got {layout:?}"),
    }
}

/// Calls `f` with the elements of a tensor.
pub(crate) fn with<T: Real, R>(tensor: &Tensor, f: impl FnOnce(&[T]) -> Result<R>) -> Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => f(slice(storage, layout)?),
        _ => bail!("this kernel runs on the CPU"),
    }
}

fn tensor<T: Real>(values: Vec<T>, shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::from_vec(values, shape.into(), &Device::Cpu)
}

pub(crate) fn narrow<T: Real>(values: &[f64]) -> Vec<T> {
    values.iter().map(|v| T::from_f64(*v)).collect()
}

fn nhwc(n: usize, [c, h, w]: [usize; 3]) -> Shape {
    (n, h, w, c).into()
}

/// `(x - mean) / std` from NCHW pixels to NHWC activations.
pub(crate) struct Normalize {
    pub(crate) mean: Vec<f64>,
    pub(crate) std: Vec<f64>,
}

impl Normalize {
    fn forward<T: Real>(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, c, h, w) = layout.shape().dims4()?;
        let x = slice::<T>(x, layout)?;
        let mut out = vec![T::ZERO; x.len()];
        kernel::normalize([c, h, w], &narrow(&self.mean), &narrow(&self.std), x, &mut out);
        Ok((T::to_cpu_storage_owned(out), nhwc(n, [c, h, w])))
    }

    fn backward<T: Real>(&self, shape: &Shape, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (_, c, h, w) = shape.dims4()?;
        with::<T, _>(gradient, |g| {
            let mut out = vec![T::ZERO; g.len()];
            kernel::normalize_gradient([c, h, w], &narrow(&self.std), g, &mut out);
            Ok(Some(tensor(out, shape.clone())?))
        })
    }
}

impl CustomOp1 for Normalize {
    fn name(&self) -> &'static str {
        "normalize"
    }
    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        fn run<T: Real>(op: &Normalize, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
            op.forward::<T>(x, layout)
        }
        by_dtype!(candle_core::backend::BackendStorage::dtype(x), run::<T>(self, x, layout))
    }
    fn bwd(&self, x: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        fn run<T: Real>(op: &Normalize, x: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
            op.backward::<T>(x.shape(), gradient)
        }
        by_dtype!(x.dtype(), run::<T>(self, x, gradient))
    }
}

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

/// Batch norm on the moments of its own input, NHWC.
struct BatchNorm {
    relu: bool,
    moments: Moments<f64>,
}

/// Batch norm on batch statistics; returns the result and the biased moments of each channel.
pub(crate) fn batch_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    relu: bool,
) -> Result<(Tensor, Moments<f64>)> {
    fn run<T: Real>(x: &Tensor, channels: usize) -> Result<Moments<f64>> {
        with::<T, _>(x, |x| {
            let Moments { mean, variance } = kernel::moments(x, channels);
            let wide = |v: Vec<T>| v.into_iter().map(candle_core::WithDType::to_f64).collect();
            Ok(Moments { mean: wide(mean), variance: wide(variance) })
        })
    }
    let channels = weight.elem_count();
    let moments = by_dtype!(x.dtype(), run::<T>(x, channels))?;
    Ok((x.apply_op3(weight, bias, BatchNorm { relu, moments: moments.clone() })?, moments))
}

impl BatchNorm {
    fn moments<T: Real>(&self) -> Moments<T> {
        Moments { mean: narrow(&self.moments.mean), variance: narrow(&self.moments.variance) }
    }

    fn backward<T: Real>(
        &self,
        x: &Tensor,
        weight: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let gradients = with::<T, _>(x, |x| {
            with::<T, _>(weight, |weight| {
                with::<T, _>(result, |result| {
                    with::<T, _>(gradient, |g| {
                        let moments = self.moments::<T>();
                        Ok(kernel::batch_norm_gradients(x, &moments, weight, self.relu, result, g))
                    })
                })
            })
        })?;
        Ok([
            Some(tensor(gradients.input, x.shape().clone())?),
            Some(tensor(gradients.weight, weight.shape().clone())?),
            Some(tensor(gradients.bias, weight.shape().clone())?),
        ])
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
            let out = kernel::batch_norm(x, &op.moments(), w, b, op.relu);
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

/// `max(x, 0)`, with gradient 0 at 0 as in torch (candle's own gives 1 there).
pub(crate) struct Relu;

impl CustomOp1 for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }
    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        fn run<T: Real>(x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
            let x = slice::<T>(x, layout)?;
            let mut out = vec![T::ZERO; x.len()];
            kernel::relu(x, &mut out);
            Ok((T::to_cpu_storage_owned(out), layout.shape().clone()))
        }
        by_dtype!(candle_core::backend::BackendStorage::dtype(x), run::<T>(x, layout))
    }
    fn bwd(&self, x: &Tensor, result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        fn run<T: Real>(result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
            with::<T, _>(result, |r| {
                with::<T, _>(gradient, |g| {
                    let mut dx = vec![T::ZERO; g.len()];
                    kernel::relu_gradient(r, g, &mut dx);
                    Ok(Some(tensor(dx, result.shape().clone())?))
                })
            })
        }
        by_dtype!(x.dtype(), run::<T>(result, gradient))
    }
}

/// Max pooling of NHWC activations.
struct MaxPool {
    pool: Pool,
    input: [usize; 3],
    tape: OnceLock<Vec<u8>>,
}

/// Max pooling of NHWC activations.
pub(crate) fn max_pool(x: &Tensor, pool: Pool) -> Result<Tensor> {
    let (_, h, w, c) = x.dims4()?;
    x.apply_op1(MaxPool { pool, input: [c, h, w], tape: OnceLock::new() })
}

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "max-pool"
    }
    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        fn run<T: Real>(op: &MaxPool, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
            let x = slice::<T>(x, layout)?;
            let [c, h, w] = op.input;
            let (Some(rows), Some(columns)) = (op.pool.output(h), op.pool.output(w)) else {
                bail!("the pooling window is larger than its input");
            };
            let n = x.len() / (c * h * w);
            let mut out = vec![T::ZERO; n * rows * columns * c];
            let mut tape = vec![0; out.len()];
            kernel::max_pool(&op.pool, op.input, x, &mut out, &mut tape);
            if op.tape.set(tape).is_err() {
                bail!("a pooling's tape serves one forward pass");
            }
            Ok((T::to_cpu_storage_owned(out), nhwc(n, [c, rows, columns])))
        }
        by_dtype!(candle_core::backend::BackendStorage::dtype(x), run::<T>(self, x, layout))
    }
    fn bwd(&self, x: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        fn run<T: Real>(op: &MaxPool, x: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
            let Some(tape) = op.tape.get() else { bail!("backward of a pooling that never ran") };
            with::<T, _>(gradient, |g| {
                let mut dx = vec![T::ZERO; x.elem_count()];
                kernel::max_pool_gradient(&op.pool, op.input, tape, g, &mut dx);
                Ok(Some(tensor(dx, x.shape().clone())?))
            })
        }
        by_dtype!(x.dtype(), run::<T>(self, x, gradient))
    }
}
