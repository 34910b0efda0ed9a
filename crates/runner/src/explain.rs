//! `temper explain`: what a warning means and what to do, from the book.

use clap::Args;

use crate::catalogue::wrap;
use crate::config::BadConfig;
use crate::output::answer;
use crate::reading::nearest;

/// The page of the book with a section for each warning.
const PAGE: &str = include_str!("../../../docs/read-the-numbers.md");

/// Options of `temper explain`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The warning's id, in brackets behind it and in results.json; without one, all ids are listed
    id: Option<String>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    match &options.id {
        None => answer(&list()),
        Some(id) => answer(&explanation(id).map_err(BadConfig)?),
    }
}

/// The sections: the id of a warning, and its text in Markdown.
fn sections() -> impl Iterator<Item = (&'static str, &'static str)> {
    PAGE.split("\n### `").skip(1).filter_map(|section| {
        let (id, text) = section.split_once("`\n")?;
        Some((id, text.split("\n## ").next().unwrap_or(text).trim()))
    })
}

/// All ids with their severities.
fn list() -> String {
    let width = sections().map(|(id, _)| id.len()).max().unwrap_or(0);
    let line = |(id, text): (&str, &str)| {
        let severity = text.lines().next().unwrap_or_default();
        let severity = severity.trim_start_matches('*').split(['*', ':']).next().unwrap_or_default();
        format!("{id:<width$}  {severity}\n")
    };
    sections().map(line).collect()
}

/// The section of a warning, for a terminal. The error names the nearest id.
fn explanation(id: &str) -> Result<String, String> {
    let Some((_, markdown)) = sections().find(|(known, _)| *known == id) else {
        let near = nearest(id, sections().map(|(id, _)| id));
        let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        return Err(format!("unknown warning `{id}`{hint}\n  `temper explain` lists all of them"));
    };
    Ok(format!("{id}\n\n{}", plain(markdown)))
}

/// Markdown as plain text: paragraphs wrapped at 80 columns, code indented, links without their targets.
fn plain(markdown: &str) -> String {
    let (mut text, mut paragraph, mut code) = (String::new(), String::new(), false);
    let flush = |paragraph: &mut String, text: &mut String| {
        if !paragraph.is_empty() {
            wrap(text, "", "", &spoken(paragraph));
            paragraph.clear();
        }
    };
    for line in markdown.lines().filter(|line| !line.starts_with("<!--")) {
        if line.starts_with("```") {
            flush(&mut paragraph, &mut text);
            code = !code;
        } else if code {
            text.push_str("    ");
            text.push_str(line);
            text.push('\n');
        } else if line.is_empty() {
            flush(&mut paragraph, &mut text);
            text.push('\n');
        } else {
            if line.starts_with("- ") {
                flush(&mut paragraph, &mut text);
            }
            paragraph.push_str(line);
            paragraph.push(' ');
        }
    }
    flush(&mut paragraph, &mut text);
    // Without the space that begins a wrapped line.
    text.lines()
        .map(|line| if line.starts_with("    ") { line } else { line.trim_start() })
        .fold(String::new(), |text, line| text + line + "\n")
}

/// A paragraph without marks of emphasis and targets of links.
fn spoken(paragraph: &str) -> String {
    let mut text = String::new();
    let mut rest = paragraph;
    while let Some((before, after)) = rest.split_once("](") {
        let Some((_, tail)) = after.split_once(')') else { break };
        let (head, link) = before.rsplit_once('[').unwrap_or((before, ""));
        text.push_str(head);
        text.push_str(link);
        rest = tail;
    }
    text.push_str(rest);
    text.replace("**", "").replace('*', "")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_check_has_a_section_and_sections_are_in_order() {
        let known: Vec<&str> = sections().map(|(id, _)| id).collect();
        assert!(known.is_sorted(), "{known:?}");
        let checks: BTreeSet<&str> = temper_evaluate::checks().map(|(id, _)| id).collect();
        for id in checks {
            assert!(known.contains(&id), "### `{id}`");
        }
        for (id, text) in sections() {
            assert!(text.starts_with("*severe") || text.starts_with("*caution"), "{id}: {text}");
            assert!(text.contains("What to do: "), "{id}: {text}");
            let told = explanation(id).unwrap();
            // Commands stay on one line.
            let prose = told.lines().filter(|line| !line.starts_with("    "));
            assert!(prose.clone().all(|line| line.chars().count() <= 80), "{told}");
            assert!(!told.contains("](") && !told.contains("**"), "{told}");
        }
    }

    #[test]
    fn markdown_becomes_plain_text() {
        let markdown = "See [the page](evaluation.md) *now*.\n\n- one\n- two\n\n```sh\ntemper list\n```";
        assert_eq!(plain(markdown), "See the page now.\n\n- one\n- two\n\n    temper list\n");
        assert!(explanation("random-ouput").unwrap_err().contains("did you mean `random-output`?"));
    }
}
