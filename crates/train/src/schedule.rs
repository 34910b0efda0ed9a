//! The learning rate over the steps of a run, by torch's formulas.

use std::f64::consts::PI;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use temper_core::{Fraction, Positive};

/// The factor of the learning rate in each step. In TOML `{ steps = [3], factor = 0.2 }`, `{ cosine = {} }` or
/// `{ one-cycle = {} }`; the first two accept a `warmup`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "ScheduleFields", into = "ScheduleFields")]
pub struct Schedule {
    /// The curve of the rate.
    pub curve: RateCurve,
    /// The warm-up before it.
    pub warmup: Warmup,
}

/// Curves of the rate.
#[derive(Debug, Clone, PartialEq)]
pub enum RateCurve {
    /// The rate falls after some epochs.
    Step(Falls),
    /// Half a cosine from the rate to its end: torch's `CosineAnnealingLR`.
    Cosine(Cosine),
    /// Up to the rate and down again: torch's `OneCycleLR`, with unchanged momentum.
    OneCycle(OneCycle),
}

/// The rate rises linearly over the first epochs: torch's `LinearLR`, once per step. A step curve still counts
/// its epochs from the beginning; a cosine begins when the rate is reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Warmup {
    /// Epochs; 0 is no warm-up.
    pub epochs: usize,
    /// The factor of the rate in the first step.
    pub start: Fraction,
}

/// The learning rate is multiplied by `factor` after each of these epochs.
#[derive(Debug, Clone, PartialEq)]
pub struct Falls {
    /// Numbers of epochs after which the rate falls, ascending.
    pub steps: Vec<usize>,
    /// The factor by which the rate is multiplied.
    pub factor: Positive,
}

/// Half a cosine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cosine {
    /// The factor of the rate at the end, which the step after the last one would have.
    pub end: Fraction,
}

/// One rise and one fall, each half a cosine or a straight line. The optimiser's rate is the maximum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OneCycle {
    /// Share of all steps in which the rate rises.
    pub rise: Fraction,
    /// The factor of the rate in the first step.
    pub start: Fraction,
    /// The factor of the rate in the last step.
    pub end: Fraction,
    /// The shape of the rise and the fall.
    pub anneal: Anneal,
}

temper_core::options! {
    /// Ways from one rate to another.
    pub enum Anneal {
        /// Half a cosine.
        Cosine = "cosine",
        /// A straight line.
        Linear = "linear",
    }
}

impl Default for Schedule {
    fn default() -> Self {
        let curve = RateCurve::Step(Falls { steps: vec![], factor: Positive::of(0.1) });
        Self { curve, warmup: Warmup::default() }
    }
}

impl Default for Warmup {
    fn default() -> Self {
        // torchvision's training script starts with a hundredth of the rate.
        Self { epochs: 0, start: Fraction::of(0.01) }
    }
}

impl Default for Cosine {
    fn default() -> Self {
        Self { end: Fraction::of(0.0) }
    }
}

impl Default for OneCycle {
    fn default() -> Self {
        // torch: div_factor 25, final_div_factor 1e4.
        let (start, end) = (Fraction::of(0.04), Fraction::of(4e-6));
        Self { rise: Fraction::of(0.3), start, end, anneal: Anneal::Cosine }
    }
}

/// The schedule in TOML. Keys of one curve are refused together with keys of another.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ScheduleFields {
    /// Numbers of epochs after which the rate falls, ascending.
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<Vec<usize>>,
    /// The factor of each of these falls; by default 0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    factor: Option<Positive>,
    /// Epochs in which the rate rises linearly to `optimizer.lr` (torch's `LinearLR`); by default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    warmup: Option<usize>,
    /// The factor of the rate in the first step of the warm-up; by default 0.01.
    #[serde(skip_serializing_if = "Option::is_none")]
    warmup_start: Option<Fraction>,
    /// Half a cosine from the rate to its end (torch's `CosineAnnealingLR`).
    #[serde(skip_serializing_if = "Option::is_none")]
    cosine: Option<Cosine>,
    /// Up to the rate and down again (torch's `OneCycleLR`, with unchanged momentum).
    #[serde(rename = "one-cycle", skip_serializing_if = "Option::is_none")]
    one_cycle: Option<OneCycle>,
}

