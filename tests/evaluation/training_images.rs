//! `temper attack` on training images: those that are named, and all of them within the radii that training
//! left to them.

use std::collections::BTreeMap;
use std::fs;

use candle_core::{Device, Tensor, safetensors};
use serde_json::Value;

use crate::cli::attack_command::{PGD, sound, trained};
use crate::support::{STRIPES, command, json, playground, stderr, succeed};

/// Training images, by their index in the whole split: as they are, whatever the run did to them.
#[test]
fn chosen_training_images_are_attacked_by_index() {
    let folder = trained();
    let args = ["attack", "runs/run", "--attack", PGD, "--eps", "0.1", "--split", "train", "--save", "out"];
    let said = succeed(folder.path(), &[&args[..], &["--indices", "9,4,17"]].concat());
    assert!(said.contains("data    fashion-mnist, 3 training images: "), "{said}");
    let out = folder.path().join("out");
    assert_eq!(sound(&out, "linf", 0.1).0, 3);
    let tensors = safetensors::load(out.join("images.safetensors"), &Device::Cpu).unwrap();
    assert_eq!(tensors["index"].to_vec1::<i64>().unwrap(), [4, 9, 17]);
    let results = json(&out.join("results.json"));
    assert_eq!(&results["dataset"]["train"]["n"], 3);
    // The same images of the other split are others.
    let test =
        ["attack", "runs/run", "--attack", PGD, "--eps", "0.1", "--indices", "4,9,17", "--save", "test"];
    succeed(folder.path(), &test);
    let others = safetensors::load(folder.path().join("test/images.safetensors"), &Device::Cpu).unwrap();
    let pixels = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_ne!(pixels(&others["clean"]), pixels(&tensors["clean"]));

    let refused = |rest: &[&str]| {
        let output = command(folder.path())
            .args(["attack", "runs/run", "--attack", "fgsm", "--eps", "0.1"])
            .args(rest)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{rest:?}");
        stderr(&output)
    };
    let told = refused(&["--split", "train", "--indices", "3,100000"]);
    assert!(
        told.starts_with("error: --indices: image 100000 of the whole training set, from 0, is not among"),
        "{told}"
    );
    let told = refused(&["--indices", "3,3"]);
    assert_eq!(told, "error: --indices: image 3 is named twice: it would count twice\n");
    assert!(refused(&["--split", "trian"]).contains("a similar value exists: 'train'"));
    assert!(refused(&["--indices", "3", "--samples", "4"]).contains("cannot be used with"));
}

