//! Layers against stored values of `PyTorch` (`golden/layers.py` made them) and against finite differences in f64.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use rand::SeedableRng as _;
use temper_nn::{
    Axis, BatchNorm, Classifier, Conv2d, Frozen, Function, Gather, Network, NodeId, Pool, Pool2d,
};

use crate::support::{difference, numbers, root};

type Golden = BTreeMap<String, Tensor>;

fn golden(case: &str) -> Golden {
    let file = root().join("tests/networks/golden/layers.safetensors");
    let all = candle_core::safetensors::load(file, &Device::Cpu).unwrap();
    let prefix = format!("{case}/");
    let mine: Golden =
        all.into_iter().filter_map(|(k, t)| Some((k.strip_prefix(&prefix)?.to_string(), t))).collect();
    assert!(!mine.is_empty(), "no golden values for {case}");
    mine
}

fn weights(golden: &Golden, dtype: DType) -> BTreeMap<String, Tensor> {
    let named = golden.iter().filter_map(|(k, t)| Some((k.strip_prefix("weights/")?.to_string(), t)));
    named.map(|(k, t)| (k, t.to_dtype(dtype).unwrap())).collect()
}

fn conv(
    network: &mut Network,
    x: NodeId,
    i: usize,
    (channels, kernel, stride, padding): (usize, usize, usize, usize),
) -> NodeId {
    let options = Conv2d { channels, kernel, stride, padding, bias: true };
    network.conv(x, &format!("conv{i}"), options).unwrap()
}

/// The network of a case, as `golden/layers.py` builds it.
fn network(case: &str) -> Network {
    let input = match case {
        "plain" => [3, 9, 7],
        "strided" => [3, 10, 9],
        "pooled" => [1, 12, 12],
        "wide" => [4, 6, 6],
        _ => [3, 8, 8],
    };
    let mut net = Network::new(input);
    let x = net.input();
    match case {
        "plain" => {
            let x = conv(&mut net, x, 1, (5, 3, 1, 1));
            net.linear(x, "fc1", 4).unwrap();
        }
        "strided" => {
            let x = conv(&mut net, x, 1, (8, 3, 2, 1));
            let x = net.relu(x);
            let x = conv(&mut net, x, 2, (6, 5, 2, 2));
            net.linear(x, "fc1", 5).unwrap();
        }
        "pooled" => {
            let x = net.normalize(x, &[0.3], &[0.4]).unwrap();
            let x = conv(&mut net, x, 1, (8, 3, 1, 1));
            let x = net.relu(x);
            let x = net.max_pool(x, Pool2d { size: 2, stride: 2, padding: 0 }).unwrap();
            let x = conv(&mut net, x, 2, (18, 3, 1, 1));
            let x = net.relu(x);
            let x = net.max_pool(x, Pool2d { size: 3, stride: 2, padding: 1 }).unwrap();
            let x = net.linear(x, "fc1", 12).unwrap();
            let x = net.relu(x);
            net.linear(x, "fc2", 10).unwrap();
        }
        "wide" => {
            let x = conv(&mut net, x, 1, (33, 1, 1, 0));
            let x = net.relu(x);
            let x = conv(&mut net, x, 2, (20, 3, 1, 0));
            let x = net.relu(x);
            net.linear(x, "fc1", 7).unwrap();
        }
        _ => {
            let options = Conv2d { channels: 8, kernel: 3, stride: 1, padding: 1, bias: false };
            let x = net.conv(x, "conv1", options).unwrap();
            let x = net.batch_norm(x, "bn1");
            let x = net.relu(x);
            let x = net.max_pool(x, Pool2d { size: 2, stride: 2, padding: 0 }).unwrap();
            net.linear(x, "fc1", 10).unwrap();
        }
    }
    net
}

fn loss(logits: &Tensor, labels: &Tensor) -> Tensor {
    let rows = temper_core::Rows { labels: labels.clone(), positions: labels.clone() };
    temper_core::cross_entropy(logits, &rows).unwrap().mean_all().unwrap()
}

const CASES: [&str; 6] = ["plain", "strided", "pooled", "wide", "batch-norm-train", "batch-norm-eval"];

