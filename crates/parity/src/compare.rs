//! Differences between temper's numbers and the stored ones, and the bounds on them.

use std::path::Path;

use anyhow::Context;

use crate::manifest::{Manifest, NetworkEntry, NetworkFile, Peer, PeerAttack};
use crate::network::{self, Attacked, Networks};

/// Largest difference of a logit, with exact sums.
pub const LOGITS: f64 = 1e-4;
/// Largest relative l2 distance of all logits, with fast sums.
pub const FAST_LOGITS: f64 = 1e-2;
/// Largest relative l2 distance of an input gradient, at the median of all images: near a kink, one rounding
/// can change the gradient. With exact sums, and with fast ones.
pub const GRADIENTS: [f64; 2] = [1e-4, 1e-2];
/// One image in this many may be broken on one side only.
pub const ONE_IN: usize = 500;
/// Largest ratio of temper's median distance to a library's.
pub const MEDIAN: f64 = 1.02;
/// Largest ratio of a library's median distance to temper's. A better search finds slightly shorter distances;
/// much shorter ones indicate a fault.
const SHORTER: f64 = 1.1;

/// A network, compared with the results of other programs.
#[derive(Debug)]
pub struct NetworkReport {
    /// One report for each of its files.
    pub files: Vec<FileReport>,
    /// One report for each attack of a library, in the order of the manifest.
    pub attacks: Vec<AttackReport>,
}

/// A number with exact and with fast sums.
pub type Both<T> = [T; 2];

/// A file that holds the network.
#[derive(Debug)]
pub struct FileReport {
    /// Its format.
    pub format: String,
    /// Largest difference of a logit from float64.
    pub logits: Both<f64>,
    /// Relative l2 distance of all logits from float64.
    pub relative: Both<f64>,
    /// Largest difference of a logit from ONNX Runtime, which only runs graphs, with exact sums.
    pub runtime: Option<f64>,
    /// Relative l2 distance of the input gradient from float64, at the median image.
    pub gradients: Both<f64>,
    /// Share of the images whose gradient differs by more than the bound of exact sums.
    pub kinked: Both<f64>,
    /// For each attack within a ball: its name, the number of images attacked, and the number broken on one
    /// side only.
    pub differ: Vec<(String, usize, Both<usize>)>,
}

/// The comparison of an attack with a library's.
#[derive(Debug)]
pub struct AttackReport {
    /// Its name.
    pub name: String,
    /// The library, and its precision.
    pub peer: String,
    /// Number of images attacked.
    pub images: usize,
    /// Whether temper must agree.
    pub bound: bool,
    /// The compared results.
    pub outcome: AttackOutcome,
}

/// The compared results of an attack.
#[derive(Debug)]
pub enum AttackOutcome {
    /// Share of the images that are broken.
    Broken {
        /// The library's share.
        theirs: f64,
        /// Temper's share.
        ours: Both<f64>,
        /// Number of images that are broken on one side only.
        differ: Both<usize>,
    },
    /// Median l2 distance of the images that are classified correctly.
    Distance {
        /// The library's distance.
        theirs: f64,
        /// Temper's distance, with exact sums.
        ours: f64,
        /// Share of these images whose distances differ by more than a thousandth.
        differ: f64,
    },
}

/// Compares every network of a folder, and passes each report to `hear` as soon as it is complete.
pub fn compare(
    folder: &Path,
    manifest: &Manifest,
    mut hear: impl FnMut(&NetworkEntry, &NetworkReport),
) -> anyhow::Result<Vec<String>> {
    let mut faults = vec![];
    for entry in &manifest.networks {
        let report =
            compared(folder, manifest, entry).with_context(|| format!("the network `{}`", entry.name))?;
        faults.extend(report.faults().into_iter().map(|fault| format!("{}: {fault}", entry.name)));
        hear(entry, &report);
    }
    Ok(faults)
}

