//! Graphs of ONNX. A network that was read has logits, and is written and read again.

#![no_main]

use candle_core::{DType, Device, Tensor};
use libfuzzer_sys::fuzz_target;
use temper_fuzz::{bounded, counted};
use temper_nn::{Classifier, Frozen, Layer};
use temper_onnx::{Imported, export, parse};

counted!();

/// Multiplications beyond which a network is not run.
const WORK: usize = 1 << 18;

/// Whether an error is that a graph is too large.
fn is_of_bounds(error: &str) -> bool {
    ["at most", "more than", "more work than"].iter().any(|words| error.contains(words))
}

/// Multiplications of a pass, or more.
fn work(imported: &Imported) -> usize {
    let nodes = imported.network.nodes().iter();
    let each = nodes.map(|node| {
        let inputs: usize = match &node.layer {
            Layer::Conv { shape, .. } => shape.fan_in(),
            Layer::MaxPool(pool) | Layer::AveragePool(pool) => pool.taps(),
            _ => 1,
        };
        node.shape.iter().product::<usize>().saturating_mul(inputs)
    });
    each.fold(0, usize::saturating_add)
}

fuzz_target!(|data: &[u8]| {
    let Ok(imported) = bounded(|| parse(data)) else { return };
    if work(&imported) > WORK {
        return;
    }
    let classes = imported.network.classes();
    let [c, h, w] = imported.network.input_shape();
    let written = export(&imported.network, &imported.weights).expect("a network that was read is written");
    let classifier = Classifier::new(imported.network, &imported.weights).expect("weights fit their network");
    let frozen = Frozen::new(&classifier).expect("it runs");
    let pixels = Tensor::zeros((2, c, h, w), DType::F32, &Device::Cpu).expect("pixels");
    let logits = frozen.logits(&pixels).expect("it gives logits");
    assert_eq!(logits.dims(), [2, classes]);
    // Constants that were folded are written number by number, which may be beyond what a file of its length may ask.
    match parse(&written) {
        Ok(again) => assert_eq!(again.network.classes(), classes),
        Err(error) => assert!(is_of_bounds(&error.to_string()), "what was written is read: {error}"),
    }
});
