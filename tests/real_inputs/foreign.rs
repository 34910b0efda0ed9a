//! Files of weights that other programs wrote, and weights that are not what they seem.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Tensor, safetensors};
use expect_test::expect;

use crate::cli::attack_command::{PGD, trained};
use crate::support::{fails, json, refuses, stderr, succeed, temper};

const MODEL: &str = "convnet = { channels = [4, 8], hidden = 16, batch_norm = true }";
const DATA: &str = "fashion-mnist = { root = \"data\" }";

/// The weights of the run, as another program saves them.
fn weights(folder: &Path) -> HashMap<String, Tensor> {
    safetensors::load(folder.join("runs/run/model.safetensors"), &Device::Cpu).unwrap()
}

fn save(folder: &Path, weights: &HashMap<String, Tensor>) {
    safetensors::save(weights, folder.join("foreign.safetensors")).unwrap();
}

const ATTACK: [&str; 10] =
    ["attack", "foreign.safetensors", "--attack", "fgsm", "--eps", "0.1", "--model", MODEL, "--data", DATA];

#[test]
fn ordinary_state_dictionaries_are_read_and_others_are_told_apart() {
    let folder = trained();
    let folder = folder.path();
    let mut dictionary = weights(folder);
    for norm in ["bn1", "bn2"] {
        let seen = Tensor::new(10i64, &Device::Cpu).unwrap();
        dictionary.insert(format!("{norm}.num_batches_tracked"), seen);
    }
    save(folder, &dictionary);
    let row = |said: &str| said.lines().find(|line| line.starts_with("fgsm ")).unwrap()[..40].to_string();
    let own = succeed(folder, &["attack", "runs/run", "--attack", "fgsm", "--eps", "0.1"]);
    let said = succeed(folder, &ATTACK);
    assert_eq!(row(&said), row(&own));
    assert!(!said.contains("rounded"), "{said}");
    for dtype in [DType::F16, DType::F64] {
        let other = |tensor: &Tensor| tensor.to_dtype(dtype).unwrap();
        save(folder, &weights(folder).iter().map(|(name, t)| (name.clone(), other(t))).collect());
        let said = succeed(folder, &ATTACK);
        let rounded = "foreign.safetensors: 14 of 14 tensors are f64, and were rounded to f32";
        let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
        // 16-bit values become f32 as they are.
        assert_eq!(flat.contains(rounded), dtype == DType::F64, "{said}");
        let init = ["check", "run.toml", "--set", "train.init=foreign.safetensors"];
        let flat = succeed(folder, &init).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(flat.contains(&format!("train.init: {rounded}")), dtype == DType::F64, "{flat}");
    }
    let wrapped = weights(folder).into_iter().map(|(name, tensor)| (format!("module.{name}"), tensor));
    save(folder, &wrapped.collect());
    let said = succeed(folder, &ATTACK);
    assert_eq!(row(&said), row(&own));
    let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("foreign.safetensors: names are read without `module.` before them"), "{said}");
    let mut misfit = weights(folder);
    let bias = misfit.remove("fc2.bias").unwrap();
    misfit.insert("fc3.bias".into(), bias);
    save(folder, &misfit);
    fails(
        folder,
        &ATTACK,
        &expect![[r"
            error: foreign.safetensors: weights do not belong to this network:
              missing (1):
                `fc2.bias` [10], in the file perhaps `fc3.bias`
              in the file, but not in the network (1):
                `fc3.bias` [10]
        "]],
    );
    fs::write(folder.join("foreign.safetensors"), b"PK\x03\x04 and so on").unwrap();
    let output = temper(folder, &ATTACK);
    assert_eq!(output.status.code(), Some(1));
    let told = "error: foreign.safetensors: a ZIP archive without its end, cut off after 14 bytes\n";
    assert!(stderr(&output).starts_with(told), "{}", stderr(&output));
}

/// A file as `torch.save` writes it: `{"epoch": 3, "state_dict": {NAME: TENSOR}}`.
fn torch_file(weights: &HashMap<String, Tensor>) -> Vec<u8> {
    let text = |text: &str| [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    let number = |n: usize| [b"J", &(n as i32).to_le_bytes()[..]].concat();
    let numbers =
        |all: &[usize]| [b"(", &all.iter().flat_map(|n| number(*n)).collect::<Vec<u8>>()[..], b"t"].concat();
    let mut entries = vec![];
    let mut pickle = [&b"\x80\x02}("[..], &text("epoch"), b"K\x03", &text("state_dict"), b"}("].concat();
    for (key, (name, tensor)) in weights.iter().enumerate() {
        let class = [&text("storage")[..], b"ctorch\nFloatStorage\n"].concat();
        let storage =
            [&b"("[..], &class, &text(&key.to_string()), &text("cpu"), &number(tensor.elem_count()), b"tQ"]
                .concat();
        pickle.extend([&text(name)[..], b"ctorch._utils\n_rebuild_tensor_v2\n(", &storage, b"K\0"].concat());
        pickle.extend([numbers(tensor.dims()), numbers(tensor.stride()), b"\x89NtR".to_vec()].concat());
        let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        entries.push((format!("net/data/{key}"), bytes));
    }
    pickle.extend(b"uu.");
    entries.extend([("net/data.pkl".into(), pickle), ("net/version".into(), b"3\n".to_vec())]);
    archive(&entries)
}

/// A ZIP archive of entries that are stored as they are.
fn archive(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let (mut all, mut list) = (vec![], vec![]);
    for (name, content) in entries {
        let (at, size, length) = (all.len() as u32, content.len() as u32, name.len() as u16);
        let sizes = [size.to_le_bytes(), size.to_le_bytes()].concat();
        let lengths = [length.to_le_bytes(), [0; 2]].concat();
        all.extend([&b"PK\x03\x04"[..], &[0; 14], &sizes, &lengths, name.as_bytes(), content].concat());
        list.extend([&b"PK\x01\x02"[..], &[0; 16], &sizes, &lengths, &[0; 10], &at.to_le_bytes()].concat());
        list.extend(name.as_bytes());
    }
    let (at, size, count) = (all.len() as u32, list.len() as u32, (entries.len() as u16).to_le_bytes());
    let places = [size.to_le_bytes(), at.to_le_bytes()].concat();
    let end = [&b"PK\x05\x06"[..], &[0; 4], &count, &count, &places, &[0; 2]].concat();
    [all, list, end].concat()
}

#[test]
fn files_of_pytorch_are_read_wherever_weights_are() {
    let folder = trained();
    let folder = folder.path();
    let row = |said: &str| said.lines().find(|line| line.starts_with("fgsm ")).unwrap()[..40].to_string();
    let own = succeed(folder, &["attack", "runs/run", "--attack", "fgsm", "--eps", "0.1"]);
    fs::write(folder.join("foreign.pth"), torch_file(&weights(folder))).unwrap();
    let attack = [&["attack", "foreign.pth"], &ATTACK[2..]].concat();
    let said = succeed(folder, &attack);
    assert_eq!(row(&said), row(&own));
    let told = "foreign.pth: its weights are those of the entry `state_dict`; the entry `epoch` is not read";
    let flat = |said: String| said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat(said).contains(told));
    let transfer = [&["transfer", "runs/run", "foreign.pth"], &ATTACK[2..]].concat();
    assert!(flat(succeed(folder, &transfer)).contains(told));
    let init = ["check", "run.toml", "--set", "train.init=foreign.pth"];
    assert!(flat(succeed(folder, &init)).contains(&format!("train.init: {told}")));
    let mut shell = torch_file(&weights(folder));
    let class = shell.windows(18).position(|part| part == b"torch\nFloatStorage").unwrap();
    shell[class..class + 18].copy_from_slice(b"posix\nfork________");
    fs::write(folder.join("foreign.pth"), shell).unwrap();
    let output = temper(folder, &attack);
    assert_eq!(output.status.code(), Some(1));
    let told = "error: foreign.pth: it asks Python to call `posix.fork________` (at byte ";
    assert!(stderr(&output).starts_with(told), "{}", stderr(&output));
}

#[test]
fn weights_that_are_not_finite_are_refused_wherever_weights_are_read() {
    let folder = trained();
    let folder = folder.path();
    let mut broken = weights(folder);
    let bias = broken["fc2.bias"].dims().to_vec();
    broken.insert("fc2.bias".into(), Tensor::full(f32::NAN, bias, &Device::Cpu).unwrap());
    save(folder, &broken);
    let transfer = [&["transfer", "runs/run"], &ATTACK[1..]].concat();
    let told = "error: foreign.safetensors: its values of `fc2.bias` are not all finite\n";
    for args in [&ATTACK[..], &transfer] {
        let output = temper(folder, args);
        assert_eq!((output.status.code(), &*stderr(&output)), (Some(1), told), "{args:?}");
    }
    let init = ["check", "run.toml", "--set", "train.init=foreign.safetensors"];
    assert_eq!(stderr(&temper(folder, &init)), told);
    // With what runs say of their weights, so that it can be crafted on.
    let file = folder.join("runs/run/model.safetensors");
    let whole = fs::read(&file).unwrap();
    let last = whole.len() - 4;
    fs::write(&file, [&whole[..last], &f32::INFINITY.to_le_bytes()].concat()).unwrap();
    for args in [
        &["check", "run.toml", "--set", "evaluate.1.surrogate=runs/run"][..],
        &["attack", "runs/run", "--attack", "fgsm", "--eps", "0.1"],
    ] {
        let output = temper(folder, args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(stderr(&output).contains("are not all finite"), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn a_checkpoint_is_no_network_and_swapped_weights_are_told() {
    let folder = trained();
    let folder = folder.path();
    refuses(
        folder,
        &["attack", "runs/run/checkpoint.safetensors", "--attack", "fgsm", "--eps", "0.1"],
        &expect![[r"
            error: runs/run/checkpoint.safetensors is a checkpoint, from which training goes on: give the run's folder, or the model.safetensors in it
        "]],
    );
    let init = ["check", "run.toml", "--set", "train.init=runs/run/checkpoint.safetensors"];
    assert!(stderr(&temper(folder, &init)).contains("is a checkpoint, from which training goes on"));
    let attack = ["attack", "runs/run", "--attack", "fgsm", "--eps", "0.1"];
    assert!(!succeed(folder, &attack).contains("warning"));
    succeed(folder, &["run", "run.toml", "--out", "other", "--set", "seed=2"]);
    fs::copy(folder.join("other/model.safetensors"), folder.join("runs/run/model.safetensors")).unwrap();
    let said = succeed(folder, &[&attack[..], &["--save", "out"]].concat());
    assert!(said.contains("warning runs/run/model.safetensors was replaced after the run"), "{said}");
    let warning = &json(&folder.join("out/results.json"))["warnings"][0];
    assert!(warning["text"].as_str().unwrap().contains("its hash is not that in results.json"), "{warning}");
    // Results that cannot be read are no reason to warn less.
    let results = folder.join("runs/run/results.json");
    let whole = fs::read_to_string(&results).unwrap();
    for damaged in [&whole[..whole.len() / 2], &whole.replace("\"networks\"", "\"model\"")] {
        fs::write(&results, damaged).unwrap();
        let said = succeed(folder, &attack);
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains("it is not known whether runs/run/model.safetensors was replaced"), "{said}");
        assert!(said.contains("it is not known whether test images are training images, too"), "{said}");
    }
}

/// What the file does not say is said, and if it serves badly, what would serve better.
#[test]
fn a_normalisation_that_was_assumed_wrongly_is_told_with_the_one_that_fits() {
    let folder = trained();
    let folder = folder.path();
    // A network that knows its classes, trained without an attack under the normalisation of Fashion-MNIST.
    let sets = ["--set", "model.convnet.mean=[0.2860]", "--set", "model.convnet.std=[0.3530]"];
    let more = ["--set", "train.epochs=6", "--out", "good"];
    let pipeline = fs::read_to_string(folder.join("run.toml")).unwrap();
    let clean = pipeline.lines().filter(|line| !line.starts_with("epsilon.")).collect::<Vec<_>>().join("\n");
    fs::write(folder.join("clean.toml"), clean.replace("attack.pgd = { steps = 2, step = 0.05 }\n", ""))
        .unwrap();
    succeed(folder, &[&["run", "clean.toml"], &sets[..], &more[..]].concat());
    let good = json(&folder.join("good/results.json"))["evaluations"][0]["accuracy"].as_f64().unwrap();
    assert!(good > 0.9, "{good}");
    fs::copy(folder.join("good/model.safetensors"), folder.join("runs/run/model.safetensors")).unwrap();
    save(folder, &weights(folder));
    let wrong = "convnet = { channels = [4, 8], hidden = 16, batch_norm = true, mean = [-3.0], std = [4.0] }";
    let attack = [&ATTACK[..7], &[wrong], &ATTACK[8..]].concat();
    let said = succeed(folder, &[&attack[..], &["--save", "out"]].concat());
    assert!(said.contains("assumed, for the file does not say:"), "{said}");
    assert!(said.contains("mean [-3.0], std [4.0]"), "{said}");
    let warnings = &json(&folder.join("out/results.json"))["warnings"];
    let warning = warnings[0]["advice"].as_str().unwrap();
    assert!(warning.contains("Fashion-MNIST's: mean = [0.286], std = [0.353]"), "{warning}");
    let right = wrong.replace("mean = [-3.0], std = [4.0]", "mean = [0.286], std = [0.353]");
    let attack = [&ATTACK[..7], &[&right], &ATTACK[8..]].concat();
    assert!(!succeed(folder, &attack).contains("under another"));
    // Few images tell nothing of it, and are not what is tried.
    let few = [&attack[..], &["--samples", "7"]].concat();
    assert!(!succeed(folder, &few).contains("under another"));
    // A pipeline that judges the weights as they are says the same, before its numbers.
    let sets = ["train.epochs=0", "model.convnet.weights=\"foreign.safetensors\"", "model.convnet.std=[4.0]"];
    let judge = |mean: &str| {
        let mut words = vec!["run", "clean.toml", "--out", "judged", "--force", "--strict", "--set", mean];
        words.extend(sets.iter().flat_map(|set| ["--set", set]));
        temper(folder, &words)
    };
    let judged = judge("model.convnet.mean=[-3.0]");
    assert_eq!(judged.status.code(), Some(1), "{}", stderr(&judged));
    assert!(stderr(&judged).contains("--strict: a severe warning, `normalisation`"), "{}", stderr(&judged));
    let warnings = &json(&folder.join("judged/results.json"))["warnings"];
    let advice = warnings[0]["advice"].as_str().unwrap();
    assert!(advice.contains("add it to model.convnet (none: mean = [0.0], std = [1.0];"), "{warnings}");
    assert!(advice.contains("Fashion-MNIST's: mean = [0.286], std = [0.353]"), "{warnings}");
    let sets = ["model.convnet.mean=[0.286]", "model.convnet.std=[0.353]"];
    let fits = ["run", "clean.toml", "--out", "fits", "--set", "train.epochs=0"];
    let weights = ["--set", "model.convnet.weights=\"foreign.safetensors\""];
    let said = succeed(folder, &[&fits[..], &weights, &["--set", sets[0], "--set", sets[1]]].concat());
    assert!(!said.contains("normalisation"), "{said}");
}

/// `attack.toml` and `results.json` hold the command that makes the same images.
#[test]
fn what_is_saved_can_be_made_again() {
    let folder = trained();
    let folder = folder.path();
    save(folder, &weights(folder));
    let foreign =
        [&["--model", MODEL, "--data", DATA][..], &["--restarts", "2", "--seed", "5", "--batch", "7"]]
            .concat();
    let attack = ["--attack", PGD, "--attack", "fgsm", "--eps", "25.6/255", "--indices", "3,17,42,60,61"];
    for (network, rest) in [("foreign.safetensors", &foreign[..]), ("runs/run", &["--norm", "l2"])] {
        let _ = fs::remove_dir_all(folder.join("first"));
        let _ = fs::remove_dir_all(folder.join("second"));
        succeed(folder, &[&["attack", network, "--save", "first"], rest, &attack[..]].concat());
        let options: toml::Table =
            fs::read_to_string(folder.join("first/attack.toml")).unwrap().parse().unwrap();
        let results = json(&folder.join("first/results.json"));
        let words: Vec<String> = serde_json::from_value(results["arguments"].clone()).unwrap();
        let command = options["command"].as_str().unwrap();
        assert!(
            command.starts_with("temper attack ") && command.ends_with(" --save first --force"),
            "{command}"
        );
        let again: Vec<&str> = words.iter().map(String::as_str).chain(["--save", "second"]).collect();
        succeed(folder, &again);
        let read = |name: &str| fs::read(folder.join(name).join("images.safetensors")).unwrap();
        assert!(read("first") == read("second"), "{network}: other images by {command}");
        // The command as it stands, which a shell reads.
        let (before, binary) = (read("first"), env!("CARGO_BIN_EXE_temper-under-test"));
        let line = command.replacen("temper", binary, 1);
        let status =
            std::process::Command::new("sh").args(["-c", &line]).current_dir(folder).output().unwrap();
        assert!(status.status.success(), "{line}");
        assert!(before == read("first"), "{network}: other images by {command}");
        for model in [&results["networks"][0], &serde_json::to_value(&options["networks"][0]).unwrap()] {
            assert_eq!(model["options"]["channels"], serde_json::json!([4, 8]), "{model}");
            assert_eq!(model["options"]["mean"], serde_json::json!([0.5]), "{model}");
            assert_eq!(model["numerics"], "fast", "{model}");
        }
    }
}

/// A network of zeros sees nothing of its pixels, and stays so while its last bias is trained.
#[test]
fn gradients_that_vanish_are_told_with_their_share_in_training_and_in_evaluations() {
    let folder = trained();
    let folder = folder.path();
    let zeros = |tensor: &Tensor| tensor.zeros_like().unwrap();
    save(folder, &weights(folder).iter().map(|(name, tensor)| (name.clone(), zeros(tensor))).collect());
    let init = ["--set", "train.init=foreign.safetensors", "--set", "train.epochs=1", "--out", "dead"];
    succeed(folder, &[&["run", "run.toml"], &init[..]].concat());
    let results = json(&folder.join("dead/results.json"));
    let told = "in epoch 1 the training attack or a probe met a gradient of exactly 0 at ";
    assert!(results["warnings"].to_string().contains(told), "{results}");
    let metrics = fs::read_to_string(folder.join("dead/metrics.jsonl")).unwrap();
    let epoch: serde_json::Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
    // Those of the class that is predicted.
    assert!(epoch["vanished"].as_u64() >= Some(10), "{epoch}");
    let pgd = &results["evaluations"][1];
    assert!(
        pgd["warnings"].to_string().contains("8 of the 8 images that are right unperturbed (100.0 %)"),
        "{pgd}"
    );
    let sound = json(&folder.join("runs/run/results.json"));
    assert!(!sound.to_string().contains("gradient of exactly 0"), "{sound}");
}
