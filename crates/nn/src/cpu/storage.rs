//! Numbers of tensors as slices for the kernels.

use std::cell::Cell;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Storage, Tensor, bail};

use super::kernel::Real;

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

/// Calls `f` with the elements of a contiguous tensor, which `f` may change in place.
pub(crate) fn with_mut<T: Real>(tensor: &Tensor, f: impl FnOnce(&mut [T]) -> Result<()>) -> Result<()> {
    struct Change<F>(Cell<Option<F>>);
    impl<F: FnOnce(&mut CpuStorage, &Layout) -> Result<()>> InplaceOp1 for Change<F> {
        fn name(&self) -> &'static str {
            "change"
        }
        fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
            self.0.take().map_or(Ok(()), |f| f(storage, layout))
        }
    }
    let f = |storage: &mut CpuStorage, layout: &Layout| match layout.contiguous_offsets() {
        Some((start, end)) => f(&mut T::slice_mut(storage)?[start..end]),
        None => bail!("kernels need contiguous tensors, got {layout:?}"),
    };
    tensor.inplace_op1(&Change(Cell::new(Some(f))))
}

/// Converts numbers to the kernels' precision.
pub(crate) fn narrow<T: Real>(values: &[f64]) -> Vec<T> {
    values.iter().map(|v| T::from_f64(*v)).collect()
}
