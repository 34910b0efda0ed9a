//! Losses as a step runs them: what they attack, what passes they take, what they leave in batch norm; line
//! search of radii.

use candle_core::{DType, Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use temper_core::{
    Attack, Ball, Batch, Chosen, Epsilon, Goal, Loss, Norm, Passes, Rng, Rows, Score, Step, Victim,
    VictimNetwork, Visit, cross_entropy, log_softmax, perturb,
};
use temper_nn::{BatchNorm, Classifier, Conv2d, Frozen};

use crate::support::{attack, numbers, small_batch, small_network};

fn loss(text: &str) -> Chosen<dyn Loss> {
    let table: toml::Table = format!("loss.{text}").parse().unwrap();
    table["loss"].clone().try_into().unwrap()
}

/// The small network's kind, with batch norm; the same weights each time.
fn normed() -> Classifier {
    let mut network = temper_nn::Network::new([2, 8, 8]);
    let conv = Conv2d { channels: 6, kernel: 3, stride: 2, padding: 1, bias: false };
    let x = network.conv(network.input(), "conv1", conv).unwrap();
    let x = network.batch_norm(x, "bn1");
    let x = network.relu(x);
    network.linear(x, "fc1", 5).unwrap();
    Classifier::random(network, DType::F32, &mut ChaCha8Rng::seed_from_u64(3)).unwrap()
}

/// One step's loss value, the classifier's weights after it, and its passes: in training mode, then those of
/// the attack.
fn step(
    loss: &Chosen<dyn Loss>,
    classifier: &Classifier,
    batch: &Batch,
    pgd: Option<&Chosen<dyn Attack>>,
    radii: &[f64],
) -> (f64, usize, Passes) {
    let frozen = Frozen::new(classifier).unwrap();
    let passes = Passes::default();
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), batch, Goal::Loss, &passes).unwrap();
    let mut step = Step::new(classifier, batch, &victim, radii, pgd, Norm::Linf, Rng::new(2, "attack"));
    let value = loss.loss(&mut step).unwrap().to_dtype(DType::F64).unwrap().to_scalar().unwrap();
    assert!((0.0..=1.0).contains(&step.accuracy()));
    let trained = step.passes();
    drop(victim);
    (value, trained, passes)
}

fn running(classifier: &Classifier) -> Vec<f64> {
    let weights = classifier.weights();
    [numbers(&weights["bn1.running_mean"]), numbers(&weights["bn1.running_var"])].concat()
}

/// TRADES passes the clean batch, the perturbed one, and the clean one again; MART the first two. Nothing is
/// perturbed here, so that running statistics tell the number of passes.
#[test]
fn batch_norm_follows_the_passes_of_the_authors_code() {
    for (name, passes) in [("cross-entropy = {}", 1), ("trades = {}", 3), ("mart = {}", 2)] {
        let (got, want) = (normed(), normed());
        let batch = small_batch(&got, 9);
        step(&loss(name), &got, &batch, None, &[0.0; 9]);
        for _ in 0..passes {
            want.train(&batch.pixels, false, BatchNorm::Update).unwrap();
        }
        assert_eq!(running(&got), running(&want), "{name}");
    }
}

/// The pixels that a step with this randomness attacks, raising `score`.
fn attacked(
    classifier: &Classifier,
    batch: &Batch,
    pgd: &Chosen<dyn Attack>,
    radii: &[f64],
    score: &Score<'_>,
) -> Tensor {
    let frozen = Frozen::new(classifier).unwrap();
    let passes = Passes::default();
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), batch, Goal::Loss, &passes).unwrap();
    let ball = Ball::new(&batch.pixels, radii, Norm::Linf, &batch.ids).unwrap();
    perturb(pgd, &victim.with_score(score), &ball, &Rng::new(2, "attack")).unwrap().pixels
}

