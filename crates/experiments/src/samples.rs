//! Figures 2, 5 and 6: the training images with the least and the largest radii, unperturbed, attacked at some
//! radii and attacked at their own. `temper attack` crafts the images, as for any user.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde::Deserialize;
use temper_report::{Attacked, ImageRow, ImageSheet, Tile, read_attacked};
use temper_results::{Cost, EpochRadii, RadiiFile, Results};

use crate::execute::{Finished, Place};
use crate::picture::Drawn;

/// Which images are shown, and how they are attacked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Samples {
    /// The row; its first seed is shown.
    pub row: String,
    /// Share of the training images that belong to the group with the least radii, and to the group with the largest.
    pub share: f64,
    /// Number of images shown from each group.
    pub images: usize,
    /// Radii at which all of these images are attacked, besides their own, in the syntax of `--eps`.
    pub radii: Vec<String>,
    /// The attack, in the syntax of `--attack`.
    pub attack: String,
}

impl Samples {
    /// Returns an error if `share` is out of range or no image would be shown.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(self.share > 0.0 && self.share <= 0.5, "`share` is {}, expected 0 to 0.5", self.share);
        ensure!(self.images > 0, "`images` is 0: nothing would be shown");
        Ok(())
    }
}

/// Two sheets: the images with the least radii, and those with the largest.
pub fn sheets(samples: &Samples, caption: &str, run: &Finished, place: &Place) -> anyhow::Result<Vec<Drawn>> {
    let folder = run.folder(place);
    let last = RadiiFile::of(&folder)?.pop().context("no epoch left its radii")?.read()?;
    let craft = Craft { place, run, attack: &samples.attack, into: folder.with_extension("images") };
    let ends = ["least", "largest"].into_iter().zip(last.extremes(samples.share));
    ends.map(|(which, indices)| {
        let tied = tied(&last, &indices);
        let (clean, classes) = craft.at("0", &indices)?;
        // Images that are misclassified unperturbed come last, because an attack has nothing to change in them.
        let (right, wrong): (Vec<i64>, Vec<i64>) =
            indices.iter().partition(|index| clean.get(index).is_some_and(|one| !one.broken));
        let shown: Vec<i64> = right.iter().chain(&wrong).take(samples.images).copied().collect();
        let columns = craft.columns(clean, &samples.radii, &shown)?;
        let caption = format!(
            "{caption} {} of the {} with the {which} radii (1/255){tied}, seed {}; {} of these are right unperturbed: they come first, and \
             only such are attacked.",
            shown.len(),
            indices.len(),
            run.seed,
            right.len()
        );
        let figure = Box::new(sheet(which, &columns, &shown, &last, &classes));
        Ok(Drawn { caption, figure })
    })
    .collect()
}

/// A note that more samples share the last radius than could be taken; empty otherwise.
fn tied(radii: &EpochRadii, taken: &[i64]) -> String {
    let Some(edge) = taken.last().and_then(|index| radii.of(*index)) else { return String::new() };
    let all = radii.radii.iter().filter(|radius| **radius == edge).count();
    let among = taken.iter().filter(|index| radii.of(**index) == Some(edge)).count();
    match all > among {
        true => format!(" (of {all} that all have {:.2}, the first {among})", edge * 255.0),
        false => String::new(),
    }
}

/// The name of a kind of image, and its images by index.
type Column = (String, BTreeMap<i64, Attacked>);

/// A sheet with one row for each image and one column for each kind.
fn sheet(
    which: &str,
    columns: &[Column],
    shown: &[i64],
    radii: &EpochRadii,
    classes: &[String],
) -> ImageSheet {
    let name = |class: i64| usize::try_from(class).ok().and_then(|class| classes.get(class));
    let row = |index: &i64| {
        let label = columns.first().and_then(|(_, images)| name(images.get(index)?.label));
        let radius = radii.of(*index).unwrap_or_default() * 255.0;
        ImageRow {
            name: format!("{}, radius {radius:.2}", label.map_or("", String::as_str)),
            tiles: columns.iter().map(|(_, images)| Some(tile(images.get(index)?, &name))).collect(),
        }
    };
    ImageSheet {
        shows: format!("training images with the {which} radii"),
        columns: columns.iter().map(|(name, _)| name.clone()).collect(),
        rows: shown.iter().map(row).collect(),
    }
}

