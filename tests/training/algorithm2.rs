//! Algorithm 2 against a table worked by hand, and against the envelopes that follow from it.
//!
//! The network is linear, so FGSM breaks a sample exactly when its radius exceeds the sample's distance to
//! the boundary.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use temper_core::nn::{Classifier, Frozen};
use temper_core::{Batch, Chosen, Epsilon, Goal, Norm, Passes, Rng, Victim, VictimNetwork, Visit, summaries};

use crate::support::attack;

/// One pixel; class 1 above 0.5, class 0 below.
fn threshold() -> Classifier {
    let mut network = temper_core::nn::Network::new([1, 1, 1]);
    network.linear(network.input(), "fc", 2).unwrap();
    let weights = BTreeMap::from([
        ("fc.weight".to_string(), Tensor::new(&[[-1f32], [1.0]], &Device::Cpu).unwrap()),
        ("fc.bias".to_string(), Tensor::new(&[0.5f32, -0.5], &Device::Cpu).unwrap()),
    ]);
    Classifier::new(network, &weights).unwrap()
}

/// Radii and memory after each of `visits` visits in `epochs`, for samples at signed distances from the boundary: a
/// negative one is misclassified.
fn visits(policy: &str, distances: &[f32], epochs: std::ops::Range<usize>) -> Vec<(Vec<f64>, Vec<f64>)> {
    let epsilon = epsilon(policy);
    visits_from(&epsilon, epsilon.start(), distances, epochs)
}

/// A policy from TOML.
fn epsilon(policy: &str) -> Chosen<dyn Epsilon> {
    let table: toml::Table = format!("epsilon.{policy}").parse().unwrap();
    table["epsilon"].clone().try_into().unwrap()
}

/// Like [`visits`], with another radius than the policy's in the initial memory of every sample.
fn visits_from(
    epsilon: &Chosen<dyn Epsilon>,
    start: f64,
    distances: &[f32],
    epochs: std::ops::Range<usize>,
) -> Vec<(Vec<f64>, Vec<f64>)> {
    let n = distances.len();
    let pixels: Vec<f32> = distances.iter().map(|d| 0.5 + d).collect();
    let batch = Batch {
        pixels: Tensor::from_vec(pixels, (n, 1, 1, 1), &Device::Cpu).unwrap(),
        labels: Tensor::from_vec(vec![1u32; n], n, &Device::Cpu).unwrap(),
        ids: (0..n as u64).collect(),
    };
    let (classifier, passes) = (threshold(), Passes::default());
    let frozen = Frozen::new(&classifier).unwrap();
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Loss, &passes).unwrap();
    let fgsm = attack("fgsm = {}");
    let mut memory = vec![start; n];
    epochs
        .map(|epoch| {
            let mut visit =
                Visit::new(epoch, memory.clone(), &victim, &fgsm, Norm::Linf, Rng::new(0, "probes"));
            let radii = epsilon.radii(&mut visit).unwrap();
            memory = visit.into_memory();
            (radii, memory.clone())
        })
        .collect()
}

fn close(got: &[f64], want: &[f64], what: &str) {
    assert_eq!(got.len(), want.len());
    assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-12), "{what}: {got:?}, expected {want:?}");
}

/// The warm-ups of the defaults last ten epochs.
#[test]
fn a_policy_refuses_the_radii_of_a_run_exactly_where_they_would_do_nothing() {
    let plugins = summaries().into_iter().filter(|plugin| plugin.kind == "epsilon");
    let mut policies: Vec<String> = plugins.map(|plugin| format!("{} = {{}}", plugin.name)).collect();
    policies.push("instance-adaptive = { memory = \"zero\" }".into());
    policies.push("instance-adaptive = { memory = \"zero\", warmup = 0 }".into());
    policies.push("line-search = { beta = 0.5 }".into());
    let mut refusing = 0;
    for policy in &policies {
        let epsilon = epsilon(policy);
        let [one, other] = [0.02, 0.06].map(|start| visits_from(&epsilon, start, &[0.4, 0.05], 0..14));
        let ignored = one.iter().zip(&other).all(|((one, _), (other, _))| one == other);
        assert_eq!(epsilon.refuses_radii().is_some(), ignored, "{policy}");
        refusing += usize::from(ignored);
    }
    assert!(refusing >= 3 && policies.len() - refusing >= 3, "{refusing} of {policies:?}");
}

