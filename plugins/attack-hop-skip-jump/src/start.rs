//! Misclassified random images to start from.

use temper_core::prelude::*;

use crate::front::Front;

/// For each sample the first misclassified one of at most `draws` random images, or else the clean image,
/// `[remaining, c, h, w]`; and whether a misclassified one was found.
pub(crate) fn images(front: &mut Front, draws: usize, rng: &Rng) -> Result<(Tensor, Vec<bool>)> {
    let (mut far, mut found) = (front.image().clone(), vec![false; front.len()]);
    for draw in 0..draws {
        let open = front.able(&found.iter().map(|found| !found).collect::<Vec<_>>());
        if !open.contains(&true) {
            break;
        }
        let ids = rows::kept(front.ids(), &open);
        let noise = rows::replace(&far, &noise(&far, &ids, draw, rng)?, &open)?;
        let broken = front.ask(&noise, &open)?;
        far = rows::choose(&broken, &noise, &far)?;
        found.iter_mut().zip(&broken).for_each(|(found, broken)| *found |= broken);
    }
    Ok((far, found))
}

/// Uniform values of [0, 1] for the samples `ids`, as images like those of `like`. One value fills a square. Its side
/// is 1 pixel in draw 0, then 2, 4, ... up to the whole image, then 1 again.
fn noise(like: &Tensor, ids: &[u64], draw: usize, rng: &Rng) -> Result<Tensor> {
    let (_, c, h, w) = like.dims4()?;
    let sizes = h.max(w).next_power_of_two().ilog2() as usize + 1;
    let side = 1 << (draw % sizes);
    let drawn = rng.numbered(draw as u64).uniform(ids, c * h * w);
    let mut values = Vec::with_capacity(drawn.len());
    for channel in drawn.chunks(h * w) {
        for y in 0..h {
            let row = y / side * side * w;
            // From [-1, 1) to [0, 1).
            values.extend((0..w).map(|x| f32::midpoint(channel[row + x / side * side], 1.0)));
        }
    }
    Ok(Tensor::from_vec(values, (ids.len(), c, h, w), like.device())?.to_dtype(like.dtype())?)
}
