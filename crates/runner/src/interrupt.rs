//! Ctrl-C, termination and the end of a terminal: the first signal asks the run to stop where nothing is lost, the second one
//! stops it at once.

use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::output::remark;
use crate::shell::command;

/// How soon after a signal the user hears that it arrived.
const ANSWER: Duration = Duration::from_millis(100);

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
        // Of a terminal that closes both its shell and the system tell: a second one asks for nothing more. Whoever started this
        // process with `nohup` wants it to outlive its terminal.
        if ignored() & (1 << (SIGHUP - 1)) == 0 {
            flag::register_usize(SIGHUP, heard.0.clone(), SIGHUP as usize)?;
        }
        let listener = heard.clone();
        thread::spawn(move || {
            while !listener.heard() {
                thread::sleep(ANSWER);
            }
            // Below a bar that is drawn.
            let below = if std::io::stderr().is_terminal() { "\n" } else { "" };
            remark(&format!("{below}{}: finishing this batch; again to stop now", listener.name()));
        });
        Ok(heard)
    }

    /// Whether the run was asked to stop.
    pub(crate) fn heard(&self) -> bool {
        self.0.load(Ordering::SeqCst) != 0
    }

    /// What asked it to.
    fn name(&self) -> &'static str {
        match self.0.load(Ordering::SeqCst) as i32 {
            SIGTERM => "SIGTERM",
            SIGHUP => "SIGHUP",
            _ => "Ctrl-C",
        }
    }

    /// The end of a run that was asked to stop; `what` says what was reached and kept.
    pub(crate) fn stopped(&self, what: &str) -> anyhow::Error {
        self.ended(&format!("{what}\n  continue with: {}", resuming()))
    }

    /// The end of a command of which nothing is kept; `what` says where it was.
    pub(crate) fn ended(&self, what: &str) -> anyhow::Error {
        let text = format!("stopped by {} {what}", self.name());
        Stopped { code: (128 + self.0.load(Ordering::SeqCst)) as u8, text }.into()
    }
}

/// The signals that this process was started to ignore, a bit each, the first one the lowest; none where the system does not tell.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
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
    let mut words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--force").collect();
    if !words.iter().any(|word| word == "--resume") {
        words.push("--resume".into());
    }
    command(&words)
}