impl TryFrom<ScheduleFields> for Schedule {
    type Error = String;

    fn try_from(written: ScheduleFields) -> Result<Self, String> {
        let ScheduleFields { steps, factor, warmup, warmup_start, cosine, one_cycle } = written;
        let given: Vec<&str> = [
            ("steps", steps.is_some() || factor.is_some()),
            ("cosine", cosine.is_some()),
            ("one-cycle", one_cycle.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
        .collect();
        if let [first, second, ..] = given[..] {
            return Err(format!("`{first}` and `{second}` are two schedules: choose one of them"));
        }
        if one_cycle.is_some() && (warmup.is_some() || warmup_start.is_some()) {
            return Err(
                "`one-cycle` rises by itself, for the share `rise` of all steps: leave `warmup` out".into()
            );
        }
        if factor.is_some() && steps.is_none() {
            return Err("`factor` without `steps`: name the epochs after which the rate falls".into());
        }
        if warmup_start.is_some() && warmup.is_none() {
            return Err("`warmup_start` without `warmup`: name the epochs in which the rate rises".into());
        }
        let default = Self::default();
        let warmup = Warmup {
            epochs: warmup.unwrap_or(default.warmup.epochs),
            start: warmup_start.unwrap_or(default.warmup.start),
        };
        let curve = match (cosine, one_cycle) {
            (Some(cosine), _) => RateCurve::Cosine(cosine),
            (_, Some(cycle)) => RateCurve::OneCycle(cycle),
            _ => {
                let mut steps = steps.unwrap_or_default();
                steps.sort_unstable();
                RateCurve::Step(Falls { steps, factor: factor.unwrap_or(Positive::of(0.1)) })
            }
        };
        Ok(Self { curve, warmup })
    }
}

impl From<Schedule> for ScheduleFields {
    fn from(Schedule { curve, warmup }: Schedule) -> Self {
        let (warmup, warmup_start) = (Some(warmup.epochs), Some(warmup.start));
        let bare = Self { steps: None, factor: None, warmup, warmup_start, cosine: None, one_cycle: None };
        match curve {
            RateCurve::Step(Falls { steps, factor }) => {
                Self { steps: Some(steps), factor: Some(factor), ..bare }
            }
            RateCurve::Cosine(cosine) => Self { cosine: Some(cosine), ..bare },
            RateCurve::OneCycle(cycle) => {
                Self { warmup: None, warmup_start: None, one_cycle: Some(cycle), ..bare }
            }
        }
    }
}

impl Schedule {
    /// The factor of the rate in `step` (from 0) of a run of `epochs` with `per_epoch` steps each.
    pub fn factor(&self, step: usize, per_epoch: usize, epochs: usize) -> f64 {
        let (per_epoch, warm) = (per_epoch.max(1), self.warmup.epochs.saturating_mul(per_epoch));
        let all = epochs.saturating_mul(per_epoch);
        let curve = match &self.curve {
            RateCurve::Step(falls) => falls.factor(step / per_epoch),
            RateCurve::Cosine(_) if step < warm => 1.0,
            RateCurve::Cosine(cosine) => {
                cosine.factor((step - warm) as f64 / all.saturating_sub(warm).max(1) as f64)
            }
            RateCurve::OneCycle(cycle) => cycle.factor(step, all),
        };
        if step >= warm {
            return curve;
        }
        let start = self.warmup.start.get();
        (start + (1.0 - start) * step as f64 / warm as f64) * curve
    }

    /// Checks across fields: the warm-up is shorter than `epochs`, and every step lies within them.
    pub(crate) fn problem(&self, epochs: usize) -> Option<String> {
        let warmup = self.warmup.epochs;
        if warmup > 0 && warmup >= epochs {
            return Some(format!(
                "a warm-up of {warmup} epochs leaves none of {epochs}: the rate would never be reached"
            ));
        }
        let RateCurve::Step(falls) = &self.curve else { return None };
        let late = falls.steps.iter().find(|step| **step >= epochs)?;
        Some(format!(
            "the rate would fall after epoch {late}, but there are {epochs} epochs: leave it out, or train longer"
        ))
    }
}

impl RateCurve {
    /// The key that chooses it.
    pub(crate) fn key(&self) -> &'static str {
        match self {
            Self::Step(_) => "steps",
            Self::Cosine(_) => "cosine",
            Self::OneCycle(_) => "one-cycle",
        }
    }
}

impl Falls {
    /// The factor in `epoch` (from 0).
    fn factor(&self, epoch: usize) -> f64 {
        self.factor.get().powi(self.steps.iter().filter(|step| **step <= epoch).count() as i32)
    }
}

impl Cosine {
    /// The factor after the share `done` of all steps.
    fn factor(&self, done: f64) -> f64 {
        let end = self.end.get();
        end + (1.0 - end) * (1.0 + (PI * done).cos()) / 2.0
    }
}

impl OneCycle {
    /// The factor in `step` (from 0) of `all`.
    fn factor(&self, step: usize, all: usize) -> f64 {
        let (step, last) = (step as f64, all as f64 - 1.0);
        let top = self.rise.get() * all as f64 - 1.0;
        if step <= top {
            // A rise of one step reaches its maximum immediately.
            return self.between(self.start.get(), 1.0, if top > 0.0 { step / top } else { 1.0 });
        }
        self.between(1.0, self.end.get(), (step - top) / (last - top))
    }

