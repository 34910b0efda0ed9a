//! Tests of layers on every backend, in double precision. Convolutions of every shape are compared with their
//! definition, in the forward pass and in both gradients. Batch norm has a different epsilon for each layer.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};

use crate::{Axis, BatchNorm, Classifier, Conv2d, ConvAxes, ConvShape, Frozen, Layer, Network, Pool};

fn numbers(n: usize, seed: u64) -> Vec<f64> {
    (0..n as u64)
        .map(|i| ((i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_mul(seed * 2 + 1) >> 40) as f64)
        .map(|v| v / f64::from(1 << 23) - 1.0)
        .collect()
}

fn tensor(values: &[f64], shape: &[usize]) -> Tensor {
    Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
}

fn read(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

fn near(got: &Tensor, want: &[f64], what: &str) {
    let got = read(got);
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() < 1e-10, "{what}[{i}]: {g} for {w}");
    }
}

/// Calls `f` for every tap of every output by the definition, NCHW: (output index, input index, weight index).
fn taps(shape: &ConvShape, mut f: impl FnMut(usize, usize, usize)) {
    let ([c, h, w], [n, rows, columns], [tall, wide]) = (shape.input, shape.output(), shape.axes);
    let (group_c, group_n) = (c / shape.groups, n / shape.groups);
    let taps = group_c * tall.kernel * wide.kernel;
    for at in 0..n * rows * columns * taps {
        let (output, tap) = (at / taps, at % taps);
        let (o, y, x) = (output / (rows * columns), output / columns % rows, output % columns);
        let (i, ky, kx) =
            (tap / (tall.kernel * wide.kernel), tap / wide.kernel % tall.kernel, tap % wide.kernel);
        let iy = (y * tall.stride + ky * tall.dilation).checked_sub(tall.before);
        let ix = (x * wide.stride + kx * wide.dilation).checked_sub(wide.before);
        if let (Some(iy), Some(ix)) = (iy.filter(|y| *y < h), ix.filter(|x| *x < w)) {
            f(output, ((o / group_n * group_c + i) * h + iy) * w + ix, o * taps + tap);
        }
    }
}

/// Output, input gradient and weight gradient by the definition, over samples, for a given gradient of the output.
fn definition(shape: &ConvShape, samples: usize, x: &[f64], weight: &[f64], dy: &[f64]) -> [Vec<f64>; 3] {
    let (size, result) = (x.len() / samples, dy.len() / samples);
    let (mut y, mut dx, mut dw) = (vec![0.0; dy.len()], vec![0.0; x.len()], vec![0.0; weight.len()]);
    for sample in 0..samples {
        taps(shape, |o, i, k| {
            let (o, i) = (sample * result + o, sample * size + i);
            y[o] += x[i] * weight[k];
            dx[i] += dy[o] * weight[k];
            dw[k] += dy[o] * x[i];
        });
    }
    [y, dx, dw]
}