#[test]
fn logits_and_gradients_agree_with_pytorch() {
    for case in CASES {
        // By our kernels, and by candle's operations as on other devices.
        for (dtype, bound, portable) in [
            (DType::F64, 1e-12, false),
            (DType::F32, 2e-5, false),
            (DType::F64, 1e-12, true),
            (DType::F32, 2e-5, true),
        ] {
            let golden = golden(case);
            let classifier = Classifier::new(network(case), &weights(&golden, dtype)).unwrap();
            let classifier = if portable { classifier.portable() } else { classifier };
            let pixels = Var::from_tensor(&golden["pixels"].to_dtype(dtype).unwrap()).unwrap();
            let labels = golden["labels"].to_dtype(DType::U32).unwrap();
            let check = |what: &str, got: &Tensor, want: &Tensor| {
                let off = difference(&got.to_dtype(DType::F64).unwrap(), want);
                assert!(off < bound, "{case} {dtype:?} portable {portable} {what}: off by {off:e}");
            };
            if case != "batch-norm-eval" {
                let logits = classifier.train(&pixels, true, BatchNorm::Update).unwrap();
                check("logits", &logits, &golden["logits"]);
                let loss = loss(&logits, &labels);
                check("loss", &loss.reshape(1).unwrap(), &golden["loss"]);
                let gradients = classifier.backward(&loss).unwrap();
                check("gradient of the pixels", gradients.of(&pixels).unwrap(), &golden["gradients/pixels"]);
                for (name, _) in classifier.trained() {
                    let want = &golden[&format!("gradients/{name}")];
                    let got = gradients.get(name).unwrap().tensor().unwrap();
                    check(&format!("gradient of {name}"), &got, want);
                }
                for (name, want) in golden.iter().filter_map(|(k, t)| Some((k.strip_prefix("after/")?, t))) {
                    check(&format!("{name} after the pass"), &classifier.weights()[name], want);
                }
            }
            // The frozen network is the evaluation mode; without batch norm both are one.
            if case != "batch-norm-train" {
                let logits = Frozen::new(&classifier).unwrap().logits(&pixels).unwrap();
                check("frozen logits", &logits, &golden["logits"]);
                let gradients = loss(&logits, &labels).backward().unwrap();
                check("frozen gradient", gradients.get(&pixels).unwrap(), &golden["gradients/pixels"]);
            }
        }
    }
}

/// A graph with everything that the golden cases lack: a branch, global average pooling, a batch norm that no
/// convolution precedes, `ReLU` and pooling on their own, overlapping windows.
fn odd_network() -> Network {
    let mut net = Network::new([2, 7, 6]);
    let normal = net.normalize(net.input(), &[0.2, 0.4], &[0.5, 0.3]).unwrap();
    let x = net.batch_norm(net.input(), "bn0");
    let x = net.add(x, normal).unwrap();
    let a = conv(&mut net, x, 1, (6, 3, 1, 1));
    let b = conv(&mut net, x, 2, (6, 1, 1, 0));
    let x = net.add(a, b).unwrap();
    let x = net.relu(x);
    // Grouped convolution, average pooling with padding and overlap, and values side by side.
    let options = Conv2d { channels: 8, kernel: 3, stride: 1, padding: 1, bias: true };
    let c = net.grouped_conv(x, "conv3", options, 2).unwrap();
    let c = net.relu(c);
    let d = net.average_pool(x, Pool2d { size: 3, stride: 1, padding: 1 }).unwrap();
    let all = net.concat(&[c, d, x]).unwrap();
    // Batch norm without weight and bias, and channels of zeros on both sides.
    let e = net.bare_batch_norm(d, "bn2");
    let e = net.pad_channels(e, 3, 11).unwrap();
    let x = net.add(all, e).unwrap();
    let x = conv(&mut net, x, 4, (6, 3, 1, 1));
    let x = net.max_pool(x, Pool2d { size: 3, stride: 2, padding: 1 }).unwrap();
    let y = net.batch_norm(x, "bn1");
    let x = net.add(x, y).unwrap();
    let x = net.max_pool(x, Pool2d { size: 2, stride: 1, padding: 0 }).unwrap();
    // Every other row and column.
    let a = net.average_pool(x, Pool2d { size: 1, stride: 2, padding: 0 }).unwrap();
    let b = conv(&mut net, x, 5, (6, 3, 2, 1));
    let x = net.add(a, b).unwrap();
    let x = net.global_average_pool(x);
    net.linear(x, "fc", 3).unwrap();
    net
}

