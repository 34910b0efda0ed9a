//! Files that runs leave: records (`records.jsonl`) and results (`results.json`).

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_fuzz::{bounded, counted, write};
use temper_results::{Records, Results};

counted!();

fuzz_target!(|data: &[u8]| {
    let path = write("records.jsonl", data);
    if let Ok(lines) = bounded(|| Records::read(&path)) {
        for line in &lines {
            let text = serde_json::to_string(line).expect("a line that was read is written");
            write("again.jsonl", format!("{text}\n").as_bytes());
            let again = Records::read(&temper_fuzz::folder().join("again.jsonl"));
            assert_eq!(again.expect("what was written is read").len(), 1);
        }
    }
    if let Ok(results) = bounded(|| Results::read(&path)) {
        let path = temper_fuzz::folder().join("again.json");
        results.write(&path).expect("results that were read are written");
        Results::read(&path).expect("what was written is read");
    }
});
