//! The `[[evaluate]]` table of a pipeline.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use temper_core::{Access, Attack, Chosen, Distance, Member, Norm, Suite, distinct};
use temper_data::{is_odd, shown};

use crate::corruptions::Corruptions;
use crate::estimate::most_passes;

/// One `[[evaluate]]` table of a pipeline.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Name of the evaluation in the results.
    pub name: String,
    /// The attack; without any attack the natural accuracy is measured.
    pub attack: Option<Chosen<dyn Attack>>,
    /// Several attacks, each on the samples that stand after the previous ones: the worst case for each
    /// sample.
    pub attacks: Option<Vec<Chosen<dyn Attack>>>,
    /// A fixed set of attacks from a plugin, evaluated like `attacks`.
    pub suite: Option<Chosen<dyn Suite>>,
    /// Runs of each attack as a whole, each on the samples that still stand; default 1. Minimum-norm attacks
    /// run once.
    pub restarts: Option<NonZeroUsize>,
    /// The norm of the radius; default that of training (which a pipeline fills in), without one l-inf.
    pub norm: Option<Norm>,
    /// Radius of every sample, in pixel values of [0, 1]; required with an attack unless a sweep gives radii.
    pub radius: Option<Distance>,
    /// Evaluates at several radii, or after several numbers of steps.
    pub sweep: Option<Sweep>,
    /// Number of images, spread evenly over all of them; default all.
    pub samples: Option<NonZeroUsize>,
    /// Indices of images in the whole data set; default all.
    pub indices: Option<Vec<usize>>,
    /// A run's folder or a file of weights: the surrogate network on which images are crafted.
    pub surrogate: Option<PathBuf>,
    /// Evaluates corrupted images.
    pub corruptions: Option<Corruptions>,
}

/// The values of a curve.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// Radii, ascending, in pixel values of [0, 1]. A sample that is broken within one radius is broken
    /// within all larger ones, and is not attacked again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub radius: Vec<Distance>,
    /// Numbers of steps, ascending, at most those of the attack. One run of the attack gives the whole curve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<NonZeroUsize>,
}

impl Entry {
    /// The norm of the radius.
    pub fn norm(&self) -> Norm {
        self.norm.unwrap_or(Norm::Linf)
    }

    /// The largest number of passes, forward and backward together, that the evaluation of so many images makes on a
    /// network with this number of classes; `None` if an attack does not report it.
    pub fn most_passes(&self, classes: usize, images: usize) -> Option<u64> {
        if !self.attacked() {
            return Some(images as u64);
        }
        let [forwards, backwards] = most_passes(self, classes)?;
        Some(forwards.saturating_add(backwards).saturating_mul(images as u64))
    }

    /// The attacks listed in the table, in order; none if a suite defines them.
    pub fn attacks(&self) -> impl Iterator<Item = &Chosen<dyn Attack>> {
        self.attack.iter().chain(self.attacks.iter().flatten())
    }

    /// The attacks for a network with this number of classes, with distinct labels and their restarts. The
    /// error states why there are no attacks.
    pub fn members(&self, classes: usize) -> Result<Vec<Member>, String> {
        let members = match &self.suite {
            Some(suite) => suite
                .members(self.norm(), classes)
                .map_err(|why| format!("suite `{}`: {why}", suite.name()))?,
            None => self.attacks().cloned().map(Member::new).collect(),
        };
        let restarted = members.into_iter().map(|member| match self.restarts {
            Some(restarts) => member.restarted(restarts),
            None => member,
        });
        Ok(distinct(restarted.collect()))
    }

    /// Whether it attacks along gradients of the judged network, which has this number of classes.
    pub fn follows_gradients(&self, classes: usize) -> bool {
        let along = |member: &Member| member.attack.needs() == Access::Gradients;
        self.surrogate.is_none() && self.members(classes).is_ok_and(|members| members.iter().any(along))
    }

    /// Whether there is any attack, listed or from a suite.
    pub fn attacked(&self) -> bool {
        self.suite.is_some() || self.attacks().next().is_some()
    }

    /// The default name of an evaluation: the name of its suite, or the names of its attacks.
    pub fn title(&self) -> String {
        let suite = self.suite.iter().map(Chosen::name);
        suite.chain(self.attacks().map(Chosen::name)).collect::<Vec<_>>().join("+")
    }

