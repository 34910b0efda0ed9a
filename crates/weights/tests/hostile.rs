//! Files that are damaged, lie, or are of other formats: an error that says so, within little time and memory.

#[allow(dead_code, unreachable_pub)]
#[path = "../../../fuzz/src/kept.rs"]
mod kept;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use temper_weights::{File, Result, read};

/// An archive of entries that are stored as they are.
fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut all, mut list) = (vec![], vec![]);
    for (name, content) in entries {
        let (at, size, length) = (all.len() as u32, content.len() as u32, name.len() as u16);
        let sizes = [size.to_le_bytes(), size.to_le_bytes()].concat();
        let lengths = [length.to_le_bytes(), [0; 2]].concat();
        all.extend([&b"PK\x03\x04"[..], &[0; 14], &sizes, &lengths, name.as_bytes(), content].concat());
        list.extend(
            [&b"PK\x01\x02"[..], &[0; 16], &sizes, &lengths, &[0; 10], &at.to_le_bytes(), name.as_bytes()]
                .concat(),
        );
    }
    let (at, size, count) = (all.len() as u32, list.len() as u32, (entries.len() as u16).to_le_bytes());
    let end = [&b"PK\x05\x06"[..], &[0; 4], &count, &count, &size.to_le_bytes(), &at.to_le_bytes(), &[0; 2]]
        .concat();
    [all, list, end].concat()
}

/// A pickle of `{"w": tensor}`: of shape and strides that are pickled so, over a storage of this many elements.
fn pickle(elements: u64, shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let count = [&b"\x8a\x09"[..], &elements.to_le_bytes(), b"\0"].concat();
    let count = if elements < 1 << 63 { [&b"\x8a\x08"[..], &elements.to_le_bytes()].concat() } else { count };
    let tensor = [
        &b"ctorch._utils\n_rebuild_tensor_v2\n((\x8c\x07storagectorch\nFloatStorage\n\x8c\x010\x8c\x03cpu"[..],
        &count,
        b"tQK\0",
        shape,
        strides,
        b"\x89NtR",
    ];
    [&b"\x80\x02}\x8c\x01w"[..], &tensor.concat(), b"s."].concat()
}

fn archive(pickle: &[u8], numbers: &[u8]) -> Vec<u8> {
    zip(&[("net/data.pkl", pickle), ("net/data/0", numbers)])
}

fn opened(bytes: &[u8]) -> Result<File> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.pth");
    fs::write(&path, bytes).unwrap();
    let file = read(&path)?;
    for tensor in file.tensors.values() {
        file.bytes(tensor)?;
    }
    Ok(file)
}

/// The error, without the path before it.
fn said(bytes: &[u8]) -> String {
    let error = opened(bytes).unwrap_err().to_string();
    error.split_once("net.pth: ").unwrap_or_else(|| panic!("{error}")).1.into()
}

#[test]
fn archives_that_lie() {
    let good = pickle(2, b"K\x02\x85", b"K\x01\x85");
    assert_eq!(opened(&archive(&good, &[0; 8])).unwrap().tensors["w"].shape, [2]);
    let told = "a storage of 4 bytes, 8 were expected (in its entry `net/data/0`)\n  the file is damaged";
    assert!(said(&archive(&good, &[0; 4])).starts_with(told), "{}", said(&archive(&good, &[0; 4])));
    assert!(said(&zip(&[("net/data.pkl", &good)])).starts_with("its storage `net/data/0` is missing\n"));
    for (elements, shape, strides) in [
        (2, &b"K\x03\x85"[..], &b"K\x01\x85"[..]),
        (2, b"\x8a\x07\0\0\0\0\0\0\x01\x85", b"K\x01\x85"),
        (2, b"K\x02\x85", b"\x8a\x07\0\0\0\0\0\0\x01\x85"),
        (2, b"K\x02\x85", b")"),
        (2, b"J\xff\xff\xff\xff\x85", b"K\x01\x85"),
        (2, b"N\x85", b"K\x01\x85"),
    ] {
        let said = said(&archive(&pickle(elements, shape, strides), &[0; 8]));
        assert!(said.starts_with("`w`: a ") && said.ends_with(" (in its entry `net/data.pkl`)"), "{said}");
    }
    for elements in [1 << 61, 1 << 62, u64::MAX] {
        let said = said(&archive(&pickle(elements, b"K\x02\x85", b"K\x01\x85"), &[0; 8]));
        assert!(
            said.contains("expected") || said.contains("cannot be") || said.contains("torch names them"),
            "{said}"
        );
    }
    let repeated = pickle(2, b"\x8a\x06\0\0\0\0\0\x01\x85", b"K\0\x85");
    assert!(
        said(&archive(&repeated, &[0; 8]))
            .starts_with("its tensors repeat its numbers: they take 4398046511104 bytes")
    );
    let order = zip(&[("net/data.pkl", &good), ("net/data/0", &[0; 8]), ("net/byteorder", b"middle")]);
    assert!(said(&order).starts_with("an order of bytes that is not known"), "{}", said(&order));
}

