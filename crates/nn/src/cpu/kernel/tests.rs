//! Convolutions compared with their definition, in double precision, for every way in which they are computed.

use super::*;
use crate::graph::{Axis, ConvShape, Numerics, Pool2d};

fn numbers(n: usize, seed: u64) -> Vec<f64> {
    (0..n as u64)
        .map(|i| ((i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_mul(seed * 2 + 1) >> 40) as f64)
        .map(|v| v / f64::from(1 << 23) - 1.0)
        .collect()
}

/// Calls `f` for every tap of every output: (output index, input index, weight index), with true channels, NHWC and
/// torch's weight.
fn taps(shape: &Conv, mut f: impl FnMut(usize, usize, usize)) {
    let ([c, h, w], [n, rows, columns]) = (shape.input, shape.output());
    let (group_c, group_n) = (c / shape.groups, n / shape.groups);
    let [tall, wide] = shape.axes;
    let (kh, kw) = (tall.kernel, wide.kernel);
    for (y, x, o) in itertools(rows, columns, n) {
        for (ky, kx, i) in itertools(kh, kw, group_c) {
            let iy = (y * tall.stride + ky * tall.dilation).wrapping_sub(tall.before);
            let ix = (x * wide.stride + kx * wide.dilation).wrapping_sub(wide.before);
            if iy < h && ix < w {
                let input = (iy * w + ix) * c + o / group_n * group_c + i;
                f((y * columns + x) * n + o, input, ((o * group_c + i) * kh + ky) * kw + kx);
            }
        }
    }
}

fn itertools(a: usize, b: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a * b * c).map(move |i| (i / (b * c), i / c % b, i % c))
}

/// Rows of `channels` numbers as rows of `width`, filled up with zeros.
fn filled(values: &[f64], channels: usize, width: usize) -> Vec<f64> {
    let mut out = vec![0.0; values.len() / channels * width];
    for (to, from) in out.chunks_mut(width).zip(values.chunks(channels)) {
        to[..channels].copy_from_slice(from);
    }
    out
}

fn near(got: &[f64], want: &[f64], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() < 1e-11, "{what}[{i}]: {g} for {w}");
    }
}

fn check(shape: Conv, samples: usize, numerics: Numerics) {
    let what = |part: &str| format!("{part} of {shape:?}, {samples} samples, {numerics:?}");
    let ([c, h, w], [n, rows, columns]) = (shape.input, shape.output());
    let (size, result) = (c * h * w, n * rows * columns);
    let x = numbers(samples * size, 1);
    let weight = numbers(n * shape.fan_in(), 2);
    let (bias, scale) = (numbers(n, 3), numbers(n, 4));
    let dy = numbers(samples * result, 5);
    let (more, more_x) = (numbers(samples * result, 6), numbers(samples * size, 7));
    let stored_c = if shape.pixels { c } else { stored(c) };
    let stored_n = stored(n);

    // The definition.
    let mut y: Vec<f64> = (0..samples * result).map(|i| bias[i % n] + more[i]).collect();
    let (mut dx, mut dw) = (more_x.clone(), vec![0.0; weight.len()]);
    for sample in 0..samples {
        taps(&shape, |o, i, k| {
            y[sample * result + o] += x[sample * size + i] * weight[k] * scale[o % n];
            dx[sample * size + i] += dy[sample * result + o] * weight[k] * scale[o % n];
            dw[k] += dy[sample * result + o] * x[sample * size + i];
        });
    }

    let forward = ConvForward::pack(&shape, numerics, &weight, Some(&bias), Some(&scale));
    let backward = ConvBackward::pack(&shape, numerics, &weight, Some(&scale));
    let (x, dy) = (filled(&x, c, stored_c), filled(&dy, n, stored_n));
    let (more, more_x) = (filled(&more, n, stored_n), filled(&more_x, c, stored_c));
    let (y, dx) = (filled(&y, n, stored_n), filled(&dx, c, stored_c));

    // The addend is another value, or the current content of the output.
    let mut out = vec![9.0; y.len()];
    forward.run(&x, Finish { addend: Addend::Value(&more), ..Finish::plain(&mut out) });
    near(&out, &y, &what("output"));
    let mut out = more.clone();
    forward.run(&x, Finish { addend: Addend::Output, ..Finish::plain(&mut out) });
    near(&out, &y, &what("output, in place"));
    let mut out = vec![9.0; dx.len()];
    backward.run(&dy, Finish { addend: Addend::Value(&more_x), ..Finish::plain(&mut out) });
    near(&out, &dx, &what("input gradient"));
    let mut out = more_x.clone();
    backward.run(&dy, Finish { addend: Addend::Output, ..Finish::plain(&mut out) });
    near(&out, &dx, &what("input gradient, in place"));
    near(&conv_weight_gradient(&shape, numerics, &x, &dy), &dw, &what("weight gradient"));

    if shape.groups == 1 {
        // ReLU with its signs, and its gradient by these signs.
        let (mut out, mut signs) = (vec![9.0; y.len()], vec![0xAA; y.len() / 8]);
        let finish = Finish { relu: true, signs: Some(&mut signs), ..Finish::plain(&mut out) };
        forward.run(&x, Finish { addend: Addend::Value(&more), ..finish });
        let cut: Vec<f64> = y.iter().map(|v| v.max(0.0)).collect();
        near(&out, &cut, &what("output with ReLU"));
        let open = |i: usize| signs[i / 8] >> (i % 8) & 1 == 1;
        assert!((0..y.len()).all(|i| open(i) == (cut[i] > 0.0)), "{}", what("signs"));
        if !shape.pixels {
            let bits: Vec<u8> = (0..dx.len() / 8).map(|i| (i * 37 % 256) as u8).collect();
            let mut out = vec![9.0; dx.len()];
            let finish = Finish { addend: Addend::Value(&more_x), ..Finish::plain(&mut out) };
            backward.run(&dy, Finish { open: Some(&bits), ..finish });
            let shut: Vec<f64> =
                (0..dx.len()).map(|i| if bits[i / 8] >> (i % 8) & 1 == 1 { dx[i] } else { 0.0 }).collect();
            near(&out, &shut, &what("input gradient through ReLU"));
        }
    }
}