    /// The radii of the evaluation, ascending: one, or those of a sweep.
    pub(crate) fn radii(&self) -> Vec<f64> {
        match &self.sweep {
            Some(sweep) if !sweep.radius.is_empty() => sweep.radius.iter().map(|r| r.get()).collect(),
            _ => self.radius.iter().map(|r| r.get()).collect(),
        }
    }

    /// The numbers of steps of a sweep over steps.
    pub(crate) fn milestones(&self) -> Vec<usize> {
        self.sweep.iter().flat_map(|sweep| &sweep.steps).map(|steps| steps.get()).collect()
    }

    /// An error that involves more than one field: the field to blame and a message.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        self.unnamed()
            .or_else(|| self.attackless())
            .or_else(|| self.mixed())
            .or_else(|| self.radius_problem())
            .or_else(|| self.sweep_problem())
            .or_else(|| self.attack_problem())
    }

    /// Attacks that cannot work on a network with this number of classes: the field to blame and a message.
    pub fn problem_of_classes(&self, classes: usize) -> Option<(&'static str, String)> {
        let field = match (&self.suite, &self.attack) {
            (Some(_), _) => "suite",
            (None, Some(_)) => "attack",
            (None, None) => "attacks",
        };
        let members = match self.members(classes) {
            Ok(members) => members,
            Err(message) => return Some((field, message)),
        };
        let problem = |member: Member| {
            let problem = member.attack.problem_of_classes(classes)?;
            Some((field, format!("attack `{}`: {problem}", member.label)))
        };
        members.into_iter().find_map(problem)
    }

    /// A name that tables and files cannot show.
    fn unnamed(&self) -> Option<(&'static str, String)> {
        let name = &self.name;
        if name.trim().is_empty() {
            return Some((
                "name",
                "an evaluation without a name: its results could not be told apart".into(),
            ));
        }
        let odd = name.chars().find(|letter| is_odd(*letter))?;
        Some((
            "name",
            format!("the name {} has the unprintable character {}", shown(name), odd.escape_unicode()),
        ))
    }

    /// Fields that require an attack, without one.
    fn attackless(&self) -> Option<(&'static str, String)> {
        if self.attacked() && self.attacks.as_ref().is_none_or(|attacks| !attacks.is_empty()) {
            return None;
        }
        if self.attacks.is_some() {
            return Some(("attacks", "no attack at all: name one, or leave `attacks` out".into()));
        }
        let given = [
            ("radius", self.radius.is_some(), "a radius"),
            ("norm", self.norm.is_some(), "a norm"),
            ("restarts", self.restarts.is_some(), "restarts"),
            ("sweep", self.sweep.is_some(), "a sweep"),
            ("surrogate", self.surrogate.is_some(), "a network to craft on"),
        ];
        let (field, _, what) = given.into_iter().find(|(_, given, _)| *given)?;
        Some((field, format!("{what} without an attack: add one, for example `attack = \"pgd\"`")))
    }

    /// Fields that exclude each other.
    fn mixed(&self) -> Option<(&'static str, String)> {
        if let (Some(attack), Some(_)) = (&self.attack, &self.attacks) {
            let name = attack.name();
            return Some(("attack", format!("both `attack` and `attacks`: put `{name}` into `attacks`")));
        }
        if let Some(suite) = &self.suite {
            let name = suite.name();
            if self.attacks().next().is_some() {
                let message = format!("both suite `{name}` and attacks of its own: give each an evaluation");
                return Some(("suite", message));
            }
            if self.restarts.is_some() {
                let message = format!("suite `{name}` says how often its attacks run: leave `restarts` out");
                return Some(("restarts", message));
            }
        }
        if self.corruptions.is_some() && self.attacked() {
            return Some((
                "corruptions",
                "corrupted images are judged as they are: no attack goes with them".into(),
            ));
        }
        if let Some(problem) = self.corruptions.as_ref().and_then(Corruptions::problem) {
            return Some(("corruptions", problem));
        }
        let indices = self.indices.as_ref()?;
        if self.samples.is_some() {
            return Some(("samples", "both `samples` and `indices`: one of them chooses the images".into()));
        }
        if indices.is_empty() {
            return Some(("indices", "no image at all".into()));
        }
        let mut sorted = indices.clone();
        sorted.sort_unstable();
        let double = sorted.windows(2).find(|pair| pair[0] == pair[1])?[0];
        Some(("indices", format!("image {double} is named twice: it would count twice")))
    }

    fn radius_problem(&self) -> Option<(&'static str, String)> {
        let of_suite = self.suite.iter().map(|suite| ("suite", suite.name()));
        let (kind, name) = of_suite.chain(self.attacks().map(|attack| ("attack", attack.name()))).next()?;
        let swept = self.sweep.as_ref().is_some_and(|sweep| !sweep.radius.is_empty());
        match self.radius {
            None if !swept => {
                let message =
                    format!("{kind} `{name}` needs a radius: add `radius = \"8/255\"` or another length");
                let listed = self.attacks.is_some() && self.suite.is_none();
                return Some((if listed { "attacks" } else { kind }, message));
            }
            Some(_) if swept => {
                return Some(("radius", "a sweep over radii says them all: remove this one".into()));
            }
            _ => {}
        }
        self.oversize(None)
    }

    /// A radius whose ball contains every image of this shape (channels, height, width). Without a shape only
    /// l-inf radii are checked, for which the shape does not matter.
    pub fn oversize(&self, shape: Option<[usize; 3]>) -> Option<(&'static str, String)> {
        let swept = self.sweep.as_ref().is_some_and(|sweep| !sweep.radius.is_empty());
        let message = self.norm().refuses(self.radii().last().copied()?, shape)?;
        Some((if swept { "sweep" } else { "radius" }, message))
    }

    fn sweep_problem(&self) -> Option<(&'static str, String)> {
        let Sweep { radius, steps } = self.sweep.as_ref()?;
        let at = |message: String| Some(("sweep", message));
        if radius.is_empty() == steps.is_empty() {
            return at("a sweep goes over `radius` or over `steps`, and over one of them".into());
        }
        if radius.windows(2).any(|pair| pair[0] >= pair[1]) || steps.windows(2).any(|pair| pair[0] >= pair[1])
        {
            return at("the values of a sweep ascend".into());
        }
        let last = steps.last()?.get();
        if let Some(suite) = &self.suite {
            let name = suite.name();
            return at(format!("a sweep over steps goes with one attack, not with the suite `{name}`"));
        }
        let mut attacks = self.attacks();
        let attack = attacks.next()?;
        let name = attack.name();
        if attacks.next().is_some() {
            return at("a sweep over steps goes with one attack".into());
        }
        if self.restarts.is_some_and(|restarts| restarts.get() > 1) {
            return at(format!("a sweep over steps goes with the attack's own restarts: `attack.{name}`"));
        }
        if self.surrogate.is_some() {
            return at(
                "iterates are judged where they are crafted: a sweep over steps cannot go with `surrogate`"
                    .into(),
            );
        }
        match attack.steps() {
            None => at(format!(
                "attack `{name}` does not show its iterates: sweep over its radius, or take `pgd`"
            )),
            Some(steps) if last > steps => {
                let key = if attack.params().contains_key("steps") { "steps" } else { "queries" };
                at(format!("{last} steps, but attack `{name}` takes {steps}: `attack.{name}.{key} = {last}`"))
            }
            Some(_) => None,
        }
    }

    /// Combinations of attacks, norms and restarts that are refused.
    fn attack_problem(&self) -> Option<(&'static str, String)> {
        let field = if self.attack.is_some() { "attack" } else { "attacks" };
        let searches: Vec<_> = self.attacks().filter(|attack| attack.min_norm().is_some()).collect();
        if let Some(other) = searches.iter().find(|attack| attack.min_norm() != searches[0].min_norm()) {
            let (one, other) = (searches[0].name(), other.name());
            let message = format!(
                "`{one}` and `{other}` make distances small in two norms: give each an evaluation of its own"
            );
            return Some((field, message));
        }
        let again = self.restarts.is_some_and(|restarts| restarts.get() > 1);
        if let (Some(attack), true) = (searches.first(), again && searches.len() == self.attacks().count()) {
            let name = attack.name();
            let message = format!(
                "`{name}` searches the smallest perturbation, and does so once: leave `restarts` out"
            );
            return Some(("restarts", message));
        }
        let suite = self.suite.as_ref().and_then(|suite| suite.problem(self.norm()));
        let attack = || self.attacks().find_map(|attack| attack.problem(self.norm()));
        suite.map(|problem| ("suite", problem)).or_else(|| attack().map(|problem| (field, problem)))
    }
}
