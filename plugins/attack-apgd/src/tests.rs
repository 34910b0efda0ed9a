//! APGD on small networks: the authors' iterates, a known optimum, and properties that hold for every sample.

use std::collections::BTreeMap;

use temper_core::nn::{Classifier, Conv2d, Frozen, Network};
use temper_core::prelude::*;
use temper_core::{DType, Device, Passes, VictimNetwork};

use crate::{AutoPgd, FirstWindow};

fn values(t: &Tensor) -> Vec<f64> {
    t.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

/// Logits that are linear in the pixels.
fn linear(shape: [usize; 3], weights: &[Vec<f32>], biases: &[f32]) -> Frozen {
    let mut network = Network::new(shape);
    network.linear(network.input(), "fc", weights.len()).unwrap();
    let size = (weights.len(), shape.iter().product::<usize>());
    let weights = BTreeMap::from([
        ("fc.weight".to_string(), Tensor::from_vec(weights.concat(), size, &Device::Cpu).unwrap()),
        ("fc.bias".to_string(), Tensor::new(biases, &Device::Cpu).unwrap()),
    ]);
    Frozen::new(&Classifier::new(network, &weights).unwrap()).unwrap()
}

/// A convolution and a linear layer, on which an ascent turns and halves its steps.
fn two_layers(classes: usize, weights: &BTreeMap<String, Tensor>) -> Frozen {
    let mut network = Network::new([1, 4, 4]);
    let conv = Conv2d { channels: 12, kernel: 3, stride: 1, padding: 1, bias: true };
    let x = network.conv(network.input(), "conv", conv).unwrap();
    let x = network.relu(x);
    network.linear(x, "fc", classes).unwrap();
    Frozen::new(&Classifier::new(network, weights).unwrap()).unwrap()
}

/// The network of `two_layers` with random weights.
fn bent(classes: usize) -> Frozen {
    let drawn = |name: &str, shape: &[usize], scale: f64| {
        let numbers = Rng::new(3, name).normal(&[0], shape.iter().product());
        let tensor = Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap();
        (name.to_string(), (tensor.to_dtype(DType::F64).unwrap() * scale).unwrap())
    };
    let weights = [
        drawn("conv.weight", &[12, 1, 3, 3], 1.0),
        drawn("conv.bias", &[12], 0.5),
        drawn("fc.weight", &[classes, 192], 0.2),
        drawn("fc.bias", &[classes], 0.1),
    ];
    two_layers(classes, &weights.into())
}

/// Random images `[n, 1, 4, 4]` with the classes that the network gives them.
fn images(network: &Frozen, n: usize) -> Batch {
    let ids: Vec<u64> = (0..n as u64).collect();
    let pixels = Rng::new(4, "images").uniform(&ids, 16).into_iter().map(|v| f64::from(v + 1.0) / 2.0);
    let pixels = Tensor::from_vec(pixels.collect(), (n, 1, 4, 4), &Device::Cpu).unwrap();
    let labels = network.logits(&pixels).unwrap().argmax(1).unwrap();
    Batch { pixels, labels, ids }
}

fn victim<'a>(network: &'a Frozen, batch: &Batch, goal: Goal, passes: &'a Passes) -> Victim<'a> {
    Victim::new(VictimNetwork::Frozen(network), batch, goal, passes).unwrap()
}

fn ball(batch: &Batch, norm: Norm, radius: f64) -> Ball {
    Ball::new(&batch.pixels, &vec![radius; batch.len()], norm, &batch.ids).unwrap()
}

fn attacked(attack: &AutoPgd, network: &Frozen, batch: &Batch, goal: Goal, ball: &Ball) -> Tensor {
    let passes = Passes::default();
    attack.perturb(&victim(network, batch, goal, &passes), ball, &Rng::new(5, "attack")).unwrap()
}

fn broken(network: &Frozen, batch: &Batch, pixels: &Tensor) -> Vec<bool> {
    let passes = Passes::default();
    victim(network, batch, Goal::Mistake, &passes).broken(pixels).unwrap()
}

fn steps(n: usize) -> AutoPgd {
    AutoPgd { steps: nonzero(n), ..AutoPgd::default() }
}

/// The expected images are those of torchattacks, whose loop is a copy of the authors'. `golden/apgd.py` made them.
#[test]
fn iterates_are_those_of_the_authors_loop() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/apgd.safetensors");
    let golden = candle_core::safetensors::load(file, &Device::Cpu).unwrap();
    let weights = ["conv.weight", "conv.bias", "fc.weight", "fc.bias"];
    let network = two_layers(6, &weights.map(|name| (name.to_string(), golden[name].clone())).into());
    let (pixels, labels) = (golden["pixels"].clone(), golden["labels"].to_dtype(DType::U32).unwrap());
    let batch = Batch { ids: (0..pixels.dims()[0] as u64).collect(), pixels, labels };
    let mut runs = 0;
    for (norm, radius) in [(Norm::Linf, 0.1), (Norm::L2, 0.15)] {
        for n in [10, 50, 100] {
            for (name, loss, target) in [
                ("ce", Raised::Ce, Target::None),
                ("dlr", Raised::Dlr, Target::None),
                ("dlr-targeted", Raised::Dlr, Target::LeastLikely),
            ] {
                let attack = AutoPgd { loss, target, first_window: FirstWindow::Zero, ..steps(n) };
                let (ball, passes) = (ball(&batch, norm, radius), Passes::default());
                let victim = victim(&network, &batch, Goal::Loss, &passes);
                let run = format!("{}.{n}.{name}", norm.word());
                let start = &golden[&format!("{run}.start")];
                let before = attack.loss_before_start(loss, &victim);
                let got = target.aim(loss, &victim, &ball, &Rng::new(0, ""), |victim, ball, _| {
                    attack.run(victim, ball, start.clone(), before)
                });
                let (got, want) = (values(&got.unwrap()), values(&golden[&format!("{run}.best")]));
                let off =
                    got.iter().zip(&want).fold(0.0f64, |most, (got, want)| most.max((got - want).abs()));
                assert!(off < 1e-7, "{run}: {off}");
                runs += 1;
            }
        }
    }
    assert_eq!(golden.len(), 6 + 2 * runs);
}

