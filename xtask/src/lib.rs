//! Chores of the project, one module each. `cargo test` runs [`tidy`] too, and tries [`new_plugin`] on a copy.

pub mod new_plugin;
pub mod tidy;
pub mod torture;
