//! `temper inspect`: reports the contents of a network's file, and how to start with it.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use temper_core::Normalisation;
use temper_core::nn::{Layer, Network, Node};
use temper_data::escaped;
use temper_report::percent;
use temper_results::wilson;
use temper_train::is_onnx;
use temper_weights::read;

use crate::attacked::{AttackPlan, Opened};
use crate::interrupt::Interrupt;
use crate::material::parameters;
use crate::normalisation::Tried;
use crate::output::answer;
use crate::stored::{About, Stored};
use crate::warnings::told;

/// Options of `temper inspect`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A run's folder, or a network's file (.onnx, .safetensors, .pth, .pt)
    #[arg(value_name = "RUN_OR_MODEL")]
    network: PathBuf,
    /// Also classify test images of this data set, by name or with parameters as in a pipeline: with the usual
    /// normalisations of pixels, where the file does not say its own
    #[arg(long, value_name = "NAME")]
    data: Option<String>,
    /// Architecture of a file of weights that does not record it, as in a pipeline
    #[arg(long, value_name = "NAME", requires = "data")]
    model: Option<String>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let file = Stored::file(&options.network)?;
    let mut text = if is_onnx(&file) {
        graph(&file)?
    } else {
        match Stored::about(&file)? {
            Some(about) => of_run(&file, &about)?,
            None => weights(&file)?,
        }
    };
    if let Some(data) = &options.data {
        let plan = AttackPlan::natural(data, options.model.as_deref())?;
        text += &classified(&options.network, plan)?;
    }
    answer(&text)
}

/// The text about the network's natural accuracy, by normalisation if the file does not record its own.
fn classified(network: &Path, plan: AttackPlan) -> anyhow::Result<String> {
    let interrupt = Interrupt::listen().context("cannot listen for Ctrl-C")?;
    let (opened, _) = Opened::open(&[network.to_path_buf()], plan, &interrupt)?;
    let Tried { n, assumed, usual } = opened.normalisations(0, &interrupt)?;
    let row = |name: &str, right: usize, how: &str| {
        let [low, high] = wilson(right, n).map(percent);
        format!("  {name:<16}{:>7}  ({low} to {high})  {how}\n", percent(right as f64 / n.max(1) as f64))
    };
    let mut text =
        format!("\nright of {n} test images, with the 95 % interval, by normalisation of the pixels:\n");
    text += &row("as it is", assumed, "");
    for (Normalisation { name, mean, std }, right) in usual {
        text += &row(name, right, &format!("mean = {mean:?}, std = {std:?}"));
    }
    text += &told(&opened.warnings);
    Ok(text)
}

/// The text about an ONNX graph.
fn graph(file: &Path) -> anyhow::Result<String> {
    let read = temper_onnx::read(file)?;
    let (at, network) = (file.display(), &read.network);
    let producer =
        if read.producer.is_empty() { String::new() } else { format!(" of {}", escaped(&read.producer)) };
    let mut text = format!("{at}: an ONNX graph{producer}, opset {}\n", read.opset);
    for told in &read.told {
        let _ = writeln!(text, "  {told}");
    }
    text += &layers(network);
    let toml = format!("{{ path = {} }}", toml::Value::from(at.to_string()));
    let _ = write!(
        text,
        "\nto judge it:\n  temper attack {at} --data DATA --attack none\nin a pipeline, which needs no \
         [train] to judge it:\n  model.onnx = {toml}\n"
    );
    Ok(text)
}

/// The text about the weights of a run.
fn of_run(file: &Path, about: &About) -> anyhow::Result<String> {
    let network = about.network(file)?;
    let options = toml::Value::Table(about.model.params().clone());
    let classes: Vec<String> = about.classes.iter().map(|class| escaped(class)).collect();
    let mut text = format!("{}: weights of a run of temper\n", file.display());
    let _ = writeln!(text, "  model    {} = {options}", about.model.name());
    let _ = writeln!(text, "  classes  {}", classes.join(", "));
    text += &layers(&network);
    let _ = write!(
        text,
        "\nto attack it:\n  temper attack {0} --attack pgd --eps 8/255\nto train it further, in a pipeline:\n  \
         model.{1} = {options}\n  train.init = {2}\n",
        file.display(),
        about.model.name(),
        toml::Value::from(file.display().to_string())
    );
    Ok(text)
}

