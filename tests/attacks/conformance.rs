//! What every registered attack must hold, on its raw output: the checks of core would hide a fault by an error.

use candle_core::{DType, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use temper_core::nn::{Classifier, Conv2d, Frozen, Network as Graph};
use temper_core::{
    Access, Attack, Ball, Batch, Chosen, Error, Goal, Kind, Norm, Passes, Pulse, Rng, TOLERANCE, Victim,
    VictimNetwork, perturb, summaries,
};

use crate::support::{affordable, attack, linear, numbers, small_batch, small_network};

const N: usize = 7;

/// A network, its batch, and for each attack and norm what it returns.
struct Bench {
    frozen: Frozen,
    batch: Batch,
    passes: Passes,
}

impl Bench {
    fn new() -> Self {
        let classifier = small_network(DType::F32);
        let batch = small_batch(&classifier, N);
        Self { frozen: Frozen::new(&classifier).unwrap(), batch, passes: Passes::default() }
    }

    fn victim(&self, goal: Goal) -> Victim<'_> {
        Victim::new(VictimNetwork::Frozen(&self.frozen), &self.batch, goal, &self.passes).unwrap()
    }

    fn ball(&self, norm: Norm, scale: f64) -> Ball {
        // One radius a sample, 0 among them.
        let radii: Vec<f64> = (0..N).map(|i| scale * i as f64 / N as f64).collect();
        Ball::new(&self.batch.pixels, &radii, norm, &self.batch.ids).unwrap()
    }
}

/// Every registered attack with its defaults (the costliest with fewer steps).
fn registered() -> Vec<Chosen<dyn Attack>> {
    let plugins = <dyn Attack>::plugins();
    assert!(plugins.len() >= 2, "the attacks are not linked in");
    plugins.iter().map(|plugin| affordable(plugin.name)).collect()
}

/// Calls `f` for every attack, some with a target too, both goals and each norm that it supports: at least one.
fn each(f: impl Fn(&Bench, &str, &dyn Attack, Goal, &Ball)) {
    let bench = Bench::new();
    let targeted = [
        "pgd = { target = \"random\", restarts = 2 }",
        "mi-fgsm = { target = \"random\" }",
        "cw-ball = { target = \"random\" }",
    ];
    for attack in registered().into_iter().chain(targeted.map(attack)) {
        let target = attack.params().get("target").and_then(toml::Value::as_str);
        let name = if target == Some("random") {
            format!("targeted {}", attack.name())
        } else {
            attack.name().into()
        };
        let mut supported = 0;
        // What ignores the ball does so whatever the norm and the goal: a test of its own.
        let goals =
            if attack.min_norm().is_some() { &[Goal::Mistake][..] } else { &[Goal::Mistake, Goal::Loss] };
        for (norm, scale) in [(Norm::Linf, 0.1), (Norm::L2, 0.8)] {
            let ball = bench.ball(norm, scale);
            match attack.perturb(&bench.victim(Goal::Mistake), &ball, &Rng::new(1, "attack")) {
                Err(Error::Refused(_)) => continue,
                other => drop(other.unwrap()),
            }
            supported += 1;
            for goal in goals {
                f(&bench, &format!("{name} {norm} {goal:?}"), &*attack, *goal, &ball);
            }
            if attack.min_norm().is_some() {
                break;
            }
        }
        assert!(supported > 0, "{name} supports no norm");
    }
}

fn run(bench: &Bench, attack: &dyn Attack, goal: Goal, ball: &Ball, seed: u64) -> Tensor {
    attack.perturb(&bench.victim(goal), ball, &Rng::new(seed, "attack")).unwrap()
}

