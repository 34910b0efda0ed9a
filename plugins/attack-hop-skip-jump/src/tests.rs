//! On linear networks, whose nearest misclassified image is known.

use std::collections::BTreeMap;

use temper_core::nn::{Classifier, Frozen};
use temper_core::{Device, Passes, VictimNetwork};

use super::*;

const N: usize = 8;
/// One channel, not square.
const SHAPE: [usize; 3] = [1, 5, 8];
const LEN: usize = 40;

/// A network of one linear layer: a row of weights and a bias for each class.
fn linear(weights: &[Vec<f32>], biases: &[f32]) -> Frozen {
    let mut network = Network::new(SHAPE);
    network.linear(network.input(), "fc", weights.len()).unwrap();
    let weights = BTreeMap::from([
        (
            "fc.weight".to_string(),
            Tensor::from_vec(weights.concat(), (weights.len(), LEN), &Device::Cpu).unwrap(),
        ),
        ("fc.bias".to_string(), Tensor::new(biases, &Device::Cpu).unwrap()),
    ]);
    Frozen::new(&Classifier::new(network, &weights).unwrap()).unwrap()
}

/// Weights of both signs, none of them tiny.
fn weights() -> Vec<f32> {
    let draws = Rng::new(1, "weights").uniform(&[0], LEN);
    draws.iter().map(|w| w.signum() * (0.3 + w.abs())).collect()
}

/// Two classes; the second is predicted for the images.
fn two_classes() -> Frozen {
    linear(&[vec![0.0; LEN], weights()], &[0.0, 0.0])
}

/// Images at l2 distances of 0.1 to 0.45 from the boundary.
fn images() -> (Batch, Vec<f64>) {
    let (weights, ids) = (weights(), (20..20 + N as u64).collect::<Vec<_>>());
    let noise = Rng::new(2, "images").uniform(&ids, LEN);
    let slope = weights.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>().sqrt();
    let (mut pixels, mut distances) = (vec![], vec![]);
    for (i, noise) in noise.chunks(LEN).enumerate() {
        let base: Vec<f64> = noise.iter().map(|v| 0.5 + 0.2 * f64::from(*v)).collect();
        let height: f64 = base.iter().zip(&weights).map(|(x, w)| x * f64::from(*w)).sum();
        let wanted = 0.1 + 0.05 * i as f64;
        let shift = (wanted - height / slope) / slope;
        pixels.extend(base.iter().zip(&weights).map(|(x, w)| (x + shift * f64::from(*w)) as f32));
        distances.push(wanted);
    }
    assert!(pixels.iter().all(|x| (0.1..0.9).contains(x)));
    (batch(pixels, vec![1; N], ids), distances)
}

fn batch(pixels: Vec<f32>, labels: Vec<u32>, ids: Vec<u64>) -> Batch {
    let ([c, h, w], n) = (SHAPE, ids.len());
    let pixels = Tensor::from_vec(pixels, (n, c, h, w), &Device::Cpu).unwrap();
    Batch { pixels, labels: Tensor::from_vec(labels, n, &Device::Cpu).unwrap(), ids }
}

/// The factor from an l2 distance from the boundary to that in `norm`.
fn factor(norm: Norm) -> f64 {
    let weights: Vec<f64> = weights().iter().map(|w| f64::from(*w)).collect();
    match norm {
        Norm::L2 => 1.0,
        Norm::Linf => {
            weights.iter().map(|w| w * w).sum::<f64>().sqrt() / weights.iter().map(|w| w.abs()).sum::<f64>()
        }
    }
}

/// The attack's results: images, their distances, whether each is misclassified, and the queries of each sample.
struct Found {
    pixels: Vec<Vec<f32>>,
    distances: Vec<f64>,
    broken: Vec<bool>,
    queries: Vec<u64>,
}

