//! Pipelines: a TOML file with changes from the command line, read into typed plans. All errors come from here, before
//! any work.

use std::fmt;
use std::path::Path as FilePath;

use serde::{Deserialize, Serialize};
use serde_path_to_error::Path;
use temper_core::{Chosen, Dataset, Model};
use temper_evaluate::Entry;
use temper_train::Plan;
use toml::Spanned;
use toml::de::DeTable;

use crate::device::DeviceName;
use crate::place::{line_column, offset, set};

/// A pipeline.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// Where all randomness begins.
    #[serde(default)]
    pub seed: u64,
    /// Where tensors live.
    #[serde(default)]
    pub(crate) device: DeviceName,
    /// Images.
    pub dataset: Chosen<dyn Dataset>,
    /// Network architecture.
    pub model: Chosen<dyn Model>,
    /// How it is trained.
    pub train: Plan,
    /// How it is judged.
    #[serde(default)]
    pub evaluate: Vec<Entry>,
    /// Where data set and model stand, for errors that only their use shows.
    #[serde(skip)]
    places: [String; 2],
}

/// A configuration or a command that cannot be followed, in words for its author.
#[derive(Debug)]
pub struct BadConfig(pub(crate) String);

impl fmt::Display for BadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadConfig {}

/// One `--set KEY=VALUE`.
struct Set {
    argument: String,
    /// The same as a line of TOML behind as many spaces as there is text before: spans in it lie beyond the file's.
    line: String,
    keys: Vec<String>,
}

impl Set {
    /// `before`: length of the file and of the settings before this one.
    fn parse(argument: &str, before: usize) -> Result<Self, BadConfig> {
        let bad = |why: &str| BadConfig(format!("--set {argument}: {why}"));
        let (key, value) = argument.split_once('=').ok_or_else(|| bad("expected KEY=VALUE"))?;
        let keys = key.trim().split('.').map(|k| k.trim().trim_matches('"').to_string()).collect();
        let line = |value: &str| format!("{:before$} {} = {value}", "", key.trim());
        let written = line(value.trim());
        if value.trim().contains('\n') {
            return Err(bad("a value stands on one line"));
        }
        if DeTable::parse(&written).is_ok() {
            return Ok(Self { argument: argument.into(), line: written, keys });
        }
        // A bare word is text: the shell eats quotes.
        let quoted = line(&toml::Value::from(value.trim()).to_string());
        match DeTable::parse(&quoted) {
            Ok(_) => Ok(Self { argument: argument.into(), line: quoted, keys }),
            Err(error) => Err(bad(error.message())),
        }
    }
}

