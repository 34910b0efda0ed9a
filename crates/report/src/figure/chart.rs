//! Charts of points and lines over two axes.

use std::fmt::Write;

use super::axis::{AxisScale, PlotAxis, short};
use super::drawing::{At, Drawing};
use super::lettering::Align;
use super::palette::{Color, GRID, INK, distinct};
use super::places::{Area, Places};
use super::{Figure, FigureError};
use temper_results::Curve;

/// Font size, in units.
const EM: f64 = 12.0;
/// Font size of labels beside points.
const SMALL: f64 = 11.0;
/// Height of the plot area.
const PLOT: f64 = 320.0;
/// Half the width of a marker.
const MARKER: f64 = 4.0;
/// Lines with more points have markers on some points only.
const MARKED: usize = 40;
/// The approximate number of these markers.
const SPARSE: usize = 10;
/// Number of distinguishable styles: colours times shapes.
const MOST_SERIES: usize = 28;

/// A chart of named series over two axes, with a legend above the plot.
#[derive(Debug, Clone)]
pub struct Chart {
    /// The horizontal axis.
    pub x: PlotAxis,
    /// The vertical axis.
    pub y: PlotAxis,
    /// At most 28, in the order of the legend.
    pub series: Vec<Series>,
}

/// The points of one name, colour and shape.
#[derive(Debug, Clone)]
pub struct Series {
    name: String,
    points: Vec<Datum>,
    line: bool,
}

/// One point.
#[derive(Debug, Clone, PartialEq)]
pub struct Datum {
    /// Horizontal value.
    pub x: f64,
    /// Vertical value.
    pub y: f64,
    /// Lower and upper end of an error bar.
    pub interval: Option<[f64; 2]>,
    /// Label beside the point.
    pub label: Option<String>,
}

impl Datum {
    /// A point.
    pub fn new(x: f64, y: f64) -> Self {
        Self { x, y, interval: None, label: None }
    }

    /// Adds an error bar from one value to another.
    pub fn between(self, low: f64, high: f64) -> Self {
        Self { interval: Some([low, high]), ..self }
    }

    /// Adds a label.
    pub fn labelled(self, label: impl Into<String>) -> Self {
        Self { label: Some(label.into()), ..self }
    }
}

impl Series {
    /// A series of unconnected points.
    pub fn scatter(name: impl Into<String>, points: Vec<Datum>) -> Self {
        Self { name: name.into(), points, line: false }
    }

    /// A series of points connected in order.
    pub fn line(name: impl Into<String>, points: Vec<Datum>) -> Self {
        Self { name: name.into(), points, line: true }
    }

    /// Accuracy over radii or steps, with its 95 % intervals.
    pub fn accuracy(name: impl Into<String>, curve: &Curve) -> Self {
        let point =
            |p: &temper_results::Point| Datum::new(p.at, p.accuracy).between(p.interval[0], p.interval[1]);
        Self::line(name, curve.points.iter().map(point).collect())
    }
}

impl Figure for Chart {
    fn draw(&self) -> Result<Drawing, FigureError> {
        let series = self.placed()?;
        let mut drawing = Drawing::new(format!("{} over {}", self.y.name(), self.x.name()))?;
        let places: Vec<f64> =
            series.iter().flat_map(|one| one.points.iter().map(|point| point.at[0])).collect();
        let heights: Vec<f64> = series.iter().flat_map(Placed::heights).collect();
        let (across, up) = (self.x.scale(&places, 9)?, self.y.scale(&heights, 6)?);

        let widest = up.ticks.iter().map(|(_, label)| drawing.width(label, EM)).fold(0.0, f64::max);
        let last = across.ticks.last().map_or(0.0, |(_, label)| drawing.width(label, EM) / 2.0);
        let left = 32.0 + widest + 8.0;
        let right = Drawing::WIDTH - last.max(8.0) - 6.0;
        let top = legend(&mut drawing, &series, left, right) + 8.0;
        let frame = Frame { area: Area { left, top, right, bottom: top + PLOT }, across, up };
        frame.grid(&mut drawing, [&self.x, &self.y]);
        for one in &series {
            frame.lines(&mut drawing, one);
        }
        for one in &series {
            frame.markers(&mut drawing, one);
        }
        frame.labels(&mut drawing, &series);
        for one in &series {
            frame.hovers(&mut drawing, one, [&self.x, &self.y]);
        }
        drawing.with_height(top + PLOT + 48.0)
    }
}

