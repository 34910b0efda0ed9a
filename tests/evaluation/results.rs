//! Suites, sweeps, targets and transfer, judged sample by sample: what one evaluation says must follow from others.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use candle_core::{DType, Device};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use temper_core::nn::Frozen;
use temper_core::{Ball, Batch, Goal, Norm, Passes, Rng, Source, Victim, VictimNetwork, perturb};
use temper_evaluate::{BatchGlimpse, Cell, Entry, Setting, Surrogate, evaluate};
use temper_nn::Classifier;
use temper_results::{Evaluation, Record, Records};

use crate::support::{TestImages, attack, judged, small_batch, small_network};

/// Images that a small network takes for their labels, but for one.
struct Stage {
    frozen: Frozen,
    source: Arc<dyn Source>,
}

impl Stage {
    fn new(n: usize) -> Self {
        let classifier = small_network(DType::F32);
        Self {
            frozen: Frozen::new(&classifier).unwrap(),
            source: TestImages::of(small_batch(&classifier, n)),
        }
    }

    /// The result of an entry and its records, in the order of the samples.
    fn judge(&self, text: &str) -> (Evaluation, Vec<Record>) {
        self.judge_on(text, None)
    }

    fn judge_on(&self, text: &str, surrogate: Option<&Frozen>) -> (Evaluation, Vec<Record>) {
        let entry: Entry = toml::from_str(text).unwrap();
        assert_eq!(entry.problem(), None, "{text}");
        let mut setting = Setting::new(&self.frozen, 16, 3, &Device::Cpu);
        setting.surrogate =
            surrogate.map(|network| Surrogate { network, name: "other", sha256: "of the other" });
        let mut records = vec![];
        let mut watch = |glimpse: &BatchGlimpse| {
            records.extend(glimpse.records.to_vec());
            ControlFlow::Continue(())
        };
        let cells = [Cell::clean(self.source.clone())];
        let result = evaluate(&setting, &entry, &cells, &mut Records::in_memory(), &mut watch);
        (result.unwrap().unwrap().evaluation, records)
    }

    fn standing(&self, text: &str) -> BTreeSet<u64> {
        let (evaluation, records) = self.judge(text);
        let standing: BTreeSet<u64> = records.iter().filter(|r| r.stands()).map(|r| r.sample).collect();
        assert_eq!(evaluation.accuracy, standing.len() as f64 / evaluation.n as f64);
        standing
    }
}

const CLEAN: &str = "start = \"clean\", success = \"any\"";

#[test]
fn a_suite_is_the_worst_case_of_its_attacks_and_tries_later_ones_on_survivors() {
    let stage = Stage::new(60);
    let attacks = [
        "\"fgsm\"",
        &format!("{{ pgd = {{ steps = 6, step = 0.01, {CLEAN} }} }}"),
        "{ deepfool = { norm = \"linf\" } }",
    ];
    let each: Vec<BTreeSet<u64>> = attacks
        .iter()
        .map(|a| stage.standing(&format!("name = \"a\"\nradius = 0.03\nattacks = [{a}]")))
        .collect();
    let text = format!("name = \"a\"\nradius = 0.03\nattacks = [{}]", attacks.join(", "));
    let (suite, records) = stage.judge(&text);
    let all: BTreeSet<u64> = records.iter().filter(|r| r.stands()).map(|r| r.sample).collect();
    let worst: BTreeSet<u64> =
        each[0].iter().filter(|s| each[1..].iter().all(|e| e.contains(s))).copied().collect();
    assert_eq!(all, worst);
    assert!(
        !worst.is_empty() && worst.len() < each[0].len(),
        "nothing can be told: {} of {}",
        worst.len(),
        each[0].len()
    );

    // Each attack ran on what the former ones left, and is given what it broke.
    let correct = records.iter().filter(|r| r.natural == Some(r.label)).count();
    let mut standing = correct;
    for (cost, label) in suite.attacks.iter().zip(["fgsm", "pgd-6", "deepfool"]) {
        assert_eq!((cost.attack.as_str(), cost.attacked), (label, standing));
        assert_eq!(cost.broken, records.iter().filter(|r| r.broken_by.as_deref() == Some(label)).count());
        standing -= cost.broken;
    }
    assert_eq!(standing, all.len());
    let passes: u64 = suite.attacks.iter().map(|cost| cost.forwards).sum();
    assert_eq!(suite.forwards, passes + 60, "the natural pass and the attacks'");
}

