//! What PGD's options promise, beyond what every attack must hold.

use candle_core::{DType, Tensor};
use temper_core::nn::Frozen;
use temper_core::{Ball, Goal, Norm, Passes, Rng, Target, Victim, VictimNetwork};

use crate::support::{attack, numbers, small_batch, small_network};

/// Samples broken, and passes used, by an attack on the small network.
fn outcome(text: &str, radius: f64, goal: Goal) -> (Vec<bool>, Tensor, u64) {
    let classifier = small_network(DType::F32);
    let batch = small_batch(&classifier, 24);
    let (frozen, passes) = (Frozen::new(&classifier).unwrap(), Passes::default());
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, goal, &passes).unwrap();
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
    let (last, _, all) =
        outcome("pgd = { steps = 20, step = 0.01, success = \"final\" }", 0.03, Goal::Mistake);
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
    let last = outcome("pgd = { steps = 5, success = \"final\" }", 0.05, Goal::Loss);
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
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Loss, &passes).unwrap();
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
        outcome("pgd = { target = \"least-likely\", success = \"final\" }", 0.1, Goal::Mistake);
    let loss = |logits: &Tensor| {
        let rows = temper_core::Rows { labels: target.clone(), positions: target.clone() };
        numbers(&temper_core::cross_entropy(logits, &rows).unwrap())
    };
    let (before, after) = (loss(&clean), loss(&frozen.logits(&pixels).unwrap()));
    assert!(before.iter().zip(&after).all(|(before, after)| after < before));
}

/// The iterate at which Zhang et al.'s Algorithm 1 stops a sample, told from attacks of 0, 1, 2, ... steps.
fn friendly(iterates: &[(Vec<bool>, Tensor, u64)], sample: usize, tau: usize) -> usize {
    let mut left = tau;
    for (step, (broken, ..)) in iterates.iter().enumerate() {
        match (broken[sample], left) {
            (true, 0) => return step,
            (true, _) => left -= 1,
            (false, _) => {}
        }
    }
    iterates.len() - 1
}

#[test]
fn friendly_training_stops_each_sample_some_steps_after_it_is_misclassified() {
    let steps = 8;
    let text = |steps: usize, more: &str| {
        format!("pgd = {{ start = \"clean\", step = 0.004, steps = {steps}, success = \"final\"{more} }}")
    };
    let iterates: Vec<_> = (1..=steps).map(|k| outcome(&text(k, ""), 0.1, Goal::Loss)).collect();
    let classifier = small_network(DType::F32);
    let batch = small_batch(&classifier, 24);
    let clean: Vec<bool> = (0..24).map(|i| i == 23).collect();
    let iterates: Vec<_> = std::iter::once((clean, batch.pixels.clone(), 0)).chain(iterates).collect();
    for tau in 0..3 {
        let friendly_text = text(steps, &format!(", stop_after = {tau}"));
        let (_, got, passes) = outcome(&friendly_text, 0.1, Goal::Loss);
        let stops: Vec<usize> = (0..24).map(|i| friendly(&iterates, i, tau)).collect();
        assert!(stops.iter().filter(|s| **s < steps).count() > 5, "nothing can be told: {stops:?}");
        for (i, stop) in stops.iter().enumerate() {
            let want = numbers(&iterates[*stop].1.get(i).unwrap());
            assert!(numbers(&got.get(i).unwrap()) == want, "tau {tau}, sample {i} at step {stop}");
        }
        assert!(passes < 24 * steps as u64, "{passes} backward passes");
        // An evaluation is not friendly.
        let judged = |text: &str| numbers(&outcome(text, 0.1, Goal::Mistake).1);
        assert!(judged(&friendly_text) == judged(&text(steps, "")));
    }
}

/// Where batch statistics make company matter, who stops stays in the batch without moving.
#[test]
fn friendly_training_keeps_the_batch_whole_under_batch_statistics() {
    let classifier = small_network(DType::F64);
    let batch = small_batch(&small_network(DType::F32), 24);
    let batch = temper_core::Batch { pixels: batch.pixels.to_dtype(DType::F64).unwrap(), ..batch };
    let (frozen, passes) = (Frozen::new(&classifier).unwrap(), [Passes::default(), Passes::default()]);
    let pgd = attack("pgd = { start = \"clean\", step = 0.01, steps = 6, stop_after = 1 }");
    let run = |network, passes| {
        let victim = Victim::new(network, &batch, Goal::Loss, passes).unwrap();
        let ball = Ball::new(&batch.pixels, &[0.1; 24], Norm::Linf, &batch.ids).unwrap();
        numbers(&pgd.perturb(&victim, &ball, &Rng::new(4, "attack")).unwrap())
    };
    // The network has no batch norm, so both ways must agree.
    let alone = run(VictimNetwork::Frozen(&frozen), &passes[0]);
    let together = run(VictimNetwork::BatchStatistics(&classifier), &passes[1]);
    assert!(alone.iter().zip(&together).all(|(a, b)| (a - b).abs() < 1e-9));
    assert!(passes[0].backwards() < passes[1].backwards() && passes[1].backwards() <= 24 * 6);
}

#[test]
fn random_targets_are_all_wrong_classes_evenly_and_a_samples_own() {
    let classifier = small_network(DType::F32);
    let batch = small_batch(&classifier, 400);
    let (frozen, passes) = (Frozen::new(&classifier).unwrap(), Passes::default());
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Mistake, &passes).unwrap();
    let read = |victim: &Victim| {
        let rows =
            temper_core::Rows { labels: victim.labels().clone(), positions: victim.positions().clone() };
        let targets = Target::Random.choose(victim, &Rng::new(3, "attack")).unwrap().unwrap();
        targets.of(&rows).unwrap().to_vec1::<u32>().unwrap()
    };
    let (targets, labels) = (read(&victim), batch.labels.to_vec1::<u32>().unwrap());
    let mut further = [0; 5];
    targets.iter().zip(&labels).for_each(|(t, l)| further[((t + 5 - l) % 5) as usize] += 1);
    assert!(further[0] == 0 && further[1..].iter().all(|n| (70..130).contains(n)), "{further:?}");
    let some: Vec<bool> = (0..400).map(|i| i % 3 == 0).collect();
    let part: Vec<u32> = targets.iter().zip(&some).filter(|(_, s)| **s).map(|(t, _)| *t).collect();
    assert_eq!(read(&victim.rows(&some).unwrap()), part);
    // The network tells how many classes there are; only the least likely one must be looked for.
    assert_eq!((passes.forwards(), victim.classes()), (0, 5));
    Target::LeastLikely.choose(&victim, &Rng::new(3, "attack")).unwrap();
    assert_eq!(passes.forwards(), 400);
}

#[test]
fn the_longer_of_fixed_and_relative_step_is_taken() {
    let center = Tensor::full(0.5f32, (2, 1, 1, 1), &candle_core::Device::Cpu).unwrap();
    let ball = Ball::new(&center, &[0.02, 0.2], Norm::Linf, &[0, 1]).unwrap();
    let lengths = ball.lengths(temper_core::Distance::new(0.01).unwrap(), 0.25).unwrap();
    let got = numbers(&lengths);
    assert!((got[0] - 0.01).abs() < 1e-8 && (got[1] - 0.05).abs() < 1e-8, "{got:?}");
}
