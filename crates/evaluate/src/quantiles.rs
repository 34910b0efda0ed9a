//! Quantiles of distances.

use temper_results::Distances;

/// The quantiles of distances in any order, which may be infinite. `None` without distances.
pub(crate) fn distribution(mut distances: Vec<f64>) -> Option<Distances> {
    distances.sort_unstable_by(f64::total_cmp);
    let n = distances.len();
    let found = distances.iter().filter(|d| d.is_finite()).count();
    let at = |share| quantile(&distances, share);
    (n > 0).then(|| Distances {
        n,
        found,
        p5: at(0.05),
        p25: at(0.25),
        p50: at(0.5),
        p75: at(0.75),
        p95: at(0.95),
    })
}

/// A quantile of ascending numbers, linearly interpolated (the default of `numpy`); `None` if it is infinite.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = share * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    let share = place.fract();
    // 0 times infinity is NaN.
    let value = if share == 0.0 { below } else { below + (above - below) * share };
    Some(value).filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_numpys_and_failures_are_infinitely_far() {
        // numpy.quantile([1, 2, 4, 8], [.05, .25, .5, .75, .95])
        let four = distribution(vec![4.0, 1.0, 8.0, 2.0]).unwrap();
        assert_eq!((four.n, four.found), (4, 4));
        for (got, want) in
            [four.p5, four.p25, four.p50, four.p75, four.p95].iter().zip([1.15, 1.75, 3.0, 5.0, 7.4])
        {
            assert!((got.unwrap() - want).abs() < 1e-12, "{got:?} {want}");
        }
        let some = distribution(vec![1.0, f64::INFINITY, f64::INFINITY]).unwrap();
        assert_eq!((some.found, some.p50, some.p5), (1, None, None));
        assert_eq!(distribution(vec![1.0, 1.0, f64::INFINITY]).unwrap().p50, Some(1.0));
        assert_eq!(distribution(vec![]), None);
    }
}
