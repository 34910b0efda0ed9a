//! Ctrl-C and termination: the first one asks the run to stop where nothing is lost, the second one stops it at once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Hears of signals.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    /// Listens from now on.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let (heard, second) = (Self::default(), Arc::new(AtomicBool::new(false)));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds `second` unset, and sets it.
            flag::register_conditional_shutdown(signal, 128 + signal, second.clone())?;
            flag::register(signal, second.clone())?;
            flag::register_usize(signal, heard.0.clone(), signal as usize)?;
        }
        Ok(heard)
    }

    /// Was the run asked to stop?
    pub(crate) fn heard(&self) -> bool {
        self.0.load(Ordering::SeqCst) != 0
    }

    /// The end of a run that was asked to stop; `what` says what was reached and kept.
    pub(crate) fn stopped(&self, what: &str) -> anyhow::Error {
        self.ended(&format!("{what}\n  continue with: {}", resuming()))
    }

    /// The end of a command of which nothing is kept; `what` says where it was.
    pub(crate) fn ended(&self, what: &str) -> anyhow::Error {
        let signal = self.0.load(Ordering::SeqCst);
        let by = if signal == SIGTERM as usize { "SIGTERM" } else { "Ctrl-C" };
        let text = format!("stopped by {by} {what}");
        Stopped { code: (128 + signal) as u8, text }.into()
    }
}

/// A run that ended because it was asked to. The shells' exit code for it is 128 + the signal's number.
#[derive(Debug)]
pub(crate) struct Stopped {
    pub(crate) code: u8,
    text: String,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Stopped {}

/// The command of this process with `--resume`.
fn resuming() -> String {
    let mut words: Vec<String> = std::env::args().filter(|word| word != "--force").collect();
    if let Some(program) = words.first_mut() {
        *program = "temper".into();
    }
    if !words.iter().any(|word| word == "--resume") {
        words.push("--resume".into());
    }
    let plain = |word: &str| word.chars().all(|c| c.is_alphanumeric() || "-_=./:,+@%".contains(c));
    let quoted = |word: &String| match plain(word) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}
