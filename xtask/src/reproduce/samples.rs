//! Figures 2, 5 and 6: training images whose radii are least and largest, unperturbed, attacked at some radii and at their own.
//! The images are crafted by `temper attack` as anybody would.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde::Deserialize;
use temper_report::{Attacked, Image, ImageRow, ImageSheet, RadiiFile, Tile, read_attacked};

use super::execute::{Finished, Place};
use super::picture::Drawn;

/// Which images are shown, and how they are attacked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Samples {
    /// The row; its first seed is shown.
    pub row: String,
    /// Share of the training images that have the least radii, and of those that have the largest.
    pub share: f64,
    /// How many of either are shown.
    pub images: usize,
    /// Radii that all of them are attacked at, besides their own, as `--eps` reads them.
    pub radii: Vec<String>,
    /// The attack, as `--attack` reads it.
    pub attack: String,
}

impl Samples {
    /// Refuses what shows nothing.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(self.share > 0.0 && self.share <= 0.5, "`share` is {}, expected 0 to 0.5", self.share);
        ensure!(self.images > 0, "`images` is 0: nothing would be shown");
        Ok(())
    }
}

/// Those with the least radii, and those with the largest.
pub fn sheets(samples: &Samples, caption: &str, run: &Finished, place: &Place) -> anyhow::Result<Vec<Drawn>> {
    let folder = run.folder(place);
    let last = RadiiFile::of(&folder)?.pop().context("no epoch left its radii")?.read()?;
    let craft = Craft { place, run, attack: &samples.attack, into: folder.with_extension("images") };
    let mut all = vec![];
    for (which, indices) in ["least", "largest"].into_iter().zip(last.extremes(samples.share)) {
        let radius = |index: i64| last.of(index).unwrap_or_default();
        let (clean, classes) = craft.at("0", &indices)?;
        // Of what is wrong unperturbed an attack has nothing to change.
        let right: Vec<i64> =
            indices.iter().copied().filter(|i| clean.get(i).is_some_and(|a| !a.broken)).collect();
        let shown: Vec<i64> = right
            .iter()
            .chain(indices.iter().filter(|i| !right.contains(i)))
            .take(samples.images)
            .copied()
            .collect();
        let mut sheet = ImageSheet {
            shows: format!("training images with the {which} radii"),
            columns: vec!["unperturbed".into()],
            rows: vec![],
        };
        let mut columns = vec![clean];
        for eps in &samples.radii {
            columns.push(craft.at(eps, &shown)?.0);
            sheet.columns.push(format!("at {eps}"));
        }
        sheet.columns.push("at its own radius".into());
        let mut own = BTreeMap::new();
        for index in &shown {
            own.extend(craft.at(&radius(*index).to_string(), &[*index])?.0);
        }
        columns.push(own);
        let name = |class: i64| usize::try_from(class).ok().and_then(|class| classes.get(class));
        for index in &shown {
            let tile = |images: &BTreeMap<i64, Attacked>| images.get(index).map(|one| tile(one, &name));
            let label = columns[0].get(index).and_then(|one| name(one.label)).map_or("", String::as_str);
            sheet.rows.push(ImageRow {
                name: format!("{label}, radius {:.2}", radius(*index) * 255.0),
                tiles: columns.iter().map(tile).collect(),
            });
        }
        let caption = format!(
            "{caption} The {} of {} with the {which} radii (1/255); {} of these are right unperturbed, and only such are attacked.",
            shown.len(),
            indices.len(),
            right.len()
        );
        all.push(Drawn { caption, figure: Box::new(sheet) });
    }
    Ok(all)
}

/// An image, and below it what the network takes it for.
fn tile<'c>(one: &Attacked, name: &dyn Fn(i64) -> Option<&'c String>) -> Tile {
    let taken = one.prediction.and_then(name).map_or("?", String::as_str);
    let image: Image = one.image.clone();
    Tile { image, caption: if one.broken { format!("-> {taken}") } else { taken.to_string() } }
}

/// Images crafted on a run's network.
struct Craft<'a> {
    place: &'a Place,
    run: &'a Finished,
    attack: &'a str,
    /// Replaced each time.
    into: PathBuf,
}

impl Craft<'_> {
    /// These training images, attacked at this radius, by index; and the names of the classes.
    fn at(&self, eps: &str, indices: &[i64]) -> anyhow::Result<(BTreeMap<i64, Attacked>, Vec<String>)> {
        let list = indices.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let mut command = Command::new(&self.place.binary);
        command.current_dir(&self.place.folder).arg("attack").arg(&self.run.relative);
        command.args([
            "--split",
            "train",
            "--indices",
            &list,
            "--attack",
            self.attack,
            "--eps",
            eps,
            "--force",
        ]);
        let output = command.arg("--save").arg(&self.into).output();
        let output = output.with_context(|| format!("cannot start {}", self.place.binary.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "temper attack ended with {}\n{said}", output.status);
        let images = read_attacked(&self.into)?.into_iter().map(|one| (one.index, one)).collect();
        Ok((images, classes(&self.into)?))
    }
}

fn classes(folder: &Path) -> anyhow::Result<Vec<String>> {
    let file = folder.join("results.json");
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let results: serde_json::Value =
        serde_json::from_str(&text).with_context(|| file.display().to_string())?;
    let names = results["model"]["classes"].as_array().into_iter().flatten();
    Ok(names.filter_map(|name| name.as_str().map(String::from)).collect())
}
