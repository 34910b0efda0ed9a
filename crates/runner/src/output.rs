//! What is told on the two streams. Whoever reads them may go away, and a disk may fill up: a run never ends for that.

use std::borrow::Cow;
use std::io::{self, Write};

use temper_data::{escaped, is_odd};

/// The text with what a terminal would obey, but for the ends of lines, escaped: names of files, classes and tensors are in it.
fn tame(text: &str) -> Cow<'_, str> {
    if !text.contains(|letter| letter != '\n' && is_odd(letter)) {
        return text.into();
    }
    text.split('\n').map(escaped).collect::<Vec<_>>().join("\n").into()
}

/// Tells how a run goes, on standard output. What cannot be written is lost, and nothing else: the run ends as if nobody had
/// watched.
pub(crate) fn say(text: &str) {
    let mut out = io::stdout();
    let _ = out.write_all(tame(text).as_bytes()).and_then(|()| out.flush());
}

/// As [`say`], a line on the stream of errors.
pub(crate) fn remark(line: &str) {
    let _ = writeln!(io::stderr(), "{}", tame(line));
}

/// Gives what a command was asked for, on standard output, and nothing is left of it elsewhere: an error if it cannot be written.
/// Whoever reads it may stop early (`temper list | head`): that is no failure.
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
