//! `records.jsonl`: one line a batch that was judged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::DataDigest;
use crate::evaluation::Cost;
use crate::is_false;
use crate::record::Columns;

/// A batch that was judged: a line of the file of records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The evaluation's name.
    pub evaluation: String,
    /// Which weights of the run were judged: `last` or `best`.
    pub weights: String,
    /// The corruption of the images, and its severity; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corruption: Option<String>,
    /// A hash that tells corrupted images from others of their kind and severity; absent for images as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// A hash of all that the numbers depend on.
    pub key: String,
    /// A hash of the batch's images and labels.
    pub data: DataDigest,
    /// Whether all logits of the unperturbed images look like probabilities: within [0, 1], with a sum of 1.
    /// Absent if they do not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub probabilities: bool,
    /// The columns of the samples.
    pub samples: Columns,
    /// What could not be decoded, by index in the whole data set, with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unreadable: BTreeMap<u64, String>,
    /// What it cost, in the order of the attacks; the first one is the natural pass.
    pub costs: Vec<Cost>,
}
