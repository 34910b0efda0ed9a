//! The format of `torch.save` since version 1.6: a ZIP archive with a pickle, `NAME/data.pkl`, and a file of numbers
//! for each storage, `NAME/data/KEY`.

use std::collections::HashMap;

use crate::error::{Fault, Result};
use crate::format::{Format, Read};
use crate::pickle;
use crate::source::{AGAIN, Source};
use crate::state::State;
use crate::zip::{self, Entry};

/// Maximum number of bytes read from the entry that states the byte order of numbers.
const ORDER: u64 = 16;

/// Archives that `torch.save` did not write: the end of an entry's name, what the archive is, and advice.
const STRANGERS: [(&str, &str, &str); 7] = [
    (
        "constants.pkl",
        "a TorchScript archive, which holds a program",
        "save its weights alone, in Python:\n    import torch\n    \
         torch.save(torch.jit.load(FILE, map_location=\"cpu\").state_dict(), \"weights.pth\")",
    ),
    (
        "archive_format",
        "an archive of torch.export, which holds a program",
        "save the model's state dictionary: torch.save(model.state_dict(), \"weights.pth\")",
    ),
    (
        "model.weights.h5",
        "a model of Keras",
        "its weights must be brought to PyTorch's names and shapes, in Python",
    ),
    (
        ".npy",
        "arrays of NumPy (.npz)",
        "save them as safetensors, in Python: safetensors.numpy.save_file(dict(arrays), FILE)",
    ),
    ("[Content_Types].xml", "an Office document", "name the file of weights that was meant"),
    (".pth", "an archive with a file of weights in it", "unpack it, and name that file"),
    (".pt", "an archive with a file of weights in it", "unpack it, and name that file"),
];

/// A ZIP archive of `torch.save`.
pub(crate) const FORMAT: Format = Format {
    begins: |start| start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06"),
    read: |source| {
        let State { tensors, told } = read(&source)?;
        Ok(Read { tensors, sources: vec![source], told, ..Read::default() })
    },
    says: false,
};

/// Reads the weights of such an archive.
fn read(source: &Source) -> Result<State> {
    let entries = zip::entries(source)?;
    let pickled =
        entries.iter().find(|entry| entry.name.split_once('/').is_some_and(|(_, name)| name == "data.pkl"));
    let script = |entry: &&Entry| entry.name.ends_with("/constants.pkl") || entry.name.contains("/code/");
    let (Some(pickled), None) = (pickled, entries.iter().find(script)) else {
        return Err(source.malformed(stranger(&entries)));
    };
    if pickled.size > pickle::LONGEST {
        let what = format!("a pickle of {} bytes, far more than weights need", pickled.size);
        return Err(source.malformed(Fault::new(what).within(&pickled.name)));
    }
    let root = pickled.name.trim_end_matches("data.pkl");
    let all: HashMap<&str, &Entry> = entries.iter().map(|entry| (entry.name.as_str(), entry)).collect();
    let big = big_endian(source, all.get(format!("{root}byteorder").as_str()).copied())?;
    let bytes = source.read(pickled.content(source)?, pickled.size)?;
    let object = pickle::parse(&bytes, 0).map_err(|fault| source.malformed(fault.within(&pickled.name)))?;
    let mut state = State::of(&object, source, Some(&pickled.name), |storage| {
        let name = format!("{root}data/{}", object.text(storage.key));
        let Some(entry) = all.get(name.as_str()) else {
            let what = format!("its storage `{name}` is missing");
            return Err(source.malformed(Fault::new(what).advising(AGAIN)));
        };
        if entry.size != storage.bytes {
            let what = format!("a storage of {} bytes, {} were expected", entry.size, storage.bytes);
            return Err(source.malformed(Fault::new(what).within(&name).advising(AGAIN)));
        }
        entry.content(source)
    })?;
    state.tensors.values_mut().for_each(|tensor| tensor.big = big);
    Ok(state)
}

/// Whether the archive states that numbers are big-endian. Old archives do not state a byte order.
fn big_endian(source: &Source, order: Option<&Entry>) -> Result<bool> {
    let Some(entry) = order else { return Ok(false) };
    let order = source.read(entry.content(source)?, entry.size.min(ORDER))?;
    match &*order {
        b"little" => Ok(false),
        b"big" => Ok(true),
        _ => {
            let what = "an order of bytes that is not known, expected `little` or `big`";
            Err(source.malformed(Fault::new(what).within(&entry.name)))
        }
    }
}

/// Describes an archive without the pickle of `torch.save`.
fn stranger(entries: &[Entry]) -> Fault {
    let known = STRANGERS.iter().find(|(end, ..)| entries.iter().any(|entry| entry.name.ends_with(end)));
    if let Some((_, is, help)) = known {
        return Fault::new(format!("no file of torch.save, it is {is}")).advising(help);
    }
    let names: Vec<String> = entries.iter().take(3).map(|entry| format!("`{}`", entry.name)).collect();
    let within = if names.is_empty() { "nothing".into() } else { names.join(", ") };
    let what = format!("a ZIP archive that torch.save did not write: it has no `data.pkl`, but {within}");
    Fault::new(what).advising("expected safetensors, or what torch.save writes (.pth, .pt)")
}
