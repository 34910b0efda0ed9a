//! What several tests share.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use expect_test::Expect;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};
use temper_core::{Attack, Batch, Chosen, Image, Rng, Source};
use temper_evaluate::{BatchGlimpse, Cell, Entry, Setting, evaluate};
use temper_nn::{Classifier, Conv2d, Frozen, Network, Pool2d};
use temper_results::{Evaluation, Records};

/// The workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The binary, in `folder`, without the data of the machine it runs on.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_temper-under-test"));
    command.current_dir(folder).env_remove("TEMPER_DATA").env("COLUMNS", "80");
    command
}

/// Runs the binary to its end.
pub(crate) fn temper(folder: &Path, args: &[&str]) -> Output {
    command(folder).args(args).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs the binary and asserts that it succeeds.
pub(crate) fn succeed(folder: &Path, args: &[&str]) -> String {
    let output = temper(folder, args);
    assert!(output.status.success(), "{args:?}\n{}{}", stdout(&output), stderr(&output));
    stdout(&output)
}

/// An attack from TOML, for example `pgd = { steps = 3 }`.
pub(crate) fn attack(text: &str) -> Chosen<dyn Attack> {
    let table: toml::Table = format!("attack.{text}").parse().unwrap();
    table["attack"].clone().try_into().unwrap()
}

/// The attack of this name with its defaults, but for those that take thousands of passes.
pub(crate) fn affordable(name: &str) -> Chosen<dyn Attack> {
    match name {
        "cw-l2" => attack("cw-l2 = { steps = 60, binary_search_steps = 6, learning_rate = 0.03 }"),
        "cw-linf" => attack(
            "cw-linf = { steps = 40, learning_rate = 0.03, initial_const = 1e-2, const_factor = 10.0 }",
        ),
        "square" => attack("square = { queries = 1500 }"),
        "hop-skip-jump" => attack("hop-skip-jump = { norm = \"linf\", queries = 2000 }"),
        "ray-s" => attack("ray-s = { queries = 2000 }"),
        _ => Chosen::by_name(name).unwrap(),
    }
}

/// A network judged by an entry on all of `source`, 16 at a time, with nothing kept.
pub(crate) fn judged(network: &Frozen, source: &Arc<dyn Source>, entry: &Entry, seed: u64) -> Evaluation {
    let setting = Setting::new(network, 16, seed, &Device::Cpu);
    let cells = [Cell::clean(source.clone())];
    let watch = &mut |_: &BatchGlimpse| ControlFlow::Continue(());
    evaluate(&setting, entry, &cells, &mut Records::in_memory(), watch).unwrap().unwrap().evaluation
}

/// A network of one linear layer: a row of weights and a bias for each class.
pub(crate) fn linear(shape: [usize; 3], weights: &[Vec<f32>], biases: &[f32]) -> Classifier {
    let mut network = Network::new(shape);
    network.linear(network.input(), "fc", weights.len()).unwrap();
    let size = (weights.len(), shape.iter().product::<usize>());
    let weights = BTreeMap::from([
        ("fc.weight".to_string(), Tensor::from_vec(weights.concat(), size, &Device::Cpu).unwrap()),
        ("fc.bias".to_string(), Tensor::new(biases, &Device::Cpu).unwrap()),
    ]);
    Classifier::new(network, &weights).unwrap()
}

/// A small network of every common layer, with random weights.
pub(crate) fn small_network(dtype: DType) -> Classifier {
    let mut network = Network::new([2, 8, 8]);
    let x = network.normalize(network.input(), &[0.4, 0.5], &[0.3]).unwrap();
    let conv = |channels| Conv2d { channels, kernel: 3, stride: 1, padding: 1, bias: true };
    let x = network.conv(x, "conv1", conv(8)).unwrap();
    let x = network.relu(x);
    let x = network.max_pool(x, Pool2d { size: 2, stride: 2, padding: 0 }).unwrap();
    let x = network.conv(x, "conv2", conv(20)).unwrap();
    let x = network.relu(x);
    network.linear(x, "fc1", 5).unwrap();
    Classifier::random(network, dtype, &mut ChaCha8Rng::seed_from_u64(3)).unwrap()
}

/// Random images of that network, labelled as it sees them, but for the last one, which is labelled wrongly.
pub(crate) fn small_batch(classifier: &Classifier, n: usize) -> Batch {
    let ids: Vec<u64> = (10..10 + n as u64).collect();
    let pixels: Vec<f32> =
        Rng::new(5, "images").uniform(&ids, 128).iter().map(|v| f32::midpoint(*v, 1.0)).collect();
    let pixels = Tensor::from_vec(pixels, (n, 2, 8, 8), &Device::Cpu).unwrap();
    let logits = Frozen::new(classifier).unwrap().logits(&pixels).unwrap();
    let mut labels = logits.argmax(1).unwrap().to_vec1::<u32>().unwrap();
    let last = labels.last_mut().unwrap();
    *last = (*last + 1) % 5;
    Batch { pixels, labels: Tensor::from_vec(labels, n, &Device::Cpu).unwrap(), ids }
}

/// The images of such a batch as a data set: rounded to bytes, named by their place.
pub(crate) struct TestImages {
    batch: Batch,
    classes: Vec<String>,
}

impl TestImages {
    pub(crate) fn of(batch: Batch) -> Arc<dyn Source> {
        Arc::new(Self { batch, classes: vec![String::new(); 5] })
    }
}

impl Source for TestImages {
    fn len(&self) -> usize {
        self.batch.len()
    }
    fn classes(&self) -> &[String] {
        &self.classes
    }
    fn read(&self, index: usize) -> Result<(Image, u32), temper_core::DataError> {
        let pixels = numbers(&self.batch.pixels.get(index).unwrap());
        let bytes = pixels.into_iter().map(|v| (v * 255.0).round() as u8).collect();
        Ok((Image::of_bytes([2, 8, 8], bytes), self.batch.labels.to_vec1().unwrap()[index]))
    }
    fn origin(&self) -> String {
        "a test".into()
    }
}

/// Numbers of a tensor.
pub(crate) fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

/// Largest difference, relative to the largest expected value. What is not finite differs from everything.
pub(crate) fn difference(got: &Tensor, want: &Tensor) -> f64 {
    assert_eq!(got.dims(), want.dims());
    let (got, want) = (numbers(got), numbers(want));
    let largest = want.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let off = got.iter().zip(&want).map(|(g, w)| (g - w).abs());
    off.fold(0.0f64, |most, off| if off.is_finite() { most.max(off) } else { f64::INFINITY }) / largest
}

/// Writes a made data set in IDX files: `classes` bright stripes on noise, 12 x 12, easy to learn.
pub(crate) fn stripes(folder: &Path, train: usize, test: usize) {
    fs::create_dir_all(folder).unwrap();
    for (name, count) in [("train", train), ("t10k", test)] {
        let (mut images, mut labels) = (idx(0x803, &[count, 12, 12]), idx(0x801, &[count]));
        for i in 0..count {
            let label = i % 10;
            let noise = Rng::new(9, name).uniform(&[i as u64], 144);
            for (at, noise) in noise.iter().enumerate() {
                // Ten stripes: six rows of two, and four columns of three.
                let on = if label < 6 { at / 24 == label } else { at % 12 / 3 == label - 6 };
                images.push(((noise + 1.0) * 40.0) as u8 + if on { 160 } else { 0 });
            }
            labels.push(label as u8);
        }
        fs::write(folder.join(format!("{name}-images-idx3-ubyte")), images).unwrap();
        fs::write(folder.join(format!("{name}-labels-idx1-ubyte")), labels).unwrap();
    }
}

fn idx(magic: u32, sizes: &[usize]) -> Vec<u8> {
    let sizes = sizes.iter().map(|size| *size as u32);
    std::iter::once(magic).chain(sizes).flat_map(u32::to_be_bytes).collect()
}

/// A pipeline over [`stripes`] in the folder `data`, small enough to run in about a second.
pub(crate) const STRIPES: &str = r#"seed = 1
dataset.fashion-mnist = { root = "data" }
model.convnet = { channels = [4, 8], hidden = 16, batch_norm = true }

[train]
epochs = 3
batch = 64
attack.pgd = { steps = 2, step = 0.05 }
epsilon.instance-adaptive = { start = 0.1, warmup = 1, gamma = 0.05, beta = 0.4 }
optimizer = { lr = 0.05 }

[[evaluate]]
name = "natural"

[[evaluate]]
name = "pgd"
radius = 0.1
attack.pgd = { steps = 5, step = 0.04, restarts = 2 }
"#;

/// A folder with [`stripes`] and `run.toml`.
pub(crate) fn playground(pipeline: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    stripes(&folder.path().join("data"), 320, 80);
    fs::write(folder.path().join("run.toml"), pipeline).unwrap();
    folder
}

/// Runs the binary and asserts that it fails with exit code 1 and this message.
pub(crate) fn fails(folder: &Path, args: &[&str], expected: &Expect) {
    let output = temper(folder, args);
    assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
    expected.assert_eq(&stderr(&output).replace(folder.to_str().unwrap(), "FOLDER"));
}

/// Runs the binary and asserts that it refuses the command with exit code 2 and this message.
pub(crate) fn refuses(folder: &Path, args: &[&str], expected: &Expect) {
    let output = temper(folder, args);
    assert_eq!(output.status.code(), Some(2), "{}{}", stdout(&output), stderr(&output));
    expected.assert_eq(&stderr(&output));
}

/// A file of JSON.
pub(crate) fn json(file: &Path) -> serde_json::Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// Whether products and sums are rounded once, as on every processor with FMA.
fn fma() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// Asserts that a run computed the numbers of which this is the hash. Processors without FMA round differently: there
/// nothing is compared, and a line says so.
pub(crate) fn assert_bits(run: &Path, expected: &str) {
    if fma() {
        assert_eq!(bits(run), expected, "{}", run.display());
        return;
    }
    // Not by `eprintln!`, whose lines are shown of failed tests only.
    let left_out = "not compared, this processor has no FMA: the hash of all numbers that a run computed";
    let mut errors = std::io::stderr().lock();
    writeln!(errors, "{left_out}, {expected}").unwrap();
}

/// A hash of all numbers that a run computed, in hexadecimal: weights, radii, losses, and what was seen of
/// each sample. It does not depend on how files name things, nor on time.
fn bits(run: &Path) -> String {
    let mut hash = Sha256::new();
    let radii = fs::read_dir(run.join("epsilon")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = radii.filter(|file| file.extension().is_some()).collect();
    files.sort();
    for file in std::iter::once(run.join("model.safetensors")).chain(files) {
        let tensors = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();
        for (name, tensor) in tensors.into_iter().collect::<BTreeMap<_, _>>() {
            hash.update(name.as_bytes());
            for number in numbers(&tensor) {
                hash.update(number.to_bits().to_le_bytes());
            }
        }
    }
    for (file, columns) in [
        ("metrics.jsonl", &["loss", "accuracy"][..]),
        ("records.jsonl", &["sample", "loss", "distance", "prediction"]),
    ] {
        for line in fs::read_to_string(run.join(file)).unwrap().lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let line = line.get("samples").unwrap_or(&line);
            for column in columns {
                hash.update(line[column].to_string());
            }
        }
    }
    temper_files::hex(&hash.finalize()[..8])
}
