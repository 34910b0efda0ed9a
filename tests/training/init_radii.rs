//! `train.init_radii`: training that starts from the radii of another run.

use std::fs;
use std::path::Path;

use expect_test::expect;
use temper_results::{EpochRadii, RadiiFile};

use super::resume::assert_same;
use crate::support::{STRIPES, fails, json, playground, refuses, stderr, stdout, stripes, succeed, temper};

/// A pipeline whose radii stay as they are.
fn still() -> String {
    STRIPES.replace("warmup = 1, gamma = 0.05, beta = 0.4", "warmup = 0, gamma = 0.05, beta = 0.0")
}

/// Radii of a run after its epochs.
fn radii(run: &Path) -> Vec<EpochRadii> {
    RadiiFile::of(run).unwrap().iter().map(|file| file.read().unwrap()).collect()
}

/// A folder with a run `first` of three epochs, and a pipeline whose radii stay as they are.
fn after_a_run() -> tempfile::TempDir {
    let folder = playground(STRIPES);
    succeed(folder.path(), &["run", "run.toml", "--out", "first"]);
    fs::write(folder.path().join("still.toml"), still()).unwrap();
    folder
}

const FROM_FIRST: [&str; 2] = ["--set", "train.init_radii=first"];

#[test]
fn the_radii_of_a_run_arrive_by_index() {
    let folder = after_a_run();
    let folder = folder.path();
    let first = radii(&folder.join("first"));
    let last = &first[2];
    assert!(last.radii.iter().any(|radius| *radius != 0.1), "radii moved");
    let one = ["run", "still.toml", "--set", "train.epochs=1", "--out"];
    let said = succeed(folder, &[&one[..], &["same"], &FROM_FIRST].concat());
    let expected =
        "radii   320 of 320 training images start with the radius that epoch 3 of first left them\n";
    assert!(said.starts_with(expected), "{said}");
    let same = &radii(&folder.join("same"))[0];
    assert_eq!((&same.index, &same.radii), (&last.index, &last.radii));
    // Without them every image has the radius of the policy.
    succeed(folder, &[&one[..], &["alone"]].concat());
    assert_eq!(radii(&folder.join("alone"))[0].radii, [0.1; 320]);

    // A run on other parts of the split knows some of the images, at other places.
    let part = ["--set", "subset.train=100"];
    let earlier = ["--set", "train.init_radii=first/epsilon/epoch-0002.safetensors"];
    succeed(folder, &[&one[..], &["part"], &part, &earlier].concat());
    let part = &radii(&folder.join("part"))[0];
    let expected: Vec<f64> = part.index.iter().map(|index| first[1].of(*index).unwrap()).collect();
    assert_ne!(part.index[..3], [0, 1, 2]);
    assert_eq!(part.radii, expected);
    let said = succeed(folder, &[&one[..], &["whole", "--set", "train.init_radii=part"]].concat());
    assert!(said.contains("100 of 320 training images start with the radius that epoch 1 of part"), "{said}");
    assert!(said.contains("; the others start as the epsilon policy says\n"), "{said}");
    let whole = &radii(&folder.join("whole"))[0];
    for (index, radius) in whole.index.iter().zip(&whole.radii) {
        assert_eq!(*radius, part.of(*index).unwrap_or(0.1), "image {index}");
    }
}

/// Weights that were selected bring the radii of their own epoch.
#[test]
fn radii_are_those_of_the_epoch_of_the_weights() {
    let select = "[select]\nsamples = 64\n\n[[evaluate]]";
    let folder = playground(&STRIPES.replacen("[[evaluate]]", select, 1));
    let folder = folder.path();
    succeed(folder, &["run", "run.toml", "--out", "first", "--set", "train.epochs=8"]);
    let results = temper_results::Results::read(&folder.join("first/results.json")).unwrap();
    let best = results.best.unwrap().epoch;
    assert_ne!(best, 8, "the images are learnt before the last epoch");
    let check = |init: &str| {
        let init = format!("train.init=first/{init}.safetensors");
        succeed(folder, &[&["check", "run.toml", "--set", &init], &FROM_FIRST[..]].concat())
    };
    let told = |epoch: usize| format!("the radius that epoch {epoch} of first left them");
    assert!(check("best").contains(&told(best)), "{}", check("best"));
    assert!(check("model").contains(&told(8)), "{}", check("model"));
    assert!(check("model").contains("left them; the policy reads them from epoch 2 on, after its warm-up"));
}

