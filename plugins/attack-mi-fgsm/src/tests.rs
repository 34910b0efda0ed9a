//! The extensions against direct computations on small networks.

use temper_core::nn::{Classifier, Frozen};
use temper_core::{DType, Device, Passes, Trace, VictimNetwork};

use super::*;
use crate::rows::column;

/// A network for images of two channels with 5 x 9 pixels.
const SHAPE: [usize; 3] = [2, 5, 9];
const ALL: &str = "nesterov = true\nvariance = 3\nscales = 3\ndiversity = 0.7\nresize = 1.6\nkernel = 3";

fn chosen(text: &str) -> Chosen<dyn Attack> {
    let table: toml::Table = format!("[mi-fgsm]\n{text}").parse().unwrap();
    table.try_into().unwrap()
}

/// The same attack as a value of its own type.
fn mi_fgsm(text: &str) -> MomentumIterative {
    toml::from_str(text).unwrap()
}

fn network(dtype: DType) -> Frozen {
    let mut network = Network::new(SHAPE);
    let conv = Conv2d { channels: 6, kernel: 3, stride: 1, padding: 1, bias: true };
    let x = network.conv(network.input(), "conv", conv).unwrap();
    let x = network.relu(x);
    network.linear(x, "fc", 4).unwrap();
    let mut rng = Rng::new(3, "weights").sample(0);
    Frozen::new(&Classifier::random(network, dtype, &mut rng).unwrap()).unwrap()
}

/// Random images, with the labels that the network gives them.
fn batch(frozen: &Frozen, n: usize, dtype: DType) -> Batch {
    let ids: Vec<u64> = (10..10 + n as u64).collect();
    let values = Rng::new(5, "images").uniform(&ids, SHAPE.iter().product());
    let values: Vec<f32> = values.iter().map(|v| f32::midpoint(*v, 1.0)).collect();
    let pixels = Tensor::from_vec(values, (n, SHAPE[0], SHAPE[1], SHAPE[2]), &Device::Cpu).unwrap();
    let pixels = pixels.to_dtype(dtype).unwrap();
    let labels = frozen.logits(&pixels).unwrap().argmax(1).unwrap();
    Batch { pixels, labels, ids }
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn close(got: &Tensor, want: &Tensor, tolerance: f64) {
    let (got, want) = (numbers(got), numbers(want));
    let off = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(got.len() == want.len() && off < tolerance, "off by {off}");
}

fn ball(batch: &Batch, norm: Norm) -> Ball {
    let radius = if norm == Norm::Linf { 0.1 } else { 0.6 };
    Ball::new(&batch.pixels, &vec![radius; batch.ids.len()], norm, &batch.ids).unwrap()
}

/// The images that an attack returns for a batch, and its passes.
fn run(text: &str, frozen: &Frozen, batch: &Batch, norm: Norm, goal: Goal) -> (Tensor, Passes) {
    let passes = Passes::default();
    let victim = Victim::new(VictimNetwork::Frozen(frozen), batch, goal, &passes).unwrap();
    let attack = chosen(text);
    let ball = ball(batch, norm);
    let pixels = temper_core::perturb(&attack, &victim, &ball, &Rng::new(0, "attack")).unwrap().pixels;
    (pixels, passes)
}

/// MI-FGSM as it was before the extensions, with a gradient function.
fn plain(
    ball: &Ball,
    start: &Tensor,
    steps: usize,
    gradient: impl Fn(usize, &Tensor, &Tensor) -> Tensor,
) -> Tensor {
    let mut pixels = start.clone();
    let mut momentum = start.zeros_like().unwrap();
    for step in 0..steps {
        momentum = (&momentum + over_mean(&gradient(step, &pixels, &momentum)).unwrap()).unwrap();
        let lengths = ball.lengths(Distance::ZERO, 2.5 / steps as f64).unwrap();
        pixels = ball.step(&pixels, &ball.steepest(&momentum).unwrap(), &lengths).unwrap();
    }
    pixels
}

#[test]
fn without_extensions_nothing_moves_by_a_bit() {
    let frozen = network(DType::F32);
    let batch = batch(&frozen, 5, DType::F32);
    let passes = Passes::default();
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Loss, &passes).unwrap();
    for norm in [Norm::Linf, Norm::L2] {
        let want =
            plain(&ball(&batch, norm), &batch.pixels, 10, |_, pixels, _| victim.gradient(pixels).unwrap());
        // Resized by at most a tenth, images of 9 pixels stay as they are.
        for text in ["", "diversity = 1.0", "resize = 2.0\nvariance_radius = 3.0"] {
            let (got, _) = run(text, &frozen, &batch, norm, Goal::Loss);
            assert_eq!(numbers(&got), numbers(&want), "{text} {norm}");
        }
    }
}

