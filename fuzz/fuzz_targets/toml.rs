//! Pipelines in TOML. One that was read is written and read again, as a run does with it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_fuzz::{bounded, write};
use temper_runner::Pipeline;

// The runner brings an allocator of its own: libFuzzer watches the memory.

fuzz_target!(|data: &[u8]| {
    let path = write("run.toml", data);
    let Ok(pipeline) = bounded(|| Pipeline::load(&path, &[])) else { return };
    let written = toml::to_string(&pipeline).expect("a pipeline that was read is written");
    let path = write("again.toml", written.as_bytes());
    if let Err(error) = Pipeline::load(&path, &[]) {
        panic!("what was written is not read: {error}\n{written}");
    }
});
