//! Seconds a pass on this machine, of each network that a table trains: measured in about a minute, on a few of its images.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail};
use toml::{Table, Value};

use super::cost::Cost;
use super::execute::Place;
use super::made_up::{self, MadeUp};
use super::probe::{self, Interrupt, Timed};
use super::table::Scale;

/// Images of the first probe, which shows how many the next one may have.
const FIRST: u64 = 4;
/// Gradient steps of the attack whose passes are timed.
const STEPS: u64 = 2;
/// What both probes of a network take an image, in steps of training: a pass of an attack is about two thirds of one.
const BOTH: f64 = probe::EPOCHS as f64 * (1.0 + 1.0 + STEPS as f64 * 2.0 / 3.0);
/// Probes more than these images tell nothing new.
const MOST: u64 = 1 << 16;
/// By how much a probe may be larger than the one before: the first ones are slow for their size.
const GROWTH: u64 = 32;

/// How long to measure, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// All networks, and the starts of their processes.
    pub all: f64,
    /// Passes of one network: more where a batch takes longer, fewer where `all` is not enough.
    pub each: f64,
}

impl Budget {
    /// That of a scale: where a row takes seconds, a minute would be more than what is estimated.
    pub fn of(scale: Scale) -> Self {
        match scale {
            Scale::Smoke => Self { all: 2.0, each: 0.5 },
            Scale::Paper | Scale::Cpu | Scale::CpuFashion => Self { all: 60.0, each: 10.0 },
        }
    }
}

/// What was measured of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Rate {
    /// Seconds of a step of training, an image: forward and backward, to the weights.
    pub step: f64,
    /// Seconds of a pass of an attack, an image: forward and backward, to the pixels.
    pub pass: f64,
    /// Bytes of a run's checkpoints and weights.
    pub checkpoints: u64,
    /// Images that it was measured on.
    pub images: u64,
    /// Images of a batch in the row, and here, where time allowed only fewer.
    pub batch: (u64, u64),
    /// Why the images were made up, if they were.
    pub made_up: Option<String>,
}

impl Rate {
    /// Joins a probe without an attack and one with an attack of `STEPS` steps, on as many images.
    fn of(clean: f64, attacked: f64) -> (f64, f64) {
        let pass = (attacked - clean) / STEPS as f64;
        let mean = attacked / (STEPS + 1) as f64;
        // A pass of an attack is near the mean. Far below it, something else had the machine during the other probe: then the mean
        // itself, which is more than an attack's.
        (clean, if pass < mean / 2.0 { mean } else { pass })
    }

    /// Seconds of a run of this cost, at most: of its training, and of its evaluations.
    pub fn seconds(&self, cost: &Cost) -> [f64; 2] {
        [cost.steps * self.step + (cost.training - cost.steps) * self.pass, cost.judging * self.pass]
    }

    fn told(&self) -> String {
        let mut text = format!(
            "{:.3} ms a step of training and image, {:.3} ms a pass of an attack, on {} images",
            self.step * 1e3,
            self.pass * 1e3,
            self.images
        );
        let (whole, here) = self.batch;
        if here < whole {
            let _ = write!(text, "; a rough estimate: time allowed a batch of {here}, not of {whole}");
        }
        if let Some(why) = &self.made_up {
            let _ =
                write!(text, "\n    its images were made up, so reading real ones is not in the time: {why}");
        }
        text
    }
}

/// What was measured of all networks.
#[derive(Debug, Default)]
pub struct Calibration {
    /// By [`key`]: the networks' names, and their rate or why there is none.
    pub rates: BTreeMap<String, (String, Result<Rate, String>)>,
    /// How long it took.
    pub seconds: f64,
}

impl Calibration {
    /// The rate of a pipeline's network, if there is one.
    pub fn rate(&self, pipeline: &Table) -> Option<&Rate> {
        self.rates.get(&key(pipeline))?.1.as_ref().ok()
    }

    /// For people: a line and more a network.
    pub fn told(&self) -> String {
        let mut text = format!("calibration took {:.0} s:\n", self.seconds);
        for (names, rate) in self.rates.values() {
            let told = match rate {
                Ok(rate) => rate.told(),
                Err(why) => format!("no estimate, for calibration failed: {why}"),
            };
            let _ = writeln!(text, "  {names}: {told}");
        }
        text
    }

    /// The same reason for all of these.
    pub fn failed(asked: &[(&str, &Table)], why: &str) -> Self {
        let networks = networks(asked);
        let failed = networks.into_iter().map(|(key, network)| (key, (network.names, Err(why.to_string()))));
        Self { rates: failed.collect(), seconds: 0.0 }
    }
}

