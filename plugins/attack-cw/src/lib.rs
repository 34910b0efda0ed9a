//! The attacks of Carlini & Wagner 2017, <https://arxiv.org/abs/1608.04644>: `cw-l2`, `cw-linf`, and `cw-ball`, the search
//! inside a given ball that ART 1.1 to 1.8 called `CarliniLInfMethod` and that the IAAT paper's table 3 names CW.
//!
//! All three lower the margin `z_y - max z_k` over `k != y`, plus `confidence`, towards 0 (with a target t: `max z_k - z_t`), in a
//! variable whose tanh is the image, so that no step leaves the box. The paper's f with these signs is its `f_6`.
//!
//! What holds in all three: the other class is found by leaving the own one out, so negative logits are as good as any; a
//! margin of 0 at which the prediction is still right (a tie) is not a success, and its gradient is not cut off; pixels of 0
//! and 1 begin at a tanh below 1, and move; what did not succeed is the clean image; each sample goes its own way, whatever
//! its company in the batch.

mod adam;
mod ball;
mod front;
mod l2;
mod linf;
mod margin;
mod tanh;