#[test]
fn conformance_results_lie_in_box_and_ball_of_each_samples_own_radius() {
    each(|bench, name, attack, goal, ball| {
        let pixels = run(bench, attack, goal, ball, 1);
        assert_eq!(pixels.dims(), bench.batch.pixels.dims(), "{name}");
        assert!(
            numbers(&pixels).iter().all(|v| (-TOLERANCE..=1.0 + TOLERANCE).contains(v)),
            "{name}: outside the box"
        );
        if attack.min_norm().is_none() {
            let distances = ball.distances(&pixels, ball.norm()).unwrap();
            for (distance, radius) in distances.iter().zip(numbers(ball.radii())) {
                assert!(
                    *distance <= radius * (1.0 + TOLERANCE) + TOLERANCE,
                    "{name}: {distance} beyond {radius}"
                );
            }
            // Sample 0 has radius 0.
            let first = |t: &Tensor| numbers(&t.get(0).unwrap());
            assert_eq!(
                first(&pixels),
                first(&bench.batch.pixels),
                "{name}: a radius of 0 must keep the image"
            );
        }
    });
}

/// ART #507: rounding carried pixels further than eps, and who compares strictly counted the images as cheats.
#[test]
fn conformance_no_pixel_is_further_than_the_radius_in_single_precision() {
    let bench = Bench::new();
    let eight_bits = ((&bench.batch.pixels * 255.0).unwrap().round().unwrap() / 255.0).unwrap();
    let bench = Bench { batch: Batch { pixels: eight_bits, ..bench.batch.clone() }, ..bench };
    let eps = 8.0 / 255.0;
    let ball = Ball::new(&bench.batch.pixels, &[eps; N], Norm::Linf, &bench.batch.ids).unwrap();
    let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let old = flat(&bench.batch.pixels);
    let unclamped = attack("pgd = { start = \"unclamped\", success = \"final\" }");
    for attack in registered().into_iter().chain([unclamped]) {
        for goal in [Goal::Mistake, Goal::Loss] {
            let got = perturb(&attack, &bench.victim(goal), &ball, &Rng::new(1, "attack")).unwrap();
            let far =
                flat(&got.pixels).iter().zip(&old).map(|(new, old)| (new - old).abs()).fold(0.0, f32::max);
            assert!(far <= eps as f32, "{attack:?} {goal:?}: {far}");
            // Where nothing comes near the edge, nothing is tested.
            assert!(attack.min_norm().is_some() || far > 0.9 * eps as f32, "{attack:?} {goal:?}: {far}");
        }
    }
}

/// Convolution and batch norm: under the statistics of the batch one sample's logits depend on its company.
fn mixing_network() -> Classifier {
    let mut graph = Graph::new([2, 8, 8]);
    let conv = Conv2d { channels: 8, kernel: 3, stride: 2, padding: 1, bias: false };
    let x = graph.conv(graph.input(), "conv1", conv).unwrap();
    let x = graph.batch_norm(x, "bn1");
    let x = graph.relu(x);
    graph.linear(x, "fc1", 5).unwrap();
    Classifier::random(graph, DType::F32, &mut ChaCha8Rng::seed_from_u64(4)).unwrap()
}

#[test]
fn conformance_under_batch_statistics_attacks_refuse_or_give_an_image_for_every_sample() {
    let (classifier, passes) = (mixing_network(), Passes::default());
    let batch = small_batch(&classifier, N);
    let mut refused = vec![];
    for attack in registered() {
        for goal in [Goal::Mistake, Goal::Loss] {
            let victim =
                Victim::new(VictimNetwork::BatchStatistics(&classifier), &batch, goal, &passes).unwrap();
            let ball = Ball::new(&batch.pixels, &[0.1; N], Norm::Linf, &batch.ids).unwrap();
            match perturb(&attack, &victim, &ball, &Rng::new(1, "attack")) {
                Err(Error::Refused(why)) => {
                    assert!(why.contains("attack_batch_norm = \"eval\""), "{}: {why}", attack.name());
                    refused.push(attack.name());
                }
                got => {
                    let pixels = got.unwrap().pixels;
                    assert_eq!(pixels.dims(), batch.pixels.dims(), "{}", attack.name());
                    assert!(numbers(&pixels).iter().all(|v| (0.0..=1.0).contains(v)), "{}", attack.name());
                    let far = ball.distances(&pixels, Norm::Linf).unwrap();
                    assert!(far.iter().all(|far| *far <= 0.1 + TOLERANCE), "{}: {far:?}", attack.name());
                    // What counts as a mistake may be one where it stands.
                    let moves = goal == Goal::Loss && attack.min_norm().is_none();
                    assert!(!moves || far.iter().all(|far| *far > 0.05), "{}: {far:?}", attack.name());
                }
            }
        }
    }
    assert!(!refused.contains(&"pgd") && refused.contains(&"cw-ball"), "{refused:?}");
}

