//! Output on standard output and standard error. A closed pipe or a full disk never ends a run.

use std::borrow::Cow;
use std::io::{self, Write};

use temper_data::{escaped, is_odd};

/// Escapes control characters other than line ends, which can occur in names of files, classes and tensors.
fn tame(text: &str) -> Cow<'_, str> {
    if !text.contains(|letter| letter != '\n' && is_odd(letter)) {
        return text.into();
    }
    text.split('\n').map(escaped).collect::<Vec<_>>().join("\n").into()
}

/// Prints progress on standard output. Write errors are ignored, so that they do not end a run.
pub(crate) fn say(text: &str) {
    let mut out = io::stdout();
    let _ = out.write_all(tame(text).as_bytes()).and_then(|()| out.flush());
}

/// Like [`say`], for a line on standard error.
pub(crate) fn remark(line: &str) {
    let _ = writeln!(io::stderr(), "{}", tame(line));
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
