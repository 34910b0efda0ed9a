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

/// Images at l-inf distances of 0.02 to 0.09 from the boundary.
fn images() -> (Batch, Vec<f64>) {
    let (weights, ids) = (weights(), (20..20 + N as u64).collect::<Vec<_>>());
    let noise = Rng::new(2, "images").uniform(&ids, LEN);
    let steepness: f64 = weights.iter().map(|w| f64::from(w.abs())).sum();
    let (mut pixels, mut distances) = (vec![], vec![]);
    for (i, noise) in noise.chunks(LEN).enumerate() {
        let base: Vec<f64> = noise.iter().map(|v| 0.5 + 0.2 * f64::from(*v)).collect();
        let height: f64 = base.iter().zip(&weights).map(|(x, w)| x * f64::from(*w)).sum();
        let wanted = 0.02 + 0.01 * i as f64;
        let shift = wanted - height / steepness;
        pixels.extend(base.iter().zip(&weights).map(|(x, w)| (x + shift * f64::from(w.signum())) as f32));
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

/// The attack's results: images, their distances, whether each is misclassified, and the queries of each sample.
struct Found {
    pixels: Vec<Vec<f32>>,
    distances: Vec<f64>,
    broken: Vec<bool>,
    queries: Vec<u64>,
}

fn run(frozen: &Frozen, batch: &Batch, queries: usize) -> Found {
    let attack = RayS { queries: nonzero(queries), ..RayS::default() };
    let passes = Passes::default();
    let whole = Victim::new(VictimNetwork::Frozen(frozen), batch, Goal::Mistake, &passes).unwrap();
    let victim = whole.granting(attack.needs());
    let ball = Ball::new(&batch.pixels, &vec![0.01; batch.len()], Norm::L2, &batch.ids).unwrap();
    let got = attack.perturb(&victim, &ball, &Rng::new(0, "attack")).unwrap();
    let asked = passes.take_queries();
    let values: Vec<f32> = got.flatten_all().unwrap().to_vec1().unwrap();
    assert!(values.iter().all(|v| (0.0..=1.0).contains(v)), "outside the box, or NaN");
    Found {
        pixels: values.chunks(LEN).map(<[f32]>::to_vec).collect(),
        distances: ball.distances(&got, Norm::Linf).unwrap(),
        broken: whole.broken(&got).unwrap(),
        queries: (0..batch.len() as u32).map(|i| asked.get(&i).copied().unwrap_or(0)).collect(),
    }
}

#[test]
fn distances_come_within_a_tenth_of_the_optimum() {
    let (batch, least) = images();
    let found = run(&two_classes(), &batch, 2000);
    assert_eq!(found.broken, [true; N]);
    for (found, least) in found.distances.iter().zip(&least) {
        assert!((1.0 - 1e-4..1.1).contains(&(found / least)), "{found} where {least} is enough");
    }
}

#[test]
fn budgets_are_kept_to_the_query_and_larger_ones_never_give_larger_distances() {
    let ((batch, _), frozen) = (images(), two_classes());
    let mut last = vec![f64::INFINITY; N];
    for queries in [1, 2, 3, 4, 5, 7, 10, 20, 50, 51, 52, 100, 200, 300] {
        let found = run(&frozen, &batch, queries);
        // All of these budgets are too small to finish the search.
        assert_eq!(found.queries, [queries as u64; N]);
        for (i, last) in last.iter_mut().enumerate() {
            let distance = if found.broken[i] { found.distances[i] } else { f64::INFINITY };
            assert!(distance <= *last, "{queries}: {distance} after {last}");
            // Without success the result is the clean image.
            assert!(found.broken[i] || found.distances[i] == 0.0, "{queries}");
            *last = distance;
        }
    }
    assert!(last.iter().all(|distance| *distance < 0.5), "{last:?}");
    // The search ends when no queries are left to make.
    let found = run(&frozen, &batch, 100_000);
    assert!(found.queries.iter().all(|queries| (300..1000).contains(queries)), "{:?}", found.queries);
    assert!((0..N).all(|i| found.distances[i] <= last[i]));
}

#[test]
fn a_sample_gives_the_same_bits_in_any_batch() {
    let ((batch, _), frozen) = (images(), two_classes());
    let all = run(&frozen, &batch, 700);
    for i in 0..N {
        let one = Batch {
            pixels: batch.pixels.narrow(0, i, 1).unwrap(),
            labels: batch.labels.narrow(0, i, 1).unwrap(),
            ids: vec![batch.ids[i]],
        };
        let one = run(&frozen, &one, 700);
        assert!(one.pixels[0] == all.pixels[i], "sample {i}");
        assert_eq!(one.queries[0], all.queries[i], "sample {i}");
    }
}

#[test]
fn a_sample_that_nothing_breaks_keeps_its_image() {
    let (batch, _) = images();
    let found = run(&linear(&[vec![0.0; LEN], vec![0.0; LEN]], &[0.0, 1.0]), &batch, 1000);
    assert_eq!((found.broken, found.distances), (vec![false; N], vec![0.0; N]));
    // The clean image, the first direction, and blocks of 40, 20, 10, 5, 3, 2, and 1. The last block of 3 is the last
    // value alone, which need not be tried again.
    assert_eq!(found.queries, [1 + 1 + 1 + 2 + 4 + 8 + 14 + 20 + 39; N]);
}

#[test]
fn natural_errors_cost_one_query_and_nan_is_a_mistake() {
    let (batch, _) = images();
    let labels = Tensor::new(&[1u32, 0, 1, 0, 1, 1, 1, 1], &Device::Cpu).unwrap();
    let mixed = Batch { labels, ..batch.clone() };
    let found = run(&two_classes(), &mixed, 50);
    assert_eq!(found.queries, [50, 1, 50, 1, 50, 50, 50, 50]);
    assert_eq!((found.distances[1], found.distances[3]), (0.0, 0.0));
    let found = run(&linear(&[vec![f32::NAN; LEN], weights()], &[0.0, 0.0]), &batch, 50);
    assert_eq!((found.queries, found.distances), (vec![1; N], vec![0.0; N]));
    // Logits that are infinite or NaN at images other than the clean ones.
    let steep: Vec<f32> = weights().iter().map(|w| w * 3e38).collect();
    run(&linear(&[vec![0.0; LEN], steep], &[0.0, 0.0]), &batch, 200);
}

#[test]
fn several_classes_are_one_mistake() {
    let (batch, least) = images();
    // The third class is nearer than the first.
    let lifted: Vec<f32> = weights().iter().map(|w| w * -1.0).collect();
    let found = run(&linear(&[vec![0.0; LEN], weights(), lifted], &[-0.5, 0.0, 0.0]), &batch, 2000);
    assert_eq!(found.broken, [true; N]);
    for (found, least) in found.distances.iter().zip(&least) {
        assert!((1.0 - 1e-4..1.1).contains(&(found / least)), "{found} where {least} is enough");
    }
}

/// A tolerance beyond every distance ends the search at the first image that is found, and not before.
#[test]
fn extreme_tolerances_give_an_image_and_an_end() {
    let (batch, _) = images();
    let passes = Passes::default();
    let frozen = two_classes();
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Mistake, &passes).unwrap();
    let ball = Ball::new(&batch.pixels, &[0.01; N], Norm::Linf, &batch.ids).unwrap();
    for tolerance in [f64::MIN_POSITIVE, 1e300] {
        let attack = RayS { tolerance: Positive::of(tolerance), queries: nonzero(3000) };
        let got = attack.perturb(&victim, &ball, &Rng::new(0, "attack")).unwrap();
        assert_eq!(victim.broken(&got).unwrap(), [true; N], "{tolerance}");
    }
}
