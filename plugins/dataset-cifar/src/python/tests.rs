use super::*;

fn fixture(name: &str) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/{name}.pickle"));
    fs::read(file).unwrap()
}

fn read_bytes(bytes: Vec<u8>) -> Result<Part, String> {
    part("f".into(), bytes, "labels", 10).map_err(|e| e.to_string())
}

#[test]
fn every_protocol_gives_the_same_images() {
    for name in ["py2", "protocol2", "protocol4", "protocol5"] {
        let part = read_bytes(fixture(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(part.labels, [6, 9, 0], "{name}");
        for i in 0..3 {
            let pixels = &part.bytes[part.offset + i * part.stride..][..PIXELS];
            assert_eq!((pixels[0], pixels[1], pixels[PIXELS - 1]), (255, i as u8 + 1, i as u8 + 1), "{name}");
        }
    }
}

#[test]
fn what_is_no_batch_is_refused_in_words() {
    let cases = [
        ("fortran", "f: `data` is stored by columns, expected rows"),
        ("float", "f: `data` is of numpy's type `f4`, expected `u1` (bytes)"),
    ];
    for (name, message) in cases {
        assert_eq!(read_bytes(fixture(name)).unwrap_err(), message);
    }
    let evil = read_bytes(fixture("evil")).unwrap_err();
    assert!(
        evil.starts_with("f: pickle: `posix.system` is refused: only arrays of numpy are read (at byte "),
        "{evil}"
    );
    let twist = |from: &[u8], to: &[u8]| {
        let mut bytes = fixture("py2");
        let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
        bytes.splice(at..at + from.len(), to.iter().copied());
        read_bytes(bytes).unwrap_err()
    };
    assert_eq!(twist(b"K\x06K\x09", b"K\x06K\x0a"), "f: label 10 of image 1, expected 0 to 9");
    assert_eq!(twist(b"K\x06K\x09", b"K\x06"), "f: 2 labels for 3 images");
    assert_eq!(twist(b"K\x06K\x09", b"K\x06J\xff\xff\xff\xff"), "f: label -1 of image 1, expected 0 to 9");
    assert_eq!(twist(b"U\x06labels", b"U\x06labelz"), "f: no list under the key `labels`");
    assert_eq!(twist(b"U\x04data", b"U\x04dato"), "f: no array under the key `data`");
    assert_eq!(
        twist(b"K\x03M\x00\x0c\x86", b"K\x04M\x00\x0c\x86"),
        "f: `data` has shape [4, 3072], but holds 9216 bytes"
    );
    assert_eq!(
        twist(b"K\x03M\x00\x0c\x86", b"K\x03M\x01\x0c\x86"),
        "f: `data` has shape [3, 3073], expected [n, 3072]"
    );
    assert_eq!(
        twist(b"\x80\x02}", b"\x80\x09}"),
        "f: pickle: a pickle of protocol 9, expected 2 to 5 (at byte 0)"
    );
    assert_eq!(
        twist(b"\x80\x02}", b"}"),
        "f: pickle: not a pickle of protocol 2 or later: it does not begin with 0x80 (at byte 0)"
    );
    assert_eq!(
        twist(b"\x80\x02}", b"\x80\x02i"),
        "f: pickle: opcode 0x69 is refused: no file of CIFAR needs it (at byte 2)"
    );
    let mut longer = fixture("py2");
    longer.push(b'.');
    let message = read_bytes(longer.clone()).unwrap_err();
    let end = longer.len() - 2;
    assert_eq!(message, format!("f: pickle: the pickle ends here, but the file goes on (at byte {end})"));
}

/// Hostile sizes, nesting and sharing end in an error, soon.
#[test]
fn bombs_are_refused() {
    let wrap = |body: &[u8]| [b"\x80\x04", body, b"."].concat();
    let nested = wrap(&[&b"N"[..], &b"\x85".repeat(1_000_000)].concat());
    let shared = wrap(&[&b"]q\x00"[..], &b"(h\x00h\x00e".repeat(600_000)].concat());
    let lists = wrap(&b"]".repeat(100_000));
    let text =
        [&b"X\xa0\x86\x01\x00"[..], &b"a".repeat(100_000), b"X\x06\x00\x00\x00latin1\x86q\x00"].concat();
    let again = wrap(&[&text[..], &b"c_codecs\nencode\nh\x00R".repeat(2000)].concat());
    for (bytes, message) in [
        (again, "the same text decoded again and again"),
        (nested, "more lists, tuples and dictionaries"),
        (shared, "more opcodes"),
        (lists, "more lists, tuples and dictionaries"),
        (wrap(b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff"), "the file ends early: 18446744073709551615 bytes"),
        (wrap(b"\x8a\xff"), "a number of 255 bytes"),
    ] {
        let error = read_bytes(bytes).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
}

/// Whatever is cut or changed, reading ends, with images or with an error.
#[test]
fn no_damage_panics() {
    for name in ["py2", "protocol2", "protocol4", "protocol5", "fortran", "evil"] {
        let whole = fixture(name);
        // The pixels are most of the file; what stands around them is what matters.
        let interesting = |at: usize| at < 700 || at + 400 > whole.len();
        for at in (0..whole.len()).filter(|at| interesting(*at)) {
            assert!(read_bytes(whole[..at].to_vec()).is_err(), "{name} cut to {at}");
            for by in [1, 0x0f, 0x80, 0xff] {
                let mut edited = whole.clone();
                edited[at] ^= by;
                let _ = read_bytes(edited);
            }
        }
    }
}
