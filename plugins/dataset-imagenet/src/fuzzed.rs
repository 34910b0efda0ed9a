//! Inputs found by fuzzing, each with a different path through the reader. The result is an error or images, never a
//! panic. `fuzz/README.md` describes their origin.

use std::fs;
use temper_core::prelude::*;

#[allow(dead_code, unreachable_pub)]
#[path = "../../../fuzz/src/kept.rs"]
mod kept;

use crate::ImageNet;

#[test]
fn lists() {
    let folder = tempfile::tempdir().unwrap();
    for synset in ["n01440764", "n01443537", "n01484850"] {
        fs::create_dir_all(folder.path().join("train").join(synset)).unwrap();
    }
    fs::create_dir(folder.path().join("val")).unwrap();
    for image in 1..=3 {
        fs::write(folder.path().join(format!("val/ILSVRC2012_val_0000000{image}.JPEG")), "").unwrap();
    }
    kept::each(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kept/imagenet"), |input| {
        let Some([numbers, list]) = kept::files(input) else { return };
        fs::write(folder.path().join("numbers.txt"), numbers).unwrap();
        fs::write(folder.path().join("list.txt"), list).unwrap();
        let (numbers, val_list) = (Some("numbers.txt".into()), Some("list.txt".into()));
        let dataset = ImageNet { root: Some(folder.path().into()), val_list, numbers, ..ImageNet::default() };
        let Ok(source) = dataset.open(Split::Test) else { return };
        for index in 0..source.len() {
            assert!((source.label(index).unwrap() as usize) < source.classes().len());
        }
    });
}