/// What a pass's time depends on: data set, network, batch, and whether attacks see batch statistics; as text.
pub fn key(pipeline: &Table) -> String {
    let mut key = Table::new();
    for name in ["dataset", "model", "device", "numerics"] {
        key.extend(pipeline.get(name).map(|value| (name.to_string(), value.clone())));
    }
    key.insert("batch".into(), (probe::batch(pipeline) as i64).into());
    key.to_string()
}

/// A network, and the pipeline by which it is measured.
struct Network<'a> {
    names: String,
    pipeline: &'a Table,
}

/// The distinct networks of named pipelines. One with an attack is preferred: it says how attacks see batch norm.
fn networks<'a>(asked: &[(&str, &'a Table)]) -> BTreeMap<String, Network<'a>> {
    let mut networks: BTreeMap<String, Network> = BTreeMap::new();
    let attacks =
        |pipeline: &Table| pipeline.get("train").is_some_and(|train| train.get("epsilon").is_some());
    for (name, pipeline) in asked {
        let network =
            networks.entry(key(pipeline)).or_insert_with(|| Network { names: (*name).into(), pipeline });
        if !network.names.split(", ").any(|known| known == *name) {
            let _ = write!(network.names, ", {name}");
        }
        if attacks(pipeline) && !attacks(network.pipeline) {
            network.pipeline = pipeline;
        }
    }
    networks
}

/// Measures the networks of these pipelines, which have the networks' names, by the binary; leaves nothing behind.
pub fn calibrate(place: &Place, asked: &[(&str, &Table)], budget: Budget) -> Calibration {
    let begun = Instant::now();
    let ready = || -> anyhow::Result<_> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        Ok((folder, Interrupt::listen()?))
    };
    let (folder, interrupt) = match ready() {
        Ok(ready) => ready,
        Err(error) => return Calibration::failed(asked, &format!("{error:#}")),
    };
    let mut bench = Bench { place, folder: folder.path(), interrupt, made_up: BTreeMap::new() };
    let networks = networks(asked);
    let (mut left, mut rates) = (networks.len(), BTreeMap::new());
    for (key, Network { names, pipeline }) in networks {
        let share = (budget.all - begun.elapsed().as_secs_f64()).max(0.0) / left as f64;
        let rate = bench.rate(pipeline, share, budget.each).map_err(|error| format!("{error:#}"));
        rates.insert(key, (names, rate));
        left -= 1;
    }
    Calibration { rates, seconds: begun.elapsed().as_secs_f64() }
}

/// Images that a probe may have, after one of `done` images.
fn next(pipeline: &Table, done: u64, timed: Timed, seconds: f64, most: u64) -> u64 {
    let fit = seconds / (BOTH * timed.seconds.max(1e-9));
    let images = (fit as u64).min(most).min(done.saturating_mul(GROWTH));
    let batch = probe::batch(pipeline);
    match images / batch {
        0 => images,
        whole => whole * batch,
    }
}

/// Where probes run.
struct Bench<'a> {
    place: &'a Place,
    folder: &'a Path,
    interrupt: Interrupt,
    /// By data set as TOML, those that are not at hand, and why.
    made_up: BTreeMap<String, (MadeUp, String)>,
}

impl Bench<'_> {
    /// Measures a network within `share` seconds, with `each` seconds of passes if that is enough for them.
    fn rate(&mut self, pipeline: &Table, share: f64, each: f64) -> anyhow::Result<Rate> {
        let begun = Instant::now();
        let left = || share - begun.elapsed().as_secs_f64();
        let batch = probe::batch(pipeline);
        let mut images = FIRST.min(batch);
        let mut clean = self.probe(pipeline, images, 0)?;
        let most = self.most(pipeline);
        // The first images of a process are slow, so that more of them may fit than it seemed.
        for _ in 0..3 {
            let whole = BOTH * clean.seconds * batch as f64;
            let seconds = each.max(whole).min(left() - 2.0 * clean.overhead);
            let more = next(pipeline, images, clean, seconds, most);
            if more < images + images.div_ceil(2) {
                break;
            }
            images = more;
            clean = self.probe(pipeline, images, 0)?;
        }
        let attacked = self.probe(pipeline, images, STEPS)?;
        let (step, pass) = Rate::of(clean.seconds, attacked.seconds);
        let made_up = self.made_up.get(&dataset(pipeline)).map(|(_, why)| why.clone());
        let batch = (batch, batch.min(images));
        Ok(Rate { step, pass, checkpoints: attacked.checkpoints, images, batch, made_up })
    }

    /// How many images there are.
    fn most(&self, pipeline: &Table) -> u64 {
        match self.made_up.get(&dataset(pipeline)) {
            Some((made_up, _)) => made_up.images as u64,
            None => Cost::of(pipeline).images.unwrap_or(MOST).min(MOST),
        }
    }

    /// A probe on the row's data set, or on made-up images where that cannot be read.
    fn probe(&mut self, pipeline: &Table, images: u64, steps: u64) -> anyhow::Result<Timed> {
        let key = dataset(pipeline);
        if !self.made_up.contains_key(&key) {
            let probe = probe::compose(pipeline, images, steps);
            let error = match probe::run(self.place, self.folder, &probe, images, &self.interrupt) {
                Ok(timed) => return Ok(timed),
                Err(error) => error,
            };
            // Temper's words for data that it cannot read begin so; other faults are not the data's.
            let why = error.to_string();
            let (true, Some(value)) = (why.starts_with("dataset `"), pipeline.get("dataset")) else {
                return Err(error);
            };
            let folder = self.folder.join(format!("images-{}", self.made_up.len()));
            let Some(made_up) = made_up::write(value, &folder)? else {
                bail!("its data set is not at hand, and images like its cannot be made up: {why}");
            };
            let line = why.lines().next().unwrap_or_default();
            let line = line.split_once("`: ").map_or(line, |(_, line)| line);
            self.made_up.insert(key.clone(), (made_up, line.to_string()));
        }
        let mut pipeline = pipeline.clone();
        if let Some((made_up, _)) = self.made_up.get(&key) {
            pipeline.insert("dataset".into(), made_up.dataset.clone());
        }
        let probe = probe::compose(&pipeline, images, steps);
        probe::run(self.place, self.folder, &probe, images, &self.interrupt)
    }
}

