//! Training: Algorithm 2, losses, options, interruption to the bit.

mod algorithm2;
mod board;
mod clean_and_adversarial;
mod fewer_passes;
mod init;
mod init_radii;
mod left_out;
mod longer;
mod losses;
pub(crate) mod options;
mod profile;
pub(crate) mod resume;
mod survive;
mod twin;
