//! Data sets in files that numpy wrote (`tests/golden/make.py`), and in damaged files.

use std::fs;
use std::io::{Seek, SeekFrom, Write};

use super::*;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A data set of an archive.
fn archive(name: &str) -> Npz {
    Npz { path: Some(golden(name)), ..Npz::default() }
}

/// A data set of two arrays.
fn arrays(images: &str, labels: &str) -> Npz {
    Npz { images: Some(golden(images)), labels: Some(golden(labels)), ..Npz::default() }
}

const LABELS: [u32; 4] = [2, 0, 1, 2];

/// Checks that these are the four images of `make.py`, by their definition there.
fn assert_whole(source: &dyn Source, what: &str) {
    assert_eq!(source.len(), 4, "{what}");
    assert_eq!(source.classes(), ["0", "1", "2"], "{what}");
    for (i, wanted) in LABELS.into_iter().enumerate() {
        let (image, label) = source.read(i).unwrap();
        assert_eq!((image.shape, label, source.label(i)), ([3, 2, 5], wanted, Some(wanted)), "{what}");
        let mut bytes = vec![];
        for channel in 0..3 {
            for row in 0..2 {
                bytes.extend((0..5).map(|column| (2 * (((i * 2 + row) * 5 + column) * 3 + channel)) as u8));
            }
        }
        assert_eq!(image.bytes()[..], bytes[..], "{what}, image {i}");
    }
    assert!(source.read(4).is_err() && source.label(4).is_none());
}

/// The error of opening the test split, without the folder.
fn said(data: &Npz) -> String {
    said_of(data, Split::Test)
}

fn said_of(data: &Npz, split: Split) -> String {
    let error = data.open(split).map(|_| ()).unwrap_err().to_string();
    error.replace(golden("").to_str().unwrap(), "")
}

#[test]
fn archives_stored_and_deflated_give_their_images_by_any_usual_name() {
    for name in ["named.npz", "positional.npz", "deflated.npz"] {
        let source = archive(name).open(Split::Test).unwrap();
        assert_whole(&*source, name);
    }
    let origin = archive("deflated.npz").open(Split::Test).unwrap().origin();
    let file = golden("deflated.npz").display().to_string();
    assert_eq!(origin, format!("{file} (x_test), labels: {file} (y_test)"));
    let named =
        Npz { images_key: Some("x_test".into()), labels_key: Some("note".into()), ..archive("deflated.npz") };
    assert_whole(&*named.open(Split::Test).unwrap(), "keys that are given");
}

#[test]
fn arrays_of_every_version_byte_order_layout_and_axis_order_are_the_same_images() {
    let images =
        ["version-2.npy", "version-3.npy", "f4-big.npy", "f8.npy", "fortran.npy", "fortran-bytes.npy"];
    for name in images {
        for labels in ["labels-i4-big.npy", "labels-i1.npy", "labels-u8-big.npy"] {
            assert_whole(&*arrays(name, labels).open(Split::Test).unwrap(), name);
        }
    }
}

/// Two values of the second image lie between multiples of 1/255.
#[test]
fn floats_between_bytes_are_kept_as_they_are() {
    let source = arrays("between.npy", "labels-i1.npy").open(Split::Test).unwrap();
    let [plain, fine] = [arrays("f4-big.npy", "labels-i1.npy").open(Split::Test).unwrap(), source];
    assert!(fine.origin().contains("between.npy, some values between multiples of 1/255, labels: "));
    assert!(!plain.origin().contains("multiples"), "{}", plain.origin());
    for i in 0..4 {
        let (image, _) = fine.read(i).unwrap();
        let mut wanted = plain.read(i).unwrap().0.floats().into_owned();
        if i == 1 {
            let at = 2 * 10 + 3;
            wanted[at..at + 2].copy_from_slice(&[0.123, 0.1235]);
        }
        assert_eq!(image, Image::of_floats([3, 2, 5], wanted));
        assert_eq!(matches!(image.pixels, Pixels::Floats(_)), i == 1);
        // Copies are recognised however the other images of their file are stored.
        assert_eq!(fine.digest(i) == plain.digest(i), i != 1);
    }
    assert!(fine.read(4).is_err());
}

