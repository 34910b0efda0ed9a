//! Upper bounds on the cost of pipelines: the counted passes times the measured time of a pass.

use std::fmt::Write as _;

use toml::{Table, Value};

use crate::fragment::chosen;

/// Upper bounds on the passes of a pipeline, counted per image; forward and backward together are one pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunCost {
    /// Passes of training.
    pub training: f64,
    /// Training passes that compute gradients of the weights; the others belong to attacks.
    pub steps: f64,
    /// Passes of the evaluations.
    pub judging: f64,
    /// Number of epochs.
    pub epochs: u64,
    /// Number of training images; `None` if the data set is not known here.
    pub images: Option<u64>,
    /// Bytes that a run stores in addition to its checkpoints' weights: radii, and records with their copy.
    pub kept: f64,
}

/// Bytes per image in `records.jsonl`: not attacked, and attacked.
const RECORD: [f64; 2] = [27.0, 53.0];

impl RunCost {
    /// Counts the passes of a pipeline.
    pub fn of(pipeline: &Table, engine: &dyn Engine) -> Self {
        let train = pipeline.get("train").and_then(Value::as_table);
        let number =
            |table: Option<&Table>, key: &str| table.and_then(|t| t.get(key)).and_then(Value::as_integer);
        let all = engine.images(pipeline);
        let subset = pipeline.get("subset").and_then(Value::as_table);
        let part = |key: &str, all: Option<u64>| match number(subset, key) {
            Some(part) => Some(all.map_or(part as u64, |all| all.min(part as u64))),
            None => all,
        };
        let images = part("train", all.map(|all| all.train));
        let test = part("test", all.map(|all| all.test));
        let epochs = number(train, "epochs").unwrap_or(0) as u64;
        let classes = all.map_or(0, |images| images.classes);
        let of = |attack: &Value| passes(attack, engine, classes);
        let steps = train.and_then(|t| t.get("attack")).map_or(0, of);
        let policy = train.and_then(|train| train.get("epsilon"));
        let [probes, from_epoch] = policy.map_or([0; 2], |policy| engine.probes(policy));
        let probe = policy.and_then(chosen).and_then(|(_, parameters)| parameters?.get("probe"));
        let probe = probe.map_or(steps, of);
        // Each adaptive policy also makes a pass on the clean image.
        let adaptive = if probes > 0 { 1 + probes * (probe + 1) } else { 0 };
        let searching = epochs.saturating_sub(from_epoch);
        let loss = train.and_then(|train| train.get("loss"));
        let trained = epochs * loss.map_or(1, |loss| engine.loss_passes(loss));
        let all_passes = trained + epochs * steps + searching * adaptive;
        let n = images.unwrap_or(0) as f64;
        let entries = pipeline.get("evaluate").and_then(Value::as_array).into_iter().flatten();
        let entries: Vec<&Table> = entries.filter_map(Value::as_table).collect();
        // For each sample: its id and radius after each epoch, and its memory in both checkpoints.
        let radii = if train.is_some_and(|t| t.contains_key("epsilon")) { 16 * (epochs + 1) } else { 0 };
        Self {
            training: all_passes as f64 * n,
            steps: trained as f64 * n,
            judging: entries.iter().map(|entry| judging(entry, test, engine, all)).sum(),
            epochs,
            images,
            kept: radii as f64 * n + 2.0 * entries.iter().map(|entry| records(entry, test)).sum::<f64>(),
        }
    }
}

/// Number of images that an evaluation judges.
fn judged(entry: &Table, test: Option<u64>) -> u64 {
    match (entry.get("samples").and_then(Value::as_integer).map(|n| n as u64), test) {
        (Some(samples), Some(test)) => samples.min(test),
        (samples, test) => samples.or(test).unwrap_or(0),
    }
}

/// How often an evaluation runs the network on each image, unperturbed or corrupted.
fn shown(entry: &Table) -> u64 {
    entry.get("corruptions").map_or(1, |corruptions| {
        let length = |key: &str, all| corruptions.get(key).and_then(Value::as_array).map_or(all, Vec::len);
        1 + (length("only", 19) * length("severities", 5)) as u64
    })
}

/// Bytes of an evaluation's records.
fn records(entry: &Table, test: Option<u64>) -> f64 {
    let attacked = ["attack", "attacks", "suite"].iter().any(|key| entry.contains_key(*key));
    (judged(entry, test) * shown(entry)) as f64 * RECORD[usize::from(attacked)]
}

