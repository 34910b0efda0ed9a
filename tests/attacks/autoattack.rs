//! The suites `autoattack` and `apgd-suite`: their members in each version, and what few classes make of them.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use temper_core::nn::{Classifier, Frozen, Network};
use temper_core::{Batch, Chosen, Member, Norm, Suite};
use temper_evaluate::Entry;

use crate::support::{TestImages, judged, linear, small_batch, small_network};

fn members(suite: &str, norm: Norm, classes: usize) -> Vec<Member> {
    let suite: Chosen<dyn Suite> = toml::from_str(suite).unwrap();
    assert_eq!(suite.problem(norm), None);
    suite.members(norm, classes).unwrap()
}

fn labels(members: &[Member]) -> Vec<&str> {
    members.iter().map(|member| member.label.as_str()).collect()
}

fn whole(member: &Member, key: &str) -> Option<i64> {
    member.attack.params().get(key).and_then(toml::Value::as_integer)
}

#[test]
fn every_version_has_the_attacks_of_the_authors_code() {
    for norm in [Norm::Linf, Norm::L2] {
        let standard = members("autoattack = {}", norm, 10);
        assert_eq!(labels(&standard), ["apgd-ce", "apgd-t", "fab-t", "square"]);
        let names: Vec<&str> = standard.iter().map(|member| member.attack.name()).collect();
        assert_eq!(names, ["apgd", "apgd", "fab", "square"]);
        assert_eq!(standard[2].attack.min_norm(), Some(norm));
        assert_eq!([0, 1, 2].map(|i| whole(&standard[i], "steps")), [Some(100); 3]);
        assert_eq!(whole(&standard[3], "queries"), Some(5000));
        for member in &standard {
            assert_eq!(whole(member, "restarts"), Some(1), "{}", member.label);
            assert_eq!((member.runs(), member.attack.problem(norm)), (1, None), "{}", member.label);
            assert_eq!(member.attack.warning_for_classes(10), None, "{}", member.label);
        }
        let plus = members("autoattack = { version = \"plus\" }", norm, 10);
        assert_eq!(labels(&plus), ["apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"]);
        let restarts: Vec<Option<i64>> = plus.iter().map(|member| whole(member, "restarts")).collect();
        assert_eq!(restarts, [5, 5, 5, 1, 1, 1].map(Some));
        let rand = members("autoattack = { version = \"rand\" }", norm, 10);
        assert_eq!(labels(&rand), ["apgd-ce", "apgd-dlr"]);
        assert!(rand.iter().all(|member| whole(member, "eot") == Some(20)));
        assert_eq!(labels(&members("apgd-suite = {}", norm, 10)), ["apgd-ce", "apgd-t"]);
        let word = |member: &Member, key: &str| {
            member.attack.params().get(key).and_then(toml::Value::as_str).map(String::from)
        };
        for (oversights, first, places) in [(false, "start", "all"), (true, "zero", "all-but-last")] {
            let all = members(&format!("autoattack = {{ oversights = {oversights} }}"), norm, 10);
            assert_eq!(labels(&all), ["apgd-ce", "apgd-t", "fab-t", "square"]);
            assert!([0, 1].iter().all(|i| word(&all[*i], "first_window").as_deref() == Some(first)));
            assert_eq!(word(&all[3], "places").as_deref(), Some(places));
        }
    }
}

#[test]
fn with_few_classes_labels_and_warnings_say_what_ran() {
    let four = members("autoattack = {}", Norm::Linf, 4);
    assert_eq!(labels(&four), ["apgd-ce", "apgd-t-top3", "fab-t-top3", "square"]);
    assert_eq!(four[1].attack.warning_for_classes(4), None);
    for classes in [2, 3] {
        let few = members("autoattack = {}", Norm::Linf, classes);
        assert_eq!(few[1].label, format!("apgd-margin-t-top{}", classes - 1));
        let warning = few[1].attack.warning_for_classes(classes).unwrap();
        assert!(warning.contains(&format!("at least 4 classes, not {classes}")), "{warning}");
    }
    assert_eq!(
        labels(&members("autoattack = { version = \"rand\" }", Norm::L2, 2)),
        ["apgd-ce", "apgd-margin"]
    );
}