fn run(frozen: &Frozen, batch: &Batch, norm: Norm, queries: usize) -> Found {
    let attack = HopSkipJump { norm, queries: nonzero(queries), ..HopSkipJump::default() };
    let passes = Passes::default();
    let whole = Victim::new(VictimNetwork::Frozen(frozen), batch, Goal::Mistake, &passes).unwrap();
    let victim = whole.granting(attack.needs());
    let ball = Ball::new(&batch.pixels, &vec![0.01; batch.len()], Norm::L2, &batch.ids).unwrap();
    let got = attack.perturb(&victim, &ball, &Rng::new(0, "attack")).unwrap();
    let asked = passes.take_queries();
    let values: Vec<f32> = got.flatten_all().unwrap().to_vec1().unwrap();
    assert!(values.iter().all(|v| (0.0..=1.0).contains(v)), "outside the box, or NaN");
    let len = values.len() / batch.len();
    Found {
        pixels: values.chunks(len).map(<[f32]>::to_vec).collect(),
        distances: ball.distances(&got, norm).unwrap(),
        broken: whole.broken(&got).unwrap(),
        queries: (0..batch.len() as u32).map(|i| asked.get(&i).copied().unwrap_or(0)).collect(),
    }
}

#[test]
fn distances_come_near_the_optimum() {
    let (batch, least) = images();
    for (norm, queries, most) in
        [(Norm::L2, 2000, 1.25), (Norm::L2, 4000, 1.1), (Norm::Linf, 2000, 1.25), (Norm::Linf, 4000, 1.1)]
    {
        let found = run(&two_classes(), &batch, norm, queries);
        assert_eq!(found.broken, [true; N]);
        for (found, least) in found.distances.iter().zip(&least) {
            let times = found / (least * factor(norm));
            assert!(
                (1.0 - 1e-4..most).contains(&times),
                "{norm} {queries}: {times} times the least distance"
            );
        }
    }
}

#[test]
fn budgets_are_kept_and_larger_ones_never_give_larger_distances() {
    let ((batch, _), frozen) = (images(), two_classes());
    for norm in [Norm::L2, Norm::Linf] {
        let mut last = vec![f64::INFINITY; N];
        for queries in [1, 2, 3, 4, 7, 10, 20, 100, 130, 131, 150, 300, 500, 1000, 2000] {
            let found = run(&frozen, &batch, norm, queries);
            // The next estimate did not fit into the remaining queries.
            let spent = queries.saturating_sub(500) as u64..=queries as u64;
            assert!(
                found.queries.iter().all(|asked| spent.contains(asked)),
                "{queries}: {:?}",
                found.queries
            );
            if queries <= 10 {
                assert_eq!(found.queries, [queries as u64; N]);
            }
            for (i, last) in last.iter_mut().enumerate() {
                let distance = if found.broken[i] { found.distances[i] } else { f64::INFINITY };
                assert!(distance <= *last, "{norm} {queries}: {distance} after {last}");
                // Without success the result is the clean image.
                assert!(found.broken[i] || found.distances[i] == 0.0, "{norm} {queries}");
                *last = distance;
            }
        }
        assert!(last.iter().all(|distance| *distance < 1.0), "{last:?}");
    }
}

/// Queries that end in the middle of an estimate would be wasted, so an estimate is made completely or not at all.
#[test]
fn an_estimate_that_does_not_fit_is_not_begun() {
    let ((batch, _), frozen) = (images(), two_classes());
    let before = run(&frozen, &batch, Norm::L2, 110);
    assert!(before.queries.iter().all(|queries| (8..=30).contains(queries)), "{:?}", before.queries);
    let after = run(&frozen, &batch, Norm::L2, 160);
    assert!(after.queries.iter().all(|queries| (109..=160).contains(queries)), "{:?}", after.queries);
}

#[test]
fn a_sample_gives_the_same_bits_in_any_batch() {
    let ((batch, _), frozen) = (images(), two_classes());
    for norm in [Norm::L2, Norm::Linf] {
        let all = run(&frozen, &batch, norm, 700);
        for i in 0..N {
            let one = Batch {
                pixels: batch.pixels.narrow(0, i, 1).unwrap(),
                labels: batch.labels.narrow(0, i, 1).unwrap(),
                ids: vec![batch.ids[i]],
            };
            let one = run(&frozen, &one, norm, 700);
            assert!(one.pixels[0] == all.pixels[i], "{norm}: sample {i}");
            assert_eq!(one.queries[0], all.queries[i], "{norm}: sample {i}");
        }
    }
}

