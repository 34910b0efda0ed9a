//! Networks as data, their weights, and the kernels that run them.
//!
//! A model plugin describes a [`Network`]: a graph of layers, nothing else. A [`Classifier`] is a network with
//! weights. It runs in two ways: [`Classifier::train`] and [`Classifier::backward`] are what training differentiates, with
//! batch statistics in batch norm, and [`Frozen`] is the network that attacks call: evaluation mode, batch norm
//! folded into the convolutions, weights packed once, gradients with respect to the pixels alone.
//!
//! This crate knows no data set and no attack. All `unsafe` code of the project lives here, nearly all of it in [`kernel`].

pub mod kernel;

mod classifier;
mod device;
mod error;
mod frozen;
mod gradients;
mod memory;
mod misfit;
mod network;
mod odds;
mod ops;
mod parameter;
mod plan;
mod portable;
mod program;
mod schedule;
mod sgd;
mod storage;
mod threads;
mod training;

pub use classifier::{BatchNorm, Classifier};
pub use device::cuda;
pub use error::{Error, Result};
pub use frozen::Frozen;
pub use gradients::{Gradient, Gradients};
pub use kernel::Numerics;
pub use network::{Conv2d, Layer, Network, Node, NodeId, Pool2d};
pub use odds::log_odds;
pub use ops::{cross_entropy, step_within, zero_rows};
pub use parameter::{Init, Parameter, Role};
pub use sgd::Sgd;
pub use threads::let_candle_rest;
