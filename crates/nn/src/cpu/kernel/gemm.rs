//! Matrix products on tiles of a few rows by one panel of columns.
//!
//! Every sum is one chain of multiply-adds in the order of the inner dimension, for every tile. A row therefore has
//! the same bits at any position, and with registers of any length.

use super::vector::{Kernel, PANEL, PanelRow, Vector, dispatch};
use super::{Buffer, Finish, Real, tasks};

/// Lines that one task packs.
const LINES: usize = 256;

/// A matrix `[k, n]` packed for the right-hand side of [`multiply`]: panels of 16 columns, each `[k][16]`.
#[derive(Debug)]
pub(super) struct Panels<T: Real> {
    data: Buffer<T>,
    k: usize,
    n: usize,
}

impl<T: Real> Panels<T> {
    /// Packs the matrix whose element in row `k`, column `n` is `at(k, n)`.
    pub(super) fn pack(k: usize, n: usize, at: impl Fn(usize, usize) -> T + Sync) -> Self {
        let mut data = Buffer::take(n.div_ceil(PANEL) * k * PANEL);
        tasks::each(data.len(), data.chunks_mut(LINES * PANEL), |part, lines| {
            for (i, line) in lines.chunks_exact_mut(PANEL).enumerate() {
                let (first, row) = ((part * LINES + i) / k * PANEL, (part * LINES + i) % k);
                for (j, value) in line.iter_mut().enumerate() {
                    *value = if first + j < n { at(row, first + j) } else { T::ZERO };
                }
            }
        });
        Self { data, k, n }
    }

    /// Number of columns.
    pub(super) fn n(&self) -> usize {
        self.n
    }
}

/// A matrix in memory. Its rows are `stride` numbers apart. Each row consists of `runs` pieces of equal length,
/// which are `pitch` numbers apart. The patches of an image are such a matrix, and need not be gathered.
#[derive(Debug, Clone, Copy)]
pub(super) struct PatchRows<'a, T> {
    pub(super) values: &'a [T],
    pub(super) stride: usize,
    pub(super) runs: usize,
    pub(super) pitch: usize,
}

impl<'a, T> PatchRows<'a, T> {
    /// Rows in one piece.
    #[inline(always)]
    pub(super) fn whole(values: &'a [T], stride: usize) -> Self {
        Self { values, stride, runs: 1, pitch: 0 }
    }

    /// Whether the values contain `m` rows of length `k`.
    #[inline(always)]
    fn hold(&self, m: usize, k: usize) -> bool {
        m == 0
            || k.is_multiple_of(self.runs)
                && (m - 1) * self.stride + (self.runs - 1) * self.pitch + k / self.runs <= self.values.len()
    }
}

/// Runs `body` with `height` as the constant `R`, for all heights that fit in registers.
macro_rules! by_height {
    ($v:ident, $height:expr, $r:ident => $body:expr) => {
        by_height!($v, $height, $r => $body; 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
    };
    ($v:ident, $height:expr, $r:ident => $body:expr; $($n:literal)+) => {
        match $height {
            $($n if $n <= $v::ROWS => { const $r: usize = $n; $body })+
            _ => unreachable!("no registers hold so many rows"),
        }
    };
}

/// `finish(rows * right)`, for `m` rows. The result's rows are `stride` numbers apart and begin with column
/// `first`.
///
/// # Panics
/// If a length does not match.
pub(super) fn multiply<T: Real>(
    rows: PatchRows<'_, T>,
    m: usize,
    right: &Panels<T>,
    finish: Finish<'_, T>,
    (stride, first): (usize, usize),
) {
    struct Multiply<'a, T: Real> {
        rows: PatchRows<'a, T>,
        m: usize,
        right: &'a Panels<T>,
        finish: Finish<'a, T>,
        place: (usize, usize),
    }
    impl<T: Real> Kernel<T> for Multiply<'_, T> {
        type Output = ();
        #[inline(always)]
        fn run<V: Vector<Lane = T>>(self) {
            let Self { rows, m, right, mut finish, place } = self;
            multiply_with::<V>(rows, m, (&right.data, right.k, right.n), &mut finish, place);
        }
    }
    dispatch(Multiply { rows, m, right, finish, place: (stride, first) });
}