/// The score has the gradient (-20 (a - 0.53), 3) at the pixels (a, b); the run takes steps of 0.05 from (0.5, 0.5).
/// Without a look ahead the second iterate is (0.60, 0.60).
#[test]
fn nesterov_follows_the_sequence_worked_by_hand() {
    let mut network = Network::new([1, 1, 2]);
    network.linear(network.input(), "fc", 2).unwrap();
    let weights = [
        ("fc.weight".to_string(), Tensor::new(&[[1f32, 0.0], [0.0, 1.0]], &Device::Cpu).unwrap()),
        ("fc.bias".to_string(), Tensor::new(&[0f32, 0.0], &Device::Cpu).unwrap()),
    ];
    let frozen = Frozen::new(&Classifier::new(network, &weights.into()).unwrap()).unwrap();
    let pixels = Tensor::full(0.5f32, (1, 1, 1, 2), &Device::Cpu).unwrap();
    let batch = Batch { pixels, labels: Tensor::new(&[0u32], &Device::Cpu).unwrap(), ids: vec![0] };
    let passes = Passes::default();
    let score = |logits: &Tensor, _: &Rows| -> Result<Tensor> {
        let valley = (logits.get_on_dim(1, 0)?.affine(1.0, -0.53)?.sqr()? * -10.0)?;
        Ok((valley + (logits.get_on_dim(1, 1)? * 3.0)?)?)
    };
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Loss, &passes).unwrap();
    let victim = victim.with_score(&score);
    // Momentum 0.333 = 0.6 / 1.8. Ahead, at 0.5667, the gradient is -0.7333 over 1.8667; momentum -0.0595. At
    // 0.4970 it is 0.6595 over 1.8298; momentum 0.3009.
    for (steps, want) in [(1, [0.55f32, 0.55]), (2, [0.50, 0.60]), (3, [0.55, 0.65])] {
        let attack = mi_fgsm(&format!("nesterov = true\nstep = 0.05\nsteps = {steps}"));
        let ball = Ball::new(&batch.pixels, &[0.2], Norm::Linf, &batch.ids).unwrap();
        let got = attack.perturb(&victim, &ball, &Rng::new(0, "attack")).unwrap();
        close(&got, &Tensor::new(&want, &Device::Cpu).unwrap().reshape((1, 1, 1, 2)).unwrap(), 1e-6);
    }
}

