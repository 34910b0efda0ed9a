//! The stored network that was trained for `peers`, its images, and the same network with other logits.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use temper_core::nn::{Classifier, Frozen, Numerics};
use temper_core::{
    Attack, Ball, Batch, Chosen, Dataset, Goal, Model, Norm, Passes, Perturbed, Rng, Source, Split, Subset,
    Victim, VictimNetwork, perturb,
};
use temper_data::Batches;

use crate::support::root;

fn pipeline() -> toml::Table {
    let text = std::fs::read_to_string(root().join("tests/attacks/peers/peers.toml")).unwrap();
    text.parse().unwrap()
}

/// `n` of the network's test images, spread evenly over all.
pub(crate) fn images(n: usize) -> Arc<dyn Source> {
    let dataset: Chosen<dyn Dataset> = pipeline()["dataset"].clone().try_into().unwrap();
    Arc::new(Subset::new(dataset.open(Split::Test).unwrap(), n))
}

/// The network, and `n` of its test images.
pub(crate) fn trained(n: usize) -> (Classifier, Batch) {
    let folder = root().join("tests/attacks/peers");
    let pipeline = pipeline();
    let raw = Batches::new(images(n), (0..n).collect(), n, None).next().unwrap().unwrap();
    let model: Chosen<dyn Model> = pipeline["model"].clone().try_into().unwrap();
    let weights = candle_core::safetensors::load(folder.join("network.safetensors"), &Device::Cpu).unwrap();
    // Winograd's rounding parts what ties in max pooling, and with it a few images on the boundary.
    let graph = model.build([1, 28, 28], 10).unwrap().with_numerics(Numerics::Exact);
    let classifier = Classifier::new(graph, &weights.into_iter().collect()).unwrap();
    (classifier, Batch::new(raw, &Device::Cpu).unwrap())
}

/// The same classes, by logits `scale` times as large.
pub(crate) fn scaled(classifier: &Classifier, scale: f64) -> Classifier {
    let mut weights: BTreeMap<String, Tensor> = classifier.weights();
    let last = weights.keys().filter_map(|name| name.strip_suffix(".weight")).max().unwrap().to_string();
    assert!(last.starts_with("fc"), "{last}");
    for part in ["weight", "bias"] {
        let scaled = (&weights[&format!("{last}.{part}")] * scale).unwrap();
        weights.insert(format!("{last}.{part}"), scaled);
    }
    Classifier::new(classifier.network().clone(), &weights).unwrap()
}

/// Those of a batch that the network sees as their label says.
pub(crate) fn right(frozen: &Frozen, batch: &Batch) -> Batch {
    let seen = frozen.logits(&batch.pixels).unwrap().argmax(1).unwrap().to_vec1::<u32>().unwrap();
    let labels = batch.labels.to_vec1::<u32>().unwrap();
    let rows: Vec<u32> =
        (0..labels.len()).filter(|i| seen[*i] == labels[*i]).map(|i| u32::try_from(i).unwrap()).collect();
    let index = Tensor::new(&rows[..], &Device::Cpu).unwrap();
    Batch {
        pixels: batch.pixels.index_select(&index, 0).unwrap(),
        labels: batch.labels.index_select(&index, 0).unwrap(),
        ids: rows.iter().map(|i| batch.ids[*i as usize]).collect(),
    }
}

/// Images of a shape as a batch, labelled as the network sees them.
pub(crate) fn as_seen(frozen: &Frozen, pixels: Vec<f32>) -> Batch {
    let [c, h, w] = frozen.network().input_shape();
    let n = pixels.len() / (c * h * w);
    let pixels = Tensor::from_vec(pixels, (n, c, h, w), &Device::Cpu).unwrap();
    let labels = frozen.logits(&pixels).unwrap().argmax(1).unwrap().to_dtype(DType::U32).unwrap();
    Batch { pixels, labels, ids: (0..n as u64).collect() }
}

/// What an attack does in balls of one radius, whom it breaks, and its passes.
pub(crate) fn under(
    frozen: &Frozen,
    batch: &Batch,
    attack: &Chosen<dyn Attack>,
    (norm, radius): (Norm, f64),
) -> (Perturbed, Vec<bool>, Passes) {
    let passes = Passes::default();
    let (got, broken) = {
        let victim = Victim::new(VictimNetwork::Frozen(frozen), batch, Goal::Mistake, &passes).unwrap();
        let ball = Ball::new(&batch.pixels, &vec![radius; batch.len()], norm, &batch.ids).unwrap();
        let got = perturb(attack, &victim, &ball, &Rng::new(0, "attack")).unwrap();
        let broken = victim.broken(&got.pixels).unwrap();
        (got, broken)
    };
    (got, broken, passes)
}

/// How many.
pub(crate) fn count(broken: &[bool]) -> usize {
    broken.iter().filter(|b| **b).count()
}
