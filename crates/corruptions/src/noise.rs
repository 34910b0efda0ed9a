//! Noise corruptions, independent for each value.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Poisson, StandardNormal};

use crate::planes::Planes;

/// `x + N(0, std)`.
pub(crate) fn gaussian(planes: &mut Planes, std: f32, rng: &mut ChaCha8Rng) {
    for value in &mut planes.values {
        *value += std * rng.sample::<f32, _>(StandardNormal);
    }
}

/// `Poisson(x photons) / photons`; with infinitely many photons the image itself.
pub(crate) fn shot(planes: &mut Planes, photons: f32, rng: &mut ChaCha8Rng) {
    for value in &mut planes.values {
        // The distribution does not exist with mean 0 or infinity, and is not needed there.
        if let Ok(distribution) = Poisson::new(f64::from(*value * photons)) {
            *value = (rng.sample(distribution) / f64::from(photons)) as f32;
        }
    }
}

/// A share of the values (not of the pixels) becomes 0 or 1, half of it each.
pub(crate) fn impulse(planes: &mut Planes, share: f32, rng: &mut ChaCha8Rng) {
    for value in &mut planes.values {
        if rng.random::<f32>() < share {
            *value = f32::from(u8::from(rng.random::<bool>()));
        }
    }
}

/// `x + x N(0, std)`.
pub(crate) fn speckle(planes: &mut Planes, std: f32, rng: &mut ChaCha8Rng) {
    for value in &mut planes.values {
        *value += *value * std * rng.sample::<f32, _>(StandardNormal);
    }
}