/// Functions, products, constants, weighted sums, slopes that are trained, and windows that differ by axis.
fn bent_network() -> Network {
    let mut net = Network::new([2, 7, 6]);
    let x = net.input();
    let x = conv(&mut net, x, 1, (18, 3, 1, 1));
    let x = net.prelu(x, "act1", false);
    let options = Conv2d { channels: 18, kernel: 3, stride: 1, padding: 1, bias: true };
    let x = net.grouped_conv(x, "conv2", options, 18).unwrap();
    let gate = net.function(x, Function::Sigmoid).unwrap();
    let x = net.multiply(x, gate).unwrap();
    // A squeeze and excitation: one factor for all positions of a channel.
    let mean = net.global_average_pool(x);
    let mean = conv(&mut net, mean, 3, (18, 1, 1, 0));
    let mean = net.function(mean, Function::HardSigmoid { slope: 1.0 / 6.0, offset: 0.5 }).unwrap();
    let x = net.multiply(x, mean).unwrap();
    // The second factor gets a gradient from two sides, and a value is multiplied with itself.
    let square = net.multiply(x, x).unwrap();
    let x = net.add(square, x).unwrap();
    let axis = |kernel, stride, before, after, dilation| Axis { kernel, stride, before, after, dilation };
    let windows = Pool { axes: [axis(2, 1, 0, 1, 1), axis(2, 2, 1, 1, 2)] };
    let a = net.max_pool(x, windows).unwrap();
    let b = net.average_pool(x, windows).unwrap();
    let [c, h, w] = net.shape(a);
    let numbers = |first: f64, n: usize| (0..n).map(|i| first + (i % 7) as f64 * 0.1).collect::<Vec<_>>();
    let a = net.affine(a, &numbers(0.5, c), &numbers(-0.2, c)).unwrap();
    let b = net.affine(b, &numbers(0.4, c * h * w), &numbers(-0.3, c * h * w)).unwrap();
    let b = net.relu(b);
    let x = net.concat(&[a, b]).unwrap();
    let x = net.function(x, Function::Silu).unwrap();
    let x = net.prelu(x, "act2", true);
    // Columns before rows, one number left out and one used twice; then sums with weights, some of nothing.
    let all = 2 * c * h * w;
    let place = |i: usize| i / (h * w) * (h * w) + i % h * w + i % (h * w) / h;
    let index: Vec<Option<usize>> =
        (0..all).map(|i| (i != 5).then(|| place(if i == 7 { 8 } else { i }))).collect();
    let x = net.gather(x, Gather::of([2 * c, w, h], &index)).unwrap();
    let sums: Vec<Vec<(usize, f64)>> = (0..40)
        .map(|o| (0..o % 4).map(|i| ((o * 13 + i * 29) % all, 0.5 - i as f64 * 0.4)).collect())
        .collect();
    let x = net.gather(x, Gather::sums([20, 2, 1], &sums)).unwrap();
    let x = net.function(x, Function::Tanh).unwrap();
    net.linear_without_bias(x, "fc", 3).unwrap();
    net
}

/// Every parameter that training or attacks differentiate, against central differences.
#[test]
fn gradients_agree_with_finite_differences() {
    differences(odd_network);
}

#[test]
fn gradients_of_functions_products_and_sums_agree_with_finite_differences() {
    differences(bent_network);
}

fn differences(network: fn() -> Network) {
    let mut rng = <rand_chacha::ChaCha8Rng as rand::SeedableRng>::seed_from_u64(1);
    let random = |shape: &[usize], seed: u64| {
        let n: usize = shape.iter().product();
        let values = temper_core::Rng::new(seed, "x").uniform(&[0], n);
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(DType::F64).unwrap()
    };
    let start = Classifier::random(network(), DType::F64, &mut rng).unwrap();
    let mut weights = start.weights();
    for (i, (name, weight)) in weights.iter_mut().enumerate() {
        if name.starts_with("bn") || name.starts_with("act") {
            // Away from the identity; variances stay above 0.
            *weight = ((random(weight.dims(), i as u64) * 0.3).unwrap() + 1.0).unwrap();
        }
    }
    let pixels = random(&[3, 2, 7, 6], 99).affine(0.5, 0.5).unwrap();
    let score = random(&[3, 3], 98);
    // Trained with either statistics of batch norm, and frozen; by our kernels, and by candle's operations.
    let modes = [Some(BatchNorm::Keep), Some(BatchNorm::Frozen), None];
    for (mode, portable) in modes.into_iter().flat_map(|mode| [(mode, false), (mode, true)]) {
        let value = |weights: &BTreeMap<String, Tensor>, pixels: &Tensor| {
            let classifier = Classifier::new(network(), weights).unwrap();
            let classifier = if portable { classifier.portable() } else { classifier };
            let logits = match mode {
                None => Frozen::new(&classifier).unwrap().logits(pixels).unwrap(),
                Some(norm) => classifier.train(pixels, true, norm).unwrap(),
            };
            (classifier, (logits * &score).unwrap().sum_all().unwrap())
        };
        let var = Var::from_tensor(&pixels).unwrap();
        let (classifier, total) = value(&weights, &var);
        let gradients = classifier.backward(&total).unwrap();
        let scalar = |t: Tensor| t.to_scalar::<f64>().unwrap();
        let probe = |tensor: &Tensor, i: usize, by: f64| {
            let mut values = numbers(tensor);
            values[i] += by;
            Tensor::from_vec(values, tensor.dims(), &Device::Cpu).unwrap()
        };
        let h = 1e-6;
        let check = |what: &str, got: &Tensor, at: &dyn Fn(usize, f64) -> f64| {
            for (i, got) in numbers(got).into_iter().enumerate().step_by(3) {
                let want = (at(i, h) - at(i, -h)) / (2.0 * h);
                assert!(
                    (got - want).abs() < 1e-6,
                    "{mode:?}, portable {portable}, {what}[{i}]: {got} for {want}"
                );
            }
        };
        check("pixels", gradients.of(&var).unwrap(), &|i, by| {
            scalar(value(&weights, &probe(&pixels, i, by)).1)
        });
        if mode.is_none() {
            assert!(
                classifier.trained().all(|(name, _)| gradients.get(name).is_none()),
                "a frozen weight has a gradient"
            );
            continue;
        }
        for (name, _) in classifier.trained() {
            check(name, &gradients.get(name).unwrap().tensor().unwrap(), &|i, by| {
                let mut moved = weights.clone();
                moved.insert(name.into(), probe(&weights[name], i, by));
                scalar(value(&moved, &pixels).1)
            });
        }
    }
}

