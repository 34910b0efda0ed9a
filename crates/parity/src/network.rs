//! Networks as temper reads them, with exact and with fast sums, and their outputs for images.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use candle_core::{DType, Device, Tensor};
use temper_core::nn::{Classifier, Frozen, Numerics};
use temper_core::{
    Attack, Ball, Batch, Chosen, Dataset, Goal, Kind, Model, Passes, Rng, Source, Split, Subset, Victim,
    VictimNetwork, cross_entropy, perturb,
};
use temper_data::Batches;
// Links temper's plugins.
use temper_runner as _;

use crate::manifest::{ImageFiles, NetworkFile, PeerAttack};

/// Number of images per batch.
const BATCH: usize = 100;

/// A network read from a file.
pub(crate) struct Networks {
    /// With sums computed by their definition.
    pub(crate) exact: Frozen,
    /// With the fastest sums, the default of runs.
    pub(crate) fast: Frozen,
}

impl Networks {
    /// Reads a file for images of the shape `[c, h, w]`.
    pub(crate) fn read(
        folder: &Path,
        file: &NetworkFile,
        shape: [usize; 3],
        classes: usize,
    ) -> anyhow::Result<Self> {
        let path = folder.join(&file.file);
        let model: Chosen<dyn Model> = if let Some(text) = &file.model {
            chosen(text)?
        } else {
            let name = path.to_str().context("the folder's name is not UTF-8")?;
            let path = toml::Table::from_iter([("path".to_string(), name.into())]);
            toml::Table::from_iter([("onnx".to_string(), path.into())]).try_into()?
        };
        let network = model.build(shape, classes)?;
        let weights = temper_train::load_weights_for(&path, &network)?.tensors;
        let frozen = |numerics| -> anyhow::Result<Frozen> {
            let network = network.clone().with_numerics(numerics);
            Ok(Frozen::new(&Classifier::new(network, &weights)?)?)
        };
        Ok(Self { exact: frozen(Numerics::Exact)?, fast: frozen(Numerics::Fast)? })
    }
}

/// A plugin given as TOML, such as `pgd = { steps = 3 }`.
fn chosen<T: ?Sized + Kind>(text: &str) -> anyhow::Result<Chosen<T>> {
    let table: toml::Table = text.parse().with_context(|| text.to_string())?;
    table.try_into().with_context(|| text.to_string())
}

/// The images of a manifest.
pub(crate) fn images(folder: &Path, images: &ImageFiles, n: usize) -> anyhow::Result<Batch> {
    match images {
        ImageFiles::File(file) => of_file(&folder.join(file)),
        ImageFiles::Dataset(text) => {
            let dataset: Chosen<dyn Dataset> = chosen(text)?;
            let source: Arc<dyn Source> = Arc::new(Subset::new(dataset.open(Split::Test)?, n));
            let images = Batches::new(source, (0..n).collect(), n, None).next();
            Ok(Batch::new(images.with_context(|| format!("{text} has no images"))??, &Device::Cpu)?)
        }
    }
}

/// Pixels and labels of a file: bytes `[n, c, h, w]`, and classes.
fn of_file(file: &Path) -> anyhow::Result<Batch> {
    let mut tensors = tensors(file)?;
    let mut take =
        |name: &str| tensors.remove(name).with_context(|| format!("no `{name}` in {}", file.display()));
    let pixels = (take("pixels")?.to_dtype(DType::F32)?.broadcast_div(&Tensor::new(255f32, &Device::Cpu)?))?;
    let labels = take("labels")?.to_dtype(DType::U32)?;
    let n = pixels.dims4()?.0;
    let of = labels.dims();
    anyhow::ensure!(of == [n], "{n} images and labels of shape {of:?} in {}", file.display());
    Ok(Batch { pixels, labels, ids: (0..n as u64).collect() })
}