#[test]
fn archives_that_are_damaged() {
    let whole = archive(&pickle(2, b"K\x02\x85", b"K\x01\x85"), &[0; 8]);
    let end = whole.len() - 22;
    let list = end - (46 + 12) - (46 + 10);
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        said(&changed)
    };
    for (at, bytes, told) in [
        (end, &b"XX"[..], "a ZIP archive without its end, cut off after "),
        (end + 12, &[0, 0, 0, 2], "a ZIP archive that is damaged: a list of entries of 33554432 bytes"),
        (end + 12, &[0xff; 4], "a ZIP archive that is damaged: its end names no list"),
        (end + 12, &[1, 0], "a ZIP archive that is damaged: its list of entries is not one"),
        (
            end + 16,
            &[0xff, 0xff, 0xff, 0x7f],
            "114 bytes are promised from byte 2147483647 on, the file has ",
        ),
        (list + 8, &[1], "an encrypted ZIP archive (in its entry `net/data.pkl`)"),
        (
            list + 10,
            &[8],
            "a compressed entry of a ZIP archive (in its entry `net/data.pkl`)\n  torch.save writes",
        ),
        (list + 20, &[1], "a ZIP archive that is damaged: its list of entries is not one"),
        (list + 28, &[0xff; 2], "a ZIP archive that is damaged: its list of entries is not one"),
        (list + 42, &[1], "a ZIP archive whose list of entries does not fit its entries (in its entry"),
        (list + 42, &[0xff, 0xff, 0xff, 0x7f], "30 bytes are promised from byte 2147483647 on"),
        (26, &[0xff, 0xff], "an entry of a ZIP archive that goes on beyond the end of the file"),
    ] {
        let said = with(at, bytes);
        assert!(said.starts_with(told), "{told}: {said}");
    }
    assert!(
        said(&zip(&[]))
            .starts_with("a ZIP archive that torch.save did not write: it has no `data.pkl`, but nothing")
    );
}

/// Archives of more than 4 GiB have longer fields; small ones may have them, too.
#[test]
fn long_fields_are_read() {
    let pickle = pickle(2, b"K\x02\x85", b"K\x01\x85");
    let whole = archive(&pickle, &[0; 8]);
    let (end, first) = (whole.len() - 22, 30 + 12 + pickle.len());
    let list = end - (46 + 12) - (46 + 10);
    // The second entry's sizes and place move into the field of ZIP64, and the list's into the record of ZIP64.
    let second = list + 46 + 12;
    let mut long = whole[second..end].to_vec();
    long[20..28].fill(0xff);
    long[42..46].fill(0xff);
    long[30..32].copy_from_slice(&28u16.to_le_bytes());
    let numbers = [8u64, 8, first as u64].map(u64::to_le_bytes).concat();
    let extra = [&[1, 0, 24, 0][..], &numbers].concat();
    let list_now = [&whole[list..second], &long, &extra].concat();
    let numbers = [2, 2, list_now.len() as u64, list as u64].map(u64::to_le_bytes).concat();
    let record = [&b"PK\x06\x06"[..], &44u64.to_le_bytes(), &[0; 12], &numbers].concat();
    let place = (list + list_now.len()) as u64;
    let locator = [&b"PK\x06\x07"[..], &[0; 4], &place.to_le_bytes(), &[0; 4]].concat();
    let last = [&b"PK\x05\x06"[..], &[0; 4], &[0xff; 12], &[0; 2]].concat();
    let whole = [&whole[..list], &list_now, &record, &locator, &last].concat();
    assert_eq!(opened(&whole).unwrap().tensors["w"].shape, [2]);
}

