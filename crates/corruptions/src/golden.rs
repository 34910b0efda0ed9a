//! Tests against Pillow, `SciPy` and Python's colorsys; `golden/images.py` made the golden values.

use safetensors::SafeTensors;
use temper_data::Image;

use crate::blur::disk;
use crate::frost::Frost;
use crate::generator::Generator;
use crate::parameters::{Parameters, Strength};
use crate::planes::Planes;

const GOLDEN: &[u8] = include_bytes!("../golden/golden.safetensors");

/// A stored image.
pub(crate) fn image(name: &str) -> Image {
    let tensors = SafeTensors::deserialize(GOLDEN).unwrap();
    let tensor = tensors.tensor(name).unwrap();
    Image::of_bytes(tensor.shape().try_into().unwrap(), tensor.data().to_vec())
}

/// All stored images of corruptions whose names have this prefix: the stored image, and ours with the same
/// parameters.
fn pairs(kind: &str, strength: impl Fn(&[f32]) -> Strength) -> Vec<(String, Image, Image)> {
    let tensors = SafeTensors::deserialize(GOLDEN).unwrap();
    let generator = Generator::new(Parameters::Cifar, 0, Frost::none());
    let mut rng = temper_data::Rng::new(0, "golden").sample(0);
    let mut pairs = vec![];
    for name in tensors.names().into_iter().filter(|name| name.starts_with(kind)) {
        let (what, clean) = name.split_once('/').unwrap();
        let parameters: Vec<f32> = what.split('-').skip(1).map(|number| number.parse().unwrap()).collect();
        let mut planes = Planes::new(&image(clean));
        generator.apply(&mut planes, strength(&parameters), &mut rng);
        pairs.push((name.to_string(), image(name), planes.image()));
    }
    assert!(pairs.len() >= 4, "{kind}: {} pairs", pairs.len());
    pairs
}

/// The largest difference in levels, and the share of values that differ.
fn difference(a: &Image, b: &Image) -> (u8, f64) {
    assert_eq!(a.shape, b.shape);
    let (a, b) = (a.bytes(), b.bytes());
    let differences = || a.iter().zip(&*b).map(|(a, b)| a.abs_diff(*b));
    let odd = differences().filter(|difference| *difference > 0).count();
    (differences().max().unwrap(), odd as f64 / a.len() as f64)
}

/// A few values between two levels may be rounded differently in single precision.
fn all_but_rounding(kind: &str, strength: impl Fn(&[f32]) -> Strength) {
    for (name, wanted, got) in pairs(kind, strength) {
        let (most, share) = difference(&wanted, &got);
        assert!(most <= 1 && share < 0.005, "{name}: up to {most} levels, {share} of the values");
    }
}

#[test]
fn gaussian_blur_is_that_of_scipy() {
    all_but_rounding("gaussian_blur", |p| Strength::GaussianBlur { sigma: p[0] });
}

#[test]
fn defocus_blur_is_a_correlation_with_the_disk() {
    all_but_rounding("defocus_blur", |p| Strength::DefocusBlur { radius: p[0], alias: p[1] });
    let tensors = SafeTensors::deserialize(GOLDEN).unwrap();
    for (radius, alias) in [(0.3, 0.4), (1.5, 0.1), (3.0, 0.1), (8.0, 0.5), (10.0, 0.5)] {
        let (kernel, tensor) =
            (disk(radius, alias), tensors.tensor(&format!("disk-{radius:?}-{alias:?}")).unwrap());
        assert_eq!(kernel.size, tensor.shape());
        for (got, wanted) in kernel.weights.iter().zip(tensor.data().as_chunks::<4>().0) {
            assert!((got - f32::from_le_bytes(*wanted)).abs() < 1e-6, "{radius} {alias}");
        }
    }
}

#[test]
fn zoom_blur_is_a_mean_of_scipys_zooms() {
    let counts = |stop: f32| match stop {
        1.06 => 7,
        1.26 => 26,
        1.31 => 11,
        other => panic!("{other}"),
    };
    let step = |step: f32| if step == 0.01 { 0.01 } else { 0.03 };
    all_but_rounding("zoom_blur", |p| Strength::ZoomBlur { count: counts(p[0]), step: step(p[1]) });
}

#[test]
fn colours_are_those_of_hsv() {
    all_but_rounding("contrast", |p| Strength::Contrast { factor: p[0] });
    all_but_rounding("brightness", |p| Strength::Brightness { more: p[0] });
    all_but_rounding("saturate", |p| Strength::Saturate { times: p[0], plus: p[1] });
}

#[test]
fn pixelate_is_pillows_to_the_bit() {
    let scales = [0.95, 0.65, 0.25];
    let exact = |scale: f32| scales.into_iter().find(|exact| *exact as f32 == scale).unwrap();
    for (name, wanted, got) in pairs("pixelate", |p| Strength::Pixelate { scale: exact(p[0]) }) {
        assert_eq!(difference(&wanted, &got), (0, 0.0), "{name}");
    }
}

#[test]
fn jpeg_is_pillows_to_the_bit() {
    for (name, wanted, got) in pairs("jpeg", |p| Strength::JpegCompression { quality: p[0] as u16 }) {
        assert_eq!(difference(&wanted, &got), (0, 0.0), "{name}");
    }
}
