//! Statistics over several seeds: means, and 95 % intervals that account for the images and for the seeds.
//!
//! All seeds are judged on the same n images, so more seeds do not add images. An interval therefore combines
//! two widths as independent errors: that of the images (the mean of the seeds' own Wilson intervals) and that
//! of the seeds (Student's t times s / sqrt(seeds)). Two or three seeds determine s poorly, so s is estimated
//! from all rows of a column together: the variance between seeds as a multiple of p (1 - p) is assumed to be
//! the same for all rows, as in quasi-binomial models. With one seed an interval does not include the spread
//! between seeds.

use crate::outcomes::Outcomes;

/// A number from one seed's results.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// Value in the column's unit.
    pub value: f64,
    /// Its own 95 % interval, if it has one.
    pub interval: Option<[f64; 2]>,
    /// Number of images that it was measured on, if any.
    pub n: Option<usize>,
    /// Outcome of each of these images, if known.
    pub images: Option<Outcomes>,
}

/// The estimate of a row's column from all seeds of the row.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Mean over the seeds.
    pub mean: f64,
    /// 95 % interval; `None` if the spread is unknown.
    pub interval: Option<[f64; 2]>,
    /// Number of images that each seed was judged on.
    pub n: Option<usize>,
    /// Each seed's value, in their order.
    pub seeds: Vec<f64>,
    /// Outcome of each image, averaged over the seeds, if known.
    pub images: Option<Outcomes>,
    /// The part of the interval's width that does not come from the images.
    pub spread: f64,
}

impl Estimate {
    /// A number without error.
    pub fn exact(value: f64) -> Self {
        Self {
            mean: value,
            interval: Some([value, value]),
            n: None,
            seeds: vec![],
            images: None,
            spread: 0.0,
        }
    }

    /// How far the interval extends below and above the mean.
    pub fn widths(&self) -> Option<[f64; 2]> {
        self.interval.map(|[low, high]| [self.mean - low, high - self.mean])
    }
}

/// Estimates of one column, one for each row; `None` for a row without results. `share`: values are shares in
/// per cent.
pub fn estimates(rows: &[Vec<Seen>], share: bool) -> Vec<Option<Estimate>> {
    let pooled = share.then(|| dispersion(rows)).flatten();
    let mut all: Vec<Option<Estimate>> = rows.iter().map(|seen| estimate(seen, pooled)).collect();
    if share {
        for estimate in all.iter_mut().flatten() {
            estimate.interval = estimate.interval.map(|ends| ends.map(|end| end.clamp(0.0, 100.0)));
        }
    }
    all
}

/// A weighted sum of estimates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sum {
    /// Weighted sum of the means.
    pub mean: f64,
    /// How far its 95 % interval extends below and above the sum.
    pub widths: [f64; 2],
    /// Whether the widths were computed image by image.
    pub by_image: bool,
}

/// The weighted sum of estimates. If all of them have the same images, it is computed image by image, and the
/// part of the widths that does not come from the images is added. Otherwise the errors are combined as
/// independent. `None` if the spread of an estimate is unknown.
pub fn weighted(terms: &[(f64, &Estimate)]) -> Option<Sum> {
    let mean = terms.iter().map(|(weight, estimate)| weight * estimate.mean).sum::<f64>();
    let all: Vec<[f64; 2]> = terms.iter().map(|(_, estimate)| estimate.widths()).collect::<Option<_>>()?;
    let images = combined(terms);
    let widths = match &images {
        Some(images) => {
            let [low, high] = paired(images);
            let spread = terms.iter().fold(0.0, |sum: f64, (weight, e)| sum.hypot(weight * e.spread));
            [(mean - low).hypot(spread), (high - mean).hypot(spread)]
        }
        None => terms.iter().zip(&all).fold([0.0; 2], |sum: [f64; 2], ((weight, _), widths)| {
            // A subtracted estimate adds its upper width to the lower side, and its lower width to the upper side.
            let [below, above] = if *weight < 0.0 { [widths[1], widths[0]] } else { *widths };
            [sum[0].hypot(weight * below), sum[1].hypot(weight * above)]
        }),
    };
    Some(Sum { mean, widths, by_image: images.is_some() })
}