#[test]
fn one_archive_may_serve_both_splits_with_the_same_classes() {
    let data = archive("splits.npz");
    for (split, labels) in [(Split::Train, &[0, 4, 1][..]), (Split::Test, &[2])] {
        let source = data.open(split).unwrap();
        let (first, _) = source.read(0).unwrap();
        // The grey images are the first channel of the golden images.
        let start = if split == Split::Train { 0 } else { 2 * 3 * 30 };
        assert_eq!(first.shape, [1, 2, 5]);
        assert_eq!(first.bytes()[..], (0..10).map(|i| (start + 6 * i) as u8).collect::<Vec<_>>());
        assert_eq!((0..source.len()).map(|i| source.label(i).unwrap()).collect::<Vec<_>>(), labels);
        assert_eq!(source.classes().len(), 5, "the largest label of both splits is 4");
    }
    let two = Npz { train_path: Some(golden("named.npz")), ..archive("deflated.npz") };
    assert_whole(&*two.open(Split::Train).unwrap(), "train_path");
    let two = Npz {
        train_images: Some(golden("f8.npy")),
        train_labels: Some(golden("labels-i1.npy")),
        ..archive("deflated.npz")
    };
    assert_whole(&*two.open(Split::Train).unwrap(), "train_images");
}

#[test]
fn classes_are_named_counted_and_checked() {
    let names = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect());
    let data = Npz { class_names: names(&["a", "b", "c", "d"]), ..archive("named.npz") };
    assert_eq!(data.open(Split::Test).unwrap().classes(), ["a", "b", "c", "d"]);
    let data = Npz { classes: Some(nonzero(5)), ..archive("named.npz") };
    assert_eq!(data.open(Split::Test).unwrap().classes(), ["0", "1", "2", "3", "4"]);
    let few = Npz { classes: Some(nonzero(2)), ..archive("named.npz") };
    assert_eq!(said(&few), "named.npz (labels): image 0 has label 2, but there are 2 classes, from 0 on");
    let both = Npz { class_names: names(&["a", "b"]), ..few };
    let two = Npz { classes: Some(nonzero(3)), ..both };
    assert_eq!(said(&two), "`class_names` has 2 names, but `classes` is 3");
    let many = Npz { classes: Some(nonzero(1 << 21)), ..archive("named.npz") };
    assert_eq!(said(&many), "`classes` is 2097152, expected at most 1048576");
}

#[test]
fn a_split_that_is_not_given_says_which_option_gives_it() {
    let train = "npz has no training images: add `train_path`, a `.npz` archive, or `train_images` and `train_labels`, \
                 two `.npy` files";
    assert_eq!(said_of(&archive("named.npz"), Split::Train), train);
    assert_eq!(said_of(&arrays("f8.npy", "labels-i1.npy"), Split::Train), train);
    assert_eq!(
        said(&Npz::default()),
        "npz has no test images: add `path`, a `.npz` archive, or `images` and `labels`, two `.npy` files"
    );
    let alone = Npz { labels: None, ..arrays("f8.npy", "labels-i1.npy") };
    assert_eq!(said(&alone), "`images` without `labels`: both name a `.npy` file");
    let both = Npz { path: Some(golden("named.npz")), ..alone };
    assert_eq!(
        said(&both),
        "`path` names an archive of images and labels: leave `images` and `labels` out, or `path`"
    );
}

