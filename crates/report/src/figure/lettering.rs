//! Text: widths, line breaks and rasterisation. The font is compiled in.

use std::convert::Infallible;

use ab_glyph::{Font, FontRef, GlyphId, PxScale, PxScaleFont, ScaleFont, point};
use plotters_backend::text_anchor::{HPos, Pos, VPos};
use plotters_backend::{BackendColor, BackendTextStyle, FontFamily, FontTransform};

use super::FigureError;
use super::palette::Color;

/// Half the x-height in ems, by which SVG shifts the baseline (`0.5ex`) to centre text vertically.
const HALF_EX: f64 = 0.268;
/// plotters divides its font sizes by this factor to get CSS sizes.
const SIZES_OF_PLOTTERS: f64 = 1.24;

/// Noto Sans Regular.
#[derive(Debug, Clone)]
pub(super) struct Lettering {
    font: FontRef<'static>,
}

/// Letters of a line; longer text is cut before it is measured.
const LONGEST: usize = 300;

impl Lettering {
    /// Loads the font.
    pub(super) fn new() -> Result<Self, FigureError> {
        let font = FontRef::try_from_slice(ttf_noto_sans::REGULAR);
        Ok(Self { font: font.map_err(|fault| FigureError::Backend(format!("the built-in font: {fault}")))? })
    }

    /// The font with this em size in pixels.
    fn scaled(&self, em: f64) -> PxScaleFont<&FontRef<'static>> {
        let units = self.font.units_per_em().unwrap_or(1000.0);
        self.font.as_scaled(PxScale::from(em as f32 * self.font.height_unscaled() / units))
    }

    /// Calls a function for each character with its glyph and position; returns the end position of the text.
    fn walk(&self, text: &str, em: f64, mut each: impl FnMut(GlyphId, f32)) -> f32 {
        let font = self.scaled(em);
        let (mut x, mut before) = (0.0, None);
        for letter in text.chars() {
            let glyph = font.glyph_id(letter);
            x += before.map_or(0.0, |before| font.kern(before, glyph));
            each(glyph, x);
            x += font.h_advance(glyph);
            before = Some(glyph);
        }
        x
    }

    /// Width of a text with this em size, in the same unit.
    pub(super) fn width(&self, text: &str, em: f64) -> f64 {
        f64::from(self.walk(text, em, |_, _| ()))
    }

    /// Calls a function for each pixel that the text touches, with its coverage from 0 to 1. The baseline
    /// starts at the origin.
    fn pixels<E>(
        &self,
        text: &str,
        em: f64,
        mut each: impl FnMut(i32, i32, f32) -> Result<(), E>,
    ) -> Result<(), E> {
        let font = self.scaled(em);
        let mut glyphs = vec![];
        self.walk(text, em, |glyph, x| {
            glyphs.push(glyph.with_scale_and_position(font.scale(), point(x, 0.0)));
        });
        for outline in glyphs.into_iter().filter_map(|glyph| font.outline_glyph(glyph)) {
            let (corner, mut done) = (outline.px_bounds().min, Ok(()));
            outline.draw(|x, y, cover| {
                if done.is_ok() && cover > 0.0 {
                    done = each(corner.x as i32 + x as i32, corner.y as i32 + y as i32, cover.min(1.0));
                }
            });
            done?;
        }
        Ok(())
    }

    /// The text, or as much of its beginning as fits, with an ellipsis.
    pub(super) fn cut(&self, text: &str, em: f64, room: f64) -> String {
        // No letter is narrower than a hundredth of the font size, so what is beyond this number cannot fit.
        let most = (room / em * 100.0).clamp(0.0, LONGEST as f64) as usize;
        let whole = text;
        let text: String = whole.chars().take(most).collect();
        if text.len() == whole.len() && self.width(&text, em) <= room {
            return text;
        }
        let mut kept: Vec<char> = text.chars().collect();
        while kept.pop().is_some() {
            let shorter = kept.iter().collect::<String>().trim_end().to_string() + "…";
            if self.width(&shorter, em) <= room {
                return shorter;
            }
        }
        "…".into()
    }

    /// The text in lines that fit, broken between words. Text that is left over ends in an ellipsis.
    pub(super) fn wrap(&self, text: &str, em: f64, room: f64, most: usize) -> Vec<String> {
        let mut lines: Vec<String> = vec![];
        let text: String = text.chars().take(LONGEST * most).collect();
        for word in text.split_whitespace() {
            let longer = lines.last().map(|line| format!("{line} {word}"));
            match (lines.last_mut(), longer) {
                (Some(line), Some(longer)) if self.width(&longer, em) <= room => *line = longer,
                _ => lines.push(word.into()),
            }
        }
        if lines.len() > most {
            let rest = lines.split_off(most.saturating_sub(1)).join(" ");
            lines.push(rest);
        }
        lines.iter().map(|line| self.cut(line, em, room)).collect()
    }
}

