//! Measurement of time by layer, pass and kind of work, for `temper run --profile`.
//!
//! A [`span`] measures work on the thread that waits for it. Spans may nest: the time of an inner one is not counted in
//! the outer one. Kernels whose parts alternate on all threads, such as the transforms and products of a convolution,
//! count each part with a [`clock`]; the span that contains them is divided in proportion. Nothing is measured, and
//! next to nothing is spent, unless [`start`] was called. Spans of two threads at once would be counted twice: a
//! pipeline runs one network at a time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::graph::plan::Operation;

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Winograd transforms of tiles, before and after products.
    Transform,
    /// Products of convolutions and linear layers, with the gathering of patches where there is any.
    Product,
    /// Weights put into the order in which products read them.
    Packing,
    /// Moments, normalisation and gradients of batch norm.
    BatchNorm,
    /// Max and average pooling.
    Pooling,
    /// All other layers: normalisation of pixels, sums, activations.
    Layers,
    /// Losses and their gradients.
    Loss,
    /// What attacks compute besides passes through the network: steps and projections.
    Attack,
    /// The update of weights.
    Optimiser,
    /// Waiting for images.
    Waiting,
}

/// The pass to which work belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pass {
    /// From inputs to outputs.
    Forward,
    /// Gradients of inputs.
    InputGradient,
    /// Gradients of weights.
    WeightGradient,
}

/// Where time is counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account {
    /// The layer, by the name of its weights or by its kind, and the pass; `None` outside networks.
    pub layer: Option<(String, Pass)>,
    /// The kind of work.
    pub work: Work,
}

/// Time per account.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Profile {
    /// Seconds of wall time.
    pub seconds: BTreeMap<Account, f64>,
}

/// A span that has not ended.
struct Open {
    id: u64,
    account: Account,
    started: Instant,
    /// Time of the spans inside it.
    inner: Duration,
    /// The counters of parts at its start, plus what inner spans counted.
    parts: [u64; PARTS],
}

#[derive(Default)]
struct State {
    next: u64,
    open: Vec<Open>,
    profile: Profile,
}

static ON: AtomicBool = AtomicBool::new(false);
static STATE: Mutex<Option<State>> = Mutex::new(None);

/// The parts that kernels count.
const COUNTED: [Work; PARTS] = [Work::Transform, Work::Product];
const PARTS: usize = 2;
/// Nanoseconds of each of [`COUNTED`], of all threads together.
static SPENT: [AtomicU64; PARTS] = [const { AtomicU64::new(0) }; PARTS];

fn state() -> MutexGuard<'static, Option<State>> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins to measure, from zero.
pub fn start() {
    *state() = Some(State::default());
    ON.store(true, Ordering::Relaxed);
}

/// Ends the measurement; returns it. Empty if none was started.
pub fn stop() -> Profile {
    ON.store(false, Ordering::Relaxed);
    state().take().map(|state| state.profile).unwrap_or_default()
}

fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Ends a span, also if its work panics.
struct Guard(u64);

impl Drop for Guard {
    fn drop(&mut self) {
        end(self.0);
    }
}

/// Runs `work` and counts its time for the account.
pub fn span<R>(account: impl FnOnce() -> Account, work: impl FnOnce() -> R) -> R {
    if !is_on() {
        return work();
    }
    let _guard = Guard(begin(account()));
    work()
}

/// As [`span`], for work outside networks.
pub fn outside<R>(work: Work, run: impl FnOnce() -> R) -> R {
    span(|| Account { layer: None, work }, run)
}

/// As [`span`], for one pass of a network's step.
pub(crate) fn step<R>(operation: &Operation, pass: Pass, run: impl FnOnce() -> R) -> R {
    span(|| Account { layer: Some((operation.label().into(), pass)), work: operation.work() }, run)
}

/// As [`step`], for the packing of the step's weights.
pub(crate) fn packing<R>(operation: &Operation, pass: Pass, run: impl FnOnce() -> R) -> R {
    let layer = || Some((operation.label().into(), pass));
    span(|| Account { layer: layer(), work: Work::Packing }, run)
}

/// As [`outside`], for time that was measured already.
pub fn add(work: Work, time: Duration) {
    if is_on()
        && let Some(state) = &mut *state()
    {
        *state.profile.seconds.entry(Account { layer: None, work }).or_default() += time.as_secs_f64();
        if let Some(outer) = state.open.last_mut() {
            outer.inner += time;
        }
    }
}

fn begin(account: Account) -> u64 {
    let mut state = state();
    let Some(state) = &mut *state else { return 0 };
    state.next += 1;
    let parts = spent();
    state.open.push(Open { id: state.next, account, started: Instant::now(), inner: Duration::ZERO, parts });
    state.next
}

fn end(id: u64) {
    let mut state = state();
    let Some(state) = &mut *state else { return };
    let Some(at) = state.open.iter().position(|open| open.id == id) else { return };
    let Open { account, started, inner, parts, .. } = state.open.remove(at);
    let all = started.elapsed();
    let counted: Vec<u64> =
        spent().iter().zip(parts).map(|(now, before)| now.saturating_sub(before)).collect();
    if let Some(outer) = at.checked_sub(1).and_then(|at| state.open.get_mut(at)) {
        outer.inner += all;
        outer.parts.iter_mut().zip(&counted).for_each(|(outer, counted)| *outer += counted);
    }
    let own = all.saturating_sub(inner).as_secs_f64();
    let total: u64 = counted.iter().sum();
    let mut count = |work: Work, seconds: f64| {
        *state.profile.seconds.entry(Account { work, ..account.clone() }).or_default() += seconds;
    };
    if total > 0 && account.work == Work::Product {
        for (work, part) in COUNTED.into_iter().zip(counted) {
            count(work, own * part as f64 / total as f64);
        }
    } else {
        count(account.work, own);
    }
}

fn spent() -> [u64; PARTS] {
    SPENT.each_ref().map(|part| part.load(Ordering::Relaxed))
}

/// The time at which a part of a kernel begins; `None` if nothing is measured.
pub(crate) fn clock() -> Option<Instant> {
    is_on().then(Instant::now)
}

/// Counts the time since `started` as transforms or products; returns the time at which the next part begins.
pub(crate) fn count(work: Work, started: Option<Instant>) -> Option<Instant> {
    let started = started?;
    let now = Instant::now();
    if let Some(part) = COUNTED.iter().position(|counted| *counted == work) {
        SPENT[part].fetch_add((now - started).as_nanos() as u64, Ordering::Relaxed);
    }
    Some(now)
}

impl Operation {
    /// The name of its weights, or its kind.
    fn label(&self) -> &str {
        match self {
            Self::Conv { name, .. } | Self::PRelu { name, .. } => name,
            Self::BatchNorm(norm) => &norm.name,
            Self::Normalize { .. } => "(normalisation)",
            Self::MaxPool(_) | Self::AveragePool(_) | Self::GlobalAveragePool => "(pooling)",
            Self::Place { .. } => "(concatenation)",
            Self::Add => "(sum)",
            Self::Function(_) => "(activation)",
            Self::Affine { .. } => "(scale and shift)",
            Self::Multiply => "(product)",
            Self::Gather(_) => "(rearrangement)",
        }
    }

    fn work(&self) -> Work {
        match self {
            Self::Conv { .. } => Work::Product,
            Self::BatchNorm(_) => Work::BatchNorm,
            Self::MaxPool(_) | Self::AveragePool(_) | Self::GlobalAveragePool => Work::Pooling,
            _ => Work::Layers,
        }
    }
}