impl Chart {
    /// Checks the series, and converts their points to the numbers shown.
    fn placed(&self) -> Result<Vec<Placed<'_>>, FigureError> {
        if self.series.is_empty() {
            return Err(FigureError::unfit(format!("the chart of `{}` has no series", self.y.name())));
        }
        if self.series.len() > MOST_SERIES {
            return Err(FigureError::unfit(format!(
                "the chart of `{}` has {} series, of which at most {MOST_SERIES} can be told apart",
                self.y.name(),
                self.series.len()
            )));
        }
        self.series.iter().enumerate().map(|(place, series)| self.place(place, series)).collect()
    }

    fn place<'s>(&self, place: usize, series: &'s Series) -> Result<Placed<'s>, FigureError> {
        let name = &series.name;
        if series.points.is_empty() {
            return Err(FigureError::unfit(format!("the series `{name}` has no points")));
        }
        let point = |(i, point): (usize, &'s Datum)| {
            let what = || format!("series `{name}`, point {}", i + 1);
            let interval = match point.interval {
                Some([low, high]) if low > high => {
                    return Err(FigureError::unfit(format!("{}: interval from {low} to {high}", what())));
                }
                Some([low, high]) => Some([self.y.shown(low, what)?, self.y.shown(high, what)?]),
                None => None,
            };
            let at = [self.x.shown(point.x, what)?, self.y.shown(point.y, what)?];
            Ok(PlacedPoint { at, interval, label: point.label.as_deref() })
        };
        let points = series.points.iter().enumerate().map(point).collect::<Result<Vec<_>, _>>()?;
        // Long lines have markers at intervals; without markers the eighth series would look like the first.
        let stride = if series.line && points.len() > MARKED { points.len().div_ceil(SPARSE) } else { 1 };
        Ok(Placed { name, points, line: series.line, stride, color: distinct(place), shape: place % 4 })
    }
}

/// A series in the numbers that its axes show.
struct Placed<'s> {
    name: &'s str,
    points: Vec<PlacedPoint<'s>>,
    line: bool,
    /// Number of points from one marker to the next.
    stride: usize,
    color: Color,
    shape: usize,
}

struct PlacedPoint<'s> {
    at: At,
    interval: Option<[f64; 2]>,
    label: Option<&'s str>,
}

impl Placed<'_> {
    fn heights(&self) -> Vec<f64> {
        self.points.iter().flat_map(|p| p.interval.into_iter().flatten().chain([p.at[1]])).collect()
    }

    fn marker(&self, drawing: &mut Drawing, [x, y]: At) {
        let r = MARKER;
        match self.shape {
            0 => drawing.disc([x, y], r, self.color),
            1 => drawing.rectangle([x - r * 0.9, y - r * 0.9], [r * 1.8, r * 1.8], self.color),
            2 => {
                let corners =
                    vec![[x, y - r * 1.2], [x + r * 1.15, y + r * 0.9], [x - r * 1.15, y + r * 0.9]];
                drawing.polygon(corners, self.color);
            }
            _ => {
                let corners = vec![[x, y - r * 1.3], [x + r * 1.3, y], [x, y + r * 1.3], [x - r * 1.3, y]];
                drawing.polygon(corners, self.color);
            }
        }
    }
}

/// Draws the legend in rows above the plot; returns its lower end.
fn legend(drawing: &mut Drawing, series: &[Placed], left: f64, right: f64) -> f64 {
    const LINE: f64 = 26.0;
    let (mut x, mut y) = (left, 16.0);
    if series.iter().all(|one| one.name.is_empty()) {
        return 6.0;
    }
    for one in series {
        let sample = if one.line { LINE } else { 2.0 * MARKER };
        let name = drawing.lettering.cut(one.name, EM, right - left - sample - 6.0);
        let width = sample + 6.0 + drawing.width(&name, EM);
        // The viewer's font may be wider than the font measured here.
        if x > left && x + width * 1.08 > right {
            (x, y) = (left, y + 20.0);
        }
        if one.line {
            drawing.path(vec![[x, y], [x + sample, y]], 2.0, one.color);
        }
        one.marker(drawing, [x + sample / 2.0, y]);
        drawing.text(&name, [x + sample + 6.0, y], EM, INK, Align::Left);
        x += width * 1.08 + 20.0;
    }
    y + 12.0
}

/// The plot area on its sheet.
struct Frame {
    area: Area,
    across: AxisScale,
    up: AxisScale,
}