#[test]
fn a_run_from_radii_is_resumed_to_the_same_bits() {
    let folder = after_a_run();
    let folder = folder.path();
    let run = |out: &'static str, epochs: &'static str, more: &[&'static str]| {
        [&["run", "run.toml", "--out", out, "--set", epochs], &FROM_FIRST[..], more].concat()
    };
    succeed(folder, &run("whole", "train.epochs=3", &[]));
    succeed(folder, &run("cut", "train.epochs=2", &[]));
    // The other run may go on meanwhile: the radii that this one started from are still there.
    succeed(folder, &["run", "run.toml", "--out", "first", "--resume", "--set", "train.epochs=4"]);
    let resumed = run("cut", "train.epochs=3", &["--resume"]);
    succeed(folder, &resumed);
    assert_same(&folder.join("whole"), &folder.join("cut"), "resumed");

    let epsilon = folder.join("first/epsilon");
    fs::copy(epsilon.join("epoch-0001.safetensors"), epsilon.join("epoch-0003.safetensors")).unwrap();
    for (args, is) in
        [(&resumed[..], "sha256 "), (&["run", "run.toml", "--out", "cut", "--resume"], "absent")]
    {
        let output = temper(folder, args);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let line = said.lines().find(|line| line.starts_with("  train.init_radii: was \"sha256 ")).unwrap();
        assert!(line.contains(", is now ") && line.split(", is now ").nth(1).unwrap().contains(is), "{line}");
    }
    // A checkpoint has the radii, so a run whose origin is gone goes on.
    fs::remove_dir_all(folder.join("first")).unwrap();
    succeed(folder, &resumed);
    assert_same(&folder.join("whole"), &folder.join("cut"), "without the first run");
}

