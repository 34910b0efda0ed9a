//! Operations on whole tensors: our kernels against definitions, and against candle's operations.

mod odds;

use candle_core::Device;

use super::*;
use crate::backend::Backend;
use crate::candle::Candle;
use crate::candle::{loss, ops};
use crate::cpu::Cpu;

#[test]
fn cross_entropy_is_what_its_definition_says_and_so_is_its_gradient() {
    let logits = [[1.0, -2.0, 700.0], [0.5, 0.5, 0.5], [-800.0, -801.0, -799.5]];
    let labels = Tensor::new(&[0u32, 2, 1], &Device::Cpu).unwrap();
    let var = candle_core::Var::new(&logits, &Device::Cpu).unwrap();
    let losses = cross_entropy(&var, &labels).unwrap();
    let want = [699.0, 3f64.ln(), (1.0 + (1f64).exp() + (1.5f64).exp()).ln()];
    for (got, want) in losses.to_vec1::<f64>().unwrap().into_iter().zip(want) {
        assert!((got - want).abs() < 1e-12, "{got} for {want}");
    }
    let weights = Tensor::new(&[1.0, 2.0, -1.0], &Device::Cpu).unwrap();
    let gradients = (losses * weights).unwrap().sum_all().unwrap().backward().unwrap();
    let got = gradients.get(&var).unwrap().to_vec2::<f64>().unwrap();
    let sum = 1.0 + 1f64.exp() + 1.5f64.exp();
    let shares = [1f64.exp() / sum, 1.0 / sum, 1.5f64.exp() / sum];
    let third = 2.0 / 3.0;
    let want = [[-1.0, 0.0, 1.0], [third, third, third - 2.0], [-shares[0], 1.0 - shares[1], -shares[2]]];
    for (got, want) in got.iter().flatten().zip(want.iter().flatten()) {
        assert!((got - want).abs() < 1e-12, "{got} for {want}");
    }
}

#[test]
fn our_kernel_and_candles_operations_agree_on_values_and_gradients() {
    // Equal logits, each with its own gradient, and a row of large logits whose loss is tiny.
    let logits = [[1.0, -2.0, 7.0], [0.5, 0.5, 0.5], [3.0, 3.0, -90.0], [1e6, 1e6 - 20.0, 0.0]];
    let labels = Tensor::new(&[0u32, 2, 1, 0], &Device::Cpu).unwrap();
    let weights = Tensor::new(&[1.0, 2.0, -1.0, 0.5], &Device::Cpu).unwrap();
    let run = |loss: &dyn Fn(&Tensor) -> Tensor| {
        let var = candle_core::Var::new(&logits, &Device::Cpu).unwrap();
        let losses = loss(&var);
        let weighted = (&losses * &weights).unwrap();
        let gradients = weighted.sum_all().unwrap().backward().unwrap();
        let gradient = gradients.get(&var).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        [losses.to_vec1::<f64>().unwrap(), gradient].concat()
    };
    let ours = run(&|logits| cross_entropy(logits, &labels).unwrap());
    let candles = run(&|logits| loss::cross_entropy(logits, &labels).unwrap());
    assert_eq!(ours.len(), 4 + 12);
    for (ours, candles) in ours.iter().zip(&candles) {
        assert!((ours - candles).abs() < 1e-12, "{ours} or {candles}");
    }
    assert!(ours[3] > 2e-9 && (ours[3] - (-20f64).exp()).abs() < 1e-15, "{}", ours[3]);
}

#[test]
fn a_nan_among_the_logits_is_a_nan_and_a_label_that_is_none_an_error() {
    let logits = Tensor::new(&[[1f32, f32::NAN], [0.0, 1.0]], &Device::Cpu).unwrap();
    let labels = |labels: [u32; 2]| Tensor::new(&labels, &Device::Cpu).unwrap();
    let losses = cross_entropy(&logits, &labels([0, 1])).unwrap().to_vec1::<f32>().unwrap();
    assert!(losses[0].is_nan() && losses[1].is_finite());
    assert!(cross_entropy(&logits, &labels([0, 2])).is_err());
    let nothing = Tensor::zeros((2, 0), DType::F32, &Device::Cpu).unwrap();
    assert!(cross_entropy(&nothing, &labels([0, 0])).is_err());
}

