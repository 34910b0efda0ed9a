//! Networks as data: layers, their shapes and their parameters, and the steps that run them. No device is
//! known here.

mod layer;
mod misfit;
mod network;
mod parameter;
pub(crate) mod plan;
mod shape;

pub use layer::{Layer, Node, NodeId};
pub(crate) use misfit::misfit;
pub(crate) use network::FILLING;
pub use network::Network;
pub use parameter::{Init, Parameter, Role};
pub use shape::{Axis, Conv2d, ConvAxes, ConvShape, EPSILON, Numerics, Pool2d};