/// Three steps of each extension alone, written out.
#[test]
fn extensions_are_what_their_papers_say() {
    let frozen = network(DType::F64);
    let batch = batch(&frozen, 4, DType::F64);
    let passes = Passes::default();
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Loss, &passes).unwrap();
    let at = |pixels: &Tensor| victim.gradient(pixels).unwrap();
    let rng = Rng::new(0, "attack").numbered(0).named("step");
    for (norm, radius) in [(Norm::Linf, 0.1), (Norm::L2, 0.6)] {
        let check = |text: &str, gradient: &dyn Fn(usize, &Tensor, &Tensor) -> Tensor| {
            let want = plain(&ball(&batch, norm), &batch.pixels, 3, gradient);
            let (got, _) = run(&format!("steps = 3\n{text}"), &frozen, &batch, norm, Goal::Loss);
            close(&got, &want, 1e-9);
            let (other, _) = run("steps = 3", &frozen, &batch, norm, Goal::Loss);
            let moved = numbers(&(other - got).unwrap()).iter().filter(|off| off.abs() > 1e-3).count();
            assert!(moved > 0, "{text} {norm} changes nothing");
        };
        // In an l2 ball the momentum is divided by the root of 90 pixel values.
        let ahead = 2.5 / 3.0 * radius / if norm == Norm::Linf { 1.0 } else { 90f64.sqrt() };
        let nesterov = |pixels: &Tensor, momentum: &Tensor| (pixels + (momentum * ahead).unwrap()).unwrap();
        check("nesterov = true", &|_, pixels, momentum| at(&nesterov(pixels, momentum)));
        check("scales = 3", &|_, pixels, _| {
            let copy = |scale: f64| (at(&(pixels * scale).unwrap()) * scale).unwrap();
            ((copy(1.0) + copy(0.5)).unwrap() + copy(0.25)).unwrap()
        });
        // The variance of the previous step; 0 in the first step.
        let around = |step: usize, point: &Tensor| {
            let wide = Ball::new(point, &[1.5 * radius; 4], norm, &batch.ids).unwrap();
            let rng = |j| rng.numbered(step as u64).named("neighbour").numbered(j);
            let one = |j| at(&wide.random_unclamped(&rng(j)).unwrap());
            ((((one(0) + one(1)).unwrap() + one(2)).unwrap() / 3.0).unwrap() - at(point)).unwrap()
        };
        for look in [false, true] {
            let variance = std::cell::RefCell::new(batch.pixels.zeros_like().unwrap());
            check(&format!("variance = 3\nnesterov = {look}"), &|step, pixels, momentum| {
                let point = if look { nesterov(pixels, momentum) } else { pixels.clone() };
                (at(&point) + variance.replace(around(step, &point))).unwrap()
            });
        }
    }
}

/// The derivative of the mean score of all copies, by differences in double precision.
#[test]
fn gradients_of_copies_agree_with_differences() {
    let frozen = network(DType::F64);
    let batch = batch(&frozen, 3, DType::F64);
    let passes = Passes::default();
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Loss, &passes).unwrap();
    let rng = Rng::new(4, "views");
    for probability in [0.0, 1.0] {
        let views = Views { scales: 3, diversity: Diversity { probability, resize: 1.6 } };
        let mean = |pixels: &Tensor| -> Vec<f64> {
            let mut sum = vec![0.0; 3];
            for copy in 0..3 {
                let scaled = (pixels * 0.5f64.powi(copy)).unwrap();
                let draw = views.diversity.draw(&scaled, &batch.ids, rng.numbered(copy as u64)).unwrap();
                let scores = numbers(&victim.scores(&draw.apply(&scaled).unwrap()).unwrap());
                sum.iter_mut().zip(scores).for_each(|(sum, score)| *sum += score / 3.0);
            }
            sum
        };
        let gradient = views.gradient(&victim, &batch.pixels, rng, None).unwrap();
        for name in ["one", "two", "three"] {
            let values = Rng::new(6, name).uniform(&batch.ids, 90);
            let along = Tensor::from_vec(values, batch.pixels.shape(), &Device::Cpu).unwrap();
            let along = along.to_dtype(DType::F64).unwrap();
            let slopes = numbers(&(&gradient * &along).unwrap().flatten_from(1).unwrap().sum(1).unwrap());
            let shifted = |by: f64| mean(&(&batch.pixels + (&along * by).unwrap()).unwrap());
            let (up, down) = (shifted(1e-6), shifted(-1e-6));
            for (i, slope) in slopes.iter().enumerate() {
                let difference = (up[i] - down[i]) / 2e-6;
                assert!((slope - difference).abs() < 1e-6 * (1.0 + slope.abs()), "{slope}, {difference}");
            }
        }
    }
}

#[test]
fn smoothing_comes_before_normalising() {
    let frozen = network(DType::F64);
    let batch = batch(&frozen, 4, DType::F64);
    let passes = Passes::default();
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Loss, &passes).unwrap();
    let blur = Blur::new(3, &batch.pixels).unwrap().unwrap();
    for norm in [Norm::Linf, Norm::L2] {
        let want = plain(&ball(&batch, norm), &batch.pixels, 3, |_, pixels, _| {
            blur.apply(&victim.gradient(pixels).unwrap()).unwrap()
        });
        close(&run("steps = 3\nkernel = 3", &frozen, &batch, norm, Goal::Loss).0, &want, 1e-9);
    }
}