impl Frame {
    fn at(&self, [x, y]: At) -> At {
        let Area { left, top, right, bottom } = self.area;
        [left + (right - left) * self.across.place(x), bottom - (bottom - top) * self.up.place(y)]
    }

    /// Draws grid lines, tick labels and axis names.
    fn grid(&self, drawing: &mut Drawing, [x, y]: [&PlotAxis; 2]) {
        let Area { left, top, right, bottom } = self.area;
        for (value, label) in &self.up.ticks {
            let height = bottom - (bottom - top) * self.up.place(*value);
            drawing.path(vec![[left, height], [right, height]], 1.0, GRID);
            drawing.text(label, [left - 7.0, height], EM, INK, Align::Right);
        }
        for (value, label) in &self.across.ticks {
            let place = left + (right - left) * self.across.place(*value);
            drawing.path(vec![[place, top], [place, bottom]], 1.0, GRID);
            drawing.path(vec![[place, bottom], [place, bottom + 4.0]], 1.0, INK);
            drawing.text(label, [place, bottom + 13.0], EM, INK, Align::Middle);
        }
        drawing.path(vec![[left, top], [left, bottom], [right, bottom]], 1.0, INK);
        let name = drawing.lettering.cut(x.name(), EM, right - left);
        drawing.text(&name, [f64::midpoint(left, right), bottom + 35.0], EM, INK, Align::Middle);
        let name = drawing.lettering.cut(y.name(), EM, bottom - top);
        drawing.upward(&name, [14.0, f64::midpoint(top, bottom)], EM, INK, Align::Middle);
    }

    /// Draws the line of a series and its error bars.
    fn lines(&self, drawing: &mut Drawing, series: &Placed) {
        for (from, to) in self.bars(series) {
            drawing.path(vec![from, to], 1.25, series.color);
            for end in [from, to] {
                drawing.path(vec![[end[0] - 4.0, end[1]], [end[0] + 4.0, end[1]]], 1.25, series.color);
            }
        }
        if series.line && series.points.len() > 1 {
            drawing.path(series.points.iter().map(|point| self.at(point.at)).collect(), 2.0, series.color);
        }
    }

    fn bars(&self, series: &Placed) -> Vec<(At, At)> {
        let bar = |point: &PlacedPoint| {
            let ends = point.interval?;
            Some((self.at([point.at[0], ends[0]]), self.at([point.at[0], ends[1]])))
        };
        series.points.iter().filter_map(bar).collect()
    }

    fn markers(&self, drawing: &mut Drawing, series: &Placed) {
        for point in series.points.iter().step_by(series.stride) {
            series.marker(drawing, self.at(point.at));
        }
    }

    /// The numbers of each point, for the pointer.
    fn hovers(&self, drawing: &mut Drawing, series: &Placed, [x, y]: [&PlotAxis; 2]) {
        for point in &series.points {
            let [across, up] = point.at.map(short);
            let names = [Some(series.name).filter(|name| !name.is_empty()), point.label];
            let mut text = names.into_iter().flatten().fold(String::new(), |text, name| text + name + ": ");
            let _ = write!(text, "{} {across}, {} {up}", x.name(), y.name());
            if let Some([low, high]) = point.interval.map(|ends| ends.map(short)) {
                let _ = write!(text, " ({low} to {high})");
            }
            let [at, height] = self.at(point.at);
            drawing.hover([at - 7.0, height - 7.0], [14.0, 14.0], text);
        }
    }

    /// Draws labels beside their points, where they cover least.
    fn labels(&self, drawing: &mut Drawing, series: &[Placed]) {
        let mut places = Places::new(self.area);
        for one in series {
            for point in &one.points {
                places.take(Area::around(self.at(point.at), 2.0 * MARKER, 2.0 * MARKER));
            }
            for pair in one.points.windows(2).filter(|_| one.line) {
                places.way(self.at(pair[0].at), self.at(pair[1].at));
            }
            for (from, to) in self.bars(one) {
                places.way(from, to);
            }
        }
        for one in series {
            for (at, label) in one.points.iter().filter_map(|point| Some((self.at(point.at), point.label?))) {
                let label = drawing.lettering.cut(label, SMALL, (self.area.right - self.area.left) / 2.0);
                let size = [drawing.width(&label, SMALL) * 1.05 + 2.0, SMALL * 1.1];
                let middle = places.beside(at, size, MARKER + 3.0);
                drawing.text(&label, middle, SMALL, INK, Align::Middle);
            }
        }
    }
}
