//! Summaries of networks and images for the results.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use temper_core::Source;
use temper_core::nn::Network;
use temper_results::{NetworkSummary, SplitSummary};

use crate::config::NumericsOption;
use crate::material::parameters;

/// The summary of a network of this model with these options. The caller adds the weights.
pub(crate) fn network_summary(
    model: &str,
    options: &toml::Table,
    numerics: NumericsOption,
    network: &Network,
) -> anyhow::Result<NetworkSummary> {
    let options = serde_json::to_value(options)?;
    let numerics = serde_json::to_value(numerics)?;
    Ok(NetworkSummary {
        name: model.into(),
        options: options.as_object().cloned().unwrap_or_default(),
        numerics: numerics.as_str().context("numerics without a word")?.into(),
        label: String::new(),
        file: PathBuf::new(),
        sha256: String::new(),
        parameters: parameters(network),
        classes: vec![],
    })
}

/// The summary of images and of those that could not be decoded.
pub(crate) fn split_summary(source: &Arc<dyn Source>, unreadable: &BTreeMap<u64, String>) -> SplitSummary {
    SplitSummary {
        origin: source.origin(),
        n: source.len(),
        unreadable: unreadable.values().cloned().collect(),
        ..SplitSummary::default()
    }
}