/// Checks a convolution, either as the first layer, which reads pixels, or as the second layer, whose input is an
/// ordinary value. An identity linear layer flattens its output as (channel, row, column).
fn check(input: [usize; 3], axes: [Axis; 2], channels: usize, groups: usize, first: bool) {
    let mut net = Network::new(input);
    let x = if first { net.input() } else { net.pad_channels(net.input(), 0, 0).unwrap() };
    let options = ConvAxes { channels, axes, bias: false };
    let y = net.grouped_conv(x, "conv", options, groups).unwrap();
    let Some(Layer::Conv { shape, .. }) = net.nodes().last().map(|node| node.layer.clone()) else {
        panic!("no convolution");
    };
    let samples = 2;
    let [n, rows, columns] = shape.output();
    let all = n * rows * columns;
    net.linear(y, "fc", all).unwrap();
    let (x, weight) = (numbers(samples * input.iter().product::<usize>(), 1), numbers(n * shape.fan_in(), 2));
    let dy = numbers(samples * all, 3);
    let [y, dx, dw] = definition(&shape, samples, &x, &weight, &dy);

    let dims = [n, input[0] / groups, axes[0].kernel, axes[1].kernel];
    let identity = Tensor::eye(all, DType::F64, &Device::Cpu).unwrap();
    let weights = BTreeMap::from([
        ("conv.weight".to_string(), tensor(&weight, &dims)),
        ("fc.weight".to_string(), identity),
        ("fc.bias".to_string(), tensor(&vec![0.0; all], &[all])),
    ]);
    for portable in [false, true] {
        let classifier = Classifier::new(net.clone(), &weights).unwrap();
        let classifier = if portable { classifier.portable() } else { classifier };
        let what = |part: &str| format!("{part} of {shape:?}, first {first}, portable {portable}");
        let pixels = Var::from_tensor(&tensor(&x, &[samples, input[0], input[1], input[2]])).unwrap();
        let down = tensor(&dy, &[samples, all]);
        let logits = classifier.train(&pixels, true, BatchNorm::Keep).unwrap();
        near(&logits, &y, &what("output"));
        let gradients = classifier.backward(&(logits * &down).unwrap().sum_all().unwrap()).unwrap();
        near(gradients.of(&pixels).unwrap(), &dx, &what("input gradient"));
        let of_weight = gradients.get("conv.weight").unwrap().tensor().unwrap();
        near(&of_weight, &dw, &what("weight gradient"));
        let logits = Frozen::new(&classifier).unwrap().logits(&pixels).unwrap();
        near(&logits, &y, &what("frozen output"));
        let gradients = (logits * &down).unwrap().sum_all().unwrap().backward().unwrap();
        near(gradients.get(&pixels).unwrap(), &dx, &what("frozen input gradient"));
    }
}

const fn axis(kernel: usize, stride: usize, [before, after]: [usize; 2], dilation: usize) -> Axis {
    Axis { kernel, stride, before, after, dilation }
}

#[test]
fn convolutions_of_every_shape_are_what_their_definition_says() {
    let plain = axis(3, 1, [1, 1], 1);
    for (input, axes, channels) in [
        ([3, 6, 7], [plain, plain], 5),
        // Rectangular kernels.
        ([3, 6, 11], [axis(1, 1, [0, 0], 1), axis(5, 1, [2, 2], 1)], 4),
        ([2, 9, 6], [axis(5, 1, [2, 2], 1), plain], 3),
        ([2, 5, 6], [axis(5, 1, [0, 0], 1), axis(6, 1, [0, 0], 1)], 3),
        // A stride for each axis.
        ([3, 8, 16], [axis(3, 2, [1, 1], 1), plain], 4),
        ([3, 7, 9], [plain, axis(3, 3, [1, 1], 1)], 4),
        ([3, 7, 9], [axis(1, 2, [0, 0], 1), axis(1, 1, [0, 0], 1)], 4),
        // Padding on some sides; rows and columns at the end that no kernel reaches.
        ([4, 8, 8], [axis(3, 2, [0, 1], 1), axis(3, 2, [0, 1], 1)], 4),
        ([2, 7, 8], [axis(3, 2, [0, 1], 1), axis(3, 2, [2, 0], 1)], 3),
        ([3, 5, 12], [axis(2, 1, [0, 3], 1), axis(4, 1, [5, 0], 1)], 2),
        // Dilation of both axes, and of one.
        ([3, 10, 11], [axis(3, 1, [2, 2], 2), axis(3, 1, [2, 2], 2)], 5),
        ([3, 10, 12], [axis(3, 2, [2, 2], 2), axis(3, 2, [2, 2], 2)], 5),
        ([3, 9, 12], [axis(3, 1, [2, 2], 2), plain], 4),
        ([3, 9, 12], [plain, axis(3, 1, [2, 2], 2)], 4),
        // All at once.
        ([4, 9, 14], [axis(3, 2, [3, 1], 3), axis(2, 3, [0, 4], 5)], 6),
    ] {
        for first in [true, false] {
            check(input, axes, channels, 1, first);
        }
    }
    check([4, 9, 14], [axis(3, 2, [3, 1], 3), axis(2, 3, [0, 4], 5)], 6, 2, false);
    check([4, 9, 10], [axis(3, 1, [2, 2], 2), axis(3, 1, [2, 2], 2)], 6, 2, false);
    check([4, 6, 9], [axis(2, 2, [0, 1], 1), axis(3, 2, [0, 1], 1)], 4, 4, true);
    // Depth-wise with more than one panel: every stride, padding and dilation, and rows wide enough for whole
    // blocks.
    for (axes, first) in [
        ([plain, plain], false),
        ([plain, plain], true),
        ([axis(3, 2, [1, 1], 1), axis(3, 2, [1, 1], 1)], false),
        ([axis(3, 2, [0, 1], 1), axis(5, 1, [2, 2], 1)], false),
        ([axis(3, 1, [2, 2], 2), axis(2, 1, [0, 1], 3)], false),
        ([axis(2, 1, [3, 0], 1), axis(3, 1, [0, 4], 1)], false),
        ([axis(1, 1, [0, 0], 1), axis(1, 3, [0, 0], 1)], false),
    ] {
        check([18, 7, 12], axes, 18, 18, first);
    }
    // Two output channels for each input channel.
    check([3, 6, 7], [plain, plain], 6, 3, false);
    // Groups with a kernel that covers its input.
    check([4, 5, 5], [axis(5, 1, [0, 0], 1), axis(5, 1, [0, 0], 1)], 6, 2, false);
    check([4, 5, 5], [axis(5, 1, [0, 0], 1), axis(5, 1, [0, 0], 1)], 6, 2, true);
}