/// The same with perturbed pixels: which batches pass, and in which order, shows in the running statistics to the bit.
#[test]
fn batch_norm_follows_attacked_batches_in_their_order() {
    let pgd = attack("pgd = { steps = 3, step = 0.03, start = \"noise\" }");
    let radii = [0.08; 9];
    let fresh = normed();
    let batch = small_batch(&fresh, 9);
    let log_clean = log_softmax(&Frozen::new(&fresh).unwrap().logits(&batch.pixels).unwrap()).unwrap();
    let divergence = |logits: &Tensor, rows: &Rows| -> temper_core::Result<Tensor> {
        let clean = log_clean.index_select(&rows.positions, 0)?;
        Ok((clean.exp()? * (clean - log_softmax(logits)?)?)?.sum(1)?)
    };
    let clean = batch.pixels.clone();
    let hard = attacked(&fresh, &batch, &pgd, &radii, &cross_entropy);
    let apart = attacked(&fresh, &batch, &pgd, &radii, &divergence);
    assert!(numbers(&hard) != numbers(&apart) && numbers(&hard) != numbers(&clean));

    let rng = Rng::new(2, "attack").named("loss").named("batch").numbered(batch.ids[0]);
    let lambda = rng.named("lambda").beta(1.0);
    let order: Vec<u32> = rng.named("pairs").permutation(9).into_iter().map(|i| i as u32).collect();
    let order = Tensor::new(order, &Device::Cpu).unwrap();
    let mixed = |pixels: &Tensor| {
        let partners = pixels.index_select(&order, 0).unwrap();
        ((pixels * lambda).unwrap() + (partners * (1.0 - lambda)).unwrap()).unwrap()
    };
    for (name, passes) in [
        ("cross-entropy = {}", vec![hard.clone()]),
        ("trades = {}", vec![clean.clone(), apart, clean.clone()]),
        ("mart = {}", vec![clean.clone(), hard.clone()]),
        ("mixup = {}", vec![mixed(&clean), mixed(&hard)]),
    ] {
        let (got, want, reversed) = (normed(), normed(), normed());
        step(&loss(name), &got, &batch, Some(&pgd), &radii);
        for pixels in &passes {
            want.train(pixels, false, BatchNorm::Update).unwrap();
        }
        for pixels in passes.iter().rev() {
            reversed.train(pixels, false, BatchNorm::Update).unwrap();
        }
        assert_eq!(running(&got), running(&want), "{name}");
        // A palindrome tells nothing of its order.
        assert_eq!(running(&got) == running(&reversed), passes.len() != 2, "{name}");
    }

    // MART's formula on exactly these pixels, each batch normalised by its own statistics.
    let network = normed();
    let of = |pixels: &Tensor| -> Vec<Vec<f64>> {
        let logits = network.train(pixels, false, BatchNorm::Update).unwrap().to_dtype(DType::F64).unwrap();
        log_softmax(&logits).unwrap().to_vec2().unwrap()
    };
    let labels = batch.labels.to_vec1::<u32>().unwrap();
    let terms = of(&clean).into_iter().zip(of(&hard)).zip(labels).map(|((clean, hard), label)| {
        let label = label as usize;
        let rival = hard.iter().enumerate().filter(|(k, _)| *k != label).map(|(_, l)| l.exp());
        let margin = -(1.0 - rival.fold(0.0, f64::max)).ln();
        let apart = clean.iter().zip(&hard).map(|(c, h)| c.exp() * (c - h)).sum::<f64>();
        margin - hard[label] + 6.0 * apart * (1.0 - clean[label].exp())
    });
    let want = terms.sum::<f64>() / 9.0;
    let got = step(&loss("mart = { lambda = 6.0 }"), &normed(), &batch, Some(&pgd), &radii).0;
    // The authors' constants beside probabilities are of 1e-4.
    assert!((got - want).abs() < 1e-3, "{got} for {want}");
    let elsewhere = step(&loss("mart = { lambda = 6.0 }"), &normed(), &batch, None, &radii).0;
    assert!((elsewhere - want).abs() > 1e-2, "{elsewhere} for {want}");
}

/// Without perturbation TRADES is cross-entropy, to rounding, and `beta` changes nothing.
#[test]
fn trades_without_perturbation_is_cross_entropy() {
    let classifier = small_network(DType::F32);
    let batch = small_batch(&classifier, 9);
    let value = |text: &str| step(&loss(text), &classifier, &batch, None, &[0.0; 9]).0;
    let plain = value("cross-entropy = {}");
    assert!((value("trades = { beta = 6.0 }") - plain).abs() < 1e-6);
    assert!(value("mart = {}") > plain);
}