fn compared(folder: &Path, manifest: &Manifest, entry: &NetworkEntry) -> anyhow::Result<NetworkReport> {
    let batch = network::images(folder, &entry.images, manifest.n)?;
    let reference = network::tensors(&folder.join(&entry.reference))?;
    let stored = |name: &str| {
        let tensor = reference.get(name).with_context(|| format!("no `{name}` in {}", entry.reference))?;
        network::rows(tensor)
    };
    let (logits, gradients) = (stored("logits")?, stored("gradients")?);
    let (_, c, h, w) = batch.pixels.dims4()?;
    let classes = logits.first().map_or(0, Vec::len);
    let mut report = NetworkReport { files: vec![], attacks: vec![] };
    for (place, file) in entry.files.iter().enumerate() {
        let networks = Networks::read(folder, file, [c, h, w], classes)?;
        let both = [&networks.exact, &networks.fast];
        let got = [network::logits(both[0], &batch)?, network::logits(both[1], &batch)?];
        let runtime = reference.get(&format!("runtime/{}", file.file)).map(network::rows).transpose()?;
        let slopes = [
            network::gradients(both[0], &batch, gradients.len())?,
            network::gradients(both[1], &batch, gradients.len())?,
        ];
        let slopes = slopes.each_ref().map(|got| each_apart(got, &gradients));
        let mut differ = vec![];
        for attack in &entry.attacks {
            let minimal = attack.peers.iter().any(|peer| peer.distances.is_some());
            if minimal && place > 0 {
                continue;
            }
            let ours = match minimal {
                true => vec![network::attacked(both[0], &batch, attack)?],
                false => vec![
                    network::attacked(both[0], &batch, attack)?,
                    network::attacked(both[1], &batch, attack)?,
                ],
            };
            if let (false, [exact, fast]) = (minimal, &ours[..]) {
                let judge = flags(judge(attack)?)?;
                let count = |ours: &Attacked| apart_in(&ours.broken, &judge);
                differ.push((attack.name.clone(), attack.images, [count(exact)?, count(fast)?]));
            }
            if place == 0 {
                for peer in &attack.peers {
                    report.attacks.push(beside(attack, peer, &ours)?);
                }
            }
        }
        report.files.push(FileReport {
            format: file.format.clone(),
            logits: got.each_ref().map(|got| largest(got, &logits)),
            relative: got.each_ref().map(|got| apart(&got.concat(), &logits.concat())),
            runtime: runtime.map(|runtime| largest(&got[0], &runtime)),
            gradients: slopes.each_ref().map(|all| median(all.clone())),
            kinked: slopes.each_ref().map(|all| {
                all.iter().filter(|off| **off > GRADIENTS[0]).count() as f64 / all.len().max(1) as f64
            }),
            differ,
        });
    }
    Ok(report)
}

/// The peer that temper must agree with.
fn judge(attack: &PeerAttack) -> anyhow::Result<&Peer> {
    let wide = attack.peers.iter().find(|peer| peer.precision == "float64");
    wide.with_context(|| format!("no library ran `{}` in float64", attack.name))
}

fn flags(peer: &Peer) -> anyhow::Result<Vec<bool>> {
    let text = peer.broken.as_ref().with_context(|| format!("{} has no `broken`", peer.library))?;
    Ok(text.bytes().map(|flag| flag == b'1').collect())
}

fn apart_in(ours: &[bool], theirs: &[bool]) -> anyhow::Result<usize> {
    anyhow::ensure!(ours.len() == theirs.len(), "flags of {} images, {} expected", theirs.len(), ours.len());
    Ok(ours.iter().zip(theirs).filter(|(ours, theirs)| ours != theirs).count())
}

