//! Histograms one below the other, over a common axis.

use super::axis::{AxisScale, PlotAxis, decimal, round_up, short};
use super::drawing::Drawing;
use super::lettering::Align;
use super::palette::{GRID, INK, distinct};
use super::{Figure, FigureError};

/// Font size, in units.
const EM: f64 = 12.0;
/// Font size of text inside the figure.
const SMALL: f64 = 11.0;
/// Height of a panel.
const PANEL: f64 = 62.0;
/// Distance from one panel to the next.
const PITCH: f64 = PANEL + 26.0;
/// Maximum number of panels of one figure.
const MOST_PANELS: usize = 16;
/// Approximate number of bars over the whole axis.
const BARS: usize = 48;
/// Minimum number of bars that fit on the axis.
const FEWEST: i64 = 24;

/// The distributions of values, such as the radii of all samples after several epochs. Each panel has its own
/// vertical scale.
#[derive(Debug, Clone)]
pub struct Histograms {
    /// The common axis.
    pub x: PlotAxis,
    /// The panels from top to bottom, 1 to 16.
    pub panels: Vec<Histogram>,
}

/// One panel.
#[derive(Debug, Clone)]
pub struct Histogram {
    /// Its name, such as `epoch 12`.
    pub name: String,
    /// All values.
    pub values: Vec<f64>,
}

impl Figure for Histograms {
    fn draw(&self) -> Result<Drawing, FigureError> {
        let panels = self.shown()?;
        let mut drawing = Drawing::new(format!("histograms of {}", self.x.name()))?;
        let bins = Bins::over(panels.iter().flatten().copied());
        let scale = self.x.scale(&bins.reach(), 9)?;
        let (left, right) = (76.0, Drawing::WIDTH - 24.0);
        for (i, (panel, values)) in self.panels.iter().zip(&panels).enumerate() {
            let bottom = 22.0 + PITCH * i as f64 + PANEL;
            let across = Across { left, right, bottom, scale: &scale };
            across.grid(&mut drawing, i + 1 == panels.len());
            let heads = [panel.name.clone(), summary(values)];
            for (text, (x, align)) in heads.iter().zip([(left, Align::Left), (right, Align::Right)]) {
                let text = drawing.lettering.cut(text, SMALL, (right - left) * 0.55);
                drawing.text(&text, [x, bottom - PANEL - 9.0], SMALL, INK, align);
            }
            across.bars(&mut drawing, &bins, values);
        }
        let bottom = 22.0 + PITCH * (panels.len() - 1) as f64 + PANEL;
        let name = drawing.lettering.cut(self.x.name(), EM, right - left);
        drawing.text(&name, [f64::midpoint(left, right), bottom + 35.0], EM, INK, Align::Middle);
        let name = drawing.lettering.cut("share (%)", EM, bottom - 8.0);
        drawing.upward(&name, [14.0, f64::midpoint(22.0, bottom)], EM, INK, Align::Middle);
        drawing.with_height(bottom + 48.0)
    }
}

impl Histograms {
    /// Checks the panels, and converts their values to the numbers shown.
    fn shown(&self) -> Result<Vec<Vec<f64>>, FigureError> {
        if !(1..=MOST_PANELS).contains(&self.panels.len()) {
            return Err(FigureError::unfit(format!(
                "{} histograms of `{}`, expected 1 to {MOST_PANELS}: leave some out",
                self.panels.len(),
                self.x.name()
            )));
        }
        if self.x.is_logarithmic() {
            return Err(FigureError::unfit(format!(
                "histograms of `{}` have bars of one width, which a logarithmic axis has not",
                self.x.name()
            )));
        }
        let shown = |panel: &Histogram| {
            if panel.values.is_empty() {
                return Err(FigureError::unfit(format!("the histogram `{}` has no values", panel.name)));
            }
            let what = |i: usize| format!("histogram `{}`, value {}", panel.name, i + 1);
            panel.values.iter().enumerate().map(|(i, value)| self.x.shown(*value, || what(i))).collect()
        };
        self.panels.iter().map(shown).collect()
    }
}

/// Mean and median with a sensible number of digits.
fn summary(values: &[f64]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    let median = f64::midpoint(sorted[(n - 1) / 2], sorted[n / 2]);
    let mean = sorted.iter().sum::<f64>() / n as f64;
    format!("mean {}, median {}, n = {n}", short(mean), short(median)).replace('-', "−")
}

/// Bins whose edges are multiples of a round number.
struct Bins {
    digit: i64,
    exponent: i32,
    first: i64,
    last: i64,
}

impl Bins {
    fn over(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        let (range, size) = (high - low, low.abs().max(high.abs()));
        let width = match size {
            0.0 => 0.05,
            _ if range > size * 1e-9 => range / BARS as f64,
            _ => size / 20.0,
        };
        let (digit, exponent) = round_up(width);
        let mut bins = Self { digit, exponent, first: 0, last: 0 };
        (bins.first, bins.last) = (bins.of(low), bins.of(high));
        bins
    }

    /// The bin of a value. A value that misses an edge only by rounding belongs above that edge.
    fn of(&self, value: f64) -> i64 {
        (value / decimal(self.digit, self.exponent) + 1e-6).floor() as i64
    }

