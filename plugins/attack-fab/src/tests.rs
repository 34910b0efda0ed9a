//! FAB on small networks.

use std::collections::BTreeMap;

use temper_core::nn::{Classifier, Conv2d, Frozen, Network};
use temper_core::{Device, Passes, VictimNetwork};

use super::*;
use crate::projection::tests::bisected;

const BOTH: [Norm; 2] = [Norm::Linf, Norm::L2];

/// A network of one linear layer: a row of weights and a bias for each class.
fn linear(shape: [usize; 3], weights: &[Vec<f32>], biases: &[f32]) -> Frozen {
    let mut network = Network::new(shape);
    network.linear(network.input(), "fc", weights.len()).unwrap();
    let size = (weights.len(), shape.iter().product::<usize>());
    let weights = BTreeMap::from([
        ("fc.weight".to_string(), Tensor::from_vec(weights.concat(), size, &Device::Cpu).unwrap()),
        ("fc.bias".to_string(), Tensor::new(biases, &Device::Cpu).unwrap()),
    ]);
    Frozen::new(&Classifier::new(network, &weights).unwrap()).unwrap()
}

/// Random numbers in a shape.
fn random(name: &str, shape: &[usize], scale: f32) -> Tensor {
    let values = Rng::new(3, name).normal(&[0], shape.iter().product());
    let values: Vec<f32> = values.iter().map(|v| v * scale).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// A convolution and two linear layers on 2 x 8 x 8 pixels, with random weights.
fn small(classes: usize) -> Classifier {
    let mut network = Network::new([2, 8, 8]);
    let conv = Conv2d { channels: 6, kernel: 3, stride: 2, padding: 1, bias: true };
    let x = network.conv(network.input(), "conv", conv).unwrap();
    let x = network.relu(x);
    let x = network.linear(x, "fc1", 24).unwrap();
    let x = network.relu(x);
    network.linear(x, "fc2", classes).unwrap();
    let weights = BTreeMap::from([
        ("conv.weight".to_string(), random("conv", &[6, 2, 3, 3], 0.3)),
        ("conv.bias".to_string(), random("conv bias", &[6], 0.1)),
        ("fc1.weight".to_string(), random("fc1", &[24, 96], 0.15)),
        ("fc1.bias".to_string(), random("fc1 bias", &[24], 0.1)),
        ("fc2.weight".to_string(), random("fc2", &[classes, 24], 0.3)),
        ("fc2.bias".to_string(), random("fc2 bias", &[classes], 0.1)),
    ]);
    Classifier::new(network, &weights).unwrap()
}

/// Images in [0, 1], some of whose pixels are 0 or 1, labelled with the network's predictions.
fn batch(frozen: &Frozen, shape: [usize; 3], n: usize, contrast: f32) -> Batch {
    let ids: Vec<u64> = (10..10 + n as u64).collect();
    let pixels = Rng::new(5, "images").uniform(&ids, shape.iter().product());
    let pixels: Vec<f32> = pixels.iter().map(|v| (0.5 + 0.5 * contrast * v).clamp(0.0, 1.0)).collect();
    let pixels = Tensor::from_vec(pixels, (n, shape[0], shape[1], shape[2]), &Device::Cpu).unwrap();
    let labels = frozen.logits(&pixels).unwrap().argmax(1).unwrap();
    Batch { pixels, labels, ids }
}

fn fab(text: &str) -> Chosen<dyn Attack> {
    Member::parse(&format!("fab = {text}")).unwrap().attack
}

/// The images that an attack returns, and the distance of those that are misclassified.
fn run(frozen: &Frozen, batch: &Batch, text: &str) -> (Vec<Vec<f32>>, Vec<f64>) {
    let (passes, attack) = (Passes::default(), fab(text));
    let victim = Victim::new(VictimNetwork::Frozen(frozen), batch, Goal::Mistake, &passes).unwrap();
    let ball = Ball::new(&batch.pixels, &vec![0.0; batch.len()], Norm::Linf, &batch.ids).unwrap();
    let pixels = attack.perturb(&victim, &ball, &Rng::new(1, "attack")).unwrap();
    let rows: Vec<Vec<f32>> = pixels.flatten_from(1).unwrap().to_vec2().unwrap();
    assert!(rows.iter().flatten().all(|v| (0.0..=1.0).contains(v)), "{text}: outside the box");
    let distances = ball.distances(&pixels, attack.min_norm().unwrap()).unwrap();
    let broken = victim.broken(&pixels).unwrap();
    (rows, distances.iter().zip(broken).map(|(d, broken)| if broken { *d } else { f64::INFINITY }).collect())
}

/// The distance to the nearest boundary of a linear network within the box, from one image.
fn optimum(norm: Norm, pixels: &[f32], label: usize, weights: &[Vec<f32>], biases: &[f32]) -> f64 {
    let point: Vec<f64> = pixels.iter().map(|v| f64::from(*v)).collect();
    let distance = |k: usize| {
        let normal: Vec<f64> =
            weights[k].iter().zip(&weights[label]).map(|(a, b)| f64::from(*a) - f64::from(*b)).collect();
        let dot: f64 = normal.iter().zip(&point).map(|(w, t)| w * t).sum();
        let way = bisected(norm, &point, &normal, dot + f64::from(biases[k]) - f64::from(biases[label]));
        match norm {
            Norm::Linf => way.iter().fold(0.0, |most: f64, d| most.max(d.abs())),
            Norm::L2 => way.iter().map(|d| d * d).sum::<f64>().sqrt(),
        }
    };
    (0..weights.len()).filter(|k| *k != label).map(distance).fold(f64::INFINITY, f64::min)
}

#[test]
fn on_a_linear_network_it_comes_to_the_nearest_boundary() {
    let (shape, n) = ([3, 4, 4], 12);
    let weights: Vec<Vec<f32>> =
        (0..4).map(|k| random(&format!("row {k}"), &[48], 0.3).to_vec1().unwrap()).collect();
    // With contrast 3 most pixels are black or white, so each of them can move in one direction only.
    for (contrast, biases) in [(0.4, [0.0f32, 0.1, -0.1, 0.0]), (3.0, [0.0, 0.1, -0.1, 0.0])] {
        let centred: Vec<f32> =
            weights.iter().zip(biases).map(|(row, bias)| bias - 0.5 * row.iter().sum::<f32>()).collect();
        let frozen = linear(shape, &weights, &centred);
        let images = batch(&frozen, shape, n, contrast);
        let pixels: Vec<Vec<f32>> = images.pixels.flatten_from(1).unwrap().to_vec2().unwrap();
        let labels = images.labels.to_vec1::<u32>().unwrap();
        for norm in BOTH {
            for (steps, spare) in [(10, 1.25), (100, 1.01)] {
                let text =
                    format!("{{ norm = \"{norm}\", steps = {steps}, target = \"all\" }}", norm = norm.word());
                let (_, distances) = run(&frozen, &images, &text);
                for i in 0..n {
                    let least = optimum(norm, &pixels[i], labels[i] as usize, &weights, &centred);
                    assert!(
                        least > 1e-4 && distances[i] > least * (1.0 - 1e-4),
                        "{text}: {} {least}",
                        distances[i]
                    );
                    assert!(distances[i] < least * spare, "{text} {contrast}: {} for {least}", distances[i]);
                }
                // Without a target the nearest boundary is chosen as if there were no box.
                if contrast < 1.0 {
                    let (_, plain) = run(&frozen, &images, &text.replace("all", "none"));
                    for (plain, all) in plain.iter().zip(&distances) {
                        assert!(*plain < all * spare, "{text}: {plain} without a target, {all} with");
                    }
                }
            }
        }
    }
}

#[test]
fn a_sample_alone_gives_the_same_bits_as_in_a_batch() {
    let frozen = Frozen::new(&small(5)).unwrap();
    let mut images = batch(&frozen, [2, 8, 8], 8, 1.5);
    // The last one is a natural error.
    let mut labels = images.labels.to_vec1::<u32>().unwrap();
    labels[7] = (labels[7] + 1) % 5;
    images.labels = Tensor::new(labels, &Device::Cpu).unwrap();
    for text in [
        "{ steps = 12 }",
        "{ steps = 12, norm = \"linf\", restarts = 3 }",
        "{ steps = 8, target = { likeliest = 2 }, restarts = 2 }",
        "{ steps = 8, target = \"random\", epsilon = 0.2, restarts = 2 }",
        "{ steps = 8, norm = \"linf\", target = \"least-likely\" }",
    ] {
        let (all, distances) = run(&frozen, &images, text);
        assert_eq!(distances[7], 0.0, "{text}");
        assert!(distances.iter().all(|d| d.is_finite()), "{text}: {distances:?}");
        for (i, together) in all.iter().enumerate() {
            let alone = Batch {
                pixels: images.pixels.narrow(0, i, 1).unwrap(),
                labels: images.labels.narrow(0, i, 1).unwrap(),
                ids: vec![images.ids[i]],
            };
            assert_eq!(&run(&frozen, &alone, text).0[0], together, "{text}: sample {i}");
        }
    }
}

#[test]
fn more_work_never_leads_further_away() {
    let frozen = Frozen::new(&small(5)).unwrap();
    let images = batch(&frozen, [2, 8, 8], 16, 1.0);
    for norm in BOTH.map(Norm::word) {
        let run = |more: &str| run(&frozen, &images, &format!("{{ norm = \"{norm}\", {more} }}")).1;
        for (less, more) in [
            ("steps = 3", "steps = 30"),
            ("steps = 40", "steps = 40, restarts = 4"),
            ("steps = 40", "steps = 40, restarts = 4, epsilon = 0.05"),
            ("steps = 10, target = { likeliest = 1 }", "steps = 10, target = { likeliest = 2 }"),
            ("steps = 10, target = { likeliest = 1 }", "steps = 10, target = \"all\""),
        ] {
            let (less_found, more_found) = (run(less), run(more));
            assert!(
                less_found.iter().zip(&more_found).all(|(less, more)| more <= less),
                "{norm}: {less}, {more}"
            );
            assert_ne!(less_found, more_found, "{norm}: {more} finds nothing nearer");
        }
        assert_eq!(run("steps = 10, target = \"all\""), run("steps = 10, target = { likeliest = 9 }"));
    }
}

#[test]
fn with_two_classes_every_target_is_the_same() {
    let frozen = Frozen::new(&small(2)).unwrap();
    let images = batch(&frozen, [2, 8, 8], 6, 1.0);
    let with = |target: &str| run(&frozen, &images, &format!("{{ steps = 20, target = {target} }}"));
    let (pixels, distances) = with("\"none\"");
    assert!(distances.iter().all(|d| d.is_finite()), "{distances:?}");
    for target in ["{ likeliest = 9 }", "\"all\"", "\"random\"", "\"least-likely\""] {
        assert!(with(target).0 == pixels, "{target}");
    }
}

#[test]
fn without_a_slope_or_with_logits_that_are_not_numbers_images_stay() {
    let clean = |images: &Batch| images.pixels.flatten_from(1).unwrap().to_vec2::<f32>().unwrap();
    for target in ["\"none\"", "\"all\""] {
        for norm in BOTH.map(Norm::word) {
            let text = format!("{{ norm = \"{norm}\", steps = 5, restarts = 2, target = {target} }}");
            let flat = linear([1, 2, 2], &[vec![0.0; 4], vec![0.0; 4]], &[1.0, 0.0]);
            let images = batch(&flat, [1, 2, 2], 3, 1.0);
            let (pixels, distances) = run(&flat, &images, &text);
            assert_eq!((pixels, distances), (clean(&images), vec![f64::INFINITY; 3]), "{text}");
            // Logits that are NaN from the beginning: a natural error.
            let lost = linear([1, 2, 2], &[vec![f32::NAN; 4], vec![0.0; 4]], &[1.0, 0.0]);
            let (pixels, distances) = run(&lost, &images, &text);
            assert_eq!((pixels, distances), (clean(&images), vec![0.0; 3]), "{text}");
            // Infinite weights: 0 at black pixels is NaN, and the slope has no direction.
            let infinite =
                linear([1, 2, 2], &[vec![0.0; 4], vec![f32::NEG_INFINITY, 0.0, 0.0, 0.0]], &[0.0; 2]);
            let images = batch(&infinite, [1, 2, 2], 3, 0.8);
            assert_eq!(run(&infinite, &images, &text).0, clean(&images), "{text}");
        }
    }
}

/// A class that no image of the box reaches, and logits that overflow on the way.
#[test]
fn out_of_reach_there_is_nothing_to_find() {
    let frozen = linear([1, 2, 2], &[vec![0.0; 4], vec![1.0, 0.5, 0.25, 0.0]], &[0.0, -5.0]);
    let images = batch(&frozen, [1, 2, 2], 4, 3.0);
    let huge = linear([1, 2, 2], &[vec![2e38; 4], vec![-2e38, 2e38, 3e38, 0.0]], &[0.0, -1e38]);
    for norm in BOTH.map(Norm::word) {
        let text = format!("{{ norm = \"{norm}\", steps = 10, restarts = 2 }}");
        let (pixels, distances) = run(&frozen, &images, &text);
        assert_eq!(distances, [f64::INFINITY; 4], "{text}");
        assert_eq!(pixels, images.pixels.flatten_from(1).unwrap().to_vec2::<f32>().unwrap(), "{text}");
        // Checks only that pixels are numbers, which `run` asserts.
        run(&huge, &batch(&huge, [1, 2, 2], 6, 1.0), &text);
    }
}

#[test]
fn random_starts_lie_at_half_of_the_distance_so_far() {
    let frozen = Frozen::new(&small(5)).unwrap();
    let images = batch(&frozen, [2, 8, 8], 3, 0.1);
    let passes = Passes::default();
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &images, Goal::Mistake, &passes).unwrap();
    for norm in BOTH {
        let ball = Ball::new(&images.pixels, &[0.0; 3], norm, &images.ids).unwrap();
        for (epsilon, want) in [(None, [0.04, 0.1, 0.5]), (Some(0.1), [0.04, 0.05, 0.05])] {
            let attack = Fab { norm, epsilon: epsilon.map(Distance::of), ..Fab::default() };
            let nearest = Nearest { distances: vec![0.08, 0.2, f64::INFINITY], ..Nearest::none(&ball) };
            let search = Search { attack: &attack, victim: &victim, ball: &ball, nearest };
            let start = search.random_start(Rng::new(1, "start")).unwrap();
            for (i, far) in ball.distances(&start, norm).unwrap().iter().enumerate() {
                // Half of the usual 0.3 in l-inf.
                let want = if norm == Norm::Linf && want[i] == 0.5 { 0.15 } else { want[i] };
                assert!((far - want).abs() < 1e-5, "{norm} {epsilon:?}: {far} for {want}");
            }
        }
    }
}

