//! Elementwise functions: activations, and the arithmetic that exported networks use.

use candle_core::cpu::erf::erf_f64;

/// An elementwise function.
///
/// Slopes at a kink are torch's: [`Function::LeakyRelu`] has the lower slope at 0, [`Function::Clip`] and
/// [`Function::HardSigmoid`] have slope 0 at both ends, and [`Function::Abs`] has slope 0 at 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Function {
    /// `x` above 0, `slope * x` elsewhere.
    LeakyRelu {
        /// Slope below 0.
        slope: f64,
    },
    /// `x` above 0, `alpha (exp(x) - 1)` elsewhere, all times `scale` (Clevert, Unterthiner & Hochreiter, ICLR 2016;
    /// with `alpha` 1.67326 and `scale` 1.0507 the SELU of Klambauer et al., 2017).
    Elu {
        /// The limit at minus infinity is `-alpha`, if `scale` is 1.
        alpha: f64,
        /// Factor of both branches.
        scale: f64,
    },
    /// `min(max(x, low), high)`: `ReLU6` from 0 to 6.
    Clip {
        /// Smallest result.
        low: f64,
        /// Largest result.
        high: f64,
    },
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `min(max(slope * x + offset, 0), 1)`. Torch uses slope 1/6 and offset 1/2; ONNX's default slope is 0.2.
    HardSigmoid {
        /// Slope between the ends.
        slope: f64,
        /// Result at 0.
        offset: f64,
    },
    /// `x min(max(x / 6 + 1/2, 0), 1)` (Howard et al., "Searching for `MobileNetV3`", 2019).
    HardSwish,
    /// `x / (1 + exp(-x))`, also called Swish.
    Silu,
    /// `x Phi(x)` with the normal distribution's `Phi` (Hendrycks & Gimpel, 2016).
    Gelu,
    /// The approximation of [`Function::Gelu`] by `tanh`, from the same paper.
    GeluTanh,
    /// `x tanh(log(1 + exp(x)))` (Misra, 2019).
    Mish,
    /// `log(1 + exp(x))`.
    Softplus,
    /// `x / (1 + |x|)`.
    Softsign,
    /// `tanh(x)`.
    Tanh,
    /// The error function.
    Erf,
    /// `exp(x)`.
    Exp,
    /// `log(x)`.
    Log,
    /// `x^(1/2)`.
    Sqrt,
    /// `1 / x`.
    Reciprocal,
    /// `|x|`.
    Abs,
    /// `x` to a constant power.
    Power {
        /// Exponent.
        exponent: f64,
    },
}

/// `2 / sqrt(pi)`.
const TWO_BY_ROOT_PI: f64 = std::f64::consts::FRAC_2_SQRT_PI;
/// `sqrt(1/2)`.
const ROOT_HALF: f64 = std::f64::consts::FRAC_1_SQRT_2;
/// The cubic term of the approximation of GELU.
const CUBIC: f64 = 0.044_715;

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `log(1 + exp(x))` without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The argument of `tanh` in the approximation of GELU, and its slope.
fn inner(x: f64) -> (f64, f64) {
    let scale = TWO_BY_ROOT_PI * ROOT_HALF;
    (scale * (x + CUBIC * x * x * x), scale * (1.0 + 3.0 * CUBIC * x * x))
}

/// `min(max(x, low), high)`; a NaN stays.
fn clip(x: f64, low: f64, high: f64) -> f64 {
    if x < low {
        low
    } else if x > high {
        high
    } else {
        x
    }
}

