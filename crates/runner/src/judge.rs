//! The evaluations at the end of a run: of its last weights, its best, or both.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use temper_core::Device;
use temper_core::nn::{Classifier, Frozen};
use temper_evaluate::evaluate;
use temper_report::percent;
use temper_train::{State, load_about, load_weights};

use crate::config::Pipeline;
use crate::interrupt::Interrupt;
use crate::material::Material;
use crate::progress;
use crate::run_dir::RunDir;
use crate::select::{Best, Which};

/// Weights to be judged.
pub(crate) struct Judged {
    /// The word for them in `results.json`.
    word: &'static str,
    /// Epoch that left them, from 1.
    epoch: usize,
    frozen: Frozen,
}

/// The weights that the pipeline wants judged.
pub(crate) fn judged(
    pipeline: &Pipeline,
    state: &State,
    dir: &RunDir,
    best: Option<Best>,
    device: &Device,
) -> anyhow::Result<Vec<Judged>> {
    let network = || state.classifier.network().clone();
    let mut all = vec![];
    let which = pipeline.select.as_ref().map_or(Which::Last, |select| select.judge);
    if let (Which::Best | Which::Both, Some(Best { epoch, .. })) = (which, best) {
        let file = dir.best();
        let about: Option<Value> = load_about(&file)?.and_then(|about| serde_json::from_str(&about).ok());
        if about.as_ref().and_then(|about| about["epoch"].as_u64()) != Some(epoch as u64) {
            bail!(
                "{} does not hold the weights of epoch {epoch}\n  judge the last ones, with `--set select.judge=last`, or \
                 start anew with --force",
                file.display()
            );
        }
        let classifier = Classifier::new(network(), &load_weights(&file)?)
            .with_context(|| file.display().to_string())?
            .to_device(device)?;
        all.push(Judged { word: "best", epoch, frozen: Frozen::new(&classifier)? });
    }
    if which != Which::Best {
        let frozen = Frozen::new(&Classifier::new(network(), &state.result())?)?;
        all.push(Judged { word: "last", epoch: state.epoch, frozen });
    }
    Ok(all)
}

/// All evaluations of all these weights, as `results.json` has them, and the test images that could not be decoded, with the
/// reason.
pub(crate) fn judge(
    pipeline: &Pipeline,
    material: &Material,
    judged: &[Judged],
    device: &Device,
    interrupt: &Interrupt,
) -> anyhow::Result<(Vec<Value>, BTreeMap<u64, String>)> {
    let batch = pipeline.train.batch.get();
    let (mut done, mut unread) = (vec![], BTreeMap::new());
    for Judged { word, epoch, frozen } in judged {
        for entry in &pipeline.evaluate {
            let bar = progress::evaluation(&entry.name, material.test.len());
            let mut watch = |n: usize, standing: usize| {
                bar.set_position(n as u64);
                bar.set_message(percent(standing as f64 / n.max(1) as f64));
                if interrupt.heard() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let evaluation =
                evaluate(frozen, &material.test, entry, batch, pipeline.seed, device, &mut watch);
            bar.finish_and_clear();
            let Some(evaluation) = evaluation.with_context(|| format!("evaluation `{}`", entry.name))? else {
                let what = format!("in the evaluation `{}`; training is done and kept", entry.name);
                return Err(interrupt.stopped(&what));
            };
            unread.extend(evaluation.unreadable.clone());
            let mut evaluation = serde_json::to_value(evaluation)?;
            evaluation["weights"] = json!(word);
            evaluation["epoch"] = json!(epoch);
            done.push(evaluation);
        }
    }
    Ok((done, unread))
}
