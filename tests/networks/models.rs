//! Residual and wide residual networks against `PyTorch` (`golden/models.py` made the values): the same state
//! dictionary gives the same logits and input gradients, by our kernels and by candle's operations.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{DType, Device, Tensor, Var};
use temper_core::{Chosen, Kind, Model, Rows};
use temper_nn::{BatchNorm, Classifier, Frozen, Network};

use crate::support::{difference, numbers, root};

/// Each case, the model that it is, and whether its training pass is stored too.
const CASES: [(&str, &str, bool); 6] = [
    ("resnet18-imagenet", "resnet = { depth = 18, stem = \"imagenet\", width = 2 }", false),
    ("resnet50-imagenet", "resnet = { depth = 50, stem = \"imagenet\", width = 1 }", true),
    ("resnet50-cifar", "resnet = { depth = 50, width = 1 }", false),
    ("resnet20", "resnet = { depth = 20, width = 4 }", true),
    ("wrn-10-1", "wide-resnet = { depth = 10, width = 1 }", true),
    ("wrn-8-1-authors", "wide-resnet = { depth = 8, width = 1, variant = \"authors-code\" }", true),
];

/// What the file holds of one case.
struct Golden {
    tensors: BTreeMap<String, Tensor>,
    /// Names and shapes of all weights, in torch's order.
    names: Vec<(String, Vec<usize>)>,
}

impl Golden {
    fn of(case: &str) -> Self {
        let file = root().join("tests/networks/golden/models.safetensors");
        let all = candle_core::safetensors::load(file, &Device::Cpu).unwrap().into_iter();
        let prefix = format!("{case}/");
        let tensors: BTreeMap<String, Tensor> =
            all.filter_map(|(key, tensor)| Some((key.strip_prefix(&prefix)?.to_string(), tensor))).collect();
        let text = String::from_utf8(tensors["names"].to_vec1::<u8>().unwrap()).unwrap();
        let name = |line: &str| {
            let mut words = line.split(' ');
            (words.next().unwrap().to_string(), words.map(|length| length.parse().unwrap()).collect())
        };
        let names = text.lines().map(name).collect();
        Self { tensors, names }
    }

    fn classifier(&self, model: &str, dtype: DType) -> Classifier {
        // Bytes stand for s |s|, with s = (byte - 128) / 32.
        let roots = self.tensors["weights"].to_dtype(dtype).unwrap().affine(1.0 / 32.0, -4.0).unwrap();
        let all = (&roots * roots.abs().unwrap()).unwrap();
        let mut start = 0;
        let mut weights = BTreeMap::new();
        for (name, shape) in &self.names {
            let n = shape.iter().product();
            weights.insert(name.clone(), all.narrow(0, start, n).unwrap().reshape(&shape[..]).unwrap());
            start += n;
        }
        assert_eq!(start, all.elem_count());
        Classifier::new(self.network(model), &weights).unwrap()
    }

    fn network(&self, model: &str) -> Network {
        let table: toml::Table = format!("model.{model}").parse().unwrap();
        let model: Chosen<dyn Model> = table["model"].clone().try_into().unwrap();
        let [c, h, w] = self.tensors["pixels"].dims()[1..].try_into().unwrap();
        model.build([c, h, w], 10).unwrap()
    }

    fn pixels(&self, dtype: DType) -> Tensor {
        (self.tensors["pixels"].to_dtype(dtype).unwrap() / 255.0).unwrap()
    }

    fn loss(&self, logits: &Tensor) -> Tensor {
        let labels = self.tensors["labels"].to_dtype(DType::U32).unwrap();
        let rows = Rows { labels: labels.clone(), positions: labels };
        temper_core::cross_entropy(logits, &rows).unwrap().mean_all().unwrap()
    }
}

