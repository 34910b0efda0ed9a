use std::fs;
use std::path::Path;

use super::*;

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/{name}.pickle"))).unwrap()
}

/// A batch of CIFAR-10, or the error.
fn batch(bytes: Vec<u8>) -> Result<BatchFile, String> {
    part(bytes, "labels", 10).map_err(|Fault { at, what }| format!("{what} @{at}"))
}

/// Replaces the only occurrence of some bytes in a fixture.
fn twisted(name: &str, from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = fixture(name);
    let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
    bytes.splice(at..at + from.len(), to.iter().copied());
    bytes
}

/// The error for a fixture of Python 2 with one change.
fn fault(from: &[u8], to: &[u8]) -> String {
    batch(twisted("py2-batch", from, to)).unwrap_err()
}

fn is_sound(part: &BatchFile, labels: &[u8]) {
    assert_eq!(part.labels, labels);
    for i in 0..3 {
        let expected: Vec<u8> = (0..PIXELS).map(|j| (97 * i + 7 * j) as u8).collect();
        assert!(part.bytes[part.offset + i * part.stride..][..PIXELS] == expected);
    }
}

#[test]
fn every_python_gives_the_same_images() {
    for name in
        ["py2-batch", "bytes-2", "bytes-3", "bytes-4", "bytes-5", "text-2", "text-3", "text-4", "text-5"]
    {
        is_sound(&batch(fixture(name)).unwrap_or_else(|e| panic!("{name}: {e}")), &[6, 9, 0]);
    }
    is_sound(&part(fixture("py2-batch100"), "fine_labels", 100).unwrap(), &[19, 99, 0]);
    // Numpy before version 2 had no underscore there.
    for (name, length) in [("bytes-4", 20), ("bytes-5", 18)] {
        let module: &[u8] = if length == 20 { b"numpy.core.multiarray" } else { b"numpy.core.numeric" };
        let newer = [b"\x8c", &[module.len() as u8 + 1][..], b"numpy._core.", &module[11..]].concat();
        let bytes = twisted(name, &newer, &[b"\x8c", &[module.len() as u8][..], module].concat());
        // The frame is one byte shorter now.
        let frame = u64::from_le_bytes(bytes[3..11].try_into().unwrap()) - 1;
        is_sound(&batch([&bytes[..3], &frame.to_le_bytes(), &bytes[11..]].concat()).unwrap(), &[6, 9, 0]);
    }
}

#[test]
fn class_names_of_every_python() {
    for name in ["py2-meta", "bytes-meta-2", "text-meta-5"] {
        let names = names(&fixture(name), "label_names", 10).unwrap();
        assert_eq!((&*names[0], &*names[9]), ("airplane", "truck"), "{name}");
    }
    assert_eq!(names(&fixture("py2-meta100"), "fine_label_names", 100).unwrap()[7], "fine 7");

    let fault = |bytes: &[u8], classes| names(bytes, "label_names", classes).unwrap_err().what;
    assert_eq!(fault(&fixture("py2-meta"), 100), "10 class names, expected 100");
    assert_eq!(fault(&fixture("py2-meta100"), 10), "the dictionary has no key `label_names`");
    let odd = "an entry of `label_names` is no text of 1 to 200 bytes";
    assert_eq!(fault(&twisted("py2-meta", b"U\x08airplane", b"K\x08"), 10), odd);
    assert_eq!(fault(&twisted("py2-meta", b"U\x08airplane", b"U\x00"), 10), odd);
    let long = [b"X\x00\x10\x00\x00", &b"a".repeat(4096)[..]].concat();
    assert_eq!(fault(&twisted("py2-meta", b"U\x08airplane", &long), 10), odd);
}

#[test]
fn an_array_of_anything_else_is_refused() {
    for (name, what) in [
        ("fortran", "`data` is stored by columns (Fortran's order), expected by rows (C's) @"),
        ("fortran-5", "`data` is stored by columns (Fortran's order), expected by rows (C's) @"),
        ("float", "`data` is of numpy's type `f4`, expected `u1` (bytes) @"),
    ] {
        let said = batch(fixture(name)).unwrap_err();
        assert!(said.starts_with(what), "{said}");
    }
    for (from, to, what) in [
        (
            &b"K\x03M\x00\x0c\x86"[..],
            &b"K\x04M\x00\x0c\x86"[..],
            "`data` has shape [4, 3072], but holds 9216 bytes @76",
        ),
        (
            b"K\x03M\x00\x0c\x86",
            b"K\x03M\x01\x0c\x86",
            "`data` has shape [3, 3073], expected [n, 3072] with n of at least 1 @76",
        ),
        (
            b"K\x03M\x00\x0c\x86",
            b"K\x00M\x00\x0c\x86",
            "`data` has shape [0, 3072], expected [n, 3072] with n of at least 1 @76",
        ),
        (
            b"K\x03M\x00\x0c\x86",
            b"(K\x01K\x02K\x03K\x04Nt",
            "`data` has shape [1, 2, 3, 4, ...], expected [n, 3072] with n of at least 1 @76",
        ),
        (
            b"K\x03M\x00\x0c\x86",
            b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fM\x00\x0c\x86",
            "`data` has shape [9223372036854775807, 3072], but holds 9216 bytes @76",
        ),
        (b"U\x02u1", b"U\x02i8", "`data` is of numpy's type `i8`, expected `u1` (bytes) @76"),
        (b"U\x02u1", b"U\x03\x1b[1", "`data` is of numpy's type `\\u{1b}[1`, expected `u1` (bytes) @76"),
    ] {
        assert_eq!(fault(from, to), what);
    }
    for odd in ["\u{100}\u{15}".as_bytes(), b"\xff\xff\x15"] {
        let said = batch(twisted("bytes-2", b"\x07\x0e\x15", odd)).unwrap_err();
        assert!(said.starts_with("`data` is a text that does not stand for bytes @"), "{said}");
    }
}

