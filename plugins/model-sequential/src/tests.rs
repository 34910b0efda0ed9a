//! Networks written as lists of layers: names and shapes are torch's, values those of the same network built by hand.

use std::collections::BTreeMap;

use temper_core::nn::{Axis, Classifier, ConvAxes, Frozen, Function, Pool};
use temper_core::{Chosen, DType, Device, Tensor};

use super::*;

/// The model of these lines of TOML.
fn model(toml: &str) -> Result<Chosen<dyn Model>, String> {
    let table: toml::Table = format!("model.sequential = {{ {toml} }}").parse().unwrap();
    table["model"].clone().try_into().map_err(|error: toml::de::Error| error.message().to_string())
}

fn network(toml: &str, input: [usize; 3], classes: usize) -> Network {
    model(toml).unwrap().build(input, classes).unwrap()
}

/// The error about these layers on images of 1 x 8 x 8, when they are read or built.
fn refusal(layers: &str) -> String {
    match model(&format!("layers = {layers}")) {
        Err(message) => message,
        Ok(model) => model.build([1, 8, 8], 10).map(|_| ()).unwrap_err().to_string(),
    }
}

/// Names and shapes, as in a state dictionary of torch.
fn names(network: &Network) -> Vec<(String, Vec<usize>)> {
    network.parameters().into_iter().map(|parameter| (parameter.name, parameter.shape)).collect()
}

fn expected(all: &[(&str, &[usize])]) -> Vec<(String, Vec<usize>)> {
    all.iter().map(|(name, shape)| (name.to_string(), shape.to_vec())).collect()
}

/// Logits of a network whose weights follow from their indices: networks with the same names have the same weights.
fn logits(network: &Network) -> Vec<f32> {
    let spread = |n: usize, shape: &[usize]| {
        // Variances must be above 0.
        let values: Vec<f32> = (0..n).map(|i| 0.1 + ((i * 37 + shape.len()) % 19) as f32 / 40.0).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    };
    let weights: BTreeMap<String, Tensor> = names(network)
        .into_iter()
        .map(|(name, shape)| (name, spread(shape.iter().product(), &shape)))
        .collect();
    let [c, h, w] = network.input_shape();
    let pixels = spread(2 * c * h * w, &[2, c, h, w]);
    let frozen = Frozen::new(&Classifier::new(network.clone(), &weights).unwrap()).unwrap();
    frozen.logits(&pixels).unwrap().flatten_all().unwrap().to_dtype(DType::F32).unwrap().to_vec1().unwrap()
}

const LENET: &str = r#"layers = [
    { conv = "conv1", channels = 32, kernel = 3 }, "relu", { conv = "conv2", channels = 64, kernel = 3 }, "relu",
    { max_pool = 2 }, "flatten", { linear = "fc1", features = 128 }, "relu", { linear = "fc2" },
]"#;

#[test]
fn lenet_has_torchs_names_and_shapes_and_is_the_default() {
    let lenet = network(LENET, [1, 28, 28], 10);
    // The state dictionary of https://github.com/pytorch/examples/blob/main/mnist/main.py.
    let torch = expected(&[
        ("conv1.weight", &[32, 1, 3, 3]),
        ("conv1.bias", &[32]),
        ("conv2.weight", &[64, 32, 3, 3]),
        ("conv2.bias", &[64]),
        ("fc1.weight", &[128, 9216]),
        ("fc1.bias", &[128]),
        ("fc2.weight", &[10, 128]),
        ("fc2.bias", &[10]),
    ]);
    assert_eq!(names(&lenet), torch);
    assert_eq!(Sequential::default().build([1, 28, 28], 10).unwrap(), lenet);
    let by_hand = || -> temper_core::nn::Result<Network> {
        let mut net = Network::new([1, 28, 28]);
        let conv = |channels| Conv2d { channels, kernel: 3, stride: 1, padding: 0, bias: true };
        let x = net.conv(net.input(), "conv1", conv(32))?;
        let x = net.relu(x);
        let x = net.conv(x, "conv2", conv(64))?;
        let x = net.relu(x);
        let x = net.max_pool(x, Pool2d { size: 2, stride: 2, padding: 0 })?;
        let x = net.linear(x, "fc1", 128)?;
        let x = net.relu(x);
        net.linear(x, "fc2", 10)?;
        Ok(net)
    };
    assert_eq!(lenet, by_hand().unwrap());
}

