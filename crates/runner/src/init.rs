//! `temper init`: writes a commented pipeline to start from.

use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal, Write as _};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use temper_core::{Chosen, Dataset, Kind, Model};
use temper_files::save_atomically;

use crate::config::{BadConfig, Pipeline};
use crate::inline;
use crate::output::say;

/// Options of `temper init`. In a terminal, those that are left out are asked for.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The file to write
    #[arg(default_value = "pipeline.toml")]
    file: PathBuf,
    /// The data set: its name, or a table, as in 'npz = { path = "test.npz" }'
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    /// The network: its name, or a table, as in 'resnet = { depth = 18 }' or 'onnx = { path = "net.onnx" }'
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// What the pipeline is for
    #[arg(long)]
    goal: Option<Goal>,
    /// A file of weights to judge, or to train on
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// The radius in l-inf, as in 8/255; by default the one that papers use for the data set
    #[arg(long, value_name = "RADIUS")]
    eps: Option<String>,
    /// Replace the file
    #[arg(long)]
    force: bool,
}

/// What a pipeline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Goal {
    /// Train a network adversarially, then judge it
    Harden,
    /// Judge a trained network
    Test,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let file = &options.file;
    if file.exists() && !options.force {
        return Err(BadConfig(format!(
            "{} is there already: name another file, or replace it with --force",
            file.display()
        ))
        .into());
    }
    let text = text(options)?;
    // What is written passes `temper check`.
    Pipeline::parse(&file.display().to_string(), &text, &[])?;
    save_atomically(file, text.as_bytes())?;
    let shown = file.display();
    say(&format!(
        "written to {shown}\n\n  temper check {shown}    reads it\n  temper run {shown}      runs it\n"
    ));
    Ok(())
}

/// The pipeline.
fn text(options: &Options) -> anyhow::Result<String> {
    let goal = match options.goal {
        Some(goal) => goal,
        None => match ask("goal: harden or test", "harden")?.as_str() {
            "harden" => Goal::Harden,
            "test" => Goal::Test,
            other => return Err(BadConfig(format!("goal {other}: expected `harden` or `test`")).into()),
        },
    };
    let given = |option: &Option<String>, question: &str, default: &str| match option {
        Some(given) => Ok(given.clone()),
        None => ask(question, default),
    };
    let data = given(&options.data, "data set (`temper list dataset`)", "fashion-mnist")?;
    let model = given(&options.model, "model (`temper list model`)", "convnet")?;
    let mut faults = vec![];
    let data: Option<Chosen<dyn Dataset>> = inline::read("data", &data, &mut faults);
    let model: Option<Chosen<dyn Model>> = inline::read("model", &model, &mut faults);
    let (Some(data), Some(model)) = (data, model) else { return Err(BadConfig::of(faults).into()) };
    if goal == Goal::Test && options.weights.is_none() && model.weights().is_none() {
        return Err(BadConfig(
            "--weights: a network is judged by its weights: name their file, or an ONNX file by --model"
                .into(),
        )
        .into());
    }
    let radius = options.eps.clone().unwrap_or_else(|| usual_radius(data.name()).into());
    let radius = if radius.contains('/') { format!("\"{radius}\"") } else { radius };
    Ok(written(goal, (&data, &model), options.weights.as_ref(), &radius))
}

/// The radius in l-inf that papers use for a data set.
fn usual_radius(data: &str) -> &'static str {
    match data {
        "mnist" => "0.3",
        "fashion-mnist" => "0.1",
        "imagenet" => "4/255",
        _ => "8/255",
    }
}

fn written(
    goal: Goal,
    (data, model): (&Chosen<dyn Dataset>, &Chosen<dyn Model>),
    weights: Option<&PathBuf>,
    radius: &str,
) -> String {
    let mut text = String::from(
        "# `temper describe train`, `temper describe pgd` and so on list all keys with their defaults.\n\
         seed = 0                                   # where all random numbers begin\n",
    );
    let mut model_keys = model.params().clone();
    if let Some(weights) = weights {
        model_keys.insert("weights".into(), weights.display().to_string().into());
    }
    let plugin = |kind: &str, name: &str, keys: &toml::Table| {
        let keys = toml::Value::Table(keys.clone());
        format!("{kind}.{name} = {keys}\n")
    };
    text += &plugin(<dyn Dataset>::PLACE, data.name(), data.params());
    text += &plugin(<dyn Model>::PLACE, model.name(), &model_keys);
    if goal == Goal::Harden {
        let _ = write!(
            text,
            "\n[train]\n\
             epochs = 30\n\
             batch = 128\n\
             # augment = {{ pad = 4 }}                    # random crops and flips, usual for colour images\n\
             attack.pgd = {{ steps = 10 }}                # each step is a quarter of the radius\n\
             epsilon.fixed = {{ radius = {radius} }}\n\
             # A radius for each sample in place of it (IAAT): more natural accuracy, less robustness at this radius.\n\
             # epsilon.instance-adaptive = {{ start = {radius}, warmup = 5 }}\n\
             optimizer = {{ lr = 0.05, momentum = 0.9, weight_decay = 5e-4 }}\n\
             schedule = {{ steps = [20, 26], factor = 0.1 }}\n"
        );
    }
    let _ = write!(
        text,
        "\n[[evaluate]]\n\
         name = \"natural\"                           # without an attack\n\n\
         [[evaluate]]\n\
         name = \"pgd\"                               # a quick look: 50 steps\n\
         radius = {radius}\n\
         attack.pgd = {{ steps = 50, relative_step = 0.1 }}\n\n\
         [[evaluate]]\n\
         name = \"autoattack\"                        # the number to quote; more samples, a narrower interval\n\
         radius = {radius}\n\
         samples = 500\n\
         suite = \"autoattack\"\n"
    );
    text
}

/// The answer to a question; the default if there is no terminal, or if the answer is empty.
fn ask(question: &str, default: &str) -> anyhow::Result<String> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(default.into());
    }
    let mut err = io::stderr();
    write!(err, "{question} [{default}]: ")?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    let answer = answer.trim();
    Ok(if answer.is_empty() { default.into() } else { answer.into() })
}
