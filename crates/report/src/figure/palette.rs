//! Colours that colour-blind people can distinguish.

/// RGB.
pub(super) type Color = (u8, u8, u8);

/// Text and axes.
pub(super) const INK: Color = (34, 34, 34);
/// Grid lines.
pub(super) const GRID: Color = (226, 226, 226);
/// A cell without a number.
pub(super) const VOID: Color = (238, 238, 238);

/// The palette of Okabe & Ito, "Color Universal Design" (2008), without yellow, which is too pale for lines
/// on white.
const DISTINCT: [Color; 7] =
    [(0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233), (0, 0, 0)];

/// The colour of the n-th series; colours repeat after seven.
pub(super) fn distinct(place: usize) -> Color {
    DISTINCT[place % DISTINCT.len()]
}

/// A colour map from nearly white at 0 over blue to nearly black at 1. Its lightness decreases monotonically,
/// so that it also works in grey.
pub(super) fn graded(share: f64) -> Color {
    const STOPS: [[f64; 3]; 3] = [[244.0, 249.0, 253.0], [86.0, 160.0, 206.0], [8.0, 48.0, 92.0]];
    let share = share.clamp(0.0, 1.0) * 2.0;
    let (low, within) = if share < 1.0 { (0, share) } else { (1, share - 1.0) };
    let mix = |i: usize| (STOPS[low][i] + (STOPS[low + 1][i] - STOPS[low][i]) * within).round() as u8;
    (mix(0), mix(1), mix(2))
}

/// Black or white, whichever has more contrast with this colour (WCAG 2 contrast of at least 4.58 with any
/// colour).
pub(super) fn readable_on(color: Color) -> Color {
    if luminance(color) > 0.179 { (0, 0, 0) } else { (255, 255, 255) }
}

/// Relative luminance by WCAG 2, 0 to 1.
fn luminance((red, green, blue): Color) -> f64 {
    let linear = |channel: u8| {
        let value = f64::from(channel) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_can_be_read_on_every_grade() {
        for percent in 0..=100 {
            let color = graded(f64::from(percent) / 100.0);
            let (a, b) = (luminance(color), luminance(readable_on(color)));
            let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
            assert!(contrast >= 4.5, "contrast {contrast:.2} at {percent} %");
        }
    }

    #[test]
    fn grades_darken_all_the_way() {
        let grades: Vec<f64> = (0..=50).map(|i| luminance(graded(f64::from(i) / 50.0))).collect();
        assert!(grades.is_sorted_by(|a, b| a > b), "{grades:?}");
        assert!((luminance((255, 255, 255)) - 1.0).abs() < 1e-12);
    }
}