/// The difference between two columns for each of two rows: the first estimate of each pair minus the second.
/// Both columns judge the same networks, so differences are computed seed by seed. The spread between seeds is
/// that of the differences, pooled over both rows.
pub fn falls(rows: [(&Estimate, &Estimate); 2]) -> Option<[Estimate; 2]> {
    let by_seed = rows.map(|(at, from)| -> Vec<f64> {
        at.seeds.iter().zip(&from.seeds).map(|(at, from)| at - from).collect()
    });
    let squares = |seeds: &Vec<f64>| {
        let mean = seeds.iter().sum::<f64>() / seeds.len().max(1) as f64;
        seeds.iter().map(|value| (value - mean).powi(2)).sum::<f64>()
    };
    let freedom: usize = by_seed.iter().map(|seeds| seeds.len().saturating_sub(1)).sum();
    let variance = by_seed.iter().map(squares).sum::<f64>() / freedom.max(1) as f64;
    let fall = |(at, from): (&Estimate, &Estimate), seeds: Vec<f64>| {
        let terms = [(1.0, at), (-1.0, from)];
        let spread = match freedom {
            0 => 0.0,
            _ => student(freedom) * (variance / seeds.len().max(1) as f64).sqrt(),
        };
        let (mean, images) = (at.mean - from.mean, combined(&terms));
        let [below, above] = match &images {
            Some(images) => {
                let [low, high] = paired(images);
                [(mean - low).hypot(spread), (high - mean).hypot(spread)]
            }
            None => weighted(&terms)?.widths,
        };
        let interval = Some([mean - below, mean + above]);
        Some(Estimate { mean, interval, n: at.n, seeds, images, spread })
    };
    let [one, other] = by_seed;
    Some([fall(rows[0], one)?, fall(rows[1], other)?])
}

/// The weighted sum of each image's outcomes, if all terms have the same images.
fn combined(terms: &[(f64, &Estimate)]) -> Option<Outcomes> {
    let mut sum = Outcomes::new();
    for (i, (weight, estimate)) in terms.iter().enumerate() {
        let images = estimate.images.as_ref()?;
        if i > 0 && !images.keys().eq(sum.keys()) {
            return None;
        }
        for (image, value) in images {
            *sum.entry(*image).or_default() += weight * value;
        }
    }
    Some(sum)
}

/// 95 % interval of a mean difference between shares in per cent, from each image's difference: Wald's interval
/// for pairs after Agresti & Min 2005, <https://doi.org/10.1002/sim.1781>, with half an image added to each of
/// four cells (both rows right, only the first, only the second, neither).
fn paired(differences: &Outcomes) -> [f64; 2] {
    let n = differences.len() as f64 + 2.0;
    let mean = differences.values().sum::<f64>() / n;
    let squares = (differences.values().map(|d| d * d).sum::<f64>() + 100.0 * 100.0) / n;
    let width = 1.95996 * ((squares - mean * mean).max(0.0) / n).sqrt();
    [mean - width, mean + width]
}

/// Between-seed variance over p (1 - p), pooled over all rows, and its degrees of freedom.
fn dispersion(rows: &[Vec<Seen>]) -> Option<(f64, usize)> {
    let (mut sum, mut freedom) = (0.0, 0);
    for seen in rows.iter().filter(|seen| seen.len() > 1) {
        let mean = mean(seen);
        let binomial = mean * (100.0 - mean);
        // A row whose seeds are all at 0 or all at 100 per cent carries no information about the other rows.
        if binomial > 0.0 {
            sum += seen.iter().map(|s| (s.value - mean).powi(2)).sum::<f64>() / binomial;
            freedom += seen.len() - 1;
        }
    }
    (freedom > 0).then(|| (sum / freedom as f64, freedom))
}

fn estimate(seen: &[Seen], pooled: Option<(f64, usize)>) -> Option<Estimate> {
    let first = seen.first()?;
    let (mean, k) = (mean(seen), seen.len() as f64);
    let spread = match pooled {
        _ if seen.len() < 2 => None,
        Some((dispersion, freedom)) => {
            Some(student(freedom) * (dispersion * mean * (100.0 - mean) / k).max(0.0).sqrt())
        }
        None => {
            let variance = seen.iter().map(|s| (s.value - mean).powi(2)).sum::<f64>() / (k - 1.0);
            Some(student(seen.len() - 1) * (variance / k).sqrt())
        }
    };
    // Either every seed has its own interval, or the column has no intervals.
    let own: Option<Vec<[f64; 2]>> =
        seen.iter().map(|s| s.interval.map(|[low, high]| [s.value - low, high - s.value])).collect();
    let images = own.map(|own| [0, 1].map(|side| own.iter().map(|widths| widths[side]).sum::<f64>() / k));
    let widths = match (images, spread) {
        (None, None) => None,
        (images, spread) => {
            let (images, spread) = (images.unwrap_or_default(), spread.unwrap_or_default());
            Some(images.map(|width| width.hypot(spread)))
        }
    };
    let interval = widths.map(|[below, above]| [mean - below, mean + above]);
    let seeds = seen.iter().map(|s| s.value).collect();
    Some(Estimate {
        mean,
        interval,
        n: first.n,
        seeds,
        images: averaged(seen),
        spread: spread.unwrap_or_default(),
    })
}

