//! Matrix products on 6 x 16 tiles.
//!
//! One safe, generic body is compiled twice: for AVX2 with FMA, chosen when the processor has them, and portably.
//! The tile is written so that the compiler keeps its 96 sums in registers.

use super::Real;

/// Rows of a tile.
const ROWS: usize = 6;
/// Columns of a tile: two AVX2 registers of `f32`.
const COLS: usize = 16;

/// A matrix `[k, n]` packed for the right-hand side of [`multiply`]: panels of 16 columns, each `[k][16]`.
#[derive(Debug, Clone)]
pub struct Panels<T> {
    data: Vec<T>,
    k: usize,
    n: usize,
}

impl<T: Real> Panels<T> {
    /// Packs the matrix whose element in row `k`, column `n` is `at(k, n)`.
    pub fn pack(k: usize, n: usize, at: impl Fn(usize, usize) -> T) -> Self {
        let mut data = vec![T::ZERO; n.div_ceil(COLS) * k * COLS];
        for (p, panel) in data.chunks_exact_mut((k * COLS).max(1)).enumerate() {
            let first = p * COLS;
            for (row, line) in panel.chunks_exact_mut(COLS).enumerate() {
                for (j, value) in line.iter_mut().take(n - first).enumerate() {
                    *value = at(row, first + j);
                }
            }
        }
        Self { data, k, n }
    }

    /// Rows.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Columns.
    pub fn n(&self) -> usize {
        self.n
    }
}

/// `out = rows * right + bias`, then `ReLU` if asked. `rows` is `[m, k]`, `out` is `[m, n]`, both row-major.
///
/// # Panics
/// If a length does not match.
pub fn multiply<T: Real>(rows: &[T], right: &Panels<T>, bias: Option<&[T]>, relu: bool, out: &mut [T]) {
    let m = out.len() / right.n;
    assert_eq!(rows.len(), m * right.k);
    assert_eq!(out.len(), m * right.n);
    assert!(bias.is_none_or(|b| b.len() == right.n));
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has the features that the function is compiled for, as just asked.
        return unsafe { multiply_avx2(rows, right, bias, relu, out) };
    }
    multiply_tiles::<T, false>(rows, right, bias, relu, out);
}