#[test]
fn passes_are_those_of_the_samples_that_stand_and_labels_tell_the_parameters() {
    let frozen = Frozen::new(&small(5)).unwrap();
    let mut images = batch(&frozen, [2, 8, 8], 3, 1.0);
    // The first one is a natural error.
    let mut labels = images.labels.to_vec1::<u32>().unwrap();
    labels[0] = (labels[0] + 1) % 5;
    images.labels = Tensor::new(labels, &Device::Cpu).unwrap();
    for (text, label, forwards, backwards) in [
        ("{ steps = 7 }", "fab-7", 14, 28),
        ("{ steps = 7, target = { likeliest = 3 } }", "fab-7-top3", 42, 21),
        ("{ steps = 7, restarts = 2, target = \"all\" }", "fab-7x2-all", 112, 56),
    ] {
        let passes = Passes::default();
        let victim = Victim::new(VictimNetwork::Frozen(&frozen), &images, Goal::Mistake, &passes).unwrap();
        let ball = Ball::new(&images.pixels, &[0.0; 3], Norm::L2, &images.ids).unwrap();
        fab(text).perturb(&victim, &ball, &Rng::new(1, "attack")).unwrap();
        assert_eq!(passes.forwards(), 3 + 2 * forwards, "{text}");
        assert_eq!(passes.backwards(), 2 * backwards, "{text}");
        assert_eq!(fab(text).label(), label);
    }
    assert!(!fab("{}").draws() && fab("{ restarts = 2 }").draws() && fab("{ target = \"random\" }").draws());
    assert_eq!(fab("{}").label(), "fab-100");
    assert_eq!(fab("{ norm = \"linf\" }").min_norm(), Some(Norm::Linf));
}

#[test]
fn batch_statistics_are_refused() {
    let classifier = small(5);
    let frozen = Frozen::new(&classifier).unwrap();
    let (images, passes) = (batch(&frozen, [2, 8, 8], 2, 1.0), Passes::default());
    let network = VictimNetwork::BatchStatistics(&classifier);
    let victim = Victim::new(network, &images, Goal::Loss, &passes).unwrap();
    let ball = Ball::new(&images.pixels, &[1.0; 2], Norm::L2, &images.ids).unwrap();
    match fab("{}").perturb(&victim, &ball, &Rng::new(1, "attack")) {
        Err(Error::Refused(why)) => assert!(why.contains("attack_batch_norm = \"eval\""), "{why}"),
        other => panic!("{other:?}"),
    }
}
