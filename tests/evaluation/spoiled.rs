//! Checks on networks that deserve their warnings, and on the honest network that they are made of.

use candle_core::Tensor;
use temper_core::log_softmax;
use temper_evaluate::{Compared, Entry};
use temper_nn::{Frozen, Result};
use temper_results::Warning;

use crate::attacks::trained::{images, scaled, trained};
use crate::evaluation::judging::{self, honest, warnings};

const N: usize = 100;

/// An entry within the radius of the network's training.
fn entry(attack: &str) -> Entry {
    judging::entry("a", 0.1, attack)
}

/// A network judged unperturbed and under an entry.
fn judged(network: &Frozen, entry: &Entry) -> Compared {
    judging::judged(network, &images(N), std::slice::from_ref(entry))
}

/// The ids of severe warnings about a network under PGD.
fn severe(network: &Frozen) -> Vec<String> {
    let all = warnings(&judged(network, &entry("attack.pgd = { steps = 20 }")));
    all.into_iter().filter(Warning::is_severe).map(|warning| warning.id).collect()
}

/// The ids of severe warnings about the honest network inside a function.
fn spoiled(defence: impl Fn(&Frozen, &Tensor) -> Result<Tensor> + Send + Sync + 'static) -> Vec<String> {
    severe(&honest().inside(defence))
}

#[test]
fn an_honest_network_gives_no_warning() {
    for attack in
        ["attack.pgd = { steps = 20 }", "suite = \"apgd-suite\"", "attack.deepfool = { norm = \"linf\" }"]
    {
        let compared = judged(&honest(), &entry(attack));
        assert_eq!(warnings(&compared), [], "{attack}");
    }
}

#[test]
fn random_numbers_in_the_network_are_told() {
    let ids = spoiled(|network, pixels| {
        let noise = pixels.randn_like(0.0, 0.05)?;
        network.logits(&(pixels + noise)?)
    });
    assert_eq!(ids, ["silent-success", "random-output"]);
    // An attack that follows the mean of several passes does what can be done.
    let network = honest().inside(|network, pixels| {
        let noise = pixels.randn_like(0.0, 0.05)?;
        network.logits(&(pixels + noise)?)
    });
    let averaged = warnings(&judged(&network, &entry("attack.apgd = { steps = 10, eot = 5 }")));
    let told = averaged.iter().find(|warning| warning.id == "random-output").unwrap();
    assert!(!told.is_severe());
}

/// Nothing is said of gradients where no attack follows them.
#[test]
fn a_network_without_gradients_judged_by_queries_alone_is_not_told_of() {
    let network =
        honest().inside(|network, pixels| network.logits(&((pixels * 8.0)?.round()? / 8.0)?.detach()));
    let square = judged(&network, &entry("attack.square = { queries = 20 }"));
    assert_eq!(warnings(&square), []);
}

#[test]
fn probabilities_in_the_place_of_logits_are_told() {
    let ids = spoiled(|network, pixels| Ok(log_softmax(&network.logits(pixels)?).unwrap().exp()?));
    assert_eq!(ids, ["probabilities-for-logits"]);
}

#[test]
fn statistics_of_the_batch_are_told() {
    let ids = spoiled(|network, pixels| {
        let centred = pixels.broadcast_sub(&pixels.mean_keepdim(0)?)?;
        network.logits(&(centred + 0.3)?)
    });
    assert_eq!(ids, ["silent-success", "depends-on-batch"]);
}

/// Rounding has no gradient, so that attacks see nothing.
#[test]
fn pixels_that_are_rounded_are_told() {
    let ids = spoiled(|network, pixels| network.logits(&((pixels * 8.0)?.round()? / 8.0)?.detach()));
    assert_eq!(ids, ["vanished-gradients", "unbounded-attack-fails"]);
}

/// The gradient goes straight through a step that is not there for small changes.
#[test]
fn steps_whose_gradient_was_replaced_are_told() {
    let ids = spoiled(|network, pixels| {
        let stepped = ((pixels * 8.0)?.round()? / 8.0)?;
        network.logits(&(pixels + (stepped - pixels)?.detach())?)
    });
    assert!(ids.contains(&"gradients-differ-from-differences".into()), "{ids:?}");
}