#[test]
fn two_attacks_of_one_name_are_told_apart() {
    let pgd = |steps| format!("{{ pgd = {{ steps = {steps}, step = 0.01, {CLEAN} }} }}");
    let text = format!("name = \"a\"\nradius = 0.03\nattacks = [{}, \"fgsm\", {}]", pgd(1), pgd(8));
    let (suite, _) = Stage::new(20).judge(&text);
    let labels: Vec<&str> = suite.attacks.iter().map(|cost| cost.attack.as_str()).collect();
    assert_eq!(labels, ["pgd-1", "fgsm", "pgd-8"]);
}

#[test]
fn what_speaks_against_a_number_is_said() {
    let stage = Stage::new(20);
    let warnings = |text: &str| -> Vec<String> {
        let (evaluation, _) = stage.judge(&format!("name = \"a\"\n{text}"));
        evaluation.warnings.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        warnings("radius = 0.05\nattack.pgd = { steps = 4, step = 0.01 }"),
        ["`pgd-4`: 4 steps of 0.0100 reach 0.0400, not the radius of 0.0500: take more or longer ones"]
    );
    assert_eq!(warnings("radius = 0.05\nattack.pgd = { steps = 5, step = 0.01 }"), Vec::<String>::new());
    assert_eq!(warnings("radius = 0.05\nattack.mi-fgsm = { travel = 0.5 }").len(), 1);
    assert_eq!(warnings("radius = 0.05\nattack = \"fgsm\""), Vec::<String>::new());
    let short = warnings("sweep.radius = [0.1, 0.6]\nattack.pgd = { steps = 1, step = 0.01 }");
    assert!(short.len() == 2 && short[1].contains("where every image can become grey"), "{short:?}");
    let falls = warnings("radius = 0.03\nsweep.steps = [1, 6]\nattack.pgd = { steps = 6, step = 0.005 }");
    assert_eq!(falls, ["it still falls from 1 to 6 steps: more may break more"]);
}

#[test]
fn restarts_of_an_entry_are_further_chances() {
    let stage = Stage::new(60);
    let entry = |restarts: usize| {
        format!(
            "name = \"a\"\nradius = 0.025\nrestarts = {restarts}\nattack.pgd = {{ steps = 1, step = 0.01 }}"
        )
    };
    let (one, many) = (stage.standing(&entry(1)), stage.standing(&entry(6)));
    assert!(many.is_subset(&one) && many.len() < one.len(), "{} and {}", one.len(), many.len());
    assert_eq!(stage.judge(&entry(6)).0.restarts, Some(6));
}

/// A sample that is broken within a radius is broken within every larger one.
#[test]
fn a_sweep_over_radii_has_the_points_of_single_evaluations_or_less() {
    let stage = Stage::new(60);
    let radii = [0.0, 0.01, 0.02, 0.04, 0.08];
    let attack = format!("attack.pgd = {{ steps = 8, step = 0.01, {CLEAN} }}");
    let (sweep, records) = stage.judge(&format!("name = \"a\"\nsweep.radius = {radii:?}\n{attack}"));
    let curve = sweep.curve.unwrap();
    let mut stand: Option<BTreeSet<u64>> = None;
    for (i, radius) in radii.iter().enumerate() {
        let alone = stage.standing(&format!("name = \"a\"\nradius = {radius}\n{attack}"));
        // Those that stood before and stand alone.
        let now: BTreeSet<u64> = match &stand {
            Some(before) => before.intersection(&alone).copied().collect(),
            None => alone,
        };
        assert_eq!(curve.points[i].at, *radius);
        assert_eq!(curve.points[i].accuracy, now.len() as f64 / 60.0, "radius {radius}");
        let recorded =
            records.iter().filter(|r| r.natural == Some(r.label) && r.radius.is_none_or(|at| at > *radius));
        assert_eq!(recorded.count(), now.len());
        stand = Some(now);
    }
    assert_eq!(curve.over.word(), "radius");
    assert!(curve.points[0].accuracy > curve.points[4].accuracy);
    assert_eq!(sweep.accuracy, curve.points[4].accuracy);
}

