//! The attacks of Carlini & Wagner 2017, <https://arxiv.org/abs/1608.04644>: `cw-l2`, `cw-linf`, and
//! `cw-ball`, the search inside a given ball that ART 1.1 to 1.8 called `CarliniLInfMethod` and that the IAAT
//! paper's table 3 names CW.
//!
//! All three minimise the margin `z_y - max z_k` over `k != y`, plus `confidence` (with a target t:
//! `max z_k - z_t`). The variable is the argument of a tanh whose value is the image, so that no step leaves the box.
//! The paper's f with these signs is its `f_6`.
//!
//! Common properties:
//!
//! - The other class is the largest logit without the sample's own class, so negative logits work like
//!   positive ones.
//! - A margin of 0 at which the prediction is still correct (a tie) is not a success, and its gradient is not
//!   zeroed.
//! - Pixels of 0 and 1 start at a tanh below 1, so that they can move.
//! - A sample without success returns the clean image.
//! - The result of a sample does not depend on the other samples of the batch.

mod adam;
mod ball;
mod front;
mod l2;
mod linf;
mod margin;
mod tanh;