/// Each of 8 images alone and in a batch in which others leave early.
#[test]
fn images_do_not_depend_on_their_company() {
    let frozen = network(DType::F32);
    let batch = batch(&frozen, 8, DType::F32);
    for text in
        [ALL, "nesterov = true", "variance = 2\nrestarts = 2", "diversity = 0.5\nresize = 1.6\nscales = 2"]
    {
        let text = format!("{text}\nsteps = 6\nrandom_start = true");
        for goal in [Goal::Mistake, Goal::Transfer] {
            let (all, _) = run(&text, &frozen, &batch, Norm::Linf, goal);
            let row = |t: &Tensor, i: usize| t.narrow(0, i, 1).unwrap();
            for i in 0..8 {
                let one = Batch {
                    pixels: row(&batch.pixels, i),
                    labels: row(&batch.labels, i),
                    ids: vec![batch.ids[i]],
                };
                let (alone, _) = run(&text, &frozen, &one, Norm::Linf, goal);
                assert_eq!(numbers(&alone), numbers(&row(&all, i)), "image {i} of {text} {goal:?}");
            }
        }
    }
}

#[test]
fn extensions_raise_the_loss_and_break_what_they_reach() {
    let frozen = network(DType::F32);
    let batch = batch(&frozen, 8, DType::F32);
    let passes = Passes::default();
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Loss, &passes).unwrap();
    let before = numbers(&victim.scores(&batch.pixels).unwrap());
    for text in
        ["nesterov = true", "variance = 3", "scales = 3", "diversity = 0.7\nresize = 1.6", "kernel = 3", ALL]
    {
        for norm in [Norm::Linf, Norm::L2] {
            let (pixels, _) = run(text, &frozen, &batch, norm, Goal::Loss);
            let after = numbers(&victim.scores(&pixels).unwrap());
            assert!(after.iter().zip(&before).all(|(a, b)| a > b), "{text} {norm}: {before:?}, {after:?}");
            // A sample that is broken at the end of all steps is broken by one of them.
            let (early, _) = run(text, &frozen, &batch, norm, Goal::Mistake);
            let (last, any) = (victim.broken(&pixels).unwrap(), victim.broken(&early).unwrap());
            assert!(
                last.iter().zip(&any).all(|(last, any)| !last || *any),
                "{text} {norm}: {last:?} {any:?}"
            );
        }
    }
}

/// Forward and backward passes per sample and step.
#[test]
fn passes_are_those_that_are_needed() {
    let frozen = network(DType::F32);
    let batch = batch(&frozen, 1, DType::F32);
    let count = |text: &str| {
        let text = format!("steps = 4\n{text}");
        let (_, passes) = run(&text, &frozen, &batch, Norm::Linf, Goal::Transfer);
        (passes.forwards(), passes.backwards())
    };
    assert_eq!(count(""), (4, 4));
    assert_eq!(count("nesterov = true\ndiversity = 0.5\nkernel = 3"), (4, 4));
    assert_eq!(count("scales = 5"), (20, 20));
    // The last step has no neighbours.
    assert_eq!(count("variance = 3\nscales = 2"), (26, 26));
    // Iterates at which no gradient is computed (all but the first) are judged by a separate pass.
    let standing = Ball::new(&batch.pixels, &[1e-4], Norm::Linf, &batch.ids).unwrap();
    let passes = Passes::default();
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Mistake, &passes).unwrap();
    let attack = mi_fgsm("steps = 4\nnesterov = true");
    attack.perturb(&victim, &standing, &Rng::new(0, "attack")).unwrap();
    assert_eq!((passes.forwards(), passes.backwards()), (7, 4));
}