#[test]
fn two_convolutions_a_pooling_and_two_hidden_layers_as_in_carlini_and_wagner() {
    // Carlini & Wagner 2017, table 1, for MNIST; names of a Sequential of torch, whose numbers count layers.
    let layers = r#"layers = [
        { conv = "0", channels = 32, kernel = 3 }, "relu", { conv = "2", channels = 32, kernel = 3 }, "relu",
        { max_pool = 2 },
        { conv = "5", channels = 64, kernel = 3 }, "relu", { conv = "7", channels = 64, kernel = 3 }, "relu",
        { max_pool = 2 }, "flatten",
        { linear = "11", features = 200 }, "relu", { linear = "13", features = 200 }, "relu", { linear = "15" },
    ]"#;
    let torch = |c, flat| {
        expected(&[
            ("0.weight", &[32, c, 3, 3]),
            ("0.bias", &[32]),
            ("2.weight", &[32, 32, 3, 3]),
            ("2.bias", &[32]),
            ("5.weight", &[64, 32, 3, 3]),
            ("5.bias", &[64]),
            ("7.weight", &[64, 64, 3, 3]),
            ("7.bias", &[64]),
            ("11.weight", &[200, flat]),
            ("11.bias", &[200]),
            ("13.weight", &[200, 200]),
            ("13.bias", &[200]),
            ("15.weight", &[10, 200]),
            ("15.bias", &[10]),
        ])
    };
    assert_eq!(names(&network(layers, [1, 28, 28], 10)), torch(1, 1024));
    assert_eq!(names(&network(layers, [3, 32, 32], 10)), torch(3, 1600));
}

#[test]
fn kernels_of_even_sides_as_in_wong_and_kolter() {
    // Wong & Kolter 2018: 4 x 4 kernels at stride 2 with padding 1.
    let layers = r#"layers = [
        { conv = "0", channels = 16, kernel = 4, stride = 2, padding = 1 }, "relu",
        { conv = "2", channels = 32, kernel = 4, stride = 2, padding = 1 }, "relu",
        "flatten", { linear = "5", features = 100 }, "relu", { linear = "7" },
    ]"#;
    let net = network(layers, [1, 28, 28], 10);
    let torch = expected(&[
        ("0.weight", &[16, 1, 4, 4]),
        ("0.bias", &[16]),
        ("2.weight", &[32, 16, 4, 4]),
        ("2.bias", &[32]),
        ("5.weight", &[100, 1568]),
        ("5.bias", &[100]),
        ("7.weight", &[10, 100]),
        ("7.bias", &[10]),
    ]);
    assert_eq!(names(&net), torch);
    assert_eq!(logits(&net).len(), 20);
}

#[test]
fn residual_blocks_are_those_built_by_hand() {
    let layers = r#"mean = [0.25], std = [0.5], layers = [
        { conv = "conv1", channels = 4, kernel = 3, padding = "same", bias = false }, { leaky_relu = 0.1 },
        { residual = [
            { conv = "a.conv1", channels = 8, kernel = 3, stride = 2, padding = 1 }, "tanh",
            { conv = "a.conv2", channels = 8, kernel = 3, padding = 1 },
        ], shortcut = [{ conv = "a.shortcut.0", channels = 8, kernel = 1, stride = 2 }], after = "relu" },
        { residual = [{ conv = "b", channels = 8, kernel = [3, 1], padding = [1, 0], groups = 2 }] },
        { batch_norm = "bn", epsilon = 0.001 }, { prelu = "act", shared = true }, { elu = 0.5 },
        { average_pool = [2, 3], stride = 1, padding = [1, 0] }, "global_average_pool", "flatten",
        { linear = "linear", bias = false },
    ]"#;
    let by_hand = || -> temper_core::nn::Result<Network> {
        let mut net = Network::new([3, 9, 9]);
        let conv =
            |channels, kernel, stride, padding| Conv2d { channels, kernel, stride, padding, bias: true };
        let x = net.normalize(net.input(), &[0.25], &[0.5])?;
        let x = net.conv(x, "conv1", Conv2d { bias: false, ..conv(4, 3, 1, 1) })?;
        let x = net.function(x, Function::LeakyRelu { slope: 0.1 })?;
        let y = net.conv(x, "a.conv1", conv(8, 3, 2, 1))?;
        let y = net.function(y, Function::Tanh)?;
        let y = net.conv(y, "a.conv2", conv(8, 3, 1, 1))?;
        let shortcut = net.conv(x, "a.shortcut.0", conv(8, 1, 2, 0))?;
        let x = net.add(y, shortcut)?;
        let x = net.relu(x);
        let axes = [Axis::even(3, 1, 1), Axis::even(1, 1, 0)];
        let y = net.grouped_conv(x, "b", ConvAxes { channels: 8, axes, bias: true }, 2)?;
        let x = net.add(y, x)?;
        let x = net.batch_norm_with(x, "bn", true, 0.001)?;
        let x = net.prelu(x, "act", true);
        let x = net.function(x, Function::Elu { alpha: 0.5, scale: 1.0 })?;
        let x = net.average_pool(x, Pool { axes: [Axis::even(2, 1, 1), Axis::even(3, 1, 0)] })?;
        let x = net.global_average_pool(x);
        net.linear_without_bias(x, "linear", 5)?;
        Ok(net)
    };
    let written = network(layers, [3, 9, 9], 5);
    assert_eq!(written, by_hand().unwrap());
    let (one, other) = (logits(&written), logits(&by_hand().unwrap()));
    assert!(one == other && one.iter().all(|logit| logit.is_finite()));
}

