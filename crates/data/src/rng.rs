//! Random numbers that depend on their purpose, not on when they are drawn.

use rand::{Rng as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Gamma, Open01, StandardNormal};
use rayon::prelude::*;

/// A source of random numbers for one purpose. Each row of a batch has its own stream, keyed by sample id: a
/// sample gets the same numbers in any batch, in any part of a batch, on any thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rng {
    seed: u64,
    stream: u64,
}

impl Rng {
    /// The source of `seed` for `purpose`.
    pub fn new(seed: u64, purpose: &str) -> Self {
        Self { seed, stream: 0 }.named(purpose)
    }

    /// The sub-source for `purpose`.
    pub fn named(self, purpose: &str) -> Self {
        // FNV-1a, then mixed.
        let hash = purpose.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        self.numbered(hash)
    }

    /// The sub-source for the number `n`, such as an epoch or a restart.
    pub fn numbered(self, n: u64) -> Self {
        Self { seed: self.seed, stream: mix(self.stream ^ mix(n.wrapping_add(0x9e37_79b9_7f4a_7c15))) }
    }

    /// The stream of one sample.
    pub fn sample(self, id: u64) -> ChaCha8Rng {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..16].copy_from_slice(&self.stream.to_le_bytes());
        key[16..24].copy_from_slice(&id.to_le_bytes());
        ChaCha8Rng::from_seed(key)
    }

    /// For each id, `len` numbers uniform in [-1, 1).
    pub fn uniform(self, ids: &[u64], len: usize) -> Vec<f32> {
        self.rows(ids, len, |rng| rng.random::<f32>().mul_add(2.0, -1.0))
    }

    /// For each id, `len` standard normal numbers.
    pub fn normal(self, ids: &[u64], len: usize) -> Vec<f32> {
        self.rows(ids, len, |rng| rng.sample(StandardNormal))
    }

    fn rows(self, ids: &[u64], len: usize, draw: impl Fn(&mut ChaCha8Rng) -> f32 + Sync) -> Vec<f32> {
        let mut values = vec![0.0; ids.len() * len];
        values.par_chunks_mut(len.max(1)).zip(ids).for_each(|(row, id)| {
            let mut rng = self.sample(*id);
            row.fill_with(|| draw(&mut rng));
        });
        values
    }

    /// A number of the beta distribution with both parameters equal to `alpha`, from 0 to 1. Its limit for
    /// small `alpha` is a fair coin for 0 or 1, for large `alpha` it is 1/2.
    pub fn beta(self, alpha: f64) -> f64 {
        // Beyond these limits the result is the same to a millionth, but its logarithms would not be finite.
        let alpha = alpha.clamp(1e-9, 1e12);
        let Ok(gamma) = Gamma::new(alpha + 1.0, 1.0) else { return 0.5 };
        let mut rng = self.sample(0);
        // The share of one of two gamma numbers in their sum. With a small alpha they are smaller than any
        // f64, but their logarithms are not: gamma(alpha) is gamma(alpha + 1) u^(1 / alpha).
        let mut log = || rng.sample(gamma).ln() + rng.sample::<f64, _>(Open01).ln() / alpha;
        let (first, second) = (log(), log());
        1.0 / (1.0 + (second - first).exp())
    }

    /// `0..n` in random order.
    pub fn permutation(self, n: usize) -> Vec<usize> {
        let mut rng = self.sample(0);
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, rng.random_range(0..=i));
        }
        order
    }
}

/// The finaliser of `SplitMix64`.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_draws_the_same_numbers_in_any_company() {
        let rng = Rng::new(7, "start").numbered(3);
        let all = rng.uniform(&[4, 9, 2], 5);
        assert_eq!(all[5..10], rng.uniform(&[9], 5));
        assert_eq!(all[10..], rng.uniform(&[2, 4], 5)[..5]);
    }

    #[test]
    fn seeds_purposes_numbers_and_samples_differ() {
        let base = Rng::new(7, "start");
        let draw = |rng: Rng, id| rng.uniform(&[id], 4);
        let all = [
            draw(base, 0),
            draw(base, 1),
            draw(base.numbered(0), 0),
            draw(base.numbered(1), 0),
            draw(base.numbered(0).numbered(1), 0),
            draw(base.numbered(1).numbered(0), 0),
            draw(Rng::new(8, "start"), 0),
            draw(Rng::new(7, "order"), 0),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b), "streams {i} and a later one agree");
        }
    }

    #[test]
    fn uniform_numbers_fill_their_range_and_normal_ones_have_unit_variance() {
        let ids: Vec<u64> = (0..100).collect();
        let uniform = Rng::new(0, "u").uniform(&ids, 1000);
        let mean =
            |v: &[f32], f: fn(f64) -> f64| v.iter().map(|x| f(f64::from(*x))).sum::<f64>() / v.len() as f64;
        assert!(uniform.iter().all(|v| (-1.0..1.0).contains(v)));
        assert!(mean(&uniform, |x| x).abs() < 0.01);
        assert!((mean(&uniform, |x| x * x) - 1.0 / 3.0).abs() < 0.01);
        let normal = Rng::new(0, "n").normal(&ids, 1000);
        assert!(mean(&normal, |x| x).abs() < 0.02);
        assert!((mean(&normal, |x| x * x) - 1.0).abs() < 0.02);
    }

    #[test]
    fn beta_numbers_have_the_mean_and_variance_of_their_distribution() {
        for alpha in [1e-4, 1e-2, 0.2, 1.0, 5.0, 1e3] {
            let draws: Vec<f64> = (0..20_000).map(|n| Rng::new(3, "beta").numbered(n).beta(alpha)).collect();
            let mean = draws.iter().sum::<f64>() / 20_000.0;
            let variance = draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / 20_000.0;
            // Beta(a, a): mean 1/2, variance 1 / (4 (2 a + 1)).
            let expected = 0.25 / (2.0 * alpha + 1.0);
            assert!((mean - 0.5).abs() < 0.012, "alpha {alpha}: mean {mean}");
            assert!((variance / expected - 1.0).abs() < 0.04, "alpha {alpha}: {variance} for {expected}");
        }
    }

    #[test]
    fn extreme_beta_numbers_are_a_fair_coin_or_a_half() {
        let draw = |n, alpha| Rng::new(3, "beta").numbered(n).beta(alpha);
        for alpha in [f64::from_bits(1), 1e-300, 1e-9] {
            let heads = (0..2000).filter(|n| {
                let drawn = draw(*n, alpha);
                assert!(drawn == 0.0 || drawn == 1.0, "alpha {alpha}: {drawn}");
                drawn == 1.0
            });
            let heads = heads.count();
            assert!((900..1100).contains(&heads), "alpha {alpha}: {heads} of 2000");
        }
        for alpha in [1e12, 1e300, f64::MAX, f64::INFINITY] {
            assert!((0..100).all(|n| (draw(n, alpha) - 0.5).abs() < 1e-5), "alpha {alpha}");
        }
    }

    #[test]
    fn a_permutation_holds_everything_once() {
        let mut order = Rng::new(1, "order").permutation(1000);
        assert_ne!(order, (0..1000).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..1000).collect::<Vec<_>>());
    }
}