/// Outcome of each image, averaged over the seeds.
fn averaged(seen: &[Seen]) -> Option<Outcomes> {
    let mut sum = seen.first()?.images.clone()?;
    for other in &seen[1..] {
        let images = other.images.as_ref()?;
        if !images.keys().eq(sum.keys()) {
            return None;
        }
        for (value, other) in sum.values_mut().zip(images.values()) {
            *value += other;
        }
    }
    for value in sum.values_mut() {
        *value /= seen.len() as f64;
    }
    Some(sum)
}

fn mean(seen: &[Seen]) -> f64 {
    seen.iter().map(|s| s.value).sum::<f64>() / seen.len().max(1) as f64
}

/// The 97.5 % quantile of Student's t.
fn student(freedom: usize) -> f64 {
    const QUANTILES: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145,
        2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048,
        2.045, 2.042,
    ];
    let normal: f64 = 1.95996;
    match QUANTILES.get(freedom.saturating_sub(1)) {
        Some(quantile) => *quantile,
        // The first terms of the Cornish-Fisher expansion: too small by less than 0.003 at 31.
        None => normal + (normal.powi(3) + normal) / (4.0 * freedom as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(value: f64, width: f64) -> Seen {
        Seen { value, interval: Some([value - width, value + width]), n: Some(100), images: None }
    }

    #[test]
    fn one_seed_keeps_its_own_interval() {
        let all = estimates(&[vec![seen(40.0, 3.0)], vec![]], true);
        assert_eq!(all[0].as_ref().unwrap().interval, Some([37.0, 43.0]));
        assert_eq!(all[1], None);
    }

    #[test]
    fn seeds_widen_by_what_all_rows_say_of_them() {
        // p (1 - p) is 2500 in both rows: squared deviations of 2 and 8 over two degrees of freedom give s^2 =
        // 5, and 2.5 for the mean; t at 2 is 4.303.
        let rows = [vec![seen(49.0, 3.0), seen(51.0, 3.0)], vec![seen(48.0, 3.0), seen(52.0, 3.0)]];
        let want = (9.0 + 4.303f64.powi(2) * 2.5).sqrt();
        for estimate in estimates(&rows, true) {
            let [below, above] = estimate.unwrap().widths().unwrap();
            assert!((below - want).abs() < 1e-9 && (above - want).abs() < 1e-9, "{below} {above} {want}");
        }
        // A number without images: t at 1 times s / sqrt(2) = 12.706 * sqrt(2) / sqrt(2).
        let bare = |value| Seen { value, ..Seen::default() };
        let alone = estimates(&[vec![bare(49.0), bare(51.0)]], false)[0].clone().unwrap();
        assert!((alone.widths().unwrap()[0] - 12.706).abs() < 1e-9);
        assert_eq!(estimates(&[vec![bare(1.0)]], false)[0].as_ref().unwrap().interval, None);
    }

    #[test]
    fn rows_at_the_edge_say_nothing_of_the_others() {
        let edge = vec![seen(0.0, 0.5), seen(0.0, 0.5)];
        let row = vec![seen(49.0, 3.0), seen(51.0, 3.0)];
        let together = estimates(&[edge, row.clone()], true);
        assert_eq!(together[1], estimates(&[row], true)[0]);
        // No share is below 0.
        assert_eq!(together[0].as_ref().unwrap().interval, Some([0.0, 0.5]));
    }

    #[test]
    fn pairs_are_compared_image_by_image() {
        // Agresti and Min by hand: of 98 images 20 stand only in the first row, 10 only in the second. With
        // half an image added to each cell the mean is (20.5 - 10.5) / 100, and the variance ((20.5 + 10.5) -
        // 10^2 / 100) / 100^2 = 30 / 10^4.
        let difference = |i: u64| {
            if i < 20 {
                100.0
            } else if i < 30 {
                -100.0
            } else {
                0.0
            }
        };
        let [low, high] = paired(&(0..98).map(|i| (i, difference(i))).collect());
        let width = 1.95996 * 30.0f64.sqrt();
        assert!((low - (10.0 - width)).abs() < 1e-9 && (high - (10.0 + width)).abs() < 1e-9, "{low} {high}");
        let row = |images: &[(u64, f64)]| {
            let seen = Seen { images: Some(images.iter().copied().collect()), ..seen(50.0, 3.0) };
            estimates(&[vec![seen.clone(), seen]], true)[0].clone().unwrap()
        };
        let (a, b) = (row(&[(3, 100.0), (5, 0.0)]), row(&[(3, 0.0), (5, 0.0)]));
        assert_eq!(combined(&[(1.0, &a), (-1.0, &b)]), Some(Outcomes::from([(3, 100.0), (5, 0.0)])));
        assert_eq!(combined(&[(1.0, &a), (-1.0, &row(&[(3, 0.0), (6, 0.0)]))]), None);
    }

    #[test]
    fn students_quantiles_fall_towards_the_normal_one() {
        let all: Vec<f64> = (1..200).map(student).collect();
        assert!(all.windows(2).all(|pair| pair[0] > pair[1]) && all[198] > 1.96);
    }
}
