//! CIFAR in its two versions, made small, as a user meets them.

use std::fs;
use std::path::Path;

use expect_test::{Expect, expect};

use crate::support::{fails, stderr, stdout, succeed, temper};

const PIPELINE: &str = r#"dataset.cifar10 = { root = "sets" }
model.resnet = { width = 1 }
train = { epochs = 1, batch = 8, augment = { pad = 4 } }

[[evaluate]]
name = "natural"
"#;

const NAMES: &str = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n";

/// Labels and pixels of image `i` of a file.
pub(crate) fn image(file: usize, i: usize) -> (u8, Vec<u8>) {
    let seed = (file * 7 + i) as u64;
    let pixels = temper_core::Rng::new(seed, "cifar").uniform(&[0], 3072);
    ((seed % 10) as u8, pixels.iter().map(|v| (v * 127.0 + 128.0) as u8).collect())
}

const FILES: [&str; 6] =
    ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"];

/// CIFAR-10 with three images a file, in the binary version.
pub(crate) fn binary(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for (f, name) in FILES.iter().enumerate() {
        let record = |i| {
            let (label, pixels) = image(f, i);
            [vec![label], pixels].concat()
        };
        fs::write(folder.join(format!("{name}.bin")), (0..3).flat_map(record).collect::<Vec<_>>()).unwrap();
    }
    fs::write(folder.join("batches.meta.txt"), NAMES).unwrap();
}

/// The same in the Python version, as Python 2 pickled it.
fn python(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let text = |text: &str| [&[b'U', text.len() as u8], text.as_bytes()].concat();
    for (f, name) in FILES.iter().enumerate() {
        let images: Vec<_> = (0..3).map(|i| image(f, i)).collect();
        let labels: Vec<u8> = images.iter().flat_map(|(label, _)| [b'K', *label]).collect();
        let pixels: Vec<u8> = images.iter().flat_map(|(_, pixels)| pixels.clone()).collect();
        let array = [
            &b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"[..],
            b"(K\x01K\x03M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R",
            b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T",
            &(pixels.len() as u32).to_le_bytes(),
            &pixels,
            b"tb",
        ];
        let pickle = [
            b"\x80\x02}(".to_vec(),
            text("labels"),
            b"](".to_vec(),
            labels,
            b"e".to_vec(),
            text("data"),
            array.concat(),
        ];
        fs::write(folder.join(name), [pickle.concat(), b"u.".to_vec()].concat()).unwrap();
    }
    let names: Vec<u8> = NAMES.split_whitespace().flat_map(text).collect();
    let meta = [b"\x80\x02}(".to_vec(), text("label_names"), b"](".to_vec(), names, b"eu.".to_vec()];
    fs::write(folder.join("batches.meta"), meta.concat()).unwrap();
}

fn folder(make: fn(&Path), published: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    make(&folder.path().join("sets").join(published));
    fs::write(folder.path().join("run.toml"), PIPELINE).unwrap();
    folder
}

#[test]
fn both_versions_train_to_the_same_bits() {
    let runs = [folder(binary, "cifar-10-batches-bin"), folder(python, "cifar-10-batches-py")];
    let said = runs.each_ref().map(|run| succeed(run.path(), &["run", "run.toml"]));
    assert!(said[0].contains(
        "data    15 training, 3 test images\n        sets/cifar-10-batches-bin (binary version)\n"
    ));
    assert!(said[1].contains("        sets/cifar-10-batches-py (Python version)\n"), "{}", said[1]);
    let weights = runs.each_ref().map(|run| fs::read(run.path().join("runs/run/model.safetensors")).unwrap());
    assert!(weights[0] == weights[1]);
    let [one, other] = runs.each_ref().map(|run| {
        let results = fs::read_to_string(run.path().join("runs/run/results.json")).unwrap();
        let same = |line: &&str| !line.contains("\"seconds\":") && !line.contains("\"origin\":");
        results.lines().filter(same).collect::<Vec<_>>().join("\n")
    });
    assert_eq!(one, other);
    let text = String::from_utf8_lossy(&weights[0]).into_owned();
    assert!(text.contains("airplane") && text.contains("truck"), "the class names are kept with the weights");
}

