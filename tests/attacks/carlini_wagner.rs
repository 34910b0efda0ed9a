//! The three attacks of Carlini and Wagner on linear networks with known optima, and the faults that other
//! libraries had.

use candle_core::{DType, Device, Tensor};
use temper_core::nn::{Classifier, Frozen};
use temper_core::{Ball, Batch, Error, Goal, Norm, Passes, Perturbed, Rng, Victim, VictimNetwork, perturb};

use crate::support::{attack, linear, numbers, small_batch, small_network};

const L2: &str = "cw-l2 = { steps = 300, binary_search_steps = 9, learning_rate = 0.05";
const LINF: &str = "cw-linf = { steps = 300, learning_rate = 0.02, initial_const = 1e-3";
const BALL: &str = "cw-ball = { steps = 40";

/// What an attack finds within l-inf balls.
fn find(classifier: &Classifier, batch: &Batch, radius: f64, text: &str) -> (Perturbed, Vec<u32>) {
    let (frozen, passes) = (Frozen::new(classifier).unwrap(), Passes::default());
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), batch, Goal::Mistake, &passes).unwrap();
    let ball = Ball::new(&batch.pixels, &vec![radius; batch.len()], Norm::Linf, &batch.ids).unwrap();
    let got = perturb(&attack(&format!("{text} }}")), &victim, &ball, &Rng::new(0, "attack")).unwrap();
    let seen = frozen.logits(&got.pixels).unwrap().argmax(1).unwrap().to_vec1().unwrap();
    (got, seen)
}

fn one(pixels: &[f32], label: u32) -> Batch {
    let pixels = Tensor::from_vec(pixels.to_vec(), (1, 1, 1, pixels.len()), &Device::Cpu).unwrap();
    Batch { pixels, labels: Tensor::new(&[label], &Device::Cpu).unwrap(), ids: vec![7] }
}

/// Two classes of four pixels, the second ahead where `weights . x` is above `threshold`; both logits lowered
/// by `shift`.
fn halves(weights: [f32; 4], threshold: f32, shift: f32) -> Classifier {
    linear([1, 1, 4], &[vec![0.0; 4], weights.to_vec()], &[-shift, -threshold - shift])
}

/// torchattacks #184: where all logits are negative, a mask of zeros took 0 for the largest of the others.
#[test]
fn negative_logits_change_nothing() {
    let image = one(&[0.5, 0.4, 0.6, 0.5], 0);
    for text in [L2, LINF, BALL] {
        let run = |shift| find(&halves([3.0, 4.0, 0.0, 0.0], 3.4, shift), &image, 0.2, text);
        let ((plain, seen), (lowered, again)) = (run(0.0), run(64.0));
        assert!(seen == [1] && again == [1], "{text}: {seen:?} {again:?}");
        for (plain, lowered) in numbers(&plain.pixels).iter().zip(numbers(&lowered.pixels)) {
            assert!((plain - lowered).abs() < 2e-3, "{text}: {plain} or {lowered}");
        }
    }
}

/// The way to the boundary of 3 a + 4 b = 3.4 from (0.5, 0.4): 0.3 up, 0.06 in l2, 0.3 / 7 in l-inf.
#[test]
fn distances_come_near_the_least_one() {
    let (classifier, image) = (halves([3.0, 4.0, 0.0, 0.0], 3.4, 0.0), one(&[0.5, 0.4, 0.6, 0.5], 0));
    for (text, least) in [(L2, 0.06), (LINF, 0.3 / 7.0)] {
        let distance = find(&classifier, &image, 0.9, text).0.distances.unwrap()[0];
        assert!(distance >= least - 1e-6 && distance < least * 1.03, "{text}: {distance}, least {least}");
    }
    let falls = |factor: f64| find(&classifier, &image, 0.3 / 7.0 * factor, BALL).1 == [1];
    assert!(falls(1.02) && !falls(0.99));
}

