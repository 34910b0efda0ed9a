//! The three tilings of an axis.

use super::super::vector::Vector;

/// Distinct filters of an axis, in every tiling.
pub(super) const FILTERS: usize = 6;

/// How one axis of a convolution with three taps and padding 1 is split into tiles, and the linear maps that turn a
/// tile into one product per point: `output(filter * input)`, point by point. In two dimensions each map is applied
/// to both axes.
///
/// A tile has `P` points, a patch of `D` input positions, and `O` outputs.
pub(super) trait Tiling<const P: usize, const D: usize, const O: usize> {
    /// Input positions from one tile to the next.
    const STEP: usize;
    /// Number of positions of the patch before the tile's own first position.
    const BEFORE: usize;
    /// The filter of each point as a combination of the taps; points beyond the last share its filter.
    const FILTER: [[f64; 3]; FILTERS];

    /// Patch to points.
    fn input<V: Vector>(d: [V; D]) -> [V; P];
    /// Points to outputs.
    fn output<V: Vector>(m: [V; P]) -> [V; O];
    /// The transpose of [`Self::output`]: outputs' gradients to points, for the gradient of the filter.
    fn gradient<V: Vector>(y: [V; O]) -> [V; P];
}

#[inline(always)]
fn number<V: Vector>(x: f64) -> V {
    V::splat(candle_core::WithDType::from_f64(x))
}

const SIXTH: f64 = 1.0 / 6.0;

/// Stride 1, F(4, 3) at the points 0, 1, -1, 2, -2 and infinity: 6 products for 4 outputs instead of 12. It is its
/// own transpose, with the taps reversed.
pub(super) struct Same;

impl Tiling<6, 6, 4> for Same {
    const STEP: usize = 4;
    const BEFORE: usize = 1;
    const FILTER: [[f64; 3]; FILTERS] = [
        [0.25, 0.0, 0.0],
        [-SIXTH, -SIXTH, -SIXTH],
        [-SIXTH, SIXTH, -SIXTH],
        [SIXTH / 4.0, SIXTH / 2.0, SIXTH],
        [SIXTH / 4.0, -SIXTH / 2.0, SIXTH],
        [0.0, 0.0, 1.0],
    ];

    #[inline(always)]
    fn input<V: Vector>(d: [V; 6]) -> [V; 6] {
        let (two, four, five) = (number::<V>(2.0), number::<V>(4.0), number::<V>(5.0));
        // 4 d0 - 5 d2 + d4 and 4 d1 - 5 d3 + d5
        let first = four.fma(d[0], d[4].sub(five.mul(d[2])));
        let last = four.fma(d[1], d[5].sub(five.mul(d[3])));
        let (a, b) = (d[4].sub(four.mul(d[2])), d[3].sub(four.mul(d[1])));
        let (e, f) = (d[4].sub(d[2]), two.mul(d[3].sub(d[1])));
        [first, a.add(b), a.sub(b), e.add(f), e.sub(f), last]
    }

    #[inline(always)]
    fn output<V: Vector>(m: [V; 6]) -> [V; 4] {
        let (two, four, eight) = (number::<V>(2.0), number::<V>(4.0), number::<V>(8.0));
        let (sum, difference) = (m[1].add(m[2]), m[1].sub(m[2]));
        let (far_sum, far_difference) = (m[3].add(m[4]), m[3].sub(m[4]));
        [
            m[0].add(sum).add(far_sum),
            two.fma(far_difference, difference),
            four.fma(far_sum, sum),
            eight.fma(far_difference, difference).add(m[5]),
        ]
    }

    #[inline(always)]
    fn gradient<V: Vector>(y: [V; 4]) -> [V; 6] {
        let (two, four, eight) = (number::<V>(2.0), number::<V>(4.0), number::<V>(8.0));
        let (even, odd) = (y[0].add(y[2]), y[1].add(y[3]));
        let (far_even, far_odd) = (four.fma(y[2], y[0]), eight.fma(y[3], two.mul(y[1])));
        [y[0], even.add(odd), even.sub(odd), far_even.add(far_odd), far_even.sub(far_odd), y[3]]
    }
}

/// Patch to points of F(4, 2) at 0, 1, -1, 2 and infinity.
#[inline(always)]
fn two_taps_input<V: Vector>([a, b, c, d, e]: [V; 5]) -> [V; 5] {
    let (two, three) = (number::<V>(2.0), number::<V>(3.0));
    let inner = d.sub(b);
    [
        two.mul(a.sub(c)).add(inner),
        d.sub(c).sub(two.mul(b)),
        two.fma(b, d).sub(three.mul(c)),
        inner,
        e.sub(c).sub(two.mul(inner)),
    ]
}

