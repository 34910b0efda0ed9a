//! Networks written as files of other programs, and read back.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use rand::SeedableRng as _;
use temper_nn::{
    Axis, Classifier, Conv2d, ConvAxes, Frozen, Function, Gather, Network, NodeId, Pool, Pool2d,
};

use crate::support::difference;

fn axis(kernel: usize, stride: usize, [before, after]: [usize; 2], dilation: usize) -> Axis {
    Axis { kernel, stride, before, after, dilation }
}

/// Every function, so that a new one is written too.
const FUNCTIONS: [Function; 20] = [
    Function::LeakyRelu { slope: 0.1 },
    Function::Elu { alpha: 0.7, scale: 1.0 },
    Function::Elu { alpha: 1.5, scale: 1.25 },
    Function::Clip { low: -0.5, high: 0.75 },
    Function::Clip { low: 0.0, high: f64::INFINITY },
    Function::Sigmoid,
    Function::HardSigmoid { slope: 0.3, offset: 0.4 },
    Function::HardSwish,
    Function::Silu,
    Function::Gelu,
    Function::GeluTanh,
    Function::Mish,
    Function::Softplus,
    Function::Softsign,
    Function::Tanh,
    Function::Erf,
    Function::Exp,
    Function::Reciprocal,
    Function::Abs,
    Function::Power { exponent: 2.0 },
];

/// A network of every kind of layer.
fn network() -> Network {
    let mut net = Network::new([2, 9, 8]);
    let x = net.normalize(net.input(), &[0.4, 0.6], &[0.2, 0.3]).unwrap();
    let axes = [axis(3, 2, [1, 0], 1), axis(2, 1, [2, 1], 2)];
    let x = net.conv(x, "stem.conv", ConvAxes { channels: 6, axes, bias: true }).unwrap();
    let x = net.batch_norm_with(x, "stem.norm", true, 1e-3).unwrap();
    let x = net.prelu(x, "stem.act", false);
    let options = Conv2d { channels: 6, kernel: 3, stride: 1, padding: 1, bias: false };
    let y = net.grouped_conv(x, "depth", options, 6).unwrap();
    let y = net.bare_batch_norm(y, "bare");
    let y = net.relu(y);
    let x = net.add(x, y).unwrap();
    let gate = net.global_average_pool(x);
    let gate = net.function(gate, Function::Sigmoid).unwrap();
    let x = net.multiply(x, gate).unwrap();
    let windows = Pool { axes: [axis(2, 1, [0, 1], 1), axis(2, 2, [1, 0], 1)] };
    let a = net.max_pool(x, windows).unwrap();
    let b = net.average_pool(x, windows).unwrap();
    let [c, h, w] = net.shape(a);
    let numbers = |n: usize| (0..n).map(|i| 0.5 + (i % 5) as f64 * 0.25).collect::<Vec<_>>();
    let a = net.affine(a, &numbers(c), &numbers(c)).unwrap();
    let b = net.affine(b, &numbers(c * h * w), &numbers(c * h * w)).unwrap();
    let b = net.pad_channels(b, 1, 2).unwrap();
    let x = net.concat(&[a, b]).unwrap();
    let all: usize = net.shape(x).iter().product();
    let index: Vec<Option<usize>> = (0..all).rev().map(Some).collect();
    let x = net.gather(x, Gather::of([all, 1, 1], &index)).unwrap();
    let sums: Vec<Vec<(usize, f64)>> = (0..30)
        .map(|o| (0..o % 4).map(|i| ((o * 13 + i * 29) % all, 0.5 - i as f64 * 0.4)).collect())
        .collect();
    let x = net.gather(x, Gather::sums([15, 2, 1], &sums)).unwrap();
    let x = net.linear_without_bias(x, "fc1", 12).unwrap();
    let x = net.prelu(x, "shared", true);
    net.linear(x, "fc2", 5).unwrap();
    net
}

/// The same weights in both networks, and how far their logits are apart.
fn apart(net: &Network, pixels: &Tensor) -> f64 {
    let mut rng = rand_chacha::ChaCha8Rng::from_seed([7; 32]);
    let classifier = Classifier::random(net.clone(), DType::F32, &mut rng).unwrap();
    let weights = classifier.weights();
    let read = temper_onnx::parse(&temper_onnx::export(net, &weights).unwrap()).unwrap();
    let back = Classifier::new(read.network, &read.weights).unwrap();
    let logits = |classifier: &Classifier| Frozen::new(classifier).unwrap().logits(pixels).unwrap();
    difference(&logits(&back), &logits(&classifier))
}

fn pixels(shape: [usize; 3]) -> Tensor {
    let values = temper_core::Rng::new(5, "pixels").uniform(&[0, 1, 2], shape.iter().product());
    let pixels = Tensor::from_vec(values, (3, shape[0], shape[1], shape[2]), &Device::Cpu).unwrap();
    pixels.affine(0.4, 0.5).unwrap()
}

#[test]
fn a_graph_that_is_written_and_read_gives_the_same_logits() {
    let off = apart(&network(), &pixels([2, 9, 8]));
    assert!(off < 1e-5, "off by {off:e}");
}

#[test]
fn every_function_is_written_as_it_is() {
    for function in FUNCTIONS {
        let mut net = Network::new([4, 1, 1]);
        let x: NodeId = net.linear(net.input(), "fc", 6).unwrap();
        net.function(x, function).unwrap();
        let off = apart(&net, &pixels([4, 1, 1]));
        assert!(off < 1e-5, "{function:?} is off by {off:e}");
    }
}

/// What opset 17 has no operator for is refused, not written otherwise.
#[test]
fn dilated_means_and_missing_weights_are_refused() {
    let mut net = Network::new([1, 5, 5]);
    let axes = [axis(2, 1, [0, 0], 2); 2];
    let x = net.average_pool(net.input(), Pool { axes }).unwrap();
    net.linear(x, "fc", 2).unwrap();
    let classifier =
        Classifier::random(net.clone(), DType::F32, &mut rand_chacha::ChaCha8Rng::from_seed([0; 32]))
            .unwrap();
    let error = temper_onnx::export(&net, &classifier.weights()).unwrap_err().to_string();
    assert!(error.contains("no average pooling with dilation"), "{error}");
    let mut net = Network::new([1, 5, 5]);
    let x = net.max_pool(net.input(), Pool { axes: [axis(2, 1, [2, 2], 2); 2] }).unwrap();
    net.linear(x, "fc", 2).unwrap();
    let error = temper_onnx::export(&net, &BTreeMap::new()).unwrap_err().to_string();
    assert!(error.contains("padding below the window's size only"), "{error}");
    let mut net = Network::new([1, 4, 4]);
    let x = net.max_pool(net.input(), Pool2d { size: 2, stride: 2, padding: 0 }).unwrap();
    net.linear(x, "fc", 2).unwrap();
    let error = temper_onnx::export(&net, &BTreeMap::new()).unwrap_err().to_string();
    assert!(error.contains("the weight `fc.weight` is missing"), "{error}");
}
