//! Warnings on the terminal, printed before the numbers that they are about. Results contain the same text.

use std::collections::BTreeSet;

use anyhow::bail;
use temper_results::{Results, Warning};

use crate::catalogue::wrap;
use crate::output::{event, say_as_text};

/// Warnings, wrapped for a terminal; empty if there are none.
pub(crate) fn told(warnings: &[Warning]) -> String {
    let mut text = String::new();
    for warning in warnings {
        for (i, line) in warning.to_string().lines().enumerate() {
            wrap(&mut text, if i == 0 { warning.heading() } else { "       " }, "       ", line);
        }
    }
    text
}

/// Prints warnings, as text or as an event `warning` for each.
pub(crate) fn warn(warnings: &[Warning]) {
    say_as_text(&told(warnings));
    for warning in warnings {
        event("warning", warning);
    }
}

/// Prints the warnings of results that were not printed yet as events. As text they are below the table.
pub(crate) fn warn_of_results(results: &Results, told: &[Warning]) {
    for warning in results.all_warnings() {
        if !told.contains(&warning) {
            event("warning", &warning);
        }
    }
}

/// For `--strict`: an error that counts and names the severe warnings of results, if there are any.
pub(crate) fn strictly(results: &Results) -> anyhow::Result<()> {
    let all = results.all_warnings();
    let severe: Vec<&Warning> = all.iter().filter(|warning| warning.is_severe()).collect();
    let ids: BTreeSet<&str> = severe.iter().map(|warning| &*warning.id).collect();
    let ids = ids.into_iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
    match severe.len() {
        0 => Ok(()),
        1 => bail!("--strict: a severe warning, {ids}: the number is probably wrong"),
        n => bail!("--strict: {n} severe warnings, {ids}: the numbers are probably wrong"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severe_warnings_are_marked_and_wrapped() {
        let severe = Warning::severe("a", "word ".repeat(30)).advising("do this");
        let text = told(&[Warning::caution("b", "first\nsecond"), severe]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["warning first", "        second"]);
        assert!(lines[2].starts_with("severe warning word") && lines.iter().all(|line| line.len() <= 80));
        assert!(text.ends_with("do this\n"), "{text}");
    }
}
