//! What was run: command, data, networks, machine, configuration.

use std::fmt::Write;

use temper_results::shell::command;
use temper_results::{CommandName, NetworkSummary, SplitSummary};

use crate::measured::Measured;
use crate::page::Page;

/// Reasons of images that could not be decoded, of which a data set may have many.
const MOST_UNREADABLE: usize = 20;

/// What made the results.
pub(super) fn kind(measured: &Measured) -> &'static str {
    match measured.results.command {
        CommandName::Run => "Run",
        CommandName::Attack => "Attack",
        CommandName::Transfer => "Transfer matrix",
    }
}

/// Adds a sentence or two about what was measured.
pub(super) fn introduction(page: &mut Page, measured: &Measured) {
    let results = &measured.results;
    let images = match (&results.dataset.test, &results.dataset.train) {
        (Some(test), _) => format!("{} test images", test.n),
        (None, Some(train)) => format!("{} training images", train.n),
        (None, None) => "images".into(),
    };
    let network = results.networks.first().map_or("A network".into(), described);
    let trained = match &results.training {
        Some(training) if training.epochs == 1 => ", trained for 1 epoch".into(),
        Some(training) if training.epochs > 0 => format!(", trained for {} epochs", training.epochs),
        _ => String::new(),
    };
    page.text(&format!(
        "{network}{trained}, evaluated with {images} of `{}` by temper {}.",
        results.dataset.name, results.versions.temper
    ));
}

fn described(network: &NetworkSummary) -> String {
    format!("`{}` with {} trained parameters", network.name, network.parameters)
}

/// Adds the section.
pub(super) fn section(page: &mut Page, measured: &Measured) {
    let results = &measured.results;
    page.heading("What was run");
    let mut facts = vec![];
    let mut row = |name: &str, value: String| facts.push((name.to_string(), value));
    row("temper", results.versions.temper.clone());
    row("candle", results.versions.candle.clone());
    row("seed", results.seed.to_string());
    row("processor", format!("{}, {} threads", results.machine.processor, results.machine.threads));
    row("data set", results.dataset.name.clone());
    let splits = [
        ("training images", &results.dataset.train),
        ("held out", &results.dataset.held_out),
        ("test images", &results.dataset.test),
    ];
    for (name, split) in splits.into_iter().filter_map(|(name, split)| Some((name, split.as_ref()?))) {
        row(name, of_split(split));
    }
    for network in &results.networks {
        row("network", format!("{} ({})", described(network), options(network)));
        row("weights", format!("{}: {}, SHA-256 {}", network.label, network.file.display(), network.sha256));
    }
    page.facts(&facts);
    let unreadable: Vec<&String> = [&results.dataset.train, &results.dataset.held_out, &results.dataset.test]
        .into_iter()
        .flatten()
        .flat_map(|split| &split.unreadable)
        .collect();
    if !unreadable.is_empty() {
        let first = if unreadable.len() > MOST_UNREADABLE {
            format!("; the first {MOST_UNREADABLE}")
        } else {
            String::new()
        };
        page.text(&format!("Images that could not be decoded: {}{first}.", unreadable.len()));
        page.list(&unreadable.into_iter().take(MOST_UNREADABLE).collect::<Vec<_>>());
    }
    if !results.arguments.is_empty() {
        page.folded("The command", &command(&results.arguments));
    }
    if let Some(config) = &measured.config {
        page.folded("The configuration with all defaults", config);
    }
}

fn of_split(split: &SplitSummary) -> String {
    let mut text = format!("{} from {}", split.n, split.origin);
    if split.also_trained_on > 0 {
        let _ = write!(text, "; {} are training images, too", split.also_trained_on);
    }
    if let Some(hash) = &split.hash {
        let _ = write!(text, "; hash {hash}");
    }
    text
}

/// The options of a network's model, and how its sums are computed.
fn options(network: &NetworkSummary) -> String {
    let options = network.options.iter().map(|(name, value)| format!("{name} = {value}"));
    let numerics = (!network.numerics.is_empty()).then(|| format!("{} numerics", network.numerics));
    options.chain(numerics).collect::<Vec<_>>().join(", ")
}
