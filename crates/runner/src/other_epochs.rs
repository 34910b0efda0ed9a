//! Another number of epochs when a run is resumed. It is allowed wherever the run then has the bits of one that was
//! started with this number: where nothing computed so far depends on it.

use std::fmt;
use std::path::Path;

use temper_results::shell::quoted;
use temper_train::Checkpoint;

use crate::config::Pipeline;
use crate::run_dir::RunDir;

/// The numbers of epochs of a run that is resumed with another one.
pub(crate) struct OtherEpochs {
    /// In the checkpoint.
    pub(crate) was: usize,
    /// In the pipeline.
    is: usize,
}

impl OtherEpochs {
    /// Puts the pipeline's number of epochs into the configuration of a checkpoint. `None` if it is there already, or
    /// if one of both trains nothing, which is another kind of run.
    pub(crate) fn adopted(theirs: &mut toml::Table, pipeline: &Pipeline) -> Option<Self> {
        let is = pipeline.train.epochs;
        let epochs = theirs.get_mut("train")?.get_mut("epochs")?;
        let was = usize::try_from(epochs.as_integer()?).ok()?;
        if was == is || was == 0 || is == 0 {
            return None;
        }
        *epochs = toml::Value::Integer(i64::try_from(is).ok()?);
        Some(Self { was, is })
    }

    /// What speaks against going on, one line for each reason. `samples` is the number of training images.
    pub(crate) fn against(&self, pipeline: &Pipeline, samples: usize, at: &Checkpoint) -> Vec<String> {
        let Self { was, is } = self;
        let changed = format!("train.epochs: was {was}, is now {is}");
        let begun = at.epoch + usize::from(at.progress.batches > 0);
        if *is < begun {
            return vec![format!("{changed}, but epoch {begun} has already begun")];
        }
        let rate = pipeline.train.other_rate(*was, samples, (at.epoch, at.progress)).map(|other| {
            let (key, step) = (other.key, other.step);
            format!("`train.schedule.{key}` depends on it: step {step} would have had another learning rate")
        });
        let judged = pipeline.select.as_ref().and_then(|select| {
            let other = (1..=at.epoch).find(|epoch| select.due(*epoch, *was) != select.due(*epoch, *is))?;
            let how = match select.due(other, *was) {
                true => "was evaluated on the held-out images only because it was the last",
                false => "was not evaluated on the held-out images, as the last one would have been",
            };
            Some(format!("`select.every` depends on it: epoch {other} {how}"))
        });
        rate.into_iter().chain(judged).map(|why| format!("{changed}; {why}")).collect()
    }

    /// How to train further all the same, as the last line of an error; empty if nothing speaks against going on.
    pub(crate) fn advice(&self, against: &[String], pipeline: &Pipeline, dir: &RunDir) -> String {
        if against.is_empty() || self.is < self.was {
            return String::new();
        }
        let set = |key: &str, value: &Path| quoted(&format!("train.{key}={}", value.display()));
        let (init, policy) = (set("init", &dir.model()), pipeline.train.epsilon.as_ref());
        let (from, options) = match policy.is_some_and(|policy| policy.refuses_radii().is_none()) {
            true => ("weights and radii", format!("{init} --set {}", set("init_radii", dir.path()))),
            false => ("weights", init),
        };
        let first = if dir.model().exists() && dir.results().exists() {
            ""
        } else {
            "let this run end as it was started, then "
        };
        let warm = policy.is_some_and(|policy| policy.probes().from_epoch > 0) && from.ends_with("radii");
        let warm = if warm {
            "\n  a warm-up of the epsilon policy would not use these radii: set it to 0"
        } else {
            ""
        };
        format!("\n  or {first}train further in a new run from its {from}: --out DIR --set {options}{warm}")
    }
}

/// The earlier number, for the line that says where a run goes on.
impl fmt::Display for OtherEpochs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let epochs = if self.was == 1 { "epoch" } else { "epochs" };
        write!(f, "; it was started with {} {epochs}", self.was)
    }
}
