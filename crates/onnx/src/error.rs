//! What can be wrong with an ONNX file.

use std::path::PathBuf;

use temper_files::tame;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can be wrong with an ONNX file, or with its graph as an image classifier.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of which something is wrong.
    #[error("{}: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        source: Box<Error>,
    },
    /// It cannot be read, or is larger than any that is read.
    #[error(transparent)]
    Read(#[from] temper_files::Error),
    /// A file of another format.
    #[error("not an ONNX file: {0}")]
    NotOnnx(String),
    /// A file that contradicts itself.
    #[error("the ONNX file is damaged: {}", tame(.0))]
    Damaged(String),
    /// Weights in another file that cannot be read.
    #[error(
        "the numbers of `{}` are in another file, {}; expected a file beside the ONNX file that holds them\n  write \
         one file instead, in Python: onnx.save(onnx.load(\"model.onnx\"), \"whole.onnx\", \
         save_as_external_data=False)",
        tame(tensor),
        tame(why)
    )]
    External {
        /// The tensor.
        tensor: String,
        /// Which file, and why it is not read.
        why: String,
    },
    /// A version of the operators that is not known.
    #[error(
        "the graph uses opset {0}, expected 7 or later\n  convert it, in Python: \
         onnx.version_converter.convert_version(onnx.load(\"model.onnx\"), 13)"
    )]
    Opset(i64),
    /// An operator that is not known.
    #[error(
        "node `{}`: unknown operator `{}` (opset {opset}; {count} such nodes in the graph)",
        tame(node),
        tame(operator)
    )]
    Unknown {
        /// The first node with it.
        node: String,
        /// The operator, with its domain if it has one.
        operator: String,
        /// Version of the operators.
        opset: i64,
        /// Nodes with it on the way to the first output.
        count: usize,
    },
    /// A use of an operator that a network of temper has no layer for.
    #[error("node `{}` ({}): {}", tame(node), tame(operator), tame(what))]
    Unsupported {
        /// The node.
        node: String,
        /// Its operator.
        operator: String,
        /// What is not supported, and what is.
        what: String,
    },
    /// A node that mixes the samples of a batch.
    #[error(
        "node `{}` ({}): {}; each sample of a batch must be computed on its own",
        tame(node),
        tame(operator),
        tame(what)
    )]
    Batch {
        /// The node.
        node: String,
        /// Its operator.
        operator: String,
        /// What it does to the batch.
        what: String,
    },
    /// A network of integers.
    #[error(
        "node `{}` ({}): {}\n  quantised networks have no useful gradients: export the network of floats that it was \
         made of",
        tame(node),
        tame(operator),
        tame(what)
    )]
    Integers {
        /// The node.
        node: String,
        /// Its operator.
        operator: String,
        /// What is an integer.
        what: String,
    },
    /// Branches or loops.
    #[error(
        "node `{}` ({}): branches and loops are not supported\n  export the network in evaluation mode and with fixed \
         sizes, so that they disappear",
        tame(node),
        tame(operator)
    )]
    ControlFlow {
        /// The node.
        node: String,
        /// Its operator.
        operator: String,
    },
    /// Another number of inputs than one, or one that is no image.
    #[error("the graph's inputs: {}; expected one input of images, [n, c, h, w]", tame(.0))]
    Inputs(String),
    /// An output that is no vector of logits.
    #[error("the graph's first output: {}; expected [n, classes]", tame(.0))]
    Output(String),
}

/// What is wrong, before it is known at which node.
#[derive(Debug, Clone)]
pub(crate) enum Problem {
    /// A use that is not supported.
    Use(String),
    /// Samples are mixed.
    Batch(String),
    /// Integers where floats are expected.
    Integers(String),
    /// The file contradicts itself.
    Damaged(String),
    /// Numbers in another file: the tensor, and why they are not read.
    External(String, String),
}

/// A result before it is known at which node.
pub(crate) type Found<T> = std::result::Result<T, Problem>;

impl From<temper_nn::Error> for Problem {
    fn from(error: temper_nn::Error) -> Self {
        Self::Use(error.to_string())
    }
}

impl From<candle_core::Error> for Problem {
    fn from(error: candle_core::Error) -> Self {
        Self::Use(error.to_string())
    }
}

impl Problem {
    /// A use that is not supported.
    pub(crate) fn of(what: impl Into<String>) -> Self {
        Self::Use(what.into())
    }

    /// The error at a node.
    pub(crate) fn at(self, node: &str, operator: &str) -> Error {
        let (node, operator) = (node.into(), operator.into());
        match self {
            Self::Use(what) => Error::Unsupported { node, operator, what },
            Self::Batch(what) => Error::Batch { node, operator, what },
            Self::Integers(what) => Error::Integers { node, operator, what },
            Self::Damaged(what) => Error::Damaged(format!("node `{node}` ({operator}): {what}")),
            Self::External(tensor, why) => Error::External { tensor, why },
        }
    }

    /// The error of the file as a whole.
    pub(crate) fn whole(self) -> Error {
        match self {
            Self::Use(what) | Self::Batch(what) | Self::Integers(what) | Self::Damaged(what) => {
                Error::Damaged(what)
            }
            Self::External(tensor, why) => Error::External { tensor, why },
        }
    }
}