/// Upper bound on the passes of an evaluation.
fn judging(entry: &Table, test: Option<u64>, engine: &dyn Engine, images: Option<DatasetSize>) -> f64 {
    let number = |key: &str| entry.get(key).and_then(Value::as_integer).map(|n| n as u64);
    let list = |key: &str| entry.get(key).and_then(Value::as_array);
    let classes = images.map_or(0, |images| images.classes);
    let suite = entry.get("suite").map_or(0, |suite| engine.suite(suite, entry, classes));
    let attacks = entry.get("attack").into_iter().chain(list("attacks").into_iter().flatten());
    let once = attacks.map(|attack| passes(attack, engine, classes)).sum::<u64>() + suite;
    let radii =
        entry.get("sweep").and_then(|s| s.get("radius")).and_then(Value::as_array).map_or(1, Vec::len);
    let attacked = once * number("restarts").unwrap_or(1) * radii as u64;
    (attacked + shown(entry)) as f64 * judged(entry, test) as f64
}

/// Upper bound on the passes of an attack given as TOML. If its plugin cannot report it, the bound is `steps`
/// times `restarts` from the attack's table.
fn passes(attack: &Value, engine: &dyn Engine, classes: usize) -> u64 {
    let Some((name, parameters)) = chosen(attack) else { return 0 };
    if name == "none" {
        return 0;
    }
    let number = |key: &str| parameters.and_then(|p| p.get(key)).and_then(Value::as_integer);
    let listed =
        || number("steps").unwrap_or(10).max(0) as u64 * number("restarts").unwrap_or(1).max(0) as u64;
    engine.passes(attack, classes).unwrap_or_else(listed)
}

/// The functions that this crate needs from its caller, which knows the plugins and runs networks.
pub trait Engine {
    /// The size of a pipeline's data set, as far as it is known without opening the data set.
    fn images(&self, pipeline: &Table) -> Option<DatasetSize>;

    /// Upper bound on the passes that an attack makes per image, on a network with this number of classes.
    /// Forward and backward together are one pass. `None` if its plugin cannot report it.
    fn passes(&self, attack: &Value, classes: usize) -> Option<u64>;

    /// The same bound for the suite of an evaluation, over all its attacks and their restarts; 0 if the suite
    /// cannot be resolved.
    fn suite(&self, suite: &Value, entry: &Table, classes: usize) -> u64;

    /// Upper bound on the probes that an epsilon policy makes per sample and epoch, and the first epoch with
    /// probes, from 0. An unknown policy makes no probes.
    fn probes(&self, epsilon: &Value) -> [u64; 2];

    /// Passes of a loss per sample and step; forward and backward together are one pass. 1 for an unknown loss.
    fn loss_passes(&self, loss: &Value) -> u64;

    /// The rate of a pipeline's network on images of this shape, measured within this number of seconds.
    fn rate(&mut self, pipeline: &Table, images: DatasetSize, seconds: f64) -> anyhow::Result<Rate>;
}

/// The size of a data set, as far as it is known without opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatasetSize {
    /// Number of training images.
    pub train: u64,
    /// Number of test images.
    pub test: u64,
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// Number of classes.
    pub classes: usize,
}

/// Number of images in a batch.
pub fn batch(pipeline: &Table) -> u64 {
    let batch = pipeline.get("train").and_then(|train| train.get("batch")).and_then(Value::as_integer);
    batch.map_or(128, |batch| batch.max(1) as u64)
}

/// The time of a network's passes on this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Rate {
    /// Seconds per image of a training step: forward and backward to the weights, and the optimiser.
    pub step: f64,
    /// Seconds per image of an attack's pass: forward and backward to the pixels.
    pub pass: f64,
    /// Size of the batches that it was measured on: that of the pipeline, or smaller if the time did not suffice.
    pub batch: u64,
    /// Bytes of a run's two checkpoints and of its weights.
    pub checkpoints: u64,
}

impl Rate {
    /// Upper bounds, in seconds, on a run of this cost: its training, and its evaluations.
    pub fn seconds(&self, cost: &RunCost) -> [f64; 2] {
        [cost.steps * self.step + (cost.training - cost.steps) * self.pass, cost.judging * self.pass]
    }

