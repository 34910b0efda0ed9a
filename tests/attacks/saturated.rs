//! Attacks that are weaker than they look: gradients that vanished, runs in vain, distances of another norm.
//! Where an attack cannot be mended its number carries a warning.

use candle_core::{DType, Device};
use temper_core::nn::{Classifier, Frozen};
use temper_core::{
    Attack, Ball, Goal, Kind, Norm, Passes, Rng, Split, Victim, VictimNetwork, cross_entropy, perturb,
};
use temper_evaluate::Entry;
use temper_results::{Evaluation, Warning};
use temper_runner::Pipeline;
use temper_train::{Glimpse, Trainer, Watch};

use crate::attacks::trained::{count, right, scaled, trained, under};
use crate::support::{
    STRIPES, TestImages, affordable, attack, judged, linear, numbers, playground, small_batch, small_network,
};

const RADIUS: f64 = 0.1;

/// The same classifier by logits a thousand times as large: cross-entropy has no gradient left in single
/// precision, and the attacks that raise the log odds do not notice.
#[test]
fn large_logits_hide_nothing_from_the_attacks() {
    let (classifier, batch) = trained(250);
    let (plain, large) =
        (Frozen::new(&classifier).unwrap(), Frozen::new(&scaled(&classifier, 1000.0)).unwrap());
    let batch = right(&plain, &batch);
    let n = batch.len();
    for text in [
        "fgsm = {}",
        "pgd = { steps = 20, relative_step = 0.1 }",
        "mi-fgsm = {}",
        "pgd = { target = \"all\" }",
    ] {
        let attack = attack(text);
        let (_, before, _) = under(&plain, &batch, &attack, (Norm::Linf, RADIUS));
        let (_, after, passes) = under(&large, &batch, &attack, (Norm::Linf, RADIUS));
        // The other classes weigh by their likelihood, which is another one: a few images fall here and not there.
        assert!(
            count(&after) + n / 50 >= count(&before),
            "{text}: {} of {n}, else {}",
            count(&after),
            count(&before)
        );
        assert_eq!(passes.vanished().len(), 0, "{text}");

        // As it was, with cross-entropy: the images that its gradient is 0 at are counted, each once.
        let passes = Passes::default();
        let victim = Victim::new(VictimNetwork::Frozen(&large), &batch, Goal::Mistake, &passes).unwrap();
        let ball = Ball::new(&batch.pixels, &vec![RADIUS; n], Norm::Linf, &batch.ids).unwrap();
        let blind =
            perturb(&attack, &victim.with_score(&cross_entropy), &ball, &Rng::new(0, "attack")).unwrap();
        if text.contains("target") {
            continue;
        }
        let (blind, lost) = (count(&victim.broken(&blind.pixels).unwrap()), passes.take_vanished());
        assert!(
            blind + n / 20 < count(&before) && lost.len() > n / 2,
            "{text}: {blind} of {n}, {}",
            lost.len()
        );
        assert!(lost.iter().all(|position| (*position as usize) < n) && passes.vanished().is_empty());
    }
}

fn judge(network: &Frozen, n: usize, text: &str) -> Evaluation {
    let entry: Entry = toml::from_str(&format!("name = \"a\"\n{text}")).unwrap();
    assert_eq!(entry.problem(), None, "{text}");
    judged(network, &TestImages::of(small_batch(&small_network(DType::F32), n)), &entry, 3)
}

