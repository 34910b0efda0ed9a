//! Axes: name, range and ticks at round numbers.

use super::FigureError;

/// Larger numbers are refused.
const LARGEST: f64 = 1e100;
/// Smaller absolute values are drawn at 0.
const SMALLEST: f64 = 1e-100;
/// Margin beyond the outermost values, as a share of their range.
const MARGIN: f64 = 0.05;

/// An axis and its scale.
#[derive(Debug, Clone)]
pub struct PlotAxis {
    name: String,
    times: f64,
    kind: AxisKind,
    range: Option<[f64; 2]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AxisKind {
    Linear,
    Whole,
    Logarithmic,
}

impl PlotAxis {
    /// A linear axis over the range of its values. The name should include the unit shown.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), times: 1.0, kind: AxisKind::Linear, range: None }
    }

    /// Multiplies values before they are shown, for example radii of [0, 1] by 255.
    pub fn times(self, factor: f64) -> Self {
        Self { times: factor, ..self }
    }

    /// Shows shares as percentages.
    pub fn percent(self) -> Self {
        self.times(100.0)
    }

    /// Ticks at integers only, such as epochs.
    pub fn whole(self) -> Self {
        Self { kind: AxisKind::Whole, ..self }
    }

    /// A logarithmic axis.
    pub fn logarithmic(self) -> Self {
        Self { kind: AxisKind::Logarithmic, ..self }
    }

    /// Sets the range, in values before multiplication. A value outside is an error.
    pub fn range(self, low: f64, high: f64) -> Self {
        Self { range: Some([low, high]), ..self }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_logarithmic(&self) -> bool {
        self.kind == AxisKind::Logarithmic
    }

    /// The value as it is shown. `what` begins the error message if it cannot be shown.
    pub(super) fn shown(&self, value: f64, what: impl FnOnce() -> String) -> Result<f64, FigureError> {
        let shown = value * self.times;
        if !shown.is_finite() || shown.abs() > LARGEST {
            return Err(FigureError::unfit(format!("{}: {value} cannot be drawn", what())));
        }
        // Steps between such numbers are close to the precision of floating point.
        let shown = if shown.abs() < SMALLEST { 0.0 } else { shown };
        if self.is_logarithmic() && shown <= 0.0 {
            return Err(FigureError::unfit(format!(
                "{}: {value} has no place on the logarithmic axis `{}`, only numbers of at least {SMALLEST:e} have",
                what(),
                self.name
            )));
        }
        if let Some([low, high]) = self.range
            && !(low..=high).contains(&value)
        {
            return Err(FigureError::unfit(format!(
                "{}: {value} is beyond the axis `{}`, which reaches from {low} to {high}",
                what(),
                self.name
            )));
        }
        Ok(shown)
    }

    /// Ticks for these values (as shown), at most about this many.
    pub(super) fn scale(&self, values: &[f64], most: usize) -> Result<AxisScale, FigureError> {
        let logarithmic = self.is_logarithmic();
        let [low, high] = match self.range {
            Some(range) => {
                let what = || format!("the axis `{}`", self.name);
                let open = Self { range: None, ..self.clone() };
                let ends = [open.shown(range[0], what)?, open.shown(range[1], what)?];
                if ends[0] >= ends[1] {
                    return Err(FigureError::unfit(format!(
                        "the axis `{}` reaches from {} to {}, expected a lower end below the upper",
                        self.name, range[0], range[1]
                    )));
                }
                ends
            }
            None if logarithmic => {
                widened(values.iter().map(|value| value.log10())).map(|end| 10_f64.powf(end))
            }
            None => widened(values.iter().copied()),
        };
        let ticks = match self.kind {
            AxisKind::Logarithmic => powers(low, high, most),
            kind => steps(low, high, most, kind == AxisKind::Whole),
        };
        Ok(AxisScale { low, high, logarithmic, ticks })
    }
}

/// The range of an axis, in the numbers shown.
#[derive(Debug, Clone)]
pub(super) struct AxisScale {
    low: f64,
    high: f64,
    logarithmic: bool,
    /// Value and label, in ascending order.
    pub(super) ticks: Vec<(f64, String)>,
}

impl AxisScale {
    /// The position of a value, from 0 at the lower end to 1 at the upper end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let along = |value: f64| if self.logarithmic { value.ln() } else { value };
        (along(value) - along(self.low)) / (along(self.high) - along(self.low))
    }
}

/// Smallest and largest value with a margin. A single value is centred.
fn widened(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return [0.0, 1.0];
    }
    let room = (high - low) * MARGIN;
    // If floating point has no numbers between the two, they are treated as one.
    if room > low.abs().max(high.abs()) * 1e-12 {
        return [low - room, high + room];
    }
    let room = if low == 0.0 { 1.0 } else { low.abs() / 2.0 };
    [low - room, high + room]
}

/// The smallest of 1, 2 and 5 times a power of ten that is at least this, as digit and exponent.
pub(super) fn round_up(least: f64) -> (i64, i32) {
    let exponent = least.log10().floor() as i32;
    let candidates = [(1, exponent), (2, exponent), (5, exponent), (1, exponent + 1)];
    let fits = |(digit, exponent): &(i64, i32)| decimal(*digit, *exponent) >= least * (1.0 - 1e-9);
    candidates.into_iter().find(fits).unwrap_or((2, exponent + 1))
}

/// Multiples of a round step.
fn steps(low: f64, high: f64, most: usize, whole: bool) -> Vec<(f64, String)> {
    let (mut digit, mut exponent) = round_up((high - low) / most.max(1) as f64);
    if whole && exponent < 0 {
        (digit, exponent) = (1, 0);
    }
    let step = decimal(digit, exponent);
    let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
    let tick = |multiple: i64| (decimal(multiple * digit, exponent), label(multiple * digit, exponent));
    (first..=last).map(tick).collect()
}

