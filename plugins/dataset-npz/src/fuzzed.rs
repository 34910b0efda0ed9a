//! Inputs found by fuzzing, each with a different path through the reader. The result is an error or images, never a
//! panic. `fuzz/README.md` describes their origin.

use std::fs;

#[allow(dead_code, unreachable_pub)]
#[path = "../../../fuzz/src/kept.rs"]
mod kept;
#[path = "../../../fuzz/src/samples.rs"]
mod samples;

use crate::Npz;

#[test]
fn archives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npz");
    kept::each(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kept/npz"), |input| {
        fs::write(&path, input).unwrap();
        samples::read(&Npz { path: Some(path.clone()), ..Npz::default() });
    });
}

#[test]
fn arrays() {
    let folder = tempfile::tempdir().unwrap();
    let [images, labels] = ["x.npy", "y.npy"].map(|name| folder.path().join(name));
    kept::each(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kept/npy"), |input| {
        let Some([of_labels, of_images]) = kept::files(input) else { return };
        fs::write(&labels, of_labels).unwrap();
        fs::write(&images, of_images).unwrap();
        samples::read(&Npz { images: Some(images.clone()), labels: Some(labels.clone()), ..Npz::default() });
    });
}