/// A convolution of `[c, h, w]` to `n` channels.
const fn conv(input: [usize; 3], n: usize, kernel: [usize; 2], stride: usize, padding: usize) -> Conv {
    let axes = [Axis::even(kernel[0], stride, padding), Axis::even(kernel[1], stride, padding)];
    Conv { shape: ConvShape { input, channels: n, axes, groups: 1 }, pixels: false }
}

/// One of each kind, as small as possible: Miri is slow.
const SMALLEST: [Conv; 3] =
    [conv([3, 4, 4], 2, [3, 3], 1, 1), conv([2, 8, 8], 3, [3, 3], 2, 1), conv([2, 3, 3], 2, [2, 2], 1, 0)];

#[test]
fn the_smallest_convolutions_are_what_their_definition_says() {
    for shape in SMALLEST {
        check(shape, 1, Numerics::Fast);
    }
}

#[test]
#[cfg(not(miri))]
fn convolutions_are_what_their_definition_says() {
    for shape in [
        conv([16, 8, 8], 16, [3, 3], 1, 1),
        conv([5, 9, 6], 20, [3, 3], 1, 1),
        conv([33, 3, 13], 7, [3, 3], 1, 1),
        conv([20, 1, 2], 3, [3, 3], 1, 1),
        conv([16, 8, 8], 32, [3, 3], 2, 1),
        conv([3, 10, 20], 17, [3, 3], 2, 1),
        conv([16, 7, 9], 16, [3, 3], 2, 1),
        conv([40, 4, 4], 24, [3, 3], 2, 1),
        conv([18, 6, 5], 9, [1, 1], 1, 0),
        conv([18, 6, 5], 9, [1, 1], 2, 0),
        conv([4, 9, 8], 6, [5, 5], 2, 2),
        conv([2, 11, 11], 4, [7, 7], 2, 3),
        conv([6, 3, 4], 10, [3, 4], 1, 0),
        conv([4, 5, 5], 4, [2, 2], 1, 2),
    ] {
        for numerics in [Numerics::Fast, Numerics::Exact] {
            check(shape, 1, numerics);
            check(shape, 5, numerics);
        }
        check(Conv { pixels: true, ..shape }, 3, Numerics::Fast);
    }
}

/// The same convolution, in groups.
fn grouped(conv: Conv, groups: usize) -> Conv {
    Conv { shape: ConvShape { groups, ..conv.shape }, ..conv }
}

/// A convolution of `[c, h, w]` to `n` channels, by `[kernel, stride, before, after, dilation]` of each axis.
fn by_axes(input: [usize; 3], n: usize, axes: [[usize; 5]; 2]) -> Conv {
    let axis = |[kernel, stride, before, after, dilation]: [usize; 5]| Axis {
        kernel,
        stride,
        before,
        after,
        dilation,
    };
    Conv { shape: ConvShape { input, channels: n, axes: axes.map(axis), groups: 1 }, pixels: false }
}

