use std::time::{Duration, Instant};

use super::*;

fn wrap(body: &[u8]) -> Vec<u8> {
    [b"\x80\x04", body, b"."].concat()
}

fn fault(bytes: &[u8]) -> String {
    let Fault { at, what } = parse(bytes).map(|pickle| pickle.root).unwrap_err();
    format!("{what} @{at}")
}

fn root(body: &[u8]) -> ValueKind {
    parse(&wrap(body)).unwrap().root.kind
}

#[test]
fn numbers_of_every_width() {
    for (body, number) in [
        (&b"K\xff"[..], 255),
        (b"M\x00\x0c", 3072),
        (b"J\xff\xff\xff\xff", -1),
        (b"J\x10\x27\x00\x00", 10_000),
        (b"\x8a\x00", 0),
        (b"\x8a\x01\xff", -1),
        (b"\x8a\x02\x00\x01", 256),
        (b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80", i64::MIN),
    ] {
        assert_eq!(root(body), ValueKind::Int(number));
    }
    assert_eq!(
        (root(b"N"), root(b"\x88"), root(b"G\0\0\0\0\0\0\0\0")),
        (ValueKind::None, ValueKind::Bool(true), ValueKind::Float)
    );
}

#[test]
fn texts_of_every_width() {
    let bytes =
        b"\x80\x04(U\x01aT\x01\0\0\0aC\x01aB\x01\0\0\0a\x8e\x01\0\0\0\0\0\0\0a\x96\x01\0\0\0\0\0\0\0a\
                  \x8c\x01aX\x01\0\0\0a\x8d\x01\0\0\0\0\0\0\0at.";
    let pickle = parse(bytes).unwrap();
    let ValueKind::Tuple(tuple) = pickle.root.kind else { panic!("{:?}", pickle.root) };
    let values = &pickle.arena.sequences[tuple];
    assert_eq!(values.len(), 9);
    for (i, value) in values.iter().enumerate() {
        assert_eq!(matches!(value.kind, ValueKind::Text(_)), i > 5, "{i}");
        assert_eq!(&*pickle.octets(value.kind).unwrap(), b"a");
    }
}

#[test]
fn of_several_entries_the_last_counts() {
    let pickle = parse(b"\x80\x02}(U\x01aK\x01X\x01\0\0\0aK\x02U\x01bK\x03u.").unwrap();
    let ValueKind::Dict(dict) = pickle.root.kind else { panic!("{:?}", pickle.root) };
    assert_eq!(pickle.entry(dict, "a").unwrap().kind, ValueKind::Int(2));
    assert!(pickle.entry(dict, "c").is_none());
}

#[test]
fn what_no_file_of_cifar_has_is_refused_by_name() {
    for (bytes, said) in [
        (&b""[..], "no pickle of protocol 2 or later: it does not begin with PROTO (0x80) @0"),
        (b"(dp0\n.", "no pickle of protocol 2 or later: it does not begin with PROTO (0x80) @0"),
        (b"\x80\x06N.", "a pickle of protocol 6, expected 2 to 5 @1"),
        (b"\x80\x02", "the file ends before opcode STOP @2"),
        (b"\x80\x02N..", "1 bytes after the pickle's end @4"),
        (b"\x80\x02i", "opcode INST (0x69): refused, since no file of CIFAR needs it @2"),
        (b"\x80\x02N\x80\x02.", "opcode PROTO (0x80): refused, since no file of CIFAR needs it @3"),
        (b"\x80\x05\x97.", "opcode NEXT_BUFFER (0x97): refused, since no file of CIFAR needs it @2"),
        (b"\x80\x02\xff", "opcode 0xff (unknown): refused, since no file of CIFAR needs it @2"),
        (
            b"\x80\x02cos\nsystem\nU\x04true\x85R.",
            "opcode GLOBAL (0x63): global `os.system` is refused, only arrays of numpy are read @2",
        ),
        (
            b"\x80\x02cnumpy\nload\x1b[2J\n",
            "opcode GLOBAL (0x63): global `numpy.load\\u{1b}[2J` is refused, only arrays of numpy are read @2",
        ),
        (b"\x80\x02cnumpy", "opcode GLOBAL (0x63): a name without an end @2"),
        (b"\x80\x04NN\x93.", "opcode STACK_GLOBAL (0x93): a global whose name is no text @4"),
        (b"\x80\x02N)R.", "opcode REDUCE (0x52): a call of what is no known global, or without arguments @4"),
        (
            b"\x80\x02c_codecs\nencode\nX\x01\0\0\0aX\x05\0\0\0rot13\x86R.",
            "opcode REDUCE (0x52): a call of Encode with arguments that numpy does not write @35",
        ),
        (
            b"\x80\x02cnumpy\nndarray\n)R.",
            "opcode REDUCE (0x52): a call of NdArray with arguments that numpy does not write @18",
        ),
        (b"\x80\x02])b.", "opcode BUILD (0x62): a state for what is no array @4"),
        (b"\x80\x02]Nb.", "opcode BUILD (0x62): a state that is no tuple @4"),
        (
            b"\x80\x02cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R)b.",
            "opcode BUILD (0x62): a state that numpy does not write @26",
        ),
        (b"\x80\x02K", "opcode BININT1 (0x4b): 1 bytes should follow, the file has 0 more @2"),
        (b"\x80\x02a.", "opcode APPEND (0x61): there is no value for it @2"),
        (b"\x80\x02](Na.", "opcode APPEND (0x61): there is no value for it @5"),
        (b"\x80\x02]e.", "opcode APPENDS (0x65): there is no mark for it @3"),
        (b"\x80\x02N(Ne.", "opcode APPENDS (0x65): entries for what is no list @5"),
        (b"\x80\x02}(Nu.", "opcode SETITEMS (0x75): a key without a value @5"),
        (b"\x80\x02]NNs.", "opcode SETITEM (0x73): items for what is no dictionary @5"),
        (b"\x80\x02h\x07.", "opcode BINGET (0x68): nothing was kept as 7 @2"),
        (b"\x80\x02\x8a\x09123456789.", "opcode LONG1 (0x8a): a number of 9 bytes, expected at most 8 @2"),
    ] {
        assert_eq!(fault(bytes), said);
    }
}

/// Parsing of announced sizes, nesting, sharing and cycles ends quickly, with a value or an error.
#[test]
fn bombs_do_no_harm() {
    let start = Instant::now();
    for opcode in
        [&b"T\xff\xff\xff\xff"[..], b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff", b"\x95\0\0\0\0\0\0\0\x80"]
    {
        let said = fault(&wrap(opcode));
        assert!(said.contains("bytes should follow, the file has 1 more"), "{said}");
    }
    // A tuple in a tuple, 900,000 deep; a list that contains itself; a list that contains itself twice,
    // repeatedly.
    parse(&wrap(&[&b"N"[..], &b"\x85".repeat(900_000)].concat())).unwrap();
    parse(&wrap(b"]q\0h\0a")).unwrap();
    parse(&wrap(&[&b"]q\0"[..], &b"](h\0h\0eq\0".repeat(100_000)].concat())).unwrap();
    // One long text that is used as bytes, and as numpy's names, repeatedly.
    let text = [&b"X\0\0\x10\0"[..], &vec![b'a'; 1 << 20], b"q\0X\x06\0\0\0latin1q\x01"].concat();
    parse(&wrap(&[&text[..], &b"c_codecs\nencode\nh\0h\x01\x86R".repeat(100_000)].concat())).unwrap();
    let said = fault(&wrap(&[&text[..], b"h\0h\0\x93"].concat()));
    assert!(said.len() < 300 && said.contains("global `aaaa"), "{said}");
    // One long shape for many arrays.
    let shape = [&b"("[..], &b"K\x01".repeat(300_000), b"tq\0"].concat();
    let array =
        b"cnumpy._core.numeric\n_frombuffer\n(C\0cnumpy\ndtype\nX\x02\0\0\0u1\x89\x88\x87Rh\0X\x01\0\0\0CtR";
    parse(&wrap(&[&shape[..], &array.repeat(40_000)].concat())).unwrap();
    // The number of opcodes is limited.
    let said = fault(&wrap(&b"]".repeat(STEPS + 1)));
    assert!(said.starts_with("more than 1000000 opcodes; no file of CIFAR has so many"), "{said}");
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}
