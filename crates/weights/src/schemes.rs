//! Names of the same layers in different repositories of residual networks: `downsample` in one
//! is `shortcut` in another.

use std::collections::{BTreeMap, BTreeSet};

use crate::file::File;
use crate::names::fitting;
use crate::tensor::Tensor;

/// Parts of names and their replacements.
type Renamed = &'static [(&'static str, &'static str)];

/// The schemes in the order in which they are tried, each with the repositories whose names it reads.
///
/// - torchvision (`torchvision/models/resnet.py`) and timm (`timm/models/resnet.py`): `layer2.0.downsample.0`, `fc`.
/// - Kuang Liu's pytorch-cifar (`models/resnet.py`): `layer2.0.shortcut.0`, `linear`.
/// - Yerlan Idelbayev's (Akamaster's) networks for CIFAR (`resnet.py`): `linear`, and shortcuts without weights.
///
/// Many other repositories combine the blocks of one with the last layer of another: then only one part is renamed.
const SCHEMES: [(Renamed, &str); 2] = [
    (&[("downsample", "shortcut"), ("fc", "linear")], "torchvision and timm"),
    (&[("shortcut", "downsample"), ("linear", "fc")], "Kuang Liu's pytorch-cifar"),
];

/// Renames the parts between the dots of a name by a scheme.
fn renamed(name: &str, scheme: Renamed) -> String {
    let part = |part: &str| {
        scheme.iter().find(|(from, _)| *from == part).map_or(part.to_string(), |(_, to)| (*to).into())
    };
    name.split('.').map(part).collect::<Vec<_>>().join(".")
}

/// Whether the tensors behind the prefix of wrappers are exactly the wanted ones, by name and shape.
fn fit(tensors: &BTreeMap<String, &Tensor>, wanted: &BTreeMap<&str, &[usize]>) -> bool {
    let names: BTreeSet<&str> = tensors.keys().map(String::as_str).collect();
    let Some(prefix) = fitting(&names, &wanted.keys().copied().collect()) else { return false };
    let mut behind = tensors.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(&prefix)?, *tensor)));
    behind.all(|(name, tensor)| wanted.get(name).is_some_and(|shape| **shape == tensor.shape[..]))
}

impl File {
    /// Renames tensors to the names that a network expects, if the file uses another repository's names for the same
    /// layers. Names are changed only if all names and shapes fit afterwards, apart from the prefixes of wrappers,
    /// which [`File::fit_names`] strips. Names that already fit stay.
    pub fn rename(&mut self, wanted: &BTreeMap<&str, &[usize]>) {
        let names: BTreeSet<&str> = self.tensors.keys().map(String::as_str).collect();
        if fitting(&names, &wanted.keys().copied().collect()).is_some() {
            return;
        }
        let scheme = SCHEMES.iter().find(|(scheme, _)| {
            let tensors: BTreeMap<String, &Tensor> =
                self.tensors.iter().map(|(name, tensor)| (renamed(name, scheme), tensor)).collect();
            tensors.len() == self.tensors.len() && fit(&tensors, wanted)
        });
        let Some((scheme, whose)) = scheme else { return };
        let there = |part: &str| self.tensors.keys().any(|name| name.split('.').any(|other| other == part));
        let parts: Vec<String> = scheme
            .iter()
            .filter(|(from, _)| there(from))
            .map(|(from, to)| format!("`{to}` for `{from}`"))
            .collect();
        let whose = if parts.len() == scheme.len() { format!(" (those of {whose})") } else { String::new() };
        self.told.push(format!("names are read with {}{whose}", parts.join(" and ")));
        let tensors = std::mem::take(&mut self.tensors).into_iter();
        self.tensors = tensors.map(|(name, tensor)| (renamed(&name, scheme), tensor)).collect();
    }
}