#[test]
fn images_without_a_gradient_are_counted_once_and_told() {
    let mut biases = [0.0; 5];
    let labels = small_batch(&small_network(DType::F32), 40).labels.to_vec1::<u32>().unwrap();
    biases[labels[0] as usize] = 1.0;
    let right = labels.iter().filter(|label| **label == labels[0]).count();
    let flat = Frozen::new(&linear([2, 8, 8], &vec![vec![0.0; 128]; 5], &biases)).unwrap();
    for text in [
        "radius = 0.1\nattack = \"fgsm\"",
        "radius = 0.1\nrestarts = 3\nattack.pgd = { restarts = 2 }",
        "sweep.radius = [0.1, 0.2]\nattack.pgd = { steps = 3, relative_step = 0.5 }",
        "radius = 0.1\nattack.cw-ball = {}",
    ] {
        let result = judge(&flat, 40, text);
        assert_eq!(result.attacks[0].vanished, right, "{text}");
        let wanted = format!(
            "{right} of the {right} images that are right unperturbed (100.0 %) have a gradient of exactly 0"
        );
        assert!(
            result.warnings.iter().any(|warning| warning.text.contains(&wanted)),
            "{text}: {:?}",
            result.warnings
        );
    }
    let failed = judge(
        &flat,
        40,
        "norm = \"l2\"\nradius = 0.1\nattack.cw-l2 = { steps = 5, binary_search_steps = 2 }",
    )
    .warnings;
    let wanted = format!("`cw-l2`: found nothing for {right} of {right} images (100.0 %)");
    assert!(failed.iter().any(|warning| warning.text.starts_with(&wanted)), "{failed:?}");
    // A network with gradients has no such warning, and its results no such number.
    let healthy =
        judge(&Frozen::new(&small_network(DType::F32)).unwrap(), 40, "radius = 0.1\nattack = \"pgd\"");
    assert_eq!((healthy.warnings.len(), healthy.attacks[0].vanished), (0, 0), "{:?}", healthy.warnings);
    assert!(!serde_json::to_string(&healthy.attacks).unwrap().contains("vanished"));
}

/// What draws nothing at random would only repeat itself.
#[test]
fn restarts_that_draw_nothing_run_once() {
    let network = Frozen::new(&small_network(DType::F32)).unwrap();
    let clean = "start = \"clean\", steps = 3";
    for (attack, own) in [
        ("fgsm = {}".to_string(), false),
        (format!("pgd = {{ {clean} }}"), false),
        ("mi-fgsm = { steps = 3 }".to_string(), false),
        ("cw-ball = { steps = 3 }".to_string(), false),
        (format!("pgd = {{ {clean}, restarts = 500 }}"), true),
        ("mi-fgsm = { steps = 3, restarts = 500 }".to_string(), true),
    ] {
        let restarts = if own { String::new() } else { "restarts = 500\n".into() };
        let many = judge(&network, 30, &format!("radius = 0.01\n{restarts}attack.{attack}"));
        let one =
            judge(&network, 30, &format!("radius = 0.01\nattack.{}", attack.replace(", restarts = 500", "")));
        assert_eq!((many.forwards, many.backwards), (one.forwards, one.backwards), "{attack}");
        assert_eq!(many.accuracy, one.accuracy, "{attack}");
        let told = |warning: &Warning| {
            warning.text.contains("restarts = 500") && warning.text.ends_with("it ran once")
        };
        assert!(many.warnings.iter().any(told), "{attack}: {:?}", many.warnings);
        assert!(!one.warnings.iter().any(told), "{attack}: {:?}", one.warnings);
    }
    for attack in [
        "fgsm = { random_start = true }",
        "pgd = { steps = 3 }",
        "pgd = { start = \"clean\", target = \"random\" }",
    ] {
        let many = judge(&network, 30, &format!("radius = 0.01\nrestarts = 2\nattack.{attack}"));
        let one = judge(&network, 30, &format!("radius = 0.01\nattack.{attack}"));
        assert!(
            many.backwards > one.backwards && many.warnings == one.warnings,
            "{attack}: {:?}",
            many.warnings
        );
    }
}

/// What an attack says of its draws is so.
#[test]
fn attacks_draw_as_they_say() {
    let classifier = small_network(DType::F32);
    let (batch, frozen) = (small_batch(&classifier, 7), Frozen::new(&classifier).unwrap());
    let chosen = <dyn Attack>::plugins().into_iter().map(|plugin| affordable(plugin.name));
    let more = [
        "fgsm = { random_start = true }",
        "pgd = { start = \"clean\" }",
        "pgd = { start = \"noise\" }",
        "pgd = { start = \"noise\", noise = 0.0 }",
        "pgd = { start = \"clean\", target = \"random\" }",
        "pgd = { start = \"clean\", target = \"all\" }",
        "mi-fgsm = { random_start = true }",
        "mi-fgsm = { target = \"random\" }",
        "cw-ball = { target = \"random\" }",
        "cw-l2 = { steps = 60, binary_search_steps = 3, initial_const = 1.0, learning_rate = 0.03, target = \"random\" }",
    ];
    for attack in chosen.chain(more.map(attack)) {
        let passes = Passes::default();
        let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Loss, &passes).unwrap();
        let ball = Ball::new(&batch.pixels, &[0.1; 7], Norm::Linf, &batch.ids).unwrap();
        let run = |seed| numbers(&attack.perturb(&victim, &ball, &Rng::new(seed, "attack")).unwrap());
        assert_eq!(run(1) != run(2), attack.draws(), "{attack:?}");
    }
}