impl Function {
    /// Its name in messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::LeakyRelu { .. } => "leaky_relu",
            Self::Elu { .. } => "elu",
            Self::Clip { .. } => "clip",
            Self::Sigmoid => "sigmoid",
            Self::HardSigmoid { .. } => "hard_sigmoid",
            Self::HardSwish => "hard_swish",
            Self::Silu => "silu",
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu_tanh",
            Self::Mish => "mish",
            Self::Softplus => "softplus",
            Self::Softsign => "softsign",
            Self::Tanh => "tanh",
            Self::Erf => "erf",
            Self::Exp => "exp",
            Self::Log => "log",
            Self::Sqrt => "sqrt",
            Self::Reciprocal => "reciprocal",
            Self::Abs => "abs",
            Self::Power { .. } => "power",
        }
    }

    /// The reason why its parameters are invalid; `None` if they are valid.
    pub(crate) fn problem(&self) -> Option<String> {
        let finite = |numbers: &[f64]| {
            let bad = numbers.iter().find(|number| !number.is_finite())?;
            Some(format!("its parameters must be finite, got {bad}"))
        };
        match *self {
            Self::LeakyRelu { slope } => finite(&[slope]),
            Self::Elu { alpha, scale } => finite(&[alpha, scale]),
            Self::HardSigmoid { slope, offset } => finite(&[slope, offset]),
            Self::Power { exponent } => finite(&[exponent]),
            // An end may be infinite, which means no bound.
            Self::Clip { low, high } if low.is_nan() || high.is_nan() || low > high => {
                Some(format!("its lower end {low} must be at most its upper end {high}"))
            }
            _ => None,
        }
    }

    /// Its value.
    pub fn value(&self, x: f64) -> f64 {
        match *self {
            Self::LeakyRelu { slope } => {
                if x > 0.0 {
                    x
                } else {
                    slope * x
                }
            }
            Self::Elu { alpha, scale } => scale * if x > 0.0 { x } else { alpha * x.exp_m1() },
            Self::Clip { low, high } => clip(x, low, high),
            Self::Sigmoid => sigmoid(x),
            Self::HardSigmoid { slope, offset } => clip(slope * x + offset, 0.0, 1.0),
            Self::HardSwish => x * clip(x / 6.0 + 0.5, 0.0, 1.0),
            Self::Silu => x * sigmoid(x),
            Self::Gelu => 0.5 * x * (1.0 + erf_f64(x * ROOT_HALF)),
            Self::GeluTanh => 0.5 * x * (1.0 + inner(x).0.tanh()),
            Self::Mish => x * softplus(x).tanh(),
            Self::Softplus => softplus(x),
            Self::Softsign => x / (1.0 + x.abs()),
            Self::Tanh => x.tanh(),
            Self::Erf => erf_f64(x),
            Self::Exp => x.exp(),
            Self::Log => x.ln(),
            Self::Sqrt => x.sqrt(),
            Self::Reciprocal => 1.0 / x,
            Self::Abs => x.abs(),
            Self::Power { exponent } => x.powf(exponent),
        }
    }

    /// Its derivative.
    pub fn derivative(&self, x: f64) -> f64 {
        match *self {
            Self::LeakyRelu { slope } => {
                if x > 0.0 {
                    1.0
                } else {
                    slope
                }
            }
            Self::Elu { alpha, scale } => scale * if x > 0.0 { 1.0 } else { alpha * x.exp() },
            Self::Clip { low, high } => f64::from(low < x && x < high),
            Self::Sigmoid => sigmoid(x) * sigmoid(-x),
            Self::HardSigmoid { slope, offset } => {
                let y = slope * x + offset;
                if y > 0.0 && y < 1.0 { slope } else { 0.0 }
            }
            Self::HardSwish if x < -3.0 => 0.0,
            Self::HardSwish if x <= 3.0 => x / 3.0 + 0.5,
            Self::HardSwish => 1.0,
            Self::Silu => sigmoid(x) * (1.0 + x * sigmoid(-x)),
            Self::Gelu => {
                let density = 0.5 * TWO_BY_ROOT_PI * ROOT_HALF * (-0.5 * x * x).exp();
                0.5 * (1.0 + erf_f64(x * ROOT_HALF)) + x * density
            }
            Self::GeluTanh => {
                let (inside, slope) = inner(x);
                let t = inside.tanh();
                0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * slope
            }
            Self::Mish => {
                let t = softplus(x).tanh();
                t + x * (1.0 - t * t) * sigmoid(x)
            }
            Self::Softplus => sigmoid(x),
            Self::Softsign => (1.0 + x.abs()).powi(-2),
            Self::Tanh => 1.0 - x.tanh().powi(2),
            Self::Erf => TWO_BY_ROOT_PI * (-x * x).exp(),
            Self::Exp => x.exp(),
            Self::Log => 1.0 / x,
            Self::Sqrt => 0.5 / x.sqrt(),
            Self::Reciprocal => -1.0 / (x * x),
            Self::Abs => {
                if x == 0.0 {
                    0.0
                } else {
                    x.signum()
                }
            }
            Self::Power { exponent } => exponent * x.powf(exponent - 1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor, Var};

    use super::*;
    use crate::{Classifier, Frozen, Network};

    /// Every function, with its values at 1 and at -1 as torch computes them in double precision.
    const ALL: [(Function, [f64; 2]); 22] = [
        (Function::LeakyRelu { slope: 0.1 }, [1.0, -0.1]),
        (Function::Elu { alpha: 1.0, scale: 1.0 }, [1.0, -0.632_120_558_828_557_7]),
        (
            Function::Elu { alpha: 1.673_263_242_354_377_2, scale: 1.050_700_987_355_480_5 },
            [1.050_700_987_355_480_5, -1.111_330_737_812_562_5],
        ),
        (Function::Clip { low: 0.0, high: 6.0 }, [1.0, 0.0]),
        (Function::Clip { low: -0.25, high: f64::INFINITY }, [1.0, -0.25]),
        (Function::Sigmoid, [0.731_058_578_630_004_9, 0.268_941_421_369_995_1]),
        (Function::HardSigmoid { slope: 1.0 / 6.0, offset: 0.5 }, [2.0 / 3.0, 1.0 / 3.0]),
        (Function::HardSwish, [2.0 / 3.0, -1.0 / 3.0]),
        (Function::Silu, [0.731_058_578_630_004_9, -0.268_941_421_369_995_1]),
        (Function::Gelu, [0.841_344_746_068_542_9, -0.158_655_253_931_457_05]),
        (Function::GeluTanh, [0.841_191_990_608_276_2, -0.158_808_009_391_723_8]),
        (Function::Mish, [0.865_098_388_267_310_3, -0.303_401_461_373_402_1]),
        (Function::Softplus, [1.313_261_687_518_222_8, 0.313_261_687_518_222_8]),
        (Function::Softsign, [0.5, -0.5]),
        (Function::Tanh, [0.761_594_155_955_764_9, -0.761_594_155_955_764_9]),
        (Function::Erf, [0.842_700_792_949_714_9, -0.842_700_792_949_714_9]),
        (Function::Exp, [std::f64::consts::E, 0.367_879_441_171_442_33]),
        (Function::Log, [0.0, f64::NAN]),
        (Function::Sqrt, [1.0, f64::NAN]),
        (Function::Reciprocal, [1.0, -1.0]),
        (Function::Abs, [1.0, 1.0]),
        (Function::Power { exponent: 3.0 }, [1.0, -1.0]),
    ];

    fn near(got: f64, want: f64) -> bool {
        got.is_nan() && want.is_nan() || (got - want).abs() <= 1e-9 * want.abs().max(1.0)
    }

    #[test]
    fn values_are_torchs_and_derivatives_are_those_of_the_values() {
        for (function, [above, below]) in ALL {
            for (x, want) in [(1.0, above), (-1.0, below)] {
                let got = function.value(x);
                assert!(near(got, want), "{function:?} of {x}: {got} for {want}");
            }
            for x in [-40.0, -3.5, -1.3, -0.2, 0.3, 0.9, 2.1, 3.7, 5.0, 40.0] {
                let h = 1e-6;
                let want = (function.value(x + h) - function.value(x - h)) / (2.0 * h);
                let got = function.derivative(x);
                if want.is_finite() && want.abs() < 1e6 {
                    assert!(
                        (got - want).abs() < 1e-5 * want.abs().max(1.0),
                        "{function:?} at {x}: {got} for {want}"
                    );
                }
            }
        }
    }

    /// Values and gradients by our kernels and by candle's operations, at kinks as well.
    #[test]
    fn both_backends_compute_them() {
        let xs = [-50.0, -3.0, -1.3, -0.25, 0.0, 0.3, 1.0, 3.0, 6.0, 50.0];
        for (function, _) in ALL {
            let mut net = Network::new([xs.len(), 1, 1]);
            net.function(net.input(), function).unwrap();
            let classifier = Classifier::new(net, &std::collections::BTreeMap::new()).unwrap();
            let frozen = Frozen::new(&classifier).unwrap();
            let portable = Frozen::new(&classifier.portable()).unwrap();
            // A network without weights computes in 32 bits.
            let pixels = Tensor::from_slice(&xs, (1, xs.len(), 1, 1), &Device::Cpu).unwrap();
            let pixels = pixels.to_dtype(DType::F32).unwrap();
            for (frozen, name) in [(&frozen, "kernels"), (&portable, "candle")] {
                let pixels = Var::from_tensor(&pixels).unwrap();
                let y = frozen.logits(&pixels).unwrap();
                let gradients = y.sum_all().unwrap().backward().unwrap();
                let slopes = gradients.get(&pixels).unwrap().flatten_all().unwrap();
                let read = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                for (x, (y, slope)) in xs.iter().zip(read(&y).into_iter().zip(read(&slopes))) {
                    for (got, want) in [(y, function.value(*x)), (slope, function.derivative(*x))] {
                        let (got, want) = (f64::from(got), f64::from(want as f32));
                        let same = got.is_nan() && want.is_nan() || got == want;
                        let near = (got - want).abs() <= 1e-5 * want.abs().max(1.0);
                        assert!(same || near, "{function:?} at {x} by {name}: {got} for {want}");
                    }
                }
            }
        }
    }

    #[test]
    fn parameters_that_make_no_function_are_refused() {
        let mut net = Network::new([1, 2, 2]);
        let mut why = |function: Function| net.function(net.input(), function).unwrap_err().to_string();
        assert!(
            why(Function::Clip { low: 2.0, high: 1.0 })
                .ends_with("its lower end 2 must be at most its upper end 1")
        );
        assert!(why(Function::Clip { low: f64::NAN, high: 1.0 }).contains("layer `clip`"));
        assert!(
            why(Function::LeakyRelu { slope: f64::NAN }).ends_with("its parameters must be finite, got NaN")
        );
    }
}
