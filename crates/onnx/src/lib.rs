//! Networks from ONNX files: the graph becomes a [`Network`] of the engine's own layers, which can be attacked and
//! trained like any other.
//!
//! A file is data: no code in it is run, and the sizes that it states are compared with its length before memory is
//! reserved. The supported operators are those of opset 7 and later that image classifiers use. A graph with any
//! other operator, with attention, branches, loops or integers is an error that names the node.

mod build;
mod call;
mod constant;
mod decode;
mod error;
mod export;
mod external;
mod fold;
mod images;
mod importer;
mod kind;
mod moves;
mod ops;
mod order;
mod proto;
mod table;
mod value;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use temper_files::Bounded;
use temper_nn::Network;

pub use error::{Error, Result};
pub use export::export;

use external::Beside;
use importer::{Importer, Normalisation};
use proto::Model;

/// Maximum length of a file in bytes, which is that of a message of this format.
const MOST: u64 = 1 << 31;
/// The oldest supported opset.
const OLDEST: i64 = 7;
/// The newest opset whose operators were compared with their definitions.
const NEWEST: i64 = 21;

/// A network that was read from an ONNX file.
#[derive(Debug)]
pub struct Imported {
    /// The graph from pixels `[n, c, h, w]` to logits.
    pub network: Network,
    /// Its weights in f32, by parameter name: `{layer}.weight` and so on.
    pub weights: BTreeMap<String, Tensor>,
    /// Version of the file's operators.
    pub opset: i64,
    /// The program that wrote the file.
    pub producer: String,
    /// Sentences for the user about what was changed or left out.
    pub told: Vec<String>,
    /// All files that contain it: the named file, then the files beside it with its numbers, sorted by name.
    pub files: Vec<PathBuf>,
}

/// Reads a network from an ONNX file. Numbers that are stored in files beside it are read too. A file of
/// another format, a damaged file, and a graph that is not a classifier of the engine's layers are errors that
/// state the fault and its place.
pub fn read(path: &Path) -> Result<Imported> {
    read_normalised(path, &[0.0], &[1.0])
}

/// Like [`read`], for a graph that takes normalised pixels: the network begins with `(pixels - mean) / std`. A single
/// number applies to all channels. Means of 0 with deviations of 1 add no layer.
pub fn read_normalised(path: &Path, mean: &[f64], std: &[f64]) -> Result<Imported> {
    let bytes = Bounded { file: path, most: MOST, what: "an ONNX file" }.bytes()?;
    let folder =
        path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let none = mean.iter().all(|mean| *mean == 0.0) && std.iter().all(|std| *std == 1.0);
    let before = (!none).then_some(Normalisation { mean, std });
    let mut imported = imported(&bytes, Beside(folder), before).map_err(|source| match source {
        read @ Error::Read(_) => read,
        source => Error::File { file: path.into(), source: Box::new(source) },
    })?;
    imported.files.insert(0, path.into());
    Ok(imported)
}

/// Reads a network from the bytes of an ONNX file. Numbers in other files are an error.
pub fn parse(bytes: &[u8]) -> Result<Imported> {
    imported(bytes, Beside(None), None)
}

/// Tags of the fields that may follow the version of the format at a file's start: producer and its version, domain,
/// model version, documentation, graph, opsets, properties.
const TAGS: [u8; 8] = [0x12, 0x1a, 0x22, 0x28, 0x32, 0x3a, 0x42, 0x72];

/// Whether a file is an ONNX graph, by its first bytes: the version of the format, which is 3 or more, and another
/// field. Saved models of TensorFlow begin with the version 1. Returns false for a file that cannot be read.
pub fn is_onnx(path: &Path) -> bool {
    let mut start = [0; 9];
    // Reading a pipe would wait for its writer, and the bytes that were read would be lost to other readers.
    let read = path.is_file() && File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok();
    read && begins(start)
}

/// Whether these are the first bytes of an ONNX graph. A safetensors file begins with the length of its header, which
/// may consist of the same bytes.
fn begins(start: [u8; 9]) -> bool {
    let safetensors = start[4..] == *b"\0\0\0\0{";
    !safetensors && start[0] == 0x08 && (3..0x80).contains(&start[1]) && TAGS.contains(&start[2])
}

fn imported(bytes: &[u8], beside: Beside<'_>, before: Option<Normalisation<'_>>) -> Result<Imported> {
    if let Some(other) = kind::other(bytes) {
        return Err(Error::NotOnnx(other));
    }
    let model = Model::read(bytes).map_err(error::Problem::whole)?;
    let Some(graph) = &model.graph else { return Err(Error::NotOnnx("it has no graph".into())) };
    let opset = model.opsets.iter().find(|(domain, _)| matches!(*domain, "" | "ai.onnx"));
    let opset = opset.map_or(1, |(_, version)| *version);
    if opset < OLDEST {
        return Err(Error::Opset(opset));
    }
    let mut importer = Importer::new(graph, opset, (beside, before), bytes.len())?;
    if opset > NEWEST {
        let told =
            format!("opset {opset} is newer than {NEWEST}, the last that was compared with its definition");
        importer.told.push(told);
    }
    importer.run()?;
    importer.logits()?;
    let Importer { network, weights, told, .. } = importer;
    let locations: BTreeSet<&str> = graph.initializers.iter().filter_map(proto::Tensor::location).collect();
    let files = beside.0.map_or(vec![], |folder| locations.iter().map(|name| folder.join(name)).collect());
    Ok(Imported { network, weights, opset, producer: model.producer.clone(), told, files })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graphs_are_told_from_safetensors_whose_header_has_an_unlucky_length() {
        assert!(begins(*b"\x08\x08\x12\x07pytor"));
        assert!(begins(*b"\x08\x08\x3a\xc0\x9a\x0c\x0a\x16\x0a"));
        // A header of 0x120408 bytes; a saved model of TensorFlow; a text.
        assert!(!begins(*b"\x08\x04\x12\0\0\0\0\0{"));
        assert!(!begins(*b"\x08\x04\0\0\0\0\0\0{"));
        assert!(!begins(*b"\x08\x01\x12\x07pytor"));
        assert!(!begins(*b"not a net"));
    }
}
