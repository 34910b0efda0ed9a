//! Handling of SIGINT, SIGTERM and SIGHUP. The first signal stops the run where nothing is lost, or in an evaluation
//! at most one batch; a second one stops it immediately.

use std::fmt;
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use temper_core::Pulse;

use temper_results::shell::command;

use crate::output::remark;

/// Time after a signal within which the user sees a message.
const ANSWER: Duration = Duration::from_millis(100);

/// A handler of signals.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    /// Installs the handler.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let (heard, second) = (Self::default(), Arc::new(AtomicBool::new(false)));
        for signal in [SIGINT, SIGTERM] {
            // The order matters: the first signal finds `second` unset and sets it.
            flag::register_conditional_shutdown(signal, 128 + signal, second.clone())?;
            flag::register(signal, second.clone())?;
            flag::register_usize(signal, heard.0.clone(), signal as usize)?;
        }
        // When a terminal closes, both the shell and the system send SIGHUP, so a second one does not stop
        // the run immediately. A process started with `nohup` ignores SIGHUP and outlives its terminal.
        if ignored() & (1 << (SIGHUP - 1)) == 0 {
            flag::register_usize(SIGHUP, heard.0.clone(), SIGHUP as usize)?;
        }
        let listener = heard.clone();
        thread::spawn(move || {
            while !listener.heard() {
                thread::sleep(ANSWER);
            }
            // Below a progress bar, the message starts on a new line.
            let below = if std::io::stderr().is_terminal() { "\n" } else { "" };
            remark(&format!(
                "{below}{}: finishing this batch (an evaluation, for 5 s at most); again to stop now",
                listener.name()
            ));
        });
        Ok(heard)
    }

    /// Whether a signal was received.
    pub(crate) fn heard(&self) -> bool {
        self.0.load(Ordering::SeqCst) != 0
    }

    /// A pulse that ends passes once a signal was received.
    pub(crate) fn pulse(&self) -> Pulse {
        let heard = self.clone();
        Pulse::new(move |_| if heard.heard() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// The name of the received signal.
    fn name(&self) -> &'static str {
        match self.0.load(Ordering::SeqCst) as i32 {
            SIGTERM => "SIGTERM",
            SIGHUP => "SIGHUP",
            _ => "Ctrl-C",
        }
    }

    /// The error that ends an interrupted run. `what` states what was reached and saved.
    pub(crate) fn stopped(&self, what: &str) -> anyhow::Error {
        self.ended(&format!("{what}\n  continue with: {}", resuming()))
    }

    /// The error that ends an interrupted command without saved state. `what` states how far the command was.
    pub(crate) fn ended(&self, what: &str) -> anyhow::Error {
        let text = format!("stopped by {} {what}", self.name());
        Stopped { code: (128 + self.0.load(Ordering::SeqCst)) as u8, text }.into()
    }
}

/// The signals that were ignored when this process started, one bit each, the first signal in the lowest bit;
/// 0 if the system does not report them.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// An interrupted run. By the convention of shells, its exit code is 128 + the number of the signal.
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

/// The command line of this process with `--resume`.
fn resuming() -> String {
    let mut words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--force").collect();
    if !words.iter().any(|word| word == "--resume") {
        words.push("--resume".into());
    }
    command(&words)
}
