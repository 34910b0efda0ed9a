//! The tables of `temper run --profile`: where time went, by kind of work and by layer.

use std::collections::BTreeMap;
use std::time::Instant;

use temper_core::nn::profile::{self, Pass, Profile, Work};
use temper_report::{Table, percent};

/// Layers in the table; the others are summed in its last row.
const LAYERS: usize = 25;

/// A measurement that has been started.
pub(crate) struct Profiled {
    started: Instant,
}

impl Profiled {
    /// Starts to measure.
    pub(crate) fn start() -> Self {
        profile::start();
        Self { started: Instant::now() }
    }

    /// Ends the measurement; returns its tables.
    pub(crate) fn tables(self) -> String {
        let all = self.started.elapsed().as_secs_f64();
        let profile = profile::stop();
        format!("\n{}\n{}", by_work(&profile, all), by_layer(&profile, all))
    }
}

impl Drop for Profiled {
    fn drop(&mut self) {
        profile::stop();
    }
}

/// What a kind of work is called.
fn word(work: Work) -> &'static str {
    match work {
        Work::Transform => "transforms of convolutions",
        Work::Product => "products of convolutions and linear layers",
        Work::Packing => "packing of weights",
        Work::BatchNorm => "batch norm",
        Work::Pooling => "pooling",
        Work::Layers => "other layers",
        Work::Loss => "losses",
        Work::Attack => "attacks, besides passes",
        Work::Optimiser => "optimiser",
        Work::Waiting => "waiting for images",
    }
}

fn by_work(profile: &Profile, all: f64) -> Table {
    let mut sums: BTreeMap<Work, f64> = BTreeMap::new();
    for (account, seconds) in &profile.seconds {
        *sums.entry(account.work).or_default() += seconds;
    }
    let mut sums: Vec<(&str, f64)> = sums.into_iter().map(|(work, seconds)| (word(work), seconds)).collect();
    sums.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let counted: f64 = sums.iter().map(|(_, seconds)| seconds).sum();
    sums.push(("everything else", (all - counted).max(0.0)));
    sums.push(("all", all));
    let mut table = Table::new(&["work", "seconds", "share"]);
    for (word, seconds) in sums {
        table.row(vec![word.into(), format!("{seconds:.2}"), percent(seconds / all)]);
    }
    table
}

fn by_layer(profile: &Profile, all: f64) -> Table {
    let mut layers: BTreeMap<&str, [f64; 3]> = BTreeMap::new();
    for (account, seconds) in &profile.seconds {
        let Some((layer, pass)) = &account.layer else { continue };
        let place = match pass {
            Pass::Forward => 0,
            Pass::InputGradient => 1,
            Pass::WeightGradient => 2,
        };
        layers.entry(layer).or_default()[place] += seconds;
    }
    let sum = |passes: &[f64; 3]| passes.iter().sum::<f64>();
    let mut layers: Vec<(String, [f64; 3])> =
        layers.into_iter().map(|(name, passes)| (name.to_string(), passes)).collect();
    layers.sort_by(|(_, a), (_, b)| sum(b).total_cmp(&sum(a)));
    if layers.len() > LAYERS {
        let rest = layers.split_off(LAYERS);
        let passes = [0, 1, 2].map(|place| rest.iter().map(|(_, passes)| passes[place]).sum());
        layers.push((format!("{} others", rest.len()), passes));
    }
    let mut table = Table::new(&["layer", "forward", "input gradient", "weight gradient", "share"]);
    for (name, passes) in layers {
        let cells = passes.map(|seconds| format!("{seconds:.2}"));
        table.row([vec![name], cells.to_vec(), vec![percent(sum(&passes) / all)]].concat());
    }
    table
}

#[cfg(test)]
mod tests {
    use temper_core::nn::profile::Account;

    use super::*;

    #[test]
    fn the_largest_come_first_and_the_rest_is_summed() {
        let mut profile = Profile::default();
        let mut add = |layer: Option<(String, Pass)>, work, seconds| {
            profile.seconds.insert(Account { layer, work }, seconds);
        };
        for i in 0..30 {
            add(Some((format!("conv{i}"), Pass::Forward)), Work::Product, 0.1);
        }
        add(Some(("fc".into(), Pass::WeightGradient)), Work::Product, 2.0);
        add(None, Work::Waiting, 1.0);
        let work = by_work(&profile, 10.0);
        let rows: Vec<String> = work.rows()[1..].iter().map(|row| row.join(" ")).collect();
        let expected = [
            "products of convolutions and linear layers 5.00 50.0 %",
            "waiting for images 1.00 10.0 %",
            "everything else 4.00 40.0 %",
            "all 10.00 100.0 %",
        ];
        assert_eq!(rows, expected);
        let layers = by_layer(&profile, 10.0);
        assert_eq!(layers.rows()[1].join(" "), "fc 0.00 0.00 2.00 20.0 %");
        assert_eq!(layers.rows().last().unwrap().join(" "), "6 others 0.60 0.00 0.00 6.0 %");
    }
}
