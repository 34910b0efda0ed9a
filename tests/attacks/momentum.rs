//! MI-FGSM against sequences worked by hand, on a network whose logits are its two pixels.

use candle_core::{Device, Tensor};
use temper_core::nn::Frozen;
use temper_core::{Ball, Batch, Goal, Norm, Passes, Result, Rng, Rows, Victim, VictimNetwork};

use crate::support::{attack, linear, numbers};

/// Where the attack comes from (0.5, 0.5) in a ball of radius 0.2, raising `score` of the two pixels `[n]`.
fn end(text: &str, norm: Norm, score: impl Fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>) -> [f64; 2] {
    let classifier = linear([1, 1, 2], &[vec![1.0, 0.0], vec![0.0, 1.0]], &[0.0, 0.0]);
    let pixels = Tensor::full(0.5f32, (1, 1, 1, 2), &Device::Cpu).unwrap();
    let batch = Batch { pixels, labels: Tensor::new(&[0u32], &Device::Cpu).unwrap(), ids: vec![0] };
    let (frozen, passes) = (Frozen::new(&classifier).unwrap(), Passes::default());
    let score = |logits: &Tensor, _: &Rows| -> Result<Tensor> {
        Ok(score(&logits.get_on_dim(1, 0)?, &logits.get_on_dim(1, 1)?)?)
    };
    let victim = Victim::new(VictimNetwork::Frozen(&frozen), &batch, Goal::Loss, &passes).unwrap();
    let victim = victim.with_score(&score);
    let ball = Ball::new(&batch.pixels, &[0.2], norm, &batch.ids).unwrap();
    let got = attack(text).perturb(&victim, &ball, &Rng::new(0, "attack")).unwrap();
    numbers(&got).try_into().unwrap()
}

fn close(got: [f64; 2], want: [f64; 2]) {
    assert!((got[0] - want[0]).abs() < 1e-6 && (got[1] - want[1]).abs() < 1e-6, "{got:?}, not {want:?}");
}

/// Gradient (-20 (a - 0.53), 3): the first pixel is drawn to 0.53, the second upwards.
fn valley(a: &Tensor, b: &Tensor) -> candle_core::Result<Tensor> {
    (a.affine(1.0, -0.53)?.sqr()? * -10.0)? + (b * 3.0)?
}

#[test]
fn momentum_follows_the_sequence_worked_by_hand() {
    let run = |text: &str| end(&format!("mi-fgsm = {{ step = 0.05, {text} }}"), Norm::Linf, valley);
    // Gradients (0.6, 3), (-0.4, 3), (-1.4, 3), (-0.4, 3) over their means 1.8, 1.7, 2.2, 1.7; momentum of
    // the first pixel: 0.333, 0.098, -0.538, -0.774.
    close(run("steps = 1"), [0.55, 0.55]);
    close(run("steps = 2"), [0.60, 0.60]);
    close(run("steps = 3"), [0.55, 0.65]);
    close(run("steps = 4"), [0.50, 0.70]);
    // No momentum, which is the basic iterative method; half of it: 0.167 - 0.235 is below 0 too.
    close(run("steps = 2, decay = 0.0"), [0.50, 0.60]);
    close(run("steps = 2, decay = 0.5"), [0.50, 0.60]);
    // Signs instead of gradients: 1 - 1 is 0, and the pixel stays.
    close(run("steps = 2, gather = \"steepest\""), [0.55, 0.60]);
}

#[test]
fn steps_of_eps_over_t_end_on_the_edge_where_no_sign_turns() {
    let rising = |a: &Tensor, b: &Tensor| a - (b * 0.001)?;
    close(end("mi-fgsm = {}", Norm::Linf, rising), [0.7, 0.3]);
    close(end("mi-fgsm = { steps = 4 }", Norm::Linf, rising), [0.7, 0.3]);
    // The authors of IAAT: eps / 40.001.
    let short = 0.2 * 40.0 / 40.001;
    close(end("mi-fgsm = { steps = 40, travel = 0.999975 }", Norm::Linf, rising), [0.5 + short, 0.5 - short]);
    // In an l2 ball along the momentum itself, here always (3, 4) / 5.
    let slope = |a: &Tensor, b: &Tensor| (a * 3.0)? + (b * 4.0)?;
    close(end("mi-fgsm = { steps = 3 }", Norm::L2, slope), [0.62, 0.66]);
}

/// A gradient of 0, or one whose square is 0 in single precision, is neither NaN nor the end of the momentum.
#[test]
fn gradients_of_zero_and_tiny_ones_keep_the_momentum() {
    // Gradient (1, 0) below 0.52, then 0.
    let flat = |a: &Tensor, _: &Tensor| a.affine(-1.0, 0.52)?.relu()?.neg();
    close(end("mi-fgsm = { step = 0.05, steps = 1 }", Norm::Linf, flat), [0.55, 0.5]);
    close(end("mi-fgsm = { step = 0.05, steps = 3 }", Norm::Linf, flat), [0.65, 0.5]);
    close(end("mi-fgsm = { step = 0.05, steps = 3 }", Norm::L2, flat), [0.65, 0.5]);
    let nothing = |a: &Tensor, _: &Tensor| a * 0.0;
    close(end("mi-fgsm = {}", Norm::Linf, nothing), [0.5, 0.5]);
    close(end("mi-fgsm = {}", Norm::L2, nothing), [0.5, 0.5]);
    let tiny = |a: &Tensor, b: &Tensor| (a * 3e-30)? + (b * 4e-30)?;
    close(end("mi-fgsm = { steps = 3 }", Norm::Linf, tiny), [0.7, 0.7]);
    close(end("mi-fgsm = { steps = 3 }", Norm::L2, tiny), [0.62, 0.66]);
}
