//! A figure after layout: marks on a sheet, independent of the output format.

use plotters::backend::{BitMapBackend, DrawingBackend, RGBPixel};
use plotters_backend::{BackendColor, BackendCoord, BackendStyle, DrawingErrorKind};

use super::image::{self, FigureImage};
use super::lettering::{Align, Lettering, TextSetting};
use super::palette::Color;
use super::{FigureError, svg};

/// Pixels of a PNG per unit of length.
const SHARPNESS: usize = 2;
/// Supersampling: each pixel of a PNG is the mean of a square with this side, because plotters does not
/// antialias.
const SMOOTHNESS: usize = 2;
/// Maximum length of a sheet in units.
const LONGEST: f64 = 3000.0;

/// A position, in units from the upper left corner.
pub(super) type At = [f64; 2];

/// The marks of a sheet; later marks cover earlier ones, and images cover all.
#[derive(Debug, Clone)]
pub(super) enum Mark {
    Path {
        points: Vec<At>,
        width: f64,
        color: Color,
    },
    Polygon {
        points: Vec<At>,
        color: Color,
    },
    Rectangle {
        corner: At,
        size: [f64; 2],
        color: Color,
    },
    Disc {
        center: At,
        radius: f64,
        color: Color,
    },
    Text {
        text: String,
        at: At,
        em: f64,
        color: Color,
        align: Align,
        upward: bool,
    },
    Picture {
        image: FigureImage,
        corner: At,
        size: [f64; 2],
    },
    /// Text that a browser shows while the pointer is over this rectangle.
    Hover {
        corner: At,
        size: [f64; 2],
        text: String,
    },
}

/// A figure that is laid out.
#[derive(Debug, Clone)]
pub struct Drawing {
    /// Width and height.
    size: [f64; 2],
    /// A description for people who cannot see the figure.
    pub(super) describes: String,
    pub(super) marks: Vec<Mark>,
    pub(super) lettering: Lettering,
}

impl Drawing {
    /// An empty sheet of the common width. Its height is set last.
    pub(super) fn new(describes: String) -> Result<Self, FigureError> {
        Ok(Self { size: [Self::WIDTH, 0.0], describes, marks: vec![], lettering: Lettering::new()? })
    }

    /// Width in units, about that of a page's text.
    pub(super) const WIDTH: f64 = 720.0;

    /// Width and height in the units of its SVG, CSS pixels.
    pub fn size(&self) -> [u32; 2] {
        self.size.map(|side| side as u32)
    }

    /// Sets the height of the sheet.
    pub(super) fn with_height(mut self, height: f64) -> Result<Self, FigureError> {
        if !(1.0..=LONGEST).contains(&height) {
            return Err(FigureError::unfit(format!(
                "the figure would be {height:.0} units high, at most {LONGEST} are drawn: divide it into several"
            )));
        }
        self.size[1] = height.ceil();
        Ok(self)
    }

    /// A line through two or more points.
    pub(super) fn path(&mut self, points: Vec<At>, width: f64, color: Color) {
        self.marks.push(Mark::Path { points, width, color });
    }

    /// A filled polygon.
    pub(super) fn polygon(&mut self, points: Vec<At>, color: Color) {
        self.marks.push(Mark::Polygon { points, color });
    }

    /// A filled rectangle, from its upper left corner.
    pub(super) fn rectangle(&mut self, corner: At, size: [f64; 2], color: Color) {
        self.marks.push(Mark::Rectangle { corner, size, color });
    }

    /// A filled circle.
    pub(super) fn disc(&mut self, center: At, radius: f64, color: Color) {
        self.marks.push(Mark::Disc { center, radius, color });
    }

    /// Text on a line with this vertical centre. Characters that XML does not allow become spaces.
    pub(super) fn text(&mut self, text: &str, at: At, em: f64, color: Color, align: Align) {
        let (text, upward) = (printable(text), false);
        self.marks.push(Mark::Text { text, at, em, color, align, upward });
    }

    /// Vertical text that reads upwards, centred at a position or starting there.
    pub(super) fn upward(&mut self, text: &str, at: At, em: f64, color: Color, align: Align) {
        let (text, upward) = (printable(text), true);
        self.marks.push(Mark::Text { text, at, em, color, align, upward });
    }

