//! Tables and figures: checked, composed, run, judged.

mod mistakes;
mod tables;