/// A targeted cross-entropy is never above 0, a targeted `dlr` only where the target is ahead.
#[test]
fn the_first_window_matters() {
    let network = bent(6);
    let batch = images(&network, 24);
    let run = |loss, target, first_window| {
        let attack = AutoPgd { loss, target, first_window, ..steps(12) };
        values(&attacked(&attack, &network, &batch, Goal::Loss, &ball(&batch, Norm::Linf, 0.2)))
    };
    for (loss, target) in [(Raised::Ce, Target::LeastLikely), (Raised::Dlr, Target::LeastLikely)] {
        let (start, zero) = (run(loss, target, FirstWindow::Start), run(loss, target, FirstWindow::Zero));
        assert!(start != zero, "{loss:?}");
    }
}

/// A network that predicts class 1 where `l = mean(pixels) - 0.5` is above 0, and class 0 below; images with `l` a
/// little above 0; and their l-inf distances from the boundary.
fn halves() -> (Frozen, Batch, Vec<f64>) {
    let row = |w: f32| vec![w / 16.0; 16];
    let network = linear([1, 4, 4], &[row(-1.0), row(1.0), row(2.0), row(2.0)], &[0.5, -0.5, -2.0, -3.0]);
    let noise = Rng::new(2, "images").uniform(&[0, 1, 2, 3, 4, 5], 16);
    let mut pixels = vec![];
    for (i, noise) in noise.chunks(16).enumerate() {
        let mean = noise.iter().sum::<f32>() / 16.0;
        pixels.extend(noise.iter().map(|v| 0.52 + 0.01 * i as f32 + 0.1 * (v - mean)));
    }
    let far = |image: &[f32]| image.iter().map(|v| f64::from(*v)).sum::<f64>() / 16.0 - 0.5;
    let distances = pixels.chunks(16).map(far).collect();
    let pixels = Tensor::from_vec(pixels, (6, 1, 4, 4), &Device::Cpu).unwrap();
    let labels = Tensor::from_vec(vec![1u32; 6], 6, &Device::Cpu).unwrap();
    (network, Batch { pixels, labels, ids: (0..6).collect() }, distances)
}

