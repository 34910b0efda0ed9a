//! `temper show`: one sample through all evaluations of a run.

use std::fs;

use expect_test::expect;
use temper_results::{Columns, Line, RadiiFile, Record};

use crate::support::{STRIPES, fails, playground, refuses, succeed};

const EVALUATIONS: &str = r#"
[[evaluate]]
name = "suite"
radius = 0.1
attacks = ["fgsm", "pgd"]

[[evaluate]]
name = "curve"
attack.pgd = { steps = 4, step = 0.05, target = "random" }
sweep.radius = [0.01, 0.05, 0.1]

[[evaluate]]
name = "after steps"
radius = 0.1
attack.pgd = { steps = 4, step = 0.05 }
sweep.steps = [1, 2, 4]

[[evaluate]]
name = "far"
radius = 1.5
norm = "l2"
attack = "deepfool"
samples = 8
"#;

#[test]
fn all_evaluations_tell_what_they_saw_of_a_sample() {
    let folder = playground(&(STRIPES.replace("epochs = 3", "epochs = 2") + EVALUATIONS));
    succeed(folder.path(), &["run", "run.toml"]);
    let records = fs::read_to_string(folder.path().join("runs/run/records.jsonl")).unwrap();
    let lines: Vec<Line> = records.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Every sample is told of, in 80 columns, as the records have it.
    let (mut broken, mut stood) = (0, 0);
    for sample in 0..80u64 {
        let said = succeed(folder.path(), &["show", "runs/run", "--sample", &sample.to_string()]);
        assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
        // What speaks against the run's numbers comes first.
        let (warnings, _) = said.split_once("sample ").unwrap();
        assert!(warnings.starts_with("warning ") || warnings.is_empty(), "{said}");
        assert!(
            said[warnings.len()..].starts_with(&format!("sample {sample}, of class {}", sample % 10)),
            "{said}"
        );
        let of = |name: &str| -> Option<Record> {
            let own = lines.iter().filter(|line| line.evaluation == name);
            own.flat_map(|line| line.samples.records()).find(|record| record.sample == sample)
        };
        let pgd = of("pgd").unwrap();
        let verdict = match (&pgd.broken_by, pgd.natural == Some(pgd.label)) {
            (Some(_), _) => "pgd, last weights: broken by pgd-5x2\n",
            (None, true) => "pgd, last weights: stands\n",
            (None, false) => "pgd, last weights: wrong already without an attack\n",
        };
        assert!(said.contains(verdict), "{said}");
        broken += usize::from(pgd.broken_by.is_some());
        stood += usize::from(pgd.stands());
        if let Some(attack) = of("suite").unwrap().broken_by {
            assert!(said.contains(&format!("suite, last weights: broken by {attack}\n")), "{said}");
        }
        let distance =
            pgd.distance.map(|d| format!(", l-inf distance {}", format!("{d:.5}").trim_end_matches('0')));
        let joined = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(distance.is_none_or(|distance| joined.contains(&distance)), "{said}");
        assert_eq!(joined.contains("not among the images of: far, last weights"), sample % 10 != 0, "{said}");
        if of("far").is_some_and(|record| record.min_norm.is_some()) {
            assert!(joined.contains("smallest distance found, whatever the radius: "), "{said}");
        }
    }
    assert!(broken > 0 && stood > 0, "{broken} {stood}: nothing to tell apart");
    let one = succeed(folder.path(), &["show", "runs/run", "--sample", "17", "--evaluation", "after steps"]);
    assert!(one.contains("after steps, last weights: ") && !one.contains("suite"), "{one}");
    assert!(one.contains(" after step 1") || one.contains("wrong already"), "{one}");
}

