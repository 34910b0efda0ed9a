//! `reports/SCALE/report.html`: every table and figure of a scale that was run here, with its pictures, on one page.

use std::path::Path;

use anyhow::Context;
use temper_report::Page;

use super::compose::{Book, Version};
use super::execute::{Place, done, write};
use super::fragment::Reading;
use super::picture::Drawn;
use super::plan;
use super::report::{Report, printed};
use super::table::{Scale, TableFile, names};

/// Draws all pictures of a table.
pub fn drawn(table: &TableFile, report: &Report, place: &Place) -> anyhow::Result<Vec<Drawn>> {
    let mut all = vec![];
    for picture in &table.picture {
        let whose = || format!("{}: picture \"{}\"", table.name, picture.caption);
        all.extend(picture.drawn(report, place).with_context(whose)?);
    }
    Ok(all)
}

/// Writes each picture as SVG and PNG; returns their names without endings.
pub fn write_pictures(folder: &Path, table: &str, pictures: &[Drawn]) -> anyhow::Result<Vec<String>> {
    let mut names = vec![];
    for (i, picture) in pictures.iter().enumerate() {
        let name = if i == 0 { table.to_string() } else { format!("{table}-{}", i + 1) };
        let drawing = picture.figure.draw().with_context(|| format!("picture {name}"))?;
        write(&folder.join(format!("{name}.svg")), drawing.svg()?.as_bytes())?;
        write(&folder.join(format!("{name}.png")), &drawing.png()?)?;
        names.push(name);
    }
    Ok(names)
}

/// The page of a scale: tables in the order of their files, those alone that have runs here. `now` is left as it was just drawn.
pub fn page(
    tables: &Path,
    (book, place): (&Book, &Place),
    (scale, reading): (Scale, Reading),
    now: (&str, &Report, &[Drawn]),
) -> anyhow::Result<Page> {
    let mut page = Page::new(format!("Instance adaptive adversarial training, {} scale", scale.name()));
    page.text(
        "Tables and figures of Balaji, Goldstein and Hoffman 2019, arXiv:1910.08051, as they came out here. Made by \
         `cargo xtask reproduce`.",
    );
    for name in names(tables)? {
        if name == now.0 {
            section(&mut page, now.1, now.2)?;
            continue;
        }
        let table = TableFile::read(tables, &name)?;
        let version = Version { table: &table, scale, reading };
        let Some(report) = known(book, version, place)? else { continue };
        section(&mut page, &report, &drawn(&table, &report, place)?)?;
    }
    Ok(page)
}

/// The report of a table with as many seeds as were run; none if none was.
fn known<'a>(book: &Book, version: Version<'a>, place: &Place) -> anyhow::Result<Option<Report<'a>>> {
    if !version.table.scales.contains(&version.scale) {
        return Ok(None);
    }
    let seeds = seeds(book, version, place)?;
    let plans = plan::rows(book, version, &[], seeds)?;
    let command = super::command(&version.table.name, version, seeds);
    let report = Report::of(place, version, &plans, &command)?;
    Ok((report.seeds() > 0).then_some(report))
}

/// How many seeds of some row were run to their end.
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

fn section(page: &mut Page, report: &Report, pictures: &[Drawn]) -> anyhow::Result<()> {
    page.heading(&report.title());
    page.text(&format!("{}\nMade by `{}`.", report.note().trim(), report.command()));
    page.table("Numbers: accuracies in per cent, radii in 1/255.", &printed(report.numbers()));
    if !report.claims().1.is_empty() {
        page.table(
            "Claims of the paper, judged by the difference in the column's unit.",
            &printed(report.claims()),
        );
        if !report.apart().is_empty() {
            page.text(report.apart());
        }
    }
    for picture in pictures {
        page.figure(&picture.caption, &*picture.figure)?;
    }
    page.table("What each run took.", &printed(report.costs()));
    let machines = report.machines();
    if !machines.is_empty() {
        page.text(&machines);
    }
    Ok(())
}
