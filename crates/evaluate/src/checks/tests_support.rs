//! Evidence for tests of checks.

use std::ops::Range;

use temper_core::nn::{Classifier, Frozen, Network};
use temper_core::prelude::*;
use temper_core::{Device, Member};
use temper_results::{Cost, Curve, Distances, Over, Point};

use crate::Setting;
use crate::checks::{Evidence, Found};
use crate::entry::Entry;
use crate::seen::{AttackFacts, Clean, Seen, Together};

plugin! { Attack "pgd";
    /// An attack of many steps along gradients, for tests.
    pub struct Iterated {
        /// Steps.
        pub steps: NonZeroUsize = nonzero(20),
    }
}

impl Attack for Iterated {
    fn steps(&self) -> Option<usize> {
        Some(self.steps.get())
    }
    fn warning(&self, radius: f64) -> Option<String> {
        (radius > 0.9).then(|| "too short".into())
    }
    fn perturb(&self, _victim: &Victim, ball: &Ball, _rng: &Rng) -> Result<Tensor> {
        Ok(ball.center().clone())
    }
}

plugin! { Attack "fgsm";
    /// An attack of one step that draws nothing, for tests.
    pub struct Once {}
}

impl Attack for Once {
    fn most_passes(&self, _classes: usize) -> Option<[u64; 2]> {
        Some([1, 1])
    }
    fn draws(&self) -> bool {
        false
    }
    fn perturb(&self, _victim: &Victim, ball: &Ball, _rng: &Rng) -> Result<Tensor> {
        Ok(ball.center().clone())
    }
}

plugin! { Attack "query";
    /// An attack that sees logits only, for tests.
    pub struct Query {}
}

impl Attack for Query {
    fn needs(&self) -> Access {
        Access::Scores
    }
    fn perturb(&self, _victim: &Victim, ball: &Ball, _rng: &Rng) -> Result<Tensor> {
        Ok(ball.center().clone())
    }
}

plugin! { Attack "deepfool";
    /// A minimum-norm attack in l-inf, for tests.
    pub struct Nearest {}
}

impl Attack for Nearest {
    fn min_norm(&self) -> Option<Norm> {
        Some(Norm::Linf)
    }
    fn perturb(&self, _victim: &Victim, ball: &Ball, _rng: &Rng) -> Result<Tensor> {
        Ok(ball.center().clone())
    }
}

/// A network with two classes for images of two pixels; the brighter pixel determines the class.
pub(crate) fn network() -> Frozen {
    let mut network = Network::new([1, 1, 2]);
    network.linear(network.input(), "fc", 2).unwrap();
    let weights = [
        ("fc.weight", Tensor::new(&[[1_f32, -1.0], [-1.0, 1.0]], &Device::Cpu).unwrap()),
        ("fc.bias", Tensor::new(&[0_f32, 0.0], &Device::Cpu).unwrap()),
    ];
    let weights = weights.map(|(name, values)| (name.to_string(), values)).into();
    Frozen::new(&Classifier::new(network, &weights).unwrap()).unwrap()
}

/// An evaluation and the totals of its records.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) attacks: &'static [&'static str],
    pub(super) norm: Norm,
    pub(super) radius: f64,
    pub(super) restarts: usize,
    pub(super) trained_in: Option<Norm>,
    pub(super) n: usize,
    pub(super) standing: usize,
    pub(super) right: usize,
    pub(super) undefined: usize,
    pub(super) costs: Vec<Cost>,
    pub(super) distances: Option<Distances>,
    pub(super) curve: Option<Curve>,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            attacks: &[],
            norm: Norm::Linf,
            radius: 0.1,
            restarts: 1,
            trained_in: None,
            n: 0,
            standing: 0,
            right: 0,
            undefined: 0,
            costs: vec![],
            distances: None,
            curve: None,
        }
    }
}

impl Case {
    pub(super) fn with<T>(&self, find: impl Fn(&Evidence) -> T) -> T {
        let frozen = network();
        let mut setting = Setting::new(&frozen, 8, 0, &Device::Cpu);
        setting.trained_in = self.trained_in;
        let attacks = self.attacks.iter().map(|text| Member::parse(text).unwrap().attack).collect();
        let entry = Entry {
            name: "a".into(),
            attacks: Some(attacks),
            norm: Some(self.norm),
            radius: Some(Distance::of_255(self.radius * 255.0)),
            restarts: NonZeroUsize::new(self.restarts),
            ..Entry::default()
        };
        let members = entry.members(2).unwrap();
        find(&Evidence {
            setting: &setting,
            entry: &entry,
            members: &members,
            n: self.n,
            standing: self.standing,
            right: self.right,
            undefined: self.undefined,
            largest_class: self.n / 5,
            attacks: &self.costs,
            distances: self.distances.as_ref(),
            curve: self.curve.as_ref(),
        })
    }
}

/// The cost of an attack.
pub(super) fn cost(attack: &str, attacked: usize, broken: usize) -> Cost {
    Cost { attack: attack.into(), attacked, broken, ..Cost::default() }
}

/// A curve of these points.
pub(super) fn curve(over: Over, points: &[(f64, f64)]) -> Curve {
    let point = |(at, accuracy): &(f64, f64)| Point { at: *at, accuracy: *accuracy, interval: [0.0, 1.0] };
    Curve { over, points: points.iter().map(point).collect() }
}

/// An attack of this many steps along gradients.
pub(super) fn pgd(steps: usize) -> AttackFacts {
    AttackFacts::of(&Member::parse(&format!("pgd = {{ steps = {steps} }}")).unwrap(), 2)
}

/// An attack that uses only logits.
pub(super) fn query() -> AttackFacts {
    AttackFacts::of(&Member::parse("query = {}").unwrap(), 2)
}

/// A minimum-norm attack.
pub(super) fn nearest() -> AttackFacts {
    AttackFacts::of(&Member::parse("deepfool = {}").unwrap(), 2)
}

/// An evaluation of `n` images by one attack, which broke those of `broken` within the radius.
pub(super) fn seen(name: &str, attack: AttackFacts, radius: f64, broken: Range<u64>, n: u64) -> Seen {
    let at = |sample: u64| if broken.contains(&sample) { radius } else { f64::INFINITY };
    Seen {
        name: name.into(),
        norm: Some(Norm::Linf),
        radii: vec![radius],
        attacks: vec![attack],
        broken_at: (0..n).map(|sample| (sample, at(sample))).collect(),
        ..Seen::default()
    }
}

/// A network's predictions for unperturbed images: the numbers of images of each class, and of predictions of
/// each class.
pub(super) fn clean(classes: usize, labels: &[(u32, usize)], predictions: &[(Option<u32>, usize)]) -> Seen {
    let (labels, predictions) = (labels.iter().copied().collect(), predictions.iter().copied().collect());
    Seen { clean: Clean { classes, labels, predictions, probabilities: false }, ..Seen::default() }
}

/// The warnings of a check that compares evaluations.
pub(super) fn found(all: &[Seen], find: fn(&Together) -> Vec<Found>) -> Vec<Found> {
    let all: Vec<&Seen> = all.iter().collect();
    find(&Together { all: &all })
}
