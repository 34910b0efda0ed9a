//! Evaluations: what results say of attacks, suites, sweeps, corruptions, surrogates.

mod checks;
mod results;
mod runs;
mod spoiled;
mod training_images;
mod transfer;
mod untrained;
