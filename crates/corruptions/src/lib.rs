//! Common corruptions, Hendrycks & Dietterich 2019, <https://arxiv.org/abs/1903.12261>: 19 kinds at five severities.

mod alexnet;
mod kind;
mod metric;

pub use alexnet::{ALEXNET_CLEAN, alexnet};
pub use kind::{Kind, Severity};
pub use metric::{Cell, Cells};