/// No attack of the suite may lose what another one broke, and results name what few classes changed.
#[test]
fn the_suite_breaks_at_least_what_its_first_attack_breaks() {
    let classifier = small_network(DType::F32);
    let source = TestImages::of(small_batch(&classifier, 12));
    let frozen = Frozen::new(&classifier).unwrap();
    let under = |text: &str| {
        let entry: Entry = toml::from_str(&format!("name = \"a\"\nradius = 0.02\n{text}")).unwrap();
        judged(&frozen, &source, &entry, 1)
    };
    let (first, shortcut, all) =
        (under("attack.apgd = {}"), under("suite = \"apgd-suite\""), under("suite = \"autoattack\""));
    assert!(shortcut.accuracy <= first.accuracy && all.accuracy <= shortcut.accuracy);
    assert!(all.accuracy > 0.0 && first.accuracy < 1.0, "the radius makes this test empty: {}", all.accuracy);
    // Five classes.
    let labels: Vec<&str> = all.attacks.iter().map(|cost| cost.attack.as_str()).collect();
    assert_eq!(labels, ["apgd-ce", "apgd-t-top4", "fab-t-top4", "square"]);
    assert!(!all.warnings.iter().any(|warning| warning.text.contains("dlr")), "{:?}", all.warnings);
}

#[test]
fn results_warn_that_dlr_became_the_margin() {
    let mut row = vec![0.0; 128];
    let flat = row.clone();
    row[0] = 1.0;
    let network = Frozen::new(&linear([2, 8, 8], &[flat, row], &[0.0, -2.0])).unwrap();
    let batch = small_batch(&small_network(DType::F32), 3);
    let batch = temper_core::Batch { labels: batch.labels.zeros_like().unwrap(), ..batch };
    let entry: Entry = toml::from_str("name = \"a\"\nradius = 0.02\nsuite = \"apgd-suite\"").unwrap();
    let evaluation = judged(&network, &TestImages::of(batch), &entry, 1);
    let warning = "`apgd-margin-t-top1`: the targeted loss `dlr` needs at least 4 classes, not 2";
    assert!(
        evaluation.warnings.iter().any(|said| said.text.starts_with(warning)),
        "{:?}",
        evaluation.warnings
    );
}

/// A network without a gradient near its images, which only a search without gradients can leave: it sees class 0 until
/// a column of pixels is raised by more than half of the radius.
#[test]
fn square_breaks_what_gradients_do_not_see() {
    let mut network = Network::new([2, 8, 8]);
    let x = network.linear(network.input(), "column", 1).unwrap();
    let x = network.relu(x);
    network.linear(x, "out", 4).unwrap();
    let column: Vec<f32> =
        (0..128).map(|pixel| if pixel < 64 && pixel % 8 == 3 { 1.0 } else { 0.0 }).collect();
    let tensor =
        |values: Vec<f32>, shape: (usize, usize)| Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
    let bias = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
    let weights = BTreeMap::from([
        ("column.weight".to_string(), tensor(column, (1, 128))),
        // Eight pixels of 0.5, and 0.05 more each.
        ("column.bias".to_string(), bias(&[-8.0 * 0.55])),
        ("out.weight".to_string(), tensor(vec![0.0, 9.0, 0.0, 0.0], (4, 1))),
        ("out.bias".to_string(), bias(&[0.1, 0.0, -0.1, -0.2])),
    ]);
    let frozen = Frozen::new(&Classifier::new(network, &weights).unwrap()).unwrap();
    let n = 16;
    let pixels = (Tensor::ones((n, 2, 8, 8), DType::F32, &Device::Cpu).unwrap() * 0.5).unwrap();
    let labels = Tensor::zeros(n, DType::U32, &Device::Cpu).unwrap();
    let batch = Batch { pixels, labels, ids: (0..n as u64).collect() };
    let entry: Entry = toml::from_str("name = \"a\"\nradius = 0.1\nsuite = \"autoattack\"").unwrap();
    let evaluation = judged(&frozen, &TestImages::of(batch), &entry, 1);
    let broken: Vec<usize> = evaluation.attacks.iter().map(|cost| cost.broken).collect();
    assert_eq!(broken[2], 0, "no boundary can be seen: {broken:?}");
    assert!(broken[3] > n / 2 && evaluation.accuracy < 0.2, "{broken:?}");
    let queries = evaluation.attacks[3].queries.as_ref().unwrap();
    assert!(queries.budget == Some(5000) && queries.median.unwrap() >= 1.0, "{queries:?}");
    assert!(evaluation.attacks[..3].iter().all(|cost| cost.queries.is_none()));
}