    /// The rate as text for people; `whole` is the number of images in a batch of the pipeline.
    pub fn told(&self, whole: u64) -> String {
        let mut text = format!(
            "{:.3} ms a step of training and image, {:.3} ms a pass of an attack, in batches of {}",
            self.step * 1e3,
            self.pass * 1e3,
            self.batch
        );
        if self.batch < whole {
            let _ = write!(text, "; a rough estimate: time did not allow batches of {whole}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A caller that knows CIFAR-10 and one suite.
    struct Known;

    impl Engine for Known {
        fn images(&self, pipeline: &Table) -> Option<DatasetSize> {
            let cifar = pipeline.get("dataset")?.as_str()? == "cifar10";
            cifar.then_some(DatasetSize { train: 50_000, test: 10_000, shape: [3, 32, 32], classes: 10 })
        }

        fn passes(&self, attack: &Value, classes: usize) -> Option<u64> {
            let pgd = attack.get("all-classes")?;
            Some(pgd["steps"].as_integer().unwrap() as u64 * (classes as u64 - 1))
        }

        fn suite(&self, suite: &Value, _entry: &Table, classes: usize) -> u64 {
            assert_eq!((suite.as_str(), classes), (Some("both"), 10));
            8
        }

        fn probes(&self, epsilon: &Value) -> [u64; 2] {
            let adaptive = epsilon.get("adaptive");
            adaptive.map_or([0; 2], |adaptive| [2, adaptive["warmup"].as_integer().unwrap() as u64])
        }

        fn loss_passes(&self, loss: &Value) -> u64 {
            if loss.get("mixup").is_some() { 2 } else { 1 }
        }

        fn rate(&mut self, _: &Table, _: DatasetSize, _: f64) -> anyhow::Result<Rate> {
            anyhow::bail!("nothing is timed here")
        }
    }

    fn cost(text: &str) -> RunCost {
        RunCost::of(&text.parse().unwrap(), &Known)
    }

    #[test]
    fn passes_are_counted_by_hand() {
        let fixed = "dataset = \"cifar10\"\nsubset.train = 1000\ntrain.epochs = 4\ntrain.attack.pgd.steps = 5\n\
                     train.epsilon.fixed.radius = 0.1\n";
        // Each epoch: 5 passes of the attack, one of the step.
        assert_eq!(cost(fixed).training, 4.0 * 6.0 * 1000.0);
        assert_eq!(cost(fixed).steps, 4.0 * 1000.0);
        // Mixup trains on clean images too.
        let mixup = cost(&format!("{fixed}train.loss.mixup.alpha = 1.0"));
        assert_eq!((mixup.training, mixup.steps), (4.0 * 7.0 * 1000.0, 8.0 * 1000.0));
        let adaptive = fixed.replace("fixed.radius = 0.1", "adaptive.warmup = 1");
        // Three epochs more with a clean pass and two probes of 5 + 1.
        assert_eq!(cost(&adaptive).training, (4.0 * 6.0 + 3.0 * 13.0) * 1000.0);
        let judged = format!(
            "{fixed}[[evaluate]]\nname = \"a\"\n[[evaluate]]\nname = \"b\"\nsamples = 10\n\
             attack.pgd = {{ steps = 20, restarts = 5 }}\n[[evaluate]]\nname = \"c\"\nsamples = 10\ncorruptions.only = [\"fog\"]"
        );
        assert_eq!(cost(&judged).judging, 10_000.0 + 10.0 * 101.0 + 10.0 * 6.0);
        let suite = format!("{fixed}[[evaluate]]\nname = \"s\"\nsamples = 10\nsuite = \"both\"");
        assert_eq!(cost(&suite).judging, 10.0 * (8.0 + 1.0));
        // An attack that reports its cost itself, here one that tries all wrong classes.
        let said = suite.replace("suite = \"both\"", "attack.all-classes.steps = 7\nrestarts = 2");
        assert_eq!(cost(&said).judging, 10.0 * (2.0 * 7.0 * 9.0 + 1.0));
        assert_eq!(cost(&judged).images, Some(1000));
        // The radii of four epochs and a memory in two checkpoints, and a record of each image with its copy.
        let records = 2.0 * (27.0 * (10_000.0 + 10.0 * 6.0) + 53.0 * 10.0);
        assert_eq!(cost(&judged).kept, 16.0 * 5.0 * 1000.0 + records);
        assert_eq!(cost("dataset = \"other\"").images, None);
    }

    #[test]
    fn seconds_are_those_of_steps_and_of_attacks_passes() {
        let rate = Rate { step: 0.003, pass: 0.002, batch: 16, checkpoints: 0 };
        let cost =
            RunCost { training: 700.0, steps: 100.0, judging: 50.0, epochs: 1, images: Some(100), kept: 0.0 };
        let [training, judging] = rate.seconds(&cost);
        assert!((training - 1.5).abs() < 1e-9 && (judging - 0.1).abs() < 1e-9, "{training} {judging}");
        assert!(rate.told(16).ends_with("in batches of 16"));
        assert!(rate.told(128).ends_with("; a rough estimate: time did not allow batches of 128"));
    }
}