/// The style of a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextSetting<'l> {
    pub(super) lettering: &'l Lettering,
    /// Font size in pixels.
    pub(super) em: f64,
    pub(super) color: Color,
    pub(super) align: Align,
    /// Whether it reads from bottom to top.
    pub(super) upward: bool,
}

/// The part of a text that is at its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Middle,
    Right,
}

impl BackendTextStyle for TextSetting<'_> {
    type FontError = Infallible;

    fn color(&self) -> BackendColor {
        BackendColor { alpha: 1.0, rgb: self.color }
    }

    fn size(&self) -> f64 {
        self.em * SIZES_OF_PLOTTERS
    }

    fn transform(&self) -> FontTransform {
        if self.upward { FontTransform::Rotate270 } else { FontTransform::None }
    }

    fn anchor(&self) -> Pos {
        let across = match self.align {
            Align::Left => HPos::Left,
            Align::Middle => HPos::Center,
            Align::Right => HPos::Right,
        };
        Pos::new(across, VPos::Center)
    }

    fn family(&self) -> FontFamily<'_> {
        FontFamily::SansSerif
    }

    /// The height is 0 because [`draw`](Self::draw) centres the text itself, as SVG does.
    fn layout_box(&self, text: &str) -> Result<((i32, i32), (i32, i32)), Infallible> {
        Ok(((0, 0), (self.lettering.width(text, self.em).round() as i32, 0)))
    }

    fn draw<E, DrawFunc: FnMut(i32, i32, BackendColor) -> Result<(), E>>(
        &self,
        text: &str,
        (left, middle): (i32, i32),
        mut draw: DrawFunc,
    ) -> Result<Result<(), E>, Infallible> {
        let baseline = middle + (self.em * HALF_EX).round() as i32;
        Ok(self.lettering.pixels(text, self.em, |x, y, cover| {
            draw(left + x, baseline + y, BackendColor { alpha: f64::from(cover), rgb: self.color })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lettering() -> Lettering {
        Lettering::new().unwrap()
    }

    #[test]
    fn the_font_has_what_figures_write() {
        let font = lettering().font;
        for letter in "AZaz09 .,%()/−–±×…εγβηµ²≤≥∞äöüéß".chars() {
            assert_ne!(font.glyph_id(letter), GlyphId(0), "no glyph for {letter}");
        }
    }

    #[test]
    fn widths_grow_with_size_and_text() {
        let letters = lettering();
        assert_eq!(letters.width("", 12.0), 0.0);
        let (short, long) = (letters.width("radius", 12.0), letters.width("radius radius", 12.0));
        assert!(2.0 * short < long && long < 3.0 * short, "{short} {long}");
        assert!((letters.width("radius", 24.0) - 2.0 * short).abs() < 1e-3);
        // All digits have the same width, so that columns of numbers are aligned.
        assert_eq!(letters.width("1111", 10.0), letters.width("8888", 10.0));
        // An em of this Noto Sans is 2048 units, a digit is 1171 units wide.
        assert!(
            (letters.width("0", 10.0) - 10.0 * 1171.0 / 2048.0).abs() < 1e-3,
            "{}",
            letters.width("0", 10.0)
        );
    }

    #[test]
    fn text_is_cut_and_wrapped_to_its_room() {
        let letters = lettering();
        assert_eq!(letters.cut("short", 10.0, 100.0), "short");
        let cut = letters.cut("a name that is far too long", 10.0, 60.0);
        assert!(
            cut.ends_with('…') && cut.starts_with("a name") && letters.width(&cut, 10.0) <= 60.0,
            "{cut}"
        );
        assert_eq!(letters.cut("anything", 10.0, 0.0), "…");

        let lines = letters.wrap("one two three four five six", 10.0, 40.0, 2);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].ends_with('…') && lines.iter().all(|l| letters.width(l, 10.0) <= 40.0), "{lines:?}");
        assert_eq!(letters.wrap("one two", 10.0, 400.0, 2), ["one two"]);
        assert!(letters.wrap("  ", 10.0, 40.0, 2).is_empty());
    }

    #[test]
    fn pixels_lie_within_the_width() {
        let letters = lettering();
        let (mut least, mut most, mut inked) = (i32::MAX, i32::MIN, 0.0);
        letters
            .pixels("Hg", 40.0, |x, y, cover| {
                (least, most, inked) = (least.min(x), most.max(x), inked + cover);
                assert!((-40..20).contains(&y), "{y}");
                Ok::<_, Infallible>(())
            })
            .unwrap();
        assert!(
            0 <= least && f64::from(most) <= letters.width("Hg", 40.0) && inked > 100.0,
            "{least} {most} {inked}"
        );
    }
}