/// Points to outputs of F(4, 2).
#[inline(always)]
fn two_taps_output<V: Vector>([a, b, c, d, e]: [V; 5]) -> [V; 4] {
    let (two, four, eight) = (number::<V>(2.0), number::<V>(4.0), number::<V>(8.0));
    let (sum, difference) = (b.add(c), b.sub(c));
    [a.add(sum).add(d), two.fma(d, difference), four.fma(d, sum), eight.fma(d, difference).add(e)]
}

/// The transpose of [`two_taps_output`].
#[inline(always)]
fn two_taps_gradient<V: Vector>(y: [V; 4]) -> [V; 5] {
    let (two, four, eight) = (number::<V>(2.0), number::<V>(4.0), number::<V>(8.0));
    let (even, odd) = (y[0].add(y[2]), y[1].add(y[3]));
    let (far_even, far_odd) = (four.fma(y[2], y[0]), eight.fma(y[3], two.mul(y[1])));
    [y[0], even.add(odd), even.sub(odd), far_even.add(far_odd), y[3]]
}

/// Stride 2 on an even length: the outer taps read odd positions, the middle tap reads even positions. F(4, 2) and
/// four plain products: 9 products for 4 outputs instead of 12.
pub(super) struct Down;

impl Tiling<9, 9, 4> for Down {
    const STEP: usize = 8;
    const BEFORE: usize = 1;
    const FILTER: [[f64; 3]; FILTERS] = [
        [0.5, 0.0, 0.0],
        [-0.5, 0.0, -0.5],
        [-SIXTH, 0.0, SIXTH],
        [SIXTH, 0.0, 2.0 * SIXTH],
        [0.0, 0.0, 1.0],
        [0.0, 1.0, 0.0],
    ];

    #[inline(always)]
    fn input<V: Vector>(d: [V; 9]) -> [V; 9] {
        let [a, b, c, e, f] = two_taps_input([d[0], d[2], d[4], d[6], d[8]]);
        [a, b, c, e, f, d[1], d[3], d[5], d[7]]
    }

    #[inline(always)]
    fn output<V: Vector>(m: [V; 9]) -> [V; 4] {
        let [a, b, c, d] = two_taps_output([m[0], m[1], m[2], m[3], m[4]]);
        [a.add(m[5]), b.add(m[6]), c.add(m[7]), d.add(m[8])]
    }

    #[inline(always)]
    fn gradient<V: Vector>(y: [V; 4]) -> [V; 9] {
        let [a, b, c, d, e] = two_taps_gradient(y);
        [a, b, c, d, e, y[0], y[1], y[2], y[3]]
    }
}

/// The transpose of [`Down`]: maps 5 gradients at half the length to 8 gradients of the input.
pub(super) struct Up;

impl Tiling<9, 5, 8> for Up {
    const STEP: usize = 4;
    const BEFORE: usize = 0;
    const FILTER: [[f64; 3]; FILTERS] = [
        [0.0, 0.0, 0.5],
        [-0.5, 0.0, -0.5],
        [SIXTH, 0.0, -SIXTH],
        [2.0 * SIXTH, 0.0, SIXTH],
        [1.0, 0.0, 0.0],
        [0.0, 1.0, 0.0],
    ];

    #[inline(always)]
    fn input<V: Vector>(d: [V; 5]) -> [V; 9] {
        let [a, b, c, e, f] = two_taps_input([d[0], d[1], d[2], d[3], d[4]]);
        [a, b, c, e, f, d[0], d[1], d[2], d[3]]
    }

    #[inline(always)]
    fn output<V: Vector>(m: [V; 9]) -> [V; 8] {
        let [a, b, c, d] = two_taps_output([m[0], m[1], m[2], m[3], m[4]]);
        [m[5], a, m[6], b, m[7], c, m[8], d]
    }

    #[inline(always)]
    fn gradient<V: Vector>(y: [V; 8]) -> [V; 9] {
        let [a, b, c, d, e] = two_taps_gradient([y[1], y[3], y[5], y[7]]);
        [a, b, c, d, e, y[0], y[2], y[4], y[6]]
    }
}

/// The transpose of a filter's map: six points to three taps.
#[inline(always)]
pub(super) fn taps<V: Vector>(filter: &[[f64; 3]; FILTERS], m: [V; FILTERS]) -> [V; 3] {
    let mut taps = [m[0]; 3];
    for tap in 0..3 {
        let mut sum = number::<V>(filter[0][tap]).mul(m[0]);
        for a in 1..FILTERS {
            sum = number::<V>(filter[a][tap]).fma(m[a], sum);
        }
        taps[tap] = sum;
    }
    taps
}
