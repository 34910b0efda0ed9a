//! Conversion of adversarial images to 8 bits per value, inside their balls.

use temper_core::{Norm, TOLERANCE};
use temper_data::nearest_byte;

/// How far an image may be from the clean one.
#[derive(Debug, Clone, Copy)]
pub(super) struct ByteBall {
    pub(super) norm: Norm,
    /// In pixel values of [0, 1].
    pub(super) radius: f64,
}

impl ByteBall {
    /// The largest accepted distance: the radius and a tolerance for rounding. For l2 the tolerance grows with the
    /// radius, because rounding errors of l2 distances are proportional to their size.
    fn farthest(self) -> f64 {
        match self.norm {
            Norm::Linf => self.radius + TOLERANCE,
            Norm::L2 => self.radius * (1.0 + TOLERANCE) + TOLERANCE,
        }
    }
}

/// Converts the clean and the adversarial image, both `[c, h, w]` in [0, 1], to bytes. The clean image is rounded to
/// the nearest bytes; values of the form byte / 255 do not change. The ball is centred on the rounded image. The
/// adversarial image is rounded to the nearest bytes, too. If the result lies outside the ball, it is rounded towards
/// the clean image instead: for l-inf only the values outside, for l2 all values. If that is still too far for l2,
/// the offsets are first scaled to the radius, then rounded towards the clean image.
pub(super) fn bytes(clean: &[f32], adversarial: &[f32], ball: ByteBall) -> (Vec<u8>, Vec<u8>) {
    let ByteBall { norm, radius } = ball;
    let centre: Vec<f64> = clean.iter().map(|value| f64::from(nearest_byte(*value))).collect();
    let offsets: Vec<f64> =
        adversarial.iter().zip(&centre).map(|(value, centre)| f64::from(*value) * 255.0 - centre).collect();
    let most = (radius + TOLERANCE) * 255.0;
    let near = |offset: &f64| -> f64 {
        let nearest = offset.round();
        let leaves = norm == Norm::Linf && nearest.abs() > most;
        if leaves { offset.clamp(-most, most).trunc() } else { nearest }
    };
    let mut whole: Vec<f64> = offsets.iter().map(near).collect();
    let leaves = |whole: &[f64]| length(whole.iter().map(|offset| offset / 255.0)) > ball.farthest();
    if norm == Norm::L2 && leaves(&whole) {
        whole = offsets.iter().map(|offset| offset.trunc()).collect();
        if leaves(&whole) {
            let closer = radius * 255.0 / length(offsets.iter().copied());
            whole = offsets.iter().map(|offset| (offset * closer).trunc()).collect();
        }
    }
    let byte = |value: f64| value.clamp(0.0, 255.0) as u8;
    let moved = centre.iter().zip(&whole).map(|(centre, offset)| byte(centre + offset)).collect();
    (centre.iter().map(|value| byte(*value)).collect(), moved)
}

/// Why an image lies outside its ball around the clean image or outside [0, 1]; `None` if it lies in both.
pub(super) fn leaves(clean: &[f32], image: &[f32], ball: ByteBall) -> Option<String> {
    if let Some(value) = image.iter().find(|value| !(0.0..=1.0).contains(*value)) {
        return Some(format!("a pixel value of {value}, outside [0, 1]"));
    }
    let offsets = image.iter().zip(clean).map(|(value, clean)| f64::from(*value) - f64::from(*clean));
    let ByteBall { norm, radius } = ball;
    let distance = match norm {
        Norm::Linf => offsets.fold(0.0f64, |most, offset| most.max(offset.abs())),
        Norm::L2 => length(offsets),
    };
    (distance > ball.farthest())
        .then(|| format!("at {norm} distance {distance} from the clean image, but the radius is {radius}"))
}

