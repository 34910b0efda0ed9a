//! Input diversity (DI), Xie et al. 2019: the network receives an image that is resized and padded at random.
//!
//! As in `TransferAttack`, an image of side S is resized bilinearly to a random side from S up to but excluding
//! L = floor(`resize` S), padded with 0 to L at a random place, and resized back to S. All three steps are linear
//! and treat rows and columns separately. Together they are R x C^T, and a gradient g is pulled back as R^T g C.

use temper_core::{DType, prelude::*};

use crate::planes::between;

/// How often and how far images are resized.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Diversity {
    /// Probability that an image is resized.
    pub(crate) probability: f64,
    /// Largest side as a multiple of the image's.
    pub(crate) resize: f64,
}

/// One axis of one image: `size` pixels are resized to `resized` pixels, which start at `offset` among `padded` ones.
/// All are whole numbers.
#[derive(Debug, Clone, Copy)]
struct Axis {
    size: usize,
    resized: f64,
    offset: f64,
    padded: f64,
}

impl Axis {
    /// An axis that stays as it is.
    fn still(size: usize) -> Self {
        let side = size as f64;
        Self { size, resized: side, offset: 0.0, padded: side }
    }

    /// An axis that is resized up to `resize` times; `by` and `at` in [0, 1) choose the factor and the place of the
    /// padding. As in the reference, the image never ends where the padded one does.
    fn drawn(size: usize, resize: f64, by: f64, at: f64) -> Self {
        let side = size as f64;
        let padded = (side * resize).floor();
        let resized = side + (by * (padded - side)).floor();
        Self { size, resized, offset: (at * (padded - resized)).floor(), padded }
    }

    /// The two pixels of the padded axis from which pixel `i` of the result is interpolated: for each the place
    /// of the image to which it belongs, and its weight. The weight of padding is 0.
    fn taps(&self, i: usize) -> [(f64, f64); 2] {
        let side = self.size as f64;
        let source = ((i as f64 + 0.5) * self.padded / side - 0.5).max(0.0);
        let first = source.floor().min(self.padded - 1.0);
        let second = (first + 1.0).min(self.padded - 1.0);
        let share = source - first;
        [(first, 1.0 - share), (second, share)].map(|(place, weight)| {
            let place = place - self.offset;
            if !(0.0..self.resized).contains(&place) {
                return (0.0, 0.0);
            }
            let place = (place + 0.5) * side / self.resized - 0.5;
            (place.clamp(0.0, side - 1.0), weight)
        })
    }
}

/// The transformations of a batch of images.
#[derive(Debug)]
pub(crate) struct Resizing {
    /// R, `[n, h, h]`.
    rows: Tensor,
    /// C, `[n, w, w]`.
    columns: Tensor,
}

impl Diversity {
    /// Whether it ever changes an image.
    pub(crate) fn is_on(self) -> bool {
        self.probability > 0.0
    }

    /// Draws a transformation for each of `images`, `[n, c, h, w]`, with the identities `ids`. Both axes of an
    /// image are resized alike and padded independently.
    pub(crate) fn draw(self, images: &Tensor, ids: &[u64], rng: Rng) -> Result<Resizing> {
        let (_, _, h, w) = images.dims4()?;
        let draws = rng.named("diversity").uniform(ids, 4);
        let axes = draws.chunks_exact(4).map(|draws| {
            let unit = |i: usize| f64::midpoint(f64::from(draws[i]), 1.0);
            match unit(0) < self.probability {
                true => [(h, 2), (w, 3)].map(|(side, at)| Axis::drawn(side, self.resize, unit(1), unit(at))),
                false => [h, w].map(Axis::still),
            }
        });
        let (rows, columns): (Vec<Axis>, Vec<Axis>) = axes.map(|[row, column]| (row, column)).unzip();
        Ok(Resizing { rows: matrices(&rows, h, images)?, columns: matrices(&columns, w, images)? })
    }
}

