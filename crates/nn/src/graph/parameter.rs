//! The tensors that a network needs, and their initial values.

use rand::Rng;
use rand_distr::StandardNormal;

use super::layer::Layer;
use super::network::Network;

/// The purpose of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A weight of a convolution or a linear layer.
    Weight,
    /// A bias beside such a weight.
    Bias,
    /// Slopes for inputs below 0.
    Slope,
    /// Batch norm's weight.
    Scale,
    /// Batch norm's bias.
    Shift,
    /// Batch norm's running mean: not trained.
    RunningMean,
    /// Batch norm's running variance: not trained.
    RunningVariance,
}

impl Role {
    /// Whether the optimiser changes the parameter.
    pub fn is_trained(self) -> bool {
        !matches!(self, Role::RunningMean | Role::RunningVariance)
    }
}

/// The initial values of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    /// All 0.
    Zeros,
    /// All 1.
    Ones,
    /// All 0.25: torch's slopes of `PReLU`.
    Quarter,
    /// Uniform within `1 / sqrt(fan in)`: torch's default for weights and biases.
    Uniform,
    /// Normal of variance `2 / fan in` (He, Zhang, Ren & Sun, ICCV 2015, equation 10): torch's
    /// `kaiming_normal_`.
    NormalFanIn,
    /// Normal of variance `2 / fan out` (equation 14): torch's `kaiming_normal_(mode="fan_out",
    /// nonlinearity="relu")`.
    NormalFanOut,
}

/// A named tensor that the network needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Torch's name, such as `conv1.weight`.
    pub name: String,
    /// Torch's shape.
    pub shape: Vec<usize>,
    /// Its purpose.
    pub role: Role,
    /// Its initial values.
    pub init: Init,
    /// Number of inputs that one output of its layer sums.
    pub fan_in: usize,
    /// Output channels of its layer times the positions of its kernel, as torch counts them.
    pub fan_out: usize,
}

impl Parameter {
    /// Draws its initial values.
    pub(crate) fn draw(&self, rng: &mut impl Rng) -> Vec<f64> {
        let n: usize = self.shape.iter().product();
        let mut normal = |fan: usize| {
            let deviation = (2.0 / fan as f64).sqrt();
            (0..n).map(|_| rng.sample::<f64, _>(StandardNormal) * deviation).collect()
        };
        match self.init {
            Init::Zeros => vec![0.0; n],
            Init::Ones => vec![1.0; n],
            Init::Quarter => vec![0.25; n],
            Init::NormalFanIn => normal(self.fan_in),
            Init::NormalFanOut => normal(self.fan_out),
            Init::Uniform => {
                let bound = 1.0 / (self.fan_in as f64).sqrt();
                (0..n).map(|_| rng.random_range(-bound..bound)).collect()
            }
        }
    }
}

impl Network {
    /// Every tensor that the network needs, in the order of its layers.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut all = vec![];
        for node in self.nodes() {
            match &node.layer {
                Layer::Conv { name, shape, bias, linear, init } => {
                    let (out, fan_in, [kh, kw]) = (shape.channels, shape.fan_in(), shape.kernel());
                    let dims = match linear {
                        true => vec![out, fan_in],
                        false => vec![out, shape.input[0] / shape.groups, kh, kw],
                    };
                    let positions = if *linear { 1 } else { kh * kw };
                    let mut push = |part: &str, shape, role, init| {
                        let name = format!("{name}.{part}");
                        all.push(Parameter { name, shape, role, init, fan_in, fan_out: out * positions });
                    };
                    push("weight", dims, Role::Weight, init[0]);
                    if *bias {
                        push("bias", vec![out], Role::Bias, init[1]);
                    }
                }
                Layer::BatchNorm { name, affine, .. } => {
                    let parts = [
                        ("weight", Role::Scale, Init::Ones),
                        ("bias", Role::Shift, Init::Zeros),
                        ("running_mean", Role::RunningMean, Init::Zeros),
                        ("running_var", Role::RunningVariance, Init::Ones),
                    ];
                    for (part, role, init) in parts.into_iter().skip(if *affine { 0 } else { 2 }) {
                        let (name, shape) = (format!("{name}.{part}"), vec![node.shape[0]]);
                        all.push(Parameter { name, shape, role, init, fan_in: 1, fan_out: 1 });
                    }
                }
                Layer::PRelu { name, shared } => {
                    let shape = vec![if *shared { 1 } else { node.shape[0] }];
                    let (name, role, init) = (format!("{name}.weight"), Role::Slope, Init::Quarter);
                    all.push(Parameter { name, shape, role, init, fan_in: 1, fan_out: 1 });
                }
                _ => {}
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::graph::Conv2d;

    #[test]
    fn parameters_start_with_the_variance_of_their_init() {
        let mut net = Network::new([8, 9, 9]);
        let options = Conv2d { channels: 96, kernel: 3, stride: 1, padding: 1, bias: true };
        let x = net.conv(net.input(), "conv", options).unwrap();
        let linear = net.linear(x, "fc", 10).unwrap();
        let draw = |net: &Network| {
            let mut rng = rand_chacha::ChaCha8Rng::from_seed([3; 32]);
            let parameters = net.parameters().into_iter();
            parameters.map(|p| p.draw(&mut rng)).collect::<Vec<_>>()
        };
        let variance = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>() / v.len() as f64;
        let near = |v: &[f64], want: f64| assert!((variance(v) / want - 1.0).abs() < 0.05);
        // Torch's default; then both ways of He et al.
        let uniform = draw(&net);
        near(&uniform[0], 1.0 / (3.0 * 72.0));
        assert!(uniform[0].iter().chain(&uniform[1]).all(|v| v.abs() <= 1.0 / 72f64.sqrt()));
        net.init(x, Init::NormalFanOut, Init::Zeros).unwrap();
        net.init(linear, Init::NormalFanIn, Init::Uniform).unwrap();
        let normal = draw(&net);
        near(&normal[0], 2.0 / (96.0 * 9.0));
        assert!(normal[1].iter().all(|v| *v == 0.0));
        near(&normal[2], 2.0 / (96.0 * 81.0));
        assert!(normal[3].iter().any(|v| *v != 0.0));
    }

    #[test]
    fn what_draws_nothing_is_told_no_init() {
        let mut net = Network::new([1, 2, 2]);
        let x = net.relu(net.input());
        let error = net.init(x, Init::Ones, Init::Zeros).unwrap_err().to_string();
        assert!(error.contains("only convolutions and linear layers"), "{error}");
    }
}
