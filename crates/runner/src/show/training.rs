//! `temper show --split train`: a training sample: its class, whether it was trained on, and its radius over epochs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use temper_core::Source;
use temper_data::escaped;
use temper_report::{percent, radius_in_words};
use temper_results::{EpochRadii, RadiiFile};

use crate::catalogue::wrap;
use crate::config::BadConfig;
use crate::trained::{Trained, TrainingImages};
use crate::warnings::told as warned;

/// Radii of a line.
const LINE: usize = 10;

/// Everything about a training sample, by its index in the whole training split.
pub(super) fn told(run: &Path, sample: u64) -> anyhow::Result<String> {
    let run = Trained::read(run)?;
    let files = match &run.pipeline.train.epsilon {
        Some(_) => run.radii()?,
        None => vec![],
    };
    let last = files.last().map(RadiiFile::read).transpose()?;
    let images = run.images(last.as_ref())?;
    let epoch = last.as_ref().map_or(0, |last| last.epoch);
    let (skipped, _) = run.undecoded(epoch)?;
    let mut text = warned(&run.warnings()?) + &heading(&images, sample)?;
    let index = i64::try_from(sample).context("an index beyond all data sets")?;
    let mut radii = vec![];
    for file in &files {
        radii.push((file.epoch, file.read()?.of(index)));
    }
    let has_radius = radii.iter().any(|(_, radius)| radius.is_some());
    wrap(&mut text, " ", "   ", &state(&run, &images, &skipped, (sample, has_radius)));
    match &last {
        None => text += "\nno radii: the run was trained without an epsilon policy\n",
        Some(last) if has_radius => {
            let norm = run.pipeline.train.attacked_in().map_or_else(String::new, |norm| format!("{norm} "));
            let _ = write!(text, "\n{norm}radius after each epoch, as n/255\n{}", over_epochs(&radii));
            text += &rank(last, index);
        }
        Some(_) => {}
    }
    Ok(text)
}

/// The first line, with the class. An error if the split has no such sample.
fn heading(images: &Result<TrainingImages, String>, sample: u64) -> Result<String, BadConfig> {
    let Ok(images) = images else { return Ok(format!("training sample {sample}\n")) };
    let whole = &images.whole;
    let place = usize::try_from(sample).ok().filter(|place| *place < whole.len());
    let Some(place) = place else {
        let last = whole.len().saturating_sub(1);
        return Err(BadConfig(format!(
            "--sample {sample}: the training split has {} samples, from 0 to {last}: {}",
            whole.len(),
            whole.origin()
        )));
    };
    let label = whole.label(place).or_else(|| Some(whole.read(place).ok()?.1));
    let class = label.map_or_else(String::new, |label| {
        let name = whole.classes().get(label as usize).filter(|name| **name != label.to_string());
        let name = name.map_or_else(String::new, |name| format!(" ({})", escaped(name)));
        format!(", of class {label}{name}")
    });
    let file = whole.name(place).map_or_else(String::new, |name| format!(", file {}", escaped(&name)));
    Ok(format!("training sample {sample}{class}{file}\n"))
}

/// Whether it was trained on, and if not, why.
/// `skipped` are the images that the run could not decode, by their place among those trained on, with the reason.
fn state(
    run: &Trained,
    images: &Result<TrainingImages, String>,
    skipped: &BTreeMap<u64, String>,
    (sample, has_radius): (u64, bool),
) -> String {
    let images = match images {
        Ok(images) => images,
        Err(why) if has_radius => return format!("trained on; its class is not known: {why}"),
        Err(why) => {
            return format!(
                "it has no radius: it was held out, is not in the subset that was trained on, or the data set has no such \
                 sample; which of these is not known: {why}"
            );
        }
    };
    let place = |source: &dyn Source| (0..source.len()).find(|at| source.index(*at) as u64 == sample);
    if let Some(place) = place(&*images.train) {
        return match skipped.get(&(place as u64)) {
            Some(why) => format!(
                "no step used it, because it could not be decoded (a radius is the one that it began with): {}",
                escaped(why)
            ),
            None if run.pipeline.train.trains() => "trained on".into(),
            None => "the run trained nothing".into(),
        };
    }
    if images.held_out.as_ref().is_some_and(|held_out| place(&**held_out).is_some()) {
        return "held out by [select], so not trained on: it has no radius".into();
    }
    let used = images.train.len() + images.held_out.as_ref().map_or(0, |held_out| held_out.len());
    format!(
        "not trained on, so it has no radius: it is not in the subset of {used} of {} that `subset.train` takes",
        images.whole.len()
    )
}

/// The radii in lines of ten epochs, each with its first epoch.
fn over_epochs(radii: &[(usize, Option<f64>)]) -> String {
    let digits = radii.last().map_or(1, |(epoch, _)| epoch.to_string().len());
    let mut text = String::new();
    // Epochs whose file is missing begin another line.
    for whole in radii.chunk_by(|(a, _), (b, _)| a + 1 == *b) {
        for line in whole.chunks(LINE) {
            let first = line.first().map_or(0, |(epoch, _)| *epoch);
            let _ = write!(text, "  epoch {first:>digits$} ");
            for (_, radius) in line {
                let radius = radius.map_or("-".into(), |radius| format!("{:.1}", radius * 255.0));
                let _ = write!(text, " {radius:>5}");
            }
            let _ = writeln!(text);
        }
    }
    text
}

/// Its last radius, and how it compares with those of the others.
fn rank(last: &EpochRadii, index: i64) -> String {
    let Some(radius) = last.of(index) else { return String::new() };
    let n = last.radii.len();
    let share = |count: usize| percent(count as f64 / n.max(1) as f64);
    let below = last.radii.iter().filter(|other| **other < radius).count();
    let above = last.radii.iter().filter(|other| **other > radius).count();
    let mut text = String::new();
    let words = format!(
        "after epoch {} it is {}; {} of all {n} are smaller, {} larger",
        last.epoch,
        radius_in_words(radius),
        share(below),
        share(above)
    );
    wrap(&mut text, " ", "   ", &words);
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn many_epochs_and_missing_files_fit_the_terminal() {
        let mut radii: Vec<(usize, Option<f64>)> = (1..=23).map(|e| (e, Some(e as f64 / 255.0))).collect();
        radii.retain(|(epoch, _)| *epoch != 15);
        radii.push((1000, Some(4.0)));
        radii.push((1001, None));
        let text = over_epochs(&radii);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        expect![[r"
            radii
              epoch    1    1.0   2.0   3.0   4.0   5.0   6.0   7.0   8.0   9.0  10.0
              epoch   11   11.0  12.0  13.0  14.0
              epoch   16   16.0  17.0  18.0  19.0  20.0  21.0  22.0  23.0
              epoch 1000  1020.0     -
        "]]
        .assert_eq(&format!("radii\n{text}"));
    }
}
