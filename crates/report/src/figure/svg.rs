//! Writes a drawing as an SVG document.

use std::fmt::Write;

use plotters::backend::SVGBackend;

use super::FigureError;
use super::drawing::Drawing;
use super::image::data_uri;

/// Coordinate steps per unit of length, because plotters supports only integers.
const STEPS: f64 = 8.0;

/// The document: marks drawn by plotters, followed by images and texts for the pointer, and a head with size and
/// description.
pub(super) fn document(drawing: &Drawing) -> Result<String, FigureError> {
    let [width, height] = drawing.size();
    let [across, down] = drawing.size().map(|side| side * STEPS as u32);
    let mut marks = String::new();
    drawing.render(&mut SVGBackend::with_string(&mut marks, (across, down)), STEPS)?;
    let body = marks.split_once('>').and_then(|(_, rest)| rest.trim_end().strip_suffix("</svg>"));
    let body = body.ok_or_else(|| FigureError::Backend("plotters gave no SVG document".into()))?;
    let describes = escaped(&drawing.describes);
    let mut document = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {across} {down}\" role=\"img\" aria-label=\"{describes}\" \
         stroke-linejoin=\"round\" stroke-linecap=\"round\">\n<title>{describes}</title>\n\
         <rect width=\"{across}\" height=\"{down}\" fill=\"#FFFFFF\"/>\n{}\n",
        body.trim()
    );
    for (image, corner, size) in drawing.pictures() {
        let [x, y] = corner.map(|side| side * STEPS);
        let [wide, high] = size.map(|side| side * STEPS);
        let _ = writeln!(
            document,
            "<image x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{high}\" preserveAspectRatio=\"none\" \
             style=\"image-rendering:pixelated\" href=\"{}\"/>",
            data_uri(&image.png()?)
        );
    }
    for (text, corner, size) in drawing.hovers() {
        let [x, y] = corner.map(|side| (side * STEPS).round());
        let [wide, high] = size.map(|side| (side * STEPS).round());
        let _ = writeln!(
            document,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{high}\" fill=\"transparent\"><title>{}</title></rect>",
            escaped(text)
        );
    }
    Ok(document + "</svg>\n")
}

/// Escapes text for elements and attributes of XML and HTML.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            _ if letter.is_control() && !matches!(letter, '\n' | '\t') => escaped.push(' '),
            '\u{fffe}' | '\u{ffff}' => escaped.push(' '),
            _ => escaped.push(letter),
        }
    }
    escaped
}
