//! Checks of one evaluation, of several evaluations and of predictions, each on a network or an entry that deserves its
//! warning.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use temper_core::{Norm, Source};
use temper_data::Part;
use temper_evaluate::Setting;
use temper_nn::Frozen;

use crate::attacks::trained::images;
use crate::evaluation::judging::{entry, honest, ids, judged, judged_in};

const N: usize = 100;

/// The honest network behind pixels that are rounded, so that it has no gradient.
fn rounded() -> Frozen {
    honest().inside(|network, pixels| network.logits(&((pixels * 8.0)?.round()? / 8.0)?.detach()))
}

/// Within one evaluation, Square comes after PGD and breaks what that left.
#[test]
fn squares_after_blind_gradients_are_told() {
    let keys = "attacks = [{ pgd = { steps = 10 } }, { square = { queries = 100 } }]";
    let compared = judged(&rounded(), &images(N), &[entry("both", 0.15, keys)]);
    let both = &compared.evaluations[1];
    assert_eq!(ids(&both.warnings), ["vanished-gradients", "black-box-beats-gradients"]);
    let told = &both.warnings[1];
    assert!(told.is_severe() && told.text.contains("which sees no gradients"), "{told}");
    let broken = both.attacks[1].broken;
    assert_eq!(told.figure, Some(broken as f64 / N as f64));
    assert!(broken >= 5, "{broken}");
    assert_eq!(ids(&compared.warnings), ["unbounded-attack-fails"]);
    // If Square runs before PGD, it says nothing about PGD.
    let keys = "attacks = [{ square = { queries = 100 } }, { pgd = { steps = 10 } }]";
    let first = judged(&rounded(), &images(N), &[entry("both", 0.15, keys)]);
    assert!(!ids(&first.evaluations[1].warnings).contains(&"black-box-beats-gradients"));
}

/// The same attacks in two evaluations. The warning is about the one of PGD.
#[test]
fn squares_beside_blind_gradients_are_told() {
    let pgd = entry("pgd", 0.15, "attack.pgd = { steps = 10 }");
    let square = entry("square", 0.15, "attack.square = { queries = 100 }");
    let compared = judged(&rounded(), &images(N), &[pgd, square]);
    let [natural, pgd, square] = &compared.evaluations[..] else { panic!("three evaluations") };
    assert_eq!(ids(&pgd.warnings), ["vanished-gradients", "black-box-beats-gradients"]);
    assert!(natural.warnings.is_empty() && square.warnings.is_empty());
    let told = &pgd.warnings[1];
    assert!(told.is_severe() && told.text.starts_with("`square`, without gradients, broke"), "{told}");
    assert!(told.figure.unwrap() >= pgd.accuracy - square.accuracy - 1e-9, "{told}");
    assert!(told.figure.unwrap() >= 0.05, "{told}");
}

/// Short steps from the clean image: ten of them reach a fifth of the radius, fifty all of it.
#[test]
fn steps_that_still_break_more_are_told() {
    let of = |name: &str, steps: usize| {
        let keys = format!("attack.pgd = {{ steps = {steps}, step = 0.004, start = \"clean\" }}");
        entry(name, 0.2, &keys)
    };
    let compared = judged(&honest(), &images(N), &[of("many", 50), of("few", 10)]);
    let [_, many, few] = &compared.evaluations[..] else { panic!("three evaluations") };
    let told = many.warnings.iter().find(|warning| warning.id == "more-steps-still-help").unwrap();
    assert!(!told.is_severe() && told.text.starts_with("50 steps still break"), "{told}");
    assert!(told.text.ends_with("more than the 10 steps of `few`"), "{told}");
    // Every image that few steps break is also broken by more of the same steps.
    let lead = few.accuracy - many.accuracy;
    assert!(lead > 0.1 && (told.figure.unwrap() - lead).abs() < 1e-9, "{told}, {lead}");
    assert_eq!(ids(&few.warnings), ["attack-parameters"]);
}

/// A bright first pixel makes every image class 9. It has no gradient, but one in four random starts is so bright.
#[test]
fn restarts_that_still_break_more_are_told() {
    let network = honest().inside(|network, pixels| {
        let first = pixels.flatten_from(1)?.narrow(1, 0, 1)?.detach();
        let lit = (first.gt(0.05)?.to_dtype(pixels.dtype())? * 1e3)?;
        let mut class = [0_f32; 10];
        class[9] = 1.0;
        let class = Tensor::new(&class, pixels.device())?;
        Ok((network.logits(pixels)? + lit.broadcast_mul(&class)?)?)
    });
    let of = |restarts: usize| {
        let keys = format!("restarts = {restarts}\nattack.pgd = {{ steps = 2, step = 0.001 }}");
        judged(&network, &images(N), &[entry("a", 0.1, &keys)])
    };
    let compared = of(2);
    let attacked = &compared.evaluations[1];
    // The steps are far too short, which is another caution.
    assert_eq!(ids(&attacked.warnings), ["attack-parameters", "restarts-still-help"]);
    let told = &attacked.warnings[1];
    assert!(!told.is_severe() && told.text.contains("the last of 2 restarts still broke"), "{told}");
    let once = of(1);
    assert_eq!(ids(&once.evaluations[1].warnings), ["attack-parameters"]);
    // The first of both runs is the only one of an entry without restarts.
    let last = once.evaluations[1].accuracy - attacked.accuracy;
    assert!((told.figure.unwrap() - last).abs() < 1e-9, "{told}, {last}");
}