/// Powers of ten and, if there are few of them, numbers in between.
fn powers(low: f64, high: f64, most: usize) -> Vec<(f64, String)> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let among = |digits: &[i64], stride: usize| -> Vec<(f64, String)> {
        let exponents = (first..=last).step_by(stride);
        let all = exponents.flat_map(|exponent| digits.iter().map(move |digit| (*digit, exponent)));
        let within = all.filter(|(digit, exponent)| {
            let value = decimal(*digit, *exponent);
            (low * (1.0 - 1e-9)..=high * (1.0 + 1e-9)).contains(&value)
        });
        within.map(|(digit, exponent)| (decimal(digit, exponent), label(digit, exponent))).collect()
    };
    let stride = ((last - first) as usize).div_ceil(most.max(1)).max(1);
    let choices = [among(&[1], stride), among(&[1, 2, 5], 1), among(&[1, 2, 3, 4, 5, 6, 7, 8, 9], 1)];
    let enough = choices.into_iter().find(|ticks| ticks.len() >= 3);
    enough.unwrap_or_else(|| steps(low, high, most, false))
}

/// The floating-point number nearest to `digits` times a power of ten.
pub(super) fn decimal(digits: i64, exponent: i32) -> f64 {
    format!("{digits}e{exponent}").parse().unwrap_or(f64::NAN)
}

/// `digits` times a power of ten as text, with the number of digits that all ticks of a step need.
fn label(digits: i64, exponent: i32) -> String {
    let value = decimal(digits, exponent);
    let plain = match exponent {
        _ if digits == 0 && exponent >= 0 => "0".into(),
        _ if value.abs() >= 1e6 || exponent < -5 => format!("{value:e}"),
        0.. => format!("{value:.0}"),
        _ => format!("{value:.*}", exponent.unsigned_abs() as usize),
    };
    plain.replace('-', "−")
}

/// A number with three significant digits.
pub(super) fn short(value: f64) -> String {
    let exponent = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    match exponent {
        -4..=5 => format!("{value:.*}", (2 - exponent).max(0) as usize),
        _ => format!("{value:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &PlotAxis, values: &[f64]) -> Vec<String> {
        axis.scale(values, 6).unwrap().ticks.into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(&PlotAxis::new("share"), &[0.0, 1.0]), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&PlotAxis::new("radius"), &[0.0, 8.0]), ["0", "2", "4", "6", "8"]);
        assert_eq!(labels(&PlotAxis::new("change"), &[-3.0, 3.0]), ["−2", "0", "2"]);
        assert_eq!(labels(&PlotAxis::new("epoch").whole(), &[1.0, 3.0]), ["1", "2", "3"]);
        assert_eq!(labels(&PlotAxis::new("epoch").whole(), &[1.0, 200.0]), ["0", "50", "100", "150", "200"]);
        assert_eq!(labels(&PlotAxis::new("loss"), &[0.081, 0.089]), ["0.082", "0.084", "0.086", "0.088"]);
        assert_eq!(
            labels(&PlotAxis::new("tiny"), &[2e-9, 4e-9]),
            ["2e−9", "2.5e−9", "3e−9", "3.5e−9", "4e−9"]
        );
    }

    #[test]
    fn logarithmic_ticks_are_powers_where_there_are_enough() {
        let axis = PlotAxis::new("iterations").logarithmic();
        assert_eq!(labels(&axis, &[1.0, 1000.0]), ["1", "10", "100", "1000"]);
        assert_eq!(labels(&axis, &[10.0, 100.0]), ["10", "20", "50", "100"]);
        assert_eq!(labels(&axis, &[100.0, 130.0]).len(), 4);
        assert!((5..=8).contains(&labels(&axis, &[1e-30, 1e30]).len()));
        let scale = axis.scale(&[1.0, 100.0], 6).unwrap();
        assert!((scale.place(10.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn values_lie_within_their_scale() {
        for values in
            [vec![3.0], vec![0.0], vec![-2.0], vec![1e99, -1e99], vec![0.1, 0.1 + 1e-17], vec![7.0, 9.0]]
        {
            let scale = PlotAxis::new("value").scale(&values, 6).unwrap();
            for value in &values {
                assert!((0.0..=1.0).contains(&scale.place(*value)), "{values:?}");
            }
            assert!((2..=9).contains(&scale.ticks.len()), "{values:?}: {:?}", scale.ticks);
            assert!(scale.ticks.iter().all(|(tick, _)| (-1e-9..=1.0 + 1e-9).contains(&scale.place(*tick))));
        }
        assert_eq!(PlotAxis::new("share").percent().range(0.0, 1.0).scale(&[], 6).unwrap().place(50.0), 0.5);
    }

    #[test]
    fn what_has_no_place_is_refused() {
        let refused =
            |axis: PlotAxis, value: f64| axis.shown(value, || "point 3".into()).unwrap_err().to_string();
        assert_eq!(refused(PlotAxis::new("x"), f64::NAN), "point 3: NaN cannot be drawn");
        assert!(refused(PlotAxis::new("x"), 1e300).contains("cannot be drawn"));
        assert!(refused(PlotAxis::new("steps").logarithmic(), 0.0).contains("logarithmic axis `steps`"));
        assert!(refused(PlotAxis::new("x").range(0.0, 1.0), 1.5).contains("reaches from 0 to 1"));
        for (low, high) in [(1.0, 1.0), (2.0, 1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
            assert!(PlotAxis::new("x").range(low, high).scale(&[], 6).is_err(), "{low} {high}");
        }
    }
}