#[test]
fn ten_steps_reach_the_optimum_of_a_linear_network_and_not_more() {
    let (network, batch, distances) = halves();
    let targeted = Target::Likeliest(nonzero(9));
    let attacks = [
        steps(10),
        AutoPgd { loss: Raised::Dlr, ..steps(10) },
        AutoPgd { loss: Raised::Margin, success: Success::Final, ..steps(10) },
        AutoPgd { loss: Raised::Dlr, target: targeted, ..steps(10) },
        AutoPgd { target: targeted, first_window: FirstWindow::Zero, ..steps(10) },
    ];
    for attack in attacks {
        // A move in l2 changes each of the 16 values by 1 / sqrt(16) of its length.
        for (norm, unit) in [(Norm::Linf, 1.0), (Norm::L2, 4.0)] {
            for (factor, falls) in [(0.8, false), (1.25, true)] {
                let radii: Vec<f64> = distances.iter().map(|d| d * unit * factor).collect();
                let ball = Ball::new(&batch.pixels, &radii, norm, &batch.ids).unwrap();
                for goal in [Goal::Mistake, Goal::Loss] {
                    let got = attacked(&attack, &network, &batch, goal, &ball);
                    assert_eq!(
                        broken(&network, &batch, &got),
                        [falls; 6],
                        "{attack:?} {norm} {factor} {goal:?}"
                    );
                    let far = ball.distances(&got, norm).unwrap();
                    assert!(far.iter().zip(&radii).all(|(far, radius)| *far <= radius + 1e-6), "{far:?}");
                }
            }
        }
    }
}

#[test]
fn company_and_its_order_do_not_change_a_sample() {
    let network = bent(6);
    let batch = images(&network, 8);
    let attack = AutoPgd { restarts: nonzero(2), ..steps(15) };
    for (norm, radius) in [(Norm::Linf, 0.05), (Norm::L2, 0.2)] {
        for goal in [Goal::Mistake, Goal::Loss, Goal::Transfer] {
            let all = attacked(&attack, &network, &batch, goal, &ball(&batch, norm, radius));
            let fallen = broken(&network, &batch, &all);
            assert!(fallen.contains(&true) && fallen.contains(&false), "{norm} {goal:?}: {fallen:?}");
            let of = |rows: Vec<u32>| {
                let index = Tensor::new(rows.as_slice(), &Device::Cpu).unwrap();
                let pixels = batch.pixels.index_select(&index, 0).unwrap();
                let labels = batch.labels.index_select(&index, 0).unwrap();
                let ids = rows.iter().map(|row| u64::from(*row)).collect();
                let part = Batch { pixels, labels, ids };
                let got = attacked(&attack, &network, &part, goal, &ball(&part, norm, radius));
                for (at, row) in rows.iter().enumerate() {
                    let (got, want) = (got.get(at).unwrap(), all.get(*row as usize).unwrap());
                    assert_eq!(values(&got), values(&want), "{norm} {goal:?} sample {row} of {rows:?}");
                }
            };
            of((0..8).rev().collect());
            (0..8).for_each(|row| of(vec![row]));
        }
    }
}

#[test]
fn starts_lie_on_the_surface_and_one_that_is_adversarial_ends_the_search() {
    let (network, batch, distances) = halves();
    let rng = Rng::new(5, "attack").numbered(0);
    for norm in [Norm::Linf, Norm::L2] {
        let ball = ball(&batch, norm, 0.3);
        let start = ball.on_surface(&rng).unwrap();
        for far in ball.distances(&start, norm).unwrap() {
            assert!((far - 0.3).abs() < 1e-6, "{norm}: a start at {far}");
        }
    }
    // The same images, moved to 1e-4 above the boundary.
    let down = rows::column(&distances.iter().map(|d| d - 1e-4).collect::<Vec<_>>(), &batch.pixels).unwrap();
    let batch = Batch { pixels: batch.pixels.broadcast_sub(&down).unwrap(), ..batch };
    let ball = ball(&batch, Norm::Linf, 0.2);
    let start = ball.on_surface(&rng).unwrap();
    let fallen = broken(&network, &batch, &start);
    assert!(fallen.contains(&true) && fallen.contains(&false), "{fallen:?}");
    let passes = Passes::default();
    let got =
        steps(10).perturb(&victim(&network, &batch, Goal::Mistake, &passes), &ball, &Rng::new(5, "attack"));
    let got = got.unwrap();
    for i in (0..6).filter(|i| fallen[*i]) {
        assert_eq!(values(&got.get(i).unwrap()), values(&start.get(i).unwrap()), "sample {i}");
    }
    assert_eq!(broken(&network, &batch, &got), [true; 6]);
    // Samples broken at the start took one pass. The others took a second one, whose step breaks all of them.
    let stood = fallen.iter().filter(|fallen| !*fallen).count() as u64;
    assert_eq!(passes.forwards(), 6 + stood);
}

