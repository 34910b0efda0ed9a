//! Output on standard output and standard error, as text or as lines of JSON. A closed pipe or a full disk never ends a
//! run.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::OnceLock;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;
use temper_data::{escaped, is_odd};

/// Options of commands that run for long.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Logging {
    /// Print results and warnings only: no progress, no headings
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Print text, or one JSON object a line for other programs
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,
}

/// The format of the output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// Events: objects with the key `event`.
    Json,
}

/// What the command line chose. Commands without these options print text.
static LOGGING: OnceLock<Logging> = OnceLock::new();

impl Logging {
    /// Chooses the output of this process; the first choice counts.
    pub(crate) fn choose(self) {
        let _ = LOGGING.set(self);
    }

    /// The options as words of a command line.
    pub(crate) fn words(self) -> Vec<&'static str> {
        let quiet = self.quiet.then_some("--quiet");
        let json = (self.log_format == LogFormat::Json).then_some("--log-format=json");
        quiet.into_iter().chain(json).collect()
    }
}

fn is_json() -> bool {
    LOGGING.get().is_some_and(|logging| logging.log_format == LogFormat::Json)
}

/// Whether progress is printed.
pub(crate) fn is_quiet() -> bool {
    LOGGING.get().is_some_and(|logging| logging.quiet)
}

/// Whether bars may be shown.
pub(crate) fn shows_bars() -> bool {
    !is_quiet() && !is_json()
}

/// Prints a value as an event: its keys after `event`. Only with `--log-format json`.
pub(crate) fn event(name: &str, value: &impl Serialize) {
    if !is_json() {
        return;
    }
    let mut event = serde_json::Map::from_iter([("event".to_string(), json!(name))]);
    match serde_json::to_value(value) {
        Ok(serde_json::Value::Object(keys)) => event.extend(keys),
        Ok(other) => event.extend([("value".to_string(), other)]),
        // Such a value would not be in the results either.
        Err(error) => event.extend([("error".to_string(), json!(error.to_string()))]),
    }
    put(&format!("{}\n", serde_json::Value::Object(event)));
}

/// Writes on standard output. Errors are ignored, so that they do not end a run.
fn put(text: &str) {
    let mut out = io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Escapes control characters other than line ends, which can occur in names of files, classes and tensors.
fn tame(text: &str) -> Cow<'_, str> {
    if !text.contains(|letter| letter != '\n' && is_odd(letter)) {
        return text.into();
    }
    text.split('\n').map(escaped).collect::<Vec<_>>().join("\n").into()
}

/// Prints text on standard output, as it is or as an event `text`. Write errors are ignored, so that they do not end a
/// run.
pub(crate) fn say(text: &str) {
    match is_json() {
        false => put(&tame(text)),
        true if text.trim().is_empty() => {}
        true => event("text", &json!({ "text": text.trim() })),
    }
}

/// Prints text that is not a result: nothing with `--quiet`.
pub(crate) fn inform(text: &str) {
    if !is_quiet() {
        say(text);
    }
}

/// Prints text only as text: what it says is in an event of its own.
pub(crate) fn say_as_text(text: &str) {
    if !is_json() {
        say(text);
    }
}

/// Prints the error that ends the program on standard error, as text or as an event `error`.
pub(crate) fn fail(text: &str, code: u8) {
    let _ = match is_json() {
        false => writeln!(io::stderr(), "error: {}", tame(text)),
        true => writeln!(io::stderr(), "{}", json!({ "event": "error", "text": text, "code": code })),
    };
}

/// Prints a line on standard error, as it is or as an event `message`.
pub(crate) fn remark(line: &str) {
    let _ = match is_json() {
        false => writeln!(io::stderr(), "{}", tame(line)),
        true => writeln!(io::stderr(), "{}", json!({ "event": "message", "text": line })),
    };
}

/// Prints the result of a command on standard output. A write error is an error, because the result is stored
/// nowhere else. A closed pipe (`temper list | head`) is not.
pub(crate) fn answer(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout();
    match out.write_all(tame(text).as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(anyhow::Error::new(error).context("cannot write to standard output")),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped_and_lines_stay_lines() {
        assert_eq!(tame("Straße 🐈\n  \u{2014} b"), "Straße 🐈\n  \u{2014} b");
        assert_eq!(tame("d\u{1b}[31mog\u{202e}\n"), "d\\u{1b}[31mog\\u{202e}\n");
    }
}
