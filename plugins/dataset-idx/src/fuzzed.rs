//! Inputs found by fuzzing, each with a different path through the reader. The result is an error or images, never a
//! panic. `fuzz/README.md` describes their origin.

use std::fs;

#[allow(dead_code, unreachable_pub)]
#[path = "../../../fuzz/src/kept.rs"]
mod kept;
#[path = "../../../fuzz/src/samples.rs"]
mod samples;

use crate::Mnist;

#[test]
fn files() {
    let folder = tempfile::tempdir().unwrap();
    kept::each(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kept/idx"), |input| {
        let Some([labels, images]) = kept::files(input) else { return };
        for part in ["train", "t10k"] {
            fs::write(folder.path().join(format!("{part}-images-idx3-ubyte")), images).unwrap();
            fs::write(folder.path().join(format!("{part}-labels-idx1-ubyte")), labels).unwrap();
        }
        samples::read(&Mnist { root: Some(folder.path().into()) });
    });
}
