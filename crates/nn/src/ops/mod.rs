//! The kernels as candle operations. Activations are NHWC; only the pixels and their gradient are NCHW.
//!
//! Where candle asks for gradients of all arguments, an operation gives only those that are tracked: a frozen weight
//! costs nothing in the backward pass.

use std::sync::OnceLock;

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, DType, Device, Layout, Result, Shape, Storage, Tensor, bail,
};

use crate::kernel::{self, Addend, Finish, Pool, Real};

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

// After the macro that they use.
mod batch_norm;
mod conv;
mod conv_norm;

pub(crate) use batch_norm::batch_norm;
pub(crate) use conv::conv;
pub(crate) use conv_norm::conv_norm;

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
    /// Numbers that the result stores for a position.
    pub(crate) stored: usize,
}

impl Normalize {
    fn forward<T: Real>(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, c, h, w) = layout.shape().dims4()?;
        let x = slice::<T>(x, layout)?;
        let mut out = vec![T::ZERO; n * self.stored * h * w];
        kernel::normalize([c, h, w], self.stored, &narrow(&self.mean), &narrow(&self.std), x, &mut out);
        Ok((T::to_cpu_storage_owned(out), nhwc(n, [self.stored, h, w])))
    }

    fn backward<T: Real>(&self, shape: &Shape, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (_, c, h, w) = shape.dims4()?;
        with::<T, _>(gradient, |g| {
            let mut out = vec![T::ZERO; shape.elem_count()];
            kernel::normalize_gradient([c, h, w], self.stored, &narrow(&self.std), g, false, &mut out);
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
            kernel::pass(x, Finish { relu: true, ..Finish::plain(&mut out) });
            Ok((T::to_cpu_storage_owned(out), layout.shape().clone()))
        }
        by_dtype!(candle_core::backend::BackendStorage::dtype(x), run::<T>(x, layout))
    }
    fn bwd(&self, x: &Tensor, result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(by_dtype!(x.dtype(), relu_backward::<T>(result, gradient))?))
    }
}

fn relu_backward<T: Real>(result: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    with::<T, _>(result, |r| {
        with::<T, _>(gradient, |g| {
            let mut dx = vec![T::ZERO; g.len()];
            kernel::relu_gradient(r, g, &mut dx);
            tensor(dx, result.shape().clone())
        })
    })
}

/// `a + b`, then `ReLU` if asked.
struct Add {
    relu: bool,
}

/// `a + b`, then `ReLU` if asked.
pub(crate) fn add(a: &Tensor, b: &Tensor, relu: bool) -> Result<Tensor> {
    a.apply_op2(b, Add { relu })
}

impl CustomOp2 for Add {
    fn name(&self) -> &'static str {
        "add"
    }
    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        al: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        fn run<T: Real>(
            op: &Add,
            (a, al): (&CpuStorage, &Layout),
            (b, bl): (&CpuStorage, &Layout),
        ) -> Result<(CpuStorage, Shape)> {
            let (a, b) = (slice::<T>(a, al)?, slice::<T>(b, bl)?);
            let mut out = vec![T::ZERO; a.len()];
            let addend = Addend::Value(b);
            kernel::pass(a, Finish { addend, relu: op.relu, ..Finish::plain(&mut out) });
            Ok((T::to_cpu_storage_owned(out), al.shape().clone()))
        }
        by_dtype!(candle_core::backend::BackendStorage::dtype(a), run::<T>(self, (a, al), (b, bl)))
    }
    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gradient = match self.relu {
            true => by_dtype!(a.dtype(), relu_backward::<T>(result, gradient))?,
            false => gradient.clone(),
        };
        Ok((a.track_op().then(|| gradient.clone()), b.track_op().then_some(gradient)))
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
                kernel::max_pool_gradient(&op.pool, op.input, tape, g, Finish::plain(&mut dx));
                Ok(Some(tensor(dx, x.shape().clone())?))
            })
        }
        by_dtype!(x.dtype(), run::<T>(self, x, gradient))
    }
}

/// Average pooling of NHWC activations.
struct AveragePool(Pool);

/// Average pooling of NHWC activations.
pub(crate) fn average_pool(x: &Tensor, pool: Pool) -> Result<Tensor> {
    x.apply_op1(AveragePool(pool))
}

impl CustomOp1 for AveragePool {
    fn name(&self) -> &'static str {
        "average-pool"
    }
    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        fn run<T: Real>(pool: &Pool, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
            let (n, h, w, c) = layout.shape().dims4()?;
            let (Some(rows), Some(columns)) = (pool.output(h), pool.output(w)) else {
                bail!("the pooling window is larger than its input");
            };
            let mut out = vec![T::ZERO; n * rows * columns * c];
            kernel::average_pool(pool, [c, h, w], slice::<T>(x, layout)?, &mut out);
            Ok((T::to_cpu_storage_owned(out), nhwc(n, [c, rows, columns])))
        }
        by_dtype!(candle_core::backend::BackendStorage::dtype(x), run::<T>(&self.0, x, layout))
    }
    fn bwd(&self, x: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        fn run<T: Real>(pool: &Pool, x: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
            let (_, h, w, c) = x.dims4()?;
            with::<T, _>(gradient, |g| {
                let mut dx = vec![T::ZERO; x.elem_count()];
                kernel::average_pool_gradient(pool, [c, h, w], g, Finish::plain(&mut dx));
                Ok(Some(tensor(dx, x.shape().clone())?))
            })
        }
        by_dtype!(x.dtype(), run::<T>(&self.0, x, gradient))
    }
}
