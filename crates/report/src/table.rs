//! Plain text tables: the first column is left-aligned, others are right-aligned, with two spaces in between.

use std::fmt;

/// A table under construction.
#[derive(Debug, Clone)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column heads.
    pub fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(ToString::to_string).collect()] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// All rows, starting with the column heads.
    pub fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (i, row) in self.rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
            if i == 0 {
                let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
                writeln!(f, "{}", rules.join("  "))?;
            }
        }
        Ok(())
    }
}

/// A share as a percentage, "83.4 %".
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// An interval of shares in percent, "81.0 to 85.2 %".
pub fn interval([low, high]: [f64; 2]) -> String {
    format!("{:.1} to {:.1} %", low * 100.0, high * 100.0)
}

/// A length in pixels of [0, 1]: decimals of up to four digits as they are, other multiples of 0.1/255 as quotients,
/// such as "8/255", all others with four significant digits.
pub fn radius_in_words(radius: f64) -> String {
    // Sums of steps miss such numbers by rounding.
    let near = |other: f64| (other - radius).abs() < 1e-9;
    let decimal = (radius * 1e4).round() / 1e4;
    let n = (radius * 2550.0).round() / 10.0;
    if near(decimal) {
        decimal.to_string()
    } else if near(n / 255.0) {
        format!("{n}/255")
    } else {
        let digits = (3 - radius.abs().log10().floor() as i32).clamp(0, 12) as usize;
        format!("{radius:.digits$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["name", "n"]);
        table.row(vec!["a".into(), "1000".into()]);
        table.row(vec!["longer".into(), "7".into()]);
        assert_eq!(table.to_string(), "name       n\n------  ----\na       1000\nlonger     7\n");
        assert_eq!(percent(0.8335), "83.4 %");
        let radii = [8.0 / 255.0, 0.5 / 255.0, 0.1, 0.06 + 0.06, 1.0, 3.0, 0.012_345_6].map(radius_in_words);
        assert_eq!(radii, ["8/255", "0.5/255", "0.1", "0.12", "1", "3", "0.01235"]);
        assert_eq!(interval([0.05, 0.999]), "5.0 to 99.9 %");
    }
}
