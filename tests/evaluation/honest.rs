//! Honest networks under all of `AutoAttack`: no warning, or the one that few classes deserve.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Tensor, safetensors};
use temper_core::nn::{Classifier, Frozen, Numerics};
use temper_core::{Chosen, DataError, Image, Model, Source, Subset};
use temper_evaluate::Compared;

use crate::attacks::trained::images;
use crate::evaluation::judging::{entry, honest, judged, warnings};
use crate::support::root;

const SUITE: &str = "suite = \"autoattack\"";
/// The classes of Fashion-MNIST that the network of `peers/autoattack` tells apart: tops, pullovers, shirts.
const CLASSES: [u32; 3] = [0, 2, 6];

/// Images in memory, with the names of their classes.
struct Kept(Vec<(Image, u32)>, Vec<String>);

impl Source for Kept {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn classes(&self) -> &[String] {
        &self.1
    }
    fn read(&self, index: usize) -> Result<(Image, u32), DataError> {
        Ok(self.0[index].clone())
    }
    fn origin(&self) -> String {
        "a test".into()
    }
}

/// `n` test images of the first of [`CLASSES`], class after class, as three equal channels.
fn coloured(classes: usize, n: usize) -> Arc<dyn Source> {
    let whole = images(usize::MAX);
    let of = |i: usize| {
        let (image, class) = whole.read(i).unwrap();
        let label = CLASSES[..classes].iter().position(|kept| *kept == class)?;
        Some((Image::of_bytes([3, 28, 28], image.bytes().repeat(3)), label as u32))
    };
    let mut kept: Vec<(Image, u32)> = (0..whole.len()).filter_map(of).collect();
    kept.sort_by_key(|(_, label)| *label);
    let names = CLASSES[..classes].iter().map(ToString::to_string).collect();
    Arc::new(Subset::new(Arc::new(Kept(kept, names)), n))
}

/// The network of three classes; of two, its last layer has only the first two rows.
fn few(classes: usize) -> Frozen {
    let folder = root().join("tests/attacks/peers/autoattack");
    let text = std::fs::read_to_string(folder.join("network-three.toml")).unwrap();
    let pipeline: toml::Table = text.parse().unwrap();
    let model: Chosen<dyn Model> = pipeline["model"].clone().try_into().unwrap();
    let weights = safetensors::load(folder.join("three.safetensors"), &Device::Cpu).unwrap();
    let mut weights: BTreeMap<String, Tensor> = weights.into_iter().collect();
    for name in ["fc2.weight", "fc2.bias"] {
        let rows = weights[name].narrow(0, 0, classes).unwrap();
        weights.insert(name.into(), rows);
    }
    let graph = model.build([3, 28, 28], classes).unwrap().with_numerics(Numerics::Exact);
    Frozen::new(&Classifier::new(graph, &weights).unwrap()).unwrap()
}

/// Asserts that the suite ran to its end, and that the radius parts images that stand from those that do not.
fn tried(compared: &Compared, labels: [&str; 4]) {
    let [natural, suite] = &compared.evaluations[..] else { panic!("two evaluations") };
    assert_eq!(suite.attacks.iter().map(|cost| &*cost.attack).collect::<Vec<_>>(), labels);
    assert!(suite.attacks.iter().all(|cost| cost.attacked > 0), "{:?}", suite.attacks);
    assert!(suite.accuracy > 0.0 && suite.accuracy < natural.accuracy, "the test is empty");
}

/// The convnet of ten classes on a few images gives no warning.
fn believed(norm: &str, radius: f64) {
    let entry = entry("a", radius, &format!("norm = \"{norm}\"\n{SUITE}"));
    let compared = judged(&honest(), &images(10), &[entry]);
    tried(&compared, ["apgd-ce", "apgd-t", "fab-t", "square"]);
    assert_eq!(warnings(&compared), []);
}

#[test]
fn an_honest_network_is_believed_under_the_suite_in_linf() {
    believed("linf", 0.1);
}

#[test]
fn an_honest_network_is_believed_under_the_suite_in_l2() {
    believed("l2", 1.0);
}

/// With few classes the suite raises the margin. Its label and one caution say so, and nothing else is said.
fn cautioned(classes: usize, n: usize, radius: f64) {
    let compared = judged(&few(classes), &coloured(classes, n), &[entry("a", radius, SUITE)]);
    let wrong = classes - 1;
    let margin = format!("apgd-margin-t-top{wrong}");
    tried(&compared, ["apgd-ce", &margin, &format!("fab-t-top{wrong}"), "square"]);
    let all = warnings(&compared);
    let [told] = &all[..] else { panic!("{all:?}") };
    assert_eq!((&*told.id, told.is_severe()), ("attack-parameters", false));
    let text = format!(
        "`{margin}`: the targeted loss `dlr` needs at least 4 classes, not {classes}: the margin of logits, its \
         numerator, was raised instead"
    );
    assert_eq!(told.text, text);
    assert_eq!(compared.evaluations[1].warnings.len(), 1, "it is about the suite");
}

#[test]
fn three_classes_are_cautioned_of_the_margin_alone() {
    cautioned(3, 20, 0.15);
}

#[test]
fn two_classes_are_cautioned_of_the_margin_alone() {
    cautioned(2, 10, 0.25);
}
