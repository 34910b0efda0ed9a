//! Tables from what runs leave behind. This crate reads files and knows nothing of how they came to be.

mod results;
mod table;

pub use results::{Error, Evaluation, Results};
pub use table::{Table, percent};
