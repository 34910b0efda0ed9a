//! Evaluations: what results say of attacks, suites, sweeps, corruptions, surrogates.

mod results;
mod runs;
mod training_images;
mod transfer;
