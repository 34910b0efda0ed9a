//! Data sets of image files, as a user meets them: `image-folder` and `imagenet`.

use std::fmt::Write;
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use expect_test::expect;
use xtask::torture::essence;

use crate::support::{command, fails, refuses, root, stderr, stdout, succeed, temper};

pub(crate) const PIPELINE: &str = r#"seed = 3
dataset.image-folder = { root = "set", size = 12, resize = 14 }
model.convnet = { channels = [6], hidden = 12, batch_norm = true }

[train]
epochs = 3
batch = 16
augment = { crop = "resized", scale = [0.4, 1.0] }
attack.pgd = { steps = 2, step = 0.02 }
epsilon.instance-adaptive = { start = 0.02, warmup = 1, gamma = 0.01, beta = 0.4 }
optimizer = { lr = 0.05 }

[[evaluate]]
name = "natural"

[[evaluate]]
name = "pgd"
radius = 0.02
attack.pgd = { steps = 3, step = 0.01 }
"#;

/// Attacks that need more classes than there are: found before any work, each with its place.
#[test]
fn too_few_classes_for_an_attack_are_found_before_training() {
    let folder = playground(PIPELINE, 4, 2);
    for split in ["train", "test"] {
        fs::remove_dir_all(folder.path().join("set").join(split).join("red")).unwrap();
    }
    let sets = ["--set", "train.attack.pgd.loss=dlr", "--set", "evaluate.1.attack.pgd.loss=dlr"];
    refuses(
        folder.path(),
        &[&["run", "run.toml"][..], &sets].concat(),
        &expect![[r#"
        error: run.toml:9:1: attack `pgd`: the loss `dlr` needs at least 3 classes, not 2: take `loss = "margin"`
          at train.attack
        error: run.toml:19:1: attack `pgd-3-dlr`: the loss `dlr` needs at least 3 classes, not 2: take `loss = "margin"`
          at evaluate[1].attack
    "#]],
    );
    assert!(!folder.path().join("runs").exists());
    succeed(folder.path(), &["run", "run.toml"]);
    let attack =
        ["attack", "runs/run", "--attack", "pgd = { loss = \"dlr\", target = \"all\" }", "--eps", "0.1"];
    refuses(
        folder.path(),
        &attack,
        &expect![[r#"
        error: --attack: attack `pgd-10-all-dlr`: the loss `dlr` needs at least 4 classes, not 2: take `loss = "margin"`
    "#]],
    );
}

pub(crate) const CLASSES: [&str; 3] = ["blue", "green", "red"];

/// Writes a noisy image whose colour is its class.
fn paint(file: &Path, class: usize, seed: usize) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let (width, height) = (10 + seed * 7 % 17, 9 + seed * 5 % 13);
    let noise = temper_core::Rng::new(seed as u64, "paint").uniform(&[class as u64], width * height * 3);
    let value = |(i, noise): (usize, &f32)| (noise * 60.0) as i32 + if i % 3 == 2 - class { 190 } else { 70 };
    let pixels: Vec<u8> = noise.iter().enumerate().map(value).map(|v| v as u8).collect();
    let mut encoder = png::Encoder::new(File::create(file).unwrap(), width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
}

/// A folder with `run.toml` and a set of class folders.
pub(crate) fn playground(pipeline: &str, train: usize, test: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (split, n) in [("train", train), ("test", test)] {
        for (class, name) in CLASSES.iter().enumerate() {
            for i in 0..n {
                let seed = class * 1000 + i + if split == "test" { 500 } else { 0 };
                paint(
                    &folder.path().join("set").join(split).join(name).join(format!("{i:03}.png")),
                    class,
                    seed,
                );
            }
        }
    }
    fs::write(folder.path().join("run.toml"), pipeline).unwrap();
    folder
}

/// An image of `crates/data/fixtures`.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    fs::read(root().join("crates/data/fixtures").join(name)).unwrap()
}

pub(crate) fn results(folder: &Path, run: &str) -> serde_json::Value {
    serde_json::from_str(&fs::read_to_string(folder.join(run).join("results.json")).unwrap()).unwrap()
}

pub(crate) fn assert_same(folder: &Path, a: &str, b: &str) {
    let (a, b) = (essence(&folder.join(a)).unwrap(), essence(&folder.join(b)).unwrap());
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (name, left) in a {
        assert!(left == b[&name], "{name} differs");
    }
}

#[test]
fn a_folder_of_images_of_many_kinds_trains_and_resumes_to_the_same_bits() {
    let folder = playground(PIPELINE, 60, 12);
    let folder = folder.path();
    for (i, name) in ["grey.jpg", "cmyk.jpg", "progressive.jpg", "turned.jpg", "alpha.png"].iter().enumerate()
    {
        fs::write(folder.join("set/train/red").join(name), fixture(name)).unwrap();
        // What a file holds says what it is, not its name.
        fs::write(folder.join(format!("set/test/blue/wrong{i}.png")), fixture(name)).unwrap();
    }
    fs::write(folder.join("set/train/red/notes.txt"), "not an image").unwrap();
    let said = succeed(folder, &["run", "run.toml", "--out", "whole"]);
    assert!(
        said.starts_with(
            "data    185 training, 41 test images\n        set/train (and a file there that is no image)\n"
        ),
        "{said}"
    );
    assert!(!said.contains("skipped"), "{said}");
    // Chance is a third.
    assert!(results(folder, "whole")["evaluations"][0]["accuracy"].as_f64().unwrap() > 0.6, "{said}");

    let saving = PIPELINE.replace("seed = 3", "seed = 3\ncheckpoint_minutes = 1e-9");
    fs::write(folder.join("run.toml"), saving).unwrap();
    succeed(folder, &["run", "run.toml", "--out", "saving"]);
    let mut child = command(folder);
    child.args(["run", "run.toml", "--out", "cut"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = child.spawn().unwrap();
    let patience = Instant::now();
    while fs::read_to_string(folder.join("cut/metrics.jsonl")).unwrap_or_default().is_empty() {
        assert!(patience.elapsed() < Duration::from_secs(60), "no epoch came to its end");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let mut resume = command(folder);
    resume.args(["run", "run.toml", "--out", "cut", "--resume"]).env("RAYON_NUM_THREADS", "1");
    assert!(resume.output().unwrap().status.success());
    assert_same(folder, "saving", "cut");
    assert_eq!(
        fs::read(folder.join("whole/model.safetensors")).unwrap(),
        fs::read(folder.join("cut/model.safetensors")).unwrap()
    );
}

#[test]
fn an_image_that_cannot_be_decoded_stops_the_run_or_is_left_out_counted_and_listed() {
    let folder = playground(PIPELINE, 20, 6);
    let folder = folder.path();
    let torn = fixture("halved.jpg");
    fs::write(folder.join("set/train/green/torn.jpg"), &torn[..torn.len() - 300]).unwrap();
    fs::write(folder.join("set/test/red/empty.png"), "").unwrap();
    // Only the first image of each split is looked at before its turn.
    let said = succeed(folder, &["check", "run.toml"]);
    assert!(said.contains("61 training, 19 test images (set/train)"), "{said}");
    let output = temper(folder, &["run", "run.toml"]);
    assert_eq!(output.status.code(), Some(1));
    let how = "\n  replace or remove the file, or set the data set's `skip_unreadable = true`, which leaves such images \
               out and lists them\n";
    let wanted = format!("error: set/train/green/torn.jpg: truncated JPEG: it has no end{how}");
    assert!(stderr(&output).ends_with(&wanted), "{}", stderr(&output));

    // The run that stopped goes on, to what it would have been from the beginning.
    let skipping = PIPELINE.replace("size = 12", "skip_unreadable = true, size = 12");
    fs::write(folder.join("run.toml"), skipping).unwrap();
    let said = succeed(folder, &["run", "run.toml", "--resume"]);
    let listed = "skipped 1 of 61 training images, which cannot be decoded:\n        \
                  set/train/green/torn.jpg: truncated JPEG: it has no end\n\
                  skipped 1 of 19 test images, which cannot be decoded:\n        \
                  set/test/red/empty.png: an empty file\n";
    assert!(said.contains(listed), "{said}");
    succeed(folder, &["run", "run.toml", "--out", "whole"]);
    assert_same(folder, "whole", "runs/run");
    let results = results(folder, "whole");
    assert_eq!(results["dataset"]["train"]["n"], 61);
    let listed = &results["dataset"]["train"]["unreadable"];
    assert_eq!(listed, &serde_json::json!(["set/train/green/torn.jpg: truncated JPEG: it has no end"]));
    for evaluation in results["evaluations"].as_array().unwrap() {
        assert_eq!((&evaluation["n"], &evaluation["skipped"]), (&18.into(), &1.into()));
    }
    let metrics = fs::read_to_string(folder.join("whole/metrics.jsonl")).unwrap();
    assert_eq!(metrics.matches("\"skipped\":1").count(), 3, "{metrics}");
    // A finished run that is resumed still lists what its training left out.
    let again = succeed(folder, &["run", "run.toml", "--resume"]);
    assert!(again.contains("skipped 1 of 61 training images"), "{again}");
    assert_same(folder, "whole", "runs/run");

    // Batches of one, of which some are empty then, and a part of the images.
    let alone =
        "run run.toml --out alone --set train.batch=1 --set train.batch_norm=frozen --set subset.train=50";
    let said = succeed(folder, &alone.split(' ').collect::<Vec<_>>());
    assert!(said.contains("skipped 1 of 50 training images"), "{said}");
    // A file that is gone is no fault of an image: that is never skipped.
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere.png", folder.join("set/test/red/gone.png")).unwrap();
        let output = temper(folder, &["run", "run.toml", "--force"]);
        let wanted = "cannot read set/test/red/gone.png: No such file or directory (os error 2)\n";
        assert!(stderr(&output).ends_with(wanted), "{}", stderr(&output));
    }
}

#[test]
fn nothing_readable_at_all_is_an_error() {
    let pipeline = PIPELINE.replace("size = 12", "skip_unreadable = true, size = 12");
    let folder = playground(&pipeline, 2, 2);
    let spoil = |split: &str| {
        for class in CLASSES {
            for i in 0..2 {
                let file = folder.path().join(format!("set/{split}/{class}/{i:03}.png"));
                fs::write(file, "<!DOCTYPE html>").unwrap();
            }
        }
    };
    spoil("test");
    let output = temper(folder.path(), &["run", "run.toml"]);
    let wanted = "error: evaluation `natural`: none of the 6 images can be decoded; the first: set/test/blue/000.png: \
                  neither JPEG nor PNG: it looks like a page of HTML or XML\n";
    assert!(output.status.code() == Some(1) && stderr(&output).ends_with(wanted), "{}", stderr(&output));
    spoil("train");
    fails(
        folder.path(),
        &["run", "run.toml", "--force"],
        &expect![[r"
        error: none of the 6 images of epoch 1 can be decoded; the first: set/train/blue/000.png: neither JPEG nor PNG: it looks like a page of HTML or XML
    "]],
    );
    let strict = ["run", "run.toml", "--force", "--set", "dataset.image-folder.skip_unreadable=false"];
    fails(
        folder.path(),
        &strict,
        &expect![[r"
        error: dataset `image-folder`: set/train/blue/000.png: neither JPEG nor PNG: it looks like a page of HTML or XML
          replace or remove the file, or set the data set's `skip_unreadable = true`, which leaves such images out and lists them
    "]],
    );
}

#[test]
fn folders_that_are_not_what_they_should_be_are_named() {
    let run = ["run", "run.toml"];
    let folder = playground(PIPELINE, 2, 2);
    let folder = folder.path();
    let move_ = |from: &str, to: &str| fs::rename(folder.join(from), folder.join(to)).unwrap();
    move_("set", "elsewhere");
    fails(
        folder,
        &run,
        &expect![[r"
        error: dataset `image-folder`: no images (training and test) found
          looked in: set/train
                     set/test
          name the folder that holds both with `root`, and the parts of it with `train` and `test`: folders of class folders, or CSV files
    "]],
    );
    let said = succeed(folder, &["check", "run.toml"]);
    assert!(said.starts_with("run.toml: a sound pipeline, but it cannot run here:\n  no images"), "{said}");
    move_("elsewhere", "set");
    move_("set/test", "set/val");
    fails(
        folder,
        &run,
        &expect![[r"
        error: dataset `image-folder`: no images (training and test) found
          looked in: set lacks set/test
          name the folder that holds both with `root`, and the parts of it with `train` and `test`: folders of class folders, or CSV files
    "]],
    );
    succeed(folder, &["check", "run.toml", "--set", "dataset.image-folder.test=val"]);
    move_("set/val", "set/test");

    move_("set/test/red", "set/test/rot");
    fails(
        folder,
        &run,
        &expect![[r"
        error: dataset `image-folder`: set/test: class folder `rot`, which set/train does not have
    "]],
    );
    move_("set/test/rot", "rot");
    fails(
        folder,
        &run,
        &expect![[r"
        error: dataset `image-folder`: set/test: no class folder `red`, which set/train has
    "]],
    );
    fs::create_dir(folder.join("set/test/red")).unwrap();
    fails(
        folder,
        &run,
        &expect![[r"
        error: dataset `image-folder`: set/test/red: a class folder without images (files named .jpg, .jpeg, .jpe, .jfif, .png)
    "]],
    );
    fs::write(folder.join("set/test/red/1.webp"), "RIFF").unwrap();
    fails(
        folder,
        &run,
        &expect![[r"
        error: dataset `image-folder`: set/test/red/1.webp: images are read from JPEG and PNG files alone: convert it, or remove it
    "]],
    );
    fs::remove_dir_all(folder.join("set/test/red")).unwrap();
    move_("rot", "set/test/red");

    // Images that lie in one folder.
    move_("set/train", "classes");
    move_("classes/red", "set/train");
    fails(
        folder,
        &run,
        &expect![[r"
        error: dataset `image-folder`: set/train: no class folders; images that lie in one folder need a CSV file of `file,label`
    "]],
    );
    assert!(!folder.join("runs").exists(), "bad data left something behind");
}

#[test]
fn sizes_and_crops_that_contradict_each_other_have_a_place() {
    let folder = playground(PIPELINE, 2, 2);
    for (set, message) in [
        (
            "dataset.image-folder.resize=8",
            "run.toml:2:9: dataset `image-folder`: `resize` is 8, but `size`, 12, is cut out of that: at least 12\n  at dataset.image-folder\n",
        ),
        (
            "train.augment.pad=4",
            "run.toml:8:1: `pad` and `fill` belong to `crop = \"padded\"`\n  at train.augment\n",
        ),
    ] {
        let output = temper(folder.path(), &["run", "run.toml", "--set", set]);
        assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
        assert_eq!(stderr(&output), format!("error: {message}"));
    }
}

#[test]
fn a_csv_file_gives_the_labels_of_one_folder() {
    let folder = playground(
        &PIPELINE.replace("size = 12", "train = \"train.csv\", test = \"test.csv\", size = 12"),
        20,
        6,
    );
    let folder = folder.path();
    let mut tables = [String::from("label,file\n"), String::from("label,file\n")];
    for (split, table) in ["train", "test"].iter().zip(&mut tables) {
        for class in CLASSES {
            for i in 0..if *split == "train" { 20 } else { 6 } {
                let name = format!("{class}-{split}-{i}.png");
                fs::create_dir_all(folder.join("set/all")).unwrap();
                fs::rename(
                    folder.join(format!("set/{split}/{class}/{i:03}.png")),
                    folder.join("set/all").join(&name),
                )
                .unwrap();
                writeln!(table, "{class},all/{name}").unwrap();
            }
        }
        fs::write(folder.join(format!("set/{split}.csv")), &*table).unwrap();
    }
    let said = succeed(folder, &["run", "run.toml"]);
    assert!(said.starts_with("data    60 training, 18 test images\n        set/train.csv\n"), "{said}");
    assert!(results(folder, "runs/run")["evaluations"][0]["accuracy"].as_f64().unwrap() > 0.6, "{said}");

    fs::write(folder.join("set/train.csv"), tables[0].clone() + "red,all/nowhere.png\n").unwrap();
    fails(
        folder,
        &["run", "run.toml", "--force"],
        &expect![[r"
        error: dataset `image-folder`: set/train.csv:62: no file `set/all/nowhere.png`
    "]],
    );
    fs::write(folder.join("set/train.csv"), &tables[0]).unwrap();
    fs::write(folder.join("set/test.csv"), tables[1].replace("red,", "rot,")).unwrap();
    fails(
        folder,
        &["run", "run.toml", "--force"],
        &expect![[r"
        error: dataset `image-folder`: set/test.csv:14: label `rot`, which set/train.csv does not have
    "]],
    );
}

#[test]
fn imagenet_is_read_in_folders_and_with_a_list() {
    let pipeline = PIPELINE.replace("image-folder", "imagenet").replace("0.05", "0.03");
    let folder = playground(&pipeline, 20, 6);
    let folder = folder.path();
    let synsets = ["n01440764", "n01443537", "n02119789"];
    fs::rename(folder.join("set/test"), folder.join("set/val")).unwrap();
    for (class, synset) in CLASSES.iter().zip(synsets) {
        for split in ["train", "val"] {
            fs::rename(
                folder.join("set").join(split).join(class),
                folder.join("set").join(split).join(synset),
            )
            .unwrap();
        }
        // As one file of ImageNet is: a PNG image named .JPEG.
        let image = folder.join("set/train").join(synset);
        fs::rename(image.join("003.png"), image.join(format!("{synset}_3.JPEG"))).unwrap();
    }
    succeed(folder, &["run", "run.toml", "--out", "folders"]);
    let mut list = String::from("ImageId,PredictionString\n");
    for synset in synsets {
        for i in 0..6 {
            let name = format!("ILSVRC2012_val_{i}{}", &synset[7..]);
            let from = folder.join(format!("set/val/{synset}/{i:03}.png"));
            fs::rename(from, folder.join(format!("set/val/{name}.JPEG"))).unwrap();
            writeln!(list, "{name},{synset} 1 2 3 4 ").unwrap();
        }
        fs::remove_dir(folder.join("set/val").join(synset)).unwrap();
    }
    fails(
        folder,
        &["run", "run.toml"],
        &expect![[r"
        error: dataset `imagenet`: set/val: images in one folder and no list of their labels
          looked for LOC_val_solution.csv, val.txt, imagenet_2012_validation_synset_labels.txt, ILSVRC2012_validation_ground_truth.txt, data/ILSVRC2012_validation_ground_truth.txt, ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt in set
          move the images into folders by synset, or name a list with `val_list`: expected `FILE SYNSET ...` (LOC_val_solution.csv), `FILE INDEX` (val.txt, from 0), `SYNSET`, or a number from 1 (ILSVRC2012_validation_ground_truth.txt), with commas or spaces, the same in every line
    "]],
    );
    fs::write(folder.join("set/LOC_val_solution.csv"), list).unwrap();
    succeed(folder, &["run", "run.toml", "--out", "list"]);
    let [one, other] = ["folders", "list"].map(|run| results(folder, run));
    assert_eq!(one["evaluations"][0]["accuracy"], other["evaluations"][0]["accuracy"]);
    assert_eq!(other["dataset"]["test"]["origin"], "set/val, labels of set/LOC_val_solution.csv");
    assert_eq!(
        fs::read(folder.join("folders/model.safetensors")).unwrap(),
        fs::read(folder.join("list/model.safetensors")).unwrap()
    );
    fs::rename(folder.join("set/train/n01440764"), folder.join("set/train/tench")).unwrap();
    fails(
        folder,
        &["run", "run.toml"],
        &expect![[r"
        error: dataset `imagenet`: set/train: class folder `tench`, expected names of synsets such as n01440764; other folders are for the data set `image-folder`
    "]],
    );
    fs::remove_dir_all(folder.join("set/val")).unwrap();
    fails(
        folder,
        &["run", "run.toml"],
        &expect![[r"
        error: dataset `imagenet`: no imagenet (folders `train` and `val`) found
          looked in: set lacks val
          ImageNet is given out at https://image-net.org to those who ask; unpack its training images to train/SYNSET/*.JPEG and its validation images to val, in folders by synset or with a list of labels, and name the folder of both with `root`
    "]],
    );
}
