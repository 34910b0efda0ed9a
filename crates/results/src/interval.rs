//! Intervals of shares.

/// The 95 % interval of Wilson (1927) for `hits` of `n`, as shares from 0 to 1.
pub fn wilson(hits: usize, n: usize) -> [f64; 2] {
    if n == 0 {
        return [0.0, 1.0];
    }
    let whole = n;
    let (n, p, z) = (n as f64, hits as f64 / n as f64, 1.959_963_984_540_054_f64);
    let scale = 1.0 / (1.0 + z * z / n);
    let middle = scale * (p + z * z / (2.0 * n));
    let half = scale * z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    // At 0 and n the exact limits are 0 and 1; rounding would miss them.
    let low = if hits == 0 { 0.0 } else { (middle - half).max(0.0) };
    let high = if hits == whole { 1.0 } else { (middle + half).min(1.0) };
    [low, high]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_intervals_agree_with_statsmodels() {
        // statsmodels.stats.proportion.proportion_confint(hits, n, method="wilson")
        let cases = [
            (0, 10, [0.0, 0.277_532_799]),
            (10, 10, [0.722_467_201, 1.0]),
            (830, 1000, [0.805_465_935, 0.852_008_404]),
        ];
        for (hits, n, expected) in cases {
            let got = wilson(hits, n);
            assert!((got[0] - expected[0]).abs() < 1e-6 && (got[1] - expected[1]).abs() < 1e-6, "{got:?}");
        }
        assert_eq!(wilson(0, 0), [0.0, 1.0]);
        for n in 1..2000 {
            assert_eq!((wilson(0, n)[0], wilson(n, n)[1]), (0.0, 1.0), "{n}");
            assert!(wilson(0, n)[1] < 1.0 && wilson(n, n)[0] > 0.0, "{n}");
        }
    }
}
