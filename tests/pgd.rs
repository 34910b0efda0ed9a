//! What PGD's options promise, beyond what every attack must hold.

use candle_core::{DType, Tensor};
use temper_core::nn::Frozen;
use temper_core::{Ball, Goal, Network, Norm, Passes, Rng, Victim};

use crate::support::{attack, numbers, small_batch, small_network};

/// Samples broken, and passes used, by an attack on the small network.
fn outcome(text: &str, radius: f64, goal: Goal) -> (Vec<bool>, Tensor, u64) {
    let classifier = small_network(DType::F32);
    let batch = small_batch(&classifier, 24);
    let (frozen, passes) = (Frozen::new(&classifier).unwrap(), Passes::default());
    let victim = Victim::new(Network::Frozen(&frozen), &batch, goal, &passes).unwrap();
    let ball = Ball::new(&batch.pixels, &[radius; 24], Norm::Linf, &batch.ids).unwrap();
    let pixels = attack(text).perturb(&victim, &ball, &Rng::new(4, "attack")).unwrap();
    let used = passes.backwards();
    (victim.broken(&pixels).unwrap(), pixels, used)
}

fn count(broken: &[bool]) -> usize {
    broken.iter().filter(|b| **b).count()
}

#[test]
fn judging_any_iterate_is_stronger_and_cheaper_than_judging_the_last() {
    let (any, _, passes) = outcome("pgd = { steps = 20, step = 0.01 }", 0.03, Goal::Mistake);
    let (last, _, all) = outcome("pgd = { steps = 20, step = 0.01, judge = \"final\" }", 0.03, Goal::Mistake);
    assert!(
        any.iter().zip(&last).all(|(any, last)| *any || !*last),
        "a sample broken at the end stands under `any`"
    );
    assert!((2..24).contains(&count(&any)), "the radius makes this test empty: {} broken", count(&any));
    assert_eq!(all, 24 * 20);
    assert!(passes < all);
}

#[test]
fn training_goes_to_the_last_iterate_whatever_the_judge() {
    let any = outcome("pgd = { steps = 5 }", 0.05, Goal::Loss);
    let last = outcome("pgd = { steps = 5, judge = \"final\" }", 0.05, Goal::Loss);
    assert!(numbers(&any.1) == numbers(&last.1) && any.2 == last.2);
}

#[test]
fn restarts_never_lose_a_broken_sample_and_never_lower_the_loss() {
    let once = outcome("pgd = { steps = 1, step = 0.005 }", 0.02, Goal::Mistake);
    let often = outcome("pgd = { steps = 1, step = 0.005, restarts = 6 }", 0.02, Goal::Mistake);
    assert!(once.0.iter().zip(&often.0).all(|(once, often)| !*once || *often));
    assert!(count(&often.0) > count(&once.0), "six starts break no more than one: the test is empty");

    let classifier = small_network(DType::F32);
    let batch = small_batch(&classifier, 24);
    let (frozen, passes) = (Frozen::new(&classifier).unwrap(), Passes::default());
    let victim = Victim::new(Network::Frozen(&frozen), &batch, Goal::Loss, &passes).unwrap();
    let scores = |text| numbers(&victim.scores(&outcome(text, 0.02, Goal::Loss).1).unwrap());
    let (once, often) = (
        scores("pgd = { steps = 1, step = 0.005 }"),
        scores("pgd = { steps = 1, step = 0.005, restarts = 6 }"),
    );
    assert!(once.iter().zip(&often).all(|(once, often)| often >= once));
    assert!(once.iter().sum::<f64>() < often.iter().sum::<f64>());
}

#[test]
fn a_targeted_attack_lowers_the_loss_of_its_target() {
    let classifier = small_network(DType::F32);
    let batch = small_batch(&classifier, 24);
    let frozen = Frozen::new(&classifier).unwrap();
    let clean = frozen.logits(&batch.pixels).unwrap();
    let target = clean.argmin(1).unwrap();
    let (_, pixels, _) =
        outcome("pgd = { target = \"least-likely\", judge = \"final\" }", 0.1, Goal::Mistake);
    let loss = |logits: &Tensor| {
        let rows = temper_core::Rows { labels: target.clone(), positions: target.clone() };
        numbers(&temper_core::cross_entropy(logits, &rows).unwrap())
    };
    let (before, after) = (loss(&clean), loss(&frozen.logits(&pixels).unwrap()));
    assert!(before.iter().zip(&after).all(|(before, after)| after < before));
}

#[test]
fn the_longer_of_fixed_and_relative_step_is_taken() {
    let center = Tensor::full(0.5f32, (2, 1, 1, 1), &candle_core::Device::Cpu).unwrap();
    let ball = Ball::new(&center, &[0.02, 0.2], Norm::Linf, &[0, 1]).unwrap();
    let lengths = ball.lengths(temper_core::Pixels::new(0.01).unwrap(), 0.25).unwrap();
    let got = numbers(&lengths);
    assert!((got[0] - 0.01).abs() < 1e-8 && (got[1] - 0.05).abs() < 1e-8, "{got:?}");
}