#[test]
fn images_that_are_no_images_say_what_to_do() {
    let of = |images: &str| said(&arrays(images, "labels-i1.npy"));
    assert_eq!(
        of("nan.npy"),
        "nan.npy: at [1, 2, 0, 3] stands NaN, expected a number from 0 to 1 (at byte 340)"
    );
    assert_eq!(
        of("normalised.npy"),
        "normalised.npy: at [1, 2, 0, 3] stands -1.5, expected 0 to 1: divide by 255 if the images go from 0 to 255, or undo \
         their normalisation (images * std + mean) (at byte 340)"
    );
    assert_eq!(
        of("ambiguous.npy"),
        "ambiguous.npy: channels may be the second axis (of 3) or the last one (of 3): say `layout = \"nchw\"` or \
         `layout = \"nhwc\"` (at byte 60)"
    );
    assert!(
        of("alpha.npy").contains("four channels, expected 1 or 3: leave the fourth one (transparency) out")
    );
    assert!(of("flat.npy").contains("images of 30 numbers each: give them their shape"));
    assert!(
        of("int-images.npy")
            .contains("images of type `<i8`, expected bytes (|u1) or floating point from 0 to 1")
    );
    assert!(
        of("labels-i1.npy")
            .contains("an array of shape [4], expected [n, h, w], [n, h, w, c] or [n, c, h, w]")
    );
    assert!(
        of("named.npz").contains("an archive, expected one array (`.npy`): name a `.npz` archive by `path`")
    );
    assert!(said(&archive("f8.npy")).contains("a single array (`.npy`), expected a `.npz` archive"));
    for (layout, shape) in [(Layout::Nhwc, [3, 3, 2]), (Layout::Nchw, [3, 2, 3])] {
        let data = Npz { layout: Some(layout), ..arrays("ambiguous.npy", "labels-i1.npy") };
        assert_eq!(data.open(Split::Test).unwrap().read(0).unwrap().0.shape, shape);
    }
    let wrong = Npz { layout: Some(Layout::Nchw), ..arrays("f8.npy", "labels-i1.npy") };
    assert!(said(&wrong).contains("2 channels on the second axis, which `layout` names; expected 1 or 3"));
}

#[test]
fn labels_that_are_no_labels_say_what_to_do() {
    let of = |labels: &str| said(&arrays("f8.npy", labels));
    assert!(
        of("one-hot.npy")
            .contains("labels of shape [4, 3], expected [n] or [n, 1]; one-hot labels of 3 classes become")
    );
    assert!(of("float-labels.npy").contains("labels of type `<f4`, expected whole numbers"));
    assert_eq!(of("negative.npy"), "negative.npy: at [2] a label of -1, expected 0 or more (at byte 144)");
    assert!(of("huge-label.npy").contains("at [2] a label of 1099511627776, expected less than 1048576"));
    let object = of("object.npy");
    assert!(
        object.contains("an array of Python's objects") && object.contains("nothing of it is run"),
        "{object}"
    );
    let few = said(&Npz { labels_key: Some("y_train".into()), ..archive("splits.npz") });
    assert_eq!(few, "splits.npz: array `y_train`: 3 labels for 1 images (at byte 60)");
}

/// Opens a file as an archive, or as an array of images.
fn open(file: &Path) -> Result<Arc<dyn Source>> {
    let data = match file.extension().is_some_and(|end| end == "npz") {
        true => Npz { path: Some(file.into()), ..Npz::default() },
        false => Npz { images: Some(file.into()), labels: Some(golden("labels-i1.npy")), ..Npz::default() },
    };
    data.open(Split::Test)
}

/// A copy of a golden file, and a handle to change it in place, because rewriting whole files is slow.
fn copy(folder: &Path, name: &str) -> (PathBuf, fs::File, Vec<u8>) {
    let (path, whole) = (folder.join(name), fs::read(golden(name)).unwrap());
    fs::write(&path, &whole).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    (path, file, whole)
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["named.npz", "deflated.npz", "f4-big.npy", "fortran-bytes.npy"] {
        let (path, file, whole) = copy(folder.path(), name);
        assert_whole(&*open(&path).unwrap(), name);
        file.set_len(whole.len() as u64 + 9).unwrap();
        // A ZIP archive may be followed by other bytes, because it contains its own length.
        assert_eq!(open(&path).is_ok(), name.ends_with("npz"), "{name}");
        for length in (0..whole.len()).rev() {
            file.set_len(length as u64).unwrap();
            let error = open(&path).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(name), "{name} cut off after {length} bytes: {error}");
        }
    }
}

#[test]
fn a_flipped_byte_is_an_error_or_changes_nothing_in_an_archive() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["named.npz", "deflated.npz", "f4-big.npy"] {
        let (path, mut file, whole) = copy(folder.path(), name);
        let mut set = |at: usize, byte: u8| {
            file.seek(SeekFrom::Start(at as u64)).unwrap();
            file.write_all(&[byte]).unwrap();
        };
        for (at, byte) in whole.iter().enumerate() {
            for flip in [0x01, 0x20, 0x80] {
                set(at, byte ^ flip);
                match open(&path) {
                    // Times, attributes and the array that is not read may change. A file of one array has no checksum.
                    Ok(source) if name.ends_with("npz") => {
                        assert_whole(&*source, &format!("{name}, {flip:#x} at {at}"));
                    }
                    Ok(source) => assert_eq!(source.len(), 4),
                    Err(error) => assert!(error.to_string().contains(name), "{error}"),
                }
            }
            set(at, *byte);
        }
    }
}

