//! Attacks beside those of foolbox, torchattacks and adv-lib on a trained network and 500 images of Fashion-MNIST, as
//! docs/peers.md tells: `peers/peers.py` made what is compared with, `peers.toml` beside it has our parameters.

use serde_json::Value;
use temper_core::nn::Frozen;
use temper_core::{Ball, Batch, Goal, Passes, Rng, Victim, VictimNetwork, perturb};
use temper_evaluate::Entry;

use crate::attacks::trained::trained;
use crate::support::root;

const N: usize = 500;
/// 0.3 points of accuracy.
const POINTS: f64 = 0.003;
/// Share by which a median distance may be the larger one.
const MEDIAN: f64 = 1.02;

/// What an attack does to each image: did it fall, and how far away; infinite where nothing was found.
struct PeerOutcome {
    broken: Vec<bool>,
    distances: Vec<f64>,
}

impl PeerOutcome {
    fn accuracy(&self) -> f64 {
        self.broken.iter().filter(|b| !**b).count() as f64 / self.broken.len() as f64
    }
}

/// The stored network, its images, the entries of the pipeline, and what other libraries did.
struct Trained {
    frozen: Frozen,
    batch: Batch,
    entries: Vec<Entry>,
    peers: Value,
}

impl Trained {
    fn load() -> Self {
        let folder = root().join("tests/attacks/peers");
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        let pipeline: toml::Table = read("peers.toml").parse().unwrap();
        let (classifier, batch) = trained(N);
        Self {
            frozen: Frozen::new(&classifier).unwrap(),
            batch,
            entries: pipeline["evaluate"].clone().try_into().unwrap(),
            peers: serde_json::from_str(&read("peers.json")).unwrap(),
        }
    }

    fn entry(&self, name: &str) -> &Entry {
        self.entries.iter().find(|entry| entry.name == name).unwrap()
    }

    /// Which images are misclassified as they are, as the libraries' side stored it.
    fn natural(&self) -> Vec<bool> {
        flags(&self.peers["natural"])
    }

    fn peer(&self, name: &str) -> PeerOutcome {
        let stored = &self.peers["attacks"][name];
        let far = |d: &Value| d.as_f64().unwrap_or(f64::INFINITY);
        let distances = stored["distances"].as_array().map(|all| all.iter().map(far).collect());
        PeerOutcome { broken: flags(&stored["broken"]), distances: distances.unwrap_or_default() }
    }

    /// Runs an entry as an evaluation does, on those of `chosen` that are classified correctly; the others
    /// count as broken.
    fn run(&self, name: &str, chosen: &[bool]) -> PeerOutcome {
        let (entry, passes) = (self.entry(name), Passes::default());
        let victim =
            Victim::new(VictimNetwork::Frozen(&self.frozen), &self.batch, Goal::Mistake, &passes).unwrap();
        let correct = victim.broken(&self.batch.pixels).unwrap();
        let attacked: Vec<bool> =
            correct.iter().zip(chosen).map(|(broken, chosen)| !broken && *chosen).collect();
        let victim = victim.rows(&attacked).unwrap();
        let radii = vec![entry.radius.unwrap().get(); victim.len()];
        let ball = Ball::new(victim.pixels(), &radii, entry.norm(), victim.ids()).unwrap();
        let rng = Rng::new(0, "evaluate").named(name);
        let found = perturb(entry.attack.as_ref().unwrap(), &victim, &ball, &rng).unwrap();
        let mut fell = victim.broken(&found.pixels).unwrap().into_iter();
        let mut far = found.distances.map(Vec::into_iter);
        let broken = attacked.iter().map(|attacked| !attacked || fell.next().unwrap()).collect();
        let mut distance = |attacked: &bool| match (&mut far, attacked) {
            (Some(far), true) => far.next().unwrap(),
            _ => f64::INFINITY,
        };
        PeerOutcome { broken, distances: attacked.iter().map(&mut distance).collect() }
    }
}