    /// An image whose pixels are drawn as squares.
    pub(super) fn picture(&mut self, image: &FigureImage, corner: At, size: [f64; 2]) {
        self.marks.push(Mark::Picture { image: image.clone(), corner, size });
    }

    /// Text that a browser shows while the pointer is over a rectangle. PNG files do not have it.
    pub(super) fn hover(&mut self, corner: At, size: [f64; 2], text: impl AsRef<str>) {
        self.marks.push(Mark::Hover { corner, size, text: printable(text.as_ref()) });
    }

    /// Width of a text in units.
    pub(super) fn width(&self, text: &str, em: f64) -> f64 {
        self.lettering.width(text, em)
    }

    /// Draws all marks except images and texts for the pointer, with this number of backend pixels per unit.
    pub(super) fn render<B: DrawingBackend>(&self, backend: &mut B, scale: f64) -> Result<(), FigureError> {
        let place = |at: &At| (length(at[0], scale), length(at[1], scale));
        for mark in &self.marks {
            let done = match mark {
                Mark::Path { points, width, color } => {
                    let stroke = Stroke { color: *color, width: length(*width, scale).max(1) as u32 };
                    // Two equal points have no direction, and plotters would draw a corner.
                    let mut points: Vec<BackendCoord> = points.iter().map(place).collect();
                    points.dedup();
                    if points.len() < 2 {
                        continue;
                    }
                    backend.draw_path(points, &stroke)
                }
                Mark::Polygon { points, color } => {
                    backend.fill_polygon(points.iter().map(place), &Stroke::fill(*color))
                }
                Mark::Rectangle { corner: [x, y], size: [width, height], color } => backend.draw_rect(
                    place(&[*x, *y]),
                    place(&[x + width, y + height]),
                    &Stroke::fill(*color),
                    true,
                ),
                Mark::Disc { center, radius, color } => backend.draw_circle(
                    place(center),
                    length(*radius, scale) as u32,
                    &Stroke::fill(*color),
                    true,
                ),
                Mark::Text { text, at, em, color, align, upward } => {
                    let (lettering, em) = (&self.lettering, em * scale);
                    let setting =
                        TextSetting { lettering, em, color: *color, align: *align, upward: *upward };
                    backend.draw_text(text, &setting, place(at))
                }
                Mark::Picture { .. } | Mark::Hover { .. } => continue,
            };
            done.map_err(|fault| broken(&fault))?;
        }
        backend.present().map_err(|fault| broken(&fault))
    }

    /// The images, each with its corner and size.
    pub(super) fn pictures(&self) -> impl Iterator<Item = (&FigureImage, At, [f64; 2])> {
        self.marks.iter().filter_map(|mark| match mark {
            Mark::Picture { image, corner, size } => Some((image, *corner, *size)),
            _ => None,
        })
    }

    /// The texts for the pointer, each with the corner and size of its rectangle.
    pub(super) fn hovers(&self) -> impl Iterator<Item = (&str, At, [f64; 2])> {
        self.marks.iter().filter_map(|mark| match mark {
            Mark::Hover { corner, size, text } => Some((&**text, *corner, *size)),
            _ => None,
        })
    }

    /// The figure as an SVG document, with text in the viewer's sans-serif font.
    pub fn svg(&self) -> Result<String, FigureError> {
        svg::document(self)
    }

    /// The figure as a PNG file, two pixels per unit of length.
    pub fn png(&self) -> Result<Vec<u8>, FigureError> {
        let [width, height] = self.size.map(|side| side as usize * SHARPNESS);
        let (fine_width, fine_height) = (width * SMOOTHNESS, height * SMOOTHNESS);
        let mut fine = vec![255; fine_width * fine_height * 3];
        {
            let size = (fine_width as u32, fine_height as u32);
            let backend = BitMapBackend::<RGBPixel>::with_buffer_and_format(&mut fine, size);
            let mut backend = backend.map_err(|fault| FigureError::Backend(fault.to_string()))?;
            self.render(&mut backend, (SHARPNESS * SMOOTHNESS) as f64)?;
        }
        let mut pixels = smoothed(&fine, width, height);
        for (image, corner, size) in self.pictures() {
            paste(&mut pixels, [width, height], image, corner, size);
        }
        image::encoded(width, height, png::ColorType::Rgb, &pixels)
    }
}