/// An image, captioned with the class that the network predicts.
fn tile<'c>(one: &Attacked, name: &dyn Fn(i64) -> Option<&'c String>) -> Tile {
    let taken = one.prediction.and_then(name).map_or("?", String::as_str);
    let image = one.image.clone();
    Tile { image, caption: if one.broken { format!("-> {taken}") } else { taken.to_string() } }
}

/// Images crafted on a run's network.
struct Craft<'a> {
    place: &'a Place,
    run: &'a Finished,
    attack: &'a str,
    /// Output folder; replaced by each attack.
    into: PathBuf,
}

impl Craft<'_> {
    /// The columns of a sheet: unperturbed, attacked at each of these radii, and attacked at the images' own radii.
    fn columns(
        &self,
        clean: BTreeMap<i64, Attacked>,
        radii: &[String],
        shown: &[i64],
    ) -> anyhow::Result<Vec<Column>> {
        let mut columns = vec![("unperturbed".to_string(), clean)];
        for eps in radii {
            columns.push((format!("at {eps}"), self.at(eps, shown)?.0));
        }
        columns.push(("at its own radius".into(), self.at("own", shown)?.0));
        Ok(columns)
    }

    /// Attacks these training images at this radius. Returns the images by index, and the names of the classes.
    fn at(&self, eps: &str, indices: &[i64]) -> anyhow::Result<(BTreeMap<i64, Attacked>, Vec<String>)> {
        let list = indices.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let options = ["--indices", &list, "--attack", self.attack, "--eps", eps];
        saved(self.place, self.run, &options, &self.into)?;
        let images = read_attacked(&self.into)?.into_iter().map(|one| (one.index, one)).collect();
        Ok((images, classes(&self.into)?))
    }
}

/// A sentence about how many of a run's final radii hold: `images` of its training images are attacked within
/// their own radii.
pub fn held(place: &Place, run: &Finished, attack: &str, images: usize) -> anyhow::Result<String> {
    if run.radii.iter().all(|radius| *radius == 0.0) {
        return Ok("No radius is above 0 at the end.".into());
    }
    let into = run.folder(place).with_extension("radii");
    let images = images.to_string();
    saved(place, run, &["--samples", &images, "--attack", attack, "--eps", "own"], &into)?;
    let results = Results::read(&into.join("results.json"))?;
    let cost = results.evaluations.iter().find_map(|evaluation| evaluation.attacks.first());
    let Cost { attacked, broken, .. } = cost.context("an attack without its costs")?;
    Ok(format!(
        "Of {attacked} training images that ended with a radius above 0 and are right unperturbed, {} stand within it under `{attack}`.",
        attacked - broken
    ))
}

/// Attacks training images by `temper attack` and saves them into a folder.
fn saved(place: &Place, run: &Finished, options: &[&str], into: &Path) -> anyhow::Result<()> {
    let mut command = Command::new(&place.binary);
    command.current_dir(&place.folder).arg("attack").arg(&run.relative);
    let output = command.args(["--split", "train", "--force"]).args(options).arg("--save").arg(into).output();
    let output = output.with_context(|| format!("cannot start {}", place.binary.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "temper attack ended with {}\n{said}", output.status);
    Ok(())
}

fn classes(folder: &Path) -> anyhow::Result<Vec<String>> {
    let results = Results::read(&folder.join("results.json"))?;
    Ok(results.networks.into_iter().next().map(|network| network.classes).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tie_that_is_cut_is_told() {
        let radii = EpochRadii { epoch: 1, radii: vec![0.0, 2.0 / 255.0, 0.0, 0.0], index: vec![3, 5, 7, 9] };
        assert_eq!(tied(&radii, &[3, 7]), " (of 3 that all have 0.00, the first 2)");
        assert_eq!(tied(&radii, &[3, 7, 9]), "");
        assert_eq!(tied(&radii, &[5, 3]), " (of 3 that all have 0.00, the first 1)");
        assert_eq!(tied(&radii, &[5]), "");
    }
}