/// The divergence that TRADES attacks has no slope at the clean image, but one beside it: the attack must find it, also
/// for a part of the batch, whose rows then know their own clean predictions.
#[test]
fn trades_attacks_its_own_divergence_sample_by_sample() {
    let classifier = small_network(DType::F32);
    let batch = small_batch(&classifier, 12);
    let some: Vec<f64> = (0..12).map(|i| if i % 3 == 0 { 0.0 } else { 0.05 }).collect();
    let pgd = attack("pgd = { steps = 5, step = 0.02, start = \"noise\" }");
    let trades = loss("trades = { beta = 6.0 }");
    let clean = step(&trades, &classifier, &batch, None, &some).0;
    let (attacked, trained, passes) = step(&trades, &classifier, &batch, Some(&pgd), &some);
    assert!(attacked > clean + 1e-3, "{attacked} after {clean}");
    // Two passes of all in training; of the eight attacked samples one for the clean prediction and one a step.
    assert_eq!((trained, passes.forwards(), passes.backwards()), (24, 8 * 6, 8 * 5));

    // A batch of the attacked samples alone: what they add to the loss is the same.
    let index: Vec<u32> = (0..12).filter(|i| i % 3 != 0).collect();
    let pick = |t: &Tensor| t.index_select(&Tensor::new(&index[..], &Device::Cpu).unwrap(), 0).unwrap();
    let part = Batch {
        pixels: pick(&batch.pixels),
        labels: pick(&batch.labels),
        ids: index.iter().map(|i| batch.ids[*i as usize]).collect(),
    };
    let alone = step(&trades, &classifier, &part, Some(&pgd), &[0.05; 8]).0
        - step(&trades, &classifier, &part, None, &[0.05; 8]).0;
    assert!((alone * 8.0 / 12.0 - (attacked - clean)).abs() < 1e-5, "{alone}, {}", attacked - clean);

    // Its divergence is higher where it was attacked than where cross-entropy was.
    let frozen = Frozen::new(&classifier).unwrap();
    let passes = Passes::default();
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Loss, &passes).unwrap();
    let ball = Ball::new(&batch.pixels, &some, Norm::Linf, &batch.ids).unwrap();
    let other = pgd.perturb(&victim, &ball, &Rng::new(2, "attack")).unwrap();
    let log = |pixels: &Tensor| temper_core::log_softmax(&frozen.logits(pixels).unwrap()).unwrap();
    let (natural, perturbed) = (log(&batch.pixels), log(&other));
    let apart = (natural.exp().unwrap() * (natural - perturbed).unwrap()).unwrap();
    let apart = numbers(&apart).iter().sum::<f64>() / 12.0;
    assert!((attacked - clean) / 6.0 > apart * 1.001, "{} against {apart}", (attacked - clean) / 6.0);
}

/// MART attacks as plain adversarial training does.
#[test]
fn mart_attacks_cross_entropy() {
    let classifier = small_network(DType::F32);
    let batch = small_batch(&classifier, 9);
    let pgd = attack("pgd = { steps = 5, step = 0.02, start = \"noise\" }");
    let (attacked, trained, passes) = step(&loss("mart = {}"), &classifier, &batch, Some(&pgd), &[0.05; 9]);
    assert_eq!((trained, passes.forwards(), passes.backwards()), (18, 45, 45));
    assert!(attacked > step(&loss("mart = {}"), &classifier, &batch, None, &[0.05; 9]).0);
}

/// Label smoothing does not reach the attack: the same perturbed batch, another loss of it.
#[test]
fn label_smoothing_is_for_the_step_alone() {
    let classifier = small_network(DType::F32);
    let batch = small_batch(&classifier, 9);
    let pgd = attack("pgd = { steps = 3, step = 0.02 }");
    let run = |text: &str| step(&loss(text), &classifier, &batch, Some(&pgd), &[0.05; 9]);
    let (hard, smooth) = (run("cross-entropy = {}"), run("cross-entropy = { label_smoothing = 0.1 }"));
    let half = run("cross-entropy = { label_smoothing = 0.5 }");
    assert!((smooth.0 - 0.8 * hard.0 - 0.2 * half.0).abs() < 1e-6);
    assert_eq!(hard.2.backwards(), smooth.2.backwards());
}