#[test]
fn a_network_that_cannot_be_is_refused_in_words() {
    let mut net = Network::new([1, 4, 4]);
    let options = Conv2d { channels: 2, kernel: 7, stride: 1, padding: 1, bias: true };
    let error = net.conv(net.input(), "conv1", options).unwrap_err().to_string();
    assert_eq!(
        error,
        "layer `conv1` does not fit its input of 1 x 4 x 4 (channels x height x width): a 7 x 7 kernel with padding 1 is larger than that"
    );
    net.linear(net.input(), "fc", 2).unwrap();
    let classifier = Classifier::new(net.clone(), &BTreeMap::new()).unwrap_err().to_string();
    assert_eq!(
        classifier,
        "weights do not belong to this network:\n  missing (2):\n    `fc.weight` [2, 16]\n    `fc.bias` [2]"
    );
    let classifier =
        Classifier::random(net, DType::F32, &mut rand_chacha::ChaCha8Rng::from_seed([0; 32])).unwrap();
    let pixels = Tensor::zeros((1, 1, 5, 4), DType::F32, &Device::Cpu).unwrap();
    let error = Frozen::new(&classifier).unwrap().logits(&pixels).unwrap_err().to_string();
    let told =
        |got: &str| format!("the network takes pixels of shape [n, 1, 4, 4] with n at least 1, got {got}");
    assert_eq!(error, told("[1, 1, 5, 4]"));
    let none = Tensor::zeros((0, 1, 4, 4), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(
        Frozen::new(&classifier).unwrap().logits(&none).unwrap_err().to_string(),
        told("[0, 1, 4, 4]")
    );
    let error = classifier.train(&none, true, BatchNorm::Keep).unwrap_err().to_string();
    assert_eq!(error, told("[0, 1, 4, 4]"));
}

/// A loss of two passes, as of clean and of adversarial images, and of a weight itself; one pass's gradients
/// are taken twice.
#[test]
fn gradients_of_several_passes_add_up() {
    let mut rng = rand_chacha::ChaCha8Rng::from_seed([2; 32]);
    let kernels = Classifier::random(odd_network(), DType::F64, &mut rng).unwrap();
    let pixels = |seed: u64| {
        let values = temper_core::Rng::new(seed, "x").uniform(&[0], 3 * 2 * 7 * 6);
        Tensor::from_vec(values, (3, 2, 7, 6), &Device::Cpu).unwrap().to_dtype(DType::F64).unwrap()
    };
    let portable = Classifier::new(odd_network(), &kernels.weights()).unwrap().portable();
    let both = [&kernels, &portable].map(|classifier| {
        let pass = |seed: u64| classifier.train(&pixels(seed), true, BatchNorm::Keep).unwrap();
        let (a, b) = (pass(1).sqr().unwrap().sum_all().unwrap(), pass(2).sin().unwrap().sum_all().unwrap());
        let fc = classifier.trained().find(|(name, _)| *name == "fc.weight").unwrap().1;
        let decay = (fc.as_tensor().sqr().unwrap().sum_all().unwrap() * 0.5).unwrap();
        let loss = ((&a + b).unwrap() + decay).unwrap();
        // A pass may be differentiated again, and nothing of the first time stays.
        classifier.backward(&a).unwrap();
        classifier.backward(&loss).unwrap()
    });
    for (name, _) in kernels.trained() {
        let [got, want] =
            [&both[0], &both[1]].map(|gradients| gradients.get(name).unwrap().tensor().unwrap());
        let off = difference(&got, &want);
        assert!(off < 1e-12, "{name}: off by {off:e}");
    }
}