impl Resizing {
    /// The transformed images.
    pub(crate) fn apply(&self, images: &Tensor) -> Result<Tensor> {
        between(&self.rows, images, &self.columns.transpose(1, 2)?)
    }

    /// The gradient at the images from that at the transformed ones.
    pub(crate) fn pull_back(&self, gradient: &Tensor) -> Result<Tensor> {
        between(&self.rows.transpose(1, 2)?, gradient, &self.columns)
    }
}

/// One matrix for each axis, `[n, size, size]`, with the type and device of `like`. Bilinear interpolation at place p
/// weighs pixel j by max(0, 1 - |p - j|); the entries are computed from this on the device.
fn matrices(axes: &[Axis], size: usize, like: &Tensor) -> Result<Tensor> {
    let dtype = if like.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    let pixels = Tensor::arange(0.0, size as f64, like.device())?.to_dtype(dtype)?.reshape((1, 1, size))?;
    let taps: Vec<[(f64, f64); 2]> = axes.iter().flat_map(|axis| (0..size).map(|i| axis.taps(i))).collect();
    let one = |tap: usize| -> Result<Tensor> {
        let column = |values: Vec<f64>| -> Result<Tensor> {
            Ok(Tensor::from_vec(values, (axes.len(), size, 1), like.device())?.to_dtype(dtype)?)
        };
        let places = column(taps.iter().map(|taps| taps[tap].0).collect())?;
        let weights = column(taps.iter().map(|taps| taps[tap].1).collect())?;
        let near = places.broadcast_sub(&pixels)?.abs()?.affine(-1.0, 1.0)?.relu()?;
        Ok(near.broadcast_mul(&weights)?)
    };
    Ok((one(0)? + one(1)?)?.to_dtype(like.dtype())?)
}

#[cfg(test)]
mod tests {
    use temper_core::Device;

    use super::*;

    const DIVERSITY: Diversity = Diversity { probability: 0.5, resize: 1.6 };

    /// Random images with negative values too.
    fn images(ids: &[u64], [c, h, w]: [usize; 3], name: &str) -> Tensor {
        let values = Rng::new(3, name).uniform(ids, c * h * w);
        Tensor::from_vec(values, (ids.len(), c, h, w), &Device::Cpu).unwrap().to_dtype(DType::F64).unwrap()
    }

    fn numbers(tensor: &Tensor) -> Vec<f64> {
        tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Bilinear resizing as torch defines it (`align_corners=False`), along the last axis of a row.
    fn resized(row: &[f64], size: usize) -> Vec<f64> {
        let ratio = row.len() as f64 / size as f64;
        (0..size)
            .map(|i| {
                let source = ((i as f64 + 0.5) * ratio - 0.5).max(0.0);
                let (first, share) = (source as usize, source.fract());
                let second = (first + 1).min(row.len() - 1);
                row[first] * (1.0 - share) + row[second] * share
            })
            .collect()
    }

    fn padded(row: &[f64], offset: usize, size: usize) -> Vec<f64> {
        (0..size).map(|i| i.checked_sub(offset).and_then(|i| row.get(i)).copied().unwrap_or(0.0)).collect()
    }

    #[test]
    fn a_matrix_resizes_pads_and_resizes_back() {
        for (size, large, resized_to, offset) in [(5, 8, 6, 1), (9, 14, 9, 4), (9, 14, 13, 0), (1, 3, 2, 0)] {
            let axis = Axis { size, resized: resized_to as f64, offset: offset as f64, padded: large as f64 };
            let row: Vec<f64> = (0..size).map(|i| ((i * 7 + 3) % 5) as f64 - 1.5).collect();
            let want = resized(&padded(&resized(&row, resized_to), offset, large), size);
            let like = Tensor::zeros(1, DType::F64, &Device::Cpu).unwrap();
            let matrix = matrices(&[axis], size, &like).unwrap().squeeze(0).unwrap();
            let column = Tensor::from_vec(row, (size, 1), &Device::Cpu).unwrap();
            let got = numbers(&matrix.matmul(&column).unwrap());
            assert!(
                got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-12),
                "{size}: {got:?}, not {want:?}"
            );
        }
    }

