//! What files of other formats look like, and what to do with them.

/// How to make a safetensors file of what `PyTorch` saved.
const RESAVE: &str = "\n  save its state dictionary as safetensors, in Python:\n    \
    import torch, safetensors.torch\n    \
    state = torch.load(FILE, map_location=\"cpu\", weights_only=True)\n    \
    safetensors.torch.save_file({k: v.contiguous() for k, v in state.items()}, \"net.safetensors\")";

/// What other files begin with, what they are, and what to do.
const STRANGERS: [(&[u8], &str, &str); 14] = [
    (b"PK\x03\x04", "a ZIP archive, as torch.save writes (.pt, .pth)", RESAVE),
    (b"\x80\x02", "a pickle, as old versions of torch.save write (.pt, .pth, .th)", RESAVE),
    (b"\x80\x03", "a pickle of Python", RESAVE),
    (b"\x80\x04", "a pickle of Python", RESAVE),
    (b"\x80\x05", "a pickle of Python", RESAVE),
    (b"\x08", "perhaps an ONNX graph: its weights must be exported as safetensors", ""),
    (b"\x89HDF", "an HDF5 file, as Keras writes (.h5)", ""),
    (b"\x93NUMPY", "a NumPy array (.npy)", ""),
    (b"GGUF", "a GGUF file", ""),
    (b"version https://git-lfs", "a pointer of Git LFS: fetch the file itself with `git lfs pull`", ""),
    (b"<", "a page of HTML or XML: perhaps a download that failed", ""),
    (b"{", "JSON text", ""),
    (b"\x1f\x8b", "a gzip file: unpack it first", ""),
    (b"\x89PNG", "a PNG image", ""),
];

/// What a file that begins with these bytes looks like, and what to do with it.
pub(super) fn looks_like(start: &[u8]) -> Option<(&'static str, &'static str)> {
    STRANGERS.iter().find(|(known, ..)| start.starts_with(known)).map(|(_, is, help)| (*is, *help))
}