#[test]
fn conformance_the_same_seed_gives_the_same_bits_on_one_thread_and_two() {
    each(|bench, name, attack, goal, ball| {
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            numbers(&pool.install(|| run(bench, attack, goal, ball, 1)))
        };
        let one = on(1);
        assert!(one == on(2), "{name}: two threads give other bits");
        assert!(one == on(1), "{name}: a second call gives other bits");
    });
}

#[test]
fn conformance_a_part_of_the_batch_gives_the_same_rows() {
    each(|bench, name, attack, goal, ball| {
        let all = run(bench, attack, goal, ball, 1);
        let mask: Vec<bool> = (0..N).map(|i| i % 3 != 1).collect();
        let victim = bench.victim(goal).rows(&mask).unwrap();
        let part = attack.perturb(&victim, &ball.rows(&mask).unwrap(), &Rng::new(1, "attack")).unwrap();
        for (row, i) in (0..N).filter(|i| mask[*i]).enumerate() {
            let same = numbers(&part.get(row).unwrap()) == numbers(&all.get(i).unwrap());
            assert!(same, "{name}: sample {i} differs in a smaller batch");
        }
    });
}

#[test]
fn conformance_attacks_raise_the_loss() {
    each(|bench, name, attack, goal, ball| {
        let victim = bench.victim(goal);
        let sum = |pixels: &Tensor| numbers(&victim.scores(pixels).unwrap()).iter().sum::<f64>();
        let (clean, perturbed) = (sum(&bench.batch.pixels), sum(&run(bench, attack, goal, ball, 1)));
        assert!(perturbed > clean, "{name}: loss {perturbed} after {clean}");
    });
}

/// A minimum-norm attack ignores the ball; what it returns is adversarial at the distance that is told, or
/// not believed.
#[test]
fn conformance_minimum_norm_attacks_ignore_the_ball_and_are_judged() {
    let bench = Bench::new();
    let minimum_norm = |name: &str| affordable(name).min_norm().is_some();
    let names: Vec<&str> =
        <dyn Attack>::plugins().iter().map(|p| p.name).filter(|name| minimum_norm(name)).collect();
    assert!(names.contains(&"deepfool") && names.contains(&"cw-l2"), "{names:?}");
    for name in names {
        let attack = affordable(name);
        let (victim, norm) = (bench.victim(Goal::Mistake), attack.min_norm().unwrap());
        let raw = run(&bench, &*attack, Goal::Mistake, &bench.ball(Norm::Linf, 0.1), 1);
        let other = run(&bench, &*attack, Goal::Loss, &bench.ball(Norm::L2, 9.0), 1);
        assert!(numbers(&raw) == numbers(&other), "{name} depends on the ball");

        let far = bench.ball(norm, 0.0).distances(&raw, norm).unwrap();
        // Radii that every second sample's perturbation fits.
        let radii: Vec<f64> = (0..N).map(|i| if i % 2 == 0 { far[i] * 1.01 } else { far[i] * 0.9 }).collect();
        let ball = Ball::new(&bench.batch.pixels, &radii, norm, &bench.batch.ids).unwrap();
        let got = perturb(&attack, &victim, &ball, &Rng::new(1, "attack")).unwrap();
        let (distances, broken) = (got.distances.unwrap(), victim.broken(&raw).unwrap());
        let kept = victim.broken(&got.pixels).unwrap();
        assert!(broken.iter().filter(|b| **b).count() > N / 2, "{name} fails nearly always");
        for i in 0..N {
            assert_eq!(distances[i].is_finite(), broken[i], "{name}: sample {i}");
            let fits = broken[i] && distances[i] <= radii[i] + TOLERANCE;
            let clean = numbers(&got.pixels.get(i).unwrap()) == numbers(&bench.batch.pixels.get(i).unwrap());
            assert!(
                if fits { kept[i] } else { clean },
                "{name}: sample {i}, {} in {}",
                distances[i],
                radii[i]
            );
        }
        // The last sample is a natural error.
        assert!(distances[N - 1] < 1e-5, "{name}: {} from a natural error", distances[N - 1]);
    }
}