    /// The lower edge of a bin.
    fn edge(&self, bin: i64) -> f64 {
        decimal(bin * self.digit, self.exponent)
    }

    /// The range of the axis. A few bars are not stretched over the whole axis.
    fn reach(&self) -> [f64; 2] {
        let spare = (FEWEST - (self.last - self.first + 1)).max(0);
        let low = self.edge(self.first);
        // Radii and similar values are never below 0.
        let lower = self.edge(self.first - spare / 2);
        [if low >= 0.0 { lower.max(0.0) } else { lower }, self.edge(self.last + 1 + spare / 2)]
    }

    /// Share of the values in each bin.
    fn shares(&self, values: &[f64]) -> Vec<f64> {
        let mut counts = vec![0_usize; (self.last - self.first + 1) as usize];
        for value in values {
            counts[(self.of(*value) - self.first) as usize] += 1;
        }
        counts.into_iter().map(|count| count as f64 / values.len() as f64).collect()
    }
}

/// A panel on its sheet.
struct Across<'s> {
    left: f64,
    right: f64,
    bottom: f64,
    scale: &'s AxisScale,
}

impl Across<'_> {
    fn x(&self, value: f64) -> f64 {
        self.left + (self.right - self.left) * self.scale.place(value).clamp(0.0, 1.0)
    }

    fn grid(&self, drawing: &mut Drawing, last: bool) {
        for (value, label) in &self.scale.ticks {
            let x = self.x(*value);
            drawing.path(vec![[x, self.bottom - PANEL], [x, self.bottom]], 1.0, GRID);
            drawing.path(vec![[x, self.bottom], [x, self.bottom + 4.0]], 1.0, INK);
            if last {
                drawing.text(label, [x, self.bottom + 13.0], EM, INK, Align::Middle);
            }
        }
    }

    /// Draws the bars. The scale ends at the height of the tallest bar, rounded up.
    fn bars(&self, drawing: &mut Drawing, bins: &Bins, values: &[f64]) {
        let shares = bins.shares(values);
        let (digit, exponent) = round_up(shares.iter().copied().fold(0.0, f64::max) * 100.0);
        let top = decimal(digit, exponent).min(100.0);
        for (bin, share) in (bins.first..).zip(&shares).filter(|(_, share)| **share > 0.0) {
            let (from, to) = (self.x(bins.edge(bin)), self.x(bins.edge(bin + 1)));
            let height = PANEL * share * 100.0 / top;
            let gap = ((to - from) * 0.08).min(1.0);
            drawing.rectangle(
                [from + gap / 2.0, self.bottom - height],
                [to - from - gap, height],
                distinct(0),
            );
            let [low, high] = [bins.edge(bin), bins.edge(bin + 1)].map(short);
            let size = [to - from, PANEL];
            drawing.hover(
                [from, self.bottom - PANEL],
                size,
                format!("{low} to {high}: {} %", short(share * 100.0)),
            );
        }
        drawing.path(vec![[self.left, self.bottom], [self.right, self.bottom]], 1.0, INK);
        drawing.path(vec![[self.left, self.bottom - PANEL], [self.left, self.bottom]], 1.0, INK);
        for (height, label) in [(0.0, "0".to_string()), (PANEL, format!("{top}"))] {
            drawing.path(
                vec![[self.left - 4.0, self.bottom - height], [self.left, self.bottom - height]],
                1.0,
                INK,
            );
            drawing.text(&label, [self.left - 8.0, self.bottom - height], SMALL, INK, Align::Right);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_have_round_edges_and_hold_every_value() {
        // Multiples of 0.02 computed as sums, on both sides of the exact number.
        let mut sum = 0.0;
        let values: Vec<f64> = (0..50)
            .map(|_| {
                sum += 0.02;
                sum
            })
            .collect();
        let bins = Bins::over(values.iter().copied());
        let shares = bins.shares(&values);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!(bins.edge(1), 0.05, "a step of 0.98 / 48 is rounded up to 0.05");
        // 0.02 and 0.04; 0.06 and 0.08; from 0.10 on, 2 and 3 in turn; 1.00 alone.
        let counts: Vec<usize> = shares.iter().map(|share| (share * 50.0).round() as usize).collect();
        assert_eq!(counts[..5], [2, 2, 3, 2, 3]);
        assert_eq!(counts[20], 1);
    }

    #[test]
    fn one_value_makes_one_bar() {
        for value in [0.1, 0.0, -3.0, 1e90] {
            let bins = Bins::over([value, value].into_iter());
            assert_eq!(bins.shares(&[value, value]), [1.0], "{value}");
            assert!(bins.edge(bins.first) <= value && value <= bins.edge(bins.last + 1));
        }
    }

    #[test]
    fn summaries_are_short() {
        assert_eq!(summary(&[1.0, 2.0, 6.0]), "mean 3.00, median 2.00, n = 3");
        assert_eq!(summary(&[0.1, 0.2]), "mean 0.150, median 0.150, n = 2");
        assert_eq!(summary(&[-2e9]), "mean −2.00e9, median −2.00e9, n = 1");
    }
}
