//! Filters, transformed and packed.

use super::super::buffer::{LINE, across};
use super::super::vector::{Kernel, PANEL, PanelRow, Vector, dispatch};
use super::super::{Buffer, Real, tasks};
use super::TilingKind;
use super::tiling::{Down, FILTERS, Same, Tiling, Up};

/// Bytes of filters above which they are written past the caches, because they would not stay there.
pub(in super::super) const STREAMED: usize = 8 << 20;

/// Transformed filters, `[36][n / 16][c][16]` for `c` stored input and `n` stored output channels.
#[derive(Debug)]
pub(in super::super) struct Filters<T: Real> {
    data: Buffer<T>,
    pub(super) kind: TilingKind,
    pub(super) c: usize,
    pub(super) n: usize,
}

/// Torch's weight `[out, in, 3, 3]`, each output channel times `scale`.
#[derive(Clone, Copy)]
pub(in super::super) struct Weight<'a, T> {
    pub(in super::super) values: &'a [T],
    pub(in super::super) channels: [usize; 2],
    pub(in super::super) scale: Option<&'a [T]>,
}

impl<T: Real> Filters<T> {
    /// Transforms a weight. With `gradient`, it is for the input gradient, where the roles of in and out are
    /// exchanged. `kind` is the tiling of this pass.
    pub(in super::super) fn pack(kind: TilingKind, weight: Weight<'_, T>, gradient: bool) -> Self {
        let [out, into] = weight.channels.map(|c| c.next_multiple_of(PANEL));
        let (c, n) = if gradient { (out, into) } else { (into, out) };
        let mut data = Buffer::<T>::take(FILTERS * FILTERS * c * n);
        let aligned = data.as_ptr().addr().is_multiple_of(LINE);
        let streams = aligned && data.len() * size_of::<T>() > STREAMED;
        let panels = across(&mut data, c * n, c * PANEL);
        tasks::each(FILTERS * FILTERS * c * n, panels, |panel, planes| {
            dispatch(Pack { kind, weight, gradient, panel, planes, streams });
        });
        Self { data, kind, c, n }
    }

    pub(super) fn bytes(&self) -> usize {
        self.data.len() * size_of::<T>()
    }
}

struct Pack<'a, T> {
    kind: TilingKind,
    weight: Weight<'a, T>,
    gradient: bool,
    panel: usize,
    planes: Vec<&'a mut [T]>,
    streams: bool,
}

impl<T: Real> Kernel<T> for Pack<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Lane = T>>(self) {
        let Self { kind, weight, gradient, panel, mut planes, streams } = self;
        let g = match kind {
            TilingKind::Same => Same::FILTER,
            TilingKind::Down => Down::FILTER,
            TilingKind::Up => Up::FILTER,
        };
        let g = g.map(|row| row.map(T::from_f64));
        let [out, into] = weight.channels;
        let (sums, columns) = if gradient { (out, into) } else { (into, out) };
        let columns = (panel * PANEL..columns).take(PANEL);
        for c in 0..sums {
            // The taps of 16 columns, tap by tap.
            let mut taps = [[T::ZERO; PANEL]; 9];
            for (j, column) in columns.clone().enumerate() {
                let (o, i) = if gradient { (c, column) } else { (column, c) };
                let scale = weight.scale.map_or(T::from_f64(1.0), |s| s[o]);
                for (k, value) in weight.values[(o * into + i) * 9..][..9].iter().enumerate() {
                    let k = if gradient && kind == TilingKind::Same { 8 - k } else { k };
                    taps[k][j] = *value * scale;
                }
            }
            for a in 0..FILTERS {
                let mut rows = [V::PanelRow::zero(); 3];
                for (x, row) in rows.iter_mut().enumerate() {
                    for y in 0..3 {
                        // SAFETY: a line of taps is `PANEL` numbers.
                        *row = row.grow(g[a][y], unsafe { V::PanelRow::load(taps[3 * y + x].as_ptr()) });
                    }
                }
                for b in 0..FILTERS {
                    let mut line = V::PanelRow::zero();
                    for (x, row) in rows.iter().enumerate() {
                        line = line.grow(g[b][x], *row);
                    }
                    let to = &mut planes[a * FILTERS + b][c * PANEL..][..PANEL];
                    // SAFETY: there are `PANEL` numbers, and lines of panels begin where a buffer does, or
                    // whole lines after.
                    unsafe {
                        if streams {
                            line.stream(to.as_mut_ptr());
                        } else {
                            line.store(to.as_mut_ptr());
                        }
                    }
                }
            }
        }
        V::fence();
        for plane in planes {
            plane[sums * PANEL..].fill(T::ZERO);
        }
    }
}

/// The filters of a point, packed.
#[inline(always)]
pub(super) fn filter_of<T: Real, const P: usize>(filters: &Filters<T>, point: usize) -> &[T] {
    let of = |axis: usize| axis.min(FILTERS - 1);
    let which = of(point / P) * FILTERS + of(point % P);
    let size = filters.c * filters.n;
    &filters.data[which * size..][..size]
}
