//! Inputs that fuzzing kept, each of which takes another way through the reader: an error or images, and never a panic.
//! `fuzz/README.md` says where they come from.

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