/// The text about weights without metadata.
fn weights(file: &Path) -> anyhow::Result<String> {
    let mut read = read(file)?;
    read.unwrap_names();
    let numbers: usize = read.tensors.values().map(|tensor| tensor.shape.iter().product::<usize>()).sum();
    let mut text =
        format!("{}: weights alone, {} tensors of {numbers} numbers\n", file.display(), read.tensors.len());
    for told in &read.told {
        let _ = writeln!(text, "  {told}");
    }
    let width = read.tensors.keys().map(|name| name.chars().count()).max().unwrap_or(0);
    for (name, tensor) in &read.tensors {
        let _ = writeln!(text, "  {:<width$}  {:?} {}", escaped(name), tensor.shape, tensor.dtype);
    }
    let _ = write!(
        text,
        "\nto judge them, name their architecture:\n  temper attack {} --model 'resnet = {{ depth = 18 }}' --data DATA \
         --attack none\nor describe its layers by these names: temper describe model sequential\n",
        file.display()
    );
    Ok(text)
}

/// A network's shapes and layers, one per line.
fn layers(network: &Network) -> String {
    let shape = |[c, h, w]: [usize; 3]| format!("{c} x {h} x {w}");
    let mut text = format!("  input    {}, pixels in [0, 1]\n", shape(network.input_shape()));
    let _ = writeln!(text, "  output   {} classes", network.classes());
    let _ = writeln!(text, "  weights  {} trained parameters", parameters(network));
    let nodes = network.nodes().iter().skip(1);
    let rows: Vec<(String, String)> = nodes.map(|node| (what(node), shape(node.shape))).collect();
    let width = rows.iter().map(|(what, _)| what.chars().count()).max().unwrap_or(0);
    text += "  layers, with channels x height x width of what they give:\n";
    for (what, shape) in rows {
        let _ = writeln!(text, "    {what:<width$}  {shape}");
    }
    text
}

/// A layer in words, with the name of its weights if it has any.
fn what(node: &Node) -> String {
    match &node.layer {
        Layer::Input => "pixels".into(),
        Layer::Normalize { mean, std } => format!("normalisation by mean {mean:?}, std {std:?}"),
        Layer::Conv { name, linear: true, .. } => format!("linear {}", escaped(name)),
        Layer::Conv { name, shape, .. } => {
            let [rows, columns] = shape.kernel();
            let groups = if shape.groups > 1 { format!(", {} groups", shape.groups) } else { String::new() };
            format!("{rows} x {columns} convolution {}{groups}", escaped(name))
        }
        Layer::BatchNorm { name, .. } => format!("batch norm {}", escaped(name)),
        Layer::PRelu { name, .. } => format!("prelu {}", escaped(name)),
        Layer::Relu => "relu".into(),
        Layer::Function(function) => function.name().into(),
        Layer::Affine { .. } => "times and plus constants".into(),
        Layer::MaxPool(pool) => format!("max pooling of {} x {}", pool.axes[0].kernel, pool.axes[1].kernel),
        Layer::AveragePool(pool) => {
            format!("average pooling of {} x {}", pool.axes[0].kernel, pool.axes[1].kernel)
        }
        Layer::GlobalAveragePool => "global average pooling".into(),
        Layer::Concat => "concatenation".into(),
        Layer::PadChannels { .. } => "channels of zeros".into(),
        Layer::Add => "sum".into(),
        Layer::Multiply => "product".into(),
        Layer::Gather(_) => "rearrangement or weighted sums".into(),
    }
}
