//! `train.init_radii`: radii of another run as the initial memory of an epsilon policy.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use temper_data::{Classes, class_difference};
use temper_evaluate::digest_of;
use temper_results::{RadiiFile, Results, Warning};

use crate::config::{BadConfig, Pipeline};
use crate::material::Material;
use crate::progress::EvaluationBar;
use crate::run_dir::RunDir;
use crate::stored::{epoch_of, sha256};
use crate::trained::Trained;

/// The key of a pipeline.
const KEY: [&str; 2] = ["train", "init_radii"];

/// Radii of another run.
pub(crate) struct InitRadii {
    /// The folder of that run.
    run: PathBuf,
    /// The epoch after which they were its radii, from 1.
    epoch: usize,
    /// The hash of their file, as [`named_hash`] returns it.
    pub(crate) hash: String,
    /// Radius by index in the whole training split, in pixel values of [0, 1].
    radii: HashMap<usize, f64>,
    /// That nothing but numbers of images could be compared.
    pub(crate) warning: Option<Warning>,
}

impl InitRadii {
    /// The radii that a pipeline names; `None` if it names none. An error if they are not of these images and this
    /// norm.
    pub(crate) fn open(pipeline: &Pipeline, material: &Material) -> anyhow::Result<Option<Self>> {
        let Some(path) = &pipeline.train.init_radii else { return Ok(None) };
        let bad = |message: &str| pipeline.bad(&KEY, message);
        let run = run_of(path).map_err(|message| bad(&message))?;
        let trained = Trained::read(&run).map_err(|error| bad(&format!("{error:#}")))?;
        let files = trained.radii().map_err(|error| bad(&format!("{error:#}")))?;
        let file = chosen(&files, path, &run, pipeline)?;
        let results = run.join("results.json");
        if !results.is_file() {
            let message = format!(
                "{} has not ended: it has no results.json, which says what images it had",
                run.display()
            );
            return Err(bad(&message).into());
        }
        let other = Origin { run: &run, trained: &trained.pipeline, results: Results::read(&results)? };
        if let Some(message) = other.misfit(pipeline, material)? {
            return Err(bad(&message).into());
        }
        let read = file.read()?;
        let warning = match trained.images(Some(&read))? {
            Err(why) => return Err(bad(&format!("{}: {why}", run.display())).into()),
            Ok(_) => other.warning(pipeline),
        };
        let radii = read.index.iter().zip(read.radii);
        let radii = radii.map(|(index, radius)| Ok((usize::try_from(*index)?, radius)));
        let radii: HashMap<usize, f64> =
            radii.collect::<anyhow::Result<_>>().with_context(|| file.file.display().to_string())?;
        let radii = Self { epoch: file.epoch, hash: hash_of(&file.file)?, radii, run, warning };
        if let Some(message) = radii.unmatched(material) {
            return Err(bad(&message).into());
        }
        Ok(Some(radii))
    }

    /// Why they do not belong to these training images; `None` if some of them do.
    fn unmatched(&self, material: &Material) -> Option<String> {
        let (run, split) = (self.run.display(), material.split);
        match self.radii.keys().filter(|index| **index >= split).max() {
            Some(beyond) => Some(format!(
                "{run} has a radius for image {beyond} of its training split, from 0, which has {split} images here: it was \
                 trained on other images"
            )),
            None if self.count(material) == 0 => {
                Some(format!("{run} has a radius for none of the {} training images", material.train.len()))
            }
            None => None,
        }
    }

    /// Number of training images that have a radius here.
    fn count(&self, material: &Material) -> usize {
        let indices = (0..material.train.len()).map(|i| material.train.index(i));
        indices.filter(|index| self.radii.contains_key(index)).count()
    }

    /// A text about the images that start with these radii.
    pub(crate) fn matched(&self, pipeline: &Pipeline, material: &Material) -> String {
        let (matched, all) = (self.count(material), material.train.len());
        let (epoch, run) = (self.epoch, self.run.display());
        let others = if matched < all { "; the others start as the epsilon policy says" } else { "" };
        let first = pipeline.train.epsilon.as_ref().map_or(0, |policy| policy.probes().from_epoch);
        let later = match first {
            0 => String::new(),
            _ => format!("; the policy reads them from epoch {} on, after its warm-up", first + 1),
        };
        format!(
            "{matched} of {all} training images start with the radius that epoch {epoch} of {run} left them{others}{later}"
        )
    }

