//! Distributions of numbers over buckets of equal width.

/// Number of buckets, as in TensorBoard's own histograms.
const BUCKETS: usize = 30;

/// A distribution of numbers.
#[derive(Debug, PartialEq)]
pub(crate) struct Histogram {
    /// The least number.
    pub(crate) min: f64,
    /// The greatest number.
    pub(crate) max: f64,
    /// How many numbers.
    pub(crate) count: f64,
    /// Their sum.
    pub(crate) sum: f64,
    /// The sum of their squares.
    pub(crate) sum_of_squares: f64,
    /// The right edge of each bucket. The first bucket begins at `min`, the last ends at `max`.
    pub(crate) limits: Vec<f64>,
    /// How many numbers are in each bucket. A number on an edge is in the bucket to the right, `max` in the last.
    pub(crate) counts: Vec<f64>,
}

impl Histogram {
    /// The distribution of these numbers over 30 buckets, or over one if all are equal. No numbers, and numbers that
    /// are not finite, are errors: a bucket for them does not exist, and without them a broken network would look
    /// healthy.
    pub(crate) fn of(values: &[f64]) -> Result<Self, String> {
        if values.is_empty() {
            return Err("a histogram of no values, expected at least one: leave it out".into());
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let (value, len) = (values[at], values.len());
            let advice = "leave out such values, and count them as a scalar";
            return Err(format!("value {} of {len} is {value}, expected finite numbers: {advice}", at + 1));
        }
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let limits = limits(min, max);
        let mut counts = vec![0.0; limits.len()];
        for value in values {
            let bucket = limits.partition_point(|limit| limit <= value);
            counts[bucket.min(limits.len() - 1)] += 1.0;
        }
        Ok(Self {
            min,
            max,
            count: values.len() as f64,
            sum: values.iter().sum(),
            sum_of_squares: values.iter().map(|value| value * value).sum(),
            limits,
            counts,
        })
    }
}

/// The right edges of the buckets, increasing. There are fewer where no number lies between two edges.
fn limits(min: f64, max: f64) -> Vec<f64> {
    // The distance itself may be more than the largest number.
    let half = max / 2.0 - min / 2.0;
    let edge = |i: usize| {
        let part = half * (i as f64 / BUCKETS as f64);
        min + part + part
    };
    let mut limits: Vec<f64> = (1..BUCKETS).map(edge).filter(|edge| min < *edge && *edge < max).collect();
    limits.push(max);
    limits.dedup();
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_every_number_once() {
        let values: Vec<f64> = (0..=60).map(f64::from).collect();
        let histogram = Histogram::of(&values).unwrap();
        assert_eq!((histogram.min, histogram.max), (0.0, 60.0));
        assert_eq!((histogram.count, histogram.sum, histogram.sum_of_squares), (61.0, 1830.0, 73_810.0));
        let edges: Vec<f64> = (1..=30).map(|i| f64::from(2 * i)).collect();
        assert!(histogram.limits.iter().zip(&edges).all(|(limit, edge)| (limit - edge).abs() < 1e-12));
        assert_eq!(histogram.limits.len(), 30);
        assert_eq!(histogram.counts.iter().sum::<f64>(), 61.0);
        let negative = Histogram::of(&[-3.0, -1.0, -1.0, 0.0]).unwrap();
        assert_eq!((negative.counts[0], negative.counts[20], negative.counts[29]), (1.0, 2.0, 1.0));
        assert_eq!((negative.sum, negative.sum_of_squares), (-5.0, 11.0));
    }

    #[test]
    fn equal_numbers_have_one_bucket() {
        for value in [0.0, -0.0, 8.0 / 255.0, -1e300, f64::MAX] {
            let histogram = Histogram::of(&[value; 3]).unwrap();
            assert_eq!((histogram.min, histogram.max), (value, value));
            assert_eq!((histogram.limits, histogram.counts), (vec![value], vec![3.0]));
        }
    }

    #[test]
    fn edges_increase_at_any_scale() {
        let next = |value: f64| f64::from_bits(value.to_bits() + 1);
        for (min, max) in [
            (-f64::MAX, f64::MAX),
            (0.0, f64::from_bits(1)),
            (0.0, f64::from_bits(7)),
            (1.0, next(1.0)),
            (1.0, next(next(next(1.0)))),
            (1e-300, 1e300),
        ] {
            let Histogram { limits, counts, .. } = Histogram::of(&[min, max]).unwrap();
            assert!(limits.is_sorted_by(|left, right| left < right), "{limits:?}");
            assert!(min < limits[0] && limits.last() == Some(&max), "{limits:?}");
            let ends = if limits.len() > 1 { [1.0, 1.0] } else { [2.0, 2.0] };
            assert_eq!([counts[0], counts[counts.len() - 1]], ends);
            assert_eq!(counts.iter().sum::<f64>(), 2.0);
        }
    }

    #[test]
    fn what_has_no_bucket_is_refused() {
        let told = |values: &[f64]| Histogram::of(values).unwrap_err();
        assert_eq!(told(&[]), "a histogram of no values, expected at least one: leave it out");
        for (value, word) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf"), (f64::NEG_INFINITY, "-inf")] {
            let told = told(&[1.0, value, value]);
            assert!(
                told.starts_with(&format!("value 2 of 3 is {word}, expected finite numbers: ")),
                "{told}"
            );
        }
    }
}
