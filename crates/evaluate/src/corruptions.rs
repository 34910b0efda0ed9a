//! The `corruptions` table of an evaluation.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use temper_corruptions::{Kind, Parameters, Severity};

temper_core::options! {
    /// Where corrupted images come from.
    #[derive(Default)]
    pub enum Origin {
        /// temper corrupts the test images itself.
        #[default]
        Generated = "generated",
        /// The published files of CIFAR-10-C, CIFAR-100-C or ImageNet-C.
        Published = "published",
    }
}

/// Which corrupted images a network is judged by.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Corruptions {
    /// Made by temper, or read.
    pub from: Origin,
    /// Folder of the published files; left out, where data sets lie.
    pub root: Option<PathBuf>,
    /// Kinds of corruption; left out, all 19.
    pub only: Option<Vec<Kind>>,
    /// Severities; left out, all five.
    pub severities: Option<Vec<Severity>>,
    /// Whose parameters generated images have; left out, those whose images are nearer in size.
    pub parameters: Option<Parameters>,
    /// Where the randomness of generated images begins: not where that of a run does, so that runs are judged on the same images.
    pub seed: u64,
    /// Pictures of frost for generated images; left out, drawn ones.
    pub frost: Option<PathBuf>,
}

impl Corruptions {
    /// The kinds, in the order of the paper.
    pub fn kinds(&self) -> Vec<Kind> {
        let wanted = |kind: &Kind| self.only.as_ref().is_none_or(|only| only.contains(kind));
        Kind::ALL.into_iter().filter(wanted).collect()
    }

    /// The severities, ascending.
    pub fn severities(&self) -> Vec<Severity> {
        let wanted =
            |severity: &Severity| self.severities.as_ref().is_none_or(|some| some.contains(severity));
        Severity::ALL.into_iter().filter(wanted).collect()
    }

    /// What no single field shows.
    pub(crate) fn problem(&self) -> Option<String> {
        if self.kinds().is_empty() || self.severities().is_empty() {
            return Some("no corruption at all: `only` and `severities` name at least one each".into());
        }
        match self.from {
            Origin::Generated if self.root.is_some() => {
                Some("`root` is the folder of published files: it goes with `from = \"published\"`".into())
            }
            Origin::Published if self.parameters.is_some() => {
                Some("`parameters` are for generated images; published ones have theirs".into())
            }
            Origin::Published if self.frost.is_some() => {
                Some("`frost` is for generated images; published ones have theirs".into())
            }
            _ => None,
        }
    }
}
