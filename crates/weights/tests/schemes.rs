//! Names of residual networks as their repositories define them, on the names of temper's.

use std::collections::BTreeMap;

use safetensors::tensor::TensorView;
use temper_weights::{File, read};

/// What a scheme calls the parts that differ.
#[derive(Clone, Copy)]
struct Scheme {
    /// The 1 x 1 convolution and the batch norm of a shortcut; none has weights if it is empty.
    shortcut: &'static str,
    /// The last layer.
    head: &'static str,
}

const TORCHVISION: Scheme = Scheme { shortcut: "downsample", head: "fc" };
const KUANG_LIU: Scheme = Scheme { shortcut: "shortcut", head: "linear" };

type Names = BTreeMap<String, Vec<usize>>;

/// A convolution without bias, and its batch norm.
fn conv(all: &mut Names, conv: &str, norm: &str, [out, input, kernel]: [usize; 3]) {
    all.insert(format!("{conv}.weight"), vec![out, input, kernel, kernel]);
    for part in ["weight", "bias", "running_mean", "running_var"] {
        all.insert(format!("{norm}.{part}"), vec![out]);
    }
    all.insert(format!("{norm}.num_batches_tracked"), vec![]);
}

/// A network of basic blocks, with these blocks a stage, this width, kernel of the first layer and number of classes: a
/// residual network of `torchvision/models/resnet.py` (7 x 7), of Kuang Liu's `models/resnet.py` or of Idelbayev's
/// `resnet.py` (both 3 x 3).
fn basic(scheme: Scheme, stages: &[usize], width: usize, kernel: usize, classes: usize) -> Names {
    let mut all = Names::new();
    conv(&mut all, "conv1", "bn1", [width, 3, kernel]);
    let mut input = width;
    for (stage, blocks) in stages.iter().enumerate() {
        let out = width << stage;
        for i in 0..*blocks {
            let block = format!("layer{}.{i}", stage + 1);
            conv(&mut all, &format!("{block}.conv1"), &format!("{block}.bn1"), [out, input, 3]);
            conv(&mut all, &format!("{block}.conv2"), &format!("{block}.bn2"), [out, out, 3]);
            if out != input && !scheme.shortcut.is_empty() {
                let name = |part: usize| format!("{block}.{}.{part}", scheme.shortcut);
                conv(&mut all, &name(0), &name(1), [out, input, 1]);
            }
            input = out;
        }
    }
    all.insert(format!("{}.weight", scheme.head), vec![classes, input]);
    all.insert(format!("{}.bias", scheme.head), vec![classes]);
    all
}

/// A file of tensors of these names and shapes. Numbers are those of the names in the alphabet.
fn file(folder: &std::path::Path, names: &Names) -> File {
    let path = folder.join("net.safetensors");
    let bytes: Vec<Vec<u8>> = names
        .values()
        .enumerate()
        .map(|(i, shape)| (i as f32).to_le_bytes().repeat(shape.iter().product()))
        .collect();
    let view = |((name, shape), bytes): ((&String, &Vec<usize>), &'static [u8])| {
        (name.clone(), TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap())
    };
    let leaked = bytes.into_iter().map(|bytes| &*bytes.leak());
    safetensors::serialize_to_file(names.iter().zip(leaked).map(view), None, &path).unwrap();
    read(&path).unwrap()
}

/// What a network wants: no counters.
fn wanted(names: &Names) -> BTreeMap<&str, &[usize]> {
    let weights = names.iter().filter(|(name, _)| !name.ends_with("num_batches_tracked"));
    weights.map(|(name, shape)| (name.as_str(), &shape[..])).collect()
}

/// The names and what is told after a file with names of `theirs`, behind a prefix, was matched with `ours`.
fn matched(theirs: &Names, prefix: &str, ours: &Names) -> (Vec<String>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let theirs = theirs.iter().map(|(name, shape)| (format!("{prefix}{name}"), shape.clone())).collect();
    let mut file = file(folder.path(), &theirs);
    let wanted = wanted(ours);
    file.rename(&wanted);
    file.fit_names(&wanted.keys().copied().collect());
    (file.tensors.into_keys().collect(), file.told)
}

fn own(names: &Names) -> Vec<String> {
    wanted(names).into_keys().map(String::from).collect()
}

