//! What is told on the two streams. Whoever reads them may go away, and a disk may fill up: a run never ends for that.

use std::io::{self, Write};

/// Tells how a run goes, on standard output. What cannot be written is lost, and nothing else: the run ends as if nobody had
/// watched.
pub(crate) fn say(text: &str) {
    let mut out = io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// As [`say`], a line on the stream of errors.
pub(crate) fn remark(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Gives what a command was asked for, on standard output, and nothing is left of it elsewhere: an error if it cannot be written.
/// Whoever reads it may stop early (`temper list | head`): that is no failure.
pub(crate) fn answer(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(anyhow::Error::new(error).context("cannot write to standard output")),
        Ok(()) => Ok(()),
    }
}