/// As [`multiply`], with given registers. `panels` are `[n / 16][k][16]`, of which the first `n` columns are used.
#[inline(always)]
fn multiply_with<V: Vector>(
    rows: PatchRows<'_, V::Lane>,
    m: usize,
    (panels, k, n): (&[V::Lane], usize, usize),
    finish: &mut Finish<'_, V::Lane>,
    (stride, first): (usize, usize),
) {
    assert!(rows.hold(m, k));
    for (p, panel) in panels.chunks_exact((k * PANEL).max(1)).enumerate() {
        let (column, width) = (first + p * PANEL, PANEL.min(n - p * PANEL));
        let mut row = 0;
        while row < m {
            let height = height::<V>(m - row);
            by_height!(V, height, R => {
                // SAFETY: the rows are there, as just checked.
                let sums = unsafe { tile::<V, R>(rows, row, panel) };
                for r in 0..R {
                    finish.row::<V>((row + r) * stride + column, column, width, sums[r]);
                }
            });
            row += height;
        }
    }
}

/// A product without further operations: `out[m, n] = rows * panels`, with whole panels and without the decisions
/// of [`Finish`] for each row. Winograd's convolution consists of many small products.
pub(super) struct Product<'a, T> {
    pub(super) rows: PatchRows<'a, T>,
    pub(super) m: usize,
    pub(super) panels: &'a [T],
    pub(super) k: usize,
    pub(super) out: &'a mut [T],
}

impl<T: Real> Kernel<T> for Product<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Lane = T>>(self) {
        let Self { rows, m, panels, k, out } = self;
        let n = panels.len() / k;
        assert!(rows.hold(m, k) && panels.len() == n * k && n.is_multiple_of(PANEL) && out.len() >= m * n);
        for (p, panel) in panels.chunks_exact(k * PANEL).enumerate() {
            let mut row = 0;
            while row < m {
                let height = height::<V>(m - row);
                by_height!(V, height, R => {
                    // SAFETY: the rows are there, and `m` rows of `n` numbers of the output, as just checked.
                    unsafe {
                        let sums = tile::<V, R>(rows, row, panel);
                        let to = out.as_mut_ptr().add(row * n + p * PANEL);
                        for r in 0..R {
                            sums[r].store(to.add(r * n));
                        }
                    }
                });
                row += height;
            }
        }
    }
}

/// Number of rows of the next tile if `left` rows remain: they are shared evenly among as few tiles as fit in
/// registers.
#[inline(always)]
fn height<V: Vector>(left: usize) -> usize {
    left.div_ceil(left.div_ceil(V::ROWS))
}

/// The product of `R` rows, from `row` on, and one panel.
///
/// # Safety
/// The rows must exist, and be as long as the panel is high.
#[inline(always)]
unsafe fn tile<V: Vector, const R: usize>(
    rows: PatchRows<'_, V::Lane>,
    row: usize,
    panel: &[V::Lane],
) -> [V::PanelRow; R] {
    let length = panel.len() / PANEL / rows.runs;
    let mut sums = [V::PanelRow::zero(); R];
    for run in 0..rows.runs {
        // SAFETY: the caller's promise; the panel has a line for every number of a row.
        unsafe {
            let lines = panel.as_ptr().add(run * length * PANEL);
            let left = rows.values.as_ptr().add(row * rows.stride + run * rows.pitch);
            for i in 0..length {
                let line = V::PanelRow::load(lines.add(i * PANEL));
                for r in 0..R {
                    sums[r] = sums[r].grow(*left.add(r * rows.stride + i), line);
                }
            }
        }
    }
    sums
}