/// As it stands in the registry: with its defaults, on images of 32 x 32.
#[test]
fn every_model_builds_with_its_defaults() {
    let models = <dyn Model>::plugins();
    assert!(models.len() >= 3, "the models are not linked in");
    // A graph from a file has no default.
    let refused =
        Chosen::<dyn Model>::by_name("onnx").unwrap().build([3, 32, 32], 10).unwrap_err().to_string();
    assert!(refused.ends_with("`path` of onnx is missing: name the ONNX file"), "{refused}");
    for plugin in models.into_iter().filter(|plugin| plugin.name != "onnx") {
        let network = Chosen::<dyn Model>::by_name(plugin.name).unwrap().build([3, 32, 32], 10).unwrap();
        assert_eq!((network.input_shape(), network.classes()), ([3, 32, 32], 10), "{}", plugin.name);
        let names: BTreeSet<String> = network.parameters().into_iter().map(|p| p.name).collect();
        assert_eq!(names.len(), network.parameters().len(), "{}: two weights have one name", plugin.name);
    }
}

#[test]
fn names_and_shapes_stand_in_the_order_of_torch() {
    for (case, model, _) in CASES {
        let golden = Golden::of(case);
        let parameters = golden.network(model).parameters();
        let ours: Vec<_> = parameters.into_iter().map(|p| (p.name, p.shape)).collect();
        assert_eq!(ours, golden.names, "{case}");
    }
}

#[test]
fn logits_and_input_gradients_agree_with_pytorch() {
    for (case, model, trains) in CASES {
        let golden = Golden::of(case);
        // Gradients are stored in single precision.
        for (dtype, bound, portable) in
            [(DType::F64, 2e-7, false), (DType::F64, 2e-7, true), (DType::F32, 1e-4, false)]
        {
            let classifier = golden.classifier(model, dtype);
            let classifier = if portable { classifier.portable() } else { classifier };
            let pixels = Var::from_tensor(&golden.pixels(dtype)).unwrap();
            let check = |mode: &str, what: &str, got: &Tensor| {
                let off = difference(got, &golden.tensors[&format!("{mode}/{what}")]);
                assert!(off < bound, "{case} {mode} {dtype:?} portable {portable}, {what}: off by {off:e}");
            };
            let logits = Frozen::new(&classifier).unwrap().logits(&pixels).unwrap();
            check("eval", "logits", &logits);
            let gradients = golden.loss(&logits).backward().unwrap();
            check("eval", "gradient", gradients.get(&pixels).unwrap());
            if trains && dtype == DType::F64 {
                let logits = classifier.train(&pixels, true, BatchNorm::Keep).unwrap();
                check("train", "logits", &logits);
                let gradients = classifier.backward(&golden.loss(&logits)).unwrap();
                check("train", "gradient", gradients.of(&pixels).unwrap());
            }
        }
    }
}

/// What the file is too small for: gradients of all weights, by either engine.
#[test]
fn both_engines_train_alike() {
    for (case, model, _) in CASES {
        let golden = Golden::of(case);
        let pixels = golden.pixels(DType::F64);
        let [kernels, candle] = [false, true].map(|portable| {
            let classifier = golden.classifier(model, DType::F64);
            let classifier = if portable { classifier.portable() } else { classifier };
            let logits = classifier.train(&pixels, true, BatchNorm::Update).unwrap();
            let gradients = classifier.backward(&golden.loss(&logits)).unwrap();
            let of =
                |(name, _): (&str, &Var)| (name.to_string(), gradients.get(name).unwrap().tensor().unwrap());
            let gradients: BTreeMap<_, _> = classifier.trained().map(of).collect();
            (gradients, classifier.weights())
        });
        assert!(!kernels.0.is_empty());
        for (ours, theirs) in [(&kernels.0, &candle.0), (&kernels.1, &candle.1)] {
            let largest = ours.values().flat_map(numbers).fold(0.0f64, |m, v| m.max(v.abs()));
            for (name, ours) in ours {
                let pairs = numbers(ours).into_iter().zip(numbers(&theirs[name]));
                let off = pairs.map(|(a, b)| (a - b).abs() / largest);
                let off =
                    off.fold(0.0f64, |most, off| if off.is_finite() { most.max(off) } else { f64::INFINITY });
                assert!(off < 1e-9, "{case}, {name}: off by {off:e}");
            }
        }
    }
}