    /// Puts them in place of the policy's initial memory.
    pub(crate) fn put(&self, material: &Material, memory: &mut [f64]) {
        for (i, memory) in memory.iter_mut().enumerate() {
            if let Some(radius) = self.radii.get(&material.train.index(i)) {
                *memory = *radius;
            }
        }
    }

    /// Refuses radii of the run that this one replaces: nobody could tell later what it started from.
    pub(crate) fn lie_outside(&self, dir: &RunDir, pipeline: &Pipeline) -> Result<(), BadConfig> {
        match same_place(&self.run, dir.path()) {
            true => Err(pipeline.bad(
                &KEY,
                "these are radii of the run that is replaced: choose another folder with --out DIR",
            )),
            false => Ok(()),
        }
    }
}

/// The hash of the radii that a pipeline names. Checkpoints store it in place of the path: the same radii may be
/// moved, and other radii may come to lie at the path. `kept` is the hash of the radii that a run started with. It is
/// returned if these are still among the named ones, or if there are none any more: the run's checkpoint contains
/// them.
pub(crate) fn named_hash(pipeline: &Pipeline, kept: Option<&str>) -> anyhow::Result<Option<String>> {
    let Some(path) = &pipeline.train.init_radii else { return Ok(None) };
    let files = match path.is_file() {
        true => vec![path.clone()],
        false => RadiiFile::of(path).unwrap_or_default().into_iter().map(|file| file.file).collect(),
    };
    let mut hash = None;
    // The other run may have been trained further since, and then has later epochs, too.
    for file in files.iter().rev() {
        let next = hash_of(file)?;
        if kept == Some(&next) {
            return Ok(Some(next));
        }
        hash = hash.or(Some(next));
    }
    Ok(hash.or_else(|| kept.map(Into::into)).or_else(|| Some(path.display().to_string())))
}

/// The hash of a file of radii.
fn hash_of(file: &Path) -> anyhow::Result<String> {
    Ok(format!("sha256 {}", sha256(file)?))
}

/// The folder of the run whose folder this is, or in whose folder `epsilon` this file is.
fn run_of(path: &Path) -> Result<PathBuf, String> {
    let at = path.display();
    let data = fs::metadata(path).map_err(|error| format!("cannot read {at}: {error}"))?;
    if data.is_dir() {
        return Ok(path.into());
    }
    let epsilon = path.parent().filter(|folder| folder.file_name().is_some_and(|name| name == "epsilon"));
    let run = epsilon.and_then(Path::parent).ok_or_else(|| neither(path))?;
    Ok(if run.as_os_str().is_empty() { PathBuf::from(".") } else { run.into() })
}

/// The message about a file that holds no radii.
fn neither(path: &Path) -> String {
    format!(
        "{} is neither a run's folder nor a file epoch-*.safetensors in its folder epsilon",
        path.display()
    )
}

/// The file of radii that a pipeline names by a run's folder or by the file itself, of these files of that run.
fn chosen<'f>(
    files: &'f [RadiiFile],
    path: &Path,
    run: &Path,
    pipeline: &Pipeline,
) -> anyhow::Result<&'f RadiiFile> {
    if !path.is_dir() {
        let file = files.iter().find(|file| same_place(&file.file, path));
        return Ok(file.ok_or_else(|| pipeline.bad(&KEY, &neither(path)))?);
    }
    // The weights that training starts from may be those of an earlier epoch of the same run.
    let init = pipeline.train.init.as_ref();
    let init = init.filter(|file| file.parent().is_some_and(|folder| same_place(folder, run)));
    let epoch = init.map(|file| epoch_of(file)).transpose()?.flatten();
    let mut latest = files.iter().rev();
    let file = latest.find(|file| epoch.is_none_or(|epoch| file.epoch == epoch));
    let message = format!("{} has no radii of epoch {}", path.display(), epoch.unwrap_or_default());
    Ok(file.ok_or_else(|| pipeline.bad(&KEY, &message))?)
}

/// Whether two paths lead to the same file or folder.
fn same_place(one: &Path, other: &Path) -> bool {
    matches!((fs::canonicalize(one), fs::canonicalize(other)), (Ok(one), Ok(other)) if one == other)
}

/// The run that radii come from.
struct Origin<'a> {
    run: &'a Path,
    trained: &'a Pipeline,
    results: Results,
}