/// The outer products of `R` columns of `left`, from `row` on, and a panel of `right`, from `column` on,
/// summed over `m` rows.
#[inline(always)]
pub(super) fn outer<V: Vector, const R: usize>(
    (left, row): (PatchRows<'_, V::Lane>, usize),
    (right, column): (PatchRows<'_, V::Lane>, usize),
    m: usize,
) -> [V::PanelRow; R] {
    assert!(m == 0 || left.values.len() >= (m - 1) * left.stride + row + R);
    assert!(m == 0 || right.values.len() >= (m - 1) * right.stride + column + PANEL);
    let mut tile = [V::PanelRow::zero(); R];
    for i in 0..m {
        // SAFETY: the last row of each reaches as far as just checked, and the others less.
        unsafe {
            let line = V::PanelRow::load(right.values.as_ptr().add(i * right.stride + column));
            let x = left.values.as_ptr().add(i * left.stride + row);
            for r in 0..R {
                tile[r] = tile[r].grow(*x.add(r), line);
            }
        }
    }
    tile
}

#[cfg(test)]
mod tests {
    use super::super::vector::each;
    use super::*;

    fn plain(left: &[f64], k: usize, right: &[f64], n: usize) -> Vec<f64> {
        let m = left.len() / k;
        let at = |i: usize, j: usize| (0..k).map(|x| left[i * k + x] * right[x * n + j]).sum();
        (0..m * n).map(|o| at(o / n, o % n)).collect()
    }

    fn numbers(n: usize, seed: u64) -> Vec<f64> {
        (0..n as u64).map(|i| ((i * 2_654_435_761 + seed * 97) % 1000) as f64 / 500.0 - 1.0).collect()
    }

    fn rows<T>(values: &[T], stride: usize) -> PatchRows<'_, T> {
        PatchRows::whole(values, stride)
    }

    #[test]
    fn products_agree_with_the_plain_one_for_every_edge() {
        let sizes = [(1, 1, 1), (6, 9, 16), (7, 5, 17), (13, 40, 33), (29, 3, 15), (5, 64, 48)];
        for (m, k, n) in sizes.into_iter().take(if cfg!(miri) { 3 } else { 6 }) {
            let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
            let want = plain(&a, k, &b, n);
            let panels = Panels::pack(k, n, |r, c| b[r * n + c]);
            let mut got = vec![0.0; m * n];
            multiply(rows(&a, k), m, &panels, Finish::plain(&mut got), (n, 0));
            assert!(got.iter().zip(&want).all(|(x, y)| (x - y).abs() < 1e-12), "multiply {m} {k} {n}");
        }
    }

    struct Small<'a>(&'a [f32], &'a Panels<f32>, Vec<f32>);
    impl Kernel<f32> for Small<'_> {
        type Output = Vec<f32>;
        #[inline(always)]
        fn run<V: Vector<Lane = f32>>(mut self) -> Vec<f32> {
            let m = self.2.len() / self.1.n;
            let place = (self.1.n, 0);
            let right = (&self.1.data[..], self.1.k, self.1.n);
            multiply_with::<V>(rows(self.0, self.1.k), m, right, &mut Finish::plain(&mut self.2), place);
            self.2
        }
    }

    #[test]
    fn a_row_has_the_same_bits_wherever_it_stands_and_in_all_fused_registers() {
        let (k, n) = if cfg!(miri) { (4, 18) } else { (50, 20) };
        let a: Vec<f32> = numbers(31 * k, 4).iter().map(|v| *v as f32).collect();
        let b: Vec<f32> = numbers(k * n, 5).iter().map(|v| *v as f32).collect();
        let panels = Panels::pack(k, n, |r, c| b[r * n + c]);
        let mut all = vec![0f32; 31 * n];
        multiply(rows(&a, k), 31, &panels, Finish::plain(&mut all), (n, 0));
        for row in 0..31 {
            let mut one = vec![0f32; n];
            multiply(rows(&a[row * k..], k), 1, &panels, Finish::plain(&mut one), (n, 0));
            assert_eq!(one, all[row * n..][..n]);
        }
        each(
            || Small(&a, &panels, vec![0.0; 31 * n]),
            |name, got| {
                let near = got.iter().zip(&all).all(|(x, y)| (x - y).abs() < 1e-4);
                assert!(near && (name == "plain" || got == all), "{name}");
            },
        );
    }

    #[test]
    fn relu_keeps_nan() {
        let panels = Panels::pack(1, 1, |_, _| f32::NAN);
        let mut out = [0.0];
        let finish = Finish { relu: true, ..Finish::plain(&mut out) };
        multiply(rows(&[1.0], 1), 1, &panels, finish, (1, 0));
        assert!(out[0].is_nan());
    }
}