#[test]
fn rows_of_nothing_but_zeros_are_found_and_a_nan_is_none() {
    let rows = [[0.0, 0.0], [0.0, 1e-45], [0.0, f32::NAN], [-0.0, 0.0], [f32::NEG_INFINITY, 0.0]];
    let want = [true, false, false, true, false];
    let rows = Tensor::new(&rows, &Device::Cpu).unwrap().reshape((5, 1, 1, 2)).unwrap();
    assert_eq!(zero_rows(&rows).unwrap(), want);
    assert_eq!(ops::zero_rows(&rows).unwrap(), want);
    let double = rows.to_dtype(DType::F64).unwrap();
    assert_eq!(zero_rows(&double).unwrap(), want);
    assert_eq!(zero_rows(&Tensor::zeros((2, 0), DType::F32, &Device::Cpu).unwrap()).unwrap(), [true; 2]);
}

#[test]
fn a_step_in_one_pass_has_the_bits_of_several() {
    let numbers = |seed: u64| {
        let value = |i: u64| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15 ^ seed) >> 40) as f32 / (1 << 24) as f32;
        Tensor::from_vec((1..=2 * 3 * 5 * 7).map(value).collect(), (2, 3, 5, 7), &Device::Cpu).unwrap()
    };
    let (pixels, direction) = (numbers(1), (numbers(2) - 0.5).unwrap());
    let lengths = Tensor::new(&[0.3f32, 0.01], &Device::Cpu).unwrap().reshape((2, 1, 1, 1)).unwrap();
    let (low, high) = ((&pixels - 0.05).unwrap(), (&pixels + 0.02).unwrap());
    let once = step_within(&pixels, &direction, &lengths, (&low, &high)).unwrap();
    let moved = (&pixels + direction.broadcast_mul(&lengths).unwrap()).unwrap();
    let many = moved.maximum(&low).unwrap().minimum(&high).unwrap();
    let bits = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(bits(&once), bits(&many));
    assert!(bits(&once) != bits(&moved) && bits(&once) != bits(&low));
    // Lengths of another shape follow candle's rules: here two lengths do not fit 7 columns.
    let columns = Tensor::new(&[0.3f32, 0.01], &Device::Cpu).unwrap().reshape((1, 1, 1, 2)).unwrap();
    assert!(step_within(&pixels, &direction, &columns, (&low, &high)).is_err());
}

/// Both backends, on the CPU.
const BOTH: [&dyn Backend; 2] = [&Cpu, &Candle];

