//! Colour corruptions, which change each pixel independently of its position.
//!
//! Operations in HSV are written as operations on a channel `c` of a pixel with value `V` (its largest
//! channel) and saturation `S`: `c = V (1 - S k)`, where `k`, from 0 to 1, depends only on the hue and the
//! channel.

use crate::planes::Planes;

/// `V + more` in HSV, at most 1. The value of a grey image is its one channel.
pub(crate) fn brightness(planes: &mut Planes, more: f32) {
    pixels(planes, |pixel| {
        let value = largest(pixel);
        let brighter = (value + more).clamp(0.0, 1.0);
        // Black has no hue and saturation: it becomes grey.
        for c in pixel {
            *c = if value > 0.0 { *c / value * brighter } else { brighter };
        }
    });
}

/// Contrast: `(x - mean) factor + mean` with the mean of each channel.
pub(crate) fn contrast(planes: &mut Planes, factor: f32) {
    for plane in planes.each() {
        let mean = plane.iter().map(|value| f64::from(*value)).sum::<f64>() / plane.len() as f64;
        let mean = mean as f32;
        for value in plane {
            *value = (*value - mean) * factor + mean;
        }
    }
}

/// Saturation: `S times + plus` in HSV, clamped to [0, 1]. Grey pixels of an RGB image have the hue of red,
/// which `plus` makes visible, as in the published files. Grey images have no saturation and stay unchanged.
pub(crate) fn saturate(planes: &mut Planes, times: f32, plus: f32) {
    if planes.channels == 1 {
        return;
    }
    pixels(planes, |pixel| {
        let value = largest(pixel);
        let range = value - pixel.iter().fold(f32::INFINITY, |least, c| least.min(*c));
        let saturation = if value > 0.0 { range / value } else { 0.0 };
        let saturated = (saturation * times + plus).clamp(0.0, 1.0);
        for (channel, c) in pixel.iter_mut().enumerate() {
            let hue = if range > 0.0 { (value - *c) / range } else { f32::from(u8::from(channel > 0)) };
            *c = value * (1.0 - saturated * hue);
        }
    });
}

fn largest(pixel: &[f32]) -> f32 {
    pixel.iter().fold(0.0, |most, c| most.max(*c))
}

/// Changes each pixel.
fn pixels(planes: &mut Planes, change: impl Fn(&mut [f32])) {
    let (area, channels) = (planes.area(), planes.channels);
    let mut pixel = vec![0.0; channels];
    for at in 0..area {
        for (c, value) in pixel.iter_mut().enumerate() {
            *value = planes.values[c * area + at];
        }
        change(&mut pixel);
        for (c, value) in pixel.iter().enumerate() {
            planes.values[c * area + at] = *value;
        }
    }
}
