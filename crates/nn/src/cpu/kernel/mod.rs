//! Kernels on plain slices: activations are NHWC, `f32` or `f64`, their channels in whole panels of 16
//! ([`stored`]).
//!
//! Every output element is one chain of operations, in an order that depends only on the layer, not on the batch or
//! the threads. A sample therefore has the same bits in any batch. The attacks rely on this when they drop the
//! samples that are already broken. Weight gradients are summed over groups of rows, which depend on the layer and
//! the batch size, but not on the threads.

// Bodies must be inlined into the functions that are compiled for a processor's registers.
#![allow(clippy::inline_always)]
// Loops over the registers of a tile: an index names the same row or point in several arrays.
#![allow(clippy::needless_range_loop)]

mod average;
mod batch_norm;
mod buffer;
mod conv;
mod conv_gradient;
mod conv_pass;
mod depthwise;
mod finish;
mod function;
mod gemm;
mod pixels;
mod pointwise;
mod pool;
mod real;
pub(crate) mod tasks;
#[cfg(test)]
mod tests;
pub mod vector;
mod winograd;

pub use average::{average_pool, average_pool_gradient, global_average, global_average_gradient, place};
pub use batch_norm::{Moments, batch_norm, batch_norm_gradients, moments};
pub use buffer::{Buffer, Element};
pub(crate) use conv::pools_at_once;
pub use conv::{Conv, stored};
pub use conv_gradient::{column_sums, conv_weight_gradient};
pub use conv_pass::{ConvBackward, ConvForward};
pub use finish::{Addend, Finish};
pub use function::{factor_gradient, function, function_gradient, multiply, prelu, slope_gradients};
pub(crate) use pointwise::finish_all;
pub use pointwise::{affine, normalize, normalize_gradient, pass};
pub use pool::{NO_GRADIENT, max_pool, max_pool_gradient};
pub use real::Real;
