//! `temper radii`: radii and the images that they belong to, on the terminal and in a folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor, safetensors};
use expect_test::expect;
use serde_json::Value;
use temper_results::{EpochRadii, Line, RadiiFile};
use temper_train::{load_about, save_weights};

use crate::support::{STRIPES, json, playground, refuses, stderr, stdout, succeed, temper};

/// A folder with a run of three epochs on 320 images in `runs/run`. Its radii are replaced by known ones: after epoch E
/// sample I has E + I / 10 levels, sample 77 none.
pub(super) fn trained() -> tempfile::TempDir {
    let folder = playground(STRIPES);
    succeed(folder.path(), &["run", "run.toml"]);
    let run = folder.path().join("runs/run");
    for file in RadiiFile::of(&run).unwrap() {
        let mut radii = file.read().unwrap();
        assert_eq!(radii.index, (0..320).collect::<Vec<i64>>());
        let levels = |i: usize| file.epoch as f64 + i as f64 / 10.0;
        radii.radii = (0..320).map(|i| if i == 77 { 0.0 } else { levels(i) / 255.0 }).collect();
        radii.write(&file.file).unwrap();
    }
    folder
}

/// Replaces a run's network by one that takes every image for class 3.
pub(super) fn always_three(run: &Path) {
    let file = run.join("model.safetensors");
    let mut tensors: BTreeMap<String, Tensor> =
        safetensors::load(&file, &Device::Cpu).unwrap().into_iter().collect();
    let last = tensors.iter().find(|(_, tensor)| tensor.dims() == [10]).unwrap().0.clone();
    let weight = last.replace("bias", "weight");
    assert_ne!(weight, last);
    let zero = tensors[&weight].zeros_like().unwrap();
    let three: Vec<f32> = (0..10).map(|class| f32::from(class == 3)).collect();
    tensors.insert(weight, zero);
    tensors.insert(last, Tensor::new(three, &Device::Cpu).unwrap());
    save_weights(&file, &tensors, load_about(&file).unwrap().unwrap()).unwrap();
    // The results belong to the network of before.
    fs::remove_file(run.join("results.json")).unwrap();
}

/// The output of `temper radii`, which fits 80 columns.
pub(super) fn radii(folder: &Path, args: &[&str]) -> String {
    let said = succeed(folder, &[&["radii", "runs/run"], args].concat());
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    said
}