/// Where the logits do not depend on the pixels, there is nothing to find and nothing to divide by.
#[test]
fn conformance_without_a_gradient_nothing_breaks() {
    let flat = linear([2, 8, 8], &[vec![0.0; 128], vec![0.0; 128]], &[1.0, 0.0]);
    let bench = Bench { frozen: Frozen::new(&flat).unwrap(), ..Bench::new() };
    let labels = Tensor::zeros(N, DType::U32, &candle_core::Device::Cpu).unwrap();
    let bench = Bench { batch: Batch { labels, ..bench.batch.clone() }, ..bench };
    let balls = [bench.ball(Norm::Linf, 0.1), bench.ball(Norm::L2, 0.8)];
    for attack in registered() {
        let (name, mut supported) = (attack.name(), 0);
        for (ball, goal) in balls.iter().flat_map(|ball| [(ball, Goal::Mistake), (ball, Goal::Loss)]) {
            let got = match perturb(&attack, &bench.victim(goal), ball, &Rng::new(1, "attack")) {
                Err(Error::Refused(_)) => continue,
                got => got.unwrap(),
            };
            supported += 1;
            assert!(numbers(&got.pixels).iter().all(|v| (0.0..=1.0).contains(v)), "{name}");
            if let Some(distances) = got.distances {
                assert!(distances.iter().all(|d| d.is_infinite()), "{name}: {distances:?}");
            }
        }
        assert!(supported >= 2, "{name} supports no norm");
    }
}

/// Parameters that single precision cannot hold, or that ask for more tries than there are.
#[test]
fn conformance_extreme_parameters_give_numbers_and_an_end() {
    let bench = Bench::new();
    for (text, norm) in [
        ("pgd = { step = 1e39 }", Norm::Linf),
        ("pgd = { step = 1e39 }", Norm::L2),
        ("pgd = { relative_step = 1e300, start = \"clean\" }", Norm::L2),
        ("fgsm = { step = 1e300 }", Norm::L2),
        ("mi-fgsm = { travel = 1e300 }", Norm::Linf),
        ("deepfool = { overshoot = 1e300, margin = 1e300 }", Norm::L2),
        ("deepfool = { overshoot = 1e300, overshoot_on = \"step\", norm = \"linf\" }", Norm::Linf),
        ("cw-ball = { halvings = 1_000_000_000, doublings = 1_000_000_000, steps = 3 }", Norm::Linf),
        ("cw-ball = { learning_rate = 1e300, steps = 3 }", Norm::Linf),
        ("cw-l2 = { learning_rate = 1e300, initial_const = 1e300, steps = 9 }", Norm::L2),
    ] {
        for goal in [Goal::Mistake, Goal::Loss] {
            let ball = bench.ball(norm, 0.5);
            let got = perturb(&attack(text), &bench.victim(goal), &ball, &Rng::new(1, "attack")).unwrap();
            assert!(numbers(&got.pixels).iter().all(|v| (0.0..=1.0).contains(v)), "{text} {norm}");
            let far = ball.distances(&got.pixels, norm).unwrap();
            // What minimum-norm attacks and `cw-ball` give is the clean image where nothing was found.
            let moved = far.iter().any(|far| *far > 0.0);
            assert!(
                moved || attack(text).min_norm().is_some() || text.starts_with("cw"),
                "{text} {norm}: nothing moved"
            );
        }
    }
    let huge = Ball::new(&bench.batch.pixels, &[1e300; N], Norm::L2, &bench.batch.ids).unwrap();
    let got = perturb(&attack("pgd = {}"), &bench.victim(Goal::Loss), &huge, &Rng::new(1, "attack")).unwrap();
    assert!(numbers(&got.pixels).iter().all(|v| (0.0..=1.0).contains(v)));
}

