//! The loss that an attack raises, and the classes that it aims at.

use candle_core::{DType, Device, Tensor};
use temper_core::{Ball, Goal, Norm, Passes, Raised, Rng, Rows, Victim, VictimNetwork, perturb};
use temper_nn::Frozen;

use crate::support::{attack, linear, numbers, small_batch, small_network};

const N: usize = 24;

/// The images of an attack on a small network of five classes within an l-inf radius, and its backward
/// passes. `score`: the one that training would give the victim.
fn images(text: &str, goal: Goal, own_score: bool) -> (Tensor, u64) {
    let classifier = small_network(DType::F32);
    let (frozen, batch) = (Frozen::new(&classifier).unwrap(), small_batch(&classifier, N));
    let passes = Passes::default();
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, goal, &passes).unwrap();
    let score = |logits: &Tensor, rows: &Rows| temper_core::cross_entropy(logits, rows);
    let victim = if own_score { victim.with_score(&score) } else { victim };
    let ball = Ball::new(&batch.pixels, &[0.1; N], Norm::Linf, &batch.ids).unwrap();
    let perturbed = perturb(&attack(text), &victim, &ball, &Rng::new(1, "attack")).unwrap();
    (perturbed.pixels, passes.backwards())
}

/// A loss of each sample at these images.
fn loss(raised: Raised, pixels: &Tensor) -> Vec<f64> {
    let classifier = small_network(DType::F32);
    let (frozen, batch) = (Frozen::new(&classifier).unwrap(), small_batch(&classifier, N));
    let rows =
        Rows { labels: batch.labels.clone(), positions: Tensor::arange(0, N as u32, &Device::Cpu).unwrap() };
    numbers(&raised.away(&frozen.logits(pixels).unwrap(), &rows, false).unwrap())
}

#[test]
fn each_loss_is_raised_by_the_attacks_that_have_it() {
    let clean = small_batch(&small_network(DType::F32), N).pixels;
    for raised in ["margin", "dlr"] {
        let of = if raised == "margin" { Raised::Margin } else { Raised::Dlr };
        let before = loss(of, &clean);
        for text in ["pgd = { start = \"clean\", LOSS }", "mi-fgsm = { LOSS }", "fgsm = { LOSS }"] {
            let text = text.replace("LOSS", &format!("loss = \"{raised}\""));
            let (pixels, _) = images(&text, Goal::Loss, false);
            let rises =
                loss(of, &pixels).iter().zip(&before).filter(|(after, before)| after > before).count();
            assert!(rises >= N - 1, "{text}: {rises} of {N}");
        }
        let (by_loss, _) = images(&format!("pgd = {{ loss = \"{raised}\" }}"), Goal::Loss, false);
        let (by_default, _) = images("pgd = {}", Goal::Loss, false);
        assert_ne!(numbers(&by_loss), numbers(&by_default), "{raised} changes nothing");
    }
}

#[test]
fn a_score_of_training_overrides_the_loss() {
    let [plain, dlr] =
        ["pgd = {}", "pgd = { loss = \"dlr\" }"].map(|text| numbers(&images(text, Goal::Loss, true).0));
    assert_eq!(plain, dlr);
}

#[test]
fn the_likeliest_classes_are_a_part_of_all() {
    let target = |target: &str| {
        let text =
            format!("pgd = {{ start = \"clean\", steps = 5, success = \"final\", target = {target} }}");
        let (pixels, backwards) = images(&text, Goal::Loss, false);
        (numbers(&pixels), backwards)
    };
    let (all, four, one) = (target("\"all\""), target("{ likeliest = 4 }"), target("{ likeliest = 1 }"));
    assert_eq!(all, four);
    assert_eq!(all, target("{ likeliest = 99 }"));
    assert_eq!((one.1, all.1), (5 * N as u64, 4 * 5 * N as u64));
    let label = |text: &str| attack(text).label();
    assert_eq!(label("pgd = { steps = 7, restarts = 3, loss = \"dlr\" }"), "pgd-7x3-dlr");
    assert_eq!(label("mi-fgsm = { target = { likeliest = 9 } }"), "mi-fgsm-10-top9");
    assert_eq!(label("fgsm = { loss = \"margin\" }"), "fgsm-margin");
    let wrong: Result<toml::Table, _> = "attack.pgd.target = { likelist = 9 }".parse();
    let wrong: Result<temper_core::Chosen<dyn temper_core::Attack>, _> =
        wrong.unwrap()["attack"].clone().try_into();
    let message = wrong.unwrap_err().to_string();
    assert!(message.contains("unknown field `likelist`, expected `likeliest`"), "{message}");
}

#[test]
fn dlr_on_two_classes_is_an_error_that_says_what_to_take() {
    let classifier = linear([1, 2, 2], &[vec![1.0, -1.0, 0.5, 0.0], vec![0.0; 4]], &[0.0, 0.1]);
    let frozen = Frozen::new(&classifier).unwrap();
    let pixels = Tensor::full(0.5f32, (2, 1, 2, 2), &Device::Cpu).unwrap();
    let labels = frozen.logits(&pixels).unwrap().argmax(1).unwrap();
    let batch = temper_core::Batch { pixels, labels, ids: vec![0, 1] };
    let passes = Passes::default();
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Mistake, &passes).unwrap();
    let ball = Ball::new(&batch.pixels, &[0.1; 2], Norm::Linf, &batch.ids).unwrap();
    let run = |text: &str| perturb(&attack(text), &victim, &ball, &Rng::new(1, "attack"));
    let message = run("pgd = { loss = \"dlr\" }").unwrap_err().to_string();
    assert!(message.contains("needs at least 3 classes, not 2: take `loss = \"margin\"`"), "{message}");
    run("pgd = { loss = \"margin\" }").unwrap();
}
