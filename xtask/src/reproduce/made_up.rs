//! Images that are made up: they stand for a data set that is not at hand, so that its networks can be timed.

use std::fs;
use std::io::BufWriter;
use std::path::Path;

use anyhow::Context;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use toml::{Table, Value};

use super::fragment::chosen;

/// Training images of made-up CIFAR; of made-up ImageNet there is one a class.
const CIFAR: usize = 4096;
/// ImageNet's classes.
const SYNSETS: usize = 1000;
/// Side of made-up photographs, in pixels.
const SIDE: u32 = 256;

/// A data set of made-up images: how a pipeline names it, and how many images it trains on.
#[derive(Debug, Clone, PartialEq)]
pub struct MadeUp {
    /// The value of `dataset`.
    pub dataset: Value,
    /// Training images.
    pub images: usize,
}

/// Writes images in the shape and with the classes of `dataset` into `folder`; `None` for a data set that is not known here.
pub fn write(dataset: &Value, folder: &Path) -> anyhow::Result<Option<MadeUp>> {
    let Some((name, parameters)) = chosen(dataset) else { return Ok(None) };
    let mut parameters = parameters.cloned().unwrap_or_default();
    let told = || format!("cannot write made-up images to {}", folder.display());
    fs::create_dir_all(folder).with_context(told)?;
    let images = match name {
        "cifar10" => cifar10(folder).with_context(told)?,
        "cifar100" => cifar100(folder).with_context(told)?,
        "imagenet" => imagenet(folder).with_context(told)?,
        _ => return Ok(None),
    };
    parameters.insert("root".into(), folder.display().to_string().into());
    // Labels of the real validation images, which are not there.
    parameters.remove("val_list");
    parameters.remove("numbers");
    Ok(Some(MadeUp {
        dataset: Table::from_iter([(name.to_string(), Value::Table(parameters))]).into(),
        images,
    }))
}

/// Noise with these bytes before each image's pixels.
fn records(n: usize, labels: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let record = |i| {
        let mut record = labels(i);
        record.extend((0..3 * 32 * 32).map(|_| rng.random::<u8>()));
        record
    };
    (0..n).flat_map(record).collect()
}

fn names(classes: usize) -> String {
    let names: Vec<String> = (0..classes).map(|class| format!("class {class}")).collect();
    names.join("\n")
}

fn cifar10(folder: &Path) -> anyhow::Result<usize> {
    let label = |i: usize| vec![(i % 10) as u8];
    let part = CIFAR.div_ceil(5);
    for batch in 1..=5 {
        fs::write(folder.join(format!("data_batch_{batch}.bin")), records(part, label))?;
    }
    fs::write(folder.join("test_batch.bin"), records(10, label))?;
    fs::write(folder.join("batches.meta.txt"), names(10))?;
    Ok(5 * part)
}

fn cifar100(folder: &Path) -> anyhow::Result<usize> {
    let labels = |i: usize| vec![(i % 20) as u8, (i % 100) as u8];
    fs::write(folder.join("train.bin"), records(CIFAR, labels))?;
    fs::write(folder.join("test.bin"), records(100, labels))?;
    fs::write(folder.join("fine_label_names.txt"), names(100))?;
    Ok(CIFAR)
}

/// One photograph a class, the same everywhere.
fn imagenet(folder: &Path) -> anyhow::Result<usize> {
    let file = folder.join("photo.png");
    let mut encoder = png::Encoder::new(BufWriter::new(fs::File::create(&file)?), SIDE, SIDE);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let gradient = |i: u32| [i % SIDE, i / SIDE, 128].map(|channel| channel as u8);
    let pixels: Vec<u8> = (0..SIDE * SIDE).flat_map(gradient).collect();
    encoder.write_header()?.write_image_data(&pixels)?;
    let photo = fs::read(&file)?;
    for split in ["train", "val"] {
        for class in 0..SYNSETS {
            let synset = folder.join(split).join(format!("n{class:08}"));
            fs::create_dir_all(&synset)?;
            fs::write(synset.join("photo.png"), &photo)?;
        }
    }
    Ok(SYNSETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_have_the_data_sets_shape_and_classes() {
        let folder = tempfile::tempdir().unwrap();
        let made = |dataset: Value| write(&dataset, folder.path()).unwrap();
        let cifar = made("cifar100".into()).unwrap();
        assert_eq!(cifar.dataset["cifar100"]["root"].as_str(), folder.path().to_str());
        let bytes = fs::read(folder.path().join("train.bin")).unwrap();
        assert_eq!((bytes.len(), cifar.images), (4096 * 3074, 4096));
        // Fine labels stand second.
        assert!((0..200).all(|i| usize::from(bytes[i * 3074 + 1]) == i % 100));
        // Parameters stay, but for those that name real files.
        let parameters: Table = "imagenet = { size = 64, val_list = \"val.txt\" }".parse().unwrap();
        let imagenet = made(parameters.into()).unwrap();
        assert_eq!(imagenet.dataset["imagenet"]["size"].as_integer(), Some(64));
        assert!(imagenet.dataset["imagenet"].get("val_list").is_none());
        assert_eq!(fs::read_dir(folder.path().join("val")).unwrap().count(), 1000);
        assert!(folder.path().join("train/n00000999/photo.png").exists());
        assert_eq!(made("image-folder".into()), None);
    }
}