#[test]
fn a_summary_and_tables_of_the_smallest_and_the_largest() {
    let folder = trained();
    let folder = folder.path();
    always_three(&folder.join("runs/run"));
    expect![[r"
        run     runs/run: l-inf radii after epoch 3 (there are those of 1 to 3)
        network runs/run/model.safetensors
        samples 320, 1 of them (0.3 %) with radius 0

        radius         p5     p25     p50     p75     p95    mean
        ---------  ------  ------  ------  ------  ------  ------
        in [0, 1]  0.0176  0.0431  0.0745  0.1055  0.1306  0.0742
        n/255         4.5    11.0    19.0    26.9    33.3    18.9

        0.0000 to 0.0137   6  ##########
        0.0137 to 0.0274  35  ##########################################################
        0.0274 to 0.0411  35  ##########################################################
        0.0411 to 0.0547  34  #########################################################
        0.0547 to 0.0684  35  ##########################################################
        0.0684 to 0.0821  35  ##########################################################
        0.0821 to 0.0958  35  ##########################################################
        0.0958 to 0.1095  35  ##########################################################
        0.1095 to 0.1232  35  ##########################################################
        0.1232 to 0.1369  35  ##########################################################

        smallest 10
        sample  class          radius  n/255     epochs 1, 2, 3  predicted
        ------  -------------  ------  -----  -----------------  ---------
        77      7 Sneaker      0.0000    0.0    0.0   0.0   0.0  3 Dress
        0       0 T-shirt/top  0.0118    3.0    1.0   2.0   3.0  3 Dress
        1       1 Trouser      0.0122    3.1    1.1   2.1   3.1  3 Dress
        2       2 Pullover     0.0125    3.2    1.2   2.2   3.2  3 Dress
        3       3 Dress        0.0129    3.3    1.3   2.3   3.3  right
        4       4 Coat         0.0133    3.4    1.4   2.4   3.4  3 Dress
        5       5 Sandal       0.0137    3.5    1.5   2.5   3.5  3 Dress
        6       6 Shirt        0.0141    3.6    1.6   2.6   3.6  3 Dress
        7       7 Sneaker      0.0145    3.7    1.7   2.7   3.7  3 Dress
        8       8 Bag          0.0149    3.8    1.8   2.8   3.8  3 Dress

        largest 10
        sample  class          radius  n/255     epochs 1, 2, 3  predicted
        ------  -------------  ------  -----  -----------------  ---------
        319     9 Ankle boot   0.1369   34.9   32.9  33.9  34.9  3 Dress
        318     8 Bag          0.1365   34.8   32.8  33.8  34.8  3 Dress
        317     7 Sneaker      0.1361   34.7   32.7  33.7  34.7  3 Dress
        316     6 Shirt        0.1357   34.6   32.6  33.6  34.6  3 Dress
        315     5 Sandal       0.1353   34.5   32.5  33.5  34.5  3 Dress
        314     4 Coat         0.1349   34.4   32.4  33.4  34.4  3 Dress
        313     3 Dress        0.1345   34.3   32.3  33.3  34.3  right
        312     2 Pullover     0.1341   34.2   32.2  33.2  34.2  3 Dress
        311     1 Trouser      0.1337   34.1   32.1  33.1  34.1  3 Dress
        310     0 T-shirt/top  0.1333   34.0   32.0  33.0  34.0  3 Dress

        epochs  the radius after each of these, as n/255
    "]]
    .assert_eq(&radii(folder, &[]));
    expect![[r"
        run     runs/run: l-inf radii after epoch 3 (there are those of 1 to 3)
        network runs/run/model.safetensors

        smallest
        sample  class          radius  n/255     epochs 1, 2, 3  predicted
        ------  -------------  ------  -----  -----------------  ---------
        77      7 Sneaker      0.0000    0.0    0.0   0.0   0.0  3 Dress
        0       0 T-shirt/top  0.0118    3.0    1.0   2.0   3.0  3 Dress
        1       1 Trouser      0.0122    3.1    1.1   2.1   3.1  3 Dress

        epochs  the radius after each of these, as n/255
    "]]
    .assert_eq(&radii(folder, &["--smallest", "3"]));
    expect![[r"
        run     runs/run: l-inf radii after epoch 1 (there are those of 1 to 3)
        network runs/run/model.safetensors

        smallest
        sample  class      radius  n/255     epochs 1, 2, 3  predicted
        ------  ---------  ------  -----  -----------------  ---------
        77      7 Sneaker  0.0000    0.0    0.0   0.0   0.0  3 Dress

        largest
        sample  class         radius  n/255     epochs 1, 2, 3  predicted
        ------  ------------  ------  -----  -----------------  ---------
        319     9 Ankle boot  0.1290   32.9   32.9  33.9  34.9  3 Dress
        318     8 Bag         0.1286   32.8   32.8  33.8  34.8  3 Dress

        epochs  the radius after each of these, as n/255
    "]]
    .assert_eq(&radii(folder, &["--smallest", "1", "--largest", "2", "--epoch", "1"]));
    // Where radii are equal, the first ones are listed, and a note says so.
    let run = folder.join("runs/run");
    let index = (0..320).collect();
    let equal = EpochRadii { epoch: 3, radii: vec![8.0 / 255.0; 320], index };
    equal.write(&run.join("epsilon/epoch-0003.safetensors")).unwrap();
    expect![[r"
        run     runs/run: l-inf radii after epoch 3 (there are those of 1 to 3)
        network runs/run/model.safetensors

        largest
        sample  class          radius  n/255     epochs 1, 2, 3  predicted
        ------  -------------  ------  -----  -----------------  ---------
        0       0 T-shirt/top  0.0314    8.0    1.0   2.0   8.0  3 Dress
        1       1 Trouser      0.0314    8.0    1.1   2.1   8.0  3 Dress

        epochs  the radius after each of these, as n/255
        note    320 samples share the radius 0.0314 at the end of the largest: the
                first 2 of them are listed
    "]]
    .assert_eq(&radii(folder, &["--largest", "2"]));
    // More than there are.
    let all = radii(folder, &["--smallest", "1000"]);
    assert_eq!(all.lines().filter(|line| line.contains(" 0.0314    8.0 ")).count(), 320, "{all}");
    let summary = radii(folder, &[]);
    let bar = format!("0.0314 to 0.0314  320  {}\n", "#".repeat(57));
    assert!(summary.contains(&bar), "{summary}");
}

#[test]
fn predictions_are_those_of_the_network_on_the_unperturbed_images() {
    let folder = trained();
    let folder = folder.path();
    radii(folder, &["--smallest", "40", "--largest", "40", "--save", "out"]);
    let table = json(&folder.join("out/radii.json"));
    let rows: Vec<&Value> =
        ["smallest", "largest"].iter().flat_map(|end| table[end].as_array().unwrap()).collect();
    assert_eq!(rows.len(), 80);
    let indices: Vec<String> = rows.iter().map(|row| row["sample"].to_string()).collect();
    let attack = ["attack", "runs/run", "--attack", "fgsm", "--eps", "0.01", "--split", "train"];
    let these = ["--indices", &indices.join(","), "--save", "attacked"];
    succeed(folder, &[&attack[..], &these].concat());
    let records = fs::read_to_string(folder.join("attacked/records.jsonl")).unwrap();
    let lines: Vec<Line> = records.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let attacked = lines.iter().filter(|line| line.evaluation == "fgsm");
    let natural: BTreeMap<u64, (u32, Option<u32>)> = attacked
        .flat_map(|line| line.samples.records())
        .map(|record| (record.sample, (record.label, record.natural)))
        .collect();
    let (mut right, mut wrong) = (0, 0);
    for row in rows {
        let (label, predicted) = natural[&row["sample"].as_u64().unwrap()];
        assert_eq!(
            (row["label"].as_u64(), row["prediction"].as_u64()),
            (Some(label.into()), predicted.map(u64::from))
        );
        if predicted == Some(label) { right += 1 } else { wrong += 1 }
    }
    assert!(right > 0 && wrong > 0, "{right} {wrong}: nothing to tell apart");
}

/// The weights that a run selected are of an epoch, and so are the radii that are shown with their predictions.
#[test]
fn radii_are_those_of_the_best_weights() {
    let folder = playground(&format!("{STRIPES}\n[select]\nsamples = 40\n"));
    let folder = folder.path();
    succeed(folder, &["run", "run.toml"]);
    let run = folder.join("runs/run");
    // Whichever epoch was the best one: let it be the second.
    let best = run.join("best.safetensors");
    let tensors = safetensors::load(&best, &Device::Cpu).unwrap().into_iter().collect();
    let mut about: Value = serde_json::from_str(&load_about(&best).unwrap().unwrap()).unwrap();
    about["epoch"] = 2.into();
    save_weights(&best, &tensors, about.to_string()).unwrap();
    fs::remove_file(run.join("results.json")).unwrap();
    let said = radii(folder, &["--largest", "1"]);
    let start = "run     runs/run: l-inf radii after epoch 2 (there are those of 1 to 3)\n\
                 network runs/run/best.safetensors\n";
    assert!(said.starts_with(start), "{said}");
    let said = radii(folder, &["--largest", "1", "--epoch", "3"]);
    assert!(said.starts_with("run     runs/run: l-inf radii after epoch 3 "), "{said}");
    fs::remove_file(run.join("epsilon/epoch-0002.safetensors")).unwrap();
    refuses(
        folder,
        &["radii", "runs/run"],
        &expect![[r"
        error: runs/run has no radii of epoch 2, that of its best weights, those of 1, 3 are there: choose one with --epoch
    "]],
    );
}

#[test]
fn what_is_missing_is_said() {
    let folder = trained();
    let folder = folder.path();
    refuses(
        folder,
        &["radii", "data"],
        &expect![[r"
        error: data holds no run: expected the folder that `temper run` wrote
    "]],
    );
    refuses(
        folder,
        &["radii", "nowhere"],
        &expect![[r"
        error: nowhere holds no run: expected the folder that `temper run` wrote
    "]],
    );
    refuses(
        folder,
        &["radii", "runs/run", "--epoch", "7"],
        &expect![[r"
        error: --epoch 7: runs/run has no radii of that epoch, those of 1 to 3 are there
    "]],
    );
    refuses(
        folder,
        &["radii", "runs/run", "--smallest", "0"],
        &expect![[r"
        error: invalid value '0' for '--smallest <N>': expected a whole number from 1 to 9223372036854775807

        For more information, try '--help'.
    "]],
    );
    let run = folder.join("runs/run");
    // A run that was interrupted has radii, but no weights yet.
    fs::rename(run.join("model.safetensors"), folder.join("kept")).unwrap();
    fs::remove_file(run.join("epsilon/epoch-0003.safetensors")).unwrap();
    expect![[r"
        warning 5 % of all radii ended above 0.1400, for which the training attack is
                doubtful: 2 steps of 0.0500 reach 0.1000, not the radius of 0.1400:
                take more or longer ones
        run     runs/run: l-inf radii after epoch 2 (there are those of 1 to 2)

        smallest
        sample  class          radius  n/255  epochs 1, 2
        ------  -------------  ------  -----  -----------
        77      7 Sneaker      0.0000    0.0    0.0   0.0
        0       0 T-shirt/top  0.0078    2.0    1.0   2.0

        epochs  the radius after each of these, as n/255
        note    there are no predictions: the run has no weights yet, it writes
                model.safetensors when training ends
    "]]
    .assert_eq(&radii(folder, &["--smallest", "2"]));
    // Without its data the radii are known, but nothing of the images.
    fs::rename(folder.join("kept"), run.join("model.safetensors")).unwrap();
    fs::rename(folder.join("data"), folder.join("moved")).unwrap();
    let said = radii(folder, &["--smallest", "1"]);
    assert!(said.contains("\nsample  radius  n/255  epochs 1, 2\n"), "{said}");
    assert!(said.contains("\nnote    classes, file names and predictions are not known: no "), "{said}");
    let output = temper(folder, &["radii", "runs/run", "--save", "out"]);
    assert_eq!((output.status.code(), folder.join("out").exists()), (Some(2), false), "{}", stdout(&output));
    assert!(stderr(&output).starts_with("error: --save: no images: no "), "{}", stderr(&output));
    // Other images under the same name.
    crate::support::stripes(&folder.join("data"), 300, 80);
    let said = radii(folder, &["--smallest", "1"]);
    let other = "classes, file names and predictions are not known: the images here are not those that were trained on";
    assert!(said.split_whitespace().collect::<Vec<_>>().join(" ").contains(other), "{said}");
    fs::write(run.join("epsilon/epoch-0001.safetensors"), "short").unwrap();
    let output = temper(folder, &["radii", "runs/run"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("error: runs/run/epsilon/epoch-0001.safetensors: not safetensors"));
    for file in RadiiFile::of(&run).unwrap() {
        fs::remove_file(file.file).unwrap();
    }
    refuses(
        folder,
        &["radii", "runs/run"],
        &expect![[r"
        error: runs/run has no radii yet: runs/run/epsilon is empty until the first epoch has ended
    "]],
    );
    let clean = STRIPES.lines().filter(|line| !line.starts_with("epsilon.")).collect::<Vec<_>>().join("\n");
    let clean = clean.replace("attack.pgd = { steps = 2, step = 0.05 }", "attack = \"none\"");
    fs::write(folder.join("clean.toml"), clean).unwrap();
    succeed(folder, &["run", "clean.toml", "--set", "train.epochs=1"]);
    refuses(
        folder,
        &["radii", "runs/clean"],
        &expect![[r"
        error: runs/clean was trained without an epsilon policy: there are no radii
          `epsilon` in [train] names one, for example epsilon.instance-adaptive
    "]],
    );
}
