//! Progress bars on a terminal; without a terminal, one line per epoch.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use temper_core::Pulse;
use temper_evaluate::{BatchGlimpse, TimeEstimate};
use temper_report::percent;
use temper_results::{Epoch, Evaluation, Percentiles};
use temper_train::{Glimpse, Watch};

use crate::catalogue::wrap;
use crate::interrupt::Interrupt;
use crate::output::{event, inform, is_quiet, remark, shows_bars};

/// The evaluations that are still to come: the passes that they can make at most, and the time of a pass as measured so
/// far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ahead {
    /// Of each evaluation; `None` if an attack does not report its passes.
    passes: VecDeque<Option<u64>>,
    measured: f64,
    seconds: f64,
}

impl Ahead {
    /// Evaluations with these numbers of passes.
    pub(crate) fn of(passes: impl IntoIterator<Item = Option<u64>>) -> Self {
        Self { passes: passes.into_iter().collect(), ..Self::default() }
    }

    /// The next evaluation begins.
    pub(crate) fn begin(&mut self) {
        self.passes.pop_front();
    }

    /// Records that so many passes took so long.
    pub(crate) fn learn(&mut self, passes: f64, seconds: f64) {
        self.measured += passes;
        self.seconds += seconds;
    }

    /// Text after the time left of what runs now; empty if nothing is to come.
    fn told(&self) -> String {
        if self.passes.is_empty() {
            return String::new();
        }
        let sum: Option<u64> = self.passes.iter().try_fold(0u64, |sum, of| Some(sum.saturating_add((*of)?)));
        match sum.filter(|_| self.measured > 0.0) {
            Some(sum) => format!(", then up to {}", duration(sum as f64 * self.seconds / self.measured)),
            None => format!(", then {} more", self.passes.len()),
        }
    }
}

/// A time in words, with one unit.
fn duration(seconds: f64) -> String {
    match seconds / 60.0 {
        minutes if minutes < 1.5 => format!("{seconds:.0} s"),
        minutes if minutes < 90.0 => format!("{minutes:.0} min"),
        minutes => format!("{:.1} h", minutes / 60.0),
    }
}

/// Prints the end of an evaluation as an event.
pub(crate) fn evaluated(evaluation: &Evaluation) {
    if !is_quiet() {
        event("evaluation", evaluation);
    }
}

/// The progress of training.
pub(crate) struct TrainingBar {
    bar: ProgressBar,
    epochs: usize,
    /// Training images.
    samples: usize,
    /// The evaluations after training.
    ahead: Ahead,
    /// Time between two checkpoints.
    every: Duration,
    saved: Instant,
    interrupt: Interrupt,
}

impl TrainingBar {
    /// A bar over all epochs, of which some are done, on so many images.
    pub(crate) fn new(
        [epochs, done]: [usize; 2],
        samples: usize,
        ahead: Ahead,
        every: Duration,
        interrupt: Interrupt,
    ) -> Self {
        let bar = bar(&Self::template(&ahead));
        bar.set_prefix(format!("epoch {}/{epochs}", done + 1));
        Self { bar, epochs, samples, ahead, every, saved: Instant::now(), interrupt }
    }

    fn template(ahead: &Ahead) -> String {
        format!("{{prefix}} [{{bar:10}}] {{msg}}  {{eta}} left{}", ahead.told())
    }

    /// Records that a checkpoint was just written.
    pub(crate) fn saved(&mut self) {
        self.saved = Instant::now();
    }

    /// Records the end of an epoch.
    pub(crate) fn epoch(&mut self, report: &Epoch) {
        self.ahead.learn((report.forwards + report.backwards) * self.samples as f64, report.seconds);
        self.bar.set_style(style(&Self::template(&self.ahead)));
        if !is_quiet() {
            event("epoch", report);
        }
        let Epoch { epoch, loss, accuracy, seconds, skipped, vanished, .. } = report;
        let skipped = if *skipped > 0 { format!("  {skipped} skipped") } else { String::new() };
        let vanished = match vanished {
            0 => String::new(),
            n => format!("  {n} without a gradient"),
        };
        let radii = report.radii.map(|radii| format!("  {}", words(&radii))).unwrap_or_default();
        let held_out = report.held_out.as_ref();
        let held_out = held_out.map(|of| format!("  held out {}", percent(of.accuracy))).unwrap_or_default();
        let line = format!(
            "epoch {epoch}/{}  loss {loss:.3}  accuracy {}{held_out}{radii}{skipped}{vanished}  {seconds:.0} s",
            self.epochs,
            percent(*accuracy)
        );
        self.line(&line);
    }

