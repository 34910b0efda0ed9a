//! `DeepFool` on linear networks, where one step is the answer, and the faults that other libraries had.

use candle_core::{DType, Device, Tensor};
use temper_core::nn::{Classifier, Frozen};
use temper_core::{Ball, Batch, Goal, Norm, Passes, Perturbed, Rng, Victim, VictimNetwork, perturb};

use crate::support::{attack, linear, numbers, small_batch, small_network};

/// What the attack finds on a batch, which class the network sees there, and the passes spent.
fn find(classifier: &Classifier, batch: &Batch, text: &str) -> (Perturbed, Vec<u32>, Passes) {
    let (frozen, passes) = (Frozen::new(classifier).unwrap(), Passes::default());
    let attack = attack(text);
    let got = {
        let victim = Victim::new(VictimNetwork::Frozen(&frozen), batch, Goal::Mistake, &passes).unwrap();
        let ball = Ball::new(&batch.pixels, &vec![100.0; batch.len()], Norm::L2, &batch.ids).unwrap();
        perturb(&attack, &victim, &ball, &Rng::new(0, "attack")).unwrap()
    };
    let seen = frozen.logits(&got.pixels).unwrap().argmax(1).unwrap().to_vec1().unwrap();
    (got, seen, passes)
}

/// One image of four pixels for each of the labels.
fn batch(pixels: [f32; 4], labels: &[u32]) -> Batch {
    let n = labels.len();
    let pixels = Tensor::from_vec(pixels.repeat(n), (n, 1, 2, 2), &Device::Cpu).unwrap();
    Batch { pixels, labels: Tensor::new(labels, &Device::Cpu).unwrap(), ids: (0..n as u64).collect() }
}

/// A class that wins at (0.5, 0.5, 0.5, 0.5), and three others: logits `2 (x_k - 0.5) - gap_k` for pixel k,
/// the winner's being 0.
fn corners(winner: usize, gaps: [f32; 3]) -> Classifier {
    let (mut weights, mut biases) = (vec![], vec![]);
    let mut others = gaps.iter().enumerate();
    for class in 0..4 {
        let mut row = vec![0.0; 4];
        let (pixel, gap) =
            if class == winner { (None, 0.0) } else { others.next().map(|(k, g)| (Some(k), *g)).unwrap() };
        if let Some(pixel) = pixel {
            row[pixel] = 2.0;
        }
        biases.push(if pixel.is_some() { -1.0 - gap } else { 0.0 });
        weights.push(row);
    }
    linear([1, 2, 2], &weights, &biases)
}

/// torchattacks #153: the index of the nearest class was off by one beyond the label.
#[test]
fn one_step_leads_to_the_nearest_class_wherever_it_stands() {
    for winner in 0..4u32 {
        for nearest in 0..3 {
            let mut gaps = [0.5, 0.6, 0.7];
            gaps[nearest] = 0.2;
            let (got, seen, passes) = find(
                &corners(winner as usize, gaps),
                &batch([0.5; 4], &[winner]),
                "deepfool = { steps = 1, margin = 0.0 }",
            );
            let class = nearest as u32 + u32::from(nearest as u32 >= winner);
            assert_eq!(seen, [class], "label {winner}");
            // Half the gap, and 2 % beyond.
            let distance = got.distances.unwrap()[0];
            assert!((distance - 0.102).abs() < 1e-6, "{distance}");
            // Nearest by l-inf too: a gradient at one pixel has the same length in every norm.
            assert_eq!((passes.forwards(), passes.backwards()), (2, 3));
        }
    }
}

#[test]
fn the_nearest_boundary_depends_on_the_norm() {
    // Class 1: 0.3 away in one pixel. Class 2: by all four pixels, l2 distance 0.4, l-inf distance 0.2.
    let rows = [vec![0.0; 4], vec![1.0, 0.0, 0.0, 0.0], vec![0.5; 4]];
    let classifier = linear([1, 2, 2], &rows, &[0.0, -0.8, -1.4]);
    let at = batch([0.5; 4], &[0]);
    let run = |text: &str| {
        let (got, seen, _) = find(&classifier, &at, text);
        (got.distances.unwrap()[0], seen[0])
    };
    let (l2, class) = run("deepfool = { steps = 1, margin = 0.0 }");
    assert!(class == 1 && (l2 - 0.306).abs() < 1e-6, "{l2}, class {class}");
    let (linf, class) = run("deepfool = { norm = \"linf\", steps = 1, margin = 0.0 }");
    assert!(class == 2 && (linf - 0.204).abs() < 1e-6, "{linf}, class {class}");
    // The likeliest wrong class alone is tried: class 1, though class 2 is nearer.
    let (linf, class) = run("deepfool = { norm = \"linf\", steps = 1, margin = 0.0, candidates = 1 }");
    assert!(class == 1 && (linf - 0.306).abs() < 1e-6, "{linf}, class {class}");
}