#[test]
fn mixup_draws_once_a_batch_and_leaves_out_terms_without_weight() {
    let classifier = small_network(DType::F32);
    let batch = small_batch(&classifier, 9);
    let pgd = attack("pgd = { steps = 3, step = 0.02 }");
    let run = |text: &str, batch: &Batch| step(&loss(text), &classifier, batch, Some(&pgd), &[0.05; 9]);
    let (both, trained, _) = run("mixup = {}", &batch);
    let (clean, once, attacked) = run("mixup = { clean_weight = 1.0 }", &batch);
    let hard = run("mixup = { clean_weight = 0.0 }", &batch).0;
    assert_eq!((trained, once, attacked.forwards()), (18, 9, 0));
    assert!((both - 0.5 * (clean + hard)).abs() < 1e-6, "{both} of {clean} and {hard}");
    assert_eq!(both, run("mixup = {}", &batch).0);
    // A batch of other samples draws other pairs in other shares.
    let other = Batch { ids: (50..59).collect(), ..batch.clone() };
    assert_ne!(clean, run("mixup = { clean_weight = 1.0 }", &other).0);
    // Towards alpha = 0 lambda is 0 or 1: nothing is mixed.
    let plain = step(&loss("cross-entropy = {}"), &classifier, &batch, None, &[0.0; 9]).0;
    let unmixed = run("mixup = { alpha = 1e-6, clean_weight = 1.0 }", &batch).0;
    assert!((plain - unmixed).abs() < 1e-5, "{plain} and {unmixed}");
    assert!((plain - clean).abs() > 1e-3);
}

/// One pixel; class 1 above 0.5. FGSM breaks a sample where the radius exceeds its distance to that.
#[test]
fn line_search_finds_the_largest_radius_of_the_grid_with_as_few_probes_as_it_takes() {
    let mut network = temper_nn::Network::new([1, 1, 1]);
    network.linear(network.input(), "fc", 2).unwrap();
    let weights = [
        ("fc.weight".to_string(), Tensor::new(&[[-1f32], [1.0]], &Device::Cpu).unwrap()),
        ("fc.bias".to_string(), Tensor::new(&[0.5f32, -0.5], &Device::Cpu).unwrap()),
    ];
    let frozen = Frozen::new(&Classifier::new(network, &weights.into()).unwrap()).unwrap();
    let distances = [0.4f32, 0.12, 0.085, 0.03, -0.1];
    let pixels: Vec<f32> = distances.iter().map(|d| 0.5 + d).collect();
    let batch = Batch {
        pixels: Tensor::from_vec(pixels, (5, 1, 1, 1), &Device::Cpu).unwrap(),
        labels: Tensor::from_vec(vec![1u32; 5], 5, &Device::Cpu).unwrap(),
        ids: (0..5).collect(),
    };
    let fgsm = attack("fgsm = {}");
    let search = |parameters: &str, epoch| {
        let table: toml::Table = format!(
            "epsilon.line-search = {{ start = 0.04, warmup = 1, max = 0.2, points = 4, {parameters} }}"
        )
        .parse()
        .unwrap();
        let epsilon: Chosen<dyn Epsilon> = table["epsilon"].clone().try_into().unwrap();
        let passes = Passes::default();
        let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Loss, &passes).unwrap();
        let memory = vec![epsilon.start(); 5];
        let mut visit = Visit::new(epoch, memory, &victim, &fgsm, Norm::Linf, Rng::new(0, "probes"));
        let radii = epsilon.radii(&mut visit).unwrap();
        (radii, visit.into_memory(), passes.backwards())
    };
    let close = |got: &[f64], want: [f64; 5]| {
        assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-12), "{got:?}, expected {want:?}");
    };
    let (radii, memory, probes) = search("beta = 1.0", 1);
    close(&radii, [0.2, 0.1, 0.05, 0.0, 0.0]);
    close(&memory, [0.2, 0.1, 0.05, 0.0, 0.0]);
    // At 0.2 the four that are correct, at 0.15 and 0.1 the three that fell, at 0.05 the two that are left.
    assert_eq!(probes, 4 + 3 + 3 + 2);
    let (radii, memory, _) = search("beta = 0.5", 1);
    close(&memory, [0.12, 0.07, 0.045, 0.02, 0.02]);
    close(&radii, [0.12, 0.07, 0.045, 0.02, 0.0]);
    let (radii, memory, probes) = search("beta = 1.0", 0);
    close(&radii, [0.04, 0.04, 0.04, 0.04, 0.0]);
    close(&memory, [0.04; 5]);
    assert_eq!(probes, 0);
    // A probe that goes a tenth of the way breaks none of the four, where the training attack breaks three.
    let (radii, _, probes) = search("probe.fgsm = { step = 0.1 }", 1);
    close(&radii, [0.2, 0.2, 0.2, 0.2, 0.0]);
    assert_eq!(probes, 4);
}
