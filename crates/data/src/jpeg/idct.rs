//! The inverse cosine transform of libjpeg-turbo ("islow", vectorised), bit for bit.

/// Fractional bits of the constants.
const BITS: u32 = 13;
/// Fractional bits after the first pass.
const BETWEEN: u32 = 2;

/// The constants, rounded to `BITS`.
const F_0_298: i32 = 2446;
const F_0_390: i32 = 3196;
const F_0_541: i32 = 4433;
const F_0_765: i32 = 6270;
const F_0_899: i32 = 7373;
const F_1_175: i32 = 9633;
const F_1_501: i32 = 12299;
const F_1_847: i32 = 15137;
const F_1_961: i32 = 16069;
const F_2_053: i32 = 16819;
const F_2_562: i32 = 20995;
const F_3_072: i32 = 25172;

/// Eight lanes of eight values, indexed by value, then lane.
pub(super) type Block = [[i16; 8]; 8];

/// The transform along the first index in each of eight lanes. Sums of two inputs wrap and results are
/// truncated as in libjpeg-turbo. This matters only for files that no encoder makes; everything else fits in
/// 32 bits.
#[inline]
fn pass<const SHIFT: u32>(input: &Block) -> Block {
    let mut output = [[0; 8]; 8];
    for lane in 0..8 {
        let at = |line: usize| i32::from(input[line][lane]);
        let sum = |a: usize, b: usize| i32::from(input[a][lane].wrapping_add(input[b][lane]));
        let low = sum(0, 4) << BITS;
        let high = i32::from(input[0][lane].wrapping_sub(input[4][lane])) << BITS;
        let outer = at(2) * (F_0_541 + F_0_765) + at(6) * F_0_541;
        let inner = at(2) * F_0_541 + at(6) * (F_0_541 - F_1_847);
        let even = [low + outer, high + inner, high - inner, low - outer];

        let (three, four) = (sum(7, 3), sum(5, 1));
        let z3 = three * (F_1_175 - F_1_961) + four * F_1_175;
        let z4 = three * F_1_175 + four * (F_1_175 - F_0_390);
        let odd = [
            at(1) * (F_1_501 - F_0_899) - at(7) * F_0_899 + z4,
            at(3) * (F_3_072 - F_2_562) - at(5) * F_2_562 + z3,
            at(5) * (F_2_053 - F_2_562) - at(3) * F_2_562 + z4,
            at(7) * (F_0_298 - F_0_899) - at(1) * F_0_899 + z3,
        ];
        let round = |sum: i32| ((sum + (1 << (SHIFT - 1))) >> SHIFT).clamp(-0x8000, 0x7fff) as i16;
        for line in 0..4 {
            output[line][lane] = round(even[line] + odd[line]);
            output[7 - line][lane] = round(even[line] - odd[line]);
        }
    }
    output
}

#[inline]
fn transposed(block: &Block) -> Block {
    let mut turned = [[0; 8]; 8];
    for (y, line) in block.iter().enumerate() {
        for (x, value) in line.iter().enumerate() {
            turned[x][y] = *value;
        }
    }
    turned
}

/// Transforms a block of coefficients (by vertical, then horizontal frequency) into `samples`, whose rows are
/// `stride` apart.
pub(super) fn inverse(coefficients: &Block, samples: &mut [u8], stride: usize) {
    let columns = pass::<{ BITS - BETWEEN }>(coefficients);
    let rows = transposed(&pass::<{ BITS + BETWEEN + 3 }>(&transposed(&columns)));
    for (row, line) in rows.iter().zip(samples.chunks_mut(stride)) {
        for (sample, value) in line.iter_mut().zip(row) {
            *sample = ((*value).clamp(-128, 127) + 128) as u8;
        }
    }
}

/// The same for a block with only a DC coefficient.
pub(super) fn flat(mean: i16, samples: &mut [u8], stride: usize) {
    let value = ((i32::from(mean) + 4) >> 3).clamp(-128, 127) + 128;
    for line in samples.chunks_mut(stride).take(8) {
        line.iter_mut().take(8).for_each(|sample| *sample = value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(coefficients: &Block) -> [u8; 64] {
        let mut samples = [0; 64];
        inverse(coefficients, &mut samples, 8);
        samples
    }

    /// The definition, in double precision.
    fn defined(coefficients: &Block) -> [f64; 64] {
        let mut samples = [0.0; 64];
        for (i, sample) in samples.iter_mut().enumerate() {
            for (v, line) in coefficients.iter().enumerate() {
                for (u, value) in line.iter().enumerate() {
                    let wave = |at: usize, frequency: usize| {
                        let angle = (2 * at + 1) as f64 * frequency as f64 * std::f64::consts::PI / 16.0;
                        angle.cos() * if frequency == 0 { 0.5_f64.sqrt() } else { 1.0 }
                    };
                    *sample += f64::from(*value) / 4.0 * wave(i / 8, v) * wave(i % 8, u);
                }
            }
            *sample = (*sample + 128.0).clamp(0.0, 255.0);
        }
        samples
    }

    #[test]
    fn samples_are_those_of_the_definition_within_rounding() {
        let mut rng = crate::Rng::new(5, "idct").uniform(&[0], 64 * 200).into_iter();
        for size in 0..200 {
            let mut block = Block::default();
            for value in block.as_flattened_mut() {
                *value = ((rng.next().unwrap() - 0.5) * (size * 3) as f32) as i16;
            }
            for (got, wanted) in samples(&block).iter().zip(defined(&block)) {
                assert!((f64::from(*got) - wanted).abs() < 0.75, "{got} {wanted}");
            }
        }
    }

    #[test]
    fn flat_blocks_are_the_same_either_way() {
        for mean in -1100..1100 {
            let mut block = Block::default();
            block[0][0] = mean;
            let mut got = [0; 64];
            flat(mean, &mut got, 8);
            assert_eq!(got, samples(&block), "{mean}");
        }
    }

    #[test]
    fn coefficients_that_no_encoder_makes_are_no_panic() {
        for value in [i16::MIN, i16::MAX] {
            for sign in [1, -1] {
                let mut block = Block::default();
                for (i, each) in block.as_flattened_mut().iter_mut().enumerate() {
                    *each = if i % 3 == 0 { value } else { value.wrapping_mul(sign) };
                }
                samples(&block);
            }
        }
    }
}