/// torchattacks: the area tangent of 1 is infinite, so pixels of 0 and 1 never moved.
#[test]
fn pixels_of_zero_and_one_move() {
    // From 4 to 3.8 by lowering the first two pixels and raising the others: 0.05 each.
    let (classifier, image) = (halves([-1.0, -1.0, 1.0, 1.0], -1.8, 0.0), one(&[1.0, 1.0, 0.0, 0.0], 0));
    for (text, least) in [(L2, 0.1), (LINF, 0.05)] {
        let (got, seen) = find(&classifier, &image, 0.9, text);
        assert_eq!(seen, [1], "{text}");
        let distance = got.distances.unwrap()[0];
        assert!(distance >= least - 1e-6 && distance < least * 1.05, "{text}: {distance}, least {least}");
        assert!(
            numbers(&got.pixels)
                .iter()
                .zip(numbers(&image.pixels))
                .all(|(new, old)| (new - old).abs() > 0.03)
        );
    }
    let (got, seen) = find(&classifier, &image, 0.055, BALL);
    assert_eq!(seen, [1]);
    assert!(
        numbers(&got.pixels).iter().zip(numbers(&image.pixels)).all(|(new, old)| (new - old).abs() > 0.03)
    );
}

/// Equal logits: the first class is the prediction, so the margin of 0 is a success in one direction alone.
#[test]
fn ties_are_no_success_where_the_prediction_holds() {
    let classifier = halves([1.0, 0.0, 0.0, 0.0], 0.5, 0.0);
    for text in [L2, LINF, BALL] {
        let (got, seen) = find(&classifier, &one(&[0.5; 4], 0), 0.2, text);
        assert_eq!(seen, [1], "{text}: {:?}", got.distances);
        let (got, seen) = find(&classifier, &one(&[0.5; 4], 1), 0.2, text);
        assert_eq!(seen, [0], "{text}");
        let moved = numbers(&got.pixels).iter().map(|v| (v - 0.5).abs()).fold(0.0, f64::max);
        assert!(moved < 1e-5, "{text}: a natural error moved by {moved}");
    }
}

/// What failed is the clean image, to the bit.
#[test]
fn a_failure_returns_the_clean_image() {
    // No image of the box is of class 1, and, with a gradient that is 0, none ever will be.
    for weights in [[1.0, 0.0, 0.0, 0.0], [0.0; 4]] {
        let (classifier, image) = (halves(weights, 2.0, 0.0), one(&[0.3, 0.0, 1.0, 0.7], 0));
        for text in [L2, LINF, BALL] {
            let text = &text.replace("300", "30");
            let (got, seen) = find(&classifier, &image, 0.2, text);
            assert_eq!(seen, [0]);
            assert_eq!(numbers(&got.pixels), numbers(&image.pixels), "{text}");
            assert!(got.distances.is_none_or(|d| d == [f64::INFINITY]), "{text}");
        }
    }
}

/// ART #507: rounding carried pixels further than eps.
#[test]
fn no_pixel_is_further_than_the_radius_in_single_precision() {
    let classifier = small_network(DType::F32);
    let batch = small_batch(&classifier, 24);
    let eps = 8.0 / 255.0;
    let (frozen, passes) = (Frozen::new(&classifier).unwrap(), Passes::default());
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Mistake, &passes).unwrap();
    let ball = Ball::new(&batch.pixels, &[eps; 24], Norm::Linf, &batch.ids).unwrap();
    let raw = attack("cw-ball = {}").perturb(&victim, &ball, &Rng::new(0, "attack")).unwrap();
    let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (new, old) = (flat(&raw), flat(&batch.pixels));
    assert!(new.iter().zip(&old).all(|(new, old)| (new - old).abs() <= eps as f32));
    assert!(new.iter().zip(&old).any(|(new, old)| (new - old).abs() > 0.9 * eps as f32), "nothing moved");
    let fallen = victim.broken(&raw).unwrap().iter().filter(|b| **b).count();
    assert!((2..24).contains(&fallen), "{fallen} of 24 fell: nothing can be told");
}

