//! Suites: attacks that belong together, each on what the former ones left standing.

use std::fmt::Debug;
use std::num::NonZeroUsize;

use crate::{Attack, Chosen, Norm, Raised, Target, nonzero};

/// One attack of an evaluation.
#[derive(Debug, Clone)]
pub struct Member {
    /// What results call it: unlike those of all other members.
    pub label: String,
    /// The attack.
    pub attack: Chosen<dyn Attack>,
    /// Runs of it as a whole, each on what still stands.
    pub restarts: NonZeroUsize,
}

impl Member {
    /// An attack that runs once, under its own label.
    pub fn new(attack: Chosen<dyn Attack>) -> Self {
        Self { label: attack.label(), attack, restarts: nonzero(1) }
    }

    /// The attack that a line of TOML describes, as in `pgd = { steps = 100 }`. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map(Self::new).map_err(|error| error.message().to_string())
    }

    /// So many runs instead of one. The label says so, unless the attack would run once anyway.
    pub fn restarted(mut self, restarts: NonZeroUsize) -> Self {
        self.restarts = restarts;
        if restarts.get() > 1 && self.runs() > 1 {
            self.label = format!("{}x{restarts}", self.label);
        }
        self
    }

    /// How often it runs: once where nothing in it is drawn at random, or where it searches the smallest perturbation.
    pub fn runs(&self) -> usize {
        match self.attack.min_norm().is_some() || !self.attack.draws() {
            true => 1,
            false => self.restarts.get(),
        }
    }
}

/// The main parameters of an iterative attack as its label tells them: "100x5" of 100 steps and 5 restarts, "40-all" of a target,
/// "20-dlr" of a loss.
pub fn variant(steps: NonZeroUsize, restarts: usize, target: Target, raised: Raised) -> String {
    let restarts = if restarts > 1 { format!("x{restarts}") } else { String::new() };
    format!("{steps}{restarts}{}{}", target.suffix(), raised.suffix())
}

/// The same members, of which those with equal labels are numbered: `deepfool`, `deepfool #2`.
pub fn distinct(mut members: Vec<Member>) -> Vec<Member> {
    let labels: Vec<String> = members.iter().map(|member| member.label.clone()).collect();
    for (i, member) in members.iter_mut().enumerate() {
        let before = labels[..i].iter().filter(|label| **label == member.label).count();
        if before > 0 {
            member.label = format!("{} #{}", member.label, before + 1);
        }
    }
    members
}

/// A fixed set of attacks, such as the protocol of a paper. An evaluation runs them in order, each on the samples that the former ones
/// left standing, and takes the worst case for each sample.
pub trait Suite: Debug + Send + Sync {
    /// What keeps it from working on radii in this norm, in words: found before any work is done.
    fn problem(&self, _norm: Norm) -> Option<String> {
        None
    }

    /// Its attacks in order, for radii in this norm and a network of so many classes. The error says why there are none.
    fn members(&self, norm: Norm, classes: usize) -> Result<Vec<Member>, String>;
}
