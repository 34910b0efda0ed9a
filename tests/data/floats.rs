//! Images of floating point between the levels of 8 bits, in files of `NumPy`.

use std::fs;
use std::path::Path;

use temper_core::Rng;
use temper_results::SavedImages;

use crate::cli::attack_command::trained;
use crate::support::{json, succeed};

/// A `.npy` file.
fn npy(file: &Path, descr: &str, shape: &str, values: &[u8]) {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    let header = format!("{header:<117}\n");
    let size = (header.len() as u16).to_le_bytes();
    fs::write(file, [b"\x93NUMPY\x01\x00", &size[..], header.as_bytes(), values].concat()).unwrap();
}

/// They are attacked as they are, and saved so. PNG files are rounded, and lie in a ball around the rounded image.
#[test]
fn images_between_levels_are_attacked_as_they_are() {
    let folder = trained();
    let folder = folder.path();
    let draws = Rng::new(9, "floats").uniform(&(0..24).collect::<Vec<_>>(), 144);
    let mut pixels: Vec<f32> = draws.iter().map(|draw| f32::midpoint(*draw, 1.0)).collect();
    // Halves between two levels, which single and double precision round to different levels.
    for (i, pixel) in pixels.iter_mut().enumerate().filter(|(i, _)| i % 7 == 0) {
        *pixel = ((i % 255) as f32 + 0.5) / 255.0;
    }
    let bytes: Vec<u8> = pixels.iter().flat_map(|value| value.to_le_bytes()).collect();
    npy(&folder.join("x.npy"), "<f4", "(24, 1, 12, 12)", &bytes);
    npy(&folder.join("y.npy"), "|u1", "(24,)", &(0..24).map(|i| i % 10).collect::<Vec<u8>>());
    let data = "npz = { images = \"x.npy\", labels = \"y.npy\", classes = 10 }";
    for (norm, eps) in [("linf", "0.05"), ("linf", "0.001"), ("l2", "0.8")] {
        let args = ["attack", "runs/run", "--data", data, "--ignore-class-names", "--save", "out"];
        let attack = ["--attack", "pgd", "--norm", norm, "--eps", eps];
        let said = succeed(folder, &[&args[..], &attack].concat());
        assert!(said.contains("x.npy, some values between multiples of 1/255,"), "{said}");
        let saved = SavedImages::read(&folder.join("out/images.safetensors")).unwrap();
        // Those that are right are attacked, and all are kept; what is within 1e-6 of a level is that level.
        for (i, index) in saved.index.iter().enumerate() {
            let (clean, _) = saved.pixels(i);
            let given = &pixels[*index as usize * 144..][..144];
            assert!(clean.iter().zip(given).all(|(kept, given)| (kept - given).abs() <= 1e-6), "{index}");
            assert!(clean.iter().zip(given).filter(|(kept, given)| kept == given).count() > 140, "{index}");
        }
        assert_eq!(json(&folder.join("out/results.json"))["saved"]["n"], saved.index.len());
        fs::remove_dir_all(folder.join("out")).unwrap();
    }
}
