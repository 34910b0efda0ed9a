//! Graphs of every operator, compared with the logits of ONNX's reference implementation: `golden/make.py` makes them.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use temper_nn::{Classifier, Frozen, Layer};
use temper_onnx::{Imported, parse};

const GOLDEN: &[u8] = include_bytes!("golden/graphs.safetensors");

fn numbers(golden: &SafeTensors<'_>, name: &str) -> Tensor {
    let view = golden.tensor(name).unwrap();
    let numbers: Vec<f32> = view.data().as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect();
    Tensor::from_vec(numbers, view.shape(), &Device::Cpu).unwrap()
}

fn golden(name: &str) -> Imported {
    let golden = SafeTensors::deserialize(GOLDEN).unwrap();
    parse(golden.tensor(&format!("{name}.onnx")).unwrap().data()).unwrap()
}

/// Layers of a network, counted by what they are.
fn layers(imported: &Imported) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for node in imported.network.nodes() {
        let name = match &node.layer {
            Layer::Gather(_) => "gather",
            Layer::Affine { .. } => "affine",
            Layer::Normalize { .. } => "normalize",
            Layer::Conv { .. } => "conv",
            Layer::BatchNorm { .. } => "batch_norm",
            Layer::Function(function) => function.name(),
            Layer::Multiply => "multiply",
            _ => continue,
        };
        *counts.entry(name).or_insert(0) += 1;
    }
    counts
}

/// The largest difference from the reference, relative to the largest logit.
fn difference(golden: &SafeTensors<'_>, name: &str) -> Result<f64, String> {
    let file = golden.tensor(&format!("{name}.onnx")).unwrap();
    let imported = parse(file.data()).map_err(|error| error.to_string())?;
    let classifier =
        Classifier::new(imported.network, &imported.weights).map_err(|error| error.to_string())?;
    let pixels = numbers(golden, &format!("{name}.pixels"));
    let want = numbers(golden, &format!("{name}.logits"));
    let frozen = Frozen::new(&classifier).map_err(|error| error.to_string())?;
    let got = frozen.logits(&pixels).map_err(|error| error.to_string())?;
    if got.dims() != want.dims() {
        return Err(format!("logits {:?} for {:?}", got.dims(), want.dims()));
    }
    let read = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (got, want) = (read(&got), read(&want));
    let largest = want.iter().fold(1.0, |largest: f64, number| largest.max(f64::from(number.abs())));
    let pairs = got.iter().zip(&want).map(|(got, want)| f64::from((got - want).abs()));
    Ok(pairs.fold(0.0, |most: f64, off| if off.is_nan() { f64::INFINITY } else { most.max(off) }) / largest)
}

#[test]
fn logits_are_those_of_the_reference() {
    let golden = SafeTensors::deserialize(GOLDEN).unwrap();
    let graphs: Vec<&str> =
        golden.names().into_iter().filter_map(|name| name.strip_suffix(".onnx")).collect();
    assert!(graphs.len() > 70, "{}", graphs.len());
    let mut wrong = vec![];
    for name in graphs {
        match difference(&golden, name) {
            Ok(off) if off <= 1e-5 => {}
            Ok(off) => wrong.push(format!("{name}: off by {off:e}")),
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn counts(name: &str, what: &str) -> usize {
    layers(&golden(name)).get(what).copied().unwrap_or(0)
}

#[test]
fn layers_are_the_engines_own_where_it_has_them() {
    // Graphs that are channels last become channels first, without rearrangements but for the last matrix.
    let keras = golden("keras");
    let found = layers(&keras);
    assert_eq!((found["normalize"], found["gather"]), (1, 1), "{found:?}");
    assert_eq!(keras.network.input_shape(), [3, 8, 8]);
    for (name, what) in [("silu", "silu"), ("mish", "mish")] {
        assert_eq!(counts(&format!("gated-{name}"), what), 1, "{name}");
        assert_eq!(counts(&format!("gated-{name}"), "multiply"), 0, "{name}");
    }
    // The first padding is the convolution's; the second, of channels and columns, is a rearrangement.
    assert_eq!([counts("conv-padded", "gather"), counts("conv-padded", "conv")], [1, 2]);
    assert_eq!([counts("mobile", "gather"), counts("mobile", "batch_norm")], [0, 4]);
    // Factors and summands after a batch norm became its own.
    assert_eq!(counts("mobile", "affine"), 0);
    assert_eq!([counts("residual-13", "gather"), counts("residual-13", "affine")], [0, 0]);
    assert_eq!([counts("shapes-arithmetic", "gather"), counts("shapes-arithmetic", "conv")], [0, 1]);
    assert_eq!(counts("shuffle", "gather"), 1);
}

#[test]
fn layers_are_named_by_their_weights_and_changes_are_told() {
    let residual = golden("residual-7");
    let names: Vec<&str> = residual.weights.keys().map(String::as_str).collect();
    assert_eq!(names[..3], ["block0.conv1.bias", "block0.conv1.weight", "block0.conv2.bias"]);
    assert_eq!((residual.opset, residual.producer.as_str()), (7, "make.py"));
    assert!(residual.told[0].starts_with("the Softmax `Softmax_"), "{:?}", residual.told);
    assert!(residual.told[0].ends_with("` at the end was taken off: the network gives logits"));
    let fixed = golden("shapes-fixed-batch");
    assert_eq!(fixed.told[0], "the graph's fixed batch of 3 became any batch");
    let dropped = golden("norm-features");
    assert!(dropped.told[0].starts_with("dropout was left out"), "{:?}", dropped.told);
    assert_eq!(dropped.weights["first.weight"].dims(), [5, 24]);
    let constants = golden("arithmetic");
    assert!(
        constants.told.iter().any(|told| told.ends_with("stay as they are in training")),
        "{:?}",
        constants.told
    );
}