/// ART #219: the overshoot did nothing. cleverhans #544: a parameter's name was not that of the code.
#[test]
fn overshoot_and_margin_lengthen_the_step() {
    let distance = |text: &str| {
        let text = format!("deepfool = {{ steps = 1, {text} }}");
        find(&corners(0, [0.2, 0.5, 0.5]), &batch([0.5; 4], &[0]), &text).0.distances.unwrap()[0]
    };
    assert!((distance("overshoot = 0.5, margin = 0.0") - 0.15).abs() < 1e-6);
    assert!((distance("overshoot = 0.5, margin = 0.0, overshoot_on = \"step\"") - 0.15).abs() < 1e-6);
    assert!((distance("overshoot = 0.0, margin = 0.01") - 0.11).abs() < 1e-6);
    assert!((distance("overshoot = 1.0, margin = 0.01") - 0.22).abs() < 1e-6);
    // Over several steps it matters what the overshoot multiplies.
    let classifier = small_network(DType::F32);
    let images = small_batch(&classifier, 12);
    let run = |on: &str| {
        let text = format!("deepfool = {{ overshoot = 0.002, margin = 0.0, overshoot_on = \"{on}\" }}");
        find(&classifier, &images, &text).0.distances.unwrap()
    };
    let (accumulated, step) = (run("accumulated"), run("step"));
    assert!(accumulated.iter().chain(&step).all(|d| d.is_finite()));
    assert_ne!(accumulated, step);
}

/// foolbox #554: what was returned was not always adversarial, for the box cut it after the last look.
#[test]
fn what_is_returned_is_adversarial_after_the_box_cut_it_or_clean() {
    // Pixel 0 is the cheapest way to class 1, but it is at 0.95 already: the other pixels must help.
    let rows = [vec![0.0; 4], vec![1.0, 0.8, 0.8, 0.8]];
    let classifier = linear([1, 2, 2], &rows, &[0.0, -2.4]);
    for norm in ["l2", "linf"] {
        for on in ["accumulated", "step"] {
            let text = format!("deepfool = {{ norm = \"{norm}\", overshoot_on = \"{on}\" }}");
            let (got, seen, _) = find(&classifier, &batch([0.95, 0.5, 0.5, 0.5], &[0]), &text);
            assert_eq!(seen, [1], "{text}");
            assert!(got.distances.unwrap()[0] > 0.05 && numbers(&got.pixels)[0] == 1.0, "{text}");
        }
    }
    // No image of the box is of class 1: a failure, not a NaN, not a point that is not adversarial.
    let classifier = linear([1, 2, 2], &rows, &[0.0, -4.0]);
    let (got, seen, _) = find(&classifier, &batch([0.95, 0.5, 0.5, 0.5], &[0]), "deepfool = {}");
    assert_eq!((seen, got.distances.unwrap()), (vec![0], vec![f64::INFINITY]));
    assert_eq!(numbers(&got.pixels), [0.95f32, 0.5, 0.5, 0.5].map(f64::from));
    // One step is too few for some samples of a network that is not linear, and for no more than some.
    let classifier = small_network(DType::F32);
    let images = small_batch(&classifier, 24);
    let (got, seen, _) =
        find(&classifier, &images, "deepfool = { steps = 1, overshoot = 0.0, margin = 0.0 }");
    let labels = images.labels.to_vec1::<u32>().unwrap();
    let distances = got.distances.unwrap();
    let failed = distances.iter().filter(|d| d.is_infinite()).count();
    assert!((2..24).contains(&failed), "{failed} of 24 failed: nothing can be told");
    for i in 0..24 {
        assert_eq!(seen[i] != labels[i], distances[i].is_finite(), "sample {i}");
    }
}

/// A tie counts for the first of equals; the step out of it would have no length without a margin.
#[test]
fn ties_are_left() {
    let classifier = corners(0, [0.0, 0.5, 0.5]);
    let at = batch([0.5; 4], &[0]);
    let (got, seen, _) = find(&classifier, &at, "deepfool = {}");
    assert!(seen == [1] && got.distances.unwrap()[0] < 2e-4);
    let (got, seen, _) = find(&classifier, &at, "deepfool = { margin = 0.0 }");
    assert!(seen == [0] && got.distances.unwrap()[0].is_infinite());
}

#[test]
fn predicted_labels_lead_a_natural_error_away_from_what_the_network_sees() {
    let classifier = small_network(DType::F32);
    let images = small_batch(&classifier, 6);
    let text = |labels: &str| format!("deepfool = {{ labels = \"{labels}\" }}");
    let own = find(&classifier, &images, &text("true")).0.distances.unwrap();
    let predicted = find(&classifier, &images, &text("predicted")).0.distances.unwrap();
    assert_eq!(own[..5], predicted[..5]);
    // The last one is labelled wrongly: nothing to do, or the way out of the class that the network sees.
    assert_eq!(own[5], 0.0);
    assert!(predicted[5] > 1e-3, "{predicted:?}");
}

/// ART #475: batches were worked one sample at a time. Passes are those of the samples still on their way.
#[test]
fn who_is_done_leaves_the_batch() {
    let classifier = small_network(DType::F32);
    let images = small_batch(&classifier, 24);
    let (got, _, passes) = find(&classifier, &images, "deepfool = { candidates = 2 }");
    assert!(got.distances.unwrap().iter().all(|d| d.is_finite()));
    assert!(passes.backwards() < 24 * 2 * 8, "{} backward passes", passes.backwards());
    assert!(passes.backwards() >= 23 * 2);
}
