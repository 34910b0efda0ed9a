//! `metrics.jsonl`: one line an epoch of training.

use std::path::Path;

use serde::Deserialize;

use crate::files;
use crate::results::{Error, Radii};

/// One epoch. Keys may be added to the file, never renamed; unknown ones are ignored here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Epoch {
    /// From 1.
    pub epoch: usize,
    /// Mean training loss.
    pub loss: f64,
    /// Share of right answers on the images trained on, 0 to 1.
    pub accuracy: f64,
    /// Learning rate of the last step.
    pub lr: f64,
    /// Percentiles of the epsilon memory at its end; absent without a policy.
    pub radii: Option<Radii>,
    /// Mean of the epsilon memory at its end, in pixel values of [0, 1]; absent without a policy.
    pub mean_radius: Option<f64>,
    /// Forward passes a sample.
    pub forwards: f64,
    /// Backward passes a sample.
    pub backwards: f64,
    /// Wall time.
    pub seconds: f64,
}

/// The epochs of a metrics file, in its order; an error names the line.
pub fn read_metrics(file: &Path) -> Result<Vec<Epoch>, Error> {
    let text = files::text(file)?;
    let parse = |(i, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|source| Error::Line { file: file.into(), line: i + 1, source })
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(parse).collect()
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
