//! Tables and figures: composed, run, judged.

mod tables;