#[test]
fn logits_that_are_not_numbers_and_flat_ones_give_pixels_and_no_panic() {
    let flat = vec![0.0; 16];
    let networks = [
        linear([1, 4, 4], &[flat.clone(), flat.clone(), flat.clone(), flat.clone()], &[1.0, 0.0, 0.0, 0.0]),
        linear([1, 4, 4], &[flat.clone(), flat.clone(), flat.clone(), flat], &[f32::NAN, 0.0, 0.0, 0.0]),
        // A sum of such pixels is infinite in some places, and infinity minus infinity in others.
        linear([1, 4, 4], &[vec![3e38; 16], vec![-3e38; 16], vec![1.0; 16], vec![2.0; 16]], &[0.0; 4]),
    ];
    for network in &networks {
        let (_, batch, _) = halves();
        let batch = Batch { labels: batch.labels.zeros_like().unwrap(), ..batch };
        for loss in [Raised::Ce, Raised::Dlr, Raised::Margin] {
            for target in [Target::None, Target::All] {
                for success in [Success::Any, Success::Final] {
                    for (norm, goal) in
                        [(Norm::Linf, Goal::Mistake), (Norm::L2, Goal::Mistake), (Norm::L2, Goal::Loss)]
                    {
                        let attack = AutoPgd { loss, target, success, ..steps(6) };
                        let got = attacked(&attack, network, &batch, goal, &ball(&batch, norm, 0.1));
                        let said = format!("{attack:?} {norm} {goal:?}");
                        assert!(values(&got).iter().all(|v| (0.0..=1.0).contains(v)), "{said}");
                    }
                }
            }
        }
    }
}

#[test]
fn with_few_classes_dlr_is_the_margin_and_says_so() {
    for (classes, target, falls_back) in [
        (2, Target::None, true),
        (2, Target::All, true),
        (3, Target::None, false),
        (3, Target::All, true),
        (4, Target::All, false),
    ] {
        let network = bent(classes);
        let batch = images(&network, 6);
        let run = |loss| {
            let attack = AutoPgd { loss, target, ..steps(8) };
            let warning = attack.warning_for_classes(classes);
            (values(&attacked(&attack, &network, &batch, Goal::Loss, &ball(&batch, Norm::L2, 0.5))), warning)
        };
        let ((dlr, warning), (margin, none)) = (run(Raised::Dlr), run(Raised::Margin));
        assert_eq!(none, None);
        assert_eq!(dlr == margin, falls_back, "{classes} classes, {target:?}");
        assert_eq!(warning.is_some(), falls_back, "{classes} classes, {target:?}: {warning:?}");
    }
    let attack = AutoPgd { loss: Raised::Dlr, target: Target::All, ..steps(8) };
    let warning = attack.warning_for_classes(3).unwrap();
    assert!(
        warning.starts_with("the targeted loss `dlr` needs at least 4 classes, not 3: the margin"),
        "{warning}"
    );
}

