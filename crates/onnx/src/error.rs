//! Errors of reading an ONNX file.

use std::path::PathBuf;

use temper_files::tame;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error in an ONNX file, or in its graph as an image classifier.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An error in the named file.
    #[error("{}: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        source: Box<Error>,
    },
    /// The file cannot be read, or exceeds the maximum length.
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
        /// Number of nodes with this operator that the first output needs.
        count: usize,
    },
    /// A use of an operator for which a network of temper has no layer.
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
        /// Where integers occur.
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
    /// A number of inputs other than one, or an input that is not an image.
    #[error("the graph's inputs: {}; expected one input of images, [n, c, h, w]", tame(.0))]
    Inputs(String),
    /// An output that is not a vector of logits.
    #[error("the graph's first output: {}; expected [n, classes]", tame(.0))]
    Output(String),
}

/// A fault whose node is not known yet.
#[derive(Debug, Clone)]
pub(crate) enum Problem {
    /// A use that is not supported.
    Use(String),
    /// The samples of a batch are mixed.
    Batch(String),
    /// Integers where floats are expected.
    Integers(String),
    /// The file contradicts itself.
    Damaged(String),
    /// Numbers in another file: the tensor, and why they are not read.
    External(String, String),
}

/// A result whose error does not name the node yet.
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
