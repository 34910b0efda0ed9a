//! Converts rows of components to RGB: libjpeg's conversions, and for CMYK Pillow's.

/// The colour space of an image's components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    /// Grey.
    Grey,
    /// Red, green, blue.
    Rgb,
    /// Luma and two chroma components.
    Ycc,
    /// CMYK, inverted as Adobe writes it.
    Cmyk,
    /// YCCK: inverted CMYK whose first three components are stored as luma and chroma.
    Ycck,
}

impl Colour {
    /// Chosen as in libjpeg, from the identifiers of one, three or four components and the Adobe and JFIF
    /// markers.
    pub(super) fn new(ids: &[u8], adobe: Option<u8>, jfif: bool) -> Self {
        match (ids, adobe) {
            ([_], _) => Self::Grey,
            ([_, _, _], _) if jfif => Self::Ycc,
            ([_, _, _], Some(0)) | (b"RGB", None) => Self::Rgb,
            ([_, _, _], _) => Self::Ycc,
            (_, None | Some(0)) => Self::Cmyk,
            _ => Self::Ycck,
        }
    }

    /// Converts a row. The components' rows may be longer than those of the image.
    pub(super) fn convert(self, rows: &[&[u8]], rgb: [&mut [u8]; 3]) {
        match (self, rows) {
            (Self::Grey, [grey]) => {
                for out in rgb {
                    out.copy_from_slice(&grey[..out.len()]);
                }
            }
            (Self::Rgb, [_, _, _]) => {
                for (out, row) in rgb.into_iter().zip(rows) {
                    out.copy_from_slice(&row[..out.len()]);
                }
            }
            (Self::Ycc, [luma, blue, red]) => colours(luma, blue, red, rgb),
            (Self::Cmyk, [inks @ .., black]) => {
                for (out, ink) in rgb.into_iter().zip(inks) {
                    for ((out, ink), black) in out.iter_mut().zip(*ink).zip(*black) {
                        *out = over(255 - ink, *black);
                    }
                }
            }
            (Self::Ycck, [luma, blue, red, black]) => {
                let [r, g, b] = rgb;
                colours(luma, blue, red, [&mut *r, &mut *g, &mut *b]);
                for out in [r, g, b] {
                    for (out, black) in out.iter_mut().zip(*black) {
                        *out = over(*out, *black);
                    }
                }
            }
            _ => {}
        }
    }
}

/// The product of an ink and black, rounded as in Pillow.
fn over(ink: u8, light: u8) -> u8 {
    let taken = u32::from(ink) * u32::from(light) + 128;
    light.saturating_sub((((taken >> 8) + taken) >> 8) as u8)
}

/// A rounded product with chroma. `factor` has 16 fractional bits.
fn share(factor: i16, chroma: i16) -> i16 {
    ((i32::from(factor) * i32::from(chroma) + 0x8000) >> 16) as i16
}

/// Luma and chroma as RGB. The factors are 1.402, 0.34414, 0.71414 and 1.772; their integer parts are
/// separate so that 16 bits hold the fractions.
fn colours(luma: &[u8], blue: &[u8], red: &[u8], [r, g, b]: [&mut [u8]; 3]) {
    let cut = |value: i16| value.clamp(0, 255) as u8;
    let pixels = r.iter_mut().zip(g).zip(b).zip(luma.iter().zip(blue).zip(red));
    for (((r, g), b), ((luma, blue), red)) in pixels {
        let (luma, blue, red) = (i16::from(*luma), i16::from(*blue) - 128, i16::from(*red) - 128);
        let both = i32::from(blue) * -22554 + i32::from(red) * 18734;
        *r = cut(luma + red + share(26345, red));
        *g = cut(luma - red + ((both + 0x8000) >> 16) as i16);
        *b = cut(luma + 2 * blue + share(-14942, blue));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixel(colour: Colour, components: &[u8]) -> [u8; 3] {
        let rows: Vec<&[u8]> = components.chunks(1).collect();
        let [mut r, mut g, mut b] = [0; 3];
        colour.convert(&rows, [&mut r, &mut g, &mut b].map(std::slice::from_mut));
        [r, g, b]
    }

    #[test]
    fn colours_are_those_of_the_definition_within_rounding() {
        for luma in (0..=255).step_by(15) {
            for blue in 0..=255 {
                for red in (0..=255).step_by(3) {
                    let (y, cb, cr) = (f64::from(luma), f64::from(blue) - 128.0, f64::from(red) - 128.0);
                    let wanted = [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb];
                    for (got, wanted) in pixel(Colour::Ycc, &[luma, blue, red]).iter().zip(wanted) {
                        assert!(
                            (f64::from(*got) - wanted.clamp(0.0, 255.0)).abs() < 0.51,
                            "{luma} {blue} {red}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn inks_are_inverted() {
        assert_eq!(pixel(Colour::Cmyk, &[255, 0, 128, 255]), [255, 0, 128]);
        assert_eq!(pixel(Colour::Cmyk, &[255, 0, 128, 0]), [0; 3]);
        // Luma and chroma encode the inks: white is no ink.
        assert_eq!(pixel(Colour::Ycck, &[0, 128, 128, 200]), [200; 3]);
        assert_eq!(pixel(Colour::Ycck, &[255, 128, 128, 200]), [0; 3]);
    }

    #[test]
    fn what_components_are_is_guessed_as_libjpeg_does() {
        assert_eq!(Colour::new(&[7], Some(2), false), Colour::Grey);
        assert_eq!(Colour::new(b"RGB", Some(0), true), Colour::Ycc);
        assert_eq!(Colour::new(b"RGB", None, false), Colour::Rgb);
        assert_eq!(Colour::new(b"RGB", Some(1), false), Colour::Ycc);
        assert_eq!(Colour::new(&[1, 2, 3], Some(0), false), Colour::Rgb);
        assert_eq!(Colour::new(&[0, 1, 2], None, false), Colour::Ycc);
        assert_eq!(Colour::new(&[1, 2, 3, 4], Some(0), false), Colour::Cmyk);
        assert_eq!(Colour::new(&[1, 2, 3, 4], None, true), Colour::Cmyk);
        assert_eq!(Colour::new(&[1, 2, 3, 4], Some(2), false), Colour::Ycck);
    }
}