/// The logit of class 9 is so low that it is never the largest.
#[test]
fn a_class_that_is_never_predicted_is_told() {
    let network = honest().inside(|network, pixels| {
        let mut pushed = [0_f32; 10];
        pushed[9] = -1e3;
        Ok(network.logits(pixels)?.broadcast_add(&Tensor::new(&pushed, pixels.device())?)?)
    });
    let source = images(N);
    let compared = judged(&network, &source, &[]);
    assert_eq!(ids(&compared.evaluations[0].warnings), Vec::<&str>::new());
    assert_eq!(ids(&compared.warnings), ["classes-never-predicted"]);
    let told = &compared.warnings[0];
    let boots = (0..N).filter(|i| source.read(*i).unwrap().1 == 9).count();
    assert_eq!(told.figure, Some(boots as f64 / N as f64));
    let text = format!("no image is taken for class 9, though {boots} of {N} are of these classes");
    assert!(!told.is_severe() && told.text == text, "{told}");
    assert_eq!(ids(&judged(&honest(), &source, &[]).warnings), Vec::<&str>::new());
}

/// Of ten classes, images of five.
#[test]
fn classes_without_images_are_told() {
    let all = images(200);
    let half = (0..all.len()).filter(|i| all.read(*i).unwrap().1 < 5).map(|i| all.index(i));
    let half: Vec<usize> = half.collect();
    let source: Arc<dyn Source> = Arc::new(Part::of(&all, &half).unwrap());
    let compared = judged(&honest(), &source, &[]);
    assert_eq!(ids(&compared.evaluations[0].warnings), Vec::<&str>::new());
    assert_eq!(ids(&compared.warnings), ["classes-without-images"]);
    let told = &compared.warnings[0];
    assert!(!told.is_severe() && told.text.contains("is of classes 5, 6, 7, 8, 9: accuracies"), "{told}");
    assert_eq!(told.figure, Some(0.5));
}

/// A square root of a negative number where an image is bright on the whole.
#[test]
fn logits_that_are_no_numbers_are_told() {
    let network = honest().inside(|network, pixels| {
        let left = pixels.flatten_from(1)?.mean(1)?.affine(-1.0, 0.49)?;
        let nothing = (left.sqrt()? * 0.0)?.unsqueeze(1)?;
        Ok(network.logits(pixels)?.broadcast_add(&nothing)?)
    });
    let source = images(N);
    let compared = judged(&network, &source, &[]);
    let natural = &compared.evaluations[0];
    assert_eq!(ids(&natural.warnings), ["undefined-logits"]);
    let told = &natural.warnings[0];
    let mean = |i: usize| {
        let pixels = source.read(i).unwrap().0.floats().to_vec();
        pixels.iter().sum::<f32>() / pixels.len() as f32
    };
    let bright = (0..N).filter(|i| mean(*i) > 0.49).count();
    assert!(bright > 0, "the test is empty");
    assert!(told.is_severe() && told.figure == Some(bright as f64 / N as f64), "{told}, {bright}");
    assert_eq!(ids(&compared.warnings), Vec::<&str>::new());
    // They count as errors.
    assert!(natural.accuracy < judged(&honest(), &source, &[]).evaluations[0].accuracy);
}

/// The ids of the warnings about the honest network under one entry.
fn of_entry(setting: &Setting, keys: &str) -> Vec<String> {
    let compared = judged_in(setting, &images(N), &[entry("a", 0.1, keys)]);
    ids(&compared.evaluations[1].warnings).into_iter().map(Into::into).collect()
}

#[test]
fn entries_that_ask_for_what_an_attack_cannot_do_are_told() {
    let network = honest();
    let setting = Setting::new(&network, 50, 3, &Device::Cpu);
    let told = |keys: &str| of_entry(&setting, keys);
    // DeepFool minimises l2 distances by default; the radius is in l-inf.
    assert_eq!(told("attack.deepfool = {}"), ["minimum-norm-elsewhere"]);
    // One step reaches the boundary of few images.
    assert_eq!(told("attack.deepfool = { norm = \"linf\", steps = 1 }"), ["nothing-found"]);
    assert_eq!(told("restarts = 3\nattack.fgsm = {}"), ["restarts-without-draws"]);
    // Each has a neighbour that is not told.
    for quiet in ["attack.deepfool = { norm = \"linf\" }", "restarts = 3\nattack.pgd = { steps = 20 }"] {
        assert_eq!(told(quiet), Vec::<String>::new(), "{quiet}");
    }
}

#[test]
fn a_norm_that_training_did_not_have_is_told() {
    let network = honest();
    let setting =
        |trained_in| Setting { trained_in: Some(trained_in), ..Setting::new(&network, 50, 3, &Device::Cpu) };
    let pgd = "attack.pgd = { steps = 20 }";
    assert_eq!(of_entry(&setting(Norm::L2), pgd), ["other-norm-than-training"]);
    assert_eq!(of_entry(&setting(Norm::Linf), pgd), Vec::<String>::new());
}

/// Radii of which few images survive, and radii that nearly all survive.
#[test]
fn radii_of_training_that_do_not_hold_are_told() {
    let (network, source) = (honest(), images(N));
    let told = |radius: f64| {
        let radii = (0..N).map(|i| (source.index(i) as u64, radius)).collect();
        let setting = Setting { radii: Some(&radii), ..Setting::new(&network, 50, 3, &Device::Cpu) };
        of_entry(&setting, "attack.pgd = { steps = 20 }")
    };
    assert_eq!(told(0.2), ["own-radii-broken"]);
    assert_eq!(told(0.005), Vec::<String>::new());
}
