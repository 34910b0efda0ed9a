//! `temper attack`: a trained network under attack in one line, what it saves, and what it refuses.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor, safetensors};
use expect_test::{Expect, expect};
use serde_json::Value;
use temper_train::load_weights;

use crate::data::photos;
use crate::support::{STRIPES, command, fails, json, numbers, playground, refuses, stderr, succeed};

/// A folder with a trained network in `runs/run`.
pub(crate) fn trained() -> tempfile::TempDir {
    let folder = playground(&STRIPES.replace("epochs = 3", "epochs = 2"));
    succeed(folder.path(), &["run", "run.toml"]);
    folder
}

pub(crate) const PGD: &str = "pgd = { steps = 5, step = 0.04, restarts = 2 }";

#[test]
fn one_line_gives_what_the_run_s_own_evaluation_gave() {
    let folder = trained();
    let of_run = json(&folder.path().join("runs/run/results.json"));
    let args = ["attack", "runs/run", "--attack", PGD, "--eps", "0.1", "--seed", "1", "--batch", "32"];
    let said = succeed(folder.path(), &[&args[..], &["--save", "out"]].concat());
    let results = json(&folder.path().join("out/results.json"));
    for (i, name) in ["natural", "pgd"].into_iter().enumerate() {
        for key in ["name", "accuracy", "n", "interval", "forwards", "backwards", "data", "weights"] {
            assert_eq!(results["evaluations"][i][key], of_run["evaluations"][i][key], "{name} {key}");
        }
    }
    assert_eq!(results["networks"][0]["sha256"], of_run["networks"][0]["sha256"]);
    assert_eq!(results["networks"][0]["parameters"], of_run["networks"][0]["parameters"]);
    assert_eq!(results["dataset"]["test"]["hash"], of_run["dataset"]["test"]["hash"]);
    assert!(said.starts_with("network runs/run/model.safetensors\n        convnet, "), "{said}");
    assert!(said.contains("data    fashion-mnist, 80 test images: "), "{said}");
    assert!(said.contains("\n        within an l-inf radius of 0.10000\n"), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    // Without a folder nothing is written.
    let before = fs::read_dir(folder.path()).unwrap().count();
    let plain = succeed(folder.path(), &args);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before);
    let table = |text: &str| timeless(text.lines().skip_while(|l| !l.starts_with("natural")).nth(1).unwrap());
    assert_eq!(table(&plain), table(&said));
}

/// A row of the table without its last column, the seconds.
fn timeless(row: &str) -> String {
    row.rsplit_once("  ").unwrap().0.to_string()
}

/// What `--save` wrote holds what it says, in a ball of this norm.
pub(crate) fn sound(folder: &Path, norm: &str, radius: f64) -> (usize, usize) {
    let tensors: BTreeMap<String, Tensor> =
        safetensors::load(folder.join("images.safetensors"), &Device::Cpu).unwrap().into_iter().collect();
    let names: Vec<&str> = tensors.keys().map(String::as_str).collect();
    assert_eq!(names, ["adversarial", "broken", "clean", "index", "label", "prediction"]);
    let column = |name: &str| tensors[name].to_vec1::<i64>().unwrap();
    let (index, label, prediction) = (column("index"), column("label"), column("prediction"));
    let broken = column("broken");
    let far = |clean: &[f64], image: &[f64]| {
        let offsets = image.iter().zip(clean).map(|(a, b)| (a - b).abs());
        match norm {
            "l2" => offsets.map(|d| d * d).sum::<f64>().sqrt(),
            _ => offsets.fold(0.0, f64::max),
        }
    };
    let row = |name: &str, i: usize| numbers(&tensors[name].get(i).unwrap());
    let mut moved = 0;
    for i in 0..index.len() {
        assert_eq!(broken[i] == 1, prediction[i] != label[i]);
        let (clean, image) = (row("clean", i), row("adversarial", i));
        let bytes = |what: &str| -> Vec<f64> {
            let file = fs::File::open(folder.join(format!("png/{:05}-{what}.png", index[i]))).unwrap();
            let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().unwrap();
            let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
            let info = reader.next_frame(&mut bytes).unwrap();
            let channels = tensors["clean"].dims()[1];
            let color = if channels == 1 { png::ColorType::Grayscale } else { png::ColorType::Rgb };
            assert_eq!((info.color_type, info.width, info.height), (color, 12, 12));
            let planes = (0..channels).flat_map(|channel| bytes.iter().skip(channel).step_by(channels));
            planes.map(|byte| f64::from(f32::from(*byte) / 255.0)).collect()
        };
        assert_eq!(bytes("clean"), clean);
        for image in [&image, &bytes("adversarial")] {
            assert!(far(&clean, image) <= radius + 1e-6, "sample {}: {}", index[i], far(&clean, image));
            assert!(image.iter().all(|v| (0.0..=1.0).contains(v)));
        }
        moved += usize::from(clean != image);
    }
    let pngs = fs::read_dir(folder.join("png")).unwrap().count();
    assert_eq!(pngs, 2 * index.len());
    (index.len(), moved)
}

