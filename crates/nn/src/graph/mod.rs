//! Networks as data: layers, their shapes and their parameters, and the steps that run them. This module does not
//! depend on any device.

mod function;
mod gather;
mod layer;
mod misfit;
mod network;
mod parameter;
pub(crate) mod plan;
mod shape;

pub use function::Function;
pub use gather::Gather;
pub use layer::{Layer, Node, NodeId};
pub(crate) use misfit::misfit;
pub(crate) use network::FILLING;
pub use network::Network;
pub use parameter::{Init, Parameter, Role};
pub use shape::{Axis, Conv2d, ConvAxes, ConvShape, EPSILON, Numerics, Pool, Pool2d};
