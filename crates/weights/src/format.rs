//! Detects the format of a file from its content, and identifies files of unsupported formats.

use std::collections::{BTreeMap, HashMap};

use temper_files::Head;

use crate::error::{Fault, Result};
use crate::source::Source;
use crate::tensor::Tensor;
use crate::{legacy, shards, torch};

/// A supported format.
pub(crate) struct Format {
    /// Whether a file that begins with these first [`START`] bytes has this format.
    pub(crate) begins: fn(&[u8]) -> bool,
    /// Finds the tensors of a file.
    pub(crate) read: fn(Source) -> Result<Read>,
    /// Whether files of this format have metadata ([`Read::metadata`]).
    pub(crate) says: bool,
}

/// The result of reading a file.
#[derive(Default)]
pub(crate) struct Read {
    pub(crate) tensors: BTreeMap<String, Tensor>,
    /// The files that contain the tensors.
    pub(crate) sources: Vec<Source>,
    /// What was stripped or left out to reach the tensors.
    pub(crate) told: Vec<String>,
    /// The metadata of the file.
    pub(crate) metadata: HashMap<String, String>,
}

/// All formats. The first one that matches the start of a file is the file's format.
const FORMATS: &[&Format] = &[&shards::SAFETENSORS, &torch::FORMAT, &legacy::FORMAT, &shards::LIST];

/// Bytes at a file's start that identify its format. The magic number of a tar archive is at offset [`TAR`].
const START: u64 = 512;
/// Offset of the magic number of a tar archive.
const TAR: usize = 257;
/// The last bytes of the index of a TensorFlow checkpoint.
const TENSORFLOW: u64 = 0xdb47_7524_8b80_fb57;

const CONVERT: &str = "its weights must be brought to PyTorch's names and shapes, in Python, and saved as \
    safetensors";
const ONNX: &str = "a graph is not read: save the weights of the model that it was exported from, as safetensors or \
    with torch.save";
const UNPACK: &str = "unpack it first";
const PICKLE: &str = "save it with torch.save, in Python, if you trust its origin: loading a pickle runs what it names\n    \
    import pickle, torch\n    state = pickle.load(open(FILE, \"rb\"))\n    \
    torch.save({name: torch.as_tensor(value) for name, value in state.items()}, \"weights.pth\")";
const ARRAY: &str =
    "save all arrays as safetensors, in Python: safetensors.numpy.save_file({name: array}, FILE)";
const PAGE: &str = "perhaps a download that failed: download the file itself again";
const POINTER: &str = "fetch the file itself with `git lfs pull`";
const OTHER: &str =
    "name the file of weights that was meant: safetensors, or what torch.save writes (.pth, .pt)";

/// The first bytes of files of other formats, descriptions of these formats, and advice.
const STRANGERS: [(&[u8], &str, &str); 22] = [
    (b"\x80\x02", "a pickle of Python that torch.save did not write", PICKLE),
    (b"\x80\x03", "a pickle of Python that torch.save did not write", PICKLE),
    (b"\x80\x04", "a pickle of Python that torch.save did not write", PICKLE),
    (b"\x80\x05", "a pickle of Python that torch.save did not write", PICKLE),
    (b"\x89HDF", "an HDF5 file, as Keras writes (.h5)", CONVERT),
    // A graph of ONNX begins with its version, which is 3 or more; TensorFlow's schema has version 1.
    (b"\x08\x01\x12", "a saved model of TensorFlow (.pb)", CONVERT),
    (b"\x08", "an ONNX graph, by its first byte", ONNX),
    (b"\x93NUMPY", "a NumPy array (.npy)", ARRAY),
    (b"GGUF", "a GGUF file", CONVERT),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself", POINTER),
    (b"<", "a page of HTML or XML", PAGE),
    (b"\x1f\x8b", "a gzip file", UNPACK),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", UNPACK),
    (b"\xfd7zXZ", "an xz file", UNPACK),
    (b"BZh", "a bzip2 file", UNPACK),
    (b"7z\xbc\xaf", "a 7-Zip archive", UNPACK),
    (b"Rar!", "a RAR archive", UNPACK),
    (b"\x89PNG", "a PNG image", OTHER),
    (b"\xff\xd8\xff", "a JPEG image", OTHER),
    (b"%PDF", "a PDF document", OTHER),
    (b"\x7fELF", "a program", OTHER),
    (b"#!", "a script", OTHER),
];

/// Returns the format of a file. A file of an unsupported format is an error that names the format.
pub(crate) fn format_of(source: &Source) -> Result<&'static Format> {
    let start = source.start(START)?;
    let fault = |what: String, help| Err(source.malformed(Fault::new(what).advising(help)));
    let letters = start.trim_ascii_start();
    if start.is_empty() {
        return fault("it is empty, expected a file of weights".into(), PAGE);
    }
    if let Some(format) = FORMATS.iter().find(|format| (format.begins)(&start)) {
        return Ok(format);
    }
    if start.get(TAR..TAR + 5) == Some(b"ustar") {
        return fault("no file of weights, it is a tar archive".into(), UNPACK);
    }
    let known = STRANGERS.iter().find(|(known, ..)| start.starts_with(known) || letters.starts_with(known));
    if let Some((_, is, help)) = known {
        return fault(format!("no file of weights, it is {is}"), help);
    }
    let end = source.read(source.length.saturating_sub(8), source.length.min(8))?;
    if end.first_chunk().is_some_and(|end| u64::from_le_bytes(*end) == TENSORFLOW) {
        return fault("no file of weights, it is the index of a checkpoint of TensorFlow".into(), CONVERT);
    }
    // A file that cannot be identified is most likely damaged safetensors.
    let Err(why) = Head::read(&source.path)? else { return Ok(&shards::SAFETENSORS) };
    Err(source.malformed(Fault::new(format!("neither safetensors nor a file of torch.save: {why}"))))
}