#[test]
fn radii_that_would_do_nothing_are_refused() {
    let folder = after_a_run();
    let folder = folder.path();
    let policy = "instance-adaptive = { start = 0.1, warmup = 1, gamma = 0.05, beta = 0.4 }";
    for (name, other) in [
        ("fixed", "epsilon.fixed = { radius = 0.1 }"),
        ("search", "epsilon.line-search = { start = 0.1 }"),
        ("zero", "epsilon.instance-adaptive = { memory = \"zero\", warmup = 1 }"),
        ("clean", ""),
    ] {
        let text = STRIPES.replace(&format!("epsilon.{policy}"), other);
        let clean =
            if name == "clean" { text.replace("attack.pgd = { steps = 2, step = 0.05 }", "") } else { text };
        fs::write(folder.join(format!("{name}.toml")), clean).unwrap();
    }
    let from_first = |file: &'static str| [&["check", file], &FROM_FIRST[..]].concat();
    refuses(
        folder,
        &from_first("fixed.toml"),
        &expect![[r"
            error: --set train.init_radii=first: epsilon policy `fixed` cannot start from radii of a run: its radii do not depend on earlier ones
              at train.init_radii
        "]],
    );
    refuses(
        folder,
        &from_first("search.toml"),
        &expect![[r"
            error: --set train.init_radii=first: epsilon policy `line-search` cannot start from radii of a run: with `beta = 1` its radii do not depend on earlier ones: set a smaller `beta`
              at train.init_radii
        "]],
    );
    refuses(
        folder,
        &from_first("zero.toml"),
        &expect![[r#"
            error: --set train.init_radii=first: epsilon policy `instance-adaptive` cannot start from radii of a run: with `memory = "zero"` its warm-up overwrites them: set `warmup = 0`
              at train.init_radii
        "#]],
    );
    refuses(
        folder,
        &from_first("clean.toml"),
        &expect![[r"
            error: --set train.init_radii=first: radii without an epsilon policy: add one, for example `epsilon.instance-adaptive = {}`
              at train.init_radii
        "]],
    );
    let nothing = ["--set", "train.epochs=0", "--set", "train.init=first/model.safetensors"];
    refuses(
        folder,
        &[&from_first("run.toml")[..], &nothing].concat(),
        &expect![[r"
            error: --set train.init_radii=first: 0 epochs train nothing: leave the radii out
              at train.init_radii
        "]],
    );
    // Policies whose radii depend on earlier ones accept them.
    succeed(
        folder,
        &[&from_first("search.toml")[..], &["--set", "train.epsilon.line-search.beta=0.5"]].concat(),
    );
    succeed(
        folder,
        &[&from_first("zero.toml")[..], &["--set", "train.epsilon.instance-adaptive.warmup=0"]].concat(),
    );
}

#[test]
fn radii_of_other_images_or_another_norm_are_refused() {
    let folder = after_a_run();
    let folder = folder.path();
    let refused = |args: &[&str]| {
        let output =
            temper(folder, &[&["run", "run.toml", "--out", "second"], &FROM_FIRST[..], args].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.starts_with("error: --set train.init_radii=") && said.ends_with("  at train.init_radii\n")
        );
        said.lines().next().unwrap().split_once(": ").unwrap().1.split_once(": ").unwrap().1.to_string()
    };
    assert_eq!(refused(&["--set", "train.norm=l2"]), "first has radii in l-inf, this pipeline trains in l2");
    stripes(&folder.join("fewer"), 320, 60);
    stripes(&folder.join("small"), 200, 80);
    stripes(&folder.join("other"), 320, 80);
    let test = folder.join("other/t10k-images-idx3-ubyte");
    let mut bytes = fs::read(&test).unwrap();
    bytes[1000] ^= 1;
    fs::write(test, bytes).unwrap();
    let root = |name: &str| format!("dataset.fashion-mnist.root={name}");
    assert_eq!(
        refused(&["--set", &root("fewer")]),
        "first was trained on other images: it had 80 test images, here are 60"
    );
    assert_eq!(
        refused(&["--set", &root("other")]),
        "first was trained on other images: its test images have another hash"
    );
    assert_eq!(
        refused(&["--set", &root("small")]),
        "first was trained on other images: it had 320 training images, here are 200"
    );
    assert_eq!(
        refused(&["--set", &root("small"), "--set", "subset.train=100"]),
        "first has a radius for image 319 of its training split, from 0, which has 200 images here: it was trained on other images"
    );
    assert_eq!(
        refused(&["--set", "train.init_radii=nowhere"]),
        "cannot read nowhere: No such file or directory (os error 2)"
    );
    assert_eq!(
        refused(&["--set", "train.init_radii=first/epsilon"]),
        "first/epsilon holds no run: expected the folder that `temper run` wrote"
    );
    assert_eq!(
        refused(&["--set", "train.init_radii=first/model.safetensors"]),
        "first/model.safetensors is neither a run's folder nor a file epoch-*.safetensors in its folder epsilon"
    );
    let mnist = STRIPES.replace("dataset.fashion-mnist", "dataset.mnist");
    fs::write(folder.join("mnist.toml"), mnist).unwrap();
    refuses(
        folder,
        &[&["check", "mnist.toml"], &FROM_FIRST[..]].concat(),
        &expect![[r"
            error: --set train.init_radii=first: first was trained on `fashion-mnist`, this pipeline trains on `mnist`
              at train.init_radii
        "]],
    );
    assert!(!folder.join("second").exists(), "all of it was found before the folder was taken");
    // Nobody could tell later what a run started from that replaced its origin.
    let over = ["run", "run.toml", "--out", "first", "--force"];
    let before = fs::read(folder.join("first/results.json")).unwrap();
    refuses(
        folder,
        &[&over[..], &FROM_FIRST].concat(),
        &expect![[r"
            error: --set train.init_radii=first: these are radii of the run that is replaced: choose another folder with --out DIR
              at train.init_radii
        "]],
    );
    assert_eq!(fs::read(folder.join("first/results.json")).unwrap(), before);
    fs::remove_file(folder.join("first/results.json")).unwrap();
    assert_eq!(refused(&[]), "first has not ended: it has no results.json, which says what images it had");
    fails(
        folder,
        &["run", "run.toml", "--out", "first", "--resume", "--set", "train.init_radii=data"],
        &expect![[r#"
            error: first/checkpoint.safetensors belongs to another configuration
              train.init_radii: was absent, is now "data"
              undo the change, or start anew with --force or --out DIR
        "#]],
    );
}

/// Where nothing but indices can be compared, the results say so.
#[test]
fn radii_that_were_matched_by_index_alone_are_told() {
    let folder = after_a_run();
    let folder = folder.path();
    let ids = |run: &str| -> Vec<String> {
        let results = json(&folder.join(run).join("results.json"));
        let all = results["warnings"].as_array().cloned().unwrap_or_default();
        all.iter().map(|warning| warning["id"].as_str().unwrap().into()).collect()
    };
    let one = ["run", "still.toml", "--set", "train.epochs=1", "--out"];
    succeed(folder, &[&one[..], &["same"], &FROM_FIRST].concat());
    assert!(!ids("same").contains(&"radii-by-index".to_string()), "{:?}", ids("same"));
    succeed(folder, &[&one[..], &["part", "--set", "subset.test=40"], &FROM_FIRST].concat());
    assert!(ids("part").contains(&"radii-by-index".to_string()), "{:?}", ids("part"));
    // Another parameter of the data set is another set of images.
    let embedded = ["--set", "dataset={ fashion-mnist = { images = 'embedded' } }"];
    let output = temper(folder, &[&one[..], &["other"], &embedded, &FROM_FIRST].concat());
    assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
    assert!(
        stderr(&output).contains("`images` of the data set `fashion-mnist` is another one there"),
        "{}",
        stderr(&output)
    );
}