#[test]
fn a_minimum_norm_attack_gives_its_curve_in_one_run() {
    let stage = Stage::new(60);
    let radii = [0.005, 0.01, 0.02, 0.04];
    for attack in ["deepfool = { norm = \"linf\" }", "deepfool = {}"] {
        let (sweep, records) =
            stage.judge(&format!("name = \"a\"\nsweep.radius = {radii:?}\nattack.{attack}"));
        for (i, radius) in radii.iter().enumerate() {
            let alone = stage.standing(&format!("name = \"a\"\nradius = {radius}\nattack.{attack}"));
            assert_eq!(
                sweep.curve.as_ref().unwrap().points[i].accuracy,
                alone.len() as f64 / 60.0,
                "{radius}"
            );
        }
        let (once, _) = stage.judge(&format!("name = \"a\"\nradius = 0.04\nattack.{attack}"));
        assert_eq!((sweep.forwards, sweep.backwards), (once.forwards, once.backwards));
        // The distribution is that of the records.
        let mut distances: Vec<f64> = records.iter().filter_map(|r| r.min_norm).collect();
        distances.sort_by(f64::total_cmp);
        let n = distances.len();
        let distribution = sweep.distances.unwrap();
        assert_eq!(
            (distribution.n, distribution.found),
            (n, distances.iter().filter(|d| d.is_finite()).count())
        );
        assert_eq!(sweep.median_distance, Some(f64::midpoint(distances[(n - 1) / 2], distances[n / 2])));
        assert!(distribution.p5 < distribution.p25 && distribution.p75 < distribution.p95);
    }
}

/// With an entry's name and seed the starts are the same, whatever the number of steps.
#[test]
fn a_sweep_over_steps_has_the_points_of_single_evaluations() {
    let stage = Stage::new(60);
    for (judge, restarts) in [("any", 1), ("any", 3), ("final", 1), ("final", 3)] {
        let attack = |steps: usize| {
            format!(
                "attack.pgd = {{ steps = {steps}, step = 0.008, success = \"{judge}\", restarts = {restarts} }}"
            )
        };
        let milestones = [1, 2, 4, 9];
        let (sweep, records) =
            stage.judge(&format!("name = \"a\"\nradius = 0.03\nsweep.steps = {milestones:?}\n{}", attack(9)));
        let curve = sweep.curve.unwrap();
        assert_eq!(curve.over.word(), "steps");
        for (i, steps) in milestones.iter().enumerate() {
            let alone = stage.standing(&format!("name = \"a\"\nradius = 0.03\n{}", attack(*steps)));
            let recorded: BTreeSet<u64> = records
                .iter()
                .filter(|r| r.steps.as_ref().is_some_and(|broken| !broken[i]))
                .map(|r| r.sample)
                .collect();
            assert_eq!(recorded, alone, "judge {judge}, {restarts} restarts, {steps} steps");
            assert_eq!(curve.points[i].accuracy, alone.len() as f64 / 60.0);
        }
        assert!(curve.points[0].accuracy > curve.points[3].accuracy, "judge {judge}: nothing can be told");
    }
}

#[test]
fn all_targets_are_at_least_as_strong_as_any_one_of_them() {
    let stage = Stage::new(60);
    let entry = |target: &str| {
        format!(
            "name = \"a\"\nradius = 0.03\nattack.pgd = {{ steps = 6, step = 0.01, {CLEAN}, target = \"{target}\" }}"
        )
    };
    let all = stage.standing(&entry("all"));
    for one in ["random", "least-likely"] {
        let one = stage.standing(&entry(one));
        assert!(all.is_subset(&one) && all.len() < one.len(), "{} and {}", all.len(), one.len());
    }
    // On what no class breaks, every one of the four wrong ones was tried: so many steps each, at least.
    let (evaluation, _) = stage.judge(&entry("all"));
    assert!(evaluation.backwards >= (all.len() * 4 * 6) as u64);
    assert_eq!(evaluation.targets, None);
}

