//! Fast and exact sums on trained networks, both against double precision.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor, Var};
use temper_core::{Batch, Source, Split};
use temper_data::{Batches, Subset};
use temper_nn::{Classifier, Frozen, Network, Numerics};
use temper_runner::Pipeline;
use temper_train::{Glimpse, Trainer, Watch};

use crate::support::{judged, numbers};

struct Quiet;
impl Watch for Quiet {
    fn glimpse(&mut self, _: &Glimpse) {}
}

/// A pipeline on the embedded images, trained for a little while: its network, its weights, and test images.
fn trained(model: &str, images: usize) -> (Pipeline, Network, BTreeMap<String, Tensor>, Arc<dyn Source>) {
    let text = format!(
        "seed = 3\ndataset.fashion-mnist = {{ images = \"embedded\" }}\n{model}\n[train]\nepochs = 2\nbatch = 50\n\
         optimizer = {{ lr = 0.05 }}\n[[evaluate]]\nname = \"pgd\"\nradius = 0.03\nattack.pgd = {{ steps = 5, step = 0.01 }}\n"
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.toml");
    std::fs::write(&file, text).unwrap();
    let pipeline = Pipeline::load(&file, &[]).unwrap();
    let part =
        |split, n| -> Arc<dyn Source> { Arc::new(Subset::new(pipeline.dataset.open(split).unwrap(), n)) };
    let (train, test) = (part(Split::Train, images), part(Split::Test, 500));
    let network = pipeline.model.build([1, 28, 28], 10).unwrap();
    let trainer = Trainer::new(&pipeline.train, pipeline.seed, &Device::Cpu);
    let mut state = trainer.start(network.clone(), train.len()).unwrap();
    for _ in 0..2 {
        trainer.epoch(&mut state, &train, &mut Quiet).unwrap();
    }
    let weights = state.classifier.weights();
    (pipeline, network, weights, test)
}

/// Input gradients of the cross-entropy, a row a sample, in double precision.
fn gradients(frozen: &Frozen, batch: &Batch, dtype: DType) -> Vec<Vec<f64>> {
    let pixels = Var::from_tensor(&batch.pixels.to_dtype(dtype).unwrap()).unwrap();
    let logits = frozen.logits(&pixels).unwrap();
    let rows = temper_core::Rows { labels: batch.labels.clone(), positions: batch.labels.clone() };
    let scores = temper_core::cross_entropy(&logits, &rows).unwrap().sum_all().unwrap();
    let gradient = scores.backward().unwrap().remove(&pixels).unwrap();
    let all = numbers(&gradient.to_dtype(DType::F64).unwrap());
    all.chunks(all.len() / batch.len()).map(<[f64]>::to_vec).collect()
}

/// Relative l2 distance.
fn apart(got: &[f64], want: &[f64]) -> f64 {
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    norm(&mut got.iter().zip(want).map(|(g, w)| g - w)) / norm(&mut want.iter().copied())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
fn sums_stay_within_their_bounds_on_trained_networks() {
    for (model, images) in [
        ("model.resnet = { width = 16 }", 1500),
        ("model.convnet = { channels = [32, 64], hidden = 128 }", 3000),
        ("model.convnet = { channels = [24, 40], batch_norm = true, kernel = 5, pool = 3 }", 2000),
    ] {
        let (pipeline, network, weights, test) = trained(model, images);
        let wide = weights.iter().map(|(name, w)| (name.clone(), w.to_dtype(DType::F64).unwrap())).collect();
        let raw = Batches::new(test.clone(), (0..24).collect(), 24, None).next().unwrap().unwrap();
        let mut batch = Batch::new(raw, &Device::Cpu).unwrap();
        // As a random start does: where the background is one number, all of a pooling window are equal, and
        // which of them takes the gradient is a matter of rounding.
        let noise = temper_core::Rng::new(2, "noise").uniform(&batch.ids, 28 * 28);
        let noise = Tensor::from_vec(noise, batch.pixels.shape(), &Device::Cpu).unwrap();
        batch.pixels = ((batch.pixels * 0.9).unwrap() + noise.affine(0.05, 0.05).unwrap()).unwrap();
        let judge = Classifier::new(network.clone().with_numerics(Numerics::Exact), &wide).unwrap();
        let want = gradients(&Frozen::new(&judge).unwrap(), &batch, DType::F64);
        let mut accuracies = vec![];
        for (numerics, bound) in [(Numerics::Fast, 1e-3), (Numerics::Exact, 1e-5)] {
            let classifier = Classifier::new(network.clone().with_numerics(numerics), &weights).unwrap();
            let frozen = Frozen::new(&classifier).unwrap();
            let got = gradients(&frozen, &batch, DType::F32);
            // Of samples with a ReLU input at rounding distance from 0 nothing can be said; hence the median.
            let off = median(got.iter().zip(&want).map(|(g, w)| apart(g, w)).collect());
            assert!(off < bound, "{model}, {numerics:?}: input gradients are off by {off:e}");
            let (mut agree, mut all) = (0, 0);
            for (got, want) in got.iter().zip(&want) {
                let largest = want.iter().fold(0.0f64, |m, w| m.max(w.abs()));
                for (g, w) in got.iter().zip(want).filter(|(_, w)| w.abs() > 0.01 * largest) {
                    all += 1;
                    agree += usize::from(g.signum() == w.signum());
                }
            }
            assert!(agree * 1000 >= all * 999, "{model}, {numerics:?}: {agree} signs of {all} agree");
            accuracies.push(judged(&frozen, &test, &pipeline.evaluate[0], 1).accuracy);
        }
        let samples = (accuracies[0] - accuracies[1]).abs() * 500.0;
        assert!(samples < 1.5, "{model}: robust accuracies {accuracies:?}");
        assert!(accuracies[0] > 0.2, "{model}: nothing was learnt, {accuracies:?}");
    }
}
