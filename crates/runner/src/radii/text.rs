//! The output of `temper radii`: a summary with a histogram, and tables of samples, in 80 columns.

use std::fmt::Write;

use temper_data::escaped;
use temper_report::{Table, percent};
use temper_results::quantile;

use super::samples::{Group, Sample, Seen};
use super::{LISTED, Listing};
use crate::catalogue::wrap;

/// Columns of a terminal.
const WIDTH: usize = 80;
/// Bars of a histogram.
const BARS: usize = 10;
/// The longest and the shortest text of a cell with a class. It is cut if the table is too wide otherwise.
const CLASS: [usize; 2] = [24, 9];

/// Length as multiple of 1/255.
pub(super) fn of_255(radius: f64) -> String {
    format!("{:.1}", radius * 255.0)
}

impl Listing {
    /// All of the output except warnings.
    pub(super) fn text(&self) -> String {
        const INDENT: &str = "       ";
        let mut text = String::new();
        let norm = self.norm.map_or_else(String::new, |norm| format!("{norm} "));
        let (epoch, epochs) = (self.epoch, &self.epochs);
        let run = self.run.display();
        wrap(
            &mut text,
            "run    ",
            INDENT,
            &format!("{run}: {norm}radii after epoch {epoch} (there are those of {epochs})"),
        );
        if let Some(network) = &self.network {
            wrap(&mut text, "network", INDENT, &network.display().to_string());
        }
        if self.summary {
            self.summarise(&mut text);
        }
        for group in &self.groups {
            let n = match self.summary {
                true => format!("{} {LISTED}", group.name),
                false => group.name.into(),
            };
            let _ = write!(text, "\n{n}\n{}", self.table(group));
        }
        let _ = writeln!(text);
        if self.shown.len() > 1 {
            wrap(&mut text, "epochs ", INDENT, "the radius after each of these, as n/255");
        }
        for note in &self.notes {
            wrap(&mut text, "note   ", INDENT, note);
        }
        text
    }

    /// Number, percentiles, mean and histogram of all radii.
    fn summarise(&self, text: &mut String) {
        let (n, zero) = (self.sorted.len(), self.sorted.iter().filter(|radius| **radius == 0.0).count());
        let share = percent(zero as f64 / n.max(1) as f64);
        let _ = writeln!(text, "samples {n}, {zero} of them ({share}) with radius 0\n");
        let mut table = Table::new(&["radius", "p5", "p25", "p50", "p75", "p95", "mean"]);
        let mean = self.sorted.iter().sum::<f64>() / n.max(1) as f64;
        let quantiles = [0.05, 0.25, 0.5, 0.75, 0.95].map(|share| quantile(&self.sorted, share));
        let numbers: Vec<f64> = quantiles.into_iter().flatten().chain([mean]).collect();
        let row = |name: &str, cell: &dyn Fn(f64) -> String| {
            [name.to_string()].into_iter().chain(numbers.iter().map(|number| cell(*number))).collect()
        };
        table.row(row("in [0, 1]", &|radius| format!("{radius:.4}")));
        table.row(row("n/255", &of_255));
        let _ = write!(text, "{table}\n{}", histogram(&self.sorted));
    }

    /// The samples of a group. Classes are cut where that keeps the lines within the terminal; file names never are.
    fn table(&self, group: &Group) -> String {
        let [longest, shortest] = CLASS;
        let fits = |text: &String| text.lines().all(|line| line.chars().count() <= WIDTH);
        let table = |class: usize| self.table_with(group, class);
        (shortest..=longest).rev().map(table).find(fits).unwrap_or_else(|| table(shortest))
    }