fn length(offsets: impl Iterator<Item = f64>) -> f64 {
    offsets.map(|offset| offset * offset).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use temper_core::Rng;

    use super::*;

    fn of_255(values: &[f64]) -> Vec<f32> {
        values.iter().map(|value| (value / 255.0) as f32).collect()
    }

    #[test]
    fn the_nearest_byte_is_taken_unless_it_leaves_the_ball() {
        // The offset 7.6 rounds to 8, which is inside the radius of 8 but outside the radius of 7.7.
        let (clean, image) = (of_255(&[100.0, 100.0, 2.0]), of_255(&[107.6, 92.6, 0.4]));
        assert_eq!(bytes(&clean, &image, ByteBall { norm: Norm::Linf, radius: 8.0 / 255.0 }).1, [108, 93, 0]);
        assert_eq!(bytes(&clean, &image, ByteBall { norm: Norm::Linf, radius: 7.7 / 255.0 }).1, [107, 93, 0]);
        // Less than half a level rounds to no change.
        let small = of_255(&[100.3, 99.7, 2.3]);
        let (centre, nothing) = bytes(&clean, &small, ByteBall { norm: Norm::Linf, radius: 0.3 / 255.0 });
        assert_eq!((centre.clone(), nothing), (vec![100, 100, 2], centre));
        // If the nearest bytes lie outside an l2 ball, all values are rounded towards the clean image: (0.6, 0.8) has
        // norm 1, (1, 1) does not.
        let diagonal = of_255(&[100.6, 100.8, 2.0]);
        assert_eq!(
            bytes(&clean, &diagonal, ByteBall { norm: Norm::L2, radius: 1.0 / 255.0 }).1,
            [100, 100, 2]
        );
        assert_eq!(
            bytes(&clean, &diagonal, ByteBall { norm: Norm::L2, radius: 1.5 / 255.0 }).1,
            [101, 101, 2]
        );
    }

    /// An image in the ball around `clean`, moved along `way`, whose values are between -1 and 1.
    fn within(ByteBall { norm, radius }: ByteBall, clean: &[f32], way: &[f32]) -> Vec<f32> {
        let scale = match norm {
            Norm::Linf => radius,
            Norm::L2 => radius / length(way.iter().map(|v| f64::from(*v))),
        };
        let moved = |(c, v): (&f32, &f32)| (f64::from(*c) + scale * f64::from(*v)).clamp(0.0, 1.0) as f32;
        clean.iter().zip(way).map(moved).collect()
    }

    #[test]
    fn bytes_are_inside_whatever_the_ball() {
        let ids: Vec<u64> = (0..200).collect();
        let draws = Rng::new(3, "bytes").uniform(&ids, 24);
        for (row, draw) in draws.chunks_exact(24).enumerate() {
            let clean: Vec<f32> = draw[..12].iter().map(|v| ((v + 1.0) * 127.5).round() / 255.0).collect();
            for norm in [Norm::Linf, Norm::L2] {
                let radius = (row as f64 + 0.5) / 1000.0;
                let ball = ByteBall { norm, radius };
                let image = within(ball, &clean, &draw[12..]);
                assert_eq!(leaves(&clean, &image, ball), None);
                let (centre, moved) = bytes(&clean, &image, ball);
                let read =
                    |bytes: &[u8]| -> Vec<f32> { bytes.iter().map(|b| f32::from(*b) / 255.0).collect() };
                assert_eq!(read(&centre), clean);
                assert_eq!(leaves(&clean, &read(&moved), ball), None, "{norm} {radius}");
            }
        }
    }

    #[test]
    fn around_images_between_bytes_the_ball_is_that_of_the_nearest_bytes() {
        let ids: Vec<u64> = (0..200).collect();
        let draws = Rng::new(4, "bytes between").uniform(&ids, 24);
        for (row, draw) in draws.chunks_exact(24).enumerate() {
            let clean: Vec<f32> = draw[..12].iter().map(|v| f32::midpoint(*v, 1.0)).collect();
            for norm in [Norm::Linf, Norm::L2] {
                let radius = (row as f64 + 0.5) / 1000.0;
                let ball = ByteBall { norm, radius };
                let image = within(ball, &clean, &draw[12..]);
                let [centre, moved] = <[_; 2]>::from(bytes(&clean, &image, ball))
                    .map(|bytes| bytes.iter().map(|b| f32::from(*b) / 255.0).collect::<Vec<_>>());
                let half = ByteBall { norm: Norm::Linf, radius: 0.5 / 255.0 };
                assert_eq!(leaves(&clean, &centre, half), None);
                assert_eq!(leaves(&centre, &moved, ball), None, "{norm} {radius}");
            }
        }
    }

    #[test]
    fn what_leaves_its_ball_is_told() {
        let clean = [0.5f32, 0.5];
        let said = |image: [f32; 2], norm| leaves(&clean, &image, ByteBall { norm, radius: 0.1 });
        assert_eq!(said([0.6, 0.4], Norm::Linf), None);
        assert!(said([0.6, 0.4], Norm::L2).unwrap().starts_with("at l2 distance 0.1414"));
        assert!(said([0.7, 0.5], Norm::Linf).unwrap().ends_with("but the radius is 0.1"));
        assert_eq!(said([-0.1, 0.5], Norm::Linf).unwrap(), "a pixel value of -0.1, outside [0, 1]");
        assert!(said([f32::NAN, 0.5], Norm::Linf).is_some());
    }
}
