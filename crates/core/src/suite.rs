//! Suites: sets of attacks that run in order, each on the samples that stand after the previous ones.

use std::fmt::Debug;
use std::num::NonZeroUsize;

use crate::{Attack, Chosen, Norm, Raised, Target, nonzero};

/// One attack of an evaluation.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its name in results, unique among the members.
    pub label: String,
    /// The attack.
    pub attack: Chosen<dyn Attack>,
    /// Runs of the attack as a whole, each on the samples that still stand.
    pub restarts: NonZeroUsize,
}

impl Member {
    /// An attack that runs once, with its own label.
    pub fn new(attack: Chosen<dyn Attack>) -> Self {
        Self { label: attack.label(), attack, restarts: nonzero(1) }
    }

    /// Parses an attack from one line of TOML, such as `pgd = { steps = 100 }`. The error states what is wrong
    /// with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map(Self::new).map_err(|error| error.message().to_string())
    }

    /// The same attack with this number of runs. The label includes the number, unless the attack runs only
    /// once anyway.
    pub fn restarted(mut self, restarts: NonZeroUsize) -> Self {
        self.restarts = restarts;
        if restarts.get() > 1 && self.runs() > 1 {
            // `pgd-10x5`, but `fgsm-x5`: a number would otherwise end the attack's name.
            let varied = self.label != self.attack.name();
            self.label = format!("{}{}x{restarts}", self.label, if varied { "" } else { "-" });
        }
        self
    }

    /// Number of runs: 1 if the attack is not random or is a minimum-norm attack, otherwise `restarts`.
    pub fn runs(&self) -> usize {
        match self.attack.min_norm().is_some() || !self.attack.draws() {
            true => 1,
            false => self.restarts.get(),
        }
    }
}

/// The variant in the label of an iterative attack: `100x5` for 100 steps and 5 restarts, `40-all` with a
/// target, `20-dlr` with a loss.
pub fn variant(steps: NonZeroUsize, restarts: usize, target: Target, raised: Raised) -> String {
    let restarts = if restarts > 1 { format!("x{restarts}") } else { String::new() };
    format!("{steps}{restarts}{}{}", target.suffix(), raised.suffix())
}

/// The same members with distinct labels: repeated labels are numbered, as in `deepfool`, `deepfool #2`.
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

/// A fixed set of attacks, such as the protocol of a paper. An evaluation runs them in order, each on the
/// samples that stand after the previous ones, and takes the worst case for each sample.
pub trait Suite: Debug + Send + Sync {
    /// The reason why the suite cannot work with radii in this norm; checked before any work is done.
    fn problem(&self, _norm: Norm) -> Option<String> {
        None
    }

    /// Its attacks in order, for radii in this norm and a network with this number of classes. The error states
    /// why there are no attacks.
    fn members(&self, norm: Norm, classes: usize) -> Result<Vec<Member>, String>;
}
