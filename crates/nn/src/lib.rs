//! Networks as data, their weights, and the backends that run them.
//!
//! A model plugin describes a [`Network`], which is only a graph of layers. A [`Classifier`] is a network with
//! weights. It runs in two ways. Training uses [`Classifier::train`] and [`Classifier::backward`], with batch
//! statistics in batch norm. Attacks use [`Frozen`]: evaluation mode, batch norm folded into the convolutions,
//! weights packed once, gradients with respect to the pixels alone.
//!
//! `graph` defines layers and networks, and does not depend on any device. `backend` defines the operations that a
//! device must support, and selects their implementation: `cpu` uses our kernels, `candle` uses candle's operations
//! on any device.
//!
//! This crate does not depend on data sets or attacks. It contains all `unsafe` code of the project, nearly all of
//! it in [`kernel`].

mod backend;
mod candle;
mod classifier;
mod cpu;
mod device;
mod error;
mod frozen;
mod gradients;
mod graph;
mod ops;
pub mod profile;
mod sgd;
mod threads;

pub use classifier::{BatchNorm, Classifier};
pub use cpu::kernel;
pub use device::cuda;
pub use error::{Error, Result};
pub use frozen::Frozen;
pub use gradients::{Gradient, Gradients};
pub use graph::{
    Axis, Conv2d, ConvAxes, ConvShape, EPSILON, Function, Gather, Init, Layer, Network, Node, NodeId,
    Numerics, Parameter, Pool, Pool2d, Role,
};
pub use ops::{
    Stray, cross_entropy, distances, largest_differences, levels, log_odds, predictions, refused,
    step_within, stray, zero_rows,
};
pub use sgd::Sgd;
pub use threads::let_candle_rest;

pub use candle_core::DeviceLocation;
