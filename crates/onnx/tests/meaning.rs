//! Corners of operators that no exporter writes often: values by their definition in the ONNX standard.

mod graph;

use candle_core::{Device, Tensor};
use temper_nn::{Classifier, Frozen, Layer};
use temper_onnx::parse;

use graph::{bytes, int, ints, model, node, tensor};

/// What a graph gives for a sample.
fn logits(file: &[u8], shape: [usize; 3], pixels: &[f32]) -> Vec<f32> {
    let read = parse(file).unwrap();
    let frozen = Frozen::new(&Classifier::new(read.network, &read.weights).unwrap()).unwrap();
    let pixels = Tensor::from_slice(pixels, (1, shape[0], shape[1], shape[2]), &Device::Cpu).unwrap();
    frozen.logits(&pixels).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn whole(name: &str, numbers: &[i64]) -> Vec<u8> {
    let raw: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    tensor(name, 7, &[numbers.len() as i64], &raw)
}

fn floats(name: &str, dims: &[i64], numbers: &[f32]) -> Vec<u8> {
    let raw: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    tensor(name, 1, dims, &raw)
}

/// `Slice` clamps a start below 0 to the first place, also if it runs backwards.
#[test]
fn a_slice_that_runs_backwards_begins_within_its_axis() {
    let parts = |start: i64| {
        let names = [("s", start), ("e", i64::MIN + 9), ("a", 3), ("t", -1)];
        let slice = node("Slice", &["x", "s", "e", "a", "t"], &["z"], &[]);
        let flat = node("Flatten", &["z"], &["y"], &[]);
        let constants = names.map(|(name, number)| whole(name, &[number]));
        [vec![slice, flat], constants.to_vec()].concat()
    };
    let of = |start: i64| logits(&model(13, &[0, 1, 1, 4], &parts(start)), [1, 1, 4], &[0.1, 0.2, 0.3, 0.4]);
    assert_eq!(of(100), [0.4, 0.3, 0.2, 0.1]);
    assert_eq!(of(1), [0.2, 0.1]);
    assert_eq!(of(-100), [0.1]);
}

/// Both constants are one number each, without bytes: 0.7 is above 0.2, though both are 0 as integers.
#[test]
fn uniform_floats_are_compared_as_floats() {
    let uniform = |name: &str, number: f32| {
        let value = [bytes(1, b"value"), floats("", &[1], &[number]), int(20, 4)].concat();
        node("ConstantOfShape", &["shape"], &[name], &[value])
    };
    for (operator, chosen) in [("Greater", 10.0), ("Less", 20.0), ("Equal", 20.0)] {
        let parts = [
            uniform("a", 0.7),
            uniform("b", 0.2),
            node(operator, &["a", "b"], &["c"], &[]),
            node("Where", &["c", "ten", "twenty"], &["w"], &[]),
            node("Add", &["x", "w"], &["z"], &[]),
            node("Flatten", &["z"], &["y"], &[]),
            whole("shape", &[1, 1, 1, 1]),
            floats("ten", &[1, 1, 1, 1], &[10.0]),
            floats("twenty", &[1, 1, 1, 1], &[20.0]),
        ];
        assert_eq!(
            logits(&model(13, &[0, 1, 1, 1], &parts), [1, 1, 1], &[0.5]),
            [chosen + 0.5],
            "{operator}"
        );
    }
}

/// `PyTorch` writes softplus as a choice, which is softplus only where both numbers of the choice agree.
#[test]
fn choices_are_softplus_only_if_their_threshold_is_far() {
    let chosen = |threshold: f32, compared: &str, other: &str| {
        let parts = [
            node("Softplus", &["x"], &["s"], &[]),
            node("Greater", &[compared, "threshold"], &["c"], &[]),
            node("Where", &["c", other, "s"], &["w"], &[]),
            node("Flatten", &["w"], &["y"], &[]),
            floats("threshold", &[], &[threshold]),
        ];
        model(13, &[0, 1, 1, 2], &parts)
    };
    let softplus = |x: f32| x.exp().ln_1p();
    let got = logits(&chosen(20.0, "x", "x"), [1, 1, 2], &[0.25, 0.75]);
    for (got, x) in got.iter().zip([0.25, 0.75]) {
        assert!((got - softplus(x)).abs() < 1e-6, "{got} for {x}");
    }
    for model in [chosen(0.5, "x", "x"), chosen(20.0, "s", "x"), chosen(20.0, "x", "s")] {
        let error = parse(&model).unwrap_err().to_string();
        assert!(error.contains("supported among constants only"), "{error}");
    }
}

#[test]
fn shapes_that_would_lose_axes_are_refused() {
    let said = |parts: &[Vec<u8>]| parse(&model(13, &[0, 1, 2, 2], parts)).unwrap_err().to_string();
    let flat = node("Flatten", &["x"], &["f"], &[]);
    // ONNX gives `[1, n, 2]`.
    let weight = floats("w", &[1, 4, 2], &[0.0; 8]);
    let error = said(&[flat.clone(), node("MatMul", &["f", "w"], &["y"], &[]), weight]);
    assert!(error.ends_with("its constant [1, 4, 2] has more axes than its input [1, 4]"), "{error}");
    // More axes than a value may have, the free one last.
    let mut dims = vec![1; 17];
    dims.push(-1);
    let error = said(&[node("Reshape", &["x", "d"], &["y"], &[]), whole("d", &dims)]);
    assert!(error.ends_with("18 axes; at most 16 are supported"), "{error}");
    let axes = |axes: &[i64]| said(&[node("Unsqueeze", &["x", "a"], &["y"], &[]), whole("a", axes)]);
    assert!(axes(&[0; 17]).ends_with("17 new axes; at most 16 are supported"), "{}", axes(&[0; 17]));
    assert!(axes(&[4, 4]).ends_with("its axes [4, 4] name one twice"), "{}", axes(&[4, 4]));
}

/// A file of a few hundred bytes can claim axes of which a list would take gigabytes.
#[test]
fn long_axes_of_constants_without_bytes_are_refused() {
    let uniform = node("ConstantOfShape", &["shape"], &["u"], &[]);
    let constants =
        [whole("shape", &[1 << 30]), whole("s", &[0]), whole("e", &[i64::MAX]), whole("p", &[1, 0])];
    for (cut, says) in [
        (node("Slice", &["u", "s", "e"], &["c"], &[]), "it cuts 1073741824 places"),
        (node("Split", &["u"], &["c", "d"], &[ints("split", &[1, 1])]), "it splits 1073741824 places"),
        (node("Pad", &["u", "p"], &["c"], &[]), "it pads 1073741824 places"),
    ] {
        let parts = [vec![uniform.clone(), cut], constants.to_vec()].concat();
        let last = [node("Add", &["x", "c"], &["z"], &[]), node("Flatten", &["z"], &["y"], &[])].concat();
        let error = parse(&model(13, &[0, 1, 1, 1], &[parts.concat(), last])).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

/// Constants of channels stay a list of channels: batch norm that an exporter wrote as `Mul` and `Add` is read for
/// images of any size.
#[test]
fn constants_of_channels_are_not_listed_for_each_number() {
    let side = 1600;
    let parts = |operator: &str, constant: Vec<u8>| {
        [node(operator, &["x", "m"], &["s"], &[]), node("Add", &["s", "a"], &["z"], &[]), constant]
    };
    let read = |parts: &[Vec<u8>]| {
        let pooled = node("GlobalAveragePool", &["z"], &["g"], &[]);
        let flat = node("Flatten", &["g"], &["y"], &[]);
        let summands = floats("a", &[1, 2, 1, 1], &[0.5, -0.5]);
        parse(&model(13, &[0, 2, side, side], &[parts, &[pooled, flat, summands]].concat()))
    };
    let network = read(&parts("Mul", floats("m", &[2, 1, 1], &[2.0, -3.0]))).unwrap().network;
    let layers: Vec<_> = network.nodes().iter().map(|node| &node.layer).collect();
    assert!(
        matches!(layers[1], Layer::Affine { scale, shift } if scale[..] == [2.0, -3.0] && shift[..] == [0.5, -0.5]),
        "{layers:?}"
    );
    // A constant of columns is listed for each number, of which these are too many.
    let columns = floats("m", &[1, side], &vec![2.0; side as usize]);
    let error = read(&parts("Mul", columns)).unwrap_err().to_string();
    assert!(error.contains("constants for 5120000 numbers; at most 4194304"), "{error}");
}

/// Products with lists of channels, of planes and of numbers, joined in one layer, are what broadcasting makes of them.
#[test]
fn lists_of_channels_and_of_numbers_are_joined() {
    let parts = [
        node("Mul", &["x", "channels"], &["a"], &[]),
        node("Add", &["a", "rows"], &["b"], &[]),
        node("Mul", &["b", "numbers"], &["c"], &[]),
        node("Sub", &["c", "columns"], &["d"], &[]),
        node("Div", &["d", "channels"], &["e"], &[]),
        node("Flatten", &["e"], &["y"], &[]),
        floats("channels", &[1, 2, 1, 1], &[2.0, -4.0]),
        floats("rows", &[1, 2, 2, 1], &[1.0, 2.0, 3.0, 4.0]),
        floats("numbers", &[1, 2, 2, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]),
        floats("columns", &[2], &[10.0, 20.0]),
    ];
    let pixels = [0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875];
    let want: Vec<f32> = (0..8)
        .map(|i| {
            let channel = [2.0, -4.0][i / 4];
            let numbers = (pixels[i] * channel + [1.0, 2.0, 3.0, 4.0][i / 2]) * (i + 1) as f32;
            (numbers - [10.0, 20.0][i % 2]) / channel
        })
        .collect();
    let got = logits(&model(13, &[0, 2, 2, 2], &parts), [2, 2, 2], &pixels);
    assert!(got.iter().zip(&want).all(|(x, y)| (x - y).abs() < 1e-5), "{got:?} for {want:?}");
}
