//! Common corruptions, Hendrycks & Dietterich 2019, <https://arxiv.org/abs/1903.12261>: 19 kinds at five severities.

mod alexnet;
mod kind;
mod metric;
mod npy;
mod published;

pub use alexnet::{ALEXNET_CLEAN, alexnet};
pub use kind::{Kind, Severity};
pub use metric::{Cell, Cells};
pub use published::{PublishedCifar, PublishedSet, published_imagenet};