#[test]
fn confidence_asks_for_a_margin_and_a_target_for_its_class() {
    let classifier = small_network(DType::F32);
    let batch = small_batch(&classifier, 8);
    let frozen = Frozen::new(&classifier).unwrap();
    let clean = frozen.logits(&batch.pixels).unwrap().to_vec2::<f32>().unwrap();
    let labels = batch.labels.to_vec1::<u32>().unwrap();
    for text in [L2, LINF] {
        let text = text.replace("300", "100");
        let (got, _) = find(&classifier, &batch, 1.0, &format!("{text}, confidence = 0.2"));
        let logits = frozen.logits(&got.pixels).unwrap().to_vec2::<f32>().unwrap();
        for (i, row) in
            logits.iter().enumerate().filter(|(i, _)| got.distances.as_ref().unwrap()[*i].is_finite())
        {
            let other = (0..5).filter(|k| *k != labels[i] as usize).map(|k| row[k]).fold(f32::MIN, f32::max);
            assert!(other - row[labels[i] as usize] >= 0.2 - 1e-4, "{text}: sample {i}, {row:?}");
        }
        assert!(got.distances.unwrap().iter().filter(|d| d.is_finite()).count() > 4, "{text}");

        let (got, seen) = find(&classifier, &batch, 1.0, &format!("{text}, target = \"least-likely\""));
        let mut hits = 0;
        for i in (0..8).filter(|i| got.distances.as_ref().unwrap()[*i].is_finite()) {
            let least = (0..5)
                .filter(|k| *k != labels[i])
                .min_by(|a, b| clean[i][*a as usize].total_cmp(&clean[i][*b as usize]));
            // The last sample is a natural error: it counts as broken where it is.
            hits += usize::from(Some(seen[i]) == least);
            assert!(Some(seen[i]) == least || i == 7, "{text}: sample {i} became {}", seen[i]);
        }
        assert!(hits > 3, "{text}: {hits} hits");
    }
}

#[test]
fn predicted_labels_lead_a_natural_error_away_from_what_the_network_sees() {
    let classifier = small_network(DType::F32);
    let batch = small_batch(&classifier, 6);
    let clean = Frozen::new(&classifier).unwrap().logits(&batch.pixels).unwrap();
    let clean = clean.argmax(1).unwrap().to_vec1::<u32>().unwrap();
    for text in [L2, LINF, BALL] {
        let text = text.replace("300", "60");
        let run = |labels: &str| find(&classifier, &batch, 0.3, &format!("{text}, labels = \"{labels}\""));
        let ((own, _), (predicted, seen)) = (run("true"), run("predicted"));
        let far = |got: &Perturbed, i: usize| {
            let (new, old) = (got.pixels.get(i).unwrap(), batch.pixels.get(i).unwrap());
            numbers(&(new - old).unwrap()).iter().fold(0.0, |far: f64, d| far.max(d.abs()))
        };
        for i in 0..5 {
            let pixels = |got: &Perturbed| numbers(&got.pixels.get(i).unwrap());
            assert!(pixels(&own) == pixels(&predicted), "{text}: sample {i}");
        }
        // The last one is labelled wrongly: nothing to do, or the way out of the class that the network sees.
        assert!(far(&own, 5) < 1e-5, "{text}: a natural error moved by {}", far(&own, 5));
        if let Some(distances) = predicted.distances.as_ref() {
            // Led into its true class it is not broken, and its image is not believed.
            let into_its_own = distances[5].is_infinite();
            assert!(into_its_own || (seen[5] != clean[5] && distances[5] > 1e-3), "{text}: {distances:?}");
        } else {
            assert!(seen[5] != clean[5] && far(&predicted, 5) > 1e-3, "{text}: {seen:?}");
        }
    }
}

#[test]
fn the_search_in_a_ball_refuses_l2() {
    let (classifier, image) = (halves([1.0; 4], 3.0, 0.0), one(&[0.5; 4], 0));
    let (frozen, passes) = (Frozen::new(&classifier).unwrap(), Passes::default());
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &image, Goal::Mistake, &passes).unwrap();
    let ball = Ball::new(&image.pixels, &[0.1], Norm::L2, &image.ids).unwrap();
    let refused = attack("cw-ball = {}").perturb(&victim, &ball, &Rng::new(0, "attack")).unwrap_err();
    assert!(matches!(&refused, Error::Refused(why) if why.contains("`cw-l2`")), "{refused}");
}
