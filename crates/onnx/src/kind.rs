//! Identifies files of other formats by their first bytes.

/// Describes a file that is known not to be ONNX; `None` for any other file.
pub(crate) fn other(bytes: &[u8]) -> Option<String> {
    let begins = |start: &[u8]| bytes.starts_with(start);
    let fifth = |name: &[u8]| bytes.get(4..8) == Some(name);
    let what = if bytes.is_empty() {
        "it is empty"
    } else if begins(b"PK\x03\x04") {
        "it is a ZIP archive, as PyTorch's files are; export the network with torch.onnx.export"
    } else if begins(b"\x80\x02") || begins(b"\x80\x03") || begins(b"\x80\x04") {
        "it is a pickle, as old files of PyTorch are; export the network with torch.onnx.export"
    } else if begins(b"\x89HDF") {
        "it is an HDF5 file, as Keras writes; convert the network with tf2onnx"
    } else if fifth(b"TFL3") {
        "it is a file of TensorFlow Lite; convert the network with tf2onnx"
    } else if fifth(b"ORTM") {
        "it is in the format of ONNX Runtime; use the ONNX file that it was made of"
    } else if begins(b"\x1f\x8b") {
        "it is compressed by gzip; unpack it first"
    } else if bytes.get(8) == Some(&b'{') && bytes.get(5..8) == Some(&[0; 3]) {
        "it is a safetensors file, which has weights but no graph"
    } else if begins(b"version https://git-lfs") {
        "it is a pointer of Git LFS; fetch the file itself with `git lfs pull`"
    } else if begins(b"{") || begins(b"<") || begins(b"#") {
        "it is a text"
    } else {
        return None;
    };
    Some(what.into())
}