impl Origin<'_> {
    /// Why its radii are not of these images, or mean something else; `None` if they fit.
    fn misfit(&self, pipeline: &Pipeline, material: &Material) -> anyhow::Result<Option<String>> {
        let (run, is) = (self.run.display(), pipeline.train.norm);
        let was = self.trained.train.norm;
        if was != is {
            return Ok(Some(format!("{run} has radii in {was}, this pipeline trains in {is}")));
        }
        let [theirs, ours] = [self.trained, pipeline].map(|pipeline| pipeline.dataset.name());
        if theirs != ours {
            return Ok(Some(format!("{run} was trained on `{theirs}`, this pipeline trains on `{ours}`")));
        }
        if let Some(key) = self.other_parameter(pipeline) {
            return Ok(Some(format!(
                "{run} was trained on other images: `{key}` of the data set `{ours}` is another one there"
            )));
        }
        if let Some(other) = self.other_number(pipeline, material) {
            return Ok(Some(format!("{run} was trained on other images: {other}")));
        }
        let classes = self.results.networks.first().map(|network| &*network.classes).unwrap_or_default();
        let (of_run, here) = (run.to_string(), material.train.classes());
        let [one, other] =
            [(&*of_run, classes), ("the images", here)].map(|(by, names)| Classes { by, names });
        if !pipeline.ignore_class_names
            && !classes.is_empty()
            && let Some(difference) = class_difference(one, other)
        {
            return Ok(Some(format!("{run} was trained on other images: {difference}")));
        }
        let hash = self.results.dataset.test.as_ref().and_then(|test| test.hash.as_deref());
        Ok(match hash {
            Some(hash) if self.tests_alike(pipeline) && hash != test_hash(material)? => {
                Some(format!("{run} was trained on other images: its test images have another hash"))
            }
            _ => None,
        })
    }

    /// A parameter of the data set that differs; the folder of the files may be another one.
    fn other_parameter(&self, pipeline: &Pipeline) -> Option<String> {
        let [theirs, ours] = [self.trained, pipeline].map(|pipeline| pipeline.dataset.params());
        let mut keys =
            theirs.keys().chain(ours.keys()).filter(|key| !["root", "skip_unreadable"].contains(&&***key));
        keys.find(|key| theirs.get(*key) != ours.get(*key)).cloned()
    }

    /// The warning that the images themselves were not compared.
    fn warning(&self, pipeline: &Pipeline) -> Option<Warning> {
        let hash = self.results.dataset.test.as_ref().and_then(|test| test.hash.as_ref());
        (hash.is_none() || !self.tests_alike(pipeline)).then(|| {
            let text = format!(
                "the radii of {} were matched to training images by their index: whether these are the same images was not \
                 compared",
                self.run.display()
            );
            let advice = "see to it that neither the images nor their order have changed; an evaluation on all test images in \
                          that run, and the same `subset.test` here, let their hashes be compared";
            Warning::caution("radii-by-index", text).advising(advice)
        })
    }

    /// What differs in number although both pipelines choose the same part of it; `None` if all is equal.
    fn other_number(&self, pipeline: &Pipeline, material: &Material) -> Option<String> {
        let samples = |pipeline: &Pipeline| pipeline.select.as_ref().map(|select| select.samples);
        let trains_alike =
            self.trained.subset.train == pipeline.subset.train && samples(self.trained) == samples(pipeline);
        let dataset = &self.results.dataset;
        let numbers = [
            ("training", &dataset.train, material.train.len(), trains_alike),
            ("test", &dataset.test, material.test.len(), self.tests_alike(pipeline)),
        ];
        numbers.into_iter().find_map(|(what, was, is, alike)| {
            let was = was.as_ref()?.n;
            (alike && was != is).then(|| format!("it had {was} {what} images, here are {is}"))
        })
    }

    /// Whether both pipelines use the same part of the test images.
    fn tests_alike(&self, pipeline: &Pipeline) -> bool {
        self.trained.subset.test == pipeline.subset.test
    }
}

/// The hash of the test images.
fn test_hash(material: &Material) -> anyhow::Result<String> {
    let shown = EvaluationBar::new("hash of the test images", material.test.len(), None);
    let hash = digest_of(&material.test, &mut |done| shown.count(done)).context("the test images")?;
    Ok(hash.map(|hash| hash.to_string()).unwrap_or_default())
}