#[test]
#[cfg(not(miri))]
fn axes_may_differ_in_kernel_stride_padding_and_dilation() {
    for shape in [
        // Rectangular kernels, with long and short rows.
        by_axes([18, 6, 11], 9, [[1, 1, 0, 0, 1], [5, 1, 2, 2, 1]]),
        by_axes([5, 9, 6], 20, [[5, 1, 2, 2, 1], [3, 1, 1, 1, 1]]),
        // A stride for each axis; 3 x 3 kernels that Winograd's tilings do not support.
        by_axes([16, 8, 16], 16, [[3, 2, 1, 1, 1], [3, 1, 1, 1, 1]]),
        by_axes([16, 9, 21], 16, [[3, 1, 1, 1, 1], [3, 2, 1, 1, 1]]),
        by_axes([4, 7, 7], 6, [[1, 1, 0, 0, 1], [1, 3, 0, 0, 1]]),
        // Padding on some sides, and padding longer than the kernel.
        by_axes([16, 8, 8], 32, [[3, 2, 0, 1, 1], [3, 2, 0, 1, 1]]),
        by_axes([16, 8, 8], 16, [[3, 1, 2, 0, 1], [3, 1, 0, 2, 1]]),
        by_axes([3, 5, 12], 17, [[2, 1, 0, 3, 1], [4, 1, 5, 0, 1]]),
        by_axes([6, 4, 4], 10, [[4, 1, 1, 0, 1], [4, 1, 0, 0, 1]]),
        // Dilation of either axis, and of both.
        by_axes([16, 9, 12], 16, [[3, 1, 2, 2, 2], [3, 1, 1, 1, 1]]),
        by_axes([16, 9, 12], 16, [[3, 1, 1, 1, 1], [3, 1, 2, 2, 2]]),
        by_axes([20, 10, 11], 7, [[3, 1, 2, 2, 2], [3, 1, 2, 2, 2]]),
        by_axes([5, 9, 14], 33, [[3, 2, 3, 1, 3], [2, 3, 0, 4, 5]]),
    ] {
        for numerics in [Numerics::Fast, Numerics::Exact] {
            check(shape, 1, numerics);
            check(shape, 4, numerics);
        }
        check(Conv { pixels: true, ..shape }, 3, Numerics::Fast);
    }
    for groups in [2, 6] {
        check(grouped(by_axes([6, 7, 9], 12, [[3, 1, 1, 2, 2], [2, 2, 0, 1, 3]]), groups), 2, Numerics::Fast);
        check(grouped(by_axes([6, 7, 9], 12, [[1, 2, 0, 0, 1], [3, 1, 1, 1, 1]]), groups), 2, Numerics::Fast);
    }
}

#[test]
#[cfg(not(miri))]
fn groups_read_their_own_part_alone() {
    for (input, n, groups) in
        [([6, 7, 5], 9, 3), ([32, 4, 4], 64, 2), ([20, 5, 5], 20, 20), ([4, 3, 3], 40, 2)]
    {
        for (kernel, stride, padding) in [(3, 1, 1), (3, 2, 1), (1, 1, 0)] {
            let shape = grouped(conv(input, n, [kernel; 2], stride, padding), groups);
            check(shape, 2, Numerics::Fast);
        }
    }
}

/// Filters that all threads process together, and images whose tiles do not fit into one block.
#[test]
#[cfg(not(miri))]
fn large_filters_and_large_images_are_no_different() {
    const { assert!(36 * 208 * 224 * size_of::<f64>() > winograd::LARGE) }
    check(conv([208, 4, 4], 224, [3, 3], 1, 1), 9, Numerics::Fast);
    check(conv([208, 8, 8], 224, [3, 3], 2, 1), 3, Numerics::Fast);
    check(conv([16, 70, 90], 16, [3, 3], 1, 1), 1, Numerics::Fast);
    // Blocks that begin and end within samples.
    check(conv([16, 70, 90], 16, [3, 3], 2, 1), 3, Numerics::Exact);
}

