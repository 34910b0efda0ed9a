//! A waterfall: what each of several steps takes away from a whole.

use super::drawing::Drawing;
use super::lettering::Align;
use super::palette::{GRID, INK, distinct};
use super::{Figure, FigureError};

/// Font size, in units.
const EM: f64 = 12.0;
/// Height of a row.
const ROW: f64 = 28.0;
/// Height of a bar.
const BAR: f64 = 18.0;
/// Maximum width of names to the left of the bars.
const NAMES: f64 = 190.0;
/// Maximum width of notes to the right of the bars.
const NOTES: f64 = 190.0;
/// Maximum number of rows.
const MOST_ROWS: usize = 60;

/// Rows from top to bottom: each step's bar covers the share that it takes away, and the last bar is what is left.
#[derive(Debug, Clone)]
pub struct Waterfall {
    /// What the whole is, for example "test images (%)".
    pub of: String,
    /// The steps in their order.
    pub falls: Vec<Fall>,
    /// Name of the last bar.
    pub left: String,
}

/// A step of a waterfall.
#[derive(Debug, Clone)]
pub struct Fall {
    /// Its name.
    pub name: String,
    /// The share of the whole that it takes away, 0 to 1.
    pub share: f64,
    /// A note beside its bar; may be empty.
    pub note: String,
}

impl Waterfall {
    /// The share before each step, and after the last one. An error if they are not shares.
    fn levels(&self) -> Result<Vec<f64>, FigureError> {
        let unfit = |what: String| FigureError::unfit(format!("the waterfall of {}: {what}", self.of));
        if !(1..=MOST_ROWS).contains(&self.falls.len()) {
            return Err(unfit(format!("{} steps, expected 1 to {MOST_ROWS}", self.falls.len())));
        }
        let mut levels = vec![1.0];
        for Fall { name, share, .. } in &self.falls {
            let left = levels[levels.len() - 1] - share;
            // Shares are quotients of counts, whose sum may miss 1 by rounding.
            if !(0.0..=1.0).contains(share) || left < -1e-9 {
                return Err(unfit(format!(
                    "`{name}` takes {share} away, more than is left or less than nothing"
                )));
            }
            levels.push(left.max(0.0));
        }
        Ok(levels)
    }
}

impl Figure for Waterfall {
    fn draw(&self) -> Result<Drawing, FigureError> {
        let levels = self.levels()?;
        let mut drawing = Drawing::new(format!("waterfall of {}", self.of))?;
        let texts = |drawing: &Drawing, texts: &mut dyn Iterator<Item = &str>, most: f64| {
            texts.map(|text| drawing.width(text, EM) * 1.05).fold(0.0, f64::max).min(most)
        };
        let mut names = self.falls.iter().map(|fall| &*fall.name).chain([&*self.left]);
        let names = texts(&drawing, &mut names, NAMES);
        let notes = texts(&drawing, &mut self.falls.iter().map(|fall| &*fall.note), NOTES);
        let (left, right) = (12.0 + names + 10.0, Drawing::WIDTH - notes.max(20.0) - 22.0);
        let (top, bottom) = (8.0, 8.0 + ROW * (self.falls.len() + 1) as f64);
        let at = |share: f64| left + (right - left) * share;
        for tenths in [0, 2, 4, 6, 8, 10] {
            let x = at(f64::from(tenths) / 10.0);
            drawing.path(vec![[x, top], [x, bottom]], 1.0, GRID);
            drawing.text(&format!("{}", tenths * 10), [x, bottom + 12.0], EM, INK, Align::Middle);
        }
        let rest = levels[self.falls.len()];
        let steps = self.falls.iter().zip(levels.windows(2));
        let steps = steps.map(|(fall, ends)| (&*fall.name, &*fall.note, [ends[1], ends[0]], 1));
        for (i, (name, note, [low, high], color)) in
            steps.chain([(&*self.left, "", [0.0, rest], 0)]).enumerate()
        {
            let middle = top + ROW * (i as f64 + 0.5);
            let text = drawing.lettering.cut(name, EM, names);
            drawing.text(&text, [left - 10.0, middle], EM, INK, Align::Right);
            let (from, to) = (at(low), at(high));
            // A step that took nothing away has a mark of the smallest width.
            drawing.rectangle([from, middle - BAR / 2.0], [(to - from).max(1.0), BAR], distinct(color));
            if i < self.falls.len() {
                drawing.path(vec![[from, middle], [from, middle + ROW]], 1.0, INK);
            }
            let note = drawing.lettering.cut(note, EM, notes);
            drawing.text(&note, [right + 12.0, middle], EM, INK, Align::Left);
            let text = format!("{name}: {:.1} %", (high - low) * 100.0);
            drawing.hover([left, middle - ROW / 2.0], [right - left, ROW], text);
        }
        let of = drawing.lettering.cut(&self.of, EM, right - left);
        drawing.text(&of, [f64::midpoint(left, right), bottom + 32.0], EM, INK, Align::Middle);
        drawing.with_height(bottom + 44.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waterfall(shares: &[f64]) -> Waterfall {
        let fall =
            |share: &f64| Fall { name: format!("takes {share}"), share: *share, note: "2 passes".into() };
        Waterfall {
            of: "test images (%)".into(),
            falls: shares.iter().map(fall).collect(),
            left: "stands".into(),
        }
    }

    #[test]
    fn what_is_left_is_the_whole_without_the_steps() {
        assert_eq!(waterfall(&[0.25, 0.5]).levels().unwrap(), [1.0, 0.75, 0.25]);
        let thirds = waterfall(&[1.0 / 3.0; 3]).levels().unwrap();
        assert!(thirds[3].abs() < 1e-12);
        let svg = waterfall(&[0.25, 0.5, 0.0]).svg().unwrap();
        for text in [
            "<title>takes 0.25: 25.0 %</title>",
            "<title>takes 0: 0.0 %</title>",
            "<title>stands: 25.0 %</title>",
        ] {
            assert!(svg.contains(text), "{text}");
        }
    }

    #[test]
    fn shares_that_are_none_are_refused() {
        for shares in [&[0.75, 0.5][..], &[-0.1], &[f64::NAN], &[]] {
            assert!(waterfall(shares).draw().is_err(), "{shares:?}");
        }
    }
}
