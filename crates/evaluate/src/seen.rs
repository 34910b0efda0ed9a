//! The data that checks of several evaluations need of each: its attacks, and the radius at which each image is
//! broken.

use std::collections::{BTreeMap, BTreeSet};

use temper_core::{Access, Member, Norm};
use temper_results::Record;

use crate::Setting;
use crate::entry::Entry;

/// The data of an evaluation that checks compare with other evaluations.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Seen {
    /// The evaluation's name.
    pub(crate) name: String,
    pub(crate) network: NetworkName,
    /// The norm of its radii.
    pub(crate) norm: Option<Norm>,
    /// Its radii, ascending; none if each image has its own.
    pub(crate) radii: Vec<f64>,
    pub(crate) attacks: Vec<AttackFacts>,
    /// The name of the surrogate network on which images were crafted.
    pub(crate) surrogate: Option<String>,
    /// The smallest radius at which each image is misclassified, by its index in the whole data set: negative
    /// infinity if it is misclassified unperturbed, infinity if it stands within all radii. Empty for corrupted
    /// images.
    pub(crate) broken_at: BTreeMap<u64, f64>,
    pub(crate) clean: Clean,
}

/// The network that an evaluation judged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct NetworkName {
    /// `last` or `best`.
    pub(crate) weights: String,
    /// Its name in a transfer matrix.
    pub(crate) judged_by: Option<String>,
}

impl NetworkName {
    pub(crate) fn of(setting: &Setting) -> Self {
        Self { weights: setting.weights.into(), judged_by: setting.judged_by.map(Into::into) }
    }
}

/// The properties of an attack by which it is compared with other attacks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AttackFacts {
    pub(crate) label: String,
    /// The plugin's name.
    pub(crate) name: &'static str,
    pub(crate) access: Access,
    pub(crate) steps: Option<usize>,
    /// Whether it takes one gradient step.
    pub(crate) single: bool,
    pub(crate) min_norm: Option<Norm>,
    /// Whether its gradients are means of several passes (`eot`).
    pub(crate) averages: bool,
    /// Whether it aims at a single wrong class of each sample, so that it breaks less than it could.
    pub(crate) one_target: bool,
    /// Its parameters other than the number and the lengths of its steps.
    pub(crate) others: Vec<(String, String)>,
}

/// A network's predictions for unperturbed images.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Clean {
    /// Classes of the network.
    pub(crate) classes: usize,
    /// Images of each class.
    pub(crate) labels: BTreeMap<u32, usize>,
    /// Number of images predicted as each class; `None` where logits are not numbers.
    pub(crate) predictions: BTreeMap<Option<u32>, usize>,
    /// Whether the logits of all images look like probabilities.
    pub(crate) probabilities: bool,
}

impl Clean {
    /// Number of images.
    pub(crate) fn n(&self) -> usize {
        self.labels.values().sum()
    }

    pub(crate) fn hear(&mut self, record: &Record) {
        *self.labels.entry(record.label).or_default() += 1;
        *self.predictions.entry(record.natural).or_default() += 1;
    }
}

impl AttackFacts {
    pub(crate) fn of(member: &Member, classes: usize) -> Self {
        let attack = &member.attack;
        let steps = attack.steps();
        let backwards = attack.most_passes(classes).map(|[_, backwards]| backwards);
        Self {
            label: member.label.clone(),
            name: attack.name(),
            access: attack.needs(),
            steps,
            single: steps == Some(1) || backwards == Some(1),
            min_norm: attack.min_norm(),
            others: attack
                .params()
                .iter()
                .filter(|(key, _)| !["steps", "step", "relative_step"].contains(&key.as_str()))
                .map(|(key, value)| (key.clone(), value.to_string()))
                .collect(),
            one_target: attack.params().get("target").is_some_and(|target| {
                let one = target.get("likeliest").is_some_and(|n| n.as_integer() == Some(1));
                one || target.as_str().is_some_and(|word| ["random", "least-likely"].contains(&word))
            }),
            averages: attack.params().get("eot").is_some_and(|eot| eot.as_integer().is_some_and(|n| n > 1)),
        }
    }

    pub(crate) fn takes_gradients(&self) -> bool {
        self.access == Access::Gradients
    }

    /// Whether it takes more than one step along gradients, towards any mistake.
    pub(crate) fn iterates(&self) -> bool {
        self.takes_gradients() && !self.single && !self.one_target
    }
}

impl Seen {
    /// The evaluation before any records are added.
    pub(crate) fn new(setting: &Setting, entry: &Entry, members: &[Member]) -> Self {
        let classes = setting.network.network().classes();
        Self {
            name: entry.name.clone(),
            network: NetworkName::of(setting),
            norm: entry.attacked().then(|| entry.norm()),
            radii: if setting.radii.is_some() { vec![] } else { entry.radii() },
            attacks: members.iter().map(|member| AttackFacts::of(member, classes)).collect(),
            surrogate: setting.surrogate.map(|surrogate| surrogate.name.into()),
            broken_at: BTreeMap::new(),
            clean: Clean { classes, ..Clean::default() },
        }
    }