/// Batch norm after a convolution, where a frozen network folds it, and after pooling, where it remains a separate
/// step.
#[test]
fn batch_norm_has_the_epsilon_of_its_layer() {
    let (epsilons, small) = ([0.5, 1e-3], 0.01);
    let mut net = Network::new([1, 2, 2]);
    let options = Conv2d { channels: 1, kernel: 1, stride: 1, padding: 0, bias: false };
    let x = net.conv(net.input(), "conv", options).unwrap();
    let x = net.batch_norm_with(x, "bn1", true, epsilons[0]).unwrap();
    let x = net.global_average_pool(x);
    net.batch_norm_with(x, "bn2", false, epsilons[1]).unwrap();
    let one = |value: f64| tensor(&[value], &[1]);
    let mut weights = BTreeMap::from([("conv.weight".to_string(), tensor(&[3.0], &[1, 1, 1, 1]))]);
    for (name, value) in [("weight", 2.0), ("bias", 0.25), ("running_mean", 0.125), ("running_var", small)] {
        weights.insert(format!("bn1.{name}"), one(value));
    }
    weights.insert("bn2.running_mean".into(), one(-1.0));
    weights.insert("bn2.running_var".into(), one(small));
    let x = numbers(8, 4);
    // Applies batch norm with these moments to values.
    let norm = |values: &[f64], mean: f64, variance: f64, epsilon: f64| -> Vec<f64> {
        values.iter().map(|v| (v - mean) / (variance + epsilon).sqrt()).collect()
    };
    let moments = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64)
    };
    let forward = |frozen: bool| {
        let y: Vec<f64> = x.iter().map(|v| v * 3.0).collect();
        let (mean, variance) = if frozen { (0.125, small) } else { moments(&y) };
        let y: Vec<f64> = norm(&y, mean, variance, epsilons[0]).iter().map(|v| v * 2.0 + 0.25).collect();
        let y: Vec<f64> = y.chunks(4).map(|sample| sample.iter().sum::<f64>() / 4.0).collect();
        let (mean, variance) = if frozen { (-1.0, small) } else { moments(&y) };
        norm(&y, mean, variance, epsilons[1])
    };
    let mut gradients = vec![];
    for portable in [false, true] {
        let classifier = Classifier::new(net.clone(), &weights).unwrap();
        let classifier = if portable { classifier.portable() } else { classifier };
        let pixels = Var::from_tensor(&tensor(&x, &[2, 1, 2, 2])).unwrap();
        let down = tensor(&[1.0, -0.5], &[2, 1]);
        let logits = Frozen::new(&classifier).unwrap().logits(&pixels).unwrap();
        near(&logits, &forward(true), "frozen");
        let frozen = (logits * &down).unwrap().sum_all().unwrap().backward().unwrap();
        let logits = classifier.train(&pixels, true, BatchNorm::Update).unwrap();
        near(&logits, &forward(false), "by batch statistics");
        let trained = classifier.backward(&(logits * &down).unwrap().sum_all().unwrap()).unwrap();
        let of_scale = trained.get("bn1.weight").unwrap().tensor().unwrap();
        let all = [frozen.get(&pixels).unwrap(), trained.of(&pixels).unwrap(), &of_scale].map(read);
        let moved = ["bn1.running_mean", "bn1.running_var", "bn2.running_var"]
            .map(|name| read(&classifier.weights()[name]));
        gradients.push([all, moved].concat());
    }
    for (ours, candles) in gradients[0].iter().zip(&gradients[1]) {
        near(&tensor(ours, &[ours.len()]), candles, "gradients and statistics");
    }
}

