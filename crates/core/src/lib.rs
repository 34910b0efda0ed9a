//! The interface between temper and its plugins: one trait per kind of plugin (data set, model, attack, loss,
//! epsilon policy, suite), the registries of plugins, and the types that the traits use, such as balls,
//! victims and batches.
//!
//! A plugin crate needs only the [`prelude`].

// `plugin!` refers to the path `temper_core`, which must also resolve in this crate's own tests.
extern crate self as temper_core;

mod aim;
mod attack;
mod ball;
mod batch;
mod dataset;
mod epsilon;
mod error;
mod loss;
mod model;
mod plugin;
mod raised;
mod registry;
pub mod rows;
mod search;
mod suite;
mod trace;
mod units;
mod victim;

pub use aim::{Labels, Target, Targets, wrong_classes};
pub use attack::{Attack, Perturbed, perturb};
pub use ball::{Ball, TOLERANCE, scaled, slope, steepest};
pub use batch::Batch;
pub use dataset::{Dataset, Facts, Normalisation, Size};
pub use epsilon::{Epsilon, Probes, Visit, never_adapts};
pub use error::{Error, Result};
pub use loss::{Loss, Step};
pub use model::Model;
pub use raised::Raised;
pub use registry::{Chosen, KINDS, Kind, Param, Parsed, Plugin, Summary, duplicates, summaries};
pub use search::{Success, Walk, joined, restarts, restarts_warning, step_warning};
pub use suite::{Member, Suite, distinct, variant};
pub use trace::Trace;
pub use units::{Decay, Distance, Field, Fraction, Growth, NonNegative, Positive, Share, nonzero};
pub use victim::{
    Access, CleanScore, Forward, Goal, Pass, Passes, Pulse, Rows, Score, Victim, VictimNetwork,
    cross_entropy, log_odds, log_softmax,
};

pub use candle_core::{DType, Device, Tensor, Var};
pub use temper_data::{
    Digest, Error as DataError, Fit, Image, Listing, Part, Photo, Photos, Pixels, Publication, Remote, Rng,
    Source, Split, Subset, class_names, class_photos, folders, home, list, shape,
};
pub use temper_files::{Bounded, npy};
pub use temper_nn::levels;
/// Re-exports of `temper-nn`: networks, their weights, and their passes.
pub mod nn {
    pub use temper_nn::{
        Axis, BatchNorm, Classifier, Conv2d, ConvAxes, ConvShape, DeviceLocation, Error, Frozen, Function,
        Gather, Gradient, Gradients, Init, Layer, Network, Node, NodeId, Numerics, Parameter, Pool, Pool2d,
        Result, Role, Sgd, cuda, let_candle_rest, profile, refused,
    };
}
pub use temper_results::Norm;

/// Used by the expansion of `plugin!`; not part of the public interface.
#[doc(hidden)]
pub mod __private {
    pub use {erased_serde, inventory, schemars, serde, toml};
}

/// Everything that a plugin crate needs.
pub mod prelude {
    pub use std::num::NonZeroUsize;
    pub use std::path::{Path, PathBuf};

    pub use crate::nn::{Conv2d, Pool2d};
    pub use crate::{
        Access, Attack, Ball, Batch, Bounded, Chosen, DataError, Dataset, Decay, Digest, Distance, Epsilon,
        Error, Facts, Field, Fit, Fraction, Goal, Growth, Image, Labels, Loss, Member, Model, NonNegative,
        Norm, Normalisation, Photo, Photos, Pixels, Positive, Probes, Publication, Raised, Remote, Result,
        Rng, Rows, Share, Size, Source, Split, Step, Success, Suite, Target, Targets, Tensor, Victim, Visit,
        Walk, cross_entropy, folders, joined, levels, log_odds, log_softmax, never_adapts, nonzero, options,
        plugin, restarts, restarts_warning, rows, scaled, slope, steepest, step_warning, variant,
        wrong_classes,
    };
    /// For parameters of types of its own: what an editor completes.
    pub use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
    /// The layer graph that a model builds.
    pub use temper_nn::Network;
}
