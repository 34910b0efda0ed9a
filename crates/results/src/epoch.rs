//! `metrics.jsonl`: one line an epoch of training.

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use temper_files::save_atomically;

use crate::error::Error;
use crate::{files, is_zero};

/// One epoch of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1.
    pub epoch: usize,
    /// Mean training loss.
    pub loss: f64,
    /// Accuracy on the images trained on (perturbed where they were), 0 to 1.
    pub accuracy: f64,
    /// Training images that could not be decoded, and so were not trained on; absent if there were none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: usize,
    /// Samples whose gradient was exactly 0 in a pass of attack or probe at which they were classified
    /// correctly: there the attack does not see where to go, and a probe calls a radius safe that was not
    /// tried; absent if there were none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub vanished: usize,
    /// Learning rate of the last step.
    pub lr: f64,
    /// Percentiles of the epsilon memory at its end; absent without a policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub radii: Option<Percentiles>,
    /// Mean of the epsilon memory at its end, in pixel values of [0, 1]; absent without a policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_radius: Option<f64>,
    /// Forward passes a sample, of attack, probes and step.
    pub forwards: f64,
    /// Backward passes a sample.
    pub backwards: f64,
    /// Wall time.
    pub seconds: f64,
    /// Part of it in which the step waited for data.
    #[serde(default)]
    pub waiting_seconds: f64,
    /// The same as a share of the wall time, 0 to 1.
    #[serde(default)]
    pub waiting_share: f64,
    /// What the weights of this epoch gave on the images held out; absent where they were not judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_out: Option<HeldOut>,
}

/// An epoch's weights, judged on training images that no step saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Share that stands, 0 to 1.
    pub accuracy: f64,
    /// Images judged.
    pub n: usize,
    /// Forward passes an image.
    pub forwards: f64,
    /// Backward passes an image.
    pub backwards: f64,
    /// Wall time.
    pub seconds: f64,
    /// Images that could not be decoded, by their index in the whole data set, with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unreadable: BTreeMap<u64, String>,
}

/// The 5th, 50th and 95th percentile of the epsilon memory of the samples that could be decoded, in pixel
/// values of [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Percentiles {
    /// 5 % of the samples have less.
    pub p5: f64,
    /// The median.
    pub p50: f64,
    /// 5 % have more.
    pub p95: f64,
}

impl Percentiles {
    /// Of some numbers; `None` if there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| quantile(&sorted, share);
        Some(Self { p5: at(0.05)?, p50: at(0.5)?, p95: at(0.95)? })
    }
}

/// The number below which this share (0 to 1) of some sorted numbers lies, to the nearest of them; `None` if there are
/// none.
pub fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((share * last as f64).round() as usize).copied()
}

/// The epochs of a metrics file, in its order; an error names the line.
pub fn read_metrics(file: &Path) -> Result<Vec<Epoch>, Error> {
    let text = files::text(file)?;
    let parse = |(i, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|fault| Error::Line { file: file.into(), line: i + 1, fault })
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(parse).collect()
}

/// Writes a metrics file, whole or not at all.
pub fn write_metrics(file: &Path, epochs: &[Epoch]) -> Result<(), Error> {
    let mut text = vec![];
    for epoch in epochs {
        text.extend(files::json(file, epoch)?);
    }
    Ok(save_atomically(file, &text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"epoch":2,"loss":0.5,"accuracy":0.8,"lr":0.1,"radii":{"p5":0.1,"p50":0.2,"p95":0.3},"mean_radius":0.2,"forwards":3,"backwards":2,"seconds":1.5,"new":[1]}"#;

    #[test]
    fn epochs_with_and_without_radii() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let plain = r#"{"epoch":1,"loss":1,"accuracy":0,"lr":0.1,"forwards":1,"backwards":1,"seconds":2}"#;
        std::fs::write(file.path(), format!("{plain}\n{LINE}\n")).unwrap();
        let epochs = read_metrics(file.path()).unwrap();
        assert_eq!(epochs.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((epochs[0].mean_radius, epochs[1].mean_radius), (None, Some(0.2)));
        assert_eq!(epochs[1].radii.unwrap().p95, 0.3);
        write_metrics(file.path(), &epochs).unwrap();
        assert_eq!(read_metrics(file.path()).unwrap(), epochs);
    }

    #[test]
    fn a_fault_names_its_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{LINE}\n{{\"epoch\":3}}\n")).unwrap();
        let fault = read_metrics(file.path()).unwrap_err().to_string();
        assert!(fault.contains(", line 2: missing field `loss`"), "{fault}");
        let missing = read_metrics(Path::new("nowhere/metrics.jsonl")).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read nowhere/metrics.jsonl: "), "{missing}");
    }
}
