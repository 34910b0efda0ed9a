//! Log odds compared with their definition and with cross-entropy.

use candle_core::{Device, Var};

use super::super::*;
use crate::candle::loss;

type Score<'a> = &'a dyn Fn(&Tensor, &Tensor) -> Tensor;

/// Values and gradients. The gradients are those of a weighted sum, so that rows have different gradients.
fn run(logits: &Tensor, labels: &[u32], score: Score) -> (Vec<f64>, Vec<f64>) {
    let labels = Tensor::new(labels, &Device::Cpu).unwrap();
    let var = Var::from_tensor(logits).unwrap();
    let scores = score(&var, &labels);
    let weights: Vec<f64> = (0..scores.elem_count()).map(|i| 1.0 + i as f64).collect();
    let weights = Tensor::new(weights, &Device::Cpu).unwrap().to_dtype(logits.dtype()).unwrap();
    let gradients = (&scores * weights).unwrap().sum_all().unwrap().backward().unwrap();
    let numbers = |t: &Tensor| t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    (numbers(&scores), numbers(gradients.get(&var).unwrap()))
}

fn kernel(logits: &Tensor, labels: &Tensor) -> Tensor {
    log_odds(logits, labels).unwrap()
}

fn rows() -> (Tensor, [u32; 5]) {
    let rows = [[1.0, -2.0, 7.0], [0.5; 3], [3.0, 3.0, -90.0], [1e6, 1e6 - 20.0, 0.0], [-8.0, -9.0, -7.5]];
    (Tensor::new(&rows, &Device::Cpu).unwrap(), [0, 2, 1, 0, 1])
}

#[test]
fn values_are_those_of_the_definition_and_gradients_its_differences() {
    let (logits, labels) = rows();
    let (odds, gradient) = run(&logits, &labels, &kernel);
    let want = [
        (7f64.exp() + (-2f64).exp()).ln() - 1.0,
        2f64.ln(),
        0.0,
        -20.0,
        ((-8f64).exp() + (-7.5f64).exp()).ln() + 9.0,
    ];
    for (got, want) in odds.iter().zip(want) {
        assert!((got - want).abs() < 1e-9, "{got} for {want}");
    }
    let flat: Vec<f64> = logits.flatten_all().unwrap().to_vec1().unwrap();
    for at in 0..flat.len() {
        let moved = |by: f64| {
            let mut flat = flat.clone();
            flat[at] += by;
            let logits = Tensor::from_vec(flat, logits.dims(), &Device::Cpu).unwrap();
            let odds = run(&logits, &labels, &kernel).0;
            odds.iter().enumerate().map(|(i, odds)| (1.0 + i as f64) * odds).sum::<f64>()
        };
        let slope = (moved(1e-4) - moved(-1e-4)) / 2e-4;
        assert!((gradient[at] - slope).abs() < 1e-5, "logit {at}: {} for {slope}", gradient[at]);
    }
}

#[test]
fn our_kernel_and_candles_operations_agree() {
    let (logits, labels) = rows();
    let one_class = Tensor::new(&[[3.0], [-2.0]], &Device::Cpu).unwrap();
    for (logits, labels) in [(logits, &labels[..]), (one_class, &[0, 0])] {
        let ours = run(&logits, labels, &kernel);
        let candles = run(&logits, labels, &|logits, labels| loss::log_odds(logits, labels).unwrap());
        let both = ours.0.iter().chain(&ours.1).zip(candles.0.iter().chain(&candles.1));
        for (ours, candles) in both {
            assert!((ours - candles).abs() < 1e-9, "{ours} or {candles}");
        }
    }
}

/// Cross-entropy is log(1 + exp(L)), and its gradient is a positive multiple of the gradient of L.
#[test]
fn cross_entropy_rises_along_the_same_direction() {
    let logits = Tensor::new(&[[1.0, -2.0, 3.0], [0.5, 0.4, 0.2], [4.0, 1.0, -2.0]], &Device::Cpu).unwrap();
    let labels = [0, 2, 0];
    let (odds, slopes) = run(&logits, &labels, &kernel);
    let (losses, falls) = run(&logits, &labels, &|logits, labels| cross_entropy(logits, labels).unwrap());
    for i in 0..3 {
        assert!((losses[i] - odds[i].exp().ln_1p()).abs() < 1e-12);
        let share = 1.0 / (1.0 + (-odds[i]).exp());
        for at in 3 * i..3 * i + 3 {
            assert!((falls[at] - share * slopes[at]).abs() < 1e-12, "{} {}", falls[at], slopes[at]);
        }
    }
}

#[test]
fn a_saturated_row_keeps_its_slope_where_cross_entropy_has_none() {
    let logits = Tensor::new(&[[1000f32, 0.0, -5000.0], [-3e38, 3e38, 0.0]], &Device::Cpu).unwrap();
    let flat = run(&logits, &[0, 1], &|logits, labels| cross_entropy(logits, labels).unwrap()).1;
    assert!(flat.iter().all(|slope| *slope == 0.0), "{flat:?}");
    let (odds, slopes) = run(&logits, &[0, 1], &kernel);
    assert_eq!((odds[0], &slopes[..3]), (-1000.0, &[-1.0, 1.0, 0.0][..]));
    assert_eq!(&slopes[3..], &[0.0, -2.0, 2.0]);
}

#[test]
fn one_class_has_a_slope_and_a_nan_stays() {
    let (odds, slopes) = run(&Tensor::new(&[[3f32]], &Device::Cpu).unwrap(), &[0], &kernel);
    assert_eq!((odds, slopes), (vec![-3.0], vec![-1.0]));
    for row in [[f32::NAN, 1.0], [1.0, f32::NAN], [f32::NAN; 2]] {
        let (odds, slopes) = run(&Tensor::new(&[row], &Device::Cpu).unwrap(), &[0], &kernel);
        assert!(odds[0].is_nan() && slopes.iter().all(|slope| slope.is_nan()), "{row:?}: {slopes:?}");
    }
    // The other class is impossible, so its slope is 0.
    let (odds, slopes) = run(&Tensor::new(&[[1.0, f64::NEG_INFINITY]], &Device::Cpu).unwrap(), &[0], &kernel);
    assert_eq!((odds[0], slopes), (f64::NEG_INFINITY, vec![-1.0, 0.0]));
    let logits = Tensor::new(&[[0f32, 1.0]], &Device::Cpu).unwrap();
    assert!(log_odds(&logits, &Tensor::new(&[2u32], &Device::Cpu).unwrap()).is_err());
}
