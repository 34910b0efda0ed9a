//! `temper check`: checks pipelines, and the tables and recipes of which experiments are composed.

mod experiment;
mod parts;

use std::path::{Path, PathBuf};

use clap::Args;
use temper_experiments::Configs;
use toml::de::DeTable;

pub(crate) use self::experiment::table_file;
use crate::config::{BadConfig, Pipeline};
use crate::output::answer;
use crate::{chain, material, toml_file};

/// Options of the command.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Pipelines, tables of experiments, or recipes
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Change a value of a pipeline, for example `--set train.epochs=2`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// The folder that holds `tables` and `recipes`, for tables and recipes that lie elsewhere
    #[arg(long, value_name = "DIR")]
    configs: Option<PathBuf>,
}

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileKind {
    Pipeline,
    Table,
    Recipe,
}

impl FileKind {
    /// Determines the kind from the top-level keys. A file without any known key is classified by its folder, and is
    /// otherwise read as a pipeline.
    fn of(file: &Path, document: &DeTable<'_>) -> Self {
        let has = |keys: &[&str]| keys.iter().any(|key| document.contains_key(*key));
        let named = document.get("evaluate").is_some_and(|evaluate| evaluate.get_ref().is_table());
        if has(&["dataset", "model", "train"]) {
            Self::Pipeline
        } else if has(&["title", "base", "row", "column", "claim"]) {
            Self::Table
        } else if has(&["pipeline", "network", "recipe", "reading"]) || named {
            Self::Recipe
        } else {
            let folders = file.parent().into_iter().flat_map(Path::ancestors).filter_map(Path::file_name);
            let of_experiments = |folder: &std::ffi::OsStr| match folder.to_str() {
                Some("tables") => Some(Self::Table),
                Some("recipes") => Some(Self::Recipe),
                _ => None,
            };
            folders.take(2).find_map(of_experiments).unwrap_or(Self::Pipeline)
        }
    }
}

/// Checks files. The mistakes of all files are reported at the end, each once.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut mistakes: Vec<String> = vec![];
    let mut other = None;
    for file in &options.files {
        let error = match one(file, options) {
            Ok(sound) => {
                answer(&sound)?;
                continue;
            }
            Err(error) => error,
        };
        match error.downcast::<BadConfig>() {
            Ok(bad) => {
                // Several tables may share a recipe that is wrong.
                let new: Vec<&str> =
                    bad.messages().filter(|new| !mistakes.iter().any(|m| m == new)).collect();
                mistakes.extend(new.into_iter().map(String::from));
            }
            Err(error) => other = other.or(Some(error)),
        }
    }
    match other {
        Some(error) if mistakes.is_empty() => Err(error),
        other => {
            mistakes.extend(other.as_ref().map(chain));
            if mistakes.is_empty() { Ok(()) } else { Err(BadConfig::of(mistakes).into()) }
        }
    }
}

/// Checks a file; returns a message about it if it is sound.
fn one(file: &Path, options: &Options) -> anyhow::Result<String> {
    let (text, name) = (toml_file::pipeline(file)?, file.display().to_string());
    let kind = FileKind::of(file, toml_file::document(&name, &text)?.get_ref());
    if kind == FileKind::Pipeline {
        let pipeline = Pipeline::parse(&name, &text, &options.sets)?;
        return Ok(format!("{name}: a sound pipeline{}\n", material::check(&pipeline)?));
    }
    if let Some(set) = options.sets.first() {
        let what = if kind == FileKind::Table { "a table of an experiment" } else { "a recipe" };
        return Err(
            BadConfig(format!("--set {set}: {name} is {what}, and only pipelines can be changed")).into()
        );
    }
    let configs = match (&options.configs, Configs::around(file)) {
        (None, Some(configs)) => configs,
        (named, _) => Configs::find(named.as_deref()).map_err(|error| {
            BadConfig(format!("{name}: cannot tell which networks and recipes there are: {error:#}"))
        })?,
    };
    Ok(match kind {
        FileKind::Table => experiment::table(file, &text, &configs)?,
        _ => experiment::recipe(&name, &text, &configs)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_keys() {
        let at =
            |file: &str, text: &str| FileKind::of(Path::new(file), DeTable::parse(text).unwrap().get_ref());
        let kind = |text: &str| at("run.toml", text);
        assert_eq!(kind("seed = 1\ndataset = \"cifar10\"\n[[evaluate]]\nname = \"a\""), FileKind::Pipeline);
        // A pipeline with `[evaluate]` instead of `[[evaluate]]` is not mistaken for a recipe.
        assert_eq!(kind("train.epochs = 1\n[evaluate]\nname = \"a\""), FileKind::Pipeline);
        assert_eq!(kind("title = \"x\"\n[base.pipeline]\n"), FileKind::Table);
        assert_eq!(kind("[[row]]\nname = \"a\""), FileKind::Table);
        assert_eq!(kind("[pipeline.train]\nepochs = 3"), FileKind::Recipe);
        assert_eq!(kind("[evaluate.natural]\n"), FileKind::Recipe);
        assert_eq!(kind("sede = 3"), FileKind::Pipeline);
        assert_eq!(kind(""), FileKind::Pipeline);
        assert_eq!(at("configs/tables/empty.toml", ""), FileKind::Table);
        assert_eq!(at("configs/recipes/scales/empty.toml", "sede = 3"), FileKind::Recipe);
    }
}
