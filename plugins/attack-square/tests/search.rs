//! The search on small networks.

use std::collections::BTreeMap;

use temper_attack_square::{Places, Square};
use temper_core::nn::{Classifier, Frozen};
use temper_core::prelude::*;
use temper_core::{DType, Device, Passes, Trace, VictimNetwork, perturb};

const N: usize = 8;

/// A convolution, `ReLU` and a linear layer with random weights.
fn network(shape: [usize; 3], dtype: DType) -> Classifier {
    let mut graph = Network::new(shape);
    let conv = Conv2d { channels: 6, kernel: 3, stride: 1, padding: 1, bias: true };
    let x = graph.conv(graph.input(), "conv", conv).unwrap();
    let x = graph.relu(x);
    graph.linear(x, "fc", 5).unwrap();
    Classifier::random(graph, dtype, &mut Rng::new(3, "weights").sample(0)).unwrap()
}

/// One linear layer whose weights and biases are these.
fn linear(shape: [usize; 3], weights: &[Vec<f32>], biases: &[f32]) -> Classifier {
    let mut graph = Network::new(shape);
    graph.linear(graph.input(), "fc", weights.len()).unwrap();
    let size = (weights.len(), shape.iter().product::<usize>());
    let weights = BTreeMap::from([
        ("fc.weight".to_string(), Tensor::from_vec(weights.concat(), size, &Device::Cpu).unwrap()),
        ("fc.bias".to_string(), Tensor::new(biases, &Device::Cpu).unwrap()),
    ]);
    Classifier::new(graph, &weights).unwrap()
}

/// Random images, labelled as the network sees them.
fn images(frozen: &Frozen, [c, h, w]: [usize; 3], dtype: DType) -> Batch {
    let ids: Vec<u64> = (20..20 + N as u64).collect();
    let pixels = Rng::new(5, "images").uniform(&ids, c * h * w);
    let pixels: Vec<f32> = pixels.iter().map(|v| f32::midpoint(*v, 1.0)).collect();
    let pixels = Tensor::from_vec(pixels, (N, c, h, w), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
    let labels = frozen.logits(&pixels).unwrap().argmax(1).unwrap();
    Batch { pixels, labels, ids }
}

struct Bench {
    frozen: Frozen,
    batch: Batch,
    passes: Passes,
}

impl Bench {
    fn new(shape: [usize; 3], dtype: DType) -> Self {
        Self::of(&network(shape, dtype), shape, dtype)
    }

    fn of(classifier: &Classifier, shape: [usize; 3], dtype: DType) -> Self {
        let frozen = Frozen::new(classifier).unwrap();
        let batch = images(&frozen, shape, dtype);
        Self { frozen, batch, passes: Passes::default() }
    }

    fn victim(&self, goal: Goal) -> Victim<'_> {
        Victim::new(VictimNetwork::Frozen(&self.frozen), &self.batch, goal, &self.passes).unwrap()
    }

    fn ball(&self, norm: Norm, radius: f64) -> Ball {
        Ball::new(&self.batch.pixels, &[radius; N], norm, &self.batch.ids).unwrap()
    }

    fn run(&self, square: &Square, goal: Goal, ball: &Ball) -> Tensor {
        square.perturb(&self.victim(goal).granting(square.needs()), ball, &Rng::new(1, "attack")).unwrap()
    }

    /// Each sample's logit of its class minus the largest other one.
    fn margins(&self, pixels: &Tensor) -> Vec<f64> {
        let logits = self.frozen.logits(pixels).unwrap().to_dtype(DType::F64).unwrap();
        let labels = self.batch.labels.to_vec1::<u32>().unwrap();
        let rows = logits.to_vec2::<f64>().unwrap();
        let margin = |(row, label): (&Vec<f64>, u32)| {
            let others = (0..).zip(row).filter(|(class, _)| *class != label).map(|(_, logit)| *logit);
            row[label as usize] - others.fold(f64::NEG_INFINITY, f64::max)
        };
        rows.iter().zip(labels).map(margin).collect()
    }
}