/// The tensors of a safetensors file.
pub(crate) fn tensors(file: &Path) -> anyhow::Result<HashMap<String, Tensor>> {
    candle_core::safetensors::load(file, &Device::Cpu).with_context(|| file.display().to_string())
}

/// The first images.
fn first(batch: &Batch, n: usize) -> anyhow::Result<Batch> {
    anyhow::ensure!(n <= batch.len(), "{n} of {} images are asked for", batch.len());
    part(batch, 0, n)
}

fn part(batch: &Batch, start: usize, n: usize) -> anyhow::Result<Batch> {
    Ok(Batch {
        pixels: batch.pixels.narrow(0, start, n)?,
        labels: batch.labels.narrow(0, start, n)?,
        ids: batch.ids[start..start + n].to_vec(),
    })
}

fn parts(batch: &Batch) -> impl Iterator<Item = anyhow::Result<Batch>> {
    (0..batch.len()).step_by(BATCH).map(|start| part(batch, start, BATCH.min(batch.len() - start)))
}

/// One row for each image, in double precision.
pub(crate) fn rows(tensor: &Tensor) -> anyhow::Result<Vec<Vec<f64>>> {
    Ok(tensor.to_dtype(DType::F64)?.flatten_from(1)?.to_vec2()?)
}

/// Logits, one row for each image.
pub(crate) fn logits(frozen: &Frozen, batch: &Batch) -> anyhow::Result<Vec<Vec<f64>>> {
    let mut all = vec![];
    for batch in parts(batch) {
        all.extend(rows(&frozen.logits(&batch?.pixels)?)?);
    }
    Ok(all)
}

/// Gradients of the first images' cross-entropy, one row for each image.
pub(crate) fn gradients(frozen: &Frozen, batch: &Batch, n: usize) -> anyhow::Result<Vec<Vec<f64>>> {
    let mut all = vec![];
    for batch in parts(&first(batch, n)?) {
        let (batch, passes) = (batch?, Passes::default());
        let victim = Victim::new(VictimNetwork::Frozen(frozen), &batch, Goal::Mistake, &passes)?;
        all.extend(rows(&victim.gradient_of(&batch.pixels, &cross_entropy)?)?);
    }
    Ok(all)
}

/// The result of an attack for each image: whether it is misclassified in the end, and, for minimum-norm
/// attacks, its distance. The distance is infinite if none was found or the clean image is misclassified.
pub(crate) struct Attacked {
    pub(crate) broken: Vec<bool>,
    pub(crate) distances: Vec<f64>,
}

/// Runs an attack as an evaluation does, on the images that are classified correctly; the others count as broken.
pub(crate) fn attacked(frozen: &Frozen, batch: &Batch, peer: &PeerAttack) -> anyhow::Result<Attacked> {
    let attack: Chosen<dyn Attack> = chosen(&peer.temper)?;
    let mut all = Attacked { broken: vec![], distances: vec![] };
    for batch in parts(&first(batch, peer.images)?) {
        let (batch, passes) = (batch?, Passes::default());
        let victim = Victim::new(VictimNetwork::Frozen(frozen), &batch, Goal::Mistake, &passes)?;
        let natural = victim.broken(&batch.pixels)?;
        let correct: Vec<bool> = natural.iter().map(|broken| !broken).collect();
        let victim = victim.rows(&correct)?;
        let radii = vec![peer.radius; victim.len()];
        let ball = Ball::new(victim.pixels(), &radii, peer.norm, victim.ids())?;
        let found = perturb(&attack, &victim, &ball, &Rng::new(0, "parity"))?;
        let mut fell = victim.broken(&found.pixels)?.into_iter();
        let mut far = found.distances.unwrap_or_default().into_iter();
        for correct in correct {
            // Both have an entry for each attacked image; only minimum-norm attacks fill the second one.
            all.broken.push(!correct || fell.next().unwrap_or(true));
            let distance = if correct { far.next() } else { None };
            all.distances.push(distance.unwrap_or(f64::INFINITY));
        }
    }
    Ok(all)
}
