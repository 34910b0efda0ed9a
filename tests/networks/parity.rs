//! Networks of `PyTorch` in every format that is read: logits, input gradients and attacks beside `PyTorch`'s in
//! float64. `python crates/parity/python/make.py tests/networks/golden/parity --stored` makes the files.
//!
//! `cargo xtask parity PYTHON` does the same with wider networks, more images and more attacks.

use std::collections::BTreeSet;

use temper_parity::{AttackOutcome, Manifest, compare};

use crate::support::root;

#[test]
fn networks_of_pytorch_give_its_logits_gradients_and_broken_images() {
    let folder = root().join("tests/networks/golden/parity");
    let manifest = Manifest::read(&folder).unwrap();
    let (mut formats, mut networks, mut attacks) = (BTreeSet::new(), vec![], 0);
    let faults = compare(&folder, &manifest, |entry, report| {
        networks.push(entry.name.clone());
        formats.extend(report.files.iter().map(|file| file.format.clone()));
        for file in &report.files {
            assert_eq!(file.differ.len(), 2, "{}: FGSM and PGD", entry.name);
            assert_eq!(file.runtime.is_some(), file.format.starts_with("onnx"), "{}", entry.name);
        }
        for attack in &report.attacks {
            attacks += 1;
            if let AttackOutcome::Broken { theirs, .. } = attack.outcome {
                let natural = 1.0 - entry.accuracy;
                assert!(theirs > natural + 0.05 && theirs < 0.95, "{}: {attack:?} says little", entry.name);
            }
        }
    })
    .unwrap();
    assert_eq!(faults, Vec::<String>::new());
    assert_eq!(networks, ["lenet", "carlini", "smooth", "residual", "squeeze", "branches"]);
    let all = ["legacy pth", "onnx 13", "onnx 17", "onnx 20", "pth", "safetensors"];
    assert_eq!(formats.into_iter().collect::<Vec<_>>(), all);
    // FGSM and PGD by two libraries, DeepFool by two.
    assert_eq!(attacks, 6 * networks.len());
    assert!(manifest.n >= 100, "{} images", manifest.n);
}

/// What is compared breaks its bound when it is changed, and no other.
#[test]
fn changed_logits_gradients_distances_and_flags_break_bounds() {
    let golden = root().join("tests/networks/golden/parity");
    let mut manifest = Manifest::read(&golden).unwrap();
    manifest.networks.retain(|entry| entry.name == "lenet");
    manifest.networks[0].attacks.retain(|attack| attack.name != "fgsm");
    let faults =
        |manifest: &Manifest, folder: &std::path::Path| compare(folder, manifest, |_, _| {}).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let entry = &manifest.networks[0];
    for name in [&entry.files[0].file, &entry.reference] {
        std::fs::copy(golden.join(name), copy.path().join(name)).unwrap();
    }
    assert_eq!(faults(&manifest, copy.path()), Vec::<String>::new());

    // The header's length, the header, logits of f64, gradients of f32.
    let reference = copy.path().join(&entry.reference);
    let bytes = std::fs::read(&reference).unwrap();
    let header = 8 + usize::try_from(u64::from_le_bytes(*bytes.first_chunk().unwrap())).unwrap();
    let mut changed = bytes.clone();
    let logit: &mut [u8; 8] = changed[header..].first_chunk_mut().unwrap();
    *logit = (f64::from_le_bytes(*logit) + 2e-4).to_le_bytes();
    std::fs::write(&reference, &changed).unwrap();
    let found = faults(&manifest, copy.path());
    assert!(found.len() == 1 && found[0].contains("logits with exact sums"), "{found:?}");
    changed.copy_from_slice(&bytes);
    for slope in changed[header + manifest.n * 10 * 8..].as_chunks_mut().0 {
        *slope = (f32::from_le_bytes(*slope) * 1.001).to_le_bytes();
    }
    std::fs::write(&reference, &changed).unwrap();
    let found = faults(&manifest, copy.path());
    assert!(found.len() == 1 && found[0].contains("median gradient with exact sums"), "{found:?}");
    std::fs::write(&reference, &bytes).unwrap();

    // Distances of another length, on either side.
    for (factor, words) in
        [(0.9, "temper's median distance over theirs"), (1.2, "their median distance over temper's")]
    {
        let mut other = Manifest::read(&golden).unwrap();
        other.networks.retain(|entry| entry.name == "lenet");
        other.networks[0].attacks.retain(|attack| attack.name == "deepfool");
        for distance in other.networks[0].attacks[0].peers[0].distances.iter_mut().flatten().flatten() {
            *distance *= factor;
        }
        let found = faults(&other, &golden);
        assert!(found.len() == 1 && found[0].contains(words), "{found:?}");
    }

    // Two flags of the judge: one more than a hundred images may differ by.
    let broken = manifest.networks[0].attacks[0].peers[0].broken.as_mut().unwrap();
    *broken = broken.replacen("01", "10", 1);
    let found = faults(&manifest, copy.path());
    assert!(found.len() == 1 && found[0].contains("images that pgd breaks on one side"), "{found:?}");
}
