//! `results.json`, the interface between runs and everything that reads them.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::details::wrapped;
use crate::files;
use crate::table::{Table, interval, percent};

/// A results file. Keys may be added to it, never renamed; unknown ones are ignored here.
#[derive(Debug, Clone, Deserialize)]
pub struct Results {
    /// One entry an evaluation, in the order of the pipeline.
    pub evaluations: Vec<Evaluation>,
    /// Seed of the run.
    pub seed: u64,
    /// Radii that training ended with.
    pub radii: Option<Radii>,
    /// What speaks against all of its numbers, in words.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// Percentiles of the epsilon memory, in pixel values of [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Radii {
    /// 5 % of the samples have less.
    pub p5: f64,
    /// The median.
    pub p50: f64,
    /// 5 % have more.
    pub p95: f64,
}

/// One evaluation.
#[derive(Debug, Clone, Deserialize)]
pub struct Evaluation {
    /// Its name.
    pub name: String,
    /// Share of samples that stand, 0 to 1.
    pub accuracy: f64,
    /// Samples judged.
    pub n: usize,
    /// 95 % interval of the accuracy.
    pub interval: [f64; 2],
    /// Wall time.
    pub seconds: f64,
    /// Forward passes, counted a sample.
    pub forwards: u64,
    /// Backward passes, counted a sample.
    pub backwards: u64,
    /// Which weights of the run were judged: `last`, or `best` of a selection; absent in results of before.
    pub weights: Option<String>,
    /// Median distance that a minimum-norm attack needed, in its norm.
    pub median_distance: Option<f64>,
    /// What each attack did, in their order.
    #[serde(default)]
    pub attacks: Vec<Cost>,
    /// How often a targeted attack got its class.
    pub targets: Option<Hits>,
    /// Of minimum-norm attacks.
    pub distances: Option<Distances>,
    /// Of a sweep.
    pub curve: Option<Curve>,
    /// Of corrupted images.
    pub corruptions: Option<Corrupted>,
    /// What speaks against these numbers.
    #[serde(default)]
    pub doubts: Vec<String>,
}

/// What one attack of an evaluation did.
#[derive(Debug, Clone, Deserialize)]
pub struct Cost {
    /// The attack.
    pub attack: String,
    /// Samples it was run on.
    pub attacked: usize,
    /// Samples it broke first.
    pub broken: usize,
    /// Forward passes, counted a sample.
    pub forwards: u64,
    /// Backward passes, counted a sample.
    pub backwards: u64,
    /// Wall time.
    pub seconds: f64,
    /// Images whose gradient was exactly 0 where they were still classified correctly.
    #[serde(default)]
    pub vanished: usize,
}

/// How far away the adversarial images of minimum-norm attacks are. A quantile that is infinite is absent.
#[derive(Debug, Clone, Deserialize)]
pub struct Distances {
    /// Samples attacked.
    pub n: usize,
    /// Those for which an adversarial image was found.
    pub found: usize,
    /// 5 % are nearer.
    pub p5: Option<f64>,
    /// A quarter is nearer.
    pub p25: Option<f64>,
    /// The median.
    pub p50: Option<f64>,
    /// A quarter is further away.
    pub p75: Option<f64>,
    /// 5 % are further away.
    pub p95: Option<f64>,
}

/// How often a targeted attack got the class that it aimed at.
#[derive(Debug, Clone, Deserialize)]
pub struct Hits {
    /// Samples led to a class.
    pub n: usize,
    /// Those whose last image is taken for it.
    pub hits: usize,
    /// Share of hits.
    pub rate: f64,
    /// Its 95 % interval.
    pub interval: [f64; 2],
}

/// Accuracy over radii or steps.
#[derive(Debug, Clone, Deserialize)]
pub struct Curve {
    /// `radius` or `steps`.
    pub over: String,
    /// In ascending order.
    pub points: Vec<Point>,
}

/// A point of a curve.
#[derive(Debug, Clone, Deserialize)]
pub struct Point {
    /// The radius, or the number of steps.
    pub at: f64,
    /// Share of samples that stand.
    pub accuracy: f64,
    /// Its 95 % interval.
    pub interval: [f64; 2],
}

