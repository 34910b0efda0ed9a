//! Evaluations: what results say of attacks, suites, sweeps, corruptions, surrogates.

mod batches;
mod checks;
mod deserved;
mod honest;
mod judging;
mod results;
mod runs;
mod spoiled;
mod training_images;
mod transfer;
mod untrained;