#[test]
fn a_sample_that_nothing_breaks_keeps_its_image() {
    let (batch, _) = images();
    let found = run(&linear(&[vec![0.0; LEN], vec![0.0; LEN]], &[0.0, 1.0]), &batch, Norm::L2, 1000);
    assert_eq!((found.broken, found.distances), (vec![false; N], vec![0.0; N]));
    // The clean image and a hundred starts.
    assert_eq!(found.queries, [101; N]);
}

#[test]
fn natural_errors_cost_one_query_and_nan_is_a_mistake() {
    let (batch, _) = images();
    let labels = Tensor::new(&[1u32, 0, 1, 0, 1, 1, 1, 1], &Device::Cpu).unwrap();
    let mixed = Batch { labels, ..batch.clone() };
    let found = run(&two_classes(), &mixed, Norm::L2, 20);
    assert_eq!((found.queries[1], found.queries[3]), (1, 1));
    assert_eq!((found.distances[1], found.distances[3]), (0.0, 0.0));
    assert!(found.queries[0] > 1);
    let found = run(&linear(&[vec![f32::NAN; LEN], weights()], &[0.0, 0.0]), &batch, Norm::L2, 50);
    assert_eq!((found.queries, found.distances), (vec![1; N], vec![0.0; N]));
    // Logits that are infinite or NaN at images other than the clean ones.
    let steep: Vec<f32> = weights().iter().map(|w| w * 3e38).collect();
    for norm in [Norm::L2, Norm::Linf] {
        run(&linear(&[vec![0.0; LEN], steep.clone()], &[0.0, 0.0]), &batch, norm, 500);
    }
}

/// Uniform noise has a mean of about one half, for which this network predicts the label.
#[test]
fn blocks_of_one_colour_break_what_noise_does_not() {
    let bright = vec![1.0 / LEN as f32; LEN];
    let ids = vec![3, 4];
    let batch = batch(vec![0.5; 2 * LEN], vec![0; 2], ids);
    let found = run(&linear(&[vec![0.0; LEN], bright], &[0.0, -0.8]), &batch, Norm::L2, 5000);
    assert_eq!(found.broken, [true; 2]);
    let least = 0.3 * (LEN as f64).sqrt();
    assert!(found.distances.iter().all(|found| (least * 0.999..least * 1.5).contains(found)), "{least}");
}

/// An image of a single value: there is no division by a missing variance or direction.
#[test]
fn an_image_of_one_value_is_attacked_too() {
    let mut network = Network::new([1, 1, 1]);
    network.linear(network.input(), "fc", 2).unwrap();
    let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
    let weights = BTreeMap::from([
        ("fc.weight".to_string(), tensor(&[1.0, -1.0]).reshape((2, 1)).unwrap()),
        ("fc.bias".to_string(), tensor(&[0.0, 1.0])),
    ]);
    let frozen = Frozen::new(&Classifier::new(network, &weights).unwrap()).unwrap();
    let pixels = tensor(&[0.2]).reshape((1, 1, 1, 1)).unwrap();
    let batch = Batch { pixels, labels: Tensor::new(&[1u32], &Device::Cpu).unwrap(), ids: vec![7] };
    for norm in [Norm::L2, Norm::Linf] {
        let found = run(&frozen, &batch, norm, 500);
        assert!(
            found.broken[0] && (0.3..0.31).contains(&found.distances[0]),
            "{norm}: {:?}",
            found.distances
        );
    }
}

#[test]
fn extreme_parameters_give_numbers_and_an_end() {
    let (batch, _) = images();
    let passes = Passes::default();
    let frozen = two_classes();
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Mistake, &passes).unwrap();
    let ball = Ball::new(&batch.pixels, &[0.01; N], Norm::L2, &batch.ids).unwrap();
    let huge = nonzero(usize::MAX);
    for (norm, gamma) in [(Norm::L2, 1e300), (Norm::Linf, 1e300), (Norm::L2, 1e-300), (Norm::Linf, 1e-300)] {
        for most_probes in [nonzero(1), huge] {
            let attack = HopSkipJump {
                norm,
                gamma: Positive::of(gamma),
                queries: nonzero(600),
                steps: huge,
                first_probes: nonzero(60),
                most_probes,
                starts: huge,
            };
            let got = attack.perturb(&victim, &ball, &Rng::new(0, "attack")).unwrap();
            assert_eq!(victim.broken(&got).unwrap(), [true; N], "{norm} {gamma}");
        }
    }
}