/// `--eps own`: every training image within the radius that training left it, and a word against radii that
/// do not hold.
#[test]
fn radii_of_training_are_put_to_the_test() {
    let folder = trained();
    let attack = |eps: &str, rest: &[&str]| {
        let args = [
            "attack", "runs/run", "--split", "train", "--attack", PGD, "--eps", eps, "--force", "--save",
            "out",
        ];
        succeed(folder.path(), &[&args[..], rest].concat())
    };
    let said = attack("own", &[]);
    assert!(said.contains("within the l-inf radius of each image, at most "), "{said}");
    let epoch = folder.path().join("runs/run/epsilon/epoch-0002.safetensors");
    let last = safetensors::load(epoch, &Device::Cpu).unwrap();
    let (ids, memory) = (last["index"].to_vec1::<i64>().unwrap(), last["memory"].to_vec1::<f64>().unwrap());
    let own: BTreeMap<i64, f64> = ids.into_iter().zip(memory).filter(|(_, radius)| *radius > 0.0).collect();
    let out = folder.path().join("out");
    let images = safetensors::load(out.join("images.safetensors"), &Device::Cpu).unwrap();
    let index = images["index"].to_vec1::<i64>().unwrap();
    assert!(index.iter().eq(own.keys()), "images with a radius above 0, and no others");
    let rows = |name: &str| images[name].flatten_from(1).unwrap().to_vec2::<f32>().unwrap();
    let mut farthest = vec![];
    for (i, (clean, moved)) in rows("clean").iter().zip(rows("adversarial")).enumerate() {
        let far = clean.iter().zip(moved).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
        assert!(far <= own[&index[i]] + 1e-6, "image {}: {far} of {}", index[i], own[&index[i]]);
        farthest.push(far / own[&index[i]]);
    }
    // Most of those that are attacked go to the edge of their own ball.
    assert!(farthest.iter().filter(|share| **share > 0.99).count() * 2 > farthest.len(), "{farthest:?}");

    // A stronger attack than that of training breaks more, and is heard.
    let results = json(&out.join("results.json"));
    let cost = &results["evaluations"][1]["attacks"][0];
    let (attacked, broken) = (cost["attacked"].as_u64().unwrap(), cost["broken"].as_u64().unwrap());
    let warnings = results["evaluations"][1]["warnings"].as_array().map_or(0, Vec::len);
    assert_eq!(warnings > 0, broken * 5 > attacked, "{broken} of {attacked}");
    assert!(
        results["dataset"]["train"]["radii"].as_str().unwrap().ends_with("epsilon/epoch-0002.safetensors")
    );

    // A minimum-norm attack breaks those whose boundary is nearer than their own radius, and no others.
    succeed(
        folder.path(),
        &[
            "attack",
            "runs/run",
            "--split",
            "train",
            "--attack",
            "deepfool = { norm = \"linf\" }",
            "--eps",
            "own",
            "--save",
            "near",
        ],
    );
    let near = fs::read_to_string(folder.path().join("near/records.jsonl")).unwrap();
    let (mut inside, mut outside) = (0, 0);
    for line in near.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let samples = &line["samples"];
        for (i, sample) in samples["sample"].as_array().unwrap().iter().enumerate() {
            let Some(needed) = samples["min_norm"][i].as_f64() else { continue };
            let fits = needed <= own[&sample.as_i64().unwrap()];
            assert_eq!(!samples["broken_by"][i].is_null(), fits, "{sample}: {needed}");
            if fits { inside += 1 } else { outside += 1 }
        }
    }
    assert!(inside > 0 && outside > 0, "{inside} {outside}");

    let refused = |args: &[&str]| {
        let output = command(folder.path()).arg("attack").args(args).output().unwrap();
        assert!(!output.status.success(), "{args:?}");
        stderr(&output)
    };
    let own_radii = ["--attack", "pgd", "--eps", "own", "--split", "train"];
    let two = [&["transfer", "runs/run", "runs/run/model.safetensors"][..], &own_radii].concat();
    let told = stderr(&command(folder.path()).args(two).output().unwrap());
    assert_eq!(told, "error: --eps own: images have the radii of one run, not of several\n");
    let told = refused(&["runs/run", "--attack", "pgd", "--eps", "own"]);
    assert_eq!(
        told,
        "error: --eps own: images that were trained on have radii of their own: add --split train\n"
    );
    let missing = (own.keys().last().unwrap() + 100_000).to_string();
    let told = refused(&[&["runs/run"][..], &own_radii, &["--indices", &missing]].concat());
    assert!(told.contains("was not trained on"), "{told}");
    fs::remove_dir_all(folder.path().join("runs/run/epsilon")).unwrap();
    let told = refused(&["runs/run", "--attack", "pgd", "--eps", "own", "--split", "train"]);
    assert!(told.contains("runs/run/epsilon"), "{told}");
}

/// Radii are those of the epoch that left the weights: that of the best ones, which attacks take of a run
/// that selected.
#[test]
fn best_weights_go_with_the_radii_of_their_epoch() {
    let select = "[select]\nsamples = 16\n\n[[evaluate]]";
    let folder = playground(&STRIPES.replacen("[[evaluate]]", select, 1));
    succeed(folder.path(), &["run", "run.toml"]);
    let best = json(&folder.path().join("runs/run/results.json"))["best"]["epoch"].as_u64().unwrap();
    assert_ne!(best, 3, "the last epoch would show nothing");
    let radii = |network: &str| {
        let args = [
            "attack", network, "--split", "train", "--attack", "fgsm", "--eps", "own", "--save", "out",
            "--force",
        ];
        succeed(folder.path(), &args);
        json(&folder.path().join("out/results.json"))["dataset"]["train"]["radii"]
            .as_str()
            .unwrap()
            .to_string()
    };
    assert!(radii("runs/run").ends_with(&format!("epsilon/epoch-{best:04}.safetensors")));
    assert!(radii("runs/run/model.safetensors").ends_with("epsilon/epoch-0003.safetensors"));
    // Where that epoch's radii are gone, another epoch's are not taken for them.
    fs::remove_file(folder.path().join(format!("runs/run/epsilon/epoch-{best:04}.safetensors"))).unwrap();
    let args = ["attack", "runs/run", "--split", "train", "--attack", "fgsm", "--eps", "own"];
    let told = stderr(&command(folder.path()).args(args).output().unwrap());
    assert!(told.contains(&format!("no radii of epoch {best}")), "{told}");
}
