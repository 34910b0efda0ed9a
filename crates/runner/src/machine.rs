//! The machine and the program of a run, for its results.

use std::fs;
use std::thread::available_parallelism;

use temper_results::{Machine, Versions};

/// The processor's name and the number of available threads, for `results.json`. If the system does not report a
/// name, the architecture is used instead.
pub(crate) fn machine() -> Machine {
    let told = fs::read_to_string("/proc/cpuinfo").ok();
    let name = told.as_deref().and_then(processor).unwrap_or(std::env::consts::ARCH);
    Machine { processor: name.into(), threads: available_parallelism().map_or(1, usize::from) }
}

/// The versions of temper and candle.
pub(crate) fn versions() -> Versions {
    Versions { temper: env!("CARGO_PKG_VERSION").into(), candle: "0.11.1".into() }
}

/// The first model name in `/proc/cpuinfo`.
fn processor(table: &str) -> Option<&str> {
    let line = table.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_called_by_its_model_name() {
        let table = "processor\t: 0\nmodel\t\t: 17\nmodel name\t: Some CPU @ 2 GHz\n\nprocessor\t: 1\nmodel name\t: Other\n";
        assert_eq!(processor(table), Some("Some CPU @ 2 GHz"));
        assert_eq!(processor("processor\t: 0\nmodel name\t:\n"), None);
        assert_eq!(processor("CPU part\t: 0xd0c\n"), None);
        assert!(machine().threads > 0);
    }
}
