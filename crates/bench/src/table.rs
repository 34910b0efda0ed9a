//! The measurements, as a table and as JSON.

use std::fmt;

use serde_json::{Value, json};

use crate::works::Work;

/// One contender's rounds.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) name: String,
    /// Durations in milliseconds.
    pub(crate) rounds: Vec<f64>,
    /// Peak memory in bytes.
    pub(crate) peak: f64,
    /// Result of the work; empty if it has no result.
    pub(crate) result: String,
}

impl Measured {
    fn sorted(&self) -> Vec<f64> {
        let mut rounds = self.rounds.clone();
        rounds.sort_unstable_by(f64::total_cmp);
        rounds
    }

    fn median(&self) -> f64 {
        let rounds = self.sorted();
        f64::midpoint(rounds[(rounds.len() - 1) / 2], rounds[rounds.len() / 2])
    }
}

/// The measurements of one work.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) work: Work,
    pub(crate) ours: Measured,
    pub(crate) peers: Vec<Measured>,
}

/// The speed-up over a peer: the ratio of medians, and the least and largest ratio of single rounds.
fn ratios(ours: &Measured, peer: &Measured) -> (f64, [f64; 2]) {
    let mut each: Vec<f64> = ours.rounds.iter().zip(&peer.rounds).map(|(ours, peer)| peer / ours).collect();
    each.sort_unstable_by(f64::total_cmp);
    (peer.median() / ours.median(), [each[0], each[each.len() - 1]])
}

impl Row {
    /// The peer with the smallest median.
    fn best(&self) -> Option<&Measured> {
        self.peers.iter().min_by(|a, b| a.median().total_cmp(&b.median()))
    }

    /// `{work, ours_ms, peer, peer_ms, ratio, spread, best}` for each peer; without one, the peer's fields are null.
    pub(crate) fn json(&self) -> Vec<Value> {
        let ours = |peer: Option<&Measured>| {
            let (ratio, spread) = peer.map(|peer| ratios(&self.ours, peer)).unzip();
            json!({
                "work": self.work.name(),
                "registers": temper_nn::kernel::vector::registers().to_string(),
                "ours_ms": self.ours.median(),
                "ours_rounds_ms": self.ours.rounds,
                "ours_peak_bytes": self.ours.peak,
                "ours_result": self.ours.result,
                "peer": peer.map(|peer| &peer.name),
                "peer_ms": peer.map(Measured::median),
                "peer_rounds_ms": peer.map(|peer| &peer.rounds),
                "peer_peak_bytes": peer.map(|peer| peer.peak),
                "peer_result": peer.map(|peer| &peer.result),
                "ratio": ratio,
                "spread": spread,
                "best": peer.map(|peer| self.best().is_some_and(|best| best.name == peer.name)),
            })
        };
        match &self.peers[..] {
            [] => vec![ours(None)],
            peers => peers.iter().map(|peer| ours(Some(peer))).collect(),
        }
    }
}

/// The heading, with the hardware and the settings of the measurement.
pub(crate) fn heading(threads: usize) -> String {
    let registers = temper_nn::kernel::vector::registers();
    let model = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_string())
    });
    format!(
        "{}, {registers}, {threads} threads; medians, and the least and largest of the rounds\n\
         \n{:46} {:>9} {:>19} {:>9} {:>8} {:>9}",
        model.unwrap_or_else(|| "unknown processor".into()),
        "work",
        "ms",
        "from to",
        "passes/s",
        "GFLOP/s",
        "peak MiB",
    )
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, m: &Measured, with: String| {
            let (ms, rounds) = (m.median(), m.sorted());
            let rate = |per_round: Option<f64>| match per_round {
                Some(n) => format!("{:.0}", n / ms * 1e3),
                None => "-".into(),
            };
            let spread = format!("{:.1} {:.1}", rounds[0], rounds[rounds.len() - 1]);
            write!(
                f,
                "{name:46} {ms:9.1} {spread:>19} {:>9} {:>8} {:9.0}{with}",
                rate(self.work.passes()),
                rate(self.work.gflop()),
                m.peak / f64::from(1 << 20),
            )
        };
        line(&self.work.name(), &self.ours, found(&self.ours))?;
        for peer in &self.peers {
            let (ratio, [least, most]) = ratios(&self.ours, peer);
            let with = format!("  {ratio:.2}x ({least:.2} to {most:.2}){}", found(peer));
            line(&format!("\n  {}", peer.name), peer, with)?;
        }
        match self.best() {
            Some(best) if self.peers.len() > 1 => {
                let (ratio, [least, most]) = ratios(&self.ours, best);
                let name = best.name.trim_start_matches("torch ");
                write!(f, "\n  the best of PyTorch, {name}: {ratio:.2}x ({least:.2} to {most:.2})")
            }
            _ => Ok(()),
        }
    }
}

fn found(measured: &Measured) -> String {
    if measured.result.is_empty() { String::new() } else { format!("  {}", measured.result) }
}