fn square(queries: usize) -> Square {
    Square { queries: nonzero(queries), ..Square::default() }
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

/// Radii at which some samples of the small network fall at once, some later, and some stand.
const RADII: [(Norm, f64); 2] = [(Norm::Linf, 0.05), (Norm::L2, 0.6)];
const SHAPE: [usize; 3] = [2, 8, 8];

#[test]
fn a_sample_gets_the_same_image_alone_and_among_others() {
    let bench = Bench::new(SHAPE, DType::F32);
    for (norm, radius) in RADII {
        let (ball, square) = (bench.ball(norm, radius), square(60));
        for goal in [Goal::Mistake, Goal::Loss] {
            let all = bench.run(&square, goal, &ball);
            let broken = bench.victim(goal).broken(&all).unwrap();
            assert!(broken.contains(&true) && broken.contains(&false), "{norm}: {broken:?}");
            for masks in [0b1, 0b1000_0000, 0b0101_0110, 0b1110_0001] {
                let mask: Vec<bool> = (0..N).map(|i| masks >> i & 1 == 1).collect();
                let victim = bench.victim(goal).rows(&mask).unwrap().granting(Access::Scores);
                let part =
                    square.perturb(&victim, &ball.rows(&mask).unwrap(), &Rng::new(1, "attack")).unwrap();
                let same = numbers(&rows::select(&all, &mask).unwrap()) == numbers(&part);
                assert!(same, "{norm} {goal:?}: others in rows {masks:b}");
            }
        }
    }
}

#[test]
fn the_margin_never_rises_with_more_queries() {
    let bench = Bench::new(SHAPE, DType::F32);
    for (norm, radius) in RADII {
        let ball = bench.ball(norm, radius);
        // Without a rescaled schedule a shorter search is the beginning of a longer one.
        let margins: Vec<Vec<f64>> = [1, 2, 3, 5, 10, 30, 100, 300]
            .map(|queries| bench.margins(&bench.run(&square(queries), Goal::Loss, &ball)))
            .into();
        for (i, pair) in margins.windows(2).enumerate() {
            for (later, before) in pair[1].iter().zip(&pair[0]) {
                assert!(*later <= before + 1e-5, "{norm}, step {i}: from {before} to {later}");
            }
        }
        for (last, first) in margins[7].iter().zip(&margins[0]) {
            assert!(last < first, "{norm}: 300 queries found nothing better than the start");
        }
    }
}

#[test]
fn every_query_is_counted_and_none_is_above_the_budget() {
    let bench = Bench::new(SHAPE, DType::F32);
    for (norm, radius) in RADII {
        for restarts in [1, 3] {
            let square = Square { restarts: nonzero(restarts), ..square(50) };
            let ball = bench.ball(norm, radius);
            let before = bench.passes.forwards();
            let pixels = bench.run(&square, Goal::Mistake, &ball);
            let spent = bench.passes.forwards() - before;
            let queries = bench.passes.take_queries();
            assert_eq!(queries.values().sum::<u64>(), spent, "{norm}");
            let broken = bench.victim(Goal::Mistake).broken(&pixels).unwrap();
            assert!(broken.contains(&true) && broken.contains(&false), "{norm}: {broken:?}");
            let most = square.budget().unwrap() as u64;
            for (position, broken) in broken.iter().enumerate() {
                let queries = queries[&(position as u32)];
                match (broken, restarts) {
                    (true, _) => assert!(queries < most, "{norm}: {queries} of {most}"),
                    (false, 1) => assert_eq!(queries, most, "{norm}"),
                    // One before each further run says who still stands.
                    (false, _) => assert_eq!(queries, 3 * 50 + 2, "{norm}"),
                }
            }
            bench.run(&square, Goal::Loss, &ball);
            assert_eq!(bench.passes.take_queries().into_values().collect::<Vec<_>>(), [most; N], "{norm}");
        }
    }
    assert_eq!(Square { restarts: nonzero(2), ..square(usize::MAX) }.budget(), Some(usize::MAX));
}

/// Class 1 above a mean of 0.5, class 0 below; the nearest image of class 0 lies straight downwards. Squares of one
/// sign lead there; the patches of l2, of which a half points upwards, lead less far.
#[test]
fn a_linear_network_falls_a_little_beyond_its_boundary_and_not_before() {
    let size = 64;
    let weights = [-1.0, 1.0].map(|w| vec![w / size as f32; size]);
    let classifier = linear([1, 8, 8], &weights, &[0.5, -0.5]);
    let mut bench = Bench::of(&classifier, [1, 8, 8], DType::F32);
    let noise = Rng::new(2, "images").uniform(&bench.batch.ids, size);
    let pixels: Vec<f32> = noise
        .chunks(size)
        .flat_map(|row| {
            let mean = row.iter().sum::<f32>() / size as f32;
            row.iter().map(move |v| 0.53 + 0.1 * (v - mean)).collect::<Vec<_>>()
        })
        .collect();
    bench.batch.pixels = Tensor::from_vec(pixels, (N, 1, 8, 8), &Device::Cpu).unwrap();
    bench.batch.labels = Tensor::ones(N, DType::U32, &Device::Cpu).unwrap();
    for (norm, least, spare) in [(Norm::Linf, 0.03, 1.02), (Norm::L2, 0.03 * 8.0, 2.2)] {
        for goal in [Goal::Mistake, Goal::Loss] {
            let fallen = |factor: f64| {
                let pixels = bench.run(&square(1500), goal, &bench.ball(norm, least * factor));
                bench.victim(goal).broken(&pixels).unwrap()
            };
            assert_eq!(fallen(0.98), [false; N], "{norm} {goal:?}");
            assert_eq!(fallen(spare), [true; N], "{norm} {goal:?}");
        }
    }
}

#[test]
fn images_of_any_size_stay_in_ball_and_box() {
    let sizes = [7, 8, 9, 12, 14, 18, 19, 24, 32].map(|size| [1, size, size]);
    for shape in sizes.into_iter().chain([[1, 5, 9], [3, 9, 5], [2, 1, 1], [1, 2, 2], [1, 3, 40]]) {
        for dtype in [DType::F32, DType::F64] {
            let bench = Bench::new(shape, dtype);
            for (norm, radius) in [(Norm::Linf, 8.0 / 255.0), (Norm::L2, 0.5)] {
                for places in [Places::All, Places::AllButLast] {
                    let square = Square { places, rescale: true, ..square(30) };
                    let ball = bench.ball(norm, radius);
                    let pixels = bench.run(&square, Goal::Loss, &ball);
                    assert_eq!((pixels.dims(), pixels.dtype()), (bench.batch.pixels.dims(), dtype));
                    assert!(numbers(&pixels).iter().all(|v| (0.0..=1.0).contains(v)), "{shape:?} {norm}");
                    let far = ball.distances(&pixels, norm).unwrap();
                    assert!(
                        far.iter().all(|far| *far > 0.0 && *far <= radius + 1e-6),
                        "{shape:?} {norm}: {far:?}"
                    );
                }
                let still = bench.run(&square(30), Goal::Loss, &bench.ball(norm, 0.0));
                assert!(numbers(&still) == numbers(&bench.batch.pixels), "{shape:?} {norm}: radius 0");
            }
        }
    }
}

#[test]
fn nan_logits_break_a_sample_and_give_no_nan_pixels() {
    let nan = linear(SHAPE, &[vec![0.1; 128], vec![f32::NAN; 128]], &[1.0, 0.0]);
    let mut bench = Bench::of(&nan, SHAPE, DType::F32);
    bench.batch.labels = Tensor::zeros(N, DType::U32, &Device::Cpu).unwrap();
    for (norm, radius) in RADII {
        for goal in [Goal::Mistake, Goal::Loss] {
            let ball = bench.ball(norm, radius);
            let pixels = bench.run(&Square { restarts: nonzero(2), ..square(20) }, goal, &ball);
            assert!(numbers(&pixels).iter().all(|v| (0.0..=1.0).contains(v)), "{norm} {goal:?}");
            let queries = bench.passes.take_queries();
            assert!(goal == Goal::Loss || queries.values().all(|q| *q == 2), "{norm}: {queries:?}");
        }
    }
}

#[test]
fn a_trace_says_what_stood_after_fewer_queries() {
    let bench = Bench::new(SHAPE, DType::F32);
    let milestones = [1, 5, 20, 60];
    for (norm, radius) in RADII {
        let ball = bench.ball(norm, radius);
        let trace = Trace::new(N, &milestones);
        let victim = bench.victim(Goal::Mistake).traced(&trace).granting(Access::Scores);
        square(60).perturb(&victim, &ball, &Rng::new(1, "attack")).unwrap();
        let told = trace.mistaken();
        for (i, queries) in milestones.iter().enumerate() {
            let pixels = bench.run(&square(*queries), Goal::Mistake, &ball);
            let broken = bench.victim(Goal::Mistake).broken(&pixels).unwrap();
            let after: Vec<bool> = told.iter().map(|row| row[i]).collect();
            assert_eq!(after, broken, "{norm} after {queries}");
        }
    }
}

#[test]
fn it_is_registered_asks_for_logits_alone_and_refuses_batch_statistics() {
    let chosen = Chosen::<dyn Attack>::by_name("square").unwrap();
    assert_eq!(
        (chosen.needs(), chosen.budget(), chosen.variant()),
        (Access::Scores, Some(5000), Some("5000".into()))
    );
    let bench = Bench::new(SHAPE, DType::F32);
    let ball = bench.ball(Norm::Linf, 0.05);
    // The victim of `perturb` grants no more than `needs` says.
    perturb(&chosen, &bench.victim(Goal::Mistake), &ball, &Rng::new(1, "attack")).unwrap();
    let classifier = network(SHAPE, DType::F32);
    let mixing = VictimNetwork::BatchStatistics(&classifier);
    let victim = Victim::new(mixing, &bench.batch, Goal::Loss, &bench.passes).unwrap();
    let refusal = perturb(&chosen, &victim, &ball, &Rng::new(1, "attack")).unwrap_err();
    assert!(refusal.to_string().contains("attack_batch_norm = \"eval\""), "{refusal}");
}
