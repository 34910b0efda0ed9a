//! Attacks on a linear network, whose nearest adversarial image is known in closed form (the idea of adv-lib's tests):
//! with 2 % more than the least radius every sample must fall, with 2 % less none may.

use candle_core::{Device, Tensor};
use temper_core::nn::{Classifier, Frozen};
use temper_core::{
    Attack, Ball, Batch, Chosen, Goal, Kind, Norm, Passes, Rng, Rows, Target, Victim, VictimNetwork, perturb,
};

use crate::support::{self, affordable, attack};

const D: usize = 64;
const N: usize = 8;
/// One under which some samples aim at class 0, and some do not.
const SEED: u64 = 1;

/// Logits `[-l, l, 2 l - 1, 2 l - 2]` with `l = mean(pixels) - 0.5`: class 1 above a mean of 0.5, class 0
/// below. The last two never win, and who aims at them goes upwards, away from class 0.
fn linear() -> Classifier {
    let row = |w: f32| vec![w / D as f32; D];
    support::linear([1, 8, 8], &[row(-1.0), row(1.0), row(2.0), row(2.0)], &[0.5, -0.5, -2.0, -3.0])
}

/// Images a little above a mean of 0.5, and each one's l-inf distance to the boundary.
fn images() -> (Batch, Vec<f64>) {
    let ids: Vec<u64> = (0..N as u64).collect();
    let noise = Rng::new(2, "images").uniform(&ids, D);
    let (mut pixels, mut distances) = (vec![], vec![]);
    for (i, noise) in noise.chunks(D).enumerate() {
        let wanted = 0.015 + 0.003 * i as f32;
        let mean = noise.iter().sum::<f32>() / D as f32;
        pixels.extend(noise.iter().map(|v| 0.5 + wanted + 0.1 * (v - mean)));
        let exact = pixels[i * D..].iter().map(|v| f64::from(*v)).sum::<f64>() / D as f64 - 0.5;
        distances.push(exact);
    }
    let pixels = Tensor::from_vec(pixels, (N, 1, 8, 8), &Device::Cpu).unwrap();
    (Batch { pixels, labels: Tensor::from_vec(vec![1u32; N], N, &Device::Cpu).unwrap(), ids }, distances)
}

/// Which samples fall when each radius is `factor` times the least one.
fn fallen(attack: &Chosen<dyn Attack>, norm: Norm, factor: f64, goal: Goal) -> Vec<bool> {
    let (classifier, (batch, distances)) = (linear(), images());
    let (frozen, passes) = (Frozen::new(&classifier).unwrap(), Passes::default());
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, goal, &passes).unwrap();
    assert!(victim.broken(&batch.pixels).unwrap().iter().all(|b| !b));
    let unit = if norm == Norm::L2 { (D as f64).sqrt() } else { 1.0 };
    let radii: Vec<f64> = distances.iter().map(|d| d * unit * factor).collect();
    let ball = Ball::new(&batch.pixels, &radii, norm, &batch.ids).unwrap();
    let perturbed = perturb(attack, &victim, &ball, &Rng::new(SEED, "attack")).unwrap();
    if let (Some(found), Some(own)) = (&perturbed.distances, attack.min_norm()) {
        let unit = if own == Norm::L2 { (D as f64).sqrt() } else { 1.0 };
        for (found, least) in found.iter().zip(&distances) {
            assert!(
                found / (least * unit) < 1.25,
                "{}: {found} where {} is enough",
                attack.name(),
                least * unit
            );
        }
    }
    victim.broken(&perturbed.pixels).unwrap()
}

/// Which samples draw class 0 as their random target.
fn aimed_at_the_other_class() -> Vec<bool> {
    let (classifier, (batch, _)) = (linear(), images());
    let (frozen, passes) = (Frozen::new(&classifier).unwrap(), Passes::default());
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Mistake, &passes).unwrap();
    let targets = Target::Random.choose(&victim, &Rng::new(SEED, "attack")).unwrap().unwrap();
    let rows = Rows { labels: victim.labels().clone(), positions: victim.positions().clone() };
    targets.of(&rows).unwrap().to_vec1::<u32>().unwrap().iter().map(|target| *target == 0).collect()
}

#[test]
fn attacks_reach_the_optimum_and_not_more() {
    let tuned = [
        (attack("fgsm = {}"), Norm::L2),
        (attack("fgsm = { random_start = true, step = 2.0 }"), Norm::Linf),
        (attack("pgd = { steps = 40, relative_step = 0.25 }"), Norm::L2),
        (attack("pgd = { relative_step = 0.25, start = \"clean\" }"), Norm::L2),
        (attack("pgd = { success = \"final\" }"), Norm::Linf),
        (attack("pgd = { start = \"unclamped\", restarts = 3 }"), Norm::Linf),
        (attack("pgd = { loss = \"margin\" }"), Norm::Linf),
        (attack("fgsm = { loss = \"margin\" }"), Norm::L2),
        (attack("mi-fgsm = { travel = 2.0 }"), Norm::L2),
        (attack("mi-fgsm = { success = \"final\", gather = \"steepest\" }"), Norm::Linf),
        (attack("mi-fgsm = { step = 0.01, random_start = true, restarts = 2 }"), Norm::Linf),
        (attack("deepfool = { norm = \"linf\" }"), Norm::Linf),
        (attack("deepfool = { norm = \"linf\", overshoot_on = \"step\", margin = 0.0 }"), Norm::L2),
        (attack("deepfool = { candidates = 1, labels = \"predicted\" }"), Norm::L2),
        (attack("cw-ball = { labels = \"predicted\" }"), Norm::Linf),
        (attack("pgd = { steps = 40, restarts = 8, target = \"random\" }"), Norm::Linf),
        (attack("pgd = { steps = 40, target = \"random\", success = \"final\" }"), Norm::Linf),
        (attack("mi-fgsm = { travel = 2.0, target = \"random\" }"), Norm::L2),
        (attack("cw-ball = { target = \"random\" }"), Norm::Linf),
    ];
    let defaults = <dyn Attack>::plugins().into_iter().map(|p| (affordable(p.name), Norm::Linf));
    let aimed = aimed_at_the_other_class();
    assert!(aimed.contains(&true) && aimed.contains(&false), "{aimed:?}");
    for (attack, norm) in defaults.chain(tuned) {
        let targeted = attack.params().get("target").and_then(toml::Value::as_str) == Some("random");
        // Only an attack on class 0 can succeed.
        let within_reach = if targeted { aimed.clone() } else { vec![true; N] };
        let spare = if attack.min_norm().is_some() { 1.25 } else { 1.02 };
        for goal in [Goal::Mistake, Goal::Loss] {
            let fallen = |factor| fallen(&attack, norm, factor, goal);
            assert_eq!(fallen(0.98), [false; N], "{attack:?} {norm} {goal:?} below the optimum");
            assert_eq!(fallen(spare), within_reach, "{attack:?} {norm} {goal:?} above the optimum");
        }
    }
}