    /// The value between `a` and `b` at the share `done`.
    fn between(&self, a: f64, b: f64, done: f64) -> f64 {
        match self.anneal {
            Anneal::Cosine => b + (a - b) / 2.0 * (1.0 + (PI * done).cos()),
            Anneal::Linear => (b - a) * done + a,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Schedule, String> {
        toml::from_str(text).map_err(|e| e.message().to_string())
    }

    /// Values of torch 2.15 (`crates/train/golden/schedules.py`): four epochs of three steps.
    #[test]
    fn curves_agree_with_torch() {
        let cases = [
            ("cosine = { end = 0.1 }", COSINE),
            ("cosine = {}\nwarmup = 1", WARM_COSINE),
            ("steps = [3]\nfactor = 0.2\nwarmup = 1", WARM_STEPS),
            ("one-cycle = {}", ONE_CYCLE),
            ("one-cycle = { anneal = \"linear\" }", ONE_CYCLE_LINEAR),
            ("one-cycle = { rise = 0 }", ONE_CYCLE_WITHOUT_RISE),
        ];
        for (text, expected) in cases {
            let schedule = read(text).unwrap();
            for (step, want) in expected.into_iter().enumerate() {
                let got = schedule.factor(step, 3, 4);
                assert!((got - want).abs() < 1e-11, "{text}, step {step}: {got} for {want}");
            }
        }
    }

    const COSINE: [f64; 12] = [
        1.0,
        0.984_666_621_83,
        0.939_711_431_703,
        0.868_198_051_534,
        0.775,
        0.666_468_570_296,
        0.55,
        0.433_531_429_704,
        0.325,
        0.231_801_948_466,
        0.160_288_568_297,
        0.115_333_378_17,
    ];
    const WARM_COSINE: [f64; 12] = [
        0.01,
        0.34,
        0.67,
        1.0,
        0.969_846_310_393,
        0.883_022_221_559,
        0.75,
        0.586_824_088_833,
        0.413_175_911_167,
        0.25,
        0.116_977_778_441,
        0.030_153_689_607,
    ];
    const WARM_STEPS: [f64; 12] = [0.01, 0.34, 0.67, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.2, 0.2, 0.2];
    const ONE_CYCLE: [f64; 12] = [
        0.04,
        0.349_789_654_22,
        0.879_285_159_122,
        0.994_415_435_451,
        0.933_012_969_841,
        0.811_745_653_95,
        0.647_378_997_695,
        0.462_637_102_667,
        0.283_060_998_209,
        0.133_477_530_189,
        0.034_566_987_425_4,
        4e-6,
    ];
    const ONE_CYCLE_LINEAR: [f64; 12] = [
        0.04,
        0.409_230_769_231,
        0.778_461_538_462,
        0.952_381_142_857,
        0.833_334,
        0.714_286_857_143,
        0.595_239_714_286,
        0.476_192_571_429,
        0.357_145_428_571,
        0.238_098_285_714,
        0.119_051_142_857,
        4e-6,
    ];
    const ONE_CYCLE_WITHOUT_RISE: [f64; 12] = [
        0.982_962_981_293,
        0.933_012_969_841,
        0.853_553_976_38,
        0.750_001,
        0.629_411_004_913,
        0.500_002,
        0.370_592_995_087,
        0.250_003,
        0.146_450_023_62,
        0.066_991_030_158_6,
        0.017_041_018_707_1,
        4e-6,
    ];

    #[test]
    fn the_rate_falls_after_the_named_epochs() {
        let schedule = read("steps = [5, 3]\nfactor = 0.5").unwrap();
        let factors: Vec<f64> = (0..6).map(|epoch| schedule.factor(7 * epoch + 6, 7, 6)).collect();
        assert_eq!(factors, [1.0, 1.0, 1.0, 0.5, 0.5, 0.25]);
    }

    #[test]
    fn every_step_of_any_run_has_a_rate() {
        for text in [
            "cosine = {}",
            "cosine = {}\nwarmup = 2",
            "one-cycle = { rise = 1 }",
            "one-cycle = { rise = 0.1 }",
        ] {
            let schedule = read(text).unwrap();
            for (per_epoch, epochs) in [(1, 1), (1, 3), (5, 3)] {
                for step in 0..per_epoch * epochs {
                    let factor = schedule.factor(step, per_epoch, epochs);
                    assert!(
                        (0.0..=1.0).contains(&factor),
                        "{text}, step {step} of {per_epoch} x {epochs}: {factor}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_written_reads_back_and_two_schedules_are_refused() {
        for text in
            ["", "steps = [2]", "cosine = { end = 0.5 }\nwarmup = 3", "one-cycle = { anneal = \"linear\" }"]
        {
            let schedule = read(text).unwrap();
            let written = toml::to_string(&schedule).unwrap();
            assert_eq!(read(&written).unwrap(), schedule, "{written}");
        }
        let refused = |text: &str| read(text).unwrap_err();
        assert_eq!(
            refused("factor = 0.1\ncosine = {}"),
            "`steps` and `cosine` are two schedules: choose one of them"
        );
        assert!(refused("one-cycle = {}\nwarmup = 1").contains("leave `warmup` out"));
        assert!(refused("cosine = { ende = 1 }").contains("unknown field `ende`"));
    }

    #[test]
    fn what_would_do_nothing_is_refused() {
        let refused = |text: &str| read(text).unwrap_err();
        assert_eq!(
            refused("factor = 0.2"),
            "`factor` without `steps`: name the epochs after which the rate falls"
        );
        let start = "`warmup_start` without `warmup`: name the epochs in which the rate rises";
        assert_eq!(refused("warmup_start = 0.2"), start);
        assert_eq!(refused("warmup_start = 0.2\ncosine = {}"), start);
    }

    #[test]
    fn absurdly_many_epochs_have_a_rate_too() {
        for text in ["", "cosine = {}", "one-cycle = {}", "cosine = {}\nwarmup = 9_000_000_000_000_000_000"] {
            for step in [0, usize::MAX] {
                let factor = read(text).unwrap().factor(step, 1000, usize::MAX);
                assert!((0.0..=1.0).contains(&factor), "{text}, step {step}: {factor}");
            }
        }
    }
}
