//! The exact projection onto a hyperplane within [0, 1], section 3.1 of the paper.
//!
//! For a point t in [0, 1]^d, a normal w and a height h above the hyperplane, the shortest displacement d with
//! `w . d = -h` and t + d in [0, 1] moves each coordinate in the direction in which h shrinks, `-sign(h w_i)`, and
//! at most to its bound, which is `m_i` away. By the conditions of Karush, Kuhn and Tucker there is one level L with
//!
//! - l-inf: `|d_i| = min(L, m_i)`;
//! - l2: `|d_i| = |w_i| min(L, m_i / |w_i|)`.
//!
//! In both norms L solves `sum g_i min(L, r_i) = |h|`, with weights `g_i` of `|w_i|` or `w_i^2` and ends `r_i` of `m_i`
//! or `m_i / |w_i|`. If the sum remains below `|h|`, no image of the box lies on the hyperplane: then every coordinate
//! with `w_i` not 0 moves to its bound.

use temper_core::prelude::*;

/// The shortest displacements of points `[n, d]` in [0, 1] onto hyperplanes with the normals `[n, d]`. `heights` are
/// those of the points above the hyperplanes, in units of the normal times a pixel value. All tensors are f64.
pub(crate) fn project(norm: Norm, points: &Tensor, normals: &Tensor, heights: &[f64]) -> Result<Tensor> {
    let down: Vec<f64> = heights.iter().map(|height| if *height < 0.0 { 1.0 } else { -1.0 }).collect();
    let down = normals.broadcast_mul(&column(&down, normals)?)?;
    let zeros = points.zeros_like()?;
    let room = down.gt(&zeros)?.where_cond(&points.affine(-1.0, 1.0)?, points)?.clamp(0.0, 1.0)?;
    let sizes = normals.abs()?;
    let moves = sizes.gt(&zeros)?;
    let (weights, ends) = match norm {
        Norm::Linf => (sizes.clone(), moves.where_cond(&room, &zeros)?),
        Norm::L2 => (sizes.sqr()?, moves.where_cond(&(room / &sizes)?, &zeros)?),
    };
    let levels = levels(&weights, &ends, heights)?;
    let levels = ends.broadcast_minimum(&column(&levels, &ends)?)?;
    let lengths = match norm {
        Norm::Linf => levels,
        Norm::L2 => (levels * sizes)?,
    };
    Ok((down.sign()? * lengths)?)
}

/// The length of each row of `[n, d]` in a norm.
pub(crate) fn lengths(norm: Norm, ways: &Tensor) -> Result<Vec<f64>> {
    Ok(match norm {
        Norm::Linf => ways.abs()?.max(1)?.to_vec1()?,
        Norm::L2 => ways.sqr()?.sum(1)?.sqrt()?.to_vec1()?,
    })
}

/// One number per row as `[n, 1]`, with the type and device of `like`.
pub(crate) fn column(values: &[f64], like: &Tensor) -> Result<Tensor> {
    let tensor = Tensor::from_vec(values.to_vec(), (values.len(), 1), like.device())?;
    Ok(tensor.to_dtype(like.dtype())?)
}

#[cfg(test)]
pub(crate) mod tests {
    use temper_core::Device;

    use super::*;

    /// The displacement by bisection in f64, directly from the form of the minimiser: l2, `clip(t - L w) - t`; l-inf,
    /// `clip(t - L sign(w)) - t`, with L such that w . d = -h.
    pub(crate) fn bisected(norm: Norm, point: &[f64], normal: &[f64], height: f64) -> Vec<f64> {
        let way = |level: f64| -> Vec<f64> {
            let by = |w: f64| match norm {
                Norm::L2 => w * level,
                Norm::Linf => w.signum() * level,
            };
            let moved = |(t, w): (&f64, &f64)| if *w == 0.0 { 0.0 } else { (t - by(*w)).clamp(0.0, 1.0) - t };
            point.iter().zip(normal).map(moved).collect()
        };
        let reached = |level: f64| way(level).iter().zip(normal).map(|(d, w)| d * w).sum::<f64>() + height;
        let least = normal.iter().filter(|w| **w != 0.0).fold(1.0f64, |least, w| least.min(w.abs()));
        let (mut low, mut high) = (-2.0 / least, 2.0 / least);
        for _ in 0..200 {
            let middle = f64::midpoint(low, high);
            match reached(middle) > 0.0 {
                true => low = middle,
                false => high = middle,
            }
        }
        way(f64::midpoint(low, high))
    }

    fn rows(norm: Norm, cases: &[(Vec<f64>, Vec<f64>, f64)]) -> Vec<Vec<f64>> {
        let d = cases[0].0.len();
        let tensor = |values: Vec<f64>| Tensor::from_vec(values, (cases.len(), d), &Device::Cpu).unwrap();
        let points = tensor(cases.iter().flat_map(|case| case.0.clone()).collect());
        let normals = tensor(cases.iter().flat_map(|case| case.1.clone()).collect());
        let heights: Vec<f64> = cases.iter().map(|case| case.2).collect();
        project(norm, &points, &normals, &heights).unwrap().to_vec2().unwrap()
    }

    fn length(norm: Norm, way: &[f64]) -> f64 {
        match norm {
            Norm::Linf => way.iter().fold(0.0, |most, d| d.abs().max(most)),
            Norm::L2 => way.iter().map(|d| d * d).sum::<f64>().sqrt(),
        }
    }