#[test]
fn distances_of_another_norm_and_steps_beyond_the_ball_are_warned_of() {
    let network = Frozen::new(&small_network(DType::F32)).unwrap();
    let warnings = |text: &str| -> Vec<String> {
        judge(&network, 20, text).warnings.iter().map(ToString::to_string).collect()
    };
    let few = "steps = 60, binary_search_steps = 4, initial_const = 0.1, learning_rate = 0.03";
    assert_eq!(
        warnings("radius = 0.05\nattack = \"deepfool\""),
        [
            "`deepfool`: it makes l2 distances small, not l-inf ones, so fewer images are within the radius than could be: give it `norm = \"linf\"`"
        ]
    );
    let other = warnings(&format!("radius = 0.05\nattack.cw-l2 = {{ {few} }}"));
    assert!(
        other.len() == 1 && other[0].ends_with("take an attack for l-inf, or radii of `norm = \"l2\"`"),
        "{other:?}"
    );
    assert_eq!(warnings("radius = 0.05\nattack.deepfool = { norm = \"linf\" }"), Vec::<String>::new());
    assert_eq!(warnings("norm = \"l2\"\nradius = 0.5\nattack = \"deepfool\""), Vec::<String>::new());

    let long = warnings("radius = \"1/255\"\nattack.pgd = { step = \"2/255\" }");
    assert!(long.len() == 1 && long[0].contains("leap across the ball of radius 0.0039"), "{long:?}");
    // Too long for the smallest radius of a curve.
    let curve = warnings("sweep.radius = [\"1/255\", 0.05]\nattack.pgd = { step = \"2/255\" }");
    assert!(curve.len() == 1 && curve[0].contains("leap across the ball of radius 0.0039"), "{curve:?}");
    assert_eq!(warnings("sweep.radius = [\"1/255\", 0.3]\nattack = \"pgd\"").len(), 0);
    assert_eq!(warnings("radius = 0.05\nattack.fgsm = { step = 2.5 }").len(), 1);
    assert_eq!(warnings("radius = 0.05\nattack.fgsm = { step = 1.25, random_start = true }").len(), 0);
    assert_eq!(warnings("radius = 0.05\nattack.mi-fgsm = { travel = 20.0 }").len(), 1);
}

/// Asks for a pause after each step, or never.
struct Pausing(bool);

impl Watch for Pausing {
    fn glimpse(&mut self, _: &Glimpse) {}
    fn pause(&mut self) -> bool {
        self.0
    }
}

/// A network whose last layer begins with zeros has no gradient in its first step, and one in all others.
#[test]
fn training_counts_the_samples_whose_gradient_vanished_across_pauses() {
    let folder = playground(&STRIPES.replace("root = \"data\"", "root = \"FOLDER/data\""));
    let file = folder.path().join("run.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("FOLDER", folder.path().to_str().unwrap());
    std::fs::write(&file, text).unwrap();
    let pipeline = Pipeline::load(&file, &[]).unwrap();
    let source = pipeline.dataset.open(Split::Train).unwrap();
    let network = pipeline.model.build([1, 12, 12], 10).unwrap();
    let trainer = Trainer::new(&pipeline.train, pipeline.seed, &Device::Cpu);
    let run = |pauses: bool| {
        let mut state = trainer.start(network.clone(), source.len()).unwrap();
        let mut weights = state.classifier.weights();
        let last = weights["fc2.weight"].zeros_like().unwrap();
        weights.insert("fc2.weight".into(), last);
        state.classifier = Classifier::new(network.clone(), &weights).unwrap();
        let mut reports = vec![];
        while reports.len() < 2 {
            reports.extend(trainer.epoch(&mut state, &source, &mut Pausing(pauses)).unwrap());
        }
        reports
    };
    let whole = run(false);
    // Of the 64 images of the first batch those of the one class that all are taken for.
    assert!((1..20).contains(&whole[0].vanished), "{}", whole[0].vanished);
    assert_eq!(whole[1].vanished, 0);
    let text = |report| serde_json::to_string(report).unwrap();
    assert!(text(&whole[0]).contains("\"vanished\":") && !text(&whole[1]).contains("vanished"));
    let paused = run(true);
    assert_eq!(paused[0].vanished, whole[0].vanished);
}
