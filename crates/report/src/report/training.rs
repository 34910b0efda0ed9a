//! Training: loss, accuracy, learning rate, radii, and time.

use temper_results::{Epoch, Norm};

use crate::figure::{Chart, Datum, PlotAxis, Series};
use crate::measured::Measured;
use crate::page::Page;
use crate::radii_figures::histograms_of_radii;
use crate::table::radius_in_words;

/// Epochs whose histograms are shown.
const PANELS: usize = 6;

/// Adds the section, if there was training.
pub(super) fn section(page: &mut Page, measured: &Measured) {
    if measured.epochs.is_empty() {
        return;
    }
    page.heading("Training");
    parts(page, measured);
}

/// Adds the section's contents, if there was training.
pub(super) fn parts(page: &mut Page, measured: &Measured) {
    let epochs = &measured.epochs;
    if epochs.is_empty() {
        return;
    }
    page.text(&took(epochs));
    curves(page, epochs);
    if epochs.iter().any(|epoch| epoch.radii.is_some()) {
        radii(page, measured);
    }
}

/// What training took.
fn took(epochs: &[Epoch]) -> String {
    let seconds: f64 = epochs.iter().map(|epoch| epoch.seconds).sum();
    let waiting: f64 = epochs.iter().map(|epoch| epoch.waiting_seconds).sum();
    let [forwards, backwards] =
        [epochs.iter().map(|e| e.forwards).sum::<f64>(), epochs.iter().map(|e| e.backwards).sum::<f64>()];
    let noun = if epochs.len() == 1 { "epoch" } else { "epochs" };
    format!(
        "{} {noun} took {seconds:.0} s, with {forwards:.1} forward and {backwards:.1} backward passes per image. Steps \
         waited for data in {:.1} % of this time.",
        epochs.len(),
        100.0 * waiting / seconds.max(1e-9)
    )
}

/// A line over the epochs.
fn line(name: &str, epochs: &[Epoch], value: impl Fn(&Epoch) -> Option<f64>) -> Option<Series> {
    let points: Vec<Datum> =
        epochs.iter().filter_map(|epoch| Some(Datum::new(epoch.epoch as f64, value(epoch)?))).collect();
    (!points.is_empty()).then(|| Series::line(name, points))
}

fn curves(page: &mut Page, epochs: &[Epoch]) {
    let x = || PlotAxis::new("epoch").whole();
    let series: Vec<Series> = line("", epochs, |epoch| Some(epoch.loss)).into_iter().collect();
    page.figure_or_reason("Mean training loss.", &Chart { x: x(), y: PlotAxis::new("loss"), series });
    let series: Vec<Series> = [
        line("training images, as trained on", epochs, |epoch| Some(epoch.accuracy)),
        line("images held out", epochs, |epoch| Some(epoch.held_out.as_ref()?.accuracy)),
    ]
    .into_iter()
    .flatten()
    .collect();
    let y = PlotAxis::new("accuracy (%)").percent();
    page.figure_or_reason("Accuracy while training.", &Chart { x: x(), y, series });
    if epochs.windows(2).any(|pair| pair[0].lr != pair[1].lr) {
        let series: Vec<Series> = line("", epochs, |epoch| Some(epoch.lr)).into_iter().collect();
        let chart = Chart { x: x(), y: PlotAxis::new("learning rate"), series };
        page.figure_or_reason("Learning rate at the end of each epoch.", &chart);
    }
}

/// Percentiles of the radii over epochs, and their histograms.
fn radii(page: &mut Page, measured: &Measured) {
    let axis = || match measured.results.training.as_ref().and_then(|training| training.norm) {
        Some(Norm::L2) => PlotAxis::new("l2 radius"),
        _ => PlotAxis::new("radius (1/255)").times(255.0),
    };
    let epochs = &measured.epochs;
    let series: Vec<Series> = [
        line("95 % have less", epochs, |epoch| Some(epoch.radii?.p95)),
        line("median", epochs, |epoch| Some(epoch.radii?.p50)),
        line("5 % have less", epochs, |epoch| Some(epoch.radii?.p5)),
        line("mean", epochs, |epoch| epoch.mean_radius),
    ]
    .into_iter()
    .flatten()
    .collect();
    let x = PlotAxis::new("epoch").whole();
    page.figure_or_reason("Radii of the training images after each epoch.", &Chart { x, y: axis(), series });
    if let Some(radii) = measured.results.radii {
        page.text(&format!(
            "Training ended with a median radius of {}; 5 % of the images have less than {}, 5 % more than {}.",
            radius_in_words(radii.p50),
            radius_in_words(radii.p5),
            radius_in_words(radii.p95)
        ));
    }
    if measured.radii.is_empty() {
        page.text("The files of radii, from which their distribution is drawn, are not there.");
        return;
    }
    let skipped = epochs.last().map_or(0, |epoch| epoch.skipped);
    let undecoded = match skipped {
        0 => String::new(),
        n => {
            format!(" Images that could not be decoded ({n}) are in it with the radius that they began with.")
        }
    };
    let caption = format!(
        "Distribution of the radii after some epochs; each panel has its own vertical scale.{undecoded}"
    );
    match histograms_of_radii(&measured.radii, &spread(measured), axis()) {
        Ok(figure) => page.figure_or_reason(&caption, &figure),
        Err(error) => page.text(&format!("Not drawn: {caption} Reason: {error}.")),
    }
}

/// Epochs spread over all that have files, the last one included.
fn spread(measured: &Measured) -> Vec<usize> {
    let all: Vec<usize> = measured.radii.iter().map(|file| file.epoch).collect();
    let stride = all.len().div_ceil(PANELS).max(1);
    let mut chosen: Vec<usize> = all.iter().rev().step_by(stride).copied().collect();
    chosen.reverse();
    chosen
}