#[test]
fn conformance_every_plugin_is_documented_and_its_defaults_are_sound() {
    let all = summaries();
    assert!(temper_core::duplicates().is_empty());
    for kind in temper_core::KINDS {
        assert!(all.iter().any(|plugin| plugin.kind == *kind), "no {kind} is linked in");
    }
    for plugin in all {
        let name = format!("{} {}", plugin.kind, plugin.name);
        let kebab = plugin.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        assert!(kebab, "{name}: not kebab-case");
        assert!(!plugin.doc.is_empty(), "{name}: no documentation");
        // What is said of images within a radius comes from somewhere, and holds for some norms.
        if ["attack", "loss", "epsilon", "suite"].contains(&plugin.kind) {
            let doc = plugin.doc.concat();
            assert!(
                doc.contains("https://") && doc.contains("Norm"),
                "{name}: no source, or no norms: {doc}"
            );
        }
        for param in plugin.params {
            assert!(!param.doc.is_empty(), "{name}.{}: no documentation", param.name);
        }
        // What `describe` prints is TOML that a pipeline takes, and it means the defaults.
        let text = temper_runner::describe(plugin.kind, plugin.name).unwrap();
        let mut table: toml::Table = text.parse().unwrap_or_else(|e| panic!("{name}: {e}\n{text}"));
        for key in plugin.place.split('.') {
            table = table.remove(key).unwrap().try_into().unwrap();
        }
        assert_eq!(table[plugin.name].as_table(), Some(&plugin.defaults), "{name}");
    }
}

/// What a victim is asked for beyond the access that it grants is an error; what it gives is counted as queries.
#[test]
fn a_victim_gives_no_more_than_an_attack_says_that_it_needs() {
    let bench = Bench::new();
    let (victim, pixels) = (bench.victim(Goal::Mistake), bench.batch.pixels.clone());
    let denied = |result: Result<(), Error>| matches!(result, Err(Error::Denied { .. }));
    let scores = victim.granting(Access::Scores);
    assert!(denied(scores.gradient(&pixels).map(drop)));
    assert!(denied(scores.record(&pixels).map(drop)));
    scores.logits(&pixels).unwrap();
    let labels = scores.granting(Access::Labels);
    assert!(denied(labels.logits(&pixels).map(drop)));
    assert!(denied(labels.scores(&pixels).map(drop)));
    // A view cannot win back what another one gave up, nor can its parts.
    assert!(denied(labels.granting(Access::Gradients).logits(&pixels).map(drop)));
    let some: Vec<bool> = (0..N).map(|i| i % 2 == 0).collect();
    let part = labels.rows(&some).unwrap();
    assert!(denied(part.logits(part.pixels()).map(drop)));
    assert_eq!(part.decisions(part.pixels()).unwrap().len(), N.div_ceil(2));
    assert_eq!(labels.broken(&pixels).unwrap(), victim.broken(&pixels).unwrap());
    // Two queries of all samples, three of every second one; what the full view was asked is none.
    let queries: Vec<u64> = bench.passes.take_queries().into_values().collect();
    assert_eq!(queries, (0..N as u64).map(|i| 2 + u64::from(i % 2 == 0)).collect::<Vec<_>>());
    assert!(bench.passes.take_queries().is_empty());
}

