//! `cargo xtask new-plugin`: what it writes for every kind is compiled into these tests and runs; on a copy
//! of what it edits it enters plugins where they are linked.

use std::fs;
use std::path::Path;

use temper_core::{Attack, Chosen, Dataset, Epsilon, KINDS, Kind, Loss, Model, Norm, Split, Suite};
use xtask::new_plugin::{TEMPLATES, create};

use crate::support::root;

// Plugins of this binary by this, so that every test over the registries covers them: conformance, for one.
#[path = "../../xtask/templates/attack.rs"]
mod attack;
#[path = "../../xtask/templates/dataset.rs"]
mod dataset;
#[path = "../../xtask/templates/epsilon.rs"]
mod epsilon;
#[path = "../../xtask/templates/loss.rs"]
mod loss;
#[path = "../../xtask/templates/model.rs"]
mod model;
#[path = "../../xtask/templates/suite.rs"]
mod suite;

/// Copies the manifests and the list of plugins: all that `new-plugin` and `tidy` look at of other crates.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if ["target", "runs", ".git"].contains(&name) {
            continue;
        }
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else if ["Cargo.toml", "plugins.rs", "registry.rs"].contains(&name) {
            fs::create_dir_all(to).unwrap();
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

#[test]
fn every_kind_has_a_template_that_works() {
    let kinds: Vec<&str> = TEMPLATES.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, KINDS);
    assert_eq!(xtask::tidy::kinds(&root()).unwrap(), KINDS);
    let source = Chosen::<dyn Dataset>::by_name("my-dataset").unwrap().open(Split::Test).unwrap();
    let labels: Vec<u32> = (0..source.len()).map(|i| source.read(i).unwrap().1).collect();
    assert!(labels.contains(&0) && labels.contains(&1));
    let network = Chosen::<dyn Model>::by_name("my-model").unwrap().build([1, 8, 8], 2).unwrap();
    assert_eq!(network.classes(), 2);
    let members = Chosen::<dyn Suite>::by_name("my-suite").unwrap().members(Norm::L2, 2).unwrap();
    let labels: Vec<&str> = members.iter().map(|member| &*member.label).collect();
    assert_eq!(labels, ["pgd-20", "pgd-20x5-margin"]);
    assert!(<dyn Attack>::find("my-attack").is_some() && <dyn Loss>::find("my-loss").is_some());
    assert_eq!(Chosen::<dyn Epsilon>::by_name("my-epsilon").unwrap().largest(), 8.0 / 255.0);
}

#[test]
fn a_new_plugin_is_entered_where_plugins_are_linked() {
    let folder = tempfile::tempdir().unwrap();
    let root = {
        let copied = folder.path().join("temper");
        copy(&root(), &copied);
        copied
    };
    for kind in KINDS {
        let said = create(&root, kind, "shrinking-ascent").unwrap();
        assert_eq!(said.len(), 5);
        let plugin = root.join(format!("plugins/{kind}-shrinking-ascent/src/lib.rs"));
        let plugin = fs::read_to_string(plugin).unwrap();
        assert!(plugin.contains("pub struct ShrinkingAscent {") && !plugin.contains("my-"), "{plugin}");
    }
    assert_eq!(xtask::tidy::faults(&root).unwrap(), Vec::<String>::new());
    let again = create(&root, "attack", "shrinking-ascent").unwrap_err().to_string();
    assert!(again.ends_with("plugins/attack-shrinking-ascent exists already"), "{again}");

    // A plugin that the runner forgets is found.
    let list = root.join("crates/runner/src/plugins.rs");
    let text = fs::read_to_string(&list).unwrap();
    fs::write(&list, text.replace("use temper_attack_shrinking_ascent as _;\n", "")).unwrap();
    let faults = xtask::tidy::faults(&root).unwrap();
    assert!(
        faults.len() == 1 && faults[0].contains("does not name the plugin `temper-attack-shrinking-ascent`"),
        "{faults:?}"
    );
}