/// The white-box protocol of the paper: three attacks in turn, each under its label on what the former ones left.
#[test]
fn a_suite_runs_its_attacks_in_turn() {
    let stage = Stage::new(12);
    let (suite, records) =
        stage.judge("name = \"a\"\nradius = 0.02\nsuite.iaat-white-box = { step = 0.004 }");
    let labels: Vec<&str> = suite.attacks.iter().map(|cost| cost.attack.as_str()).collect();
    assert_eq!(labels, ["pgd-10x5", "pgd-100x5", "pgd-1000x2"]);
    assert_eq!((suite.attack, suite.restarts), (None, None));
    let standing = records.iter().filter(|record| record.stands()).count();
    assert_eq!(suite.accuracy, standing as f64 / 12.0);
    // The same attacks, written out.
    let pgd = |steps, restarts| {
        format!("{{ pgd = {{ steps = {steps}, step = 0.004, restarts = {restarts}, success = \"final\" }} }}")
    };
    let attacks = [pgd(10, 5), pgd(100, 5), pgd(1000, 2)].join(", ");
    let (_, written_out) = stage.judge(&format!("name = \"a\"\nradius = 0.02\nattacks = [{attacks}]"));
    assert_eq!(records, written_out);
    let entry: Entry =
        toml::from_str("name = \"a\"\nradius = 1.0\nnorm = \"l2\"\nsuite = \"iaat-white-box\"").unwrap();
    let problem = entry.problem().unwrap();
    assert_eq!(problem, ("suite", "the white-box protocol is defined in l-inf, not in l2".into()));
}

#[test]
fn targets_are_recorded_and_their_hits_counted() {
    let stage = Stage::new(60);
    let text = "name = \"a\"\nradius = 0.1\nattack.pgd = { steps = 10, step = 0.02, success = \"final\", target = \"random\" }";
    let (evaluation, records) = stage.judge(text);
    let hits = evaluation.targets.unwrap();
    let led: Vec<&Record> = records.iter().filter(|r| r.target.is_some()).collect();
    assert_eq!(hits.n, led.len());
    assert_eq!(hits.hits, led.iter().filter(|r| r.prediction == r.target).count());
    assert!(hits.hits > 0 && hits.interval[0] < hits.rate && hits.rate < hits.interval[1]);
    assert!(led.iter().all(|r| r.target != Some(r.label) && r.natural == Some(r.label)));
}

/// In another part of the data, in another batch, a sample is attacked as ever.
#[test]
fn a_part_of_the_images_gives_the_records_of_the_whole() {
    let stage = Stage::new(60);
    let text = "name = \"a\"\nradius = 0.03\nattack.pgd = { steps = 3, step = 0.01 }";
    let (_, whole) = stage.judge(text);
    let part = temper_data::Part::of(&stage.source, &[7, 41, 58]).ok().unwrap();
    let (_, few) = Stage { source: Arc::new(part), ..stage }.judge(text);
    let expected: Vec<&Record> = [7, 41, 58].iter().map(|i| &whole[*i]).collect();
    assert_eq!(few.iter().collect::<Vec<_>>(), expected);
}