/// A pulse hears of every pass and ends an attack between two of them.
#[test]
fn a_pulse_ends_an_attack() {
    let bench = Bench::new();
    let heard = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = heard.clone();
    let pulse = Pulse::new(move |samples| {
        let all = counter.fetch_add(samples, std::sync::atomic::Ordering::SeqCst) + samples;
        if all > 4 * N { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
    });
    let passes = Passes::heard_by(Some(pulse));
    let victim =
        Victim::new(VictimNetwork::Frozen(&bench.frozen), &bench.batch, Goal::Loss, &passes).unwrap();
    let ended =
        perturb(&attack("pgd = { steps = 10 }"), &victim, &bench.ball(Norm::Linf, 0.1), &Rng::new(1, "a"));
    assert!(matches!(ended, Err(Error::Cancelled)), "{ended:?}");
    // Two steps of a forward and a backward pass, and the pass that was one too many.
    assert_eq!(heard.load(std::sync::atomic::Ordering::SeqCst), 5 * N);
}

/// What an attack says that it takes at most, it takes at most: its estimates are promises.
#[test]
fn no_attack_takes_more_passes_than_it_says() {
    let classes = Bench::new().frozen.network().classes();
    let mut told = 0;
    let check = |attack: &dyn Attack, name: &str, goal: Goal, norm: Norm| {
        let Some([forwards, backwards]) = attack.most_passes(classes) else { return 0 };
        let bench = Bench::new();
        // Radii within which some samples survive.
        let ball = bench.ball(norm, if norm == Norm::Linf { 0.02 } else { 0.1 });
        match attack.perturb(&bench.victim(goal), &ball, &Rng::new(3, "attack")) {
            Err(Error::Refused(_)) => return 0,
            other => drop(other.unwrap()),
        }
        let n = N as u64;
        let taken = [bench.passes.forwards(), bench.passes.backwards()];
        let most = [forwards * n, backwards * n];
        assert!(taken[0] <= most[0] && taken[1] <= most[1], "{name} {goal:?} {norm}: {taken:?} of {most:?}");
        // And not many times less for a sample that survives. Minimum-norm attacks end where they meet a boundary, and
        // `cw-ball` at its first success.
        let ends_early = goal == Goal::Mistake || attack.min_norm().is_some() || name.starts_with("cw-ball");
        assert!(ends_early || taken[0] * 2 >= most[0], "{name} {goal:?} {norm}: {taken:?} of {most:?}");
        1
    };
    let more = [
        "pgd = { steps = 3, restarts = 3, target = { likeliest = 2 } }",
        "pgd = { steps = 3, start = \"clean\", restarts = 3, target = \"least-likely\" }",
        "apgd = { steps = 6, restarts = 3, target = \"all\", loss = \"dlr\", eot = 2 }",
        "apgd = { steps = 6, restarts = 2, success = \"final\" }",
        "mi-fgsm = { steps = 3, restarts = 2, variance = 2, scales = 3, diversity = 0.5, nesterov = true, target = \"all\" }",
        "fab = { steps = 4, restarts = 2, target = { likeliest = 2 } }",
        "fab = { steps = 4, target = \"least-likely\" }",
        "square = { queries = 40, restarts = 3 }",
        "hop-skip-jump = { queries = 300 }",
        "deepfool = { steps = 4, candidates = 2 }",
    ];
    for attack in registered().into_iter().chain(more.map(attack)) {
        for goal in [Goal::Mistake, Goal::Loss, Goal::Transfer] {
            for norm in [Norm::Linf, Norm::L2] {
                told += check(&*attack, &attack.label(), goal, norm);
            }
        }
    }
    assert!(told > 40, "{told} cases");
}
