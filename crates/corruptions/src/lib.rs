//! Common corruptions, Hendrycks & Dietterich 2019, <https://arxiv.org/abs/1903.12261>: 19 kinds at five severities.

mod kind;

pub use kind::{Kind, Severity};