#[test]
fn the_first_number_that_should_not_be_is_found_wherever_it_is() {
    let n = 3 * 5000;
    let good: Vec<f32> = (0..n).map(|i| (i % 256) as f32 / 255.0).collect();
    let found = |changes: &[(usize, f32)], dtype: DType| {
        let mut values = good.clone();
        for (at, value) in changes {
            values[*at] = *value;
        }
        let values = Tensor::from_vec(values, (3, 5000), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
        let both = BOTH.map(|backend| backend.stray(&values, -1e-6, 1.0 + 1e-6).unwrap());
        let told = |stray: &Option<Stray>| stray.map(|stray| (stray.position, stray.value.to_bits()));
        assert_eq!(told(&both[0]), told(&both[1]));
        both[0]
    };
    for dtype in [DType::F32, DType::F64] {
        assert_eq!(found(&[], dtype), None);
        // On the edge of the tolerance, in double precision.
        assert_eq!(found(&[(7, -1e-6), (8, 1.000_001)], dtype), None);
        let below = f32::from_bits((-1e-6f32).to_bits() + 1);
        let want = Stray { position: 9000, value: f64::from(below) };
        assert_eq!(found(&[(9000, below), (9001, 2.0)], dtype), Some(want));
        assert_eq!(found(&[(n - 1, 1.000_001_1)], dtype).unwrap().position, n - 1);
        // A number that is not finite comes first, wherever it is.
        let infinite = Stray { position: 14_000, value: f64::NEG_INFINITY };
        assert_eq!(
            found(&[(3, 7.0), (14_000, f32::NEG_INFINITY), (14_001, f32::NAN)], dtype),
            Some(infinite)
        );
        assert!(found(&[(0, f32::NAN)], dtype).unwrap().value.is_nan());
    }
    let empty = Tensor::zeros((0, 4), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(stray(&empty, 0.0, 1.0).unwrap(), None);
    let far = Tensor::new(&[f64::MAX, f64::MIN], &Device::Cpu).unwrap();
    assert_eq!(stray(&far, f64::MIN, f64::MAX).unwrap(), None);
}

#[test]
fn distances_of_both_backends_have_the_same_bits() {
    let (a, b) = (Tensor::rand(0f32, 1.0, (5, 3, 40, 41), &Device::Cpu).unwrap(), 0.7);
    let b = (&a * b).unwrap();
    for dtype in [DType::F32, DType::F64] {
        let (a, b) = (a.to_dtype(dtype).unwrap(), b.to_dtype(dtype).unwrap());
        let [ours, candles] = BOTH.map(|backend| backend.distances(&a, &b).unwrap());
        assert_eq!(ours, candles);
        let [ours, candles] = BOTH.map(|backend| backend.largest_differences(&a, &b).unwrap());
        assert_eq!(ours, candles);
        // Views need not be contiguous.
        let [turned, over] = [&a, &b].map(|t| t.transpose(1, 3).unwrap());
        assert_eq!(largest_differences(&turned, &over).unwrap(), ours);
    }
    let want = (3f64 * 3.0 + 4.0 * 4.0).sqrt();
    let (a, b) =
        (Tensor::new(&[[3f32, 1.0]], &Device::Cpu).unwrap(), Tensor::new(&[[0f32, 5.0]], &Device::Cpu));
    assert_eq!(distances(&a, &b.unwrap()).unwrap(), [want]);
    assert!(distances(&a, &a.to_dtype(DType::F64).unwrap()).is_err());
    let empty = Tensor::zeros((0, 4), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(distances(&empty, &empty).unwrap(), [0.0; 0]);
}

#[test]
fn a_prediction_is_the_first_of_the_largest_logits() {
    let none = f32::NAN;
    let low = f32::NEG_INFINITY;
    let rows = [[1.0, 3.0, 3.0], [none, 1.0, 2.0], [low, low, low], [2.0, low, none], [0.0, -0.0, -1.0]];
    let want = [Some(1), None, Some(0), None, Some(0)];
    let rows = Tensor::new(&rows, &Device::Cpu).unwrap();
    for dtype in [DType::F32, DType::F64] {
        let rows = rows.to_dtype(dtype).unwrap();
        assert_eq!(BOTH.map(|backend| backend.predictions(&rows).unwrap()), [want, want]);
    }
    assert_eq!(predictions(&Tensor::zeros((2, 0), DType::F32, &Device::Cpu).unwrap()).unwrap(), [None; 2]);
}

#[test]
fn numbers_of_16_bits_are_refused_by_every_backend() {
    for location in [DeviceLocation::Cpu, DeviceLocation::Cuda { gpu_id: 0 }] {
        assert_eq!([DType::F32, DType::F64].map(|dtype| refused(location, dtype)), [None; 2]);
        assert!(refused(location, DType::BF16).unwrap().ends_with("use \"f32\""));
    }
}

#[test]
fn levels_of_both_backends_solve_their_equation() {
    let d = 50;
    let numbers = |seed: usize| -> Vec<f64> {
        // A fifth of the numbers are 0.
        (0..40 * d)
            .map(|i| ((i * 7919 + seed * 104_729) % 997) as f64 / 997.0)
            .map(|x| (x - 0.2).max(0.0))
            .collect()
    };
    let (weights, ends) = (numbers(1), numbers(2));
    let tensor = |values: &[f64]| Tensor::from_slice(values, (40, d), &Device::Cpu).unwrap();
    // The ends together come to about 8.
    let heights: Vec<f64> = (0..40).map(|i| f64::from(i) * if i % 2 == 0 { 0.4 } else { -0.4 }).collect();
    let of = BOTH.map(|backend| backend.levels(&tensor(&weights), &tensor(&ends), &heights).unwrap());
    assert_eq!(levels(&tensor(&weights), &tensor(&ends), &heights).unwrap(), of[0]);
    for i in 0..40 {
        let sum = |level: f64| -> f64 {
            weights[i * d..][..d]
                .iter()
                .zip(&ends[i * d..][..d])
                .map(|(weight, end)| weight * end.min(level))
                .sum()
        };
        for level in of.each_ref().map(|levels| levels[i]) {
            match level.is_finite() {
                true => assert!((sum(level) - heights[i].abs()).abs() < 1e-12, "{i}: {level}"),
                false => assert!(sum(f64::INFINITY) < heights[i].abs(), "{i}"),
            }
        }
    }
    assert!(of[0][0] == 0.0 && of[0][3].is_finite() && of[0][39].is_infinite(), "{:?}", of[0]);
    let few = levels(&tensor(&weights), &tensor(&ends), &heights[1..]).unwrap_err().to_string();
    assert_eq!(few, "levels of weights [40, 50], ends [40, 50] and 39 heights, expected [n, d] of f64 and n");
}
