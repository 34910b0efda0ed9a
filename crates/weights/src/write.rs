//! A state dictionary in the format of `torch.save` since version 1.6: a ZIP archive of a pickle and of each tensor's
//! numbers.

use std::io::{self, Cursor, Write};

use ::zip::write::SimpleFileOptions;
use ::zip::{CompressionMethod, ZipWriter};

/// The folder within the archive.
const FOLDER: &str = "weights";

/// A tensor of f32: name, shape and little-endian numbers.
pub type SavedTensor = (String, Vec<usize>, Vec<u8>);

/// Returns the bytes of a file of these tensors that `torch.load` reads, also with `weights_only`.
pub fn torch_file(tensors: &[SavedTensor]) -> io::Result<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(vec![]));
    // Torch maps tensors from the file into memory, which compression would prevent.
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
    let mut add = |name: &str, content: &[u8]| {
        archive.start_file(format!("{FOLDER}/{name}"), stored)?;
        archive.write_all(content)
    };
    add("data.pkl", &pickle(tensors))?;
    add("byteorder", b"little")?;
    for (i, (_, _, numbers)) in tensors.iter().enumerate() {
        add(&format!("data/{i}"), numbers)?;
    }
    add("version", b"3\n")?;
    Ok(archive.finish()?.into_inner())
}

/// Returns the dictionary as a pickle of protocol 2. Persistent identifiers refer to the numbers of tensors.
fn pickle(tensors: &[SavedTensor]) -> Vec<u8> {
    let mut to = b"\x80\x02}(".to_vec();
    for (i, (name, shape, numbers)) in tensors.iter().enumerate() {
        text(name, &mut to);
        to.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text("storage", &mut to);
        to.extend(b"ctorch\nFloatStorage\n");
        text(&i.to_string(), &mut to);
        text("cpu", &mut to);
        integer(numbers.len() / size_of::<f32>(), &mut to);
        // The tuple that names the storage; then the offset in it, shape, strides, no gradient, no hooks.
        to.extend(b"tQ");
        integer(0, &mut to);
        let strides = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product());
        for lengths in [shape.clone(), strides.collect()] {
            to.push(b'(');
            for length in lengths {
                integer(length, &mut to);
            }
            to.push(b't');
        }
        to.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    to.extend(b"u.");
    to
}

fn text(text: &str, to: &mut Vec<u8>) {
    to.push(b'X');
    to.extend((text.len() as u32).to_le_bytes());
    to.extend(text.as_bytes());
}

/// Writes a number in 32 bits if they suffice, else as a long of nine bytes, whose last byte
/// keeps the number positive.
fn integer(number: usize, to: &mut Vec<u8>) {
    if let Ok(number) = i32::try_from(number) {
        to.push(b'J');
        to.extend(number.to_le_bytes());
    } else {
        to.extend(b"\x8a\x09");
        to.extend((number as u64).to_le_bytes());
        to.push(0);
    }
}