#[test]
fn what_is_saved_lies_in_its_ball_and_breaks_the_network_again() {
    let folder = trained();
    let attack =
        |rest: &[&str]| succeed(folder.path(), &[&["attack", "runs/run", "--save", "out"], rest].concat());
    // A radius that bytes do not have: nearest ones would leave the ball.
    let said = attack(&["--attack", PGD, "--eps", "25.6/255", "--samples", "40"]);
    let out = folder.path().join("out");
    let (n, moved) = sound(&out, "linf", 25.6 / 255.0);
    assert_eq!(n, 40);
    assert!(moved > 20, "{moved}");
    let saved = &json(&out.join("results.json"))["saved"];
    let count = |value: &Value| value.as_u64().unwrap();
    assert_eq!(saved["floats_broken"], saved["broken"]);
    assert!(count(&saved["broken"]) > 0 && count(&saved["png"]["still_broken"]) <= count(&saved["broken"]));
    let sentence = format!(
        "8-bit PNGs: {} of {} still break (accuracy {:.1} % instead of ",
        saved["png"]["still_broken"],
        saved["broken"],
        100.0 * saved["png"]["accuracy"].as_f64().unwrap()
    );
    assert!(said.contains(&sentence), "{said}");
    // Index is that in the whole test split: every second image.
    let shown = succeed(folder.path(), &["show", "out", "--sample", "78"]);
    assert!(shown.starts_with("sample 78, of class 8"), "{shown}");

    // A former attack is replaced by --force alone, foreign files stay.
    let again = ["attack", "runs/run", "--attack", "fgsm", "--eps", "1.5", "--norm", "l2", "--save", "out"];
    fails(
        folder.path(),
        &again,
        &expect![[r"
            error: out already holds an attack
              replace it with --force, or choose another place with --save DIR
        "]],
    );
    fs::write(out.join("png/mine.txt"), "mine").unwrap();
    fs::write(out.join("notes"), "mine").unwrap();
    let samples = ["--samples", "10", "--force"];
    succeed(folder.path(), &[&again[..], &samples[..]].concat());
    assert_eq!(fs::read_to_string(out.join("png/mine.txt")).unwrap(), "mine");
    fs::remove_file(out.join("png/mine.txt")).unwrap();
    assert_eq!(sound(&out, "l2", 1.5).0, 10);
    assert!(out.join("notes").exists());

    // A folder of something else is nobody's to write into, with or without --force.
    for force in [&[][..], &["--force"]] {
        let foreign = ["attack", "runs/run", "--attack", "fgsm", "--eps", "0.1", "--save", "data"];
        fails(
            folder.path(),
            &[&foreign[..], force].concat(),
            &expect![[r"
                error: data is not empty and holds no attack of temper; choose another place with --save DIR
            "]],
        );
    }
}

#[test]
fn suites_minimum_norm_attacks_and_files_of_others() {
    let folder = trained();
    let suite = ["--attack", "fgsm", "--attack", "pgd = { steps = 3 }", "--attack", "pgd = { steps = 4 }"];
    let said = succeed(
        folder.path(),
        &[&["attack", "runs/run/model.safetensors", "--eps", "0.1", "--restarts", "2"], &suite[..]].concat(),
    );
    for row in ["fgsm+pgd+pgd  ", "attack   ran on  broke  stands after", "pgd-4x2 "] {
        assert!(said.contains(row), "{row}\n{said}");
    }
    let said = succeed(
        folder.path(),
        &["attack", "runs/run", "--attack", "deepfool", "--norm", "l2", "--eps", "2", "--save", "far"],
    );
    assert!(said.contains("distance"), "{said}");
    sound(&folder.path().join("far"), "l2", 2.0);
    // Some are found beyond the radius: what is saved of them is the clean image, and what is said of it is true of it.
    let near = ["--norm", "l2", "--eps", "0.6", "--save", "near"];
    succeed(folder.path(), &[&["attack", "runs/run", "--attack", "deepfool"], &near[..]].concat());
    let (n, moved) = sound(&folder.path().join("near"), "l2", 0.6);
    let records = temper_results::Records::read(&folder.path().join("near/records.jsonl")).unwrap();
    let missed = |record: &temper_results::Record| record.stands() && record.prediction != Some(record.label);
    let missed = records.iter().flat_map(|line| line.samples.records()).filter(missed).count();
    assert!(missed > 0 && moved > 0 && moved < n, "{missed} found beyond the radius, {moved} of {n} within");
    let said = succeed(
        folder.path(),
        &["attack", "runs/run", "--attack", "pgd = { steps = 3, target = \"random\" }", "--eps", "0.1"],
    );
    assert!(said.contains("class aimed at: "), "{said}");

    // The same weights, written by another program.
    let weights = load_weights(&folder.path().join("runs/run/model.safetensors")).unwrap().tensors;
    let weights: std::collections::HashMap<String, Tensor> = weights.into_iter().collect();
    let foreign = folder.path().join("foreign.safetensors");
    safetensors::save(&weights, &foreign).unwrap();
    let model = "convnet = { channels = [4, 8], hidden = 16, batch_norm = true }";
    let data = "fashion-mnist = { root = \"data\" }";
    let attack = ["attack", "foreign.safetensors", "--attack", "fgsm", "--eps", "0.1"];
    let own = succeed(folder.path(), &["attack", "runs/run", "--attack", "fgsm", "--eps", "0.1"]);
    let said = succeed(folder.path(), &[&attack[..], &["--model", model, "--data", data]].concat());
    let row = |text: &str| timeless(text.lines().find(|l| l.starts_with("fgsm ")).unwrap());
    assert_eq!(row(&own), row(&said));

    refuses(
        folder.path(),
        &[&attack[..], &["--data", data]].concat(),
        &expect![[r"
            error: foreign.safetensors does not say what network it is of
              say it, for example with --model 'resnet = { depth = 18 }'
        "]],
    );
    refuses(
        folder.path(),
        &[&attack[..], &["--model", model]].concat(),
        &expect![[r"
            error: foreign.safetensors does not lie in a run's folder, whose data set would be taken
              say which one, for example with --data fashion-mnist
        "]],
    );
    refuses(
        folder.path(),
        &[&["attack", "runs/run"], &attack[2..], &["--model", model]].concat(),
        &expect![[r"
            error: --model: runs/run/model.safetensors says itself that it is of a `convnet`, with all parameters: leave the option out
        "]],
    );
    fails(
        folder.path(),
        &[&attack[..], &["--model", "convnet", "--data", data]].concat(),
        &expect![[r"
            error: foreign.safetensors: weights do not belong to this network:
              missing (2):
                `conv1.bias` [32]
                `conv2.bias` [64]
              in the file, but not in the network (8):
                `bn1.bias` [4]
                `bn1.running_mean` [4]
                `bn1.running_var` [4]
                `bn1.weight` [4]
                `bn2.bias` [8]
                `bn2.running_mean` [8]
                and 2 more
              of another shape (5):
                `conv1.weight` [4, 1, 3, 3], expected [32, 1, 3, 3]
                `conv2.weight` [8, 4, 3, 3], expected [64, 32, 3, 3]
                `fc1.weight` [16, 72], expected [128, 576]
                `fc1.bias` [16], expected [128]
                `fc2.weight` [10, 16], expected [10, 128]
        "]],
    );
}

/// The standard evaluation of a network by its name, as a user types it.
#[test]
fn autoattack_is_asked_for_by_its_name() {
    let folder = trained();
    let attack = ["attack", "runs/run", "--eps", "0.1", "--samples", "12", "--attack", "autoattack"];
    let said = succeed(folder.path(), &[&attack[..], &["--save", "out"]].concat());
    for member in ["apgd-ce", "apgd-t", "fab-t", "square"] {
        assert!(said.lines().any(|line| line.starts_with(member)), "{member}\n{said}");
    }
    assert!(said.contains("queries of `square` on the images that it broke: "), "{said}");
    let results = json(&folder.path().join("out/results.json"));
    let evaluation = &results["evaluations"][1];
    assert_eq!(evaluation["name"], "autoattack");
    assert_eq!(evaluation["attacks"][3]["queries"]["budget"], 5000);
    assert_eq!(evaluation["attacks"][0]["queries"], serde_json::Value::Null);
    // What an attack takes at most is what it takes of an image that survives.
    let costs: Vec<_> = evaluation["attacks"].as_array().unwrap().iter().collect();
    let standing = (evaluation["accuracy"].as_f64().unwrap() * 12.0).round() as u64;
    assert!(costs[3]["forwards"].as_u64().unwrap() >= standing * 5000, "{evaluation}");
    // A pipeline has a key for suites; a suite goes with no other attack.
    refuses(
        folder.path(),
        &[&attack[..], &["--attack", "pgd"]].concat(),
        &expect![[r"
        error: --attack autoattack: unknown attack `autoattack`; it is a name of the kind suite, for `evaluate.suite`; known: `apgd`, `cw-ball`, `cw-l2`, `cw-linf`, `deepfool`, `fab`, `fgsm`, `hop-skip-jump`, `mi-fgsm`, `pgd`, `ray-s`, `square`
    "]],
    );
    refuses(
        folder.path(),
        &["check", "run.toml", "--set", "evaluate.1.attack=autoattack"],
        &expect![[r"
        error: --set evaluate.1.attack=autoattack: unknown attack `autoattack`; it is a name of the kind suite, for `evaluate.suite`; known: `apgd`, `cw-ball`, `cw-l2`, `cw-linf`, `deepfool`, `fab`, `fgsm`, `hop-skip-jump`, `mi-fgsm`, `pgd`, `ray-s`, `square`
          at evaluate[1].attack
    "]],
    );
}

#[test]
fn bad_commands_are_refused_before_any_work() {
    let folder = trained();
    let attack = |rest: &[&str], expected: &Expect| {
        refuses(folder.path(), &[&["attack", "runs/run", "--save", "out"], rest].concat(), expected);
        assert!(!folder.path().join("out").exists());
    };
    attack(
        &["--attack", "pdg", "--eps", "0.1"],
        &expect![[r"
            error: --attack pdg: unknown attack `pdg`; did you mean `pgd`? known: `apgd`, `cw-ball`, `cw-l2`, `cw-linf`, `deepfool`, `fab`, `fgsm`, `hop-skip-jump`, `mi-fgsm`, `pgd`, `ray-s`, `square`
        "]],
    );
    attack(
        &["--attack", "pgd", "--eps", "8"],
        &expect![[r#"
            error: --eps: an l-inf radius of 8 holds every image: it must be below 1; lengths are in pixels of [0, 1]: "8/255"?
        "#]],
    );
    attack(
        &["--attack", "pgd = { stpe = 1 }", "--eps", "x", "--norm", "l1", "--data", "cifar"],
        &expect![[r#"
            error: --data cifar: unknown dataset `cifar`; did you mean `cifar10`? known: `cifar10`, `cifar100`, `fashion-mnist`, `image-folder`, `imagenet`, `mnist`, `npz`
            error: --attack pgd = { stpe = 1 }: unknown field `stpe`; did you mean `step`? known: `steps`, `step`, `relative_step`, `start`, `noise`, `restarts`, `success`, `target`, `loss`, `stop_after`
              at attack.pgd.stpe
            error: --norm l1: unknown variant `l1`, expected `linf` or `l2`
            error: --eps x: invalid value: string "x", expected a length of at least 0 in pixels of [0, 1], as a number or a quotient such as "8/255"
        "#]],
    );
    attack(
        &["--attack", "deepfool", "--eps", "0.1", "--restarts", "3"],
        &expect![[r"
            error: --restarts: `deepfool` searches the smallest perturbation, and does so once: leave `restarts` out
        "]],
    );
    attack(
        &["--attack", "pgd"],
        &expect![[r"
            error: --eps is missing: the radius within which images are attacked, for example --eps 8/255
        "]],
    );
    attack(
        &["--attack", "fgsm", "--eps", "0.1", "--data", "fashion-mnist = { images = \"embedded\" }"],
        &expect![[r"
            error: runs/run/model.safetensors is a network for images of 1 x 12 x 12 and 10 classes, these are of 1 x 28 x 28, with 10 classes
        "]],
    );
    // What only files show.
    let config = folder.path().join("runs/run/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("\"auto\"", "\"none\"")).unwrap();
    fails(
        folder.path(),
        &["attack", "runs/run", "--attack", "fgsm", "--eps", "0.1"],
        &expect![[r"
        error: runs/run/config.toml: unknown variant `none`, expected one of `auto`, `official`, `embedded`
          is it a run of another version?
    "]],
    );
    fs::create_dir(folder.path().join("empty")).unwrap();
    fails(
        folder.path(),
        &["attack", "empty", "--attack", "fgsm", "--eps", "0.1"],
        &expect![[r"
            error: no trained network found
              looked in: empty/best.safetensors
                         empty/model.safetensors
              expected a run that has ended, or a file of a network (.onnx, .safetensors, .pth, .pt)
        "]],
    );
    fs::remove_file(folder.path().join("runs/run/model.safetensors")).unwrap();
    fails(
        folder.path(),
        &["attack", "runs/run", "--attack", "fgsm", "--eps", "0.1"],
        &expect![[r"
            error: no trained network found
              looked in: runs/run/best.safetensors
                         runs/run/model.safetensors
              expected a run that has ended, or a file of a network (.onnx, .safetensors, .pth, .pt)
        "]],
    );
    fs::write(folder.path().join("net.safetensors"), "not a network").unwrap();
    fails(
        folder.path(),
        &["attack", "net.safetensors", "--attack", "fgsm", "--eps", "0.1"],
        &expect![[r"
            error: net.safetensors: neither safetensors nor a file of torch.save: its first bytes promise a header of 7308814846797311854 bytes, the file has 13 in all
        "]],
    );
}

/// A command that is stopped leaves nothing behind unless it has judged images.
#[cfg(unix)]
#[test]
fn ctrl_c_ends_it() {
    use std::process::{Command, Stdio};

    let folder = trained();
    let long = "pgd = { steps = 300, success = \"final\", step = 0.0001 }";
    let child = command(folder.path())
        .args(["attack", "runs/run", "--attack", long, "--eps", "0.1", "--batch", "1", "--save", "out"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let patience = std::time::Instant::now();
    while !folder.path().join("out/lock").exists() {
        assert!(patience.elapsed().as_secs() < 60, "it does not begin");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    // In the inspection, or in an evaluation: before its first batch or after it.
    let said = stderr(&output);
    let kept = said.contains("stopped by Ctrl-C in `") && said.contains("`; all judged images are kept\n");
    let ends = [
        "in the inspection of the network, which comes before all evaluations\n",
        "`; with --save DIR it could be resumed\n",
    ];
    assert!(kept || ends.iter().any(|end| said.ends_with(end)), "{said}");
    assert_eq!(folder.path().join("out").exists(), kept);
}

#[test]
fn images_in_colour_become_colour_files() {
    let folder = photos::playground(&photos::PIPELINE.replace("epochs = 3", "epochs = 1"), 8, 4);
    succeed(folder.path(), &["run", "run.toml"]);
    succeed(folder.path(), &["attack", "runs/run", "--attack", "fgsm", "--eps", "5.3/255", "--save", "out"]);
    assert_eq!(sound(&folder.path().join("out"), "linf", 5.3 / 255.0).0, 12);
}
