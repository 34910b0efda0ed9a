//! `ResNet` against `PyTorch` (`golden/resnet.py` made the values): the same state dictionary gives the same logits and
//! gradients in all three modes of batch norm, by our kernels and by candle's operations.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{DType, Device, Tensor, Var};
use temper_core::{Chosen, Model};
use temper_nn::{BatchNorm, Classifier, Frozen};

use crate::support::{difference, root};

fn golden() -> BTreeMap<String, Tensor> {
    let file = root().join("tests/networks/golden/resnet.safetensors");
    candle_core::safetensors::load(file, &Device::Cpu).unwrap().into_iter().collect()
}

fn network() -> temper_nn::Network {
    let table: toml::Table = "model.resnet = { depth = 18, width = 2 }".parse().unwrap();
    let model: Chosen<dyn Model> = table["model"].clone().try_into().unwrap();
    model.build([3, 32, 32], 10).unwrap()
}

/// The classifier of the golden weights in this precision.
fn classifier(golden: &BTreeMap<String, Tensor>, dtype: DType) -> Classifier {
    let weights = golden.iter().filter_map(|(k, t)| Some((k.strip_prefix("weights/")?.to_string(), t)));
    let weights = weights.map(|(k, t)| (k, t.to_dtype(dtype).unwrap())).collect();
    Classifier::new(network(), &weights).unwrap()
}

#[test]
fn names_are_those_of_torch() {
    let golden = golden();
    let torch: BTreeSet<&str> = golden.keys().filter_map(|k| k.strip_prefix("weights/")).collect();
    let network = network();
    let ours: Vec<String> = network.parameters().into_iter().map(|p| p.name).collect();
    assert_eq!(ours.iter().map(String::as_str).collect::<BTreeSet<_>>(), torch);
}

#[test]
fn logits_and_gradients_agree_with_pytorch_in_every_mode() {
    let golden = golden();
    let labels = golden["labels"].to_dtype(DType::U32).unwrap();
    let modes = [("eval", None), ("train", Some(BatchNorm::Update)), ("frozen", Some(BatchNorm::Frozen))];
    for ((mode, norm), dtype, bound, portable) in modes.into_iter().flat_map(|mode| {
        [(mode, DType::F64, 1e-9, false), (mode, DType::F64, 1e-9, true), (mode, DType::F32, 1e-4, false)]
    }) {
        let check = |what: &str, got: &Tensor, want: &Tensor| {
            let off = difference(got, want);
            assert!(off < bound, "{mode} {dtype:?} portable {portable}, {what}: off by {off:e}");
        };
        let classifier = classifier(&golden, dtype);
        let classifier = if portable { classifier.portable() } else { classifier };
        let before = classifier.weights();
        let pixels = Var::from_tensor(&golden["pixels"].to_dtype(dtype).unwrap()).unwrap();
        let logits = match norm {
            None => Frozen::new(&classifier).unwrap().logits(&pixels).unwrap(),
            Some(norm) => classifier.train(&pixels, true, norm).unwrap(),
        };
        check("logits", &logits, &golden[&format!("{mode}/logits")]);
        let rows = temper_core::Rows { labels: labels.clone(), positions: labels.clone() };
        let loss = temper_core::cross_entropy(&logits, &rows).unwrap().mean_all().unwrap();
        let gradients = classifier.backward(&loss).unwrap();
        check("pixels", gradients.of(&pixels).unwrap(), &golden[&format!("{mode}/gradients/pixels")]);
        if norm.is_some() {
            for (name, _) in classifier.trained() {
                check(
                    name,
                    &gradients.get(name).unwrap().tensor().unwrap(),
                    &golden[&format!("{mode}/gradients/{name}")],
                );
            }
        }
        for (name, after) in classifier.weights() {
            let want = golden.get(&format!("{mode}/after/{name}"));
            check(&name, &after, want.unwrap_or(&before[&name].to_dtype(DType::F64).unwrap()));
        }
    }
}
