//! The names that a pickle may refer to. Their meanings are listed here; no name is ever looked up in Python.

use crate::dtype::Dtype;
use crate::error::{Fault, Found};

/// The meaning of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Global {
    /// Dictionaries, ordered or not.
    Dict,
    /// `torch._utils._rebuild_tensor` (version 1), `..._v2`, `..._v3`.
    Rebuild(u8),
    /// `torch._utils._rebuild_parameter`, which returns its first argument.
    Parameter,
    /// `torch._tensor._rebuild_from_type_v2`, which calls another of these functions.
    FromType,
    /// `torch.Size`, a tuple.
    Size,
    /// A class of storages.
    Storage(Dtype),
    /// The class of untyped storages, which are bytes.
    Untyped,
    /// A type of elements, as in `torch.float32`.
    Dtype(Dtype),
    /// A class of data that contains no weights, by its index in [`OPAQUE`].
    Opaque(u16),
}

/// Classes of data that checkpoints contain beside weights. Their objects are skipped and reported by these names.
const OPAQUE: [(&str, &str); 62] = [
    ("argparse", "Namespace"),
    ("types", "SimpleNamespace"),
    ("easydict", "EasyDict"),
    ("addict.addict", "Dict"),
    ("yacs.config", "CfgNode"),
    ("fvcore.common.config", "CfgNode"),
    ("ml_collections.config_dict.config_dict", "ConfigDict"),
    ("omegaconf.dictconfig", "DictConfig"),
    ("omegaconf.listconfig", "ListConfig"),
    ("omegaconf.base", "ContainerMetadata"),
    ("omegaconf.base", "Metadata"),
    ("omegaconf.nodes", "AnyNode"),
    ("typing", "Any"),
    ("pathlib", "Path"),
    ("pathlib", "PosixPath"),
    ("pathlib", "WindowsPath"),
    ("pathlib", "PurePosixPath"),
    ("pathlib._local", "PosixPath"),
    ("pathlib._local", "WindowsPath"),
    ("datetime", "datetime"),
    ("datetime", "date"),
    ("datetime", "timedelta"),
    ("collections", "Counter"),
    ("collections", "deque"),
    ("_codecs", "encode"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("torch", "device"),
    ("torch", "Tensor"),
    ("torch._tensor", "Tensor"),
    ("torch.nn.parameter", "Parameter"),
    ("torch.nn.parameter", "Buffer"),
    ("torch.storage", "TypedStorage"),
    ("torch.serialization", "_get_layout"),
    ("torch._utils", "_rebuild_sparse_tensor"),
    ("torch._utils", "_rebuild_qtensor"),
    ("torch", "per_tensor_affine"),
    ("torch", "per_channel_affine"),
    ("builtins", "set"),
    ("builtins", "frozenset"),
    ("builtins", "bytearray"),
    ("builtins", "complex"),
    ("builtins", "int"),
    ("builtins", "float"),
    ("builtins", "list"),
    ("builtins", "dict"),
    ("builtins", "str"),
    ("__builtin__", "set"),
    ("__builtin__", "frozenset"),
    ("__builtin__", "bytearray"),
    ("__builtin__", "complex"),
    ("__builtin__", "int"),
    ("__builtin__", "float"),
    ("__builtin__", "list"),
    ("__builtin__", "dict"),
    ("__builtin__", "str"),
];

/// Modules whose functions run programs or access files. Weights do not need such functions.
const DANGEROUS: [&str; 28] = [
    "os",
    "posix",
    "nt",
    "posixpath",
    "ntpath",
    "subprocess",
    "sys",
    "builtins",
    "__builtin__",
    "runpy",
    "importlib",
    "socket",
    "shutil",
    "pty",
    "commands",
    "code",
    "codeop",
    "ctypes",
    "webbrowser",
    "operator",
    "functools",
    "marshal",
    "pickle",
    "pip",
    "timeit",
    "urllib",
    "requests",
    "multiprocessing",
];

/// Advice for a file that tries to run code.
const ATTACK: &str = "weights have no use for that, and Python would run it: do not load this file with torch.load \
    unless you trust its origin; ask for the weights as safetensors";

/// Advice for saving weights alone.
const STATE: &str = "a whole model or checkpoint was saved, which needs the Python code of its classes; save the weights \
    alone, in Python:\n    import torch\n    \
    saved = torch.load(FILE, map_location=\"cpu\", weights_only=False)\n    \
    torch.save(saved.state_dict(), \"weights.pth\")  # of a checkpoint: its entry with the weights\n  \
    this runs code that the file names: do it only with a file whose origin you trust";

/// Advice for quantised weights.
const QUANTIZED: &str = "save weights of f32, f16, bf16 or f64: those of the network before it was quantised";

/// Returns the meaning of a name, or why the name is refused.
pub(super) fn known(module: &str, name: &str) -> Found<Global> {
    let known = match (module, name) {
        ("collections", "OrderedDict" | "defaultdict") => Some(Global::Dict),
        ("torch._utils", "_rebuild_tensor") => Some(Global::Rebuild(1)),
        ("torch._utils", "_rebuild_tensor_v2") => Some(Global::Rebuild(2)),
        ("torch._utils", "_rebuild_tensor_v3") => Some(Global::Rebuild(3)),
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Some(Global::Parameter),
        ("torch._tensor", "_rebuild_from_type_v2" | "_rebuild_from_type") => Some(Global::FromType),
        ("torch", "Size") => Some(Global::Size),
        ("torch" | "torch.storage", "UntypedStorage") => Some(Global::Untyped),
        ("torch" | "torch.cuda", _) => Dtype::of_storage(name)
            .map(Global::Storage)
            .or_else(|| Dtype::named(name).filter(|_| module == "torch").map(Global::Dtype)),
        _ => None,
    };
    let opaque = || OPAQUE.iter().position(|own| *own == (module, name));
    known.or_else(|| opaque().map(|i| Global::Opaque(i as u16))).ok_or_else(|| refused(module, name))
}

/// The name of the class of an opaque value.
pub(crate) fn class(opaque: u16) -> String {
    OPAQUE.get(opaque as usize).map_or_else(String::new, |(module, name)| format!("{module}.{name}"))
}

fn refused(module: &str, name: &str) -> Fault {
    let full = format!("{module}.{name}");
    let first = module.split('.').next().unwrap_or_default();
    if DANGEROUS.contains(&first) {
        return Fault::new(format!("it asks Python to call `{full}`")).advising(ATTACK);
    }
    if module == "torch" && name.starts_with('Q') && name.ends_with("Storage") {
        return Fault::new(format!("it holds quantised weights (`{full}`)")).advising(QUANTIZED);
    }
    Fault::new(format!("it holds an object of Python, `{full}`, which is no data")).advising(STATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_dangerous_or_objects() {
        assert_eq!(known("torch", "HalfStorage").unwrap(), Global::Storage(Dtype::F16));
        assert_eq!(known("torch", "bfloat16").unwrap(), Global::Dtype(Dtype::BF16));
        let Global::Opaque(namespace) = known("argparse", "Namespace").unwrap() else { panic!() };
        assert_eq!(class(namespace), "argparse.Namespace");
        for (module, name) in
            [("builtins", "eval"), ("os.path", "join"), ("posix", "system"), ("nt", "system")]
        {
            let said = known(module, name).unwrap_err().to_string();
            assert!(said.starts_with(&format!("it asks Python to call `{module}.{name}`\n  ")), "{said}");
        }
        for (module, name) in
            [("torch", "load"), ("models.resnet", "ResNet"), ("torch.cuda", "float32"), ("", "")]
        {
            let said = known(module, name).unwrap_err().to_string();
            assert!(
                said.starts_with(&format!("it holds an object of Python, `{module}.{name}`, ")),
                "{said}"
            );
        }
        assert!(known("torch", "QInt8Storage").unwrap_err().to_string().contains("quantised"));
    }
}
