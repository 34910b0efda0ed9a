//! Inputs found by fuzzing, each with a different path through the reader. The result is an error or images, never a
//! panic. `fuzz/README.md` describes their origin.

use std::fs;
use temper_core::prelude::*;

#[allow(dead_code, unreachable_pub)]
#[path = "../../../fuzz/src/kept.rs"]
mod kept;

use crate::ImageFolder;

#[test]
fn lists() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("cat")).unwrap();
    for image in ["cat/1.png", "cat/2.png", "1.jpg", "a,b.png"] {
        fs::write(folder.path().join(image), "").unwrap();
    }
    kept::each(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kept/csv"), |input| {
        let Some([train, test]) = kept::files(input) else { return };
        fs::write(folder.path().join("train.csv"), train).unwrap();
        fs::write(folder.path().join("test.csv"), test).unwrap();
        let (train, test) = ("train.csv".into(), "test.csv".into());
        let dataset = ImageFolder { root: Some(folder.path().into()), train, test, ..ImageFolder::default() };
        let Ok(source) = dataset.open(Split::Test) else { return };
        for index in 0..source.len() {
            assert!((source.label(index).unwrap() as usize) < source.classes().len());
        }
    });
}