/// At iterates without a gradient the trace records what a run of that many steps returns.
#[test]
fn iterates_are_traced_where_no_gradient_is_taken() {
    let frozen = network(DType::F32);
    let batch = batch(&frozen, 12, DType::F32);
    let passes = Passes::default();
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Mistake, &passes).unwrap();
    let ball = Ball::new(&batch.pixels, &[0.1; 12], Norm::Linf, &batch.ids).unwrap();
    let run = |steps: usize, victim: &Victim| {
        let text = format!("nesterov = true\nstep = 0.01\nsuccess = \"final\"\nsteps = {steps}");
        mi_fgsm(&text).perturb(victim, &ball, &Rng::new(0, "attack")).unwrap()
    };
    let trace = Trace::new(12, &[1, 3, 6]);
    run(8, &victim.traced(&trace));
    let mut counts = vec![];
    for (milestone, steps) in [1, 3, 6].into_iter().enumerate() {
        let broken = victim.broken(&run(steps, &victim)).unwrap();
        let heard: Vec<bool> = trace.mistaken().iter().map(|mistaken| mistaken[milestone]).collect();
        assert_eq!(heard, broken, "after {steps}");
        counts.push(broken.iter().filter(|broken| **broken).count());
    }
    assert!(counts[0] < counts[2], "nothing can be told: {counts:?}");
}

#[test]
fn without_a_slope_images_stay_and_are_numbers() {
    let frozen = network(DType::F32);
    let batch = batch(&frozen, 3, DType::F32);
    let passes = Passes::default();
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Loss, &passes).unwrap();
    for (factor, moves) in [(0.0, false), (1e-36, true), (f64::NAN, false)] {
        let score = |logits: &Tensor, _: &Rows| -> Result<Tensor> { Ok((logits.sum(1)? * factor)?) };
        for norm in [Norm::Linf, Norm::L2] {
            let attack = mi_fgsm(ALL);
            let rng = Rng::new(0, "attack");
            let got = attack.perturb(&victim.with_score(&score), &ball(&batch, norm), &rng).unwrap();
            assert!(numbers(&got).iter().all(|value| (0.0..=1.0).contains(value)), "{factor} {norm}");
            assert_eq!(numbers(&got) != numbers(&batch.pixels), moves, "{factor} {norm}");
        }
    }
    // A gradient of 0 at some of the pixels only.
    let half = column(&[1.0, 0.0, 1.0], &batch.pixels).unwrap().reshape(3).unwrap();
    let score = |logits: &Tensor, _: &Rows| -> Result<Tensor> { Ok((logits.sum(1)? * &half)?) };
    let victim = victim.with_score(&score);
    let got = mi_fgsm(ALL).perturb(&victim, &ball(&batch, Norm::Linf), &Rng::new(0, "a")).unwrap();
    let row = |t: &Tensor, i: usize| numbers(&t.narrow(0, i, 1).unwrap());
    assert!((0..3).all(|i| (row(&got, i) == row(&batch.pixels, i)) == (i == 1)));
}

#[test]
fn labels_draws_and_restarts_follow_the_parameters() {
    let label = |text: &str| mi_fgsm(text).variant().unwrap();
    assert_eq!(label(""), "10");
    assert_eq!(label("restarts = 3"), "10");
    assert_eq!(label("random_start = true\nrestarts = 3\ntarget = \"all\"\nloss = \"dlr\""), "10x3-all-dlr");
    assert_eq!(label("nesterov = true\ndiversity = 0.5"), "10-ni-di");
    assert_eq!(label(&format!("{ALL}\nrestarts = 2")), "10x2-ni-vt-si-di-ti");
    assert_eq!(label("variance_radius = 2.0\nresize = 1.3"), "10");
    for (text, draws) in [
        ("nesterov = true\nscales = 5\nkernel = 15", false),
        ("variance = 1", true),
        ("variance = 1\nsteps = 1", false),
        ("diversity = 0.1", true),
        ("random_start = true", true),
        ("target = \"random\"", true),
    ] {
        assert_eq!(mi_fgsm(text).draws(), draws, "{text}");
        // A random target is drawn once for all runs.
        let same = text.starts_with("target") || !draws;
        let attack = mi_fgsm(&format!("{text}\nrestarts = 2"));
        assert_eq!(attack.warning(0.1).is_some(), same, "{text}");
    }
    assert_eq!(mi_fgsm("kernel = 15").problem(Norm::L2), None);
    assert!(mi_fgsm("kernel = 4").problem(Norm::Linf).unwrap().contains("odd"));
    assert!(toml::from_str::<MomentumIterative>("diversity = 1.5").is_err());
    assert!(toml::from_str::<MomentumIterative>("resize = 1.0").is_err());
}