/// Every word on one number: a 1 x 1 convolution with weight 1 and bias 0.
#[test]
fn words_are_the_functions_of_their_names() {
    let xs = [0.0f32, 0.25, 0.5, 1.0];
    let words = activation::WORDS.iter().map(|(word, function)| (format!("\"{word}\""), *function));
    let tables = [
        ("{ leaky_relu = 0.2 }".to_string(), Function::LeakyRelu { slope: 0.2 }),
        ("{ elu = 2 }".to_string(), Function::Elu { alpha: 2.0, scale: 1.0 }),
        ("\"relu\"".to_string(), Function::Clip { low: 0.0, high: f64::INFINITY }),
    ];
    for (word, function) in words.chain(tables) {
        let toml = format!(
            "mean = [0.5], std = [0.25], layers = [{{ conv = \"c\", channels = 1, kernel = 1 }}, {word}]"
        );
        let net = network(&toml, [1, 1, 1], 1);
        let one = |value: f32, shape: &[usize]| Tensor::full(value, shape, &Device::Cpu).unwrap();
        let weights = [("c.weight".into(), one(1.0, &[1, 1, 1, 1])), ("c.bias".into(), one(0.0, &[1]))];
        let frozen = Frozen::new(&Classifier::new(net, &weights.into()).unwrap()).unwrap();
        let pixels = Tensor::from_slice(&xs, (4, 1, 1, 1), &Device::Cpu).unwrap();
        let got = frozen.logits(&pixels).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (x, got) in xs.iter().zip(got) {
            let want = function.value((f64::from(*x) - 0.5) / 0.25);
            assert!((f64::from(got) - want).abs() < 1e-6, "{word} of {x}: {got} for {want}");
        }
    }
}

#[test]
fn padding_that_keeps_the_size_is_torchs() {
    // Torch adds the odd zero below and on the right.
    let net = network(
        r#"layers = [{ conv = "c", channels = 2, kernel = [4, 3], dilation = [1, 2], padding = "same" }, "global_average_pool"]"#,
        [1, 7, 6],
        2,
    );
    let temper_core::nn::Layer::Conv { shape, .. } = &net.nodes()[1].layer else { panic!("no convolution") };
    assert_eq!(net.nodes()[1].shape, [2, 7, 6]);
    assert_eq!(shape.axes[0], Axis { kernel: 4, stride: 1, before: 1, after: 2, dilation: 1 });
    assert_eq!(shape.axes[1], Axis { kernel: 3, stride: 1, before: 2, after: 2, dilation: 2 });
}