/// Rounds units to pixels.
fn length(units: f64, scale: f64) -> i32 {
    (units * scale).round() as i32
}

fn broken<E: std::error::Error + Send + Sync>(fault: &DrawingErrorKind<E>) -> FigureError {
    FigureError::Backend(fault.to_string())
}

/// Replaces characters that XML 1.0 does not allow, and line breaks.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') { ' ' } else { c })
        .collect()
}

/// Colour and width of a line, or colour of a filled shape.
struct Stroke {
    color: Color,
    width: u32,
}

impl Stroke {
    fn fill(color: Color) -> Self {
        Self { color, width: 1 }
    }
}

impl BackendStyle for Stroke {
    fn color(&self) -> BackendColor {
        BackendColor { alpha: 1.0, rgb: self.color }
    }

    fn stroke_width(&self) -> u32 {
        self.width
    }
}

/// Downsamples: each pixel is the mean of a square of finer ones.
fn smoothed(fine: &[u8], width: usize, height: usize) -> Vec<u8> {
    const FINE: u16 = (SMOOTHNESS * SMOOTHNESS) as u16;
    let mut pixels = Vec::with_capacity(width * height * 3);
    let row = width * SMOOTHNESS * 3;
    let mut sums = vec![0_u16; row];
    for rows in fine.chunks_exact(row * SMOOTHNESS) {
        sums.fill(0);
        for line in rows.chunks_exact(row) {
            for (sum, value) in sums.iter_mut().zip(line) {
                *sum += u16::from(*value);
            }
        }
        let (squares, _) = sums.as_chunks::<{ SMOOTHNESS * 3 }>();
        for [red, green, blue, next_red, next_green, next_blue] in squares {
            let of_square = [red + next_red, green + next_green, blue + next_blue];
            pixels.extend(of_square.map(|sum| ((sum + FINE / 2) / FINE) as u8));
        }
    }
    pixels
}

/// Draws an image onto the pixels of a sheet, with nearest-neighbour sampling; pixels outside the sheet are
/// left out.
fn paste(pixels: &mut [u8], [width, height]: [usize; 2], image: &FigureImage, corner: At, size: [f64; 2]) {
    let [left, top] = corner.map(|side| length(side, SHARPNESS as f64).max(0) as usize);
    let [across, down] = size.map(|side| length(side, SHARPNESS as f64).max(0) as usize);
    for y in 0..down.min(height.saturating_sub(top)) {
        for x in 0..across.min(width.saturating_sub(left)) {
            let color = image.color(x * image.width() / across, y * image.height() / down);
            let at = ((top + y) * width + left + x) * 3;
            pixels[at..at + 3].copy_from_slice(&color);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_means_of_squares() {
        // Two rows of four fine pixels: the left square is 0 and 255 by columns, the right one 10 to 13.
        let row = |values: [u8; 4]| values.into_iter().flat_map(|v| [v, v, v / 2]);
        let fine: Vec<u8> = row([0, 255, 10, 11]).chain(row([0, 255, 12, 13])).collect();
        // (0 + 255) / 2 is 127.5, rounded up; 11.5 likewise; of the halves 63.5 and 5.5.
        assert_eq!(smoothed(&fine, 2, 1), [128, 128, 64, 12, 12, 6]);
    }

    #[test]
    fn images_keep_to_the_sheet() {
        let image = FigureImage::new(2, 2, vec![10, 20, 30, 40]).unwrap();
        let mut pixels = vec![255; 4 * 4 * 3];
        paste(&mut pixels, [4, 4], &image, [1.0, 1.0], [2.0, 2.0]);
        let grey = |x: usize, y: usize| pixels[(y * 4 + x) * 3];
        assert_eq!([grey(1, 1), grey(2, 2), grey(3, 3), grey(3, 1)], [255, 10, 10, 255]);
    }
}