/// A stored archive of one member with this content, whose list claims these sizes.
fn claiming(content: &[u8], method: u16, packed: u32, size: u32) -> Vec<u8> {
    let name = b"x.npy";
    let mut fields = vec![];
    fields.extend([20, 0, 0, 0]);
    fields.extend(method.to_le_bytes());
    fields.extend([0; 8]);
    fields.extend(packed.to_le_bytes());
    fields.extend(size.to_le_bytes());
    fields.extend((name.len() as u16).to_le_bytes());
    fields.extend([0; 2]);
    let mut file = [b"PK\x03\x04", &fields[..], name, content].concat();
    let list = file.len() as u32;
    let entry = [b"PK\x01\x02\x14\x00", &fields[..], &[0; 14], name].concat();
    file.extend(&entry);
    file.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    file.extend((entry.len() as u32).to_le_bytes());
    file.extend(list.to_le_bytes());
    file.extend([0; 2]);
    file
}

#[test]
fn what_is_only_claimed_takes_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let said = |bytes: &[u8], name: &str| {
        fs::write(folder.path().join(name), bytes).unwrap();
        open(&folder.path().join(name)).map(|_| ()).unwrap_err().to_string()
    };
    let header = |shape: &str| {
        let dictionary = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n");
        let length = (dictionary.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\0", &length[..], dictionary.as_bytes()].concat()
    };
    let huge = header("(1000000, 1, 1000, 1000)");
    assert!(
        said(&huge, "x.npy").contains("has more than the 4 GiB that are read"),
        "{}",
        said(&huge, "x.npy")
    );
    let wraps = header("(4294967296, 4294967296, 4, 1)");
    assert!(said(&wraps, "x.npy").contains("has more than the 4 GiB that are read"));
    let large = header("(1000, 1, 1000, 1000)");
    assert!(said(&large, "x.npy").contains("0 bytes of values, expected 1000000000"));
    let empty = header("(0, 1099511627776, 1099511627776, 3)");
    assert!(said(&empty, "x.npy").contains("without any image"), "{}", said(&empty, "x.npy"));
    let named = |file: Vec<u8>| {
        let path = folder.path().join("x.npz");
        fs::write(&path, file).unwrap();
        let data = Npz { path: Some(path), labels_key: Some("x".into()), ..Npz::default() };
        data.open(Split::Test).map(|_| ()).unwrap_err().to_string()
    };
    // 16 MiB of zeros, packed by a factor of a thousand.
    let mut bomb = flate2::write::DeflateEncoder::new(vec![], flate2::Compression::best());
    std::io::Write::write_all(&mut bomb, &vec![0; 1 << 24]).unwrap();
    let bomb = bomb.finish().unwrap();
    let packed = bomb.len() as u32;
    let error = named(claiming(&bomb, 8, packed, 3 << 30));
    assert!(error.contains("packed bytes cannot hold the 3221225472 bytes that it claims"), "{error}");
    let error = named(claiming(&bomb, 8, packed, 1 << 24));
    assert!(error.contains("not NumPy's `.npy` format"), "{error}");
    // The list claims fewer bytes than the member unpacks to.
    let small = header("(1, 1, 2, 2)");
    let error =
        named(claiming(&[&small[..], &[1; 9]].concat(), 0, small.len() as u32 + 4, small.len() as u32 + 4));
    assert!(error.contains("the list says") || error.contains("checksum is wrong"), "{error}");
    let error = named(claiming(&small, 12, small.len() as u32, small.len() as u32));
    assert!(error.contains("compression 12, expected none or deflate"), "{error}");
    let error = named(claiming(&small, 0, u32::MAX - 1, u32::MAX - 1));
    assert!(error.contains("it goes on beyond the end of the file"), "{error}");
}
