//! Files that are damaged, lie, or are of other formats: an error that says so, or a network, and never a panic.

mod graph;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../fuzz/src/kept.rs"]
mod kept;

use std::panic::catch_unwind;

use safetensors::SafeTensors;
use temper_onnx::{Error, parse, read};

use graph::{bytes, int, ints, model, node, tensor};

const GOLDEN: &[u8] = include_bytes!("golden/graphs.safetensors");

fn golden(name: &str) -> Vec<u8> {
    let golden = SafeTensors::deserialize(GOLDEN).unwrap();
    golden.tensor(&format!("{name}.onnx")).unwrap().data().to_vec()
}

fn said(bytes: &[u8]) -> String {
    parse(bytes).unwrap_err().to_string()
}

#[test]
fn every_end_before_the_end_is_an_error_or_a_network() {
    let whole = golden("shuffle");
    for length in 0..whole.len() {
        let cut = whole[..length].to_vec();
        let parsed = catch_unwind(move || parse(&cut).is_ok());
        assert!(parsed.is_ok(), "{length} bytes");
    }
}

#[test]
fn changed_bytes_are_an_error_or_a_network() {
    let mut state = 7u64;
    let mut random = || {
        // A linear congruential generator of Knuth's.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for name in
        ["shuffle", "keras", "mobile", "shapes-moves", "shapes-arithmetic", "norm-lrn-instance", "arithmetic"]
    {
        let whole = golden(name);
        for round in 0..600 {
            let mut changed = whole.clone();
            for _ in 0..=round % 3 {
                let at = random() % changed.len();
                changed[at] ^= 1 << (random() % 8);
            }
            let parsed = catch_unwind(move || parse(&changed).is_ok());
            assert!(parsed.is_ok(), "{name}, round {round}");
        }
    }
}

/// Each takes another way through the reader. `fuzz/README.md` says where they come from.
#[test]
fn inputs_that_fuzzing_kept_are_an_error_or_a_network() {
    kept::each(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kept/onnx"), |input| drop(parse(input)));
}

#[test]
fn sizes_that_no_memory_holds_are_refused_at_once() {
    let flat = node("Flatten", &["x"], &["f"], &[]);
    for dims in [[1 << 31, 1 << 31], [i64::MAX, 2], [-1, 4], [1 << 20, 1 << 12], [1 << 16, 1 << 14]] {
        let gemm = node("Gemm", &["f", "w"], &["y"], &[]);
        let error = said(&model(13, &[0, 1, 2, 2], &[flat.clone(), gemm, tensor("w", 1, &dims, &[0; 16])]));
        assert!(error.contains("numbers") || error.contains("length"), "{error}");
    }
    let relu = node("Relu", &["x"], &["y"], &[]);
    for dims in
        [&[0, 1 << 20, 1 << 20, 1 << 20][..], &[0, 3, i64::MAX, 2], &[1, 1 << 13, 1 << 13, 1], &[0], &[]]
    {
        assert!(
            matches!(parse(&model(13, dims, std::slice::from_ref(&relu))), Err(Error::Inputs(_))),
            "{dims:?}"
        );
    }
    // Repetitions of repetitions.
    let repeats = tensor("r", 7, &[4], &[1i64, 1, 1 << 10, 1 << 10].map(i64::to_le_bytes).concat());
    let tiles = [node("Tile", &["x", "r"], &["a"], &[]), node("Tile", &["a", "r"], &["y"], &[]), repeats];
    assert!(said(&model(13, &[0, 1, 8, 8], &tiles)).contains("at most"));
    let huge = tensor("s", 7, &[2], &[1i64 << 20, 1 << 20].map(i64::to_le_bytes).concat());
    let fill = [node("ConstantOfShape", &["s"], &["c"], &[]), node("Add", &["x", "c"], &["y"], &[]), huge];
    assert!(said(&model(13, &[0, 1, 2, 2], &fill)).contains("2^31 numbers"));
}

#[test]
fn short_files_that_ask_for_much_work_or_memory_are_refused() {
    let image = [0, 1, 2048, 2048];
    let end = [node("GlobalAveragePool", &["t"], &["p"], &[]), node("Flatten", &["p"], &["y"], &[])].concat();
    // A thousand rearrangements of 4 million numbers.
    let turn = |from: &str, to: &str| node("Transpose", &[from], &[to], &[ints("perm", &[0, 1, 3, 2])]);
    let turns: Vec<Vec<u8>> = (0..1000).map(|i| turn(&format!("v{i}"), &format!("v{}", i + 1))).collect();
    let parts = [node("Identity", &["x"], &["v0"], &[]), turns.concat(), turn("v1000", "t"), end.clone()];
    assert!(said(&model(13, &image, &parts)).contains("take more work than a file of this length"));
    // Constants that are repeated for each of 4 million numbers, again and again.
    let row =
        tensor("c", 1, &[2048], &(0..2048u16).flat_map(|i| f32::from(i).to_le_bytes()).collect::<Vec<_>>());
    let add = |i: usize| node("Add", &[&format!("v{i}"), "c"], &[&format!("v{}", i + 1)], &[]);
    let adds: Vec<Vec<u8>> = (0..60).map(add).collect();
    let parts = [
        node("Identity", &["x"], &["v0"], &[]),
        adds.concat(),
        node("Identity", &["v60"], &["t"], &[]),
        end.clone(),
        row,
    ];
    assert!(said(&model(13, &image, &parts)).contains("take more work than a file of this length"));
    // Four million sums of one number each.
    let axis = tensor("a", 7, &[1], &1i64.to_le_bytes());
    let sum = node("ReduceSum", &["x", "a"], &["t"], &[]);
    let parts = [sum, axis, end.clone()];
    assert!(said(&model(13, &[0, 2, 2048, 1024], &parts)).contains("2097152 sums of 4194304 numbers in all"));
    // A weight of two billion zeros.
    let lengths = tensor("s", 7, &[4], &[8192i64, 64, 64, 64].map(i64::to_le_bytes).concat());
    let weight = node("ConstantOfShape", &["s"], &["w"], &[]);
    let parts = [weight, node("Conv", &["x", "w"], &["t"], &[]), lengths, end];
    assert!(said(&model(13, &[0, 64, 64, 64], &parts)).contains("equal numbers, which no file holds"));
}

#[test]
fn padding_of_no_places_repeats_nothing() {
    for mode in ["edge", "wrap", "reflect"] {
        let none = tensor("c", 1, &[0], &[]);
        let pads = tensor("p", 7, &[2], &[1i64, 0].map(i64::to_le_bytes).concat());
        let attribute = [bytes(1, b"mode"), bytes(4, mode.as_bytes()), int(20, 3)].concat();
        let pad = node("Pad", &["c", "p"], &["d"], &[attribute]);
        let error = said(&model(13, &[0, 4], &[pad, node("Add", &["x", "d"], &["y"], &[]), none, pads]));
        assert!(error.ends_with(&format!("it pads an axis of no places by mode `{mode}`")), "{error}");
    }
}

#[test]
fn graphs_that_contradict_themselves_are_refused() {
    let circle = [node("Add", &["x", "b"], &["a"], &[]), node("Relu", &["a"], &["b"], &[])];
    let end = node("Relu", &["b"], &["y"], &[]);
    let error = said(&model(13, &[0, 1, 2, 2], &[circle.concat(), end]));
    assert_eq!(error, "the ONNX file is damaged: its nodes go in a circle through `b`");
    let error = said(&model(13, &[0, 1, 2, 2], &[node("Relu", &["z"], &["y"], &[])]));
    assert_eq!(error, "the ONNX file is damaged: node `the Relu` reads `z`, which nothing gives");
    let twice = [node("Relu", &["x"], &["y"], &[]), node("Abs", &["x"], &["y"], &[])];
    assert!(said(&model(13, &[0, 1, 2, 2], &twice)).contains("two nodes compute `y`"));
    let error = said(&model(13, &[0, 1, 2, 2], &[node("Add", &["x"], &["y"], &[])]));
    assert_eq!(error, "the ONNX file is damaged: node `the Add` (Add): its input 1 is missing");
    let short = [node("Gemm", &["x", "w"], &["y"], &[]), tensor("w", 1, &[4, 2], &[0; 28])];
    assert!(
        said(&model(13, &[0, 4], &short)).ends_with("tensor `w` of shape [4, 2] has 7 numbers, expected 8")
    );
    // Much work for a short file ends early.
    let big = tensor("b", 1, &[1 << 20], &vec![0; 4 << 20]);
    let start = node("Flatten", &["x"], &["v0"], &[]);
    let link = |i: usize| node("Mul", &[&format!("v{i}"), "b"], &[&format!("v{}", i + 1)], &[]);
    let links: Vec<Vec<u8>> = (0..4_000).map(link).collect();
    let chain = [start, links.concat(), node("Relu", &["v4000"], &["y"], &[]), big];
    assert!(
        said(&model(13, &[0, 1, 1 << 10, 1 << 10], &chain))
            .contains("take more work than a file of this length")
    );
    // A long chain is read without recursion.
    let link = |i: usize| node("Relu", &[&format!("v{i}")], &[&format!("v{}", i + 1)], &[]);
    let links: Vec<Vec<u8>> = (0..40_000).map(link).collect();
    let chain =
        [node("Flatten", &["x"], &["v0"], &[]), links.concat(), node("Relu", &["v40000"], &["y"], &[])];
    assert!(parse(&model(13, &[0, 1, 2, 2], &chain)).is_ok());
}

#[test]
fn uses_that_are_not_supported_say_what_is() {
    let four = |parts: &[Vec<u8>]| said(&model(13, &[0, 4], parts));
    let error = four(&[node("Mystery", &["x"], &["a"], &[]), node("Mystery", &["a"], &["y"], &[])]);
    assert_eq!(error, "node `the Mystery`: unknown operator `Mystery` (opset 13; 2 such nodes in the graph)");
    let error = four(&[node("If", &["x"], &["y"], &[])]);
    assert!(error.starts_with("node `the If` (If): branches and loops are not supported"), "{error}");
    let error = four(&[node("QuantizeLinear", &["x"], &["y"], &[])]);
    assert!(error.contains("quantised networks have no useful gradients"), "{error}");
    let error = four(&[node("MatMul", &["x", "x"], &["y"], &[])]);
    assert!(error.contains("as in attention, is not supported; expected a constant matrix"), "{error}");
    let error = four(&[node("Softmax", &["x"], &["a"], &[]), node("Relu", &["a"], &["y"], &[])]);
    assert!(error.contains("it reads the Softmax `the Softmax`; softmax is supported at the end"), "{error}");
    let shape = tensor("s", 7, &[1], &(-1i64).to_le_bytes());
    let error =
        four(&[node("Reshape", &["x", "s"], &["a"], &[]), node("Add", &["a", "a"], &["y"], &[]), shape]);
    assert!(error.contains("[1, 4]") || error.contains("batch"), "{error}");
    let error = four(&[node("ReduceMean", &["x"], &["y"], &[ints("axes", &[0])])]);
    assert!(
        error.ends_with("which is the batch; each sample of a batch must be computed on its own"),
        "{error}"
    );
    let weights = tensor("w", 1, &[2, 1, 3], &[0; 24]);
    let error = said(&model(13, &[0, 1, 5], &[node("Conv", &["x", "w"], &["y"], &[]), weights]));
    assert!(error.contains("a convolution over 1 axes is not supported; expected 2"), "{error}");
    let int8 = [node("Gemm", &["x", "w"], &["y"], &[]), tensor("w", 3, &[4, 2], &[0; 8])];
    assert!(four(&int8).contains("its weight `w` has integers, expected floats"));
    let relu = [node("Relu", &["x"], &["y"], &[])];
    assert!(said(&model(6, &[0, 4], &relu)).starts_with("the graph uses opset 6, expected 7 or later"));
    assert!(parse(&model(22, &[0, 4], &relu)).unwrap().told[1].starts_with("opset 22 is newer than 21"));
    assert!(said(&model(13, &[0, 2, 2, 2], &relu)).contains("expected [n, classes]"));
    // What the output does not need is not looked at.
    let dead = node("Mystery", &["x"], &["other"], &[]);
    assert!(parse(&model(13, &[0, 4], &[dead, relu.concat()])).is_ok());
}

#[test]
fn other_files_are_named() {
    for (start, name) in [
        (&b"PK\x03\x04.........."[..], "a ZIP archive, as PyTorch's files are"),
        (b"\x80\x02}q\0", "a pickle"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"\x08\0\0\0\0\0\0\0{}", "a safetensors file"),
        (b"", "it is empty"),
        (b"{}", "a text"),
    ] {
        let error = said(start);
        assert!(error.starts_with("not an ONNX file: ") && error.contains(name), "{error}");
    }
}

#[test]
fn numbers_beside_the_file_are_read_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let numbers: Vec<u8> = [0f32, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0].map(f32::to_le_bytes).concat();
    std::fs::write(folder.path().join("net.data"), &numbers).unwrap();
    let file = folder.path().join("net.onnx");
    let written = |location: &str, offset: &str| {
        let entry = |key: &str, value: &str| {
            bytes(13, &[bytes(1, key.as_bytes()), bytes(2, value.as_bytes())].concat())
        };
        let weight = [
            int(1, 4),
            int(1, 2),
            int(2, 1),
            bytes(8, b"w"),
            entry("location", location),
            entry("offset", offset),
        ];
        let weight = bytes(5, &[weight.concat(), int(14, 1)].concat());
        let whole = model(13, &[0, 4], &[node("Gemm", &["x", "w"], &["y"], &[]), weight]);
        std::fs::write(&file, &whole).unwrap();
        (read(&file), whole)
    };
    let (imported, whole) = written("net.data", "4");
    let weight = &imported.unwrap().weights["w.weight"];
    assert_eq!(weight.to_vec2::<f32>().unwrap(), [[1.0, 3.0, 5.0, 7.0], [2.0, 4.0, 6.0, 8.0]]);
    assert!(said(&whole).contains("it is not known where this one lies"));
    for (location, offset) in
        [("../net.data", "0"), ("/net.data", "0"), ("other", "0"), ("net.data", "8"), ("", "0")]
    {
        let error = written(location, offset).0.unwrap_err().to_string();
        assert!(error.contains("save_as_external_data=False"), "{error}");
    }
}