/// The gradient leads away from adversarial images.
#[test]
fn a_gradient_of_the_wrong_sign_is_told() {
    let ids = spoiled(|network, pixels| network.logits(&((pixels.detach() * 2.0)? - pixels)?));
    assert!(ids.contains(&"gradients-differ-from-differences".into()), "{ids:?}");
}

/// A sigmoid so steep that its own gradient is rounded to 0 nearly everywhere.
#[test]
fn a_steep_sigmoid_is_told() {
    let ids = spoiled(|network, pixels| {
        let steep = ((pixels - 0.5)? * -400.0)?.exp()?;
        network.logits(&(steep + 1.0)?.recip()?)
    });
    let about_gradients =
        ["vanished-gradients", "unbounded-attack-fails", "gradients-differ-from-differences"];
    assert!(ids.iter().any(|id| about_gradients.contains(&&**id)), "{ids:?}");
}

/// A wave over the sum of all pixels, so short that noise of a few 8-bit levels moves it by many periods. The gradient
/// is that of the loss.
#[test]
fn a_loss_that_is_rough_is_told() {
    let network = honest().inside(|network, pixels| {
        let sum = pixels.flatten_from(1)?.sum_keepdim(1)?;
        let wave = ((sum * 30.0)?.sin()? * 20.0)?;
        let mut class = [0_f32; 10];
        class[9] = 1.0;
        let class = Tensor::new(&class, pixels.device())?.unsqueeze(0)?;
        Ok((network.logits(pixels)? + wave.broadcast_mul(&class)?)?)
    });
    let all = warnings(&judged(&network, &entry("attack.pgd = { steps = 20 }")));
    let told = all.iter().find(|warning| warning.id == "unstable-optimisation").unwrap();
    assert!(!told.is_severe() && told.figure.unwrap() > 0.5, "{told}");
}

/// Cross-entropy loses its gradient where logits are large. What attacks raise here does not, so that there is
/// nothing to warn of. Of log odds only the largest wrong logit remains, so that single images may differ.
#[test]
fn scaled_logits_change_neither_the_number_nor_warnings() {
    let pgd = entry("attack.pgd = { steps = 20 }");
    let plain = judged(&honest(), &pgd);
    let large = judged(&Frozen::new(&scaled(&trained(N).0, 1e4)).unwrap(), &pgd);
    assert_eq!(warnings(&large), []);
    let difference = large.evaluations[1].accuracy - plain.evaluations[1].accuracy;
    assert!(difference.abs() < 0.025, "{difference}");
}

#[test]
fn an_attack_that_ends_too_early_is_told() {
    let compared = judged(&honest(), &entry("attack.pgd = { steps = 50, step = 0.002, start = \"clean\" }"));
    let told: Vec<String> = warnings(&compared).into_iter().map(|warning| warning.id).collect();
    assert_eq!(told, ["incomplete-optimisation"]);
}

/// A gradient that leads the wrong way: what a random start broke, steps mend, and only the last image counts.
#[test]
fn images_that_an_attack_let_go_are_told() {
    let network = honest().inside(|network, pixels| {
        // The value of the pixels, and the gradient of their negative.
        network.logits(&((pixels.detach() * 2.0)? - pixels)?)
    });
    let under = |success: &str| {
        let attack = format!("attack.pgd = {{ steps = 20, success = \"{success}\" }}");
        judged(&network, &judging::entry("a", 0.3, &attack))
    };
    let compared = under("final");
    let silent = compared.evaluations[1].attacks.iter().map(|cost| cost.silent).max().unwrap();
    assert!(silent > 0, "the test is empty");
    let told = warnings(&compared).into_iter().find(|warning| warning.id == "silent-success").unwrap();
    assert_eq!(told.figure, Some(silent as f64 / N as f64));
    // Every iterate counts where it is asked to.
    let any = under("any").evaluations;
    assert!(any[1].accuracy < compared.evaluations[1].accuracy);
    assert!(any[1].attacks.iter().all(|cost| cost.silent == 0));
}

#[test]
fn logits_of_another_shape_are_an_error() {
    let network = honest().inside(|network, pixels| Ok(network.logits(pixels)?.narrow(1, 0, 3)?));
    let pixels = trained(4).1.pixels;
    let said = network.logits(&pixels).unwrap_err().to_string();
    assert_eq!(said, "the function around the network returned logits of shape [4, 3], not [4, 10]");
}
