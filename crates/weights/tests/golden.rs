//! Files that `PyTorch` wrote: `golden/make.py` makes them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use temper_files::hex;
use temper_weights::{Dtype, File, metadata, read};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn opened(name: &str) -> File {
    read(&golden(name)).unwrap()
}

/// The error about a golden file, without what its path begins with.
fn refused(name: &str) -> String {
    let error = read(&golden(name)).unwrap_err().to_string();
    let path = golden(name);
    error.strip_prefix(&format!("{}: ", path.display())).unwrap_or_else(|| panic!("{error}")).into()
}

fn names(file: &File) -> Vec<&str> {
    file.tensors.keys().map(String::as_str).collect()
}

/// The elements of a tensor of f32.
fn values(file: &File, name: &str) -> Vec<f32> {
    let tensor = &file.tensors[name];
    assert_eq!(tensor.dtype, Dtype::F32);
    let bytes = file.bytes(tensor).unwrap();
    bytes.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

#[test]
fn all_types_and_views_are_those_of_pytorch() {
    let told = fs::read_to_string(golden("state.json")).unwrap();
    let told: BTreeMap<String, (String, Vec<usize>, String)> = serde_json::from_str(&told).unwrap();
    for name in ["state.pth", "legacy.pth", "big.pth"] {
        let file = opened(name);
        assert_eq!(names(&file), told.keys().collect::<Vec<_>>());
        for (tensor, (dtype, shape, bytes)) in &told {
            let own = &file.tensors[tensor];
            let own = (own.dtype.to_string(), &own.shape, hex(&file.bytes(own).unwrap()));
            assert_eq!(own, (dtype.clone(), shape, bytes.clone()), "{tensor} of {name}");
        }
        assert!(file.told.is_empty(), "{:?}", file.told);
        assert_eq!(file.files(), [golden(name)]);
        assert!(metadata(&golden(name)).unwrap().is_empty());
    }
}

#[test]
fn newer_protocols_and_constructors_are_read() {
    for name in ["protocol-5.pth", "legacy-protocol-4.pth"] {
        assert_eq!(values(&opened(name), "weight"), [0.0, 0.25]);
    }
    let file = opened("version-3.pth");
    let types: Vec<Dtype> = file.tensors.values().map(|tensor| tensor.dtype).collect();
    assert_eq!(types, [Dtype::F8E4M3, Dtype::U16]);
}

#[test]
fn weights_are_found_within_what_training_scripts_save() {
    let mut file = opened("wrapped.pth");
    assert_eq!(names(&file), ["module.fc.bias", "module.fc.weight"]);
    file.unwrap_names();
    assert_eq!(names(&file), ["fc.bias", "fc.weight"]);
    assert_eq!(values(&file, "fc.weight"), [0.0, 0.25, 0.5, 0.75]);
    let told = [
        "it holds averaged weights too, `state_dict_ema`: those of `state_dict` are read",
        "its weights are those of the entry `state_dict`; 14 other entries are not read: `acc`, `args`, `best`, \
         `classes`, `device` and 9 more",
        "names are read without `module.` before them",
    ];
    assert_eq!(file.told, told);
    let file = opened("nested.pth");
    assert_eq!(names(&file), ["fc.weight"]);
    let told = [
        "its weights are those of the entry `model`",
        "its weights are those of the entry `model.net`; the entry `extra` is not read",
    ];
    assert_eq!(file.told, told);
    let file = opened("sparse.pth");
    assert_eq!(names(&file), ["fc"]);
    let told = "2 entries that are no tensors are not read: `note` (a text), `weight` \
         (torch._utils._rebuild_sparse_tensor)";
    assert_eq!(file.told, [told]);
}

#[test]
fn wanted_names_decide_what_is_taken_off() {
    let wanted = ["fc.bias", "fc.weight"].into();
    let mut file = opened("wrapped.pth");
    file.fit_names(&wanted);
    assert_eq!(names(&file), ["fc.bias", "fc.weight"]);
    let mut file = opened("wrapped.pth");
    file.fit_names(&["module.fc.bias", "module.fc.weight"].into());
    assert_eq!((names(&file), file.told.len()), (vec!["module.fc.bias", "module.fc.weight"], 2));
    // None of the names is wanted: they stay, so that an error shows them as they are.
    let mut file = opened("wrapped.pth");
    file.fit_names(&["conv.weight"].into());
    assert_eq!(names(&file), ["module.fc.bias", "module.fc.weight"]);
    // Not all that is wanted is there: an error will name what is missing, by the names without the wrapper.
    let mut file = opened("wrapped.pth");
    file.fit_names(&["conv.weight", "fc.weight"].into());
    assert_eq!(names(&file), ["fc.bias", "fc.weight"]);
}

#[test]
fn tensors_beside_the_wanted_ones_are_left_out_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let names = ["0.mean", "1.a", "1.b.num_batches_tracked", "1.b"];
    let data = 1f32.to_le_bytes();
    let view = |name| (name, TensorView::new(safetensors::Dtype::F32, vec![1], &data).unwrap());
    safetensors::serialize_to_file(names.map(view), Some([("by".into(), "me".into())].into()), &path)
        .unwrap();
    assert_eq!(metadata(&path).unwrap()["by"], "me");
    let mut file = read(&path).unwrap();
    assert_eq!((self::names(&file), &file.metadata["by"]), (vec!["0.mean", "1.a", "1.b"], &"me".to_string()));
    file.unwrap_names();
    assert!(file.told.is_empty(), "not all names are wrapped alike");
    file.fit_names(&["a", "b"].into());
    assert_eq!(self::names(&file), ["a", "b"]);
    let told = "1 tensor is not read, without `1.` before their names: `0.mean`";
    assert_eq!(file.told, ["names are read without `1.` before them", told]);
}