fn flags(text: &Value) -> Vec<bool> {
    text.as_str().unwrap().bytes().map(|b| b == b'1').collect()
}

/// The median of what `mask` names.
fn median(values: &[f64], mask: &[bool]) -> f64 {
    let mut values: Vec<f64> =
        values.iter().zip(mask).filter(|(_, named)| **named).map(|(v, _)| *v).collect();
    values.sort_unstable_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

/// The images compared, and how far ours and theirs are at the median of those classified correctly.
fn medians(trained: &Trained, ours: &PeerOutcome, theirs: &PeerOutcome, chosen: &[bool]) -> (f64, f64) {
    let mask: Vec<bool> =
        trained.natural().iter().zip(chosen).map(|(broken, chosen)| !broken && *chosen).collect();
    (median(&ours.distances, &mask), median(&theirs.distances, &mask))
}

#[test]
fn attacks_that_draw_nothing_break_the_images_that_other_libraries_break() {
    let trained = Trained::load();
    let mut seen = 0;
    for entry in &trained.entries {
        let name = &entry.name;
        if entry.attack.is_none() || ["random", "deepfool", "cw"].iter().any(|word| name.contains(word)) {
            continue;
        }
        seen += 1;
        let (ours, theirs) = (trained.run(name, &[true; N]), trained.peer(name));
        let apart: Vec<usize> = (0..N).filter(|i| ours.broken[*i] != theirs.broken[*i]).collect();
        assert!((ours.accuracy() - theirs.accuracy()).abs() < POINTS, "{name}: images {apart:?} differ");
        assert!(apart.len() <= 2, "{name}: images {apart:?} differ");
    }
    assert_eq!(seen, 9);
}

#[test]
fn random_starts_leave_as_many_images_as_in_foolbox() {
    let trained = Trained::load();
    let stored = &trained.peers["attacks"]["foolbox-pgd-random"]["accuracies"];
    let theirs: Vec<f64> = stored.as_array().unwrap().iter().map(|a| a.as_f64().unwrap()).collect();
    let ours: Vec<f64> =
        (1..=5).map(|i| trained.run(&format!("foolbox-pgd-random-{i}"), &[true; N]).accuracy()).collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    // Draws differ by half a point or so from each other.
    assert!((mean(&ours) - mean(&theirs)).abs() < 0.01, "{ours:?}, there {theirs:?}");
}

#[test]
fn deepfool_goes_as_far_on_a_trained_network_as_in_other_libraries() {
    let trained = Trained::load();
    let all = [true; N];
    for name in ["foolbox-deepfool-l2", "advlib-deepfool-l2", "foolbox-deepfool-linf", "advlib-deepfool-linf"]
    {
        let (ours, theirs) = (trained.run(name, &all), trained.peer(name));
        assert!((ours.accuracy() - theirs.accuracy()).abs() < POINTS, "{name}: {}", ours.accuracy());
        let (our, their) = medians(&trained, &ours, &theirs, &all);
        assert!(our < their * MEDIAN && our > their / MEDIAN, "{name}: {our}, there {their}");
    }
    // Without a margin samples stay on the boundary, in torchattacks more than here.
    let name = "torchattacks-deepfool-l2";
    let (ours, theirs) = (trained.run(name, &all), trained.peer(name));
    let (our, their) = medians(&trained, &ours, &theirs, &all);
    assert!(our < their * MEDIAN && ours.accuracy() < theirs.accuracy() + POINTS, "{our}, there {their}");
}

#[test]
fn carlini_and_wagner_come_as_near_on_a_trained_network_as_other_libraries() {
    let trained = Trained::load();
    let few: Vec<bool> = (0..N).map(|i| i % 25 == 0).collect();
    for name in ["foolbox-cw-l2", "torchattacks-cw-l2", "advlib-cw-linf"] {
        let (ours, theirs) = (trained.run(name, &few), trained.peer(name));
        let (our, their) = medians(&trained, &ours, &theirs, &few);
        assert!(our < their * MEDIAN, "{name}: {our}, there {their}");
    }
}
