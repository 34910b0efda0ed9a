//! `temper export`: writes a trained network as a file for other programs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use safetensors::tensor::{Dtype, TensorView, serialize};
use temper_core::nn::{Classifier, Frozen, Numerics};
use temper_core::{Device, Rng, Tensor};
use temper_data::escaped;
use temper_files::save_atomically;
use temper_train::is_onnx;
use temper_weights::SavedTensor;

use crate::config::BadConfig;
use crate::output::say;
use crate::stored::Stored;

/// Options of `temper export`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A run's folder, or a file of weights that a run wrote
    #[arg(value_name = "RUN_OR_MODEL")]
    network: PathBuf,
    /// What to write: the graph with its weights, or the weights alone
    #[arg(long, value_enum)]
    format: Format,
    /// The file to write [default: `model` with the format's ending, in the current folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace that file
    #[arg(long)]
    force: bool,
}

/// A format that other programs read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A graph with its weights, for ONNX Runtime and others
    Onnx,
    /// Weights by the names of state dictionaries
    Safetensors,
    /// A state dictionary that `torch.load` reads
    Pth,
}

impl Format {
    fn ending(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Safetensors => "safetensors",
            Self::Pth => "pth",
        }
    }
}

/// Number of images on which a written graph is compared with the network.
const COMPARED: usize = 4;
/// Largest relative difference of logits that rounding explains.
const ROUNDING: f64 = 1e-3;

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let Options { network, format, out, force } = options;
    let file = out.clone().unwrap_or_else(|| PathBuf::from("model").with_extension(format.ending()));
    if file.exists() && !force {
        return Err(BadConfig(format!(
            "{} is there already: choose another file with --out, or replace it with --force",
            file.display()
        ))
        .into());
    }
    if Stored::file(network).is_ok_and(|file| is_onnx(&file)) {
        return Err(BadConfig(format!("{} is an ONNX file already", network.display())).into());
    }
    let stored = Stored::known(network, Numerics::Fast)?;
    if let Some(own) =
        [Some(&stored.file), stored.graph.as_ref()].into_iter().flatten().find(|own| same(own, &file))
    {
        return Err(BadConfig(format!(
            "{} is a file of the run itself: choose another one with --out",
            own.display()
        ))
        .into());
    }
    let (graph, weights) = (stored.classifier.network(), stored.classifier.weights());
    let bytes = match format {
        Format::Onnx => {
            let bytes = temper_onnx::export(graph, &weights)?;
            compare(&stored, &bytes).with_context(|| format!("{} is not written", file.display()))?;
            bytes
        }
        Format::Safetensors => plain(&weights)?,
        Format::Pth => temper_weights::torch_file(&rows(&weights)?)?,
    };
    save_atomically(&file, &bytes)?;
    say(&told(&stored, &file, bytes.len(), *format));
    Ok(())
}

/// Whether two paths refer to the same file.
fn same(a: &Path, b: &Path) -> bool {
    a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b))
}

/// A file of safetensors without the metadata of runs.
fn plain(weights: &BTreeMap<String, Tensor>) -> anyhow::Result<Vec<u8>> {
    let rows = rows(weights)?;
    let views = rows.iter().map(|(name, shape, numbers)| {
        Ok((name.clone(), TensorView::new(Dtype::F32, shape.clone(), numbers)?))
    });
    let views = views.collect::<anyhow::Result<Vec<_>>>()?;
    Ok(serialize(views, None)?)
}

/// Name, shape and little-endian numbers of each weight.
fn rows(weights: &BTreeMap<String, Tensor>) -> anyhow::Result<Vec<SavedTensor>> {
    let row = |(name, weight): (&String, &Tensor)| {
        let numbers: Vec<f32> = weight.flatten_all()?.to_vec1()?;
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        Ok((name.clone(), weight.dims().to_vec(), bytes))
    };
    weights.iter().map(row).collect()
}

/// An error if the graph in these bytes computes other logits than the network.
fn compare(stored: &Stored, bytes: &[u8]) -> anyhow::Result<()> {
    let read = temper_onnx::parse(bytes)?;
    let [c, h, w] = stored.input;
    let samples: Vec<u64> = (0..COMPARED as u64).collect();
    let pixels = Rng::new(0, "export").uniform(&samples, c * h * w);
    let pixels = Tensor::from_vec(pixels, (COMPARED, c, h, w), &Device::Cpu)?.affine(0.5, 0.5)?;
    let logits = |classifier: &Classifier| -> anyhow::Result<Vec<f32>> {
        Ok(Frozen::new(classifier)?.logits(&pixels)?.flatten_all()?.to_vec1()?)
    };
    let want = logits(&stored.classifier)?;
    let got = logits(&Classifier::new(read.network, &read.weights)?)?;
    let size = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let apart = size(&mut got.iter().zip(&want).map(|(a, b)| f64::from(a - b)));
    let whole = size(&mut want.iter().map(|x| f64::from(*x)));
    if apart.is_nan() || apart > ROUNDING * whole {
        bail!("the graph gives other logits than the network: they are {apart:e} apart, of {whole:e}");
    }
    Ok(())
}

/// A message that reports the written file and how to read it.
fn told(stored: &Stored, file: &Path, bytes: usize, format: Format) -> String {
    let ([c, h, w], n) = (stored.input, stored.classes.len());
    let (at, normalisation) = (file.display(), stored.normalisation());
    let alone = "weights by PyTorch's names; pixels are normalised by the network, not by the weights";
    let how = match format {
        Format::Onnx => format!(
            "pixels [n, {c}, {h}, {w}] in [0, 1] to logits [n, {n}]; the graph has {normalisation}\n\
             in Python: onnxruntime.InferenceSession(\"{at}\").run(None, {{\"pixels\": pixels}})"
        ),
        Format::Safetensors => {
            format!("{alone}: {normalisation}\nin Python: safetensors.torch.load_file(\"{at}\")")
        }
        Format::Pth => {
            format!("{alone}: {normalisation}\nin Python: torch.load(\"{at}\", weights_only=True)")
        }
    };
    let classes: Vec<String> = stored.classes.iter().map(|class| escaped(class)).collect();
    format!("written to {at}, {bytes} bytes\n{how}\nclasses: {}\n", classes.join(", "))
}