#[test]
fn what_is_flattened_is_channels_to_layers_that_are_not_linear() {
    let toml = r#"layers = ["flatten", { batch_norm = "bn" }, { linear = "fc" }]"#;
    let net = network(toml, [2, 3, 4], 10);
    let norm = expected(&[("bn.weight", &[24]), ("bn.bias", &[24]), ("bn.running_mean", &[24])]);
    assert_eq!(names(&net)[..3], norm);
    // No copy if there is one number per channel already, or if only a linear layer needs the flattened value.
    let gathers = |net: &Network| {
        net.nodes().iter().filter(|node| matches!(node.layer, temper_core::nn::Layer::Gather(_))).count()
    };
    assert_eq!(gathers(&net), 1);
    assert_eq!(gathers(&network(r#"layers = ["flatten", "relu", { linear = "fc" }]"#, [2, 3, 4], 10)), 0);
}

#[test]
fn parameters_are_read_as_they_are_written() {
    let toml = r#"mean = [0.5], layers = [
        { conv = "features.0", channels = 4, kernel = [3, 5], stride = 2, padding = [1, 2], dilation = 1 }, "gelu",
        { residual = ["relu6", { elu = 1.0 }], shortcut = [{ prelu = "a" }], after = { leaky_relu = 0.01 } },
        { max_pool = 2, stride = 1 }, "flatten", { linear = "fc", features = 10, bias = false },
    ]"#;
    let first = model(toml).unwrap();
    let written = toml::to_string(first.params()).unwrap();
    let table: toml::Table = format!("[model.sequential]\n{written}").parse().unwrap();
    let again: Chosen<dyn Model> = table["model"].clone().try_into().unwrap();
    assert_eq!(again.params(), first.params());
    let of = |model: &Chosen<dyn Model>| model.build([1, 9, 9], 10).unwrap();
    assert_eq!(of(&again), of(&first));
}

#[test]
fn mistakes_name_their_entry() {
    let linear = r#"{ linear = "fc" }"#;
    for (layers, said) in [
        (
            r#"[{ residual = ["relu", "rleu"] }]"#.to_string(),
            "no layer is called `rleu`; expected \"flatten\", ",
        ),
        (r#"["conv"]"#.into(), "`conv` needs a table, as in { conv = .. }"),
        ("[3]".into(), "a layer: a word such as \"relu\", or a table"),
        (
            r"[{ channels = 3 }]".into(),
            "a layer that does not say what it is; expected exactly one of `conv`, ",
        ),
        (r#"[{ conv = "a", linear = "b" }]"#.into(), "one layer that is several (`conv`, `linear`)"),
        (
            r#"[{ linear = "a", kernel = 3 }]"#.into(),
            "`kernel` does not belong to `linear`, which has `features`, `bias`",
        ),
        (r#"[{ conv = "a", kernel = 3 }]"#.into(), "`conv` `a` needs `channels`"),
        (r#"[{ conv = "a", channels = 3, kernel = [1, 2, 3] }]"#.into(), "two as [rows, columns]"),
        (r#"[{ conv = "a", channels = 3, kernel = 3, padding = "valid" }]"#.into(), ", or \"same\""),
        (r#"[{ max_pool = 2, padding = "same" }]"#.into(), "`padding = \"same\"` is for convolutions"),
        (r#"[{ residual = ["relu"], after = "flatten" }]"#.into(), "`after` must be one of \"relu\", "),
        (r#"[{ residual = [{ conf = "a" }] }]"#.into(), "unknown field `conf`"),
        ("[]".into(), "`layers` of sequential is empty, expected at least one layer"),
        (
            r#"["relu"]"#.into(),
            "layers[0]: the network ends with 1 x 8 x 8 (channels x height x width), expected 10 x 1 x 1",
        ),
        (
            format!(r#"[{{ residual = ["relu", {{ conv = "a", channels = 2, kernel = 9 }}] }}, {linear}]"#),
            "layers[0].residual[1]: layer `a` does not fit its input of 1 x 8 x 8",
        ),
        (
            format!(r#"[{{ residual = ["relu"], shortcut = [{{ max_pool = 2 }}] }}, {linear}]"#),
            "layers[0]: its layers give 1 x 8 x 8 (channels x height x width), its shortcut 1 x 4 x 4",
        ),
        (
            format!("[{linear}, {linear}]"),
            "layers[0]: `features` is left out, which only the last linear layer may",
        ),
        (
            format!(r#"[{{ linear = "fc", features = 9 }}, "relu", {linear}]"#),
            "layers[2]: the name `fc` is that of layers[0] already",
        ),
        (format!(r#"[{{ prelu = "" }}, {linear}]"#), "layers[0]: an empty name"),
        (
            format!(
                r#"[{{ conv = "a", channels = 2, kernel = 3, stride = 2, padding = "same" }}, {linear}]"#
            ),
            "layers[0]: `padding = \"same\"` needs a stride of 1",
        ),
        (
            format!(r#"[{{ conv = "a", channels = 2, kernel = 0 }}, {linear}]"#),
            "layers[0]: layer `a` does not fit",
        ),
        (format!(r#"[{{ batch_norm = "a", epsilon = 0 }}, {linear}]"#), "layers[0]: layer `a` does not fit"),
    ] {
        let refusal = refusal(&layers);
        assert!(refusal.contains(said), "{layers}\n  {refusal}\n  {said}");
    }
}