    #[test]
    fn axes_are_drawn_between_their_limits() {
        for (by, at, resized, offset) in
            [(0.0, 0.0, 20.0, 0.0), (0.999, 0.999, 21.0, 0.0), (0.0, 0.999, 20.0, 1.0)]
        {
            let axis = Axis::drawn(20, 1.1, by, at);
            assert_eq!((axis.padded, axis.resized, axis.offset), (22.0, resized, offset), "{by} {at}");
        }
        // Below 10 pixels a tenth is less than a pixel.
        let axis = Axis::drawn(9, 1.1, 0.9, 0.9);
        assert_eq!((axis.padded, axis.resized, axis.offset), (9.0, 9.0, 0.0));
        for size in [1, 5] {
            let huge = Axis::drawn(size, f64::MAX, 0.5, 0.5);
            assert!(
                (0..size).all(|i| huge.taps(i).iter().all(|(place, weight)| (place + weight).is_finite()))
            );
        }
    }

    /// <A x, y> = <x, A^T y>, for each image alone.
    #[test]
    fn the_gradient_goes_back_by_the_adjoint() {
        let ids: Vec<u64> = (0..12).collect();
        for shape in [[3, 8, 8], [2, 5, 9], [1, 1, 1]] {
            let (x, y) = (images(&ids, shape, "x"), images(&ids, shape, "y"));
            let resizing = DIVERSITY.draw(&x, &ids, Rng::new(0, "a")).unwrap();
            let product =
                |a: &Tensor, b: &Tensor| numbers(&(a * b).unwrap().flatten_from(1).unwrap().sum(1).unwrap());
            let there = product(&resizing.apply(&x).unwrap(), &y);
            let back = product(&x, &resizing.pull_back(&y).unwrap());
            let still = product(&x, &y);
            for (a, b) in there.iter().zip(&back) {
                assert!((a - b).abs() < 1e-10, "{there:?}, {back:?}");
            }
            // About half of the images are resized; one of a single pixel is not, as 1.6 is less than 2.
            let moved = there.iter().zip(&still).filter(|(a, b)| (*a - *b).abs() > 1e-6).count();
            assert!(if shape[1] == 1 { moved == 0 } else { (2..=10).contains(&moved) }, "{shape:?}: {moved}");
        }
    }

    /// Exact in f32: images that are not drawn stay as they are, and no image depends on others of the batch.
    #[test]
    fn images_are_transformed_each_on_its_own() {
        let ids: Vec<u64> = (20..28).collect();
        let rng = Rng::new(0, "a");
        for shape in [[3, 32, 32], [2, 5, 9]] {
            let x = images(&ids, shape, "x").to_dtype(DType::F32).unwrap();
            let resizing = DIVERSITY.draw(&x, &ids, rng).unwrap();
            let (all, back) = (resizing.apply(&x).unwrap(), resizing.pull_back(&x).unwrap());
            let mut still = 0;
            for (i, id) in ids.iter().enumerate() {
                let one = x.narrow(0, i, 1).unwrap();
                let alone = DIVERSITY.draw(&one, &[*id], rng).unwrap();
                let row = |rows: &Tensor| numbers(&rows.narrow(0, i, 1).unwrap());
                assert_eq!(row(&all), numbers(&alone.apply(&one).unwrap()), "{id}");
                assert_eq!(row(&back), numbers(&alone.pull_back(&one).unwrap()), "{id}");
                still += usize::from(row(&all) == numbers(&one));
            }
            assert!((1..8).contains(&still), "{still} of 8");
            let never = Diversity { probability: 0.0, ..DIVERSITY };
            assert_eq!(numbers(&never.draw(&x, &ids, rng).unwrap().apply(&x).unwrap()), numbers(&x));
        }
    }
}