    /// The same with classes of at most this many characters.
    fn table_with(&self, group: &Group, class: usize) -> String {
        let samples = &group.samples;
        let mut columns: Vec<Vec<String>> = vec![];
        let mut column = |head: &str, cell: &dyn Fn(&Sample) -> String| {
            columns.push([head.to_string()].into_iter().chain(samples.iter().map(cell)).collect());
        };
        column("sample", &|sample| sample.index.to_string());
        if self.images.is_ok() {
            column("class", &|sample| {
                sample.label.map_or("?".into(), |label| cut(&self.class(label), class))
            });
        }
        column("radius", &|sample| format!("{:.4}", sample.radius));
        column("n/255", &|sample| of_255(sample.radius));
        if self.shown.len() > 1 {
            let epochs: Vec<String> = self.shown.iter().map(ToString::to_string).collect();
            column(&format!("epochs {}", epochs.join(", ")), &developed);
        }
        let undecoded = samples.iter().any(|sample| sample.seen == Seen::Undecoded);
        if self.network.is_some() || undecoded {
            column("predicted", &|sample| cut(&self.prediction(sample), class));
        }
        if samples.iter().any(|sample| sample.file.is_some()) {
            column("file", &|sample| sample.file.as_deref().map_or_else(String::new, escaped));
        }
        // Words are aligned on the left, numbers on the right.
        for words in columns.iter_mut().filter(|of| ["class", "predicted", "file"].contains(&&*of[0])) {
            let width = words.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
            for cell in words {
                *cell = format!("{cell:<width$}");
            }
        }
        let mut rows = (0..=samples.len()).map(|row| columns.iter().map(|of| of[row].clone()).collect());
        let heads: Vec<String> = rows.next().unwrap_or_default();
        let mut table = Table::new(&heads.iter().map(String::as_str).collect::<Vec<_>>());
        rows.for_each(|row| table.row(row));
        table.to_string()
    }

    /// A class, by number and name.
    pub(super) fn class(&self, class: u32) -> String {
        let classes = self.images.as_ref().map_or(&[][..], |images| images.train.classes());
        match classes.get(class as usize) {
            Some(name) if *name != class.to_string() => format!("{class} {}", escaped(name)),
            _ => class.to_string(),
        }
    }

    /// What the network sees: `right`, or the class that it takes the image for.
    pub(super) fn prediction(&self, sample: &Sample) -> String {
        match sample.seen {
            Seen::Unknown => String::new(),
            Seen::Undecoded => "not decoded".into(),
            Seen::Predicted(None) => "no class".into(),
            Seen::Predicted(class) if class == sample.label => "right".into(),
            Seen::Predicted(Some(class)) => self.class(class),
        }
    }
}

/// The radii after the epochs shown.
fn developed(sample: &Sample) -> String {
    let cell = |radius: &Option<f64>| radius.map_or("-".into(), of_255);
    sample.development.iter().map(|radius| format!("{:>5}", cell(radius))).collect::<Vec<_>>().join(" ")
}

/// A text of at most this many characters.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.into(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Bars over the range of these numbers, which are in ascending order.
fn histogram(sorted: &[f64]) -> String {
    let (Some(low), Some(high)) = (sorted.first(), sorted.last()) else { return String::new() };
    let bars = if low == high { 1 } else { BARS };
    let width = (high - low) / bars as f64;
    let mut counts = vec![0usize; bars];
    for radius in sorted {
        let bar = if bars == 1 { 0 } else { ((radius - low) / width) as usize };
        counts[bar.min(bars - 1)] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let digits = most.to_string().len();
    let mut text = String::new();
    for (bar, count) in counts.iter().enumerate() {
        let [from, to] = [bar, bar + 1].map(|edge| low + width * edge as f64);
        let line = format!("{from:.4} to {to:.4}  {count:>digits$}  ");
        let room = WIDTH - line.chars().count().min(WIDTH);
        // A bar that holds few samples is not left empty.
        let length = (count * room).div_ceil(most);
        let _ = writeln!(text, "{}", format!("{line}{}", "#".repeat(length)).trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn every_sample_is_in_one_bar_and_few_samples_are_seen() {
        let mut radii: Vec<f64> = (0..1000).map(|i| 0.1 + f64::from(i % 100) * 0.001).collect();
        radii.extend([0.6, 0.0]);
        radii.sort_by(f64::total_cmp);
        let text = histogram(&radii);
        expect![[r"
            0.0000 to 0.0600    1  #
            0.0600 to 0.1200  200  ###################
            0.1200 to 0.1800  600  #########################################################
            0.1800 to 0.2400  200  ###################
            0.2400 to 0.3000    0
            0.3000 to 0.3600    0
            0.3600 to 0.4200    0
            0.4200 to 0.4800    0
            0.4800 to 0.5400    0
            0.5400 to 0.6000    1  #
        "]]
        .assert_eq(&text);
        assert_eq!(histogram(&[0.25; 7]), format!("0.2500 to 0.2500  7  {}\n", "#".repeat(59)));
        assert_eq!(histogram(&[]), "");
    }

    #[test]
    fn long_names_are_cut_by_characters() {
        assert_eq!(cut("3 Straße", 8), "3 Straße");
        assert_eq!(cut("3 Straßen", 8), "3 Straß…");
        assert_eq!(cut("", 3), "");
    }
}