#[test]
fn old_streams_that_lie() {
    let whole = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/nested.pth")).unwrap();
    // Before the last two numbers of four bytes stands that there are two.
    let count = whole.len() - 16;
    let with = |bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[count..count + bytes.len()].copy_from_slice(bytes);
        said(&changed)
    };
    assert!(with(&[3]).ends_with("the file is damaged or was not copied whole: download or copy it again"));
    assert!(with(&[0xff; 8]).contains("has 18446744073709551615 elements, 8 bytes were expected (at byte "));
    assert!(
        said(&whole[..whole.len() - 1]).contains("of 8 bytes goes on beyond the end of the file (at byte ")
    );
    assert!(said(&whole[..count]).contains("8 bytes are promised from byte "));
    assert!(said(&whole[..count - 30]).contains("a pickle that ends in the middle, after "));
}

#[test]
fn old_streams_list_each_storage_once() {
    let object = pickle(2, b"K\x02\x85", b"K\x01\x85");
    let stream = |keys: &[u8], numbers: &[u8]| {
        let start = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.";
        [&start[..], &object, b"\x80\x02](", keys, b"e.", numbers].concat()
    };
    let numbers = [2, 0, 0, 0, 0, 0, 0, 0].repeat(4);
    assert_eq!(opened(&stream(b"\x8c\x010", &numbers)).unwrap().tensors["w"].shape, [2]);
    let said = |keys: &[u8]| said(&stream(keys, &numbers));
    assert!(said(b"\x8c\x010\x8c\x010").starts_with("its storage `0` is listed twice (at byte "));
    assert!(said(b"\x8c\x011").starts_with("a storage `1` of which the object does not speak (at byte "));
    assert!(said(b"N").starts_with("a storage without a name (at byte "));
    assert!(said(b"").starts_with("its storage `0` is missing\n"));
}

#[test]
fn other_files_are_named() {
    for (bytes, told) in [
        (&b""[..], "it is empty, expected a file of weights\n"),
        (b"PK\x03\x04....", "a ZIP archive without its end, cut off after 8 bytes\n  the file is damaged"),
        (
            b"\x80\x02}q\0.",
            "no file of weights, it is a pickle of Python that torch.save did not write\n  save it",
        ),
        (
            b"\x80\x04N.",
            "no file of weights, it is a pickle of Python that torch.save did not write\n  save it",
        ),
        (b"\x89HDF\r\n", "no file of weights, it is an HDF5 file, as Keras writes (.h5)\n"),
        (b"\x08\x07\x12\x07pytorch", "no file of weights, it is an ONNX graph, by its first byte\n"),
        (b"\x08\x01\x12\x83", "no file of weights, it is a saved model of TensorFlow (.pb)\n"),
        (
            b"index\x57\xfb\x80\x8b\x24\x75\x47\xdb",
            "no file of weights, it is the index of a checkpoint of TensorFlow\n",
        ),
        (b"\x93NUMPY", "no file of weights, it is a NumPy array (.npy)\n"),
        (b"\n <!DOCTYPE html>", "no file of weights, it is a page of HTML or XML\n"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "no file of weights, it is a pointer of Git LFS, not the",
        ),
        (b"\x1f\x8b\x08", "no file of weights, it is a gzip file\n"),
        (b"{\"a\": 1}", "JSON text that is no list of tensors: missing field `weight_map`"),
        (b"{\"a\": ", "JSON text that is no list of tensors: EOF while parsing"),
        (b"\x05\0\0\0\0\0\0\0{}...", "damaged safetensors: "),
        (
            b"what is this?",
            "neither safetensors nor a file of torch.save: its first bytes promise a header of ",
        ),
        (b"no", "neither safetensors nor a file of torch.save: 2 bytes in all"),
    ] {
        assert!(said(bytes).starts_with(told), "{told}: {}", said(bytes));
    }
    let mut tar = [b'x'; 512];
    tar[257..262].copy_from_slice(b"ustar");
    assert!(said(&tar).starts_with("no file of weights, it is a tar archive\n"), "{}", said(&tar));
    for (name, told) in [
        ("arr_0.npy", "no file of torch.save, it is arrays of NumPy (.npz)\n"),
        ("model.weights.h5", "no file of torch.save, it is a model of Keras\n"),
        (
            "net/code/net.py",
            "a ZIP archive that torch.save did not write: it has no `data.pkl`, but `net/code/net.py`\n",
        ),
        ("weights.pth", "no file of torch.save, it is an archive with a file of weights in it\n"),
    ] {
        let said = said(&zip(&[(name, b"")]));
        assert!(said.starts_with(told), "{said}");
    }
    let error = read(Path::new("/none")).unwrap_err().to_string();
    assert!(error.starts_with("cannot read /none: "), "{error}");
    #[cfg(unix)]
    assert_eq!(
        read(Path::new("/dev/zero")).unwrap_err().to_string(),
        "/dev/zero: a pipe or a device, expected a file of weights"
    );
    assert!(read(Path::new("/")).unwrap_err().to_string().starts_with("cannot read /: "));
}

