//! An upper bound on the time of an evaluation, from the passes that its attacks may make and the measured time
//! of a pass.

use std::time::Instant;

use temper_core::{Batch, DType, Goal, Passes, Tensor, Victim, VictimNetwork};
use temper_data::Batches;
use temper_results::Records;

use crate::{Cell, Entry, Result, Setting};

/// An evaluation with fewer passes ends before its estimate would be of use.
const WORTH_TIMING: u64 = 20_000;

/// An upper bound on the cost of an evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeEstimate {
    /// Forward passes for an image that survives all attacks.
    pub forwards: u64,
    /// Backward passes for such an image.
    pub backwards: u64,
    /// Images.
    pub images: usize,
    /// Wall time, if every image survives all attacks.
    pub seconds: f64,
}

/// The largest numbers of forward and backward passes that the attacks of an entry make per image, on a network
/// with this number of classes. `None` if an attack does not report them, or if there is no attack.
pub(crate) fn most_passes(entry: &Entry, classes: usize) -> Option<[u64; 2]> {
    let members = entry.members(classes).ok().filter(|members| !members.is_empty())?;
    let radii = entry.radii().len().max(1) as u64;
    let mut sum = [0u64; 2];
    for member in members {
        let of_run = member.attack.most_passes(classes)?;
        // A minimum-norm attack serves all radii with one run.
        let runs = if member.attack.min_norm().is_some() { 1 } else { member.runs() as u64 * radii };
        // Each run needs one forward pass to judge its result, and a minimum-norm attack a second one.
        let judged = 1 + u64::from(member.attack.min_norm().is_some());
        let [forwards, backwards] =
            [of_run[0].saturating_add(judged), of_run[1]].map(|n| n.saturating_mul(runs));
        sum = [sum[0].saturating_add(forwards), sum[1].saturating_add(backwards)];
    }
    // The forward pass over the clean image.
    Some([sum[0].saturating_add(1), sum[1]])
}

/// Estimates an evaluation of the clean images in `cell` that have no record yet. It times a forward and a
/// backward pass of one batch. `None` if an attack does not report its passes, or if there are too few passes
/// for an estimate to be of use.
pub fn estimate(
    setting: &Setting,
    entry: &Entry,
    cell: &Cell,
    records: &Records,
) -> Result<Option<TimeEstimate>> {
    let classes = setting.network.network().classes();
    let known: usize = cell.lines(&setting.key, records).map(|line| line.samples.len()).sum();
    let images = cell.source.len().saturating_sub(known);
    let Some([forwards, backwards]) = most_passes(entry, classes) else { return Ok(None) };
    let all = forwards.saturating_add(backwards).saturating_mul(images as u64);
    if entry.corruptions.is_some() || all < WORTH_TIMING {
        return Ok(None);
    }
    let order = (0..cell.source.len().min(setting.batch)).collect();
    let Some(raw) = Batches::new(cell.source.clone(), order, setting.batch, None).next() else {
        return Ok(None);
    };
    let raw = raw?;
    if raw.ids.is_empty() {
        return Ok(None);
    }
    let batch = Batch::new(raw, setting.device)?;
    let passes = Passes::heard_by(setting.pulse.clone());
    let network = setting.surrogate.map_or(setting.network, |surrogate| surrogate.network);
    let victim = Victim::new(VictimNetwork::Frozen(network), &batch, Goal::Mistake, &passes)?;
    // A device computes asynchronously: reading a number waits for it.
    let wait = |result: &Tensor| -> temper_core::Result<f64> {
        Ok(result.flatten_all()?.narrow(0, 0, 1)?.to_dtype(DType::F64)?.to_vec1::<f64>()?[0])
    };
    // The first passes pack weights and touch new memory.
    wait(&victim.gradient(&batch.pixels)?)?;
    let begun = Instant::now();
    wait(&victim.logits(&batch.pixels)?)?;
    let forward = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    wait(&victim.gradient(&batch.pixels)?)?;
    let backward = (begun.elapsed().as_secs_f64() - forward).max(0.0);
    let of_image = (forwards as f64 * forward + backwards as f64 * backward) / batch.len() as f64;
    Ok(Some(TimeEstimate { forwards, backwards, images, seconds: of_image * images as f64 }))
}