#[test]
fn the_environment_and_the_current_folder_are_searched() {
    let run = folder(binary, "cifar-10-batches-bin");
    fs::write(run.path().join("run.toml"), PIPELINE.replace(" = { root = \"sets\" }", " = {}")).unwrap();
    let output = temper(run.path(), &["run", "run.toml"]);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    expect![[r"
        error: dataset `cifar10`: no cifar10 (training and test images with their class names) found
          looked in: $TEMPER_DATA (not set: `data` stands for it)
                     data/cifar-10-batches-bin
                     /usr/share/datasets/cifar-10-batches-bin
                     data/cifar-10-batches-py
                     /usr/share/datasets/cifar-10-batches-py
          get it with `temper data fetch cifar10`, or put the folder cifar-10-batches-bin or cifar-10-batches-py there
    "]].assert_eq(&stderr(&output));
    fs::rename(run.path().join("sets"), run.path().join("data")).unwrap();
    succeed(run.path(), &["run", "run.toml"]);
    // The folder itself is a root too.
    let itself = "dataset.cifar10.root=data/cifar-10-batches-bin";
    succeed(run.path(), &["check", "run.toml", "--set", itself]);
}

/// Damages one file, runs and checks.
fn damaged(
    make: fn(&Path),
    published: &str,
    file: &str,
    damage: impl Fn(Vec<u8>) -> Option<Vec<u8>>,
    expected: &Expect,
) {
    let run = folder(make, published);
    let path = run.path().join("sets").join(published).join(file);
    match damage(fs::read(&path).unwrap()) {
        Some(bytes) => fs::write(&path, bytes).unwrap(),
        None => fs::remove_file(&path).unwrap(),
    }
    fails(run.path(), &["run", "run.toml"], expected);
    assert!(!run.path().join("runs").exists());
    // A pipeline is sound where data only lacks.
    match path.exists() {
        true => fails(run.path(), &["check", "run.toml"], expected),
        false => {
            assert!(
                succeed(run.path(), &["check", "run.toml"]).contains("it cannot run here:\n  no cifar10")
            );
        }
    }
}

#[test]
fn faults_of_the_binary_version_name_file_and_byte() {
    let bad = |file: &str, damage: fn(Vec<u8>) -> Option<Vec<u8>>, expected: &Expect| {
        damaged(binary, "cifar-10-batches-bin", file, damage, expected);
    };
    bad(
        "data_batch_3.bin",
        |bytes| Some(bytes[..7000].to_vec()),
        &expect![[r"
        error: dataset `cifar10`: sets/cifar-10-batches-bin/data_batch_3.bin: the last record has 854 bytes, expected 3073 (at byte 6146)
    "]],
    );
    bad(
        "test_batch.bin",
        |_| Some(vec![]),
        &expect![[r"
        error: dataset `cifar10`: sets/cifar-10-batches-bin/test_batch.bin: an empty file, expected records of 3073 bytes (at byte 0)
    "]],
    );
    let label = |mut bytes: Vec<u8>| {
        bytes[3073] = 10;
        Some(bytes)
    };
    bad(
        "data_batch_5.bin",
        label,
        &expect![[r"
        error: dataset `cifar10`: sets/cifar-10-batches-bin/data_batch_5.bin: label 10 of image 1, expected 0 to 9 (at byte 3073)
    "]],
    );
    bad(
        "data_batch_2.bin",
        |_| None,
        &expect![[r"
        error: dataset `cifar10`: no cifar10 (training and test images with their class names) found
          looked in: sets/cifar-10-batches-bin lacks data_batch_2.bin
          get it whole with `temper data fetch cifar10`
    "]],
    );
    bad(
        "batches.meta.txt",
        |_| None,
        &expect![[r"
        error: dataset `cifar10`: no cifar10 (training and test images with their class names) found
          looked in: sets/cifar-10-batches-bin lacks batches.meta.txt
          get it whole with `temper data fetch cifar10`
    "]],
    );
    bad(
        "batches.meta.txt",
        |_| Some(b"cat\ndog\n".to_vec()),
        &expect![[r"
            error: dataset `cifar10`: sets/cifar-10-batches-bin/batches.meta.txt: 2 class names, expected 10 (at byte 8)
        "]],
    );
}

#[test]
fn faults_of_the_python_version_name_file_and_byte() {
    let bad = |file: &str, damage: fn(Vec<u8>) -> Option<Vec<u8>>, expected: &Expect| {
        damaged(python, "cifar-10-batches-py", file, damage, expected);
    };
    bad(
        "data_batch_3",
        |bytes| Some(bytes[..7000].to_vec()),
        &expect![[r"
            error: dataset `cifar10`: sets/cifar-10-batches-py/data_batch_3: opcode BINSTRING (0x54): 9216 bytes should follow, the file has 6853 more (at byte 142)
        "]],
    );
    let foreign = |_| Some(b"\x80\x02cos\nsystem\nU\x04true\x85R.".to_vec());
    bad(
        "data_batch_1",
        foreign,
        &expect![[r"
            error: dataset `cifar10`: sets/cifar-10-batches-py/data_batch_1: opcode GLOBAL (0x63): global `os.system` is refused, only arrays of numpy are read (at byte 2)
        "]],
    );
    bad(
        "test_batch",
        |_| Some(b"\x80\x02i".to_vec()),
        &expect![[r"
            error: dataset `cifar10`: sets/cifar-10-batches-py/test_batch: opcode INST (0x69): refused, since no file of CIFAR needs it (at byte 2)
        "]],
    );
    let label = |mut bytes: Vec<u8>| {
        // Of three labels the second.
        let at = bytes.windows(2).position(|w| w == b"](").unwrap() + 5;
        bytes[at] = 10;
        Some(bytes)
    };
    bad(
        "data_batch_4",
        label,
        &expect![[r"
            error: dataset `cifar10`: sets/cifar-10-batches-py/data_batch_4: label 10 of image 1, expected 0 to 9 (at byte 16)
        "]],
    );
    let wide = |mut bytes: Vec<u8>| {
        let at = bytes.windows(3).position(|w| w == b"M\x00\x0c").unwrap();
        bytes[at + 1] = 1;
        Some(bytes)
    };
    bad(
        "data_batch_4",
        wide,
        &expect![[r"
            error: dataset `cifar10`: sets/cifar-10-batches-py/data_batch_4: `data` has shape [3, 3073], expected [n, 3072] with n of at least 1 (at byte 85)
        "]],
    );
    bad(
        "batches.meta",
        |_| Some(b"cat\ndog\n".to_vec()),
        &expect![[r"
            error: dataset `cifar10`: sets/cifar-10-batches-py/batches.meta: no pickle of protocol 2 or later: it does not begin with PROTO (0x80) (at byte 0)
        "]],
    );
    bad(
        "data_batch_2",
        |_| None,
        &expect![[r"
        error: dataset `cifar10`: no cifar10 (training and test images with their class names) found
          looked in: sets/cifar-10-batches-py lacks data_batch_2
          get it whole with `temper data fetch cifar10`
    "]],
    );
}

#[test]
fn cifar100_has_its_fine_labels() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("sets/cifar-100-binary");
    fs::create_dir_all(&set).unwrap();
    for (name, labels) in [("train", [[0, 99], [19, 3]]), ("test", [[1, 50], [2, 51]])] {
        let records = labels.iter().flat_map(|l| [l.to_vec(), vec![l[1]; 3072]].concat());
        fs::write(set.join(format!("{name}.bin")), records.collect::<Vec<_>>()).unwrap();
    }
    let names: Vec<String> = (0..100).map(|i| format!("class{i}")).collect();
    fs::write(set.join("fine_label_names.txt"), names.join("\n")).unwrap();
    let pipeline = PIPELINE.replace("cifar10", "cifar100");
    fs::write(folder.path().join("run.toml"), pipeline).unwrap();
    succeed(folder.path(), &["run", "run.toml"]);
    // The coarse label where the fine one belongs would be in range; the fine one out of range is not.
    let mut bytes = fs::read(set.join("train.bin")).unwrap();
    bytes[3074 + 1] = 100;
    fs::write(set.join("train.bin"), bytes).unwrap();
    let output = temper(folder.path(), &["run", "run.toml", "--force"]);
    expect![[r"
        error: dataset `cifar100`: sets/cifar-100-binary/train.bin: label 100 of image 1, expected 0 to 99 (at byte 3075)
    "]].assert_eq(&stderr(&output));
}