/// start 0.10, gamma 0.04, beta 0.25, so a visit moves a radius by 0.01 at most. By hand:
/// - far (distance 0.40): 0.14, 0.15, ... never break it; it gains 0.01 a visit;
/// - edge (0.12): 0.14 breaks it, 0.10 does not; it stays at 0.10;
/// - near (0.085): 0.14 and 0.10 break it: 0.09; there 0.13 and 0.09 do: 0.08; there 0.12 does, 0.08 not: stays;
/// - wrong (-0.1): both probes fail on it; it loses 0.01 a visit and trains clean.
#[test]
fn the_papers_reading_follows_the_hand_worked_table() {
    let policy = "instance-adaptive = { start = 0.10, warmup = 1, gamma = 0.04, beta = 0.25 }";
    let got = visits(policy, &[0.4, 0.12, 0.085, -0.1], 0..4);
    let memory = [
        [0.10, 0.10, 0.10, 0.10],
        [0.11, 0.10, 0.09, 0.09],
        [0.12, 0.10, 0.08, 0.08],
        [0.13, 0.10, 0.08, 0.07],
    ];
    for (visit, ((radii, remembered), want)) in got.iter().zip(memory).enumerate() {
        close(remembered, &want, &format!("memory after visit {visit}"));
        close(radii, &[want[0], want[1], want[2], 0.0], &format!("radii of visit {visit}"));
    }
}

/// The authors' code: memory from 0, the warm-up writes 0.10 for correct samples and 0 for others; then a misclassified
/// sample's candidate is 0, so it decays by 1 - beta and is attacked all the same.
#[test]
fn the_authors_reading_follows_the_hand_worked_table() {
    let policy = "instance-adaptive = { start = 0.10, warmup = 1, gamma = 0.04, beta = 0.25, misclassified = \"decay\", memory = \"zero\" }";
    let got = visits(policy, &[0.4, 0.12, 0.085, -0.1], 0..3);
    let memory = [[0.10, 0.10, 0.10, 0.0], [0.11, 0.10, 0.09, 0.0], [0.12, 0.10, 0.08, 0.0]];
    for (visit, ((radii, remembered), want)) in got.iter().zip(memory).enumerate() {
        close(remembered, &want, &format!("memory after visit {visit}"));
        close(radii, &want, &format!("radii of visit {visit}"));
    }
    // Without a warm-up nothing writes the memory first.
    let cold = visits(&policy.replace("warmup = 1", "warmup = 0"), &[0.4], 0..2);
    close(&cold[1].1, &[0.02], "memory from 0");
}

#[test]
fn an_always_misclassified_sample_decays_by_one_minus_beta() {
    let policy = "instance-adaptive = { start = 0.10, warmup = 0, beta = 0.1, misclassified = \"decay\" }";
    for (n, (radii, memory)) in visits(policy, &[-0.2], 0..30).iter().enumerate() {
        close(memory, &[0.1 * 0.9f64.powi(n as i32 + 1)], "decay");
        close(radii, memory, "a decayed sample is attacked");
    }
}

#[test]
fn radii_stay_within_the_envelope_and_reach_its_edges() {
    let policy = "instance-adaptive = { start = \"8/255\", warmup = 0, gamma = \"1.9/255\", beta = 0.1 }";
    let distances: Vec<f32> = (0..40).map(|i| i as f32 * 0.005 - 0.05).chain([0.499]).collect();
    let all = visits(policy, &distances, 0..60);
    for (visit, (_, memory)) in all.iter().enumerate() {
        let reach = 0.1 * (1.9 / 255.0) * (visit + 1) as f64;
        let (low, high) = ((8.0 / 255.0 - reach).max(0.0), 8.0 / 255.0 + reach);
        assert!(memory.iter().all(|m| (low - 1e-12..=high + 1e-12).contains(m)), "visit {visit}: {memory:?}");
        close(&memory[40..], &[high], "an always robust sample gains beta gamma a visit");
        if visit < 30 {
            close(&memory[..1], &[low], "an always failing sample loses beta gamma a visit");
        }
    }
}

