//! Writes a page of one run: `cargo run -p temper-report --example page -- RUN OUT.html`.

use std::error::Error;
use std::path::Path;

use temper_report::{
    Chart, Datum, HeatMap, Page, PlotAxis, Series, Table, histograms_of_radii, percent, radii_over_epochs,
};
use temper_results::{RadiiFile, Results, read_metrics};

fn main() -> Result<(), Box<dyn Error>> {
    let [run, out] =
        std::env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "expected RUN OUT.html")?;
    let run = Path::new(&run);
    let results = Results::read(&run.join("results.json"))?;
    let mut page = Page::new(format!("Run {}", run.display()));
    page.heading("Evaluations");
    let mut table = Table::new(&["evaluation", "accuracy", "n"]);
    for evaluation in &results.evaluations {
        table.row(vec![evaluation.name.clone(), percent(evaluation.accuracy), evaluation.n.to_string()]);
    }
    page.table("Every evaluation of the run.", &table);
    for warning in results.all_warnings() {
        page.text(&format!("Warning: {}", warning.marked()));
    }
    for evaluation in &results.evaluations {
        let name = &evaluation.name;
        if let Some(curve) = &evaluation.curve {
            let x = PlotAxis::new(curve.over.word());
            let x = if curve.over == temper_results::Over::Steps { x.logarithmic() } else { x };
            let y = PlotAxis::new("accuracy (%)").percent();
            let chart = Chart { x, y, series: vec![Series::accuracy(name.clone(), curve)] };
            page.figure(
                &format!("{name}: accuracy over {}, with 95 % intervals.", curve.over.word()),
                &chart,
            )?;
        }
        if let Some(corrupted) = &evaluation.corruptions {
            page.figure(
                &format!("{name}: accuracy by corruption (%)."),
                &HeatMap::of_corruptions(corrupted),
            )?;
        }
    }

    page.heading("Training");
    let epochs = read_metrics(&run.join("metrics.jsonl"))?;
    let loss = epochs.iter().map(|epoch| Datum::new(epoch.epoch as f64, epoch.loss)).collect();
    let series = vec![Series::line("training", loss)];
    page.figure(
        "Mean loss.",
        &Chart { x: PlotAxis::new("epoch").whole(), y: PlotAxis::new("loss"), series },
    )?;

    if run.join("epsilon").is_dir() {
        page.heading("Radii");
        let files = RadiiFile::of(run)?;
        let last = files[files.len() - 1].read()?;
        let [least, most] = last.extremes(0.01);
        let middle = last.index[last.index.len() / 2];
        let samples = [least[0], middle, most[0]];
        page.figure(
            "Mean radius and three samples.",
            &radii_over_epochs(&files, &samples, PlotAxis::new("radius"))?,
        )?;
        let shown: Vec<usize> =
            files.iter().step_by(files.len().div_ceil(8)).map(|file| file.epoch).collect();
        page.figure("Radii of all samples.", &histograms_of_radii(&files, &shown, PlotAxis::new("radius"))?)?;
    }
    page.write(Path::new(&out))?;
    Ok(())
}
