//! An `[[evaluate]]` table: what a network is judged by.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use temper_core::{Attack, Chosen, Member, Norm, Pixels, Suite, distinct};
use temper_data::{is_odd, shown};

use crate::corruptions::Corruptions;

/// One `[[evaluate]]` table of a pipeline.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Name of the result.
    pub name: String,
    /// What perturbs the images; without it the natural accuracy is taken.
    pub attack: Option<Chosen<dyn Attack>>,
    /// Several attacks, each on what the former ones left standing: the worst case over all of them, for each sample.
    pub attacks: Option<Vec<Chosen<dyn Attack>>>,
    /// A fixed set of attacks, in the same way.
    pub suite: Option<Chosen<dyn Suite>>,
    /// Runs of each attack as a whole, each on what still stands; left out, 1. Minimum-norm attacks run once.
    pub restarts: Option<NonZeroUsize>,
    /// How the radius is measured; left out, l-inf.
    pub norm: Option<Norm>,
    /// Radius of every sample, in pixel values of [0, 1]; needed with an attack.
    pub radius: Option<Pixels>,
    /// Judges at many radii, or after many numbers of steps: a curve.
    pub sweep: Option<Sweep>,
    /// How many of the images, spread evenly over them; left out, all.
    pub samples: Option<NonZeroUsize>,
    /// Which of the images, by index in the whole data set; left out, all.
    pub indices: Option<Vec<usize>>,
    /// A run's folder or a file of weights: images are crafted on that network, and judged by this one.
    pub surrogate: Option<PathBuf>,
    /// Judges corrupted images.
    pub corruptions: Option<Corruptions>,
}

/// What a curve goes over.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// Radii, ascending, in pixel values of [0, 1]. What is broken within one is broken within all larger ones, and not attacked
    /// again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub radius: Vec<Pixels>,
    /// Numbers of steps, ascending, at most those of the attack: one run of it gives the whole curve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<NonZeroUsize>,
}

impl Entry {
    /// How the radius is measured.
    pub fn norm(&self) -> Norm {
        self.norm.unwrap_or(Norm::Linf)
    }

    /// The attacks that are written out, in their order: none where a suite names them.
    pub fn attacks(&self) -> impl Iterator<Item = &Chosen<dyn Attack>> {
        self.attack.iter().chain(self.attacks.iter().flatten())
    }

    /// The attacks that judge a network of so many classes, each with its label and its runs. The error says why there are none.
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

    /// Whether anything perturbs the images.
    pub(crate) fn attacked(&self) -> bool {
        self.suite.is_some() || self.attacks().next().is_some()
    }

    /// Names of what perturbs the images, as an evaluation without a name of its own is called.
    pub fn title(&self) -> String {
        let suite = self.suite.iter().map(|suite| suite.name());
        suite.chain(self.attacks().map(Chosen::name)).collect::<Vec<_>>().join("+")
    }

    /// The radii at which it judges, ascending: one, but for a sweep over them.
    pub(crate) fn radii(&self) -> Vec<f64> {
        match &self.sweep {
            Some(sweep) if !sweep.radius.is_empty() => sweep.radius.iter().map(|r| r.get()).collect(),
            _ => self.radius.iter().map(|r| r.get()).collect(),
        }
    }

    /// The numbers of steps after which it judges, of a sweep over them.
    pub(crate) fn milestones(&self) -> Vec<usize> {
        self.sweep.iter().flat_map(|sweep| &sweep.steps).map(|steps| steps.get()).collect()
    }

    /// What no single field shows: the field at fault and a message.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        self.unnamed()
            .or_else(|| self.attackless())
            .or_else(|| self.mixed())
            .or_else(|| self.radius_problem())
            .or_else(|| self.sweep_problem())
            .or_else(|| self.attack_problem())
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

    /// Fields of an attack without one, or beside corruptions.
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

    /// A radius that holds every image of this shape (channels, height, width). Without a shape it is told in l-inf alone, where
    /// the shape does not matter.
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
                at(format!("{last} steps, but attack `{name}` takes {steps}: `attack.{name}.steps = {last}`"))
            }
            Some(_) => None,
        }
    }

    /// What the attacks have against it.
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