#[test]
fn layers_that_cannot_be_are_refused_in_words() {
    let mut net = Network::new([1, 4, 5]);
    let mut refused = |axes: [Axis; 2]| {
        let options = ConvAxes { channels: 2, axes, bias: true };
        net.conv(net.input(), "conv", options).unwrap_err().to_string()
    };
    let good = axis(1, 1, [0, 0], 1);
    let why = refused([axis(3, 1, [1, 0], 3), good]);
    let want = "a 3 x 1 kernel with dilation 3 x 1 and padding [1, 0, 0, 0] (top, bottom, left, right) is larger \
                than that";
    assert!(why.ends_with(want), "{why}");
    assert!(refused([good, axis(3, 1, [0, 0], 0)]).ends_with("dilation must be at least 1"));
    assert!(refused([good, axis(2, 1, [0, 0], 5000)]).ends_with("dilation must be at most 4096"));
    assert!(
        refused([axis(1, 0, [0, 0], 1), good]).ends_with("channels, kernel and stride must be at least 1")
    );
    // A window whose taps all fall on the padding before and after the input.
    let pooled = |axis: Axis| {
        let mut net = Network::new([1, 1, 1]);
        net.max_pool(net.input(), Pool { axes: [axis, good] }).map_err(|error| error.to_string())
    };
    let why = pooled(axis(2, 1, [3, 3], 4)).unwrap_err();
    assert!(why.ends_with("has positions of padding alone"), "{why}");
    assert!(pooled(axis(3, 1, [2, 2], 2)).is_ok());
    let why = pooled(axis(2, 1, [2, 0], 1)).unwrap_err();
    assert!(why.ends_with("padding is smaller than the window"), "{why}");
    // A network must return one number for each class, not an image.
    let mut image = Network::new([2, 3, 3]);
    image.relu(image.input());
    let why = Classifier::new(image, &BTreeMap::new()).unwrap_err().to_string();
    assert!(why.ends_with("the last layer gives 2 x 3 x 3, expected one number for each class"), "{why}");
    for epsilon in [0.0, -1e-5, f64::NAN, f64::INFINITY] {
        let why = net.batch_norm_with(net.input(), "bn", true, epsilon).unwrap_err().to_string();
        assert!(why.contains("layer `bn`") && why.contains("epsilon must be finite and above 0"), "{why}");
    }
}
