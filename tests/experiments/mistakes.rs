//! Mistakes in tables and recipes: each is told with its place, as in pipelines, before anything is run.

use std::fs;
use std::path::Path;

use expect_test::{Expect, expect};

use crate::support::{refuses, root, stderr, succeed, temper};

/// A folder with a copy of `configs`.
fn copied() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&root().join("configs"), &folder.path().join("configs"));
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn change(folder: &Path, file: &str, from: &str, to: &str) {
    let file = folder.join("configs").join(file);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(&file, text.replacen(from, to, 1)).unwrap();
}

/// Checks a file of `configs` in which one place was changed.
fn bad(file: &str, from: &str, to: &str, expected: &Expect) {
    let folder = copied();
    change(folder.path(), file, from, to);
    refuses(folder.path(), &["check", &format!("configs/{file}")], expected);
}

#[test]
fn unknown_keys() {
    bad(
        "tables/table7.toml",
        "recipe = ",
        "recpie = ",
        &expect![[r"
            error: configs/tables/table7.toml:30:1: unknown field `recpie`; did you mean `recipe`? known: `name`, `network`, `recipe`, `set`, `scale`, `same_as`, `expected`
              at row[0].recpie
        "]],
    );
    bad(
        "tables/table2.toml",
        "[scale.cpu]",
        "[scale.cpuu]",
        &expect![[r"
            error: configs/tables/table2.toml:20:2: unknown variant `cpuu`, expected one of `paper`, `cpu`, `cpu-fashion`, `smoke`
              at scale
        "]],
    );
    bad(
        "recipes/iaat.toml",
        "[pipeline.train]",
        "[pipelin.train]",
        &expect![[r"
            error: configs/recipes/iaat.toml:5:2: unknown field `pipelin`; did you mean `pipeline`? known: `pipeline`, `network`, `recipe`, `reading`, `evaluate`, `without`
              at pipelin
        "]],
    );
    bad(
        "recipes/iaat.toml",
        "[reading.authors-code.pipeline",
        "[reading.authors.pipeline",
        &expect![[r"
            error: configs/recipes/iaat.toml:21:2: unknown variant `authors`, expected `paper` or `authors-code`
              at reading
        "]],
    );
}

#[test]
fn unknown_names() {
    bad(
        "tables/table7.toml",
        "recipe = \"iaat\"",
        "recipe = \"iat\"",
        &expect![[r"
            error: configs/tables/table7.toml:36:1: unknown recipe `iat`; did you mean `iaat`? known: `adversarial`, `clean`, `iaat`, `iaat-no-warmup`, `line-search`, `mixup`
              at row[1].recipe
        "]],
    );
    bad(
        "tables/table7.toml",
        "network = \"resnet18\"",
        "network = \"resnet-18\"",
        &expect![[r"
            error: configs/tables/table7.toml:29:1: unknown network `resnet-18`; did you mean `resnet18`? known: `resnet101`, `resnet152`, `resnet18`, `resnet50`, `wrn-32-10`
              at row[0].network
        "]],
    );
    bad(
        "tables/table3.toml",
        "name = \"deepfool\"",
        "name = \"deepfol\"",
        &expect![[r"
            error: configs/tables/table3.toml:22:1: unknown evaluation `deepfol`; did you mean `deepfool`? known: `autoattack`, `corruption`, `cw40`, `deepfool`, `mifgsm`, `natural`, `pgd10`, `pgd100`, `pgd1000`, `transfer`
              at column[2].name
            error: configs/tables/table3.toml:35:48: unknown column `deepfool`; did you mean `deepfol`? known: `natural`, `pgd1000`, `deepfol`, `mifgsm`, `cw40`
              at row[0].expected.deepfool
            error: configs/tables/table3.toml:42:48: unknown column `deepfool`; did you mean `deepfol`? known: `natural`, `pgd1000`, `deepfol`, `mifgsm`, `cw40`
              at row[1].expected.deepfool
            error: configs/tables/table3.toml:53:1: unknown column `deepfool`; did you mean `deepfol`? known: `natural`, `pgd1000`, `deepfol`, `mifgsm`, `cw40`
              at claim[1].column
        "]],
    );
    bad(
        "tables/figure2.toml",
        "same_as = \"table1:resnet18/iaat\"",
        "same_as = \"table1:iaat\"",
        &expect![[r"
            error: configs/tables/figure2.toml:28:1: table1: unknown row `iaat`; known: `resnet18/clean`, `resnet18/adversarial`, `resnet18/iaat`, `wrn-32-10/clean`, `wrn-32-10/adversarial`, `wrn-32-10/iaat`
              at row[0].same_as
        "]],
    );
    bad(
        "recipes/scales/cpu.toml",
        "[recipe.iaat.train]",
        "[recipe.iat.train]",
        &expect![[r"
            error: configs/recipes/scales/cpu.toml:24:9: unknown recipe `iat`; did you mean `iaat`? known: `adversarial`, `clean`, `iaat`, `iaat-no-warmup`, `line-search`, `mixup`
              at recipe.iat
        "]],
    );
    bad(
        "recipes/scales/cpu.toml",
        "[evaluate.pgd10]",
        "[evaluate.pdg10]",
        &expect![[r"
            error: configs/recipes/scales/cpu.toml:37:11: unknown evaluation `pdg10`; did you mean `pgd10`? known: `autoattack`, `corruption`, `cw40`, `deepfool`, `mifgsm`, `natural`, `pgd10`, `pgd100`, `pgd1000`, `transfer`
              at evaluate.pdg10
        "]],
    );
}

#[test]
fn claims_and_pictures_of_what_there_is_not() {
    bad(
        "tables/table1.toml",
        "exceeds = \"resnet18/adversarial\"",
        "exceeds = \"resnet18/adverserial\"",
        &expect![[r"
            error: configs/tables/table1.toml:88:1: unknown row `resnet18/adverserial`; did you mean `resnet18/adversarial`? known: `resnet18/clean`, `resnet18/adversarial`, `resnet18/iaat`, `wrn-32-10/clean`, `wrn-32-10/adversarial`, `wrn-32-10/iaat`
              at claim[0].exceeds
        "]],
    );
    bad(
        "tables/table1.toml",
        "column = \"pgd1000\"",
        "column = \"pgd10000\"",
        &expect![[r"
            error: configs/tables/table1.toml:93:1: unknown column `pgd10000`; did you mean `pgd1000`? known: `natural`, `pgd10`, `pgd100`, `pgd1000`, `transfer`, `corruption`, `autoattack`
              at claim[1].column
        "]],
    );
    bad(
        "tables/table1.toml",
        "exceeds = \"resnet18/adversarial\"\n",
        "",
        &expect![[r"
            error: configs/tables/table1.toml:84:1: expected one of `exceeds` (or `exceeds_column`), `exceeds_value`, `below_value` and `curve`
              at claim[0]
        "]],
    );
    bad(
        "tables/figure2.toml",
        "row = \"iaat\"",
        "row = \"iat\"",
        &expect![[r"
            error: configs/tables/figure2.toml:34:1: unknown row `iat`; did you mean `iaat`? known: `iaat`
              at picture[0].draw.samples.row
        "]],
    );
}

#[test]
fn parts_of_pipelines() {
    bad(
        "recipes/iaat.toml",
        "attack.pgd",
        "attack.pdg",
        &expect![[r"
            error: configs/recipes/iaat.toml:6:8: unknown attack `pdg`; did you mean `pgd`? known: `apgd`, `cw-ball`, `cw-l2`, `cw-linf`, `deepfool`, `fab`, `fgsm`, `hop-skip-jump`, `mi-fgsm`, `pgd`, `ray-s`, `square`
              at pipeline.train.attack.pdg
        "]],
    );
    bad(
        "recipes/networks/resnet18.toml",
        "depth = 18",
        "detph = 18",
        &expect![[r"
            error: configs/recipes/networks/resnet18.toml:6:1: unknown field `detph`; did you mean `depth`? known: `depth`, `stem`, `width`, `mean`, `std`, `weights`
              at pipeline.model.resnet.detph
        "]],
    );
    bad(
        "recipes/networks/resnet18.toml",
        "momentum = 0.9",
        "momentum = 1.9",
        &expect![[r"
            error: configs/recipes/networks/resnet18.toml:14:25: invalid value: floating point `1.9`, expected a number of at least 0 and below 1
              at pipeline.train.optimizer.momentum
        "]],
    );
    bad(
        "recipes/protocol/evaluations.toml",
        "steps = 100,",
        "stpes = 100,",
        &expect![[r"
            error: configs/recipes/protocol/evaluations.toml:11:16: unknown field `stpes`; did you mean `steps`? known: `steps`, `step`, `relative_step`, `start`, `noise`, `restarts`, `success`, `target`, `loss`, `stop_after`
              at evaluate.pgd100.attack.pgd.stpes
        "]],
    );
    bad(
        "tables/table9.toml",
        "gamma = ",
        "gama = ",
        &expect![[r"
            error: configs/tables/table9.toml:36:45: unknown field `gama`; did you mean `gamma`? known: `start`, `warmup`, `gamma`, `beta`, `lower_bound`, `bound_memory`, `misclassified`, `memory`, `probe`
              at row[0].set.train.epsilon.instance-adaptive.gama
        "]],
    );
}

/// A table is no better than the recipes that it is composed of, and each mistake is told once.
#[test]
fn recipes_of_a_table() {
    let folder = copied();
    change(folder.path(), "recipes/iaat.toml", "beta = 0.1", "bta = 0.1");
    let files =
        ["check", "configs/tables/table7.toml", "configs/tables/table1.toml", "configs/recipes/iaat.toml"];
    refuses(
        folder.path(),
        &files,
        &expect![[r"
            error: configs/recipes/iaat.toml:13:1: unknown field `bta`; did you mean `beta`? known: `start`, `warmup`, `gamma`, `beta`, `lower_bound`, `bound_memory`, `misclassified`, `memory`, `probe`
              at pipeline.train.epsilon.instance-adaptive.bta
        "]],
    );
    // A run does not begin.
    let output = temper(folder.path(), &["reproduce", "table7", "--scale", "smoke"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("recipes/iaat.toml:13:1: unknown field `bta`"), "{}", stderr(&output));
    assert!(!folder.path().join("runs").exists() && !folder.path().join("reports").exists());
}

/// What no single file shows.
#[test]
fn composed_pipelines() {
    let folder = copied();
    change(folder.path(), "recipes/adversarial.toml", "epsilon.fixed = { radius = \"8/255\" }", "");
    succeed(folder.path(), &["check", "configs/recipes/adversarial.toml"]);
    refuses(
        folder.path(),
        &["check", "configs/tables/table1.toml"],
        &expect![[r#"
            error: configs/tables/table1.toml:54:1: row `resnet18/adversarial`, scale paper: its composed pipeline: attack `pgd` needs radii: add `epsilon.fixed = { radius = "8/255" }` or another policy, at train.attack
              at row[1]
              and the same in other pipelines of this table: 23
        "#]],
    );
}

#[test]
fn where_configs_are() {
    let folder = copied();
    let tables = folder.path().join("configs/tables");
    let said = succeed(&tables, &["check", "table7.toml", "../recipes/iaat.toml"]);
    assert!(
        said.contains("table7.toml: a sound table\n") && said.contains("iaat.toml: a sound recipe\n"),
        "{said}"
    );
    refuses(
        folder.path(),
        &["check", "--set", "seed=1", "configs/tables/table7.toml"],
        &expect![[r"
            error: --set seed=1: configs/tables/table7.toml is a table of an experiment, and only pipelines can be changed
        "]],
    );

    let elsewhere = tempfile::tempdir().unwrap();
    fs::copy(tables.join("table7.toml"), elsewhere.path().join("mine.toml")).unwrap();
    let output = temper(elsewhere.path(), &["check", "mine.toml"]);
    assert_eq!(output.status.code(), Some(2));
    let told = stderr(&output).replace(elsewhere.path().to_str().unwrap(), "HERE");
    expect![[r"
        error: mine.toml: cannot tell which networks and recipes there are: there are no configs/tables and configs/recipes in HERE or in a folder above it
          run this in a copy of temper's repository, or name the folder that holds `tables` and `recipes`: --configs DIR
    "]].assert_eq(&told);
    let configs = folder.path().join("configs");
    let said = succeed(elsewhere.path(), &["check", "mine.toml", "--configs", configs.to_str().unwrap()]);
    assert!(said.starts_with("mine.toml: a sound table\n"), "{said}");
    // Runs and reports lie beside the configs that were found above the current folder.
    let planned = temper(&tables, &["reproduce", "table7", "--scale", "smoke", "--dry-run"]);
    assert!(planned.status.success(), "{}", stderr(&planned));
    let told = temper(elsewhere.path(), &["reproduce", "table7"]);
    assert_eq!(told.status.code(), Some(2));
    assert!(stderr(&told).contains("name the folder that holds `tables` and `recipes`: --configs DIR"));
}