#[test]
fn a_lower_bound_holds_for_training_and_for_the_memory_only_if_asked() {
    let policy = |bound| {
        format!(
            "instance-adaptive = {{ start = 0.03, warmup = 0, gamma = 0.02, beta = 0.5, lower_bound = 0.025, bound_memory = {bound} }}"
        )
    };
    let free = visits(&policy(false), &[0.001], 0..2);
    close(&free[1].0, &[0.025], "radius");
    close(&free[1].1, &[0.01], "memory");
    let bound = visits(&policy(true), &[0.001], 0..2);
    close(&bound[1].1, &[0.025], "bounded memory");
    // Algorithm 1 trains a misclassified sample clean, whatever the bound.
    close(&visits(&policy(false), &[-0.1], 0..1)[0].0, &[0.0], "misclassified");
}

#[test]
fn a_policy_of_its_own_probe_uses_it() {
    // A probe that takes only a tenth of the way never breaks these samples: they grow where the training
    // attack fails them.
    let policy = "instance-adaptive = { start = 0.10, warmup = 0, gamma = 0.04, beta = 0.25, probe.fgsm = { step = 0.1 } }";
    close(&visits(policy, &[0.085], 0..1)[0].1, &[0.11], "memory");
}

#[test]
fn the_fixed_policy_attacks_every_sample() {
    let got = visits("fixed = { radius = 0.05 }", &[0.4, -0.1], 0..2);
    assert_eq!(got[1], (vec![0.05; 2], vec![0.05; 2]));
}

/// The second probe runs only on what the first one broke, with the numbers of running it on all.
#[test]
fn probes_run_only_where_algorithm_2_needs_them() {
    let (classifier, passes) = (threshold(), Passes::default());
    let frozen = Frozen::new(&classifier).unwrap();
    let batch = Batch {
        pixels: Tensor::new(&[0.9f32, 0.62, 0.585, 0.9], &Device::Cpu)
            .unwrap()
            .reshape((4, 1, 1, 1))
            .unwrap(),
        labels: Tensor::new(&[1u32, 1, 1, 1], &Device::Cpu).unwrap(),
        ids: vec![0, 1, 2, 3],
    };
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Loss, &passes).unwrap();
    let fgsm = attack("fgsm = {}");
    let epsilon = Chosen::<dyn Epsilon>::by_name("instance-adaptive").unwrap();
    let mut visit = Visit::new(99, vec![0.118; 4], &victim, &fgsm, Norm::Linf, Rng::new(0, "probes"));
    epsilon.radii(&mut visit).unwrap();
    // One probe of four samples, one of the two that fell.
    assert_eq!(passes.backwards(), 4 + 2);
}

/// A weaker attack for the selection than for training: its probes cost what the weaker one does.
#[test]
fn a_weaker_probe_costs_fewer_passes() {
    let (classifier, passes) = (threshold(), Passes::default());
    let frozen = Frozen::new(&classifier).unwrap();
    let batch = Batch {
        pixels: Tensor::new(&[0.9f32, 0.62, 0.585], &Device::Cpu).unwrap().reshape((3, 1, 1, 1)).unwrap(),
        labels: Tensor::new(&[1u32, 1, 1], &Device::Cpu).unwrap(),
        ids: vec![0, 1, 2],
    };
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Loss, &passes).unwrap();
    let strong = attack("pgd = { steps = 30, step = 0.02 }");
    let spent = |probe: &str| {
        let table: toml::Table =
            format!("epsilon.instance-adaptive = {{ warmup = 0, {probe} }}").parse().unwrap();
        let epsilon: Chosen<dyn Epsilon> = table["epsilon"].clone().try_into().unwrap();
        let mut visit = Visit::new(0, vec![0.118; 3], &victim, &strong, Norm::Linf, Rng::new(0, "probes"));
        let before = passes.backwards();
        epsilon.radii(&mut visit).unwrap();
        passes.backwards() - before
    };
    // Three samples at m + gamma, and the two that fell at m.
    assert_eq!(spent("probe.pgd = { steps = 10, step = 0.02 }"), 10 * (3 + 2));
    assert_eq!(spent(""), 30 * (3 + 2));
}