fn beside(attack: &PeerAttack, peer: &Peer, ours: &[Attacked]) -> anyhow::Result<AttackReport> {
    let outcome = match (&peer.distances, ours) {
        (Some(theirs), [exact, ..]) => {
            anyhow::ensure!(theirs.len() == exact.distances.len(), "distances of {} images", theirs.len());
            let theirs: Vec<f64> = theirs.iter().map(|far| far.unwrap_or(f64::INFINITY)).collect();
            // If neither found an adversarial image, the clean image is misclassified or out of reach of both.
            let pairs: Vec<(f64, f64)> = (exact.distances.iter().copied().zip(theirs))
                .filter(|(ours, theirs)| ours.is_finite() || theirs.is_finite())
                .collect();
            let differ = pairs.iter().filter(|(ours, theirs)| !near(*ours, *theirs)).count();
            AttackOutcome::Distance {
                theirs: median(pairs.iter().map(|(_, theirs)| *theirs).collect()),
                ours: median(pairs.iter().map(|(ours, _)| *ours).collect()),
                differ: differ as f64 / pairs.len().max(1) as f64,
            }
        }
        (None, [exact, fast]) => {
            let theirs = flags(peer)?;
            AttackOutcome::Broken {
                theirs: share(&theirs),
                ours: [share(&exact.broken), share(&fast.broken)],
                differ: [apart_in(&exact.broken, &theirs)?, apart_in(&fast.broken, &theirs)?],
            }
        }
        _ => anyhow::bail!("`{}` has peers of both kinds, with and without distances", attack.name),
    };
    let (name, peer) = (attack.name.clone(), format!("{} {}", peer.library, peer.precision));
    Ok(AttackReport { name, peer, images: attack.images, bound: attack.bound, outcome })
}

/// Whether two distances are within a thousandth of each other.
fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-3 * a.min(b)
}

fn share(flags: &[bool]) -> f64 {
    flags.iter().filter(|flag| **flag).count() as f64 / flags.len().max(1) as f64
}

/// Largest difference; infinite if shapes differ or a value is NaN.
fn largest(got: &[Vec<f64>], want: &[Vec<f64>]) -> f64 {
    let (got, want) = (got.concat(), want.concat());
    if got.len() != want.len() {
        return f64::INFINITY;
    }
    let off = |(got, want): (&f64, &f64)| (got - want).abs();
    got.iter().zip(&want).map(off).fold(0.0, |most, off| if off <= most { most } else { off })
}

/// Relative l2 distance.
fn apart(got: &[f64], want: &[f64]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    if got.len() != want.len() {
        return f64::INFINITY;
    }
    let off = norm(&mut got.iter().zip(want).map(|(got, want)| got - want));
    // Both may be 0 everywhere.
    if off == 0.0 { 0.0 } else { off / norm(&mut want.iter().copied()) }
}

fn each_apart(got: &[Vec<f64>], want: &[Vec<f64>]) -> Vec<f64> {
    got.iter().zip(want).map(|(got, want)| apart(got, want)).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n => f64::midpoint(values[(n - 1) / 2], values[n / 2]),
    }
}

impl NetworkReport {
    /// The exceeded bounds, one sentence each.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = vec![];
        let mut demand = |what: String, got: f64, bound: f64| {
            // NaN is not within any bound.
            if got.is_nan() || got > bound {
                faults.push(format!("{what}: {got:.3e}, at most {bound:e} is expected"));
            }
        };
        for file in &self.files {
            let format = &file.format;
            demand(format!("{format}, logits with exact sums"), file.logits[0], LOGITS);
            demand(format!("{format}, logits with fast sums"), file.relative[1], FAST_LOGITS);
            if let Some(runtime) = file.runtime {
                demand(format!("{format}, logits beside ONNX Runtime"), runtime, LOGITS);
            }
            for (sums, off, bound) in
                [("exact", file.gradients[0], GRADIENTS[0]), ("fast", file.gradients[1], GRADIENTS[1])]
            {
                demand(format!("{format}, median gradient with {sums} sums"), off, bound);
            }
            for (name, images, differ) in &file.differ {
                let bound = images.div_ceil(ONE_IN) as f64;
                demand(format!("{format}, images that {name} breaks on one side"), differ[0] as f64, bound);
            }
        }
        for attack in self.attacks.iter().filter(|attack| attack.bound) {
            if let AttackOutcome::Distance { theirs, ours, .. } = attack.outcome {
                let what =
                    format!("{} beside {}, temper's median distance over theirs", attack.name, attack.peer);
                demand(what, ours / theirs, MEDIAN);
                let what =
                    format!("{} beside {}, their median distance over temper's", attack.name, attack.peer);
                demand(what, theirs / ours, SHORTER);
            }
        }
        faults
    }
}

/// The files of an entry, for messages.
pub(crate) fn formats(files: &[NetworkFile]) -> String {
    files.iter().map(|file| file.format.as_str()).collect::<Vec<_>>().join(", ")
}
