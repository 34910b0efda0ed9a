//! Figures of a run's radii: their development over epochs, and their distribution.

use temper_results::{Error, RadiiFile};

use crate::figure::{Chart, Datum, Histogram, Histograms, PlotAxis, Series};

/// Mean radius over epochs, together with the radii of these samples (by index in the whole training split).
/// The error names a sample that was not trained on. Files are read one after the other.
pub fn radii_over_epochs(files: &[RadiiFile], samples: &[i64], radius: PlotAxis) -> Result<Chart, Error> {
    let mut mean = vec![];
    let mut lines: Vec<(i64, Vec<Datum>)> = samples.iter().map(|sample| (*sample, vec![])).collect();
    for file in files {
        let radii = file.read()?;
        let unfit = |what: String| Error::Unfit { file: file.file.clone(), what };
        mean.push(Datum::new(
            radii.epoch as f64,
            radii.mean().ok_or_else(|| unfit("it holds no samples".into()))?,
        ));
        for (sample, line) in &mut lines {
            let missing = || unfit(format!("sample {sample} was not trained on"));
            line.push(Datum::new(radii.epoch as f64, radii.of(*sample).ok_or_else(missing)?));
        }
    }
    let mut series = vec![Series::line("mean of all samples", mean)];
    series.extend(lines.into_iter().map(|(sample, line)| Series::line(format!("sample {sample}"), line)));
    Ok(Chart { x: PlotAxis::new("epoch").whole(), y: radius, series })
}

/// Distribution of the radii after these epochs. The error names an epoch without a file.
pub fn histograms_of_radii(
    files: &[RadiiFile],
    epochs: &[usize],
    radius: PlotAxis,
) -> Result<Histograms, Error> {
    let panel = |epoch: &usize| {
        let file = files.iter().find(|file| file.epoch == *epoch).ok_or_else(|| Error::Unfit {
            file: files.first().and_then(|file| file.file.parent()).unwrap_or("epsilon".as_ref()).into(),
            what: format!("no radii of epoch {epoch}, those of {} are there", epochs_in_words(files)),
        })?;
        Ok(Histogram { name: format!("epoch {epoch}"), values: file.read()?.radii })
    };
    Ok(Histograms { x: radius, panels: epochs.iter().map(panel).collect::<Result<_, Error>>()? })
}

/// The epochs of files as text, as in "1 to 90, 100".
pub fn epochs_in_words(files: &[RadiiFile]) -> String {
    if files.is_empty() {
        return "none".into();
    }
    let spans = files.chunk_by(|a, b| a.epoch + 1 == b.epoch).map(|span| match span {
        [one] => one.epoch.to_string(),
        [first, .., last] => format!("{} to {}", first.epoch, last.epoch),
        [] => String::new(),
    });
    spans.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_in_a_row_are_joined() {
        let files = |epochs: &[usize]| {
            epochs.iter().map(|epoch| RadiiFile { epoch: *epoch, file: "x".into() }).collect::<Vec<_>>()
        };
        assert_eq!(epochs_in_words(&files(&[1, 2, 3, 7, 9, 10])), "1 to 3, 7, 9 to 10");
        assert_eq!(epochs_in_words(&[]), "none");
        let fault =
            histograms_of_radii(&files(&[1, 2]), &[4], PlotAxis::new("radius")).unwrap_err().to_string();
        assert!(fault.ends_with("no radii of epoch 4, those of 1 to 2 are there"), "{fault}");
    }
}