    /// Prints a line above the bar.
    fn line(&self, text: &str) {
        if !shows_bars() {
            return;
        }
        if std::io::stderr().is_terminal() {
            self.bar.println(text);
        } else {
            remark(text);
        }
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Watch for TrainingBar {
    fn glimpse(&mut self, glimpse: &Glimpse) {
        let Glimpse { epoch, batch, batches, loss, .. } = glimpse;
        let length = self.epochs.saturating_mul(*batches) as u64;
        if self.bar.length() != Some(length) {
            self.bar.set_length(length);
            // Epochs before the run was resumed must not count towards its speed.
            self.bar.set_position(((epoch - 1) * batches + batch - 1) as u64);
            self.bar.reset_eta();
        }
        self.bar.set_prefix(format!("epoch {epoch}/{}", self.epochs));
        let rate = self.bar.per_sec();
        self.bar.set_message(format!("batch {batch}/{batches} {rate:.1}/s loss {loss:.2}"));
        self.bar.set_position(((epoch - 1) * batches + batch) as u64);
    }

    fn pause(&mut self) -> bool {
        self.interrupt.heard() || self.saved.elapsed() >= self.every
    }
}

/// The 5th, 50th and 95th percentile, as in "radii 0.08 0.10 0.12".
fn words(Percentiles { p5, p50, p95 }: &Percentiles) -> String {
    format!("radii {p5:.3} {p50:.3} {p95:.3}")
}

/// Parts of a sample that the bar of an evaluation counts, so that it also moves within a batch.
const PARTS: u64 = 1000;

/// Time for which a batch of an evaluation continues after an interruption.
const GRACE: Duration = Duration::from_secs(5);

/// The progress of one evaluation.
pub(crate) struct EvaluationBar<'i> {
    bar: ProgressBar,
    samples: usize,
    /// Passes since the last batch.
    passes: Arc<AtomicU64>,
    /// The handler that can interrupt it.
    interrupt: Option<&'i Interrupt>,
}

impl<'i> EvaluationBar<'i> {
    pub(crate) fn new(name: &str, samples: usize, interrupt: Option<&'i Interrupt>) -> Self {
        let bar = bar("{prefix} [{bar:20}] {msg}  {eta} left");
        bar.set_length((samples as u64).saturating_mul(PARTS));
        bar.set_prefix(name.to_string());
        bar.set_message(format!("0/{samples}"));
        Self { bar, samples, passes: Arc::default(), interrupt }
    }

    /// Shows what comes after this evaluation, too.
    pub(crate) fn before(self, ahead: &Ahead) -> Self {
        self.bar.set_style(style(&format!("{{prefix}} [{{bar:16}}] {{msg}}  {{eta}} left{}", ahead.told())));
        self
    }

    /// A pulse that moves the bar at each pass of an attack, and ends the attack when it is interrupted. `most` is
    /// the largest number of passes for a sample; without it the bar moves only after each batch.
    pub(crate) fn pulse(&self, most: Option<u64>) -> Pulse {
        let (bar, passes, all) = (self.bar.clone(), self.passes.clone(), self.samples as u64);
        let (interrupt, since) = (self.interrupt.cloned(), OnceLock::new());
        Pulse::new(move |samples| {
            let before = passes.fetch_add(samples as u64, Ordering::Relaxed);
            if let Some(most) = most.filter(|most| *most > 0) {
                let part = |passes: u64| passes.saturating_mul(PARTS) / most;
                let further = part(before + samples as u64) - part(before);
                // Only the last batch moves the bar to its end.
                let end = all.saturating_mul(PARTS).saturating_sub(1);
                bar.set_position(bar.position().saturating_add(further).min(end.max(bar.position())));
            }
            // A batch that ends soon is finished, because its results are then kept.
            let waited = interrupt.as_ref().filter(|interrupt| interrupt.heard());
            match waited.is_some_and(|_| since.get_or_init(Instant::now).elapsed() > GRACE) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })
    }

    /// Updates the bar; returns whether to continue.
    pub(crate) fn glimpse(&self, glimpse: &BatchGlimpse) -> ControlFlow<()> {
        let standing = percent(glimpse.standing as f64 / glimpse.done.max(1) as f64);
        let flow = self.count(glimpse.done);
        self.bar.set_message(format!("{}/{} {standing}", glimpse.done, self.samples));
        flow
    }

    /// Updates the number of samples done; returns whether to continue.
    pub(crate) fn count(&self, done: usize) -> ControlFlow<()> {
        self.passes.store(0, Ordering::Relaxed);
        self.bar.set_message(format!("{done}/{}", self.samples));
        self.bar.set_position((done as u64).saturating_mul(PARTS));
        match self.interrupt.is_some_and(Interrupt::heard) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

impl Drop for EvaluationBar<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Seconds up to which an evaluation needs no estimate.
const SHORT: f64 = 20.0;

/// Prints the longest time that an evaluation can take, if it is long.
pub(crate) fn announce(name: &str, estimate: Option<&TimeEstimate>) {
    let Some(TimeEstimate { forwards, backwards, images, seconds }) =
        estimate.filter(|of| of.seconds > SHORT)
    else {
        return;
    };
    let most = duration(*seconds);
    let words = format!(
        "at most {forwards} forward and {backwards} backward passes for each of {images} images, at most {most} \
         here; images that are broken take less"
    );
    let mut text = String::new();
    wrap(&mut text, &format!("{name}:"), " ", &words);
    inform(&text);
}

fn bar(template: &str) -> ProgressBar {
    let bar = if shows_bars() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    bar.with_style(style(template))
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ahead_is_told_by_passes_once_a_pass_was_timed() {
        let mut ahead = Ahead::of([Some(100), Some(2000), Some(1000)]);
        ahead.begin();
        assert_eq!(ahead.told(), ", then 2 more");
        ahead.learn(50.0, 1.0);
        assert_eq!(ahead.told(), ", then up to 60 s");
        ahead.begin();
        assert_eq!(ahead.told(), ", then up to 20 s");
        ahead.begin();
        assert_eq!(ahead.told(), "");
        let mut unknown = Ahead::of([Some(1), None]);
        unknown.learn(1.0, 1.0);
        assert_eq!(unknown.told(), ", then 2 more");
        assert_eq!([30.0, 600.0, 7200.0].map(duration), ["30 s", "10 min", "2.0 h"]);
    }
}