    /// Points with some coordinates on a bound, normals of several sizes with some zeros, and heights from 0 to about
    /// what the box allows, of both signs.
    fn random_cases(n: u64, d: usize) -> Vec<(Vec<f64>, Vec<f64>, f64)> {
        let numbers = |name: &str, i: u64, len: usize| -> Vec<f64> {
            Rng::new(d as u64, name).uniform(&[i], len).iter().map(|v| f64::from(*v)).collect()
        };
        let case = |i: u64| {
            let point: Vec<f64> =
                numbers("point", i, d).iter().map(|v| (v * 0.7 + 0.5).clamp(0.0, 1.0)).collect();
            let sizes = numbers("size", i, d);
            let normal: Vec<f64> = (numbers("normal", i, d).iter().zip(&sizes))
                .map(|(w, size)| if *size < -0.8 { 0.0 } else { w * f64::powf(10.0, 2.0 * size) })
                .collect();
            // The most that the box allows, downwards and upwards.
            let most = |sign: f64| -> f64 {
                let gain =
                    |(t, w): (&f64, &f64)| if sign * w > 0.0 { w.abs() * t } else { w.abs() * (1.0 - t) };
                point.iter().zip(&normal).map(gain).sum()
            };
            let share = numbers("height", i, 1)[0];
            let height = share * most(share.signum());
            (point, normal, height)
        };
        (0..n).map(case).collect()
    }

    #[test]
    fn projections_are_those_of_bisection_in_any_dimension() {
        for norm in [Norm::Linf, Norm::L2] {
            for d in [1, 2, 3, 7, 40, 300] {
                let cases = random_cases(60, d);
                for (way, (point, normal, height)) in rows(norm, &cases).iter().zip(&cases) {
                    let want = bisected(norm, point, normal, *height);
                    for (i, (got, want)) in way.iter().zip(&want).enumerate() {
                        assert!((got - want).abs() < 1e-9, "{norm} {d}, coordinate {i}: {got} for {want}");
                        assert!((-1e-12..=1.0 + 1e-12).contains(&(point[i] + got)), "{norm} {d}: outside");
                    }
                    let left = way.iter().zip(normal).map(|(d, w)| d * w).sum::<f64>() + height;
                    assert!(
                        left.abs() < 1e-9 * (1.0 + height.abs()),
                        "{norm} {d}: {left} from the hyperplane"
                    );
                }
            }
        }
    }

    #[test]
    fn in_the_plane_no_other_point_of_the_line_is_nearer() {
        for norm in [Norm::Linf, Norm::L2] {
            let cases = random_cases(60, 2);
            for (way, (point, normal, height)) in rows(norm, &cases).iter().zip(&cases) {
                let target = normal[0] * point[0] + normal[1] * point[1] - height;
                let steps = 20_000;
                let mut least = f64::INFINITY;
                for (a, b) in [(0, 1), (1, 0)] {
                    for step in 0..=steps {
                        let at = f64::from(step) / f64::from(steps);
                        let other = (target - normal[a] * at) / normal[b];
                        if (0.0..=1.0).contains(&other) {
                            least = least.min(length(norm, &[at - point[a], other - point[b]]));
                        }
                    }
                }
                let got = length(norm, way);
                assert!(got <= least + 1e-9, "{norm}: {got}, but {least} on the grid");
                assert!(least.is_infinite() || got > least - 1e-3, "{norm}: {got} is less than {least}");
            }
        }
    }

    #[test]
    fn out_of_reach_every_coordinate_that_matters_is_at_its_bound() {
        let (point, normal) = (vec![0.2, 0.9, 0.5, 0.4], vec![1.0, -2.0, 0.0, 1e-12]);
        for norm in [Norm::Linf, Norm::L2] {
            let got = rows(
                norm,
                &[
                    (point.clone(), normal.clone(), 50.0),
                    (point.clone(), normal.clone(), -50.0),
                    (point.clone(), vec![0.0; 4], 1.0),
                    (point.clone(), normal.clone(), 0.0),
                ],
            );
            let near = |got: &[f64], want: [f64; 4]| got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-12);
            assert!(near(&got[0], [-0.2, 0.1, 0.0, -0.4]), "{norm}: {:?}", got[0]);
            assert!(near(&got[1], [0.8, -0.9, 0.0, 0.6]), "{norm}: {:?}", got[1]);
            assert_eq!((&got[2], &got[3]), (&vec![0.0; 4], &vec![0.0; 4]), "{norm}");
        }
    }

    #[test]
    fn the_size_of_the_normal_does_not_matter() {
        let cases = random_cases(20, 40);
        for norm in [Norm::Linf, Norm::L2] {
            let want = rows(norm, &cases);
            for scale in [1e-40, 1e-20, 1e20] {
                let scaled: Vec<_> = cases
                    .iter()
                    .map(|(t, w, h)| (t.clone(), w.iter().map(|w| w * scale).collect(), h * scale))
                    .collect();
                for (got, want) in rows(norm, &scaled).iter().flatten().zip(want.iter().flatten()) {
                    assert!((got - want).abs() < 1e-9, "{norm} at {scale}: {got} for {want}");
                }
            }
        }
    }
}
