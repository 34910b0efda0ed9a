use super::*;

/// A text of up to 255 bytes.
fn text(letters: &str) -> Vec<u8> {
    [&[op::SHORT_BINUNICODE, letters.len() as u8], letters.as_bytes()].concat()
}

fn global(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

fn pickle(parts: &[&[u8]]) -> Vec<u8> {
    [&[op::PROTO, 2], &parts.concat()[..], b"."].concat()
}

fn fault(parts: &[&[u8]]) -> String {
    parse(&pickle(parts), 0).unwrap_err().to_string()
}

/// A storage of 8 numbers of f32, named `0`; `more` is appended to its persistent id.
fn storage(more: &[u8]) -> Vec<u8> {
    let class = global("torch", "FloatStorage");
    [b"(", &text("storage")[..], &class, &text("0"), &text("cpu"), b"K\x08", more, b"tQ"].concat()
}

#[test]
fn dictionaries_are_read_in_all_their_ways() {
    let (ordered, key, twice) =
        (global("collections", "OrderedDict"), text("a"), [text("a"), text("b")].concat());
    for parts in [
        &[b"}", &key[..], b"K\x01s"][..],
        &[b"}(", &key, b"K\x01u"],
        &[b"(", &key, b"K\x01d"],
        &[&ordered, b")R", &key, b"K\x01s}b"],
        &[&ordered, b")\x81", &key, b"K\x01s"],
        &[&ordered, b")}\x92", &key, b"K\x01s"],
        &[b"\x95\x01\0\0\0\0\0\0\0}\x94", &key, b"K\x01s"],
        // Python 2: pairs, and texts that are bytes.
        &[&ordered, b"]]U\x01aaK\x01aa\x85R"],
        &[&ordered, b"]((U\x01aK\x01te\x85R"],
    ] {
        let bytes = pickle(parts);
        let read = parse(&bytes, 0).unwrap();
        let entries: Vec<_> = read.entries(read.root).unwrap().collect();
        assert_eq!((entries, read.end), (vec![("a", Value::Int(1))], bytes.len()), "{parts:?}");
    }
    assert!(fault(&[b"}", &twice, b"Nu"]).contains("a mark that it never set (at byte "));
    assert!(fault(&[b"}(", &twice, b"Nu"]).contains("a value that holds none"));
    assert!(fault(&[b"K\x01(", &twice, b"u"]).contains("a value that holds none"));
}

#[test]
fn whole_numbers_have_signs_and_any_length() {
    for (bytes, value) in [
        (&b"K\xff"[..], 255),
        (b"M\xff\xff", 0xffff),
        (b"J\xfe\xff\xff\xff", -2),
        (b"\x8a\0", 0),
        (b"\x8a\x01\xfe", -2),
        (b"\x8a\x02\xfe\0", 254),
        (b"\x8b\x08\0\0\0\0\0\0\0\0\0\0\x80", i64::MIN),
    ] {
        assert_eq!(parse(&pickle(&[bytes]), 0).unwrap().root, Value::Int(value));
    }
    assert_eq!(parse(&pickle(&[b"\x8a\x09123456789"]), 0).unwrap().root, Value::Plain(Plain::Number));
}

#[test]
fn tensors_are_views_of_storages() {
    let rebuild = |storage: &[u8], version: &str, more: &[u8]| {
        let class = global("torch._utils", version);
        [&class, &b"("[..], storage, b"K\x01K\x02K\x03\x86K\x03K\x01\x86", more, b"tR"].concat()
    };
    let views = |made: &[u8]| {
        let bytes = pickle(&[made]);
        let read = parse(&bytes, 0).unwrap();
        let (storage, view) = read.tensor(read.root).unwrap().unwrap();
        assert_eq!(
            (read.text(storage.key), view.shape, view.strides, view.offset),
            ("0", vec![2, 3], vec![3, 1], 1)
        );
        (storage.bytes, storage.part, view.dtype)
    };
    let whole = storage(b"");
    let plain = (32, (0, 32), crate::Dtype::F32);
    assert_eq!(views(&rebuild(&whole, "_rebuild_tensor", b"")), plain);
    assert_eq!(views(&rebuild(&whole, "_rebuild_tensor_v2", b"\x89N")), plain);
    let inner = rebuild(&whole, "_rebuild_tensor_v2", b"\x89N");
    let parameter = [&global("torch._utils", "_rebuild_parameter")[..], &inner, b"\x88N\x87R"].concat();
    assert_eq!(views(&parameter), plain);
    let dtype = global("torch", "float16");
    assert_eq!(
        views(&rebuild(&whole, "_rebuild_tensor_v3", &[b"\x89N", &dtype[..]].concat())).2,
        crate::Dtype::F16
    );
    // Very old files state the part of a storage that is referred to.
    let part = storage(&[&text("1")[..], b"K\x01K\x07\x87"].concat());
    assert_eq!(views(&rebuild(&part, "_rebuild_tensor", b"")).1, (4, 28));

    for (made, told) in [
        (rebuild(&whole, "_rebuild_tensor_v3", b"\x89NN"), "a type of elements that is not known here"),
        (rebuild(b"K\x01", "_rebuild_tensor_v2", b""), "not made of storage"),
        (
            rebuild(&storage(&[&text("1")[..], b"K\x02K\x07\x87"].concat()), "_rebuild_tensor", b""),
            "cannot be",
        ),
        (b"(tQ".to_vec(), "not named as torch names them"),
        (b"NQ".to_vec(), "without a name"),
    ] {
        assert!(fault(&[&made]).contains(told), "{}", fault(&[&made]));
    }
    let negative = [
        &global("torch._utils", "_rebuild_tensor")[..],
        b"(",
        &whole,
        b"K\0J\xff\xff\xff\xff\x85K\x01\x85tR",
    ];
    let bytes = pickle(&negative);
    let read = parse(&bytes, 0).unwrap();
    assert!(read.tensor(read.root).unwrap().unwrap_err().to_string().contains("whole numbers from 0 on"));
}

#[test]
fn constructors_within_others_are_called_one_deep() {
    let (from, size) = (global("torch._tensor", "_rebuild_from_type_v2"), global("torch", "Size"));
    let inner = [&size[..], &global("torch", "Tensor"), b"K\x01\x85\x85N"].concat();
    let called = [&from[..], b"(", &inner, b"tR"].concat();
    let bytes = pickle(&[&called]);
    let read = parse(&bytes, 0).unwrap();
    assert_eq!(read.items(read.root), [Value::Int(1)]);
    let nested = [&from[..], b"(", &from, &global("torch", "Tensor"), b")NtR"].concat();
    assert!(fault(&[&nested]).contains("in a way that torch does not"));
}

#[test]
fn damaged_pickles_are_told_with_their_place() {
    for (parts, told) in [
        (&b"0"[..], "an empty stack (at byte 2)"),
        (b"NN(0", "an empty stack (at byte 5)"),
        (b"(", "an empty stack (at byte 3)"),
        (b"N1", "a mark that it never set (at byte 3)"),
        (b"h\x05", "that it never kept (at byte 2)"),
        (b"I1\n", "an opcode 0x49 that weights do not need (at byte 2)"),
        (b"\x80\x09", "a pickle of protocol 9, expected 2 to 5 (at byte 2)"),
        (b"X\x09\0\0\0abc", "ends in the middle, after 11 bytes (at byte 2)"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff", "ends in the middle, after 12 bytes (at byte 2)"),
        (b"\x8b\xff\xff\xff\xffabc", "ends in the middle, after 11 bytes (at byte 2)"),
        (b"\x95\xff\0\0\0\0\0\0\0", "ends in the middle, after 12 bytes (at byte 2)"),
        (b"\x8c\x01\xff", "a text that is not UTF-8 (at byte 2)"),
        (b"cos", "a name without an end (at byte 2)"),
        (b"cos\nsystem\n", "it asks Python to call `os.system` (at byte 2)\n  "),
        (b"\x8c\x02nt\x8c\x06system\x93", "it asks Python to call `nt.system` (at byte 14)\n  "),
        (b"NN\x93", "a name that is no text (at byte 4)"),
        (b"N)R", "it calls what is no class (at byte 4)"),
        (b"ctorch\nSize\nNR", "it calls what is no class (at byte 15)"),
        (b"ctorch\nSize\n)R", "in a way that torch does not (at byte 15)"),
    ] {
        let said = fault(&[parts]);
        assert!(said.contains(told), "{parts:?}: {said}");
    }
    assert!(
        parse(b"", 0)
            .unwrap_err()
            .to_string()
            .contains("no pickle of protocol 2 to 5 begins here (at byte 0)")
    );
    assert!(parse(b"\x80\x01.", 0).is_err() && parse(b"\x80\x02N", 9).is_err());
    let long = [&b"c"[..], &[b'a'; 2000], b"\nb\n"].concat();
    assert!(fault(&[&long]).contains("a name without an end"));
}

#[test]
fn work_and_depth_are_limited() {
    let steps = |part: &[u8]| fault(&[&part.repeat(STEPS + 1)]);
    for part in [&b"]"[..], b"}", b"(", b"N\x85", b"N2", b"]\x94", b"K\x01K\x01\x86"] {
        assert!(steps(part).starts_with("a pickle of more than 1000000 steps"), "{}", steps(part));
    }
    // Tuples nested as deep as steps allow.
    let deep = [&b"N"[..], &b"\x85".repeat(STEPS - 9)].concat();
    assert!(matches!(parse(&pickle(&[&deep]), 0).unwrap().root, Value::Tuple(_)));
    // A list that is copied again and again.
    let pair = [&text("k")[..], b"N\x86a"].concat();
    let list = [&b"]"[..], &pair.repeat(1000), b"q\x01"].concat();
    let copies = [&global("collections", "OrderedDict")[..], b"h\x01\x85R"].concat().repeat(2000);
    assert!(fault(&[&list, &copies]).contains("far more often than weights need"));
    // A list that contains itself.
    assert!(matches!(parse(&pickle(&[b"]q\x01h\x01a"]), 0).unwrap().root, Value::List(_)));
}