#[test]
fn labels_must_be_as_many_and_in_range() {
    let labels = fixture("py2-batch").windows(6).position(|w| w == b"K\x06K\x09K\x00").unwrap();
    for (to, what) in [
        (&b"K\x06K\x0aK\x00"[..], format!("label 10 of image 1, expected 0 to 9 @{}", labels + 2)),
        (b"K\x06J\xff\xff\xff\xffK\x00", format!("label -1 of image 1, expected 0 to 9 @{}", labels + 2)),
        (b"K\x06M\x00\x01K\x00", format!("label 256 of image 1, expected 0 to 9 @{}", labels + 2)),
        (b"K\x06K\x09N", format!("label (no whole number) of image 2, expected 0 to 9 @{}", labels + 4)),
        (b"K\x06K\x09", format!("2 labels under `labels` for 3 images @{}", labels - 4)),
    ] {
        assert_eq!(fault(b"K\x06K\x09K\x00", to), what);
    }
    assert_eq!(fault(b"U\x06labels", b"U\x06labelz"), "the dictionary has no key `labels` @2");
    assert_eq!(fault(b"U\x04data", b"U\x04dato"), "the dictionary has no key `data` @2");
    assert_eq!(batch(b"\x80\x02].".to_vec()).unwrap_err(), "the pickle holds no dictionary @2");
    let no_list = b"\x80\x02}U\x06labelsNs.".to_vec();
    assert_eq!(batch(no_list.clone()).unwrap_err(), "the dictionary has no key `data` @2");
    assert_eq!(names(&no_list, "labels", 10).unwrap_err().what, "`labels` is no list");
}

#[test]
fn nothing_is_run() {
    let evil = batch(fixture("evil")).unwrap_err();
    let refused =
        "opcode STACK_GLOBAL (0x93): global `posix.system` is refused, only arrays of numpy are read @";
    assert!(evil.starts_with(refused), "{evil}");
}

/// Reading a file that is truncated or changed anywhere ends with images or with an error.
#[test]
fn no_damage_panics() {
    for name in
        ["py2-batch", "bytes-2", "text-4", "bytes-5", "py2-meta", "bytes-meta-2", "text-meta-5", "evil"]
    {
        let whole = fixture(name);
        // The pixels are most of the file; only the bytes around them are changed.
        let interesting = |at: usize| at < 400 || at + 300 > whole.len() || at.is_multiple_of(509);
        for at in (0..whole.len()).filter(|at| interesting(*at)) {
            assert!(batch(whole[..at].to_vec()).is_err(), "{name} cut to {at}");
            assert!(names(&whole[..at], "label_names", 10).is_err(), "{name} cut to {at}");
            let mut edited = whole.clone();
            for value in (0..=255).step_by(if at < 200 { 7 } else { 29 }) {
                edited[at] = value;
                let _ = batch(edited.clone());
                let _ = names(&edited, "label_names", 10);
            }
        }
    }
}

/// Supported opcodes in random order, applied to each other's values.
#[test]
fn no_order_of_opcodes_panics() {
    let pieces: [&[u8]; 40] = [
        b"(",
        b"N",
        b"\x88",
        b"K\x03",
        b"M\x00\x0c",
        b"J\xff\xff\xff\xff",
        b"\x8a\x00",
        b"\x8a\x02\xff\xff",
        b"U\x02u1",
        b"C\x01b",
        b"\x8c\x06latin1",
        b"\x8c\x01C",
        b"X\x01\x00\x00\x00b",
        b"]",
        b"a",
        b"e",
        b")",
        b"t",
        b"\x85",
        b"\x86",
        b"\x87",
        b"}",
        b"s",
        b"u",
        b"h\x00",
        b"h\x01",
        b"q\x00",
        b"q\x01",
        b"\x94",
        b"cnumpy\ndtype\n",
        b"cnumpy\nndarray\n",
        b"cnumpy.core.multiarray\n_reconstruct\n",
        b"cnumpy._core.numeric\n_frombuffer\n",
        b"c_codecs\nencode\n",
        b"R",
        b"b",
        b"U\x04data",
        b"U\x06labels",
        b"\x93",
        b"G\0\0\0\0\0\0\0\0",
    ];
    let rng = temper_core::Rng::new(7, "opcodes");
    for trial in 0..20_000 {
        let drawn = rng.uniform(&[trial], 40);
        let mut bytes = b"\x80\x04}".to_vec();
        for number in drawn {
            bytes.extend(pieces[((number + 1.0) * 20.0) as usize % 40]);
        }
        bytes.push(b'.');
        let _ = batch(bytes.clone());
        let _ = names(&bytes, "labels", 1);
    }
}