#[test]
fn corruptions_are_told_by_kind() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    fs::create_dir(&run).unwrap();
    let cell = |kind: &str, severity: usize, right: bool| {
        let natural = Some(if right { 2 } else { 3 });
        let record = Record { sample: 5, label: 2, natural, prediction: natural, ..Record::default() };
        let line = Line {
            fingerprint: None,
            evaluation: "c".into(),
            weights: "best".into(),
            corruption: Some(format!("{kind} {severity}")),
            key: "k".into(),
            data: temper_results::DataDigest::default(),
            probabilities: false,
            samples: Columns::of(vec![record]),
            unreadable: [].into(),
            costs: vec![],
        };
        serde_json::to_string(&line).unwrap() + "\n"
    };
    let cells = (1..=3).flat_map(|severity| {
        [("fog", severity < 3), ("snow", false), ("frost", true)]
            .map(|(kind, right)| cell(kind, severity, right))
    });
    fs::write(run.join("records.jsonl"), cells.collect::<String>()).unwrap();
    expect![[r"
        sample 5, of class 2

        c, best weights: wrong on 4 of 9 corrupted images
          fog: wrong at severity 3
          wrong at every severity: snow
          right at every severity: frost
    "]]
    .assert_eq(&succeed(folder.path(), &["show", "run", "--sample", "5"]));
}

#[test]
fn what_is_not_known_is_said() {
    let folder = playground(&STRIPES.replace("epochs = 3", "epochs = 1"));
    succeed(folder.path(), &["run", "run.toml"]);
    refuses(
        folder.path(),
        &["show", "runs/run", "--sample", "80"],
        &expect![[r"
            error: --sample 80: it was not judged; known: 80 samples from 0 to 79, the nearest 79
        "]],
    );
    refuses(
        folder.path(),
        &["show", "runs/run", "--sample", "1", "--evaluation", "pdg"],
        &expect![[r"
            error: --evaluation pdg: no such evaluation; did you mean `pgd`? known: `natural`, `pgd`
        "]],
    );
    fails(
        folder.path(),
        &["show", "runs/other", "--sample", "1"],
        &expect![[r"
            error: there is no folder runs/other: expected that of a run
        "]],
    );
    fs::remove_file(folder.path().join("runs/run/records.jsonl")).unwrap();
    fails(
        folder.path(),
        &["show", "runs/run", "--sample", "1"],
        &expect![[r"
            error: no sample was judged: runs/run/records.jsonl is not there, or empty
              the [[evaluate]] tables of a pipeline have it written: continue the run with --resume
        "]],
    );
}

/// A training sample: which part of the split it is in, and its radius after each epoch.
#[test]
fn a_training_sample_has_its_radii_or_a_reason_why_it_has_none() {
    let pipeline = format!("subset.train = 160\n{STRIPES}\n[select]\nsamples = 40\n");
    let folder = playground(&pipeline);
    let folder = folder.path();
    succeed(folder, &["run", "run.toml"]);
    let show = |sample: i64| {
        let args = ["show", "runs/run", "--sample", &sample.to_string(), "--split", "train"];
        let said = succeed(folder, &args);
        assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
        said
    };
    let files = RadiiFile::of(&folder.join("runs/run")).unwrap();
    let trained = files[0].read().unwrap().index;
    assert_eq!(trained.len(), 120);
    for file in &files {
        let mut radii = file.read().unwrap();
        let levels = |at: usize| (file.epoch * 10 + at) as f64 / 255.0;
        radii.radii = (0..trained.len()).map(levels).collect();
        radii.write(&file.file).unwrap();
    }
    // The subset has every second image.
    let subset: Vec<i64> = (0..160).map(|i| 2 * i).collect();
    let held_out = subset.iter().find(|sample| !trained.contains(sample)).unwrap();
    let sample = trained[30];
    let anyone = |sample: i64| {
        let own = format!("sample {sample}, of class {}", sample % 10);
        show(sample).replace(&own, "sample S, of class C")
    };
    expect![[r"
        warning 5 % of all radii ended above 0.1400, for which the training attack is
                doubtful: 2 steps of 0.0500 reach 0.1000, not the radius of 0.1400:
                take more or longer ones
        training sample S, of class C (Pullover)
          trained on

        l-inf radius after each epoch, as n/255
          epoch 1   40.0  50.0  60.0
          after epoch 3 it is 60/255; 25.0 % of all 120 are smaller, 74.2 % larger
    "]]
    .assert_eq(&anyone(sample));
    expect![[r"
        warning 5 % of all radii ended above 0.1400, for which the training attack is
                doubtful: 2 steps of 0.0500 reach 0.1000, not the radius of 0.1400:
                take more or longer ones
        training sample S, of class C (Coat)
          held out by [select], so not trained on: it has no radius
    "]]
    .assert_eq(&anyone(*held_out));
    expect![[r"
        warning 5 % of all radii ended above 0.1400, for which the training attack is
                doubtful: 2 steps of 0.0500 reach 0.1000, not the radius of 0.1400:
                take more or longer ones
        training sample S, of class C (Sneaker)
          not trained on, so it has no radius: it is not in the subset of 160 of 320
            that `subset.train` takes
    "]]
    .assert_eq(&anyone(17));
    refuses(
        folder,
        &["show", "runs/run", "--sample", "320", "--split", "train"],
        &expect![[r"
            error: --sample 320: the training split has 320 samples, from 0 to 319: data
        "]],
    );
    refuses(
        folder,
        &["show", "runs/run", "--sample", "1", "--split", "train", "--evaluation", "pgd"],
        &expect![[r"
            error: --evaluation: evaluations judge test images, not training samples: leave it out
        "]],
    );
    refuses(
        folder,
        &["show", "data", "--sample", "1", "--split", "train"],
        &expect![[r"
        error: data holds no run: expected the folder that `temper run` wrote
    "]],
    );
    // Without the data.
    fs::remove_dir_all(folder.join("data")).unwrap();
    let said = show(sample);
    assert!(
        said.contains(&format!("training sample {sample}\n  trained on; its class is not known: no ")),
        "{said}"
    );
    assert!(said.contains("\n  epoch 1   40.0  50.0  60.0\n"), "{said}");
    assert!(show(*held_out).contains("it has no radius: it was held out, is not in the subset"));
}