/// Filters that are written past the caches, in single precision.
#[test]
#[cfg(not(miri))]
fn streamed_filters_are_no_different() {
    const { assert!(36 * 256 * 256 * size_of::<f32>() > winograd::STREAMED) }
    let shape = conv([256, 4, 4], 256, [3, 3], 1, 1);
    let single = |n: usize, seed: u64| -> Vec<f32> { numbers(n, seed).iter().map(|v| *v as f32).collect() };
    let (x, weight) = (single(3 * 16 * 256, 1), single(256 * shape.fan_in(), 2));
    let run = |numerics: Numerics| {
        let (mut y, mut dx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        ConvForward::pack(&shape, numerics, &weight, None, None).run(&x, Finish::plain(&mut y));
        ConvBackward::pack(&shape, numerics, &weight, None).run(&x, Finish::plain(&mut dx));
        [y, dx]
    };
    for (fast, exact) in run(Numerics::Fast).iter().flatten().zip(run(Numerics::Exact).iter().flatten()) {
        // Sums of 2,304 products of numbers up to 1.
        assert!((fast - exact).abs() < 1e-3, "{fast} for {exact}");
    }
}

/// A sample has the same bits alone and in a batch.
#[test]
#[cfg(not(miri))]
fn a_sample_has_the_same_bits_in_any_batch() {
    for (shape, numerics) in [
        (conv([24, 12, 10], 40, [3, 3], 1, 1), Numerics::Fast),
        (conv([160, 4, 4], 160, [3, 3], 1, 1), Numerics::Fast),
        // Streamed filters, and filters that all threads process together.
        (conv([256, 4, 4], 256, [3, 3], 1, 1), Numerics::Fast),
        (conv([304, 4, 4], 304, [3, 3], 1, 1), Numerics::Fast),
        (conv([24, 12, 10], 40, [3, 3], 2, 1), Numerics::Fast),
        (conv([24, 12, 10], 40, [3, 3], 1, 1), Numerics::Exact),
        (conv([24, 12, 10], 40, [1, 1], 2, 0), Numerics::Fast),
        // Patches read in lines, an input that is its own patch matrix, a linear layer, pixels.
        (conv([24, 12, 10], 40, [5, 5], 1, 2), Numerics::Fast),
        (conv([24, 12, 10], 40, [1, 1], 1, 0), Numerics::Fast),
        (conv([24, 3, 3], 10, [3, 3], 1, 0), Numerics::Fast),
        (Conv { pixels: true, ..conv([3, 24, 22], 16, [7, 7], 2, 3) }, Numerics::Fast),
    ] {
        let x: Vec<f32> = numbers(13 * 12 * 16 * 160, 8).iter().map(|v| *v as f32).collect();
        let weight: Vec<f32> =
            numbers(shape.channels * shape.fan_in(), 9).iter().map(|v| *v as f32).collect();
        let forward = ConvForward::pack(&shape, numerics, &weight, None, None);
        let backward = ConvBackward::pack(&shape, numerics, &weight, None);
        let winograd::Shapes { input, output } = shape.shapes();
        let [input, output] = [input, output].map(|shape| shape.iter().product::<usize>());
        let n = x.len() / input.max(output);
        let (mut ys, mut dxs) = (vec![0.0; n * output], vec![0.0; n * input]);
        forward.run(&x[..n * input], Finish::plain(&mut ys));
        backward.run(&x[..n * output], Finish::plain(&mut dxs));
        for i in 0..n {
            let (mut y, mut dx) = (vec![0.0; output], vec![0.0; input]);
            forward.run(&x[i * input..][..input], Finish::plain(&mut y));
            backward.run(&x[i * output..][..output], Finish::plain(&mut dx));
            assert!(y == ys[i * output..][..output] && dx == dxs[i * input..][..input], "{shape:?}");
        }
    }
}

#[test]
#[cfg(not(miri))]
fn pooling_at_once_is_pooling_afterwards() {
    let pool = Pool2d { size: 3, stride: 2, padding: 1 }.into();
    for (numerics, kernel) in [(Numerics::Fast, 3), (Numerics::Exact, 3), (Numerics::Fast, 5)] {
        let shape = conv([20, 9, 8], 24, [kernel; 2], 1, kernel / 2);
        let samples = 3;
        let x = filled(&numbers(samples * 72 * 20, 1), 20, stored(20));
        let (weight, bias) = (numbers(24 * shape.fan_in(), 2), numbers(24, 3));
        let forward = ConvForward::pack(&shape, numerics, &weight, Some(&bias), None);
        let backward = ConvBackward::pack(&shape, numerics, &weight, None);
        let (unpooled, pooled) = (samples * 72 * stored(24), samples * 5 * 4 * stored(24));

        let (mut y, mut want, mut tape) = (vec![0.0; unpooled], vec![0.0; pooled], vec![0; pooled]);
        forward.run(&x, Finish { relu: true, ..Finish::plain(&mut y) });
        max_pool(&pool, [stored(24), 9, 8], &y, &mut want, &mut tape);
        let (mut got, mut winners) = (vec![0.0; pooled], vec![0; pooled]);
        forward.run_pooled(&pool, true, &x, &mut got, &mut winners);
        near(&got, &want, "pooled output");

        let dy = numbers(pooled, 4);
        let mut through = vec![0.0; unpooled];
        max_pool_gradient(&pool, [stored(24), 9, 8], &tape, &dy, Finish::plain(&mut through));
        let through: Vec<f64> =
            through.iter().zip(&y).map(|(g, y)| if *y > 0.0 { *g } else { 0.0 }).collect();
        let (mut want, mut got) = (vec![0.0; x.len()], vec![9.0; x.len()]);
        backward.run(&through, Finish::plain(&mut want));
        backward.run_pooled(&pool, &winners, &dy, Finish::plain(&mut got));
        near(&got, &want, "input gradient through a pooling");
    }
}
