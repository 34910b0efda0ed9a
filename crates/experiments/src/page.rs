//! `reports/SCALE/report.html`: every table and figure of a scale, with its pictures, on one page.

use std::fs;
use std::path::Path;

use anyhow::Context;
use temper_report::{Page, Table};

use crate::compose::{Book, Version};
use crate::execute::{Place, done, save};
use crate::picture::Drawn;
use crate::plan;
use crate::report::Report;
use crate::table::TableFile;
use crate::written::{PictureEntry, WrittenReport};

/// Draws all pictures of a table into a folder, each as SVG and PNG.
pub fn draw(
    table: &TableFile,
    report: &Report,
    place: &Place,
    folder: &Path,
) -> anyhow::Result<Vec<PictureEntry>> {
    let mut all: Vec<Drawn> = vec![];
    for picture in &table.picture {
        let whose = || format!("{}: picture \"{}\"", table.name, picture.caption);
        all.extend(picture.drawn(report, place).with_context(whose)?);
    }
    let mut pictures = vec![];
    for (i, Drawn { caption, figure }) in all.into_iter().enumerate() {
        let name = if i == 0 { table.name.clone() } else { format!("{}-{}", table.name, i + 1) };
        let drawing = figure.draw().with_context(|| format!("picture {name}"))?;
        save(&folder.join(format!("{name}.svg")), drawing.svg()?.as_bytes())?;
        save(&folder.join(format!("{name}.png")), &drawing.png()?)?;
        pictures.push(PictureEntry { name, caption });
    }
    Ok(pictures)
}

/// Builds the page of the reports in a folder, sorted by name.
pub fn page(reports: &Path) -> anyhow::Result<Page> {
    let told = || format!("cannot read {}", reports.display());
    let mut files = vec![];
    for entry in fs::read_dir(reports).with_context(told)? {
        let file = entry.with_context(told)?.path();
        files.extend((file.extension().is_some_and(|end| end == "json")).then_some(file));
    }
    files.sort();
    let all = files.iter().map(|file| WrittenReport::read(file)).collect::<anyhow::Result<Vec<_>>>()?;
    let scale = all.first().map_or("", |report| report.scale.name());
    let mut page = Page::new(format!("Instance adaptive adversarial training, {scale} scale"));
    page.text(
        "Tables and figures of Balaji, Goldstein and Hoffman 2019, arXiv:1910.08051, as they came out here. Made by \
         `temper reproduce`.",
    );
    verdicts(&mut page, &all);
    all.iter().try_for_each(|report| section(&mut page, report, reports))?;
    Ok(page)
}

/// The number of seeds that at least one row has run to the end.
pub fn seeds(book: &Book, version: Version, place: &Place) -> anyhow::Result<u64> {
    for seeds in 1.. {
        let mut there = false;
        for plan in plan::rows(book, version, &[], seeds)? {
            if let Some(run) = plan.runs.last() {
                there |= done(place, &plan, run, &version.table.name)?;
            }
        }
        if !there {
            return Ok(seeds - 1);
        }
    }
    Ok(0)
}

/// The claims of all tables, counted by their verdicts.
fn verdicts(page: &mut Page, all: &[WrittenReport]) {
    if all.iter().all(|report| report.claims.is_empty()) {
        return;
    }
    page.heading("Verdicts");
    let verdicts = ["holds", "fails", "unclear at this n"];
    let mut table = Table::new(&["table", "claims", "hold", "fail", "unclear", "not judged"]);
    for report in all.iter().filter(|report| !report.claims.is_empty()) {
        let count =
            |verdict: &str| report.claims.iter().filter(|claim| claim.ours.verdict == verdict).count();
        let counts = verdicts.map(count);
        let others = report.claims.len() - counts.iter().sum::<usize>();
        let cells = [report.claims.len()].into_iter().chain(counts).chain([others]);
        table.row([report.table.clone()].into_iter().chain(cells.map(|n| n.to_string())).collect());
    }
    page.table("Claims of the paper, by their verdicts here.", &table);
}

fn section(page: &mut Page, report: &WrittenReport, reports: &Path) -> anyhow::Result<()> {
    page.heading(&report.heading());
    page.text(&format!("{}\n\nMade by `{}`.", report.note().trim(), report.command));
    if !report.claims.is_empty() {
        page.table("Claims of the paper, judged by the difference in the column's unit.", &report.judged());
    }
    if !report.apart().is_empty() {
        page.text(report.apart());
    }
    page.table("Numbers: accuracies in per cent, radii in 1/255.", &report.numbers());
    let warnings = report.warnings();
    if !warnings.is_empty() {
        page.text("Warnings:");
        page.list(&warnings);
    }
    for PictureEntry { name, caption } in &report.pictures {
        let [svg, png] = ["svg", "png"].map(|end| reports.join(format!("{name}.{end}")));
        let told = |file: &Path| format!("cannot read {}; `{}` draws it", file.display(), report.command);
        let drawing = fs::read_to_string(&svg).with_context(|| told(&svg))?;
        page.drawing(caption, &drawing, &fs::read(&png).with_context(|| told(&png))?);
    }
    page.table("What each run took.", &report.costs());
    let machines = report.machines();
    if !machines.is_empty() {
        page.text(&machines);
    }
    Ok(())
}
