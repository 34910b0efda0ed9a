//! Kernels on plain slices: activations are NHWC, `f32` or `f64`, and no kernel allocates per sample.
//!
//! Every output element is one chain of multiply-adds in an order that depends on the layer alone: not on the batch,
//! nor on the threads. A sample therefore gets the same bits in any batch, which the attacks rely on when they drop
//! the samples that are already broken. Weight gradients are summed over fixed groups of samples for the same reason.

// Bodies must be inlined into the functions that are compiled for a processor feature.
#![allow(clippy::inline_always)]

mod batch_norm;
mod conv;
mod gemm;
mod pointwise;
mod pool;
mod real;

pub(crate) use batch_norm::EPSILON;
pub use batch_norm::{BatchNormGradients, Moments, batch_norm, batch_norm_gradients, moments};
pub use conv::{Conv, ConvTape, ConvWeights, Tail, conv, conv_input_gradient, conv_weight_gradient};
pub use gemm::{Panels, multiply};
pub use pointwise::{
    add, affine, affine_gradient, global_average, global_average_gradient, normalize, normalize_gradient,
    relu, relu_gradient, sum,
};
pub use pool::{NO_GRADIENT, Pool, max_pool, max_pool_gradient};
pub use real::Real;