/// `sums += left^T * right` over `m` rows: `left` is `[m, k]`, `right` is `[m, n]`, `sums` is `[k, n]`, all row-major.
///
/// # Panics
/// If a length does not match.
pub(super) fn accumulate<T: Real>(left: &[T], k: usize, right: &[T], n: usize, sums: &mut [T]) {
    assert_eq!(left.len() / k, right.len() / n);
    assert_eq!(sums.len(), k * n);
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has the features that the function is compiled for, as just asked.
        return unsafe { accumulate_avx2(left, k, right, n, sums) };
    }
    accumulate_tiles::<T, false>(left, k, right, n, sums);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn multiply_avx2<T: Real>(rows: &[T], right: &Panels<T>, bias: Option<&[T]>, relu: bool, out: &mut [T]) {
    multiply_tiles::<T, true>(rows, right, bias, relu, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn accumulate_avx2<T: Real>(left: &[T], k: usize, right: &[T], n: usize, sums: &mut [T]) {
    accumulate_tiles::<T, true>(left, k, right, n, sums);
}

#[inline(always)]
fn madd<T: Real, const FMA: bool>(a: T, b: T, c: T) -> T {
    if FMA { a.fused(b, c) } else { a * b + c }
}

#[inline(always)]
fn multiply_tiles<T: Real, const FMA: bool>(
    rows: &[T],
    right: &Panels<T>,
    bias: Option<&[T]>,
    relu: bool,
    out: &mut [T],
) {
    let (k, n) = (right.k, right.n);
    let m = out.len() / n;
    for (p, panel) in right.data.chunks_exact((k * COLS).max(1)).enumerate() {
        let first = p * COLS;
        let width = COLS.min(n - first);
        let mut start = [T::ZERO; COLS];
        if let Some(bias) = bias {
            start[..width].copy_from_slice(&bias[first..first + width]);
        }
        let floor = if relu { T::ZERO } else { T::LOWEST };
        for row in (0..m).step_by(ROWS) {
            // A tile that reaches below the matrix repeats its last row and does not store it.
            let line = |r: usize| &rows[(row + r).min(m - 1) * k..][..k];
            let sums = tile::<T, FMA>(std::array::from_fn(line), panel);
            for (r, line) in sums.iter().enumerate().take(m - row) {
                let mut line = *line;
                for (value, b) in line.iter_mut().zip(start) {
                    let sum = *value + b;
                    // Written so that a NaN survives.
                    *value = if sum < floor { floor } else { sum };
                }
                let out = &mut out[(row + r) * n + first..];
                match out.first_chunk_mut::<COLS>().filter(|_| width == COLS) {
                    Some(out) => *out = line,
                    None => out[..width].copy_from_slice(&line[..width]),
                }
            }
        }
    }
}

/// Sums of six rows times one panel.
#[inline(always)]
fn tile<T: Real, const FMA: bool>(rows: [&[T]; ROWS], panel: &[T]) -> [[T; COLS]; ROWS] {
    let mut sums = [[T::ZERO; COLS]; ROWS];
    let k = panel.len() / COLS;
    let [a, b, c, d, e, f] = rows.map(|row| &row[..k]);
    for i in 0..k {
        let line = &panel[i * COLS..i * COLS + COLS];
        let lanes = [a[i], b[i], c[i], d[i], e[i], f[i]];
        for (sums, x) in sums.iter_mut().zip(lanes) {
            for (sum, y) in sums.iter_mut().zip(line) {
                *sum = madd::<T, FMA>(x, *y, *sum);
            }
        }
    }
    sums
}

#[inline(always)]
fn accumulate_tiles<T: Real, const FMA: bool>(left: &[T], k: usize, right: &[T], n: usize, sums: &mut [T]) {
    let m = left.len() / k;
    for column in (0..n).step_by(COLS) {
        let width = COLS.min(n - column);
        for row in (0..k).step_by(ROWS) {
            let height = ROWS.min(k - row);
            let mut tile = [[T::ZERO; COLS]; ROWS];
            if width == COLS && height == ROWS {
                for i in 0..m {
                    let x = &left[i * k + row..][..ROWS];
                    let y = &right[i * n + column..][..COLS];
                    for (sums, x) in tile.iter_mut().zip(x) {
                        for (sum, y) in sums.iter_mut().zip(y) {
                            *sum = madd::<T, FMA>(*x, *y, *sum);
                        }
                    }
                }
            } else {
                for i in 0..m {
                    let x = &left[i * k + row..][..height];
                    let y = &right[i * n + column..][..width];
                    for (sums, x) in tile.iter_mut().zip(x) {
                        for (sum, y) in sums.iter_mut().zip(y) {
                            *sum = madd::<T, FMA>(*x, *y, *sum);
                        }
                    }
                }
            }
            for (r, line) in tile.iter().enumerate().take(height) {
                for (sum, value) in sums[(row + r) * n + column..][..width].iter_mut().zip(line) {
                    *sum += *value;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(left: &[f64], k: usize, right: &[f64], n: usize) -> Vec<f64> {
        let m = left.len() / k;
        let at = |i: usize, j: usize| (0..k).map(|x| left[i * k + x] * right[x * n + j]).sum();
        (0..m * n).map(|o| at(o / n, o % n)).collect()
    }

    fn numbers(n: usize, seed: u64) -> Vec<f64> {
        (0..n as u64).map(|i| ((i * 2_654_435_761 + seed * 97) % 1000) as f64 / 500.0 - 1.0).collect()
    }

    #[test]
    fn both_products_agree_with_the_plain_one_for_every_edge() {
        for (m, k, n) in [(1, 1, 1), (6, 9, 16), (7, 5, 17), (13, 40, 33), (24, 3, 15), (5, 64, 48)] {
            let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
            let want = plain(&a, k, &b, n);
            let panels = Panels::pack(k, n, |r, c| b[r * n + c]);
            let mut got = vec![0.0; m * n];
            multiply(&a, &panels, None, false, &mut got);
            assert!(got.iter().zip(&want).all(|(x, y)| (x - y).abs() < 1e-12), "multiply {m} {k} {n}");
            multiply_tiles::<f64, false>(&a, &panels, None, false, &mut got);
            assert!(got.iter().zip(&want).all(|(x, y)| (x - y).abs() < 1e-12), "portable {m} {k} {n}");

            // left^T right, with left [m, k] and right [m, n]
            let c = numbers(m * n, 3);
            let transposed: Vec<f64> = (0..k * m).map(|i| a[i % m * k + i / m]).collect();
            let want = plain(&transposed, m, &c, n);
            let mut got = vec![0.0; k * n];
            accumulate(&a, k, &c, n, &mut got);
            assert!(got.iter().zip(&want).all(|(x, y)| (x - y).abs() < 1e-12), "accumulate {m} {k} {n}");
            let mut got = vec![0.0; k * n];
            accumulate_tiles::<f64, false>(&a, k, &c, n, &mut got);
            assert!(got.iter().zip(&want).all(|(x, y)| (x - y).abs() < 1e-12), "portable {m} {k} {n}");
        }
    }

    #[test]
    fn a_row_has_the_same_bits_wherever_it_stands() {
        let (k, n) = (50, 20);
        let a: Vec<f32> = numbers(13 * k, 4).iter().map(|v| *v as f32).collect();
        let b: Vec<f32> = numbers(k * n, 5).iter().map(|v| *v as f32).collect();
        let panels = Panels::pack(k, n, |r, c| b[r * n + c]);
        let mut all = vec![0f32; 13 * n];
        multiply(&a, &panels, Some(&b[..n]), true, &mut all);
        for row in 0..13 {
            let mut one = vec![0f32; n];
            multiply(&a[row * k..][..k], &panels, Some(&b[..n]), true, &mut one);
            assert_eq!(one, all[row * n..][..n]);
        }
    }

    #[test]
    fn relu_keeps_nan() {
        let panels = Panels::pack(1, 1, |_, _| f32::NAN);
        let mut out = [0.0];
        multiply(&[1.0], &panels, None, true, &mut out);
        assert!(out[0].is_nan());
    }
}