impl Pipeline {
    /// Reads a file and applies `sets` to it.
    pub fn load(file: &FilePath, sets: &[String]) -> Result<Self, BadConfig> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            BadConfig(format!("cannot read the configuration {}: {error}", file.display()))
        })?;
        Self::parse(&file.display().to_string(), &text, sets)
    }

    /// Reads a text; `file` is its name for messages.
    fn parse(file: &str, text: &str, sets: &[String]) -> Result<Self, BadConfig> {
        let mut document = DeTable::parse(text).map_err(|error| {
            let (line, column) = line_column(text, error.span().map_or(0, |span| span.start));
            BadConfig(format!("{file}:{line}:{column}: {}", first_line(error.message())))
        })?;
        let mut changes: Vec<Set> = vec![];
        for argument in sets {
            let before = changes.last().map_or(text.len(), |last| last.line.len());
            changes.push(Set::parse(argument, before)?);
        }
        for change in &changes {
            let table = DeTable::parse(&change.line).map_err(|error| BadConfig(error.to_string()))?;
            set(document.get_mut(), table.into_inner(), &change.keys)
                .map_err(|error| BadConfig(format!("--set {}: {error}", change.argument)))?;
        }
        let fault = |path: &Path, message: &str| {
            let at = offset(&document, path);
            let place = if let Some(set) = changes.iter().find(|set| at > text.len() && at < set.line.len()) {
                format!("--set {}", set.argument)
            } else {
                let (line, column) = line_column(text, at);
                format!("{file}:{line}:{column}")
            };
            let at = path.to_string();
            let at = if at == "." { String::new() } else { format!("\n  at {at}") };
            BadConfig(format!("{place}: {}{at}", first_line(message)))
        };
        let deserializer = toml::de::Deserializer::from(document.clone());
        let mut pipeline: Pipeline = serde_path_to_error::deserialize(deserializer)
            .map_err(|error| fault(error.path(), error.inner().message()))?;
        pipeline.problems(&document, fault)?;
        pipeline.places = [("dataset", pipeline.dataset.name()), ("model", pipeline.model.name())]
            .map(|(key, name)| fault(&path_of(&document, &[key, name]), "\u{0}").0);
        pipeline.tidy();
        Ok(pipeline)
    }

    /// What no single field shows.
    fn problems(
        &self,
        document: &Spanned<DeTable<'_>>,
        fault: impl Fn(&Path, &str) -> BadConfig,
    ) -> Result<(), BadConfig> {
        if i64::try_from(self.seed).is_err() {
            return Err(fault(&path_of(document, &["seed"]), "a seed has at most 63 bits"));
        }
        if let Some((field, message)) = self.train.problem() {
            return Err(fault(&path_of(document, &["train", field]), &message));
        }
        for (i, entry) in self.evaluate.iter().enumerate() {
            let index = i.to_string();
            if let Some((field, message)) = entry.problem() {
                return Err(fault(&path_of(document, &["evaluate", &index, field]), &message));
            }
            if self.evaluate[..i].iter().any(|other| other.name == entry.name) {
                let message = format!("a second evaluation named `{}`", entry.name);
                return Err(fault(&path_of(document, &["evaluate", &index, "name"]), &message));
            }
        }
        Ok(())
    }

    /// What is wrong with the choice of data set, as only opening it shows.
    pub(crate) fn bad_dataset(&self, message: &str) -> BadConfig {
        BadConfig(self.places[0].replace('\u{0}', &format!("dataset `{}`: {message}", self.dataset.name())))
    }

    /// What is wrong with the choice of model, as only building it shows.
    pub(crate) fn bad_model(&self, message: &str) -> BadConfig {
        BadConfig(self.places[1].replace('\u{0}', &format!("model `{}`: {message}", self.model.name())))
    }

    fn tidy(&mut self) {
        self.train.schedule.steps.sort_unstable();
    }

    /// The resolved pipeline as TOML: every parameter, defaults included.
    pub(crate) fn resolved(&self) -> anyhow::Result<String> {
        Ok(toml::to_string(self)?)
    }

    /// What decides the trained network, as TOML: a checkpoint serves only a pipeline with the same.
    pub(crate) fn trained_by(&self) -> anyhow::Result<toml::Table> {
        let mut table = toml::Table::try_from(self)?;
        table.remove("evaluate");
        table.remove("device");
        Ok(table)
    }
}

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or(message)
}

/// The path of these keys, as deserialising the document would have met it.
fn path_of(document: &Spanned<DeTable<'_>>, keys: &[&str]) -> Path {
    /// Fails where the path ends, so that the tracker reports that place.
    struct Walk<'k>(&'k [&'k str]);
    impl<'de> serde::de::DeserializeSeed<'de> for Walk<'_> {
        type Value = ();
        fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
            match self.0 {
                [] => Err(serde::de::Error::custom("here")),
                _ => deserializer.deserialize_any(self),
            }
        }
    }
    impl<'de> serde::de::Visitor<'de> for Walk<'_> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table or an array")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some(key) = map.next_key::<String>()? {
                if key == self.0[0] {
                    return map.next_value_seed(Walk(&self.0[1..]));
                }
                map.next_value::<serde::de::IgnoredAny>()?;
            }
            Err(serde::de::Error::custom("here"))
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
            let index = self.0[0].parse::<usize>().unwrap_or(0);
            for _ in 0..index {
                seq.next_element::<serde::de::IgnoredAny>()?;
            }
            seq.next_element_seed(Walk(&self.0[1..]))?;
            Err(serde::de::Error::custom("here"))
        }
    }
    let mut track = serde_path_to_error::Track::new();
    let deserializer = toml::de::Deserializer::from(document.clone());
    let tracked = serde_path_to_error::Deserializer::new(deserializer, &mut track);
    let _ = serde::de::DeserializeSeed::deserialize(Walk(keys), tracked);
    track.path()
}
