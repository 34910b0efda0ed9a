//! Networks as data, their weights, and the backends that run them.
//!
//! A model plugin describes a [`Network`]: a graph of layers, nothing else. A [`Classifier`] is a network
//! with weights. It runs in two ways: [`Classifier::train`] and [`Classifier::backward`] are what training
//! differentiates, with batch statistics in batch norm, and [`Frozen`] is the network that attacks call:
//! evaluation mode, batch norm folded into the convolutions, weights packed once, gradients with respect to
//! the pixels alone.
//!
//! `graph` is the vocabulary, and knows no device. `backend` says what a device must be able to do, and picks
//! who does it: `cpu` by kernels of ours, `candle` by candle's operations on any device.
//!
//! This crate knows no data set and no attack. All `unsafe` code of the project lives here, nearly all of it
//! in [`kernel`].

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