#[test]
fn the_lists_are_those_of_the_repositories() {
    // torchvision's resnet18 has 122 entries, of which 20 count batches; its 11,689,512 weights are published.
    let resnet18 = basic(TORCHVISION, &[2, 2, 2, 2], 64, 7, 1000);
    assert_eq!((resnet18.len(), wanted(&resnet18).len()), (122, 102));
    let trained =
        resnet18.iter().filter(|(name, _)| !name.contains("running") && !name.contains("num_batches"));
    assert_eq!(trained.map(|(_, shape)| shape.iter().product::<usize>()).sum::<usize>(), 11_689_512);
    assert_eq!(resnet18["layer2.0.downsample.0.weight"], [128, 64, 1, 1]);
    assert_eq!(resnet18["layer4.1.bn2.running_var"], [512]);
    // Kuang Liu's ResNet18 for CIFAR-10 has 11,173,962, Idelbayev's resnet20 has 0.27 million.
    let count = |names: &Names| {
        let trained =
            names.iter().filter(|(name, _)| !name.contains("running") && !name.contains("num_batches"));
        trained.map(|(_, shape)| shape.iter().product::<usize>()).sum::<usize>()
    };
    assert_eq!(count(&basic(KUANG_LIU, &[2, 2, 2, 2], 64, 3, 10)), 11_173_962);
    let option_a = Scheme { shortcut: "", head: "linear" };
    assert_eq!(count(&basic(option_a, &[3, 3, 3], 16, 3, 10)), 269_722);
}

#[test]
fn names_of_other_repositories_become_those_of_the_network() {
    let four = |scheme, kernel| basic(scheme, &[2, 2, 2, 2], 2, kernel, 7);
    let (mixed, other) =
        (Scheme { shortcut: "downsample", head: "linear" }, Scheme { shortcut: "shortcut", head: "fc" });
    let (down, short) = ("`shortcut` for `downsample`", "`downsample` for `shortcut`");
    let (to_linear, to_fc) = ("`linear` for `fc`", "`fc` for `linear`");
    for (theirs, ours, told) in [
        (TORCHVISION, KUANG_LIU, vec![down, to_linear]),
        (KUANG_LIU, TORCHVISION, vec![short, to_fc]),
        (mixed, KUANG_LIU, vec![down]),
        (other, KUANG_LIU, vec![to_linear]),
        (mixed, TORCHVISION, vec![to_fc]),
        (other, TORCHVISION, vec![short]),
    ] {
        let ours = four(ours, 3);
        for prefix in ["", "module.", "module.model."] {
            let (names, said) = matched(&four(theirs, 3), prefix, &ours);
            assert_eq!(names, own(&ours));
            assert!(said[0].starts_with(&format!("names are read with {}", told.join(" and "))), "{said:?}");
            assert_eq!(
                said[0].contains(" (those of "),
                told.len() == 2,
                "only whole schemes have a name: {said:?}"
            );
            assert_eq!(said.len(), if prefix.is_empty() { 1 } else { 2 }, "{said:?}");
        }
    }
    // Shortcuts without weights: only the last layer can differ.
    let option_a = |head| basic(Scheme { shortcut: "", head }, &[3, 3, 3], 2, 3, 7);
    assert_eq!(
        matched(&option_a("linear"), "module.", &option_a("linear")).1,
        ["names are read without `module.` before them"]
    );
    let (names, said) = matched(&option_a("fc"), "", &option_a("linear"));
    assert_eq!(names, own(&option_a("linear")));
    assert_eq!(said, ["names are read with `linear` for `fc`"]);
}

#[test]
fn numbers_stay_with_their_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let (theirs, ours) = (basic(TORCHVISION, &[1, 1], 2, 3, 7), basic(KUANG_LIU, &[1, 1], 2, 3, 7));
    let before = file(folder.path(), &theirs);
    let mut after = file(folder.path(), &theirs);
    after.rename(&wanted(&ours));
    for (old, new) in [
        ("fc.bias", "linear.bias"),
        ("layer2.0.downsample.1.running_mean", "layer2.0.shortcut.1.running_mean"),
        ("conv1.weight", "conv1.weight"),
    ] {
        let bytes = before.bytes(&before.tensors[old]).unwrap();
        assert_eq!(after.bytes(&after.tensors[new]).unwrap(), bytes);
    }
}

#[test]
fn names_are_kept_where_not_everything_fits() {
    let theirs = basic(TORCHVISION, &[2, 2, 2, 2], 2, 3, 7);
    let theirs_own = own(&theirs);
    // Another number of classes, another kernel, one layer less, one more: an error will show the file's own names.
    for ours in [
        basic(KUANG_LIU, &[2, 2, 2, 2], 2, 3, 8),
        basic(KUANG_LIU, &[2, 2, 2, 2], 2, 7, 7),
        basic(KUANG_LIU, &[2, 2, 2, 1], 2, 3, 7),
        basic(KUANG_LIU, &[2, 2, 2, 3], 2, 3, 7),
    ] {
        let (names, told) = matched(&theirs, "", &ours);
        assert_eq!((names, told.len()), (theirs_own.clone(), 0));
    }
    // Two names would become one.
    let mut both = theirs.clone();
    both.insert("linear.bias".into(), vec![7]);
    let (names, told) = matched(&both, "", &basic(KUANG_LIU, &[2, 2, 2, 2], 2, 3, 7));
    assert_eq!((names.len(), told.len()), (theirs_own.len() + 1, 0));
    // Names that fit stay, whatever stands beside them.
    let (names, told) = matched(&theirs, "", &theirs);
    assert_eq!((names, told.len()), (theirs_own, 0));
}