/// Accuracies on corrupted images. A mean that lacks a kind or a severity is absent.
#[derive(Debug, Clone, Deserialize)]
pub struct Corrupted {
    /// Where the images come from.
    pub from: String,
    /// On the same images unperturbed.
    pub clean: Corruption,
    /// Mean over all 19 kinds.
    pub mean_of_all: Option<f64>,
    /// Mean over the 15 main kinds.
    pub mean_of_main: Option<f64>,
    /// Mean corruption error, in per cent of the baseline's.
    pub mean_corruption_error: Option<f64>,
    /// Mean relative corruption error, in per cent of the baseline's.
    pub mean_relative_corruption_error: Option<f64>,
    /// What these errors are relative to.
    pub baseline: Option<String>,
    /// Each kind at each severity.
    pub cells: Vec<Corruption>,
}

/// Accuracy on one kind of corruption at one severity.
#[derive(Debug, Clone, Deserialize)]
pub struct Corruption {
    /// The kind; absent for the images unperturbed.
    pub kind: Option<String>,
    /// 1 to 5.
    pub severity: Option<u8>,
    /// Share of images classified correctly.
    pub accuracy: f64,
}

/// What can be wrong with a file of a run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {}: {source}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{}:{}:{}: {}", file.display(), source.line(), source.column(), files::short(source))]
    Malformed {
        /// The file.
        file: PathBuf,
        /// The fault.
        source: serde_json::Error,
    },
    /// A line of it is not what it should be.
    #[error("{}, line {line}: {}", file.display(), files::short(source))]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The fault.
        source: serde_json::Error,
    },
    /// It does not hold what it should.
    #[error("{}: {what}", file.display())]
    Unfit {
        /// The file or folder.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl Results {
    /// Reads a file.
    pub fn read(file: &Path) -> Result<Self, Error> {
        let text = files::text(file)?;
        serde_json::from_str(&text).map_err(|source| Error::Malformed { file: file.into(), source })
    }

    /// The evaluation of this name.
    pub fn get(&self, name: &str) -> Option<&Evaluation> {
        self.evaluations.iter().find(|evaluation| evaluation.name == name)
    }

    /// All that speaks against its numbers: what does against every one of them, then what does against those of an evaluation.
    pub fn said_against(&self) -> Vec<String> {
        let of = |e: &Evaluation| -> Vec<String> {
            e.doubts.iter().map(|doubt| format!("`{}`: {doubt}", e.name)).collect()
        };
        self.warnings.iter().cloned().chain(self.evaluations.iter().flat_map(of)).collect()
    }

    /// The evaluations as a table for the terminal; `fwd` and `bwd` are passes a sample, `distance` is a median.
    pub fn table(&self) -> String {
        let distances = self.evaluations.iter().any(|e| e.median_distance.is_some());
        let mut header = vec!["evaluation", "accuracy", "95 % interval", "n", "fwd", "bwd", "seconds"];
        if distances {
            header.push("distance");
        }
        let selected = self.evaluations.iter().any(|e| e.weights.as_deref().is_some_and(|w| w != "last"));
        if selected {
            header.push("weights");
        }
        let mut table = Table::new(&header);
        for e in &self.evaluations {
            let each = |passes: u64| format!("{:.1}", passes as f64 / e.n.max(1) as f64);
            let mut row = vec![
                e.name.clone(),
                percent(e.accuracy),
                interval(e.interval),
                e.n.to_string(),
                each(e.forwards),
                each(e.backwards),
                format!("{:.1}", e.seconds),
            ];
            if distances {
                row.push(e.median_distance.map_or_else(|| "-".into(), |d| format!("{d:.4}")));
            }
            if selected {
                row.push(e.weights.clone().unwrap_or_default());
            }
            table.row(row);
        }
        let details = self.evaluations.iter().map(|evaluation| evaluation.details(selected));
        let text = details.fold(table.to_string(), |text, details| text + &details);
        self.warnings.iter().fold(text, |text, warning| text + "\n" + &wrapped("warning:", warning))
    }
}