#[test]
fn transferred_images_are_crafted_on_the_other_network() {
    let stage = Stage::new(60);
    let random = |seed| {
        let network = small_network(DType::F32).network().clone();
        Frozen::new(&Classifier::random(network, DType::F32, &mut ChaCha8Rng::seed_from_u64(seed)).unwrap())
            .unwrap()
    };
    let other = random(77);
    let text = "name = \"a\"\nradius = 0.05\nsurrogate = \"other\"\nattack.pgd = { steps = 5, step = 0.02 }";
    let (transferred, records) = stage.judge_on(text, Some(&other));
    let pgd = attack("pgd = { steps = 5, step = 0.02 }");
    let passes = Passes::default();
    for raw in temper_data::Batches::new(stage.source.clone(), (0..60).collect(), 60, None) {
        let batch = Batch::new(raw.unwrap(), &Device::Cpu).unwrap();
        let victim =
            |network| Victim::new(VictimNetwork::Frozen(network), &batch, Goal::Transfer, &passes).unwrap();
        let ball = Ball::new(&batch.pixels, &[0.05; 60], Norm::Linf, &batch.ids).unwrap();
        let rng = Rng::new(3, "evaluate").named("a");
        let crafted = perturb(&pgd, &victim(&other), &ball, &rng).unwrap().pixels;
        let judge = victim(&stage.frozen);
        let (natural, broken) = (judge.broken(&batch.pixels).unwrap(), judge.broken(&crafted).unwrap());
        for (i, record) in records.iter().enumerate() {
            assert_eq!(record.stands(), !natural[i] && !broken[i], "sample {i}");
        }
    }
    let white = stage.standing("name = \"a\"\nradius = 0.05\nattack.pgd = { steps = 5, step = 0.02 }");
    assert!(
        transferred.accuracy > white.len() as f64 / 60.0,
        "images of a stranger are as strong as its own"
    );
    assert_eq!(transferred.surrogate.as_deref(), Some("other"));
    assert_eq!(transferred.surrogate_sha256.as_deref(), Some("of the other"));

    // Stopping early is for training: a transfer attack goes on.
    let early = text.replace("step = 0.02", "step = 0.02, stop_after = 0");
    assert_eq!(stage.judge_on(&early, Some(&other)).1, records);

    // How far images must go on the other network says nothing of this one; whether they break it does.
    let text = "name = \"a\"\nradius = 10.0\nnorm = \"l2\"\nsurrogate = \"other\"\nattack = \"deepfool\"";
    let (nearest, records) = stage.judge_on(text, Some(&other));
    assert_eq!((nearest.distances, nearest.median_distance), (None, None));
    assert!(nearest.attacks[0].broken > 0 && records.iter().all(|record| record.min_norm.is_none()));
}

/// A minimum-norm attack is judged by what it found, however far that is.
#[test]
fn hits_of_a_minimum_norm_attack_do_not_depend_on_the_radius() {
    let stage = Stage::new(30);
    let hits = |radius: f64| {
        let attack = "attack.cw-l2 = { steps = 60, binary_search_steps = 4, learning_rate = 0.03, target = \"random\" }";
        let (evaluation, records) =
            stage.judge(&format!("name = \"a\"\nnorm = \"l2\"\nradius = {radius}\n{attack}"));
        for record in records.iter().filter(|record| record.min_norm.is_some_and(f64::is_finite)) {
            assert_eq!(record.prediction, record.target);
            let distance = record.distance.unwrap();
            assert_eq!(record.broken_by.is_some(), distance <= radius);
            assert!((distance - record.min_norm.unwrap()).abs() < 1e-5);
        }
        evaluation.targets.unwrap()
    };
    let (near, far) = (hits(0.3), hits(10.0));
    assert!(near == far && far.hits > 9, "{near:?} {far:?}");
}

/// Half is judged, the rest later: the same result, and nothing twice.
#[test]
fn what_is_judged_is_not_judged_again() {
    let stage = Stage::new(60);
    let entry: Entry =
        toml::from_str("name = \"a\"\nradius = 0.03\nattack.pgd = { steps = 3, step = 0.01 }").unwrap();
    let setting = Setting::new(&stage.frozen, 16, 3, &Device::Cpu);
    let cells = [Cell::clean(stage.source.clone())];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.jsonl");
    let run = |most: usize| {
        let mut batches = 0;
        let mut watch = |_: &BatchGlimpse| {
            batches += 1;
            if batches == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let mut records = Records::open(&file, |_| true).unwrap();
        let result = evaluate(&setting, &entry, &cells, &mut records, &mut watch).unwrap();
        (result, batches)
    };
    assert_eq!(run(2), (None, 2));
    let (resumed, batches) = run(9);
    assert_eq!(batches, 2);
    assert_eq!(run(9).1, 0, "all was judged");
    let timeless = |mut evaluation: Evaluation| {
        evaluation.seconds = 0.0;
        evaluation.attacks.iter_mut().for_each(|cost| cost.seconds = 0.0);
        evaluation
    };
    let whole = judged(&stage.frozen, &stage.source, &entry, 3);
    assert_eq!(timeless(resumed.unwrap().evaluation), timeless(whole));
}
