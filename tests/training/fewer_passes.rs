//! Work that is not done gives the numbers of doing it: to the bit, by a network with random weights.

use candle_core::{DType, Device};
use temper_core::nn::Frozen;
use temper_core::{
    Ball, Batch, Chosen, Epsilon, Goal, Loss, Norm, Passes, Rng, Step, Victim, VictimNetwork, Visit, perturb,
};
use temper_evaluate::Entry;

use crate::support::{TestImages, attack, judged, numbers, small_batch, small_network};

const PGD: &str = "pgd = { steps = 4, step = 0.02, restarts = 3 }";

/// Only what is classified correctly is attacked, and restarts run on what stands.
#[test]
fn an_evaluation_attacks_only_what_can_still_fall() {
    let classifier = small_network(DType::F32);
    let frozen = Frozen::new(&classifier).unwrap();
    let source = TestImages::of(small_batch(&classifier, 40));
    let text = format!("name = \"pgd\"\nradius = 0.05\nattack.{PGD}");
    let entry: Entry = toml::from_str(&text).unwrap();
    let got = judged(&frozen, &source, &entry, 3);

    let mut standing = 0;
    let passes = Passes::default();
    for raw in temper_data::Batches::new(source, (0..40).collect(), 16, None) {
        let batch = Batch::new(raw.unwrap(), &Device::Cpu).unwrap();
        let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Mistake, &passes).unwrap();
        let ball = Ball::new(&batch.pixels, &vec![0.05; batch.len()], Norm::Linf, &batch.ids).unwrap();
        let rng = Rng::new(3, "evaluate").named("pgd");
        let all = perturb(&attack(PGD), &victim, &ball, &rng).unwrap().pixels;
        let natural = victim.broken(&batch.pixels).unwrap();
        let broken = victim.broken(&all).unwrap();
        standing += natural.iter().zip(&broken).filter(|(natural, broken)| !**natural && !**broken).count();
    }
    assert!(standing > 0 && standing < 39, "{standing} of 40 stand: nothing can be told");
    assert_eq!(got.accuracy, standing as f64 / 40.0);
    assert!(got.backwards < passes.backwards(), "{} passes, {} on all", got.backwards, passes.backwards());
}

/// Algorithm 2 with both probes on every sample.
#[test]
fn probes_on_some_samples_are_probes_on_all() {
    let classifier = small_network(DType::F32);
    let frozen = Frozen::new(&classifier).unwrap();
    let batch = small_batch(&classifier, 30);
    let passes = Passes::default();
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Loss, &passes).unwrap();
    let (pgd, rng) = (attack(PGD), Rng::new(4, "probes"));
    let memory: Vec<f64> = (0..30).map(|i| 0.004 * f64::from(i)).collect();
    let visit = || Visit::new(9, memory.clone(), &victim, &pgd, Norm::Linf, rng);
    let text = "instance-adaptive = { start = 0.05, warmup = 0, gamma = 0.01, beta = 0.5 }";
    let table: toml::Table = format!("epsilon.{text}").parse().unwrap();
    let epsilon: Chosen<dyn Epsilon> = table["epsilon"].clone().try_into().unwrap();
    let mut some = visit();
    epsilon.radii(&mut some).unwrap();
    let spent = passes.backwards();

    let mut all = visit();
    let beyond: Vec<f64> = memory.iter().map(|m| m + 0.01).collect();
    let grows = all.survives(&[true; 30], &beyond).unwrap();
    let stays = all.survives(&[true; 30], &memory).unwrap();
    let candidates = (0..30).map(|i| match (grows[i], stays[i]) {
        (true, _) => beyond[i],
        (false, true) => memory[i],
        (false, false) => (memory[i] - 0.01).max(0.0),
    });
    let want: Vec<f64> = candidates.zip(&memory).map(|(c, m)| 0.5 * m + 0.5 * c).collect();
    assert!(grows.contains(&true) && grows.contains(&false), "nothing can be told");
    assert_eq!(some.into_memory(), want);
    assert!(spent < passes.backwards() - spent);
}

/// The training attack leaves out radii of 0.
#[test]
fn a_radius_of_zero_is_the_clean_image_without_an_attack() {
    #[derive(Debug)]
    struct Nothing;
    impl Loss for Nothing {
        fn loss(&self, step: &mut Step) -> temper_core::Result<temper_core::Tensor> {
            step.attack()
        }
    }
    let classifier = small_network(DType::F32);
    let frozen = Frozen::new(&classifier).unwrap();
    let batch = small_batch(&classifier, 20);
    let (pgd, rng) = (attack(PGD), Rng::new(5, "attack"));
    let radii: Vec<f64> = (0..20).map(|i| if i % 3 == 0 { 0.0 } else { 0.03 }).collect();
    let passes = Passes::default();
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Loss, &passes).unwrap();
    let mut step = Step::new(&classifier, &batch, &victim, &radii, Some(&pgd), Norm::Linf, rng);
    let some = Nothing.loss(&mut step).unwrap();
    let spent = passes.backwards();
    let ball = Ball::new(&batch.pixels, &radii, Norm::Linf, &batch.ids).unwrap();
    let all = perturb(&pgd, &victim, &ball, &rng).unwrap().pixels;
    assert_eq!(numbers(&some), numbers(&all));
    assert!(spent < passes.backwards() - spent);
}