#[test]
fn shards_are_read_through_their_index() {
    let file = opened("model.safetensors.index.json");
    assert_eq!(names(&file), ["a.weight", "b.weight"]);
    assert_eq!(values(&file, "a.weight"), [0.0, 0.25]);
    assert_eq!((file.tensors["b.weight"].dtype, &file.tensors["b.weight"].shape[..]), (Dtype::F16, &[3][..]));
    let parts = [
        "model.safetensors.index.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ];
    assert_eq!(file.files(), parts.map(golden));
}

#[test]
fn objects_are_refused_by_name() {
    let call = "it asks Python to call `posix.system` (at byte ";
    for name in ["shell.pth", "legacy-shell.pth"] {
        let said = refused(name);
        assert!(said.starts_with(call) && said.contains("do not load this file with torch.load"), "{said}");
    }
    assert!(refused("shell.pth").contains(" of its entry `shell/data.pkl`)\n  "), "{}", refused("shell.pth"));
    for (name, class) in
        [("module.pth", "torch.nn.modules.container.Sequential"), ("legacy-module.pth", "__main__.Net")]
    {
        let said = refused(name);
        let told = format!("it holds an object of Python, `{class}`, which is no data (at byte ");
        assert!(said.starts_with(&told) && said.contains("torch.save(saved.state_dict(), "), "{said}");
    }
    assert!(
        refused("quantised.pth").starts_with("it holds quantised weights (`torch.QInt8Storage`) (at byte ")
    );
    assert!(
        refused("script.pt")
            .starts_with("no file of torch.save, it is a TorchScript archive, which holds a program\n")
    );
    let told = "it holds 2 dictionaries of tensors: `d`, `g`\n  save the state dictionary alone";
    assert!(refused("two.pth").starts_with(told), "{}", refused("two.pth"));
    let told = "it holds a tensor, expected a dictionary of tensors\n  save";
    assert!(refused("tensor.pth").starts_with(told), "{}", refused("tensor.pth"));
}
