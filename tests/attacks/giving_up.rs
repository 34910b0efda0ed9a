//! No attack may give up on a sample that it would break if it went on: early stops, on many kinds of images
//! and sizes of logits.

use candle_core::DType;
use temper_core::nn::{Classifier, Frozen};
use temper_core::{Attack, Batch, Chosen, Kind, Norm, Rng};

use crate::attacks::trained::{as_seen, count, scaled, trained, under};
use crate::support::{affordable, attack, small_network};

/// Sizes of logits.
const SCALES: [f64; 3] = [1e-3, 1.0, 1e3];

/// Images of many kinds in the shape `[c, h, w]`, two of each: smooth as photographs are, noise, one grey,
/// black and white, two values.
fn kinds([c, h, w]: [usize; 3]) -> Vec<f32> {
    let mut pixels = vec![];
    for i in 0..2u64 {
        let noise = Rng::new(3, "noise").uniform(&[i], c * h * w);
        let phase = Rng::new(3, "phases").uniform(&[i], 4);
        let smooth: Vec<f32> = (0..c * h * w)
            .map(|at| {
                let (y, x) = ((at / w % h) as f32 / h as f32, (at % w) as f32 / w as f32);
                let wave =
                    |k: usize| ((x * phase[k] + y * phase[k + 1] + (at / (h * w)) as f32 * 0.2) * 6.0).sin();
                (0.5 + 0.25 * wave(0) + 0.2 * wave(2)).clamp(0.02, 0.98)
            })
            .collect();
        pixels.extend(&smooth);
        pixels.extend(noise.iter().map(|v| f32::midpoint(*v, 1.0)));
        pixels.extend(std::iter::repeat_n(0.3 + 0.4 * i as f32, c * h * w));
        pixels.extend(smooth.iter().map(|v| if *v > 0.5 { 1.0 } else { 0.0 }));
        pixels.extend(smooth.iter().map(|v| if *v > 0.5 { 0.8 } else { 0.1 }));
    }
    pixels
}

/// The first half.
fn one_of_each(batch: &Batch) -> Batch {
    let half = batch.len() / 2;
    Batch {
        pixels: batch.pixels.narrow(0, 0, half).unwrap(),
        labels: batch.labels.narrow(0, 0, half).unwrap(),
        ids: batch.ids[..half].to_vec(),
    }
}

/// A network as it begins, of two channels, and a trained one, of one.
fn networks() -> [(&'static str, Classifier); 2] {
    [("small", small_network(DType::F32)), ("trained", trained(1).0)]
}

/// Calls `f` with every network at every size of logits, and images of all kinds.
fn each(f: &mut dyn FnMut(&str, f64, &Frozen, &Batch)) {
    for (name, classifier) in networks() {
        let shape = classifier.network().input_shape();
        for scale in SCALES {
            let frozen = Frozen::new(&scaled(&classifier, scale)).unwrap();
            f(name, scale, &frozen, &as_seen(&frozen, kinds(shape)));
        }
    }
}

/// Whom a minimum-norm attack breaks, and how far away.
fn distances(frozen: &Frozen, batch: &Batch, attack: &Chosen<dyn Attack>) -> Vec<f64> {
    under(frozen, batch, attack, (Norm::Linf, 1.0)).0.distances.unwrap()
}

#[test]
fn an_early_stop_ends_no_sample_that_the_same_attack_breaks_without_it() {
    // As many steps as lead from the edge of tanh, where black and white begin, and two looks at the progress.
    let common = "learning_rate = 0.06, binary_search_steps = 4, initial_const = 0.1";
    each(&mut |name, scale, frozen, batch| {
        if scale > 1.0 || (name == "small" && scale < 1.0) {
            return;
        }
        // One of each kind.
        let batch = &one_of_each(batch);
        let run = |more: &str| distances(frozen, batch, &attack(&format!("cw-l2 = {{ {common}, {more} }}")));
        let stopped = run("steps = 210");
        let whole = run("steps = 210, abort_early = false");
        for i in 0..batch.len() {
            let (stopped, whole) = (stopped[i], whole[i]);
            assert!(
                stopped.is_finite() || whole.is_infinite(),
                "{name} x {scale}: image {i} stands, and is broken at {whole} without early stops"
            );
            assert!(stopped <= whole * 1.1 + 0.01, "{name} x {scale}: image {i} at {stopped}, not {whole}");
        }
    });
}

/// A power of two changes no bit of a network's logits but their exponent, and nothing that looks at the
/// slope alone may notice.
#[test]
fn logits_twice_as_large_are_the_same_logits() {
    for (name, classifier) in networks() {
        let shape = classifier.network().input_shape();
        for text in [
            "deepfool = {}",
            "deepfool = { norm = \"linf\" }",
            "cw-ball = {}",
            "cw-ball = { target = \"random\" }",
        ] {
            let run = |scale: f64| {
                let frozen = Frozen::new(&scaled(&classifier, scale)).unwrap();
                let batch = as_seen(&frozen, kinds(shape));
                let (got, broken, _) = under(&frozen, &batch, &attack(text), (Norm::Linf, 0.1));
                (got.pixels.flatten_all().unwrap().to_vec1::<f32>().unwrap(), got.distances, broken)
            };
            let plain = run(1.0);
            for scale in [f64::powi(2.0, -10), f64::powi(2.0, 10)] {
                let (pixels, distances, broken) = run(scale);
                assert!(broken == plain.2, "{name}, {text} x {scale}: {broken:?}, else {:?}", plain.2);
                assert!(pixels == plain.0 && distances == plain.1, "{name}, {text} x {scale}: other images");
            }
        }
    }
}

/// Of every registered attack: what it breaks it breaks whatever the size of the logits.
#[test]
fn no_attack_gives_up_for_the_size_of_the_logits() {
    for (name, classifier) in networks() {
        let shape = classifier.network().input_shape();
        let plain = Frozen::new(&classifier).unwrap();
        let batch = as_seen(&plain, kinds(shape));
        for plugin in <dyn Attack>::plugins() {
            let attack = affordable(plugin.name);
            let radius = if attack.min_norm().is_some() { 1.0 } else { 0.08 };
            let run = |scale: f64| {
                let frozen = Frozen::new(&scaled(&classifier, scale)).unwrap();
                let (got, broken, passes) = under(&frozen, &batch, &attack, (Norm::Linf, radius));
                (got.distances, broken, passes.vanished().len())
            };
            let (far, broken, vanished) = run(1.0);
            assert_eq!(vanished, 0, "{name}, {}", plugin.name);
            for scale in [1e-3, 1e3] {
                let (far_there, there, vanished) = run(scale);
                assert_eq!(vanished, 0, "{name}, {} x {scale}", plugin.name);
                match &far {
                    Some(_) => {
                        let lost = (0..batch.len()).find(|i| broken[*i] && !there[*i]);
                        assert_eq!(
                            lost, None,
                            "{name}, {} x {scale}: stands, {far_there:?} for {far:?}",
                            plugin.name
                        );
                    }
                    // Of the log odds the other classes' shares are others where logits are: one image in ten
                    // may be on the other side.
                    None => assert!(
                        count(&there) + 1 >= count(&broken),
                        "{name}, {} x {scale}: {there:?}",
                        plugin.name
                    ),
                }
            }
        }
    }
}