    /// Adds a record of an image that is not corrupted.
    pub(crate) fn hear(&mut self, record: &Record) {
        self.clean.hear(record);
        let at = match &record.broken_by {
            _ if record.natural != Some(record.label) => f64::NEG_INFINITY,
            _ if self.searches() => record.min_norm.unwrap_or(f64::INFINITY),
            Some(_) => record.radius.or(self.radii.last().copied()).unwrap_or(f64::INFINITY),
            None => f64::INFINITY,
        };
        self.broken_at.insert(record.sample, at);
    }

    /// Whether its only attack is a minimum-norm attack on the judged network in the norm of the radius. Its
    /// result then shows for every radius which images are broken.
    pub(crate) fn searches(&self) -> bool {
        let own = |attack: &AttackFacts| attack.min_norm.is_some() && attack.min_norm == self.norm;
        self.surrogate.is_none() && self.attacks.len() == 1 && self.attacks.iter().all(own)
    }

    /// Whether it shows which images are broken within this radius.
    pub(crate) fn knows(&self, radius: f64) -> bool {
        self.searches() || self.radii.contains(&radius)
    }

    /// Whether there are attacks, and all of them work without gradients of the judged network.
    pub(crate) fn is_black_box(&self) -> bool {
        let hidden = self.surrogate.is_some() || !self.attacks.iter().any(AttackFacts::takes_gradients);
        hidden && !self.attacks.is_empty()
    }

    /// Whether an attack takes more than one step along gradients of the judged network.
    pub(crate) fn is_white_box(&self) -> bool {
        self.surrogate.is_none() && self.attacks.iter().any(AttackFacts::iterates)
    }

    /// Whether an image is misclassified within this radius; `None` if it was not judged.
    pub(crate) fn breaks(&self, sample: u64, radius: f64) -> Option<bool> {
        self.broken_at.get(&sample).map(|at| *at <= radius)
    }

    /// Number of images that are misclassified within this radius.
    pub(crate) fn broken(&self, radius: f64) -> usize {
        self.broken_at.values().filter(|at| **at <= radius).count()
    }

    /// Whether both judged the same network in the same norm.
    pub(crate) fn compares_with(&self, other: &Self) -> bool {
        self.network == other.network && self.norm == other.norm
    }
}

/// All evaluations of a run or a command, in the order of its results.
pub(crate) struct Together<'a> {
    pub(crate) all: &'a [&'a Seen],
}

impl<'a> Together<'a> {
    /// The evaluations that satisfy a condition, each with its place.
    pub(crate) fn those(&self, condition: impl Fn(&Seen) -> bool) -> impl Iterator<Item = (usize, &'a Seen)> {
        self.all.iter().copied().enumerate().filter(move |(_, seen)| condition(seen))
    }

    /// Whether all attacks along gradients of this network average them over several passes.
    pub(crate) fn averages(&self, network: &NetworkName) -> bool {
        let of_network = self.those(|seen| seen.network == *network && seen.surrogate.is_none());
        let mut attacks =
            of_network.flat_map(|(_, seen)| &seen.attacks).filter(|attack| attack.takes_gradients());
        attacks.by_ref().next().is_some_and(|first| first.averages) && attacks.all(|attack| attack.averages)
    }

    /// For each network the evaluation with most unperturbed images.
    pub(crate) fn widest(&self) -> Vec<&'a Seen> {
        let networks: BTreeSet<&NetworkName> = self.all.iter().map(|seen| &seen.network).collect();
        let widest = networks.into_iter().filter_map(|network| {
            let of_network = self.those(|seen| seen.network == *network && !seen.broken_at.is_empty());
            of_network.map(|(_, seen)| seen).max_by_key(|seen| seen.clean.n())
        });
        widest.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_radius_at_which_an_image_is_broken_follows_from_its_record() {
        let seen = |attack: &str, radii: &[f64]| {
            let member = Member { label: "a".into(), ..Member::parse(attack).unwrap() };
            Seen {
                norm: Some(Norm::Linf),
                radii: radii.to_vec(),
                attacks: vec![AttackFacts::of(&member, 5)],
                ..Seen::default()
            }
        };
        let right = Record { sample: 1, label: 2, natural: Some(2), ..Record::default() };
        let broken = Record { broken_by: Some("a".into()), ..right.clone() };
        let at = |mut seen: Seen, record: &Record| {
            seen.hear(record);
            seen.broken_at[&1]
        };
        let bounded = || seen("pgd = {}", &[0.1]);
        assert_eq!(at(bounded(), &right), f64::INFINITY);
        assert_eq!(at(bounded(), &broken), 0.1);
        assert_eq!(at(bounded(), &Record { natural: Some(0), ..right.clone() }), f64::NEG_INFINITY);
        let swept = seen("pgd = {}", &[0.1, 0.2, 0.3]);
        assert_eq!(at(swept, &Record { radius: Some(0.2), ..broken }), 0.2);
        let search = seen("deepfool = {}", &[0.1]);
        assert!(search.searches() && search.knows(0.7) && !bounded().knows(0.7));
        assert_eq!(at(search, &Record { min_norm: Some(0.25), ..right }), 0.25);
    }
}
