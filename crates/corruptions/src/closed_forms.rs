//! Tests against formulas that can be solved by hand.

use std::collections::BTreeSet;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use temper_data::Rng;

use crate::blur;
use crate::filters::motion;
use crate::geometry::elastic;
use crate::planes::{Planes, Size};
use crate::spatter::{Liquid, Spatter, spatter};
use crate::weather::{Snow, fog, plasma, snow};

fn rng(id: u64) -> ChaCha8Rng {
    Rng::new(3, "closed form").sample(id)
}

/// Three planes of these values at (y, x).
fn planes([h, w]: Size, value: impl Fn(usize, usize, usize) -> f32) -> Planes {
    let at = |channel| (0..h * w).map(move |at| (channel, at / w, at % w));
    let values = (0..3).flat_map(at).map(|(channel, y, x)| value(channel, y, x)).collect();
    Planes { channels: 3, size: [h, w], values }
}

/// Half a Gaussian of `n` weights that sum to one.
fn half_gaussian(n: usize, sigma: f32) -> Vec<f32> {
    let weights: Vec<f32> = (0..n).map(|i| (-0.5 * (i as f32 / sigma).powi(2)).exp()).collect();
    let sum: f32 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

/// The start and the end of a motion blur line at an angle: the position of a point, and the farthest
/// position it affects.
fn far_end(plane: &[f32], w: usize, [y, x]: [usize; 2]) -> f64 {
    let lit = plane.iter().enumerate().filter(|(_, value)| **value > 0.0);
    let away = lit.map(|(at, _)| [(at / w) as f64 - y as f64, (at % w) as f64 - x as f64]);
    let far = away.max_by(|a, b| a[0].hypot(a[1]).total_cmp(&b[0].hypot(b[1]))).unwrap();
    // A pixel is computed from the values along the angle, so a point spreads in the opposite direction; y
    // points downwards.
    (-far[0]).atan2(-far[1]).to_degrees()
}

#[test]
fn motion_draws_a_point_out_along_a_line() {
    let (side, [y, x]) = (21, [10, 10]);
    let mut point = vec![0.0; side * side];
    point[y * side + x] = 1.0;
    // (dy, dx) of the inputs of a pixel: ceil(i sin - 1/2) and ceil(i cos - 1/2), with i up to twice the
    // radius.
    let level: Vec<[usize; 2]> = (0..7).map(|i| [0, i]).collect();
    let rising = [[0, 0], [0, 1], [1, 2], [1, 3], [2, 3], [2, 4], [3, 5]].to_vec();
    for (degrees, taps) in [(0.0, level), (30.0, rising)] {
        let got = motion(&point, [side; 2], 2.5, 2.0, degrees);
        let mut wanted = vec![0.0; side * side];
        for ([dy, dx], weight) in taps.into_iter().zip(half_gaussian(7, 2.0)) {
            wanted[(y - dy) * side + x - dx] = weight;
        }
        assert!(got.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{degrees} degrees");
    }
}

#[test]
fn motion_blur_is_drawn_from_45_degrees_to_either_side() {
    let angles: Vec<f64> = (0..300)
        .map(|id| {
            let mut image = planes([61, 61], |_, y, x| f32::from(u8::from([y, x] == [30, 30])));
            blur::motion(&mut image, 10.0, 15.0, &mut rng(id));
            far_end(&image.values[..61 * 61], 61, [30, 30])
        })
        .collect();
    let (least, most) =
        (angles.iter().copied().fold(90.0, f64::min), angles.iter().copied().fold(-90.0, f64::max));
    assert!((-46.5..-43.0).contains(&least) && (43.0..46.5).contains(&most), "{least} to {most}");
    let mean = angles.iter().sum::<f64>() / 300.0;
    assert!(mean.abs() < 5.0, "{mean}");
}

#[test]
fn snow_bleaches_what_it_does_not_cover() {
    let strength =
        Snow { mean: 0.1, std: 0.3, zoom: 3.0, threshold: 1e9, radius: 10.0, sigma: 4.0, mix: 0.8 };
    // Colours and their bleached versions: 1.5 times the luma plus a half, unless they are brighter.
    let luma = 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6_f32;
    for (colour, bleached) in [
        ([0.0; 3], [0.5; 3]),
        ([0.2; 3], [0.8; 3]),
        ([0.2, 0.4, 0.6], [1.5 * luma + 0.5; 3]),
        ([0.0, 0.0, 1.0], [0.671, 0.671, 1.0]),
    ] {
        let mut image = planes([4, 6], |channel, _, _| colour[channel]);
        snow(&mut image, strength, &mut rng(0));
        for (channel, plane) in image.values.chunks(24).enumerate() {
            let wanted = 0.8 * colour[channel] + 0.2 * bleached[channel];
            assert!(
                plane.iter().all(|value| (value - wanted).abs() < 1e-6),
                "{colour:?}: {plane:?}, not {wanted}"
            );
        }
    }
}

#[test]
fn snow_falls_at_45_to_135_degrees_and_again_turned_by_half_a_circle() {
    let strength =
        Snow { mean: 0.0, std: 1.0, zoom: 1.0, threshold: 3.5, radius: 6.0, sigma: 20.0, mix: 1.0 };
    let (side, mut angles) = (60, vec![]);
    for id in 0..3000 {
        // Normal numbers are drawn first, one per pixel: one flake in the upper half, far from all borders.
        let mut noise = rng(id);
        let noise = (0..side * side).map(|_| noise.sample::<f32, _>(StandardNormal));
        let flakes: Vec<usize> =
            noise.enumerate().filter(|(_, value)| *value >= 3.5).map(|(at, _)| at).collect();
        let &[flake] = &flakes[..] else { continue };
        let [y, x] = [flake / side, flake % side];
        if !(1..16).contains(&y) || !(14..46).contains(&x) {
            continue;
        }
        let mut image = planes([side, side], |_, _, _| 0.0);
        snow(&mut image, strength, &mut rng(id));
        let plane = &image.values[..side * side];
        assert!((0..plane.len()).all(|at| plane[at] == plane[plane.len() - 1 - at]));
        // A flake is white, whatever its number was, and is spread over 13 pixels; levels are rounded.
        let upper = &plane[..side * side / 2];
        assert!((upper.iter().sum::<f32>() - 1.0).abs() < 13.0 * 0.5 / 255.0);
        angles.push(far_end(upper, side, [y, x]));
    }
    let (least, most) =
        (angles.iter().copied().fold(0.0, f64::min), angles.iter().copied().fold(-180.0, f64::max));
    assert!(angles.len() > 80, "{}", angles.len());
    assert!((-138.0..-130.0).contains(&least) && (-50.0..-42.0).contains(&most), "{least} to {most}");
}

#[test]
fn fog_is_a_plasma_added_and_the_largest_value_kept_in_scale() {
    let (amplitude, decay) = (1.5, 1.75);
    for (size, side) in [([5, 7], 8), ([16, 16], 16), ([9, 3], 16)] {
        let clean = planes(size, |channel, y, x| 0.1 * channel as f32 + 0.02 * y as f32 + 0.03 * x as f32);
        let mut image = clean.clone();
        fog(&mut image, amplitude, decay, &mut rng(1));
        let (map, most) =
            (plasma(side, decay, &mut rng(1)), clean.values.iter().copied().fold(0.0, f32::max));
        let area = size[0] * size[1];
        for (at, (value, clean)) in image.values.iter().zip(&clean.values).enumerate() {
            let (y, x) = (at % area / size[1], at % size[1]);
            let wanted = (clean + amplitude * map[y * side + x]) * most / (most + amplitude);
            assert!((value - wanted).abs() < 1e-5, "{size:?}: {value} at {at}, not {wanted}");
        }
    }
}

/// Levels of a ramp along x in the first plane, along y in the others: a pixel's value is its position.
fn ramps(size: Size) -> Planes {
    planes(size, |channel, y, x| if channel == 0 { x as f32 } else { y as f32 })
}

#[test]
fn elastic_takes_anchors_to_where_they_are_drawn() {
    let (side, affine) = (64, 4.0);
    let mut draws = rng(2);
    let mut image = ramps([side, side]);
    elastic(&mut image, 0.0, 0.0, affine, &mut rng(2));
    let [from_x, from_y] = [0, 1].map(|plane| &image.values[plane * side * side..][..side * side]);
    for anchor in [[53.0, 53.0], [53.0, 11.0], [11.0, 11.0]] {
        let moved = anchor.map(|at| at + affine * draws.random_range(-1.0..1.0));
        // The value at the image of an anchor is the anchor: the ramps are planes, determined by three
        // pixels.
        for (ramp, wanted) in [from_x, from_y].into_iter().zip(anchor) {
            let at = |y: usize, x: usize| f64::from(ramp[y * side + x]);
            let (middle, down, along) = (at(32, 32), at(42, 32) - at(32, 32), at(32, 42) - at(32, 32));
            let got = middle + (moved[1] - 32.0) * down / 10.0 + (moved[0] - 32.0) * along / 10.0;
            assert!((got - wanted).abs() < 1e-3, "{anchor:?} went to {moved:?}, where {got} lies");
        }
    }
}

#[test]
fn elastic_takes_pixels_from_where_smoothed_noise_says() {
    let (side, alpha) = (40, 2.0_f32);
    for (sigma, reach) in [(0.0_f32, 0_usize), (1.5, 5)] {
        let mut draws = rng(3);
        // The draws of the anchors, which have no effect without an affine part.
        draws.set_word_pos(2 * 6);
        let mut field = || (0..side * side).map(|_| draws.random_range(-1.0..1.0_f32)).collect::<Vec<_>>();
        let fields = [field(), field()];
        let mut image = ramps([side, side]);
        elastic(&mut image, alpha, sigma, 0.0, &mut rng(3));
        let weight = |d: usize| {
            let d = d as f32 - reach as f32;
            if sigma > 0.0 { (-0.5 * (d / sigma).powi(2)).exp() } else { 1.0 }
        };
        let sum: f32 = (0..=2 * reach).map(weight).sum();
        for (y, x) in (8..32).flat_map(|y| (8..32).map(move |x| (y, x))) {
            for (plane, (field, place)) in fields.iter().zip([x, y]).enumerate() {
                let mut smooth = 0.0;
                for (dy, dx) in (0..=2 * reach).flat_map(|dy| (0..=2 * reach).map(move |dx| (dy, dx))) {
                    let noise = field[(y + dy - reach) * side + x + dx - reach];
                    smooth += weight(dy) * weight(dx) / (sum * sum) * noise;
                }
                let (got, wanted) =
                    (image.values[plane * side * side + y * side + x], place as f32 + alpha * smooth);
                assert!(
                    (got - wanted).abs() < 1e-3,
                    "sigma {sigma}, plane {plane} at {y} {x}: {got}, not {wanted}"
                );
            }
        }
    }
}

/// How far glass blur moved the value of (y, x), down and to the right.
fn shifts(size: Size, reach: usize, passes: usize, id: u64) -> Vec<([usize; 2], [i32; 2])> {
    let mut image = ramps(size);
    image.values.iter_mut().for_each(|value| *value /= 255.0);
    blur::glass(&mut image, 0.0, reach, passes, &mut rng(id));
    let area = size[0] * size[1];
    let from = |at: usize| (image.values[at] * 255.0).round() as i32;
    let shift = |at: usize| {
        let [y, x] = [at / size[1], at % size[1]];
        ([y, x], [from(area + at) - y as i32, from(at) - x as i32])
    };
    (0..area).map(shift).collect()
}

#[test]
fn glass_copies_from_up_to_its_reach_above_and_less_than_it_below() {
    // Within reach 1 the neighbours are above and to the left and still have their original values. With
    // swaps they would have the values from below.
    let (size, mut counts) = ([60, 70], [0; 4]);
    for ([y, x], [dy, dx]) in shifts(size, 1, 1, 4) {
        match y > 1 && x > 1 {
            true => {
                assert!((-1..=0).contains(&dy) && (-1..=0).contains(&dx), "{y} {x}: {dy} {dx}");
                counts[(2 * -dy - dx) as usize] += 1;
            }
            false => assert_eq!([dy, dx], [0, 0], "{y} {x}"),
        }
    }
    // 58 x 68 pixels, a quarter each.
    assert!(counts.iter().all(|count| (880..1092).contains(count)), "{counts:?}");
    let twice: BTreeSet<[i32; 2]> = shifts(size, 1, 2, 4).into_iter().map(|(_, shift)| shift).collect();
    assert_eq!(twice.len(), 9, "{twice:?}");
    // Around the first pixel, which is the last one at that distance from the border, all values are still
    // the original ones.
    let mut first = BTreeSet::new();
    for id in 0..400 {
        for ([y, x], shift) in shifts([12, 14], 3, 1, id) {
            match [y, x] {
                [9, 11] => drop(first.insert(shift)),
                _ => assert!(((4..10).contains(&y) && (4..12).contains(&x)) || shift == [0, 0], "{y} {x}"),
            }
        }
    }
    let wanted: BTreeSet<[i32; 2]> = (-3..3).flat_map(|dy| (-3..3).map(move |dx| [dy, dx])).collect();
    assert_eq!(first, wanted);
}

#[test]
fn mud_is_its_colour_where_it_covers_all_and_nothing_where_little() {
    let mud = |mean, std, sigma| Spatter { mean, std, sigma, threshold: 0.65, liquid: Liquid::Mud(1.5) };
    let mut image = planes([8, 9], |channel, y, x| 0.01 * (channel + y + x) as f32);
    let clean = image.clone();
    spatter(&mut image, mud(0.6, 0.0, 1.0), &mut rng(5));
    assert!(image == clean);
    spatter(&mut image, mud(0.7, 0.0, 1.0), &mut rng(5));
    for (plane, level) in image.values.chunks(72).zip([63.0, 42.0, 20.0]) {
        assert!(plane.iter().all(|value| (value * 255.0 - level).abs() < 1e-3), "{plane:?}");
    }
    // On white the mud shows how much it covers, equally in every plane.
    let mut image = planes([128, 128], |_, _, _| 1.0);
    spatter(&mut image, mud(0.65, 0.3, 1.0), &mut rng(5));
    let cover = |channel: usize, level: f32| {
        let plane = image.values.chunks(128 * 128).nth(channel).unwrap_or_default();
        plane.iter().map(move |value| (1.0 - value) / (1.0 - level / 255.0)).collect::<Vec<f32>>()
    };
    let (red, blue) = (cover(0, 63.0), cover(2, 20.0));
    assert!(red.iter().zip(&blue).all(|(a, b)| (a - b).abs() < 1e-5));
    let least = red.iter().copied().filter(|cover| *cover > 1e-4).fold(1.0, f32::min);
    assert!((0.7999..0.81).contains(&least), "{least}");
}

#[test]
fn water_is_at_most_its_strength_of_its_colour() {
    let water = Spatter { mean: 0.65, std: 0.3, sigma: 2.0, threshold: 0.68, liquid: Liquid::Water(0.5) };
    let mut image = planes([64, 64], |_, _, _| 0.25);
    spatter(&mut image, water, &mut rng(6));
    for (plane, level) in image.values.chunks(64 * 64).zip([175.0, 238.0, 238.0]) {
        let most = plane.iter().copied().fold(0.0, f32::max);
        assert!((most - 0.25 - 0.5 * level / 255.0).abs() < 1e-5, "{most}");
        assert!(plane.contains(&0.25));
    }
}
