//! The time that a pass of each network takes on this machine, for rows that were not run yet.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use anyhow::Context;
use toml::Table;

use crate::cost::{Engine, Rate, batch};
use crate::table::Scale;

/// Time limit for timing all networks together, in seconds.
fn budget(scale: Scale) -> f64 {
    match scale {
        // Such a row takes seconds: a minute of timing would exceed the estimated time.
        Scale::Smoke => 2.0,
        Scale::Paper | Scale::Cpu | Scale::CpuFashion => 60.0,
    }
}

/// A network that is timed for rows that were never run here.
#[derive(Debug)]
struct Timed<'a> {
    /// Its names in the rows; several names may stand for one network.
    names: Vec<&'a str>,
    pipeline: &'a Table,
    rate: Result<Rate, String>,
}

/// The measurements of all networks.
#[derive(Debug, Default)]
pub struct Rates<'a> {
    /// Networks by `key`.
    networks: BTreeMap<String, Timed<'a>>,
    /// Duration of the timing.
    seconds: f64,
}

/// The settings that determine a pass's time, as text: data set, network, batch, and whether attacks use the
/// statistics of the batch.
fn key(pipeline: &Table) -> String {
    let mut key = Table::new();
    for name in ["dataset", "model", "device", "numerics"] {
        key.extend(pipeline.get(name).map(|value| (name.to_string(), value.clone())));
    }
    let mode = pipeline.get("train").and_then(|train| train.get("attack_batch_norm"));
    // The mode matters only to attacks: clean training is timed with any mode.
    key.extend(mode.filter(|mode| mode.as_str() != Some("eval")).map(|mode| ("mode".into(), mode.clone())));
    key.insert("batch".into(), (batch(pipeline) as i64).into());
    key.to_string()
}

impl<'a> Rates<'a> {
    /// Times the network of each pipeline once; pipelines come with their networks' names. `say` announces that
    /// this takes a while.
    pub fn measured(
        asked: &[(&'a str, &'a Table)],
        scale: Scale,
        engine: &mut dyn Engine,
        say: &mut dyn FnMut(&str),
    ) -> Self {
        let mut networks: BTreeMap<String, Timed> = BTreeMap::new();
        for (name, pipeline) in asked.iter().copied() {
            let new = || Timed { names: vec![], pipeline, rate: Err("it was not timed".into()) };
            let names = &mut networks.entry(key(pipeline)).or_insert_with(new).names;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if networks.is_empty() {
            return Self::default();
        }
        let (all, begun, mut left) = (budget(scale), Instant::now(), networks.len());
        say(&format!(
            "timing networks, {all:.0} s at most or little more; Ctrl-C prints the plan without it"
        ));
        for network in networks.values_mut() {
            let share = (all - begun.elapsed().as_secs_f64()).max(0.0) / left as f64;
            let rate = engine
                .images(network.pipeline)
                .context("the size of its images is not known here")
                .and_then(|images| engine.rate(network.pipeline, images, share));
            network.rate = rate.map_err(|error| format!("{error:#}"));
            left -= 1;
        }
        Self { networks, seconds: begun.elapsed().as_secs_f64() }
    }

    /// The rate of a pipeline's network, if there is one.
    pub fn of(&self, pipeline: &Table) -> Option<&Rate> {
        self.networks.get(&key(pipeline))?.rate.as_ref().ok()
    }

    /// The rates as text for people: one line for each network, empty if no network was timed.
    pub fn told(&self) -> String {
        if self.networks.is_empty() {
            return String::new();
        }
        let mut text = format!(
            "rows that were never run go by their networks, timed on random images for {:.0} s: reading images is not in it\n",
            self.seconds
        );
        for Timed { names, pipeline, rate } in self.networks.values() {
            let told = match rate {
                Ok(rate) => rate.told(batch(pipeline)),
                Err(why) => format!("no estimate: {why}"),
            };
            let _ = writeln!(text, "  {}: {told}", names.join(", "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use toml::Value;

    use super::*;
    use crate::cost::DatasetSize;

    /// A caller that knows CIFAR-10, and one network.
    struct Known {
        timed: Vec<([usize; 3], f64)>,
    }

    impl Engine for Known {
        fn images(&self, pipeline: &Table) -> Option<DatasetSize> {
            let cifar = pipeline.get("dataset")?.as_str()? == "cifar10";
            cifar.then_some(DatasetSize { train: 50_000, test: 10_000, shape: [3, 32, 32], classes: 10 })
        }

        fn passes(&self, _: &Value, _: usize) -> Option<u64> {
            None
        }

        fn suite(&self, _: &Value, _: &Table, _: usize) -> u64 {
            0
        }

        fn probes(&self, _: &Value) -> [u64; 2] {
            [0; 2]
        }

        fn loss_passes(&self, _: &Value) -> u64 {
            1
        }

        fn rate(&mut self, pipeline: &Table, images: DatasetSize, seconds: f64) -> anyhow::Result<Rate> {
            self.timed.push((images.shape, seconds));
            match pipeline["model"]["resnet"]["depth"].as_integer() {
                Some(18) => Ok(Rate { step: 0.002, pass: 0.001, batch: 128, checkpoints: 1000 }),
                _ => anyhow::bail!("too large"),
            }
        }
    }

    #[test]
    fn each_network_is_timed_once_and_what_fails_is_told() {
        let pipeline = |depth: usize, more: &str| -> Table {
            format!("dataset = \"cifar10\"\nmodel.resnet.depth = {depth}\n{more}").parse().unwrap()
        };
        let clean = pipeline(18, "seed = 1");
        let attacked = pipeline(18, "train.attack_batch_norm = \"eval\"");
        let (larger, other) = (pipeline(18, "train.batch = 256"), pipeline(34, ""));
        let unknown: Table = "dataset.image-folder.root = \"x\"".parse().unwrap();
        let asked =
            [("a", &clean), ("b", &attacked), ("a", &clean), ("a", &larger), ("c", &other), ("d", &unknown)];
        let mut engine = Known { timed: vec![] };
        let mut said = vec![];
        let rates = Rates::measured(&asked, Scale::Cpu, &mut engine, &mut |line| said.push(line.to_string()));
        assert!(said[0].starts_with("timing networks, 60 s at most"), "{said:?}");
        assert_eq!(rates.of(&attacked).map(|rate| rate.step), Some(0.002));
        assert!(rates.of(&other).is_none());
        let told = rates.told();
        for line in [
            "  a, b: 2.000 ms a step of training and image, 1.000 ms a pass of an attack, in batches of 128\n",
            "  a: 2.000 ms a step of training and image, 1.000 ms a pass of an attack, in batches of 128; a rough estimate: ",
            "  c: no estimate: too large\n",
            "  d: no estimate: the size of its images is not known here\n",
        ] {
            assert!(told.contains(line), "{told}");
        }
        assert_eq!(Rates::measured(&[], Scale::Cpu, &mut engine, &mut |_| ()).told(), "");
        let shapes: Vec<[usize; 3]> = engine.timed.iter().map(|(shape, _)| *shape).collect();
        assert_eq!(shapes, [[3, 32, 32]; 3]);
        // A minute is divided among the networks, and time that one network does not need is left to the next ones.
        assert!(
            engine.timed.iter().all(|(_, seconds)| (14.0..=60.0).contains(seconds)),
            "{:?}",
            engine.timed
        );
    }
}