fn dataset(pipeline: &Table) -> String {
    pipeline.get("dataset").map_or_else(String::new, Value::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        text.parse().unwrap()
    }

    #[test]
    fn seconds_are_those_of_steps_and_of_attacks_passes() {
        // Two passes of 2 s beside a step of 5 s.
        assert_eq!(Rate::of(5.0, 9.0), (5.0, 2.0));
        // A disturbed step takes more than all passes should: their mean then.
        assert_eq!(Rate::of(11.0, 12.0), (11.0, 4.0));
        let cost =
            Cost { training: 60.0, steps: 10.0, judging: 100.0, epochs: 1, images: Some(10), kept: 0.0 };
        let rate = Rate { step: 5.0, pass: 2.0, checkpoints: 0, images: 8, batch: (128, 8), made_up: None };
        assert_eq!(rate.seconds(&cost), [10.0 * 5.0 + 50.0 * 2.0, 200.0]);
        assert!(
            rate.told().ends_with("on 8 images; a rough estimate: time allowed a batch of 8, not of 128")
        );
    }

    #[test]
    fn probes_grow_to_whole_batches_within_the_time() {
        let pipeline = table("train.batch = 128");
        let timed = |seconds| Timed { seconds, overhead: 0.0, checkpoints: 0 };
        // 20 s for two epochs of 10/3 steps an image of 5 ms: 600 images, four batches.
        assert_eq!(next(&pipeline, 128, timed(0.005), 20.0, 4096), 512);
        // Not even one batch: as many as there is time for.
        assert_eq!(next(&pipeline, 8, timed(0.1), 20.0, 4096), 30);
        // Neither more than 32 times as many, nor more than there are; nothing without time.
        assert_eq!(next(&pipeline, 8, timed(1e-6), 10.0, 4096), 256);
        assert_eq!(next(&pipeline, 1024, timed(1e-6), 10.0, 4096), 4096);
        assert_eq!(next(&pipeline, 8, timed(0.1), -1.0, 4096), 0);
    }

    #[test]
    fn rows_with_one_network_are_measured_once_by_one_with_an_attack() {
        let row = |more: &str| table(&format!("dataset = \"cifar10\"\nmodel.resnet.depth = 18\n{more}"));
        let clean = row("train.batch = 64");
        let attacked = row("seed = 1\ntrain = { batch = 64, epsilon.fixed.radius = 0.1 }");
        let larger = row("train.batch = 128");
        let asked = [("a", &clean), ("b", &attacked), ("a", &clean), ("a", &larger)];
        let networks = networks(&asked);
        assert_eq!(networks.len(), 2);
        let first = &networks[&key(&clean)];
        assert_eq!((first.names.as_str(), first.pipeline), ("a, b", &attacked));
    }

    #[test]
    fn a_binary_that_cannot_be_started_is_told() {
        let place = Place { binary: "no-such-binary".into(), folder: ".".into(), quiet: true };
        let pipeline = table("dataset = \"cifar10\"");
        let calibration = calibrate(&place, &[("resnet18", &pipeline)], Budget::of(Scale::Smoke));
        assert!(calibration.rate(&pipeline).is_none());
        let told = calibration.told();
        assert!(
            told.contains("resnet18: no estimate, for calibration failed: cannot start no-such-binary"),
            "{told}"
        );
    }
}