#[test]
fn a_mistake_for_another_class_than_the_target_is_a_success() {
    // With l = mean(pixels) - 0.5 the logits are 0 (class 0), l - 1 (class 1), 2 l - 0.1 (class 2), -0.9 (class 3).
    // Class 1 is the least likely one at l = 0; on the way to it an image becomes class 2, at l = 0.05.
    let row = |w: f32| vec![w / 16.0; 16];
    let network = linear([1, 4, 4], &[row(0.0), row(1.0), row(2.0), row(0.0)], &[0.0, -1.5, -1.1, -0.9]);
    let batch = Batch {
        pixels: Tensor::full(0.5f32, (2, 1, 4, 4), &Device::Cpu).unwrap(),
        labels: Tensor::zeros(2, DType::U32, &Device::Cpu).unwrap(),
        ids: vec![0, 1],
    };
    for loss in [Raised::Ce, Raised::Dlr, Raised::Margin] {
        let attack = AutoPgd { loss, target: Target::LeastLikely, ..steps(20) };
        let passes = Passes::default();
        let victim = victim(&network, &batch, Goal::Mistake, &passes);
        let got = attack.perturb(&victim, &ball(&batch, Norm::Linf, 0.1), &Rng::new(5, "attack")).unwrap();
        let predictions = network.logits(&got).unwrap().argmax(1).unwrap().to_vec1::<u32>().unwrap();
        assert_eq!(predictions, [2, 2], "{loss:?}");
        assert!(passes.backwards() < 2 * 20, "{loss:?}: {} passes", passes.backwards());
    }
}

#[test]
fn a_gradient_is_the_mean_of_several_passes_of_which_the_last_one_decides() {
    let network = bent(6);
    let batch = images(&network, 8);
    let run = |eot: usize, goal: Goal| {
        let attack = AutoPgd { eot: nonzero(eot), ..steps(6) };
        let passes = Passes::default();
        let victim = victim(&network, &batch, goal, &passes);
        let got = attack.perturb(&victim, &ball(&batch, Norm::Linf, 0.05), &Rng::new(5, "attack")).unwrap();
        (values(&got), passes.backwards())
    };
    for goal in [Goal::Mistake, Goal::Loss] {
        // A network without random numbers has the same gradient in each pass.
        let ((once, one), (often, four)) = (run(1, goal), run(4, goal));
        assert!(once == often, "{goal:?}");
        assert_eq!(four, 4 * one, "{goal:?}");
    }
}

#[test]
fn the_iterate_of_the_highest_loss_is_returned_where_all_steps_are_taken() {
    let network = bent(6);
    let batch = images(&network, 8);
    let ball = ball(&batch, Norm::Linf, 0.1);
    let passes = Passes::default();
    let loss = victim(&network, &batch, Goal::Loss, &passes);
    let judge = AutoPgd { success: Success::Final, ..steps(20) };
    let got = attacked(&judge, &network, &batch, Goal::Mistake, &ball);
    assert_eq!(values(&got), values(&attacked(&steps(20), &network, &batch, Goal::Loss, &ball)));
    assert_eq!((judge.steps(), steps(20).steps()), (None, Some(20)));
    // The starts are among the iterates, and more starts never lower the loss.
    let scores = |pixels: &Tensor| values(&loss.scores(pixels).unwrap());
    let start = ball.on_surface(&Rng::new(5, "attack").numbered(0)).unwrap();
    let often = AutoPgd { restarts: nonzero(4), ..steps(20) };
    let often = attacked(&often, &network, &batch, Goal::Loss, &ball);
    for ((start, once), often) in scores(&start).iter().zip(scores(&got)).zip(scores(&often)) {
        assert!(*start < once && once <= often, "{start} {once} {often}");
    }
}

#[test]
fn a_radius_of_zero_keeps_the_image_whatever_the_parameters() {
    let network = bent(6);
    let batch = images(&network, 3);
    for first_step in [2.0, 1e300] {
        let attack = AutoPgd { first_step: Positive::of(first_step), alpha: Fraction::of(0.0), ..steps(5) };
        for norm in [Norm::Linf, Norm::L2] {
            let ball = Ball::new(&batch.pixels, &[0.0, 0.1, 1e300], norm, &batch.ids).unwrap();
            let got = attacked(&attack, &network, &batch, Goal::Loss, &ball);
            assert_eq!(values(&got.get(0).unwrap()), values(&batch.pixels.get(0).unwrap()));
            assert!(values(&got).iter().all(|v| (0.0..=1.0).contains(v)), "{first_step} {norm}");
        }
    }
}