#[test]
fn an_index_names_files_beside_it_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors.index.json");
    let said = |shard: &str| {
        fs::write(&path, format!(r#"{{"weight_map": {{"a": {shard}}}}}"#)).unwrap();
        let error = read(&path).unwrap_err().to_string();
        error.replace(folder.path().to_str().unwrap(), "DIR")
    };
    let it = "DIR/net.safetensors.index.json: it names ";
    for outside in ["../a", "/etc/passwd", "a/b", "..", ""] {
        assert_eq!(said(&format!("\"{outside}\"")), format!("{it}`{outside}`, which is no file beside it"));
    }
    let told = format!(
        "{it}`one.safetensors`, which is not beside it\n  download all files that it names into one folder"
    );
    assert_eq!(said("\"one.safetensors\""), told);
    fs::write(folder.path().join("one.safetensors"), b"\x02\0\0\0\0\0\0\0{}").unwrap();
    assert!(
        said("\"one.safetensors\"").contains("it says that `one.safetensors` holds `a`, which it does not\n")
    );
    fs::write(folder.path().join("one.safetensors"), b"\x02\0\0\0").unwrap();
    assert!(
        said("\"one.safetensors\"").starts_with("DIR/one.safetensors: damaged safetensors: "),
        "{}",
        said("\"one.safetensors\"")
    );
    assert!(said("[1]").contains("JSON text that is no list of tensors: "));
}

/// Whatever becomes of a file's bytes: an error or tensors, never a panic.
#[test]
fn no_damage_panics() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.pth");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let survives = |bytes: &[u8], what: &str| {
        fs::write(&path, bytes).unwrap();
        let reads = || {
            let Ok(mut file) = read(&path) else { return };
            file.unwrap_names();
            for tensor in file.tensors.values() {
                let _ = file.bytes(tensor);
            }
        };
        assert!(catch_unwind(reads).is_ok(), "{what}");
    };
    for name in ["legacy.pth", "wrapped.pth", "nested.pth", "protocol-5.pth", "model.safetensors.index.json"]
    {
        let whole = fs::read(golden.join(name)).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            match at % 4 {
                0 => changed.truncate(at),
                bits => changed[at] ^= [0, 0x01, 0x80, 0xff][bits],
            }
            survives(&changed, &format!("{name}, damaged at byte {at}"));
        }
    }
}

/// Each takes another way through the reader. `fuzz/README.md` says where they come from.
#[test]
fn inputs_that_fuzzing_kept_are_an_error_or_weights() {
    kept::each(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kept/pth"), |input| drop(opened(input)));
    kept::each(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kept/safetensors"), |input| {
        let Some([index, first, second]) = kept::files(input) else { return };
        if index.is_empty() {
            return drop(opened(second));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors.index.json");
        fs::write(&path, index).unwrap();
        fs::write(folder.path().join("model-00001-of-00002.safetensors"), first).unwrap();
        fs::write(folder.path().join("model-00002-of-00002.safetensors"), second).unwrap();
        let Ok(file) = read(&path) else { return };
        for tensor in file.tensors.values() {
            file.bytes(tensor).unwrap();
        }
    });
}
