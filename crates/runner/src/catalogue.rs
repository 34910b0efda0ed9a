//! `temper list` and `temper describe`: the contents of the registries.

use std::fmt::Write;

use temper_core::{KINDS, Summary, summaries};

use crate::model_weights;
use crate::reading::nearest;
use crate::reference::{part, parts};

/// All plugins, or those of one kind, one per line. The error lists the kinds.
pub fn list(kind: Option<&str>) -> Result<String, String> {
    let all = of_kind(kind)?;
    let width = all.iter().map(|plugin| plugin.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for kind in KINDS {
        for plugin in all.iter().filter(|plugin| plugin.kind == *kind) {
            let line = plugin.doc.first().map_or("", |line| line.trim());
            // One line each: the first line of the documentation, up to its first colon.
            let sentence = line.split(": ").next().unwrap_or(line).trim_end_matches('.');
            let _ = writeln!(text, "{kind:<8} {:<width$}  {sentence}", plugin.name);
        }
    }
    Ok(text)
}

/// A plugin's documentation and parameters with units and defaults, as TOML to copy. The error lists the
/// known plugins.
pub fn describe(kind: &str, name: &str) -> Result<String, String> {
    let all = of_kind(Some(kind))?;
    let Some(plugin) = all.iter().find(|plugin| plugin.name == name) else {
        let known: Vec<_> = all.iter().map(|plugin| format!("`{}`", plugin.name)).collect();
        return Err(format!("unknown {kind} `{name}`; known: {}", known.join(", ")));
    };
    let mut text = String::new();
    for line in plugin.doc {
        comment(&mut text, line.trim());
    }
    let _ = writeln!(text, "# ({kind} plugin of the crate {})", plugin.package);
    if kind == "attack" {
        let _ = writeln!(text, "# In an evaluation: [evaluate.attack.{name}]");
    }
    let _ = writeln!(text, "\n[{}.{name}]", plugin.place);
    for param in plugin.params {
        let doc: Vec<&str> = param.doc.iter().map(|line| line.trim()).collect();
        comment(&mut text, &format!("{} ({})", doc.join(" "), (param.expects)()));
        match plugin.defaults.get(param.name) {
            Some(value) => drop(writeln!(text, "{} = {value}", param.name)),
            None => drop(writeln!(text, "# {} = ...", param.name)),
        }
    }
    if let Some([doc, example]) = model_weights::described(name).filter(|_| kind == "model") {
        comment(&mut text, doc);
        let _ = writeln!(text, "{example}");
    }
    Ok(text)
}

/// The description of what a single word names: a plugin of any kind, or a table of a pipeline. The error lists what is
/// known.
pub(crate) fn describe_alone(word: &str) -> Result<String, String> {
    let named: Vec<Summary> = summaries().into_iter().filter(|plugin| plugin.name == word).collect();
    match &named[..] {
        [plugin] => return describe(plugin.kind, plugin.name),
        [] => {}
        several => {
            let commands: Vec<String> =
                several.iter().map(|plugin| format!("`temper describe {} {word}`", plugin.kind)).collect();
            return Err(format!("`{word}` is a plugin of several kinds: {}", commands.join(", ")));
        }
    }
    if let Some(text) = part(word) {
        return Ok(text);
    }
    if KINDS.contains(&word) {
        let known: Vec<String> =
            of_kind(Some(word))?.iter().map(|plugin| format!("`{}`", plugin.name)).collect();
        return Err(format!("`{word}` is a kind of plugin; name one: {}", known.join(", ")));
    }
    let names: Vec<&str> = summaries().iter().map(|plugin| plugin.name).chain(parts()).collect();
    let near = nearest(word, names.iter().copied());
    let hint = near.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
    let tables: Vec<String> = parts().map(|part| format!("`{part}`")).collect();
    Err(format!(
        "unknown plugin or table `{word}`; {hint}`temper list` shows all plugins, tables are {}",
        tables.join(", ")
    ))
}

fn of_kind(kind: Option<&str>) -> Result<Vec<Summary>, String> {
    match kind {
        Some(kind) if !KINDS.contains(&kind) => {
            Err(format!("unknown kind `{kind}` of plugin; known: `{}`", KINDS.join("`, `")))
        }
        kind => Ok(summaries().into_iter().filter(|p| kind.is_none_or(|kind| p.kind == kind)).collect()),
    }
}

/// Writes a comment, wrapped at 80 columns.
pub(crate) fn comment(text: &mut String, words: &str) {
    wrap(text, "#", "#", words);
}

/// Writes words, wrapped at 80 columns; the first line begins with `first`, the others with `others`.
pub(crate) fn wrap(text: &mut String, first: &str, others: &str, words: &str) {
    let mut line = String::from(first);
    for word in words.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > 78 {
            let _ = writeln!(text, "{line}");
            line = String::from(others);
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}
