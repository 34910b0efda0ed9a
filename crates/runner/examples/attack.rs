//! temper as a library, without TOML: a network, a batch, an attack. Run it with
//! `cargo run --release -p temper-runner --example attack`.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use temper_core::nn::{Classifier, Frozen, Network as Graph};
use temper_core::{
    Attack, Ball, Batch, Chosen, DType, Device, Goal, Norm, Passes, Rng, Tensor, Victim, VictimNetwork,
    perturb,
};
// Links the plugins, which the registries then hold.
use temper_runner as _;

fn main() -> anyhow::Result<()> {
    // A linear network for 28 x 28 grey images and ten classes, with random weights.
    let mut graph = Graph::new([1, 28, 28]);
    graph.linear(graph.input(), "fc", 10)?;
    let network = Frozen::new(&Classifier::random(graph, DType::F32, &mut ChaCha8Rng::seed_from_u64(0))?)?;

    // Eight grey images, labelled as the network sees them.
    let pixels = Tensor::full(0.5f32, (8, 1, 28, 28), &Device::Cpu)?;
    let labels = network.logits(&pixels)?.argmax(1)?;
    let batch = Batch { pixels, labels, ids: (0..8).collect() };

    // PGD with its defaults, within an l-inf radius of 0.1 around each image.
    let pgd = Chosen::<dyn Attack>::by_name("pgd").map_err(anyhow::Error::msg)?;
    let passes = Passes::default();
    let victim = Victim::new(VictimNetwork::Frozen(&network), &batch, Goal::Mistake, &passes)?;
    let ball = Ball::new(&batch.pixels, &[0.1; 8], Norm::Linf, &batch.ids)?;
    let perturbed = perturb(&pgd, &victim, &ball, &Rng::new(0, "example"))?;

    let broken = victim.broken(&perturbed.pixels)?.iter().filter(|broken| **broken).count();
    println!("{broken} of 8 images are misclassified after {} backward passes", passes.backwards());
    Ok(())
}
