//! [`Function`] in candle's operations. At a kink, candle's own slope is not always torch's; `where_cond` then
//! selects the side.

use candle_core::{Result, Tensor};

use crate::graph::Function;

/// Applies an elementwise function.
pub(super) fn function(function: Function, x: &Tensor) -> Result<Tensor> {
    match function {
        Function::LeakyRelu { slope } => x.gt(0.0)?.where_cond(x, &(x * slope)?),
        Function::Elu { alpha, scale } => {
            // Above 0 the exponential may overflow, and is not used.
            let below = x.gt(0.0)?.where_cond(&x.zeros_like()?, x)?;
            x.gt(0.0)?.where_cond(x, &((below.exp()? - 1.0)? * alpha)?)? * scale
        }
        Function::Clip { low, high } => clip(x, low, high),
        Function::Sigmoid => sigmoid(x),
        Function::HardSigmoid { slope, offset } => clip(&x.affine(slope, offset)?, 0.0, 1.0),
        Function::HardSwish => {
            let middle = (x * x.affine(1.0 / 6.0, 0.5)?)?;
            let low = x.lt(-3.0)?.where_cond(&x.zeros_like()?, &middle)?;
            x.gt(3.0)?.where_cond(x, &low)
        }
        Function::Silu => x * sigmoid(x)?,
        Function::Gelu => {
            let below = (x * std::f64::consts::FRAC_1_SQRT_2)?.erf()?;
            (x * 0.5)? * (below + 1.0)?
        }
        Function::GeluTanh => {
            let cubic = (x * x.sqr()?.affine(0.044_715, 1.0)?)?;
            let root = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
            (x * 0.5)? * ((cubic * root)?.tanh()? + 1.0)?
        }
        Function::Mish => x * softplus(x)?.tanh()?,
        Function::Softplus => softplus(x),
        Function::Softsign => x / (abs(x)? + 1.0)?,
        Function::Tanh => x.tanh(),
        Function::Erf => x.erf(),
        Function::Exp => x.exp(),
        Function::Log => x.log(),
        Function::Sqrt => x.sqrt(),
        Function::Reciprocal => x.recip(),
        Function::Abs => abs(x),
        Function::Power { exponent } => x.powf(exponent),
    }
}

/// `min(max(x, low), high)`, with slope 0 at both ends.
fn clip(x: &Tensor, low: f64, high: f64) -> Result<Tensor> {
    let full = |end: f64| x.zeros_like()?.affine(1.0, end);
    let above = if low.is_finite() { x.le(low)?.where_cond(&full(low)?, x)? } else { x.clone() };
    if high.is_finite() { above.ge(high)?.where_cond(&full(high)?, &above) } else { Ok(above) }
}

/// The sigmoid, computed by `tanh`, which does not overflow.
fn sigmoid(x: &Tensor) -> Result<Tensor> {
    ((x * 0.5)?.tanh()? + 1.0)? * 0.5
}

/// `max(x, 0) + log(1 + exp(-|x|))`.
fn softplus(x: &Tensor) -> Result<Tensor> {
    let zeros = x.zeros_like()?;
    let [above, below] = [x.gt(0.0)?.where_cond(x, &zeros)?, x.gt(0.0)?.where_cond(&x.neg()?, x)?];
    above + (below.exp()? + 1.0)?.log()?
}

/// `|x|`, with slope 0 at 0.
fn abs(x: &Tensor) -> Result<Tensor> {
    let below = x.lt(0.0)?.where_cond(&x.neg()?, &x.zeros_like()?)?;
    x.gt(0.0)?.where_cond(x, &below)
}
