//! Tests of properties that all kinds of figures share, and of the inputs that each kind rejects.

use super::drawing::Mark;
use super::lettering::Align;
use super::places::Area;
use super::*;
use crate::markup;
use temper_results::{Curve, Point};

/// Text with markup characters, and with characters that the font does not contain.
const AWKWARD: &str = "a <b> & \"c\" 'd' \u{1}ε漢";

fn curve() -> Curve {
    let point =
        |at: f64| Point { at, accuracy: 1.0 / (1.0 + at), interval: [0.9 / (1.0 + at), 1.05 / (1.0 + at)] };
    Curve { over: temper_results::Over::Steps, points: [1.0, 5.0, 10.0, 100.0, 1000.0].map(point).to_vec() }
}

fn trade_off() -> Chart {
    let points = (1..=8).map(|eps| {
        let eps = f64::from(eps);
        let [natural, robust] = [0.95 - 0.012 * eps, 0.2 + 0.04 * eps];
        Datum::new(robust, natural).between(natural - 0.01, natural + 0.01).labelled(format!("ε = {eps}"))
    });
    let iaat = vec![Datum::new(0.48, 0.91).labelled("instance adaptive")];
    Chart {
        x: PlotAxis::new("accuracy under PGD (%)").percent(),
        y: PlotAxis::new("natural accuracy (%)").percent(),
        series: vec![Series::line("one radius for all", points.collect()), Series::scatter("IAAT", iaat)],
    }
}

fn many() -> Chart {
    let line = |i: u32| {
        let points = (0..60).map(|x| Datum::new(f64::from(x), f64::from(x * i) * 1e-7)).collect();
        Series::line(format!("a series with a rather long name, number {i}"), points)
    };
    Chart {
        x: PlotAxis::new("epoch").whole(),
        y: PlotAxis::new("change"),
        series: (0..28).map(line).collect(),
    }
}

fn histograms() -> Histograms {
    let panel = |epoch: usize| {
        let values =
            (0..500).map(|i| 8.0 / 255.0 * (1.0 + (i * epoch % 97) as f64 / 97.0 * epoch as f64 / 10.0));
        Histogram { name: format!("epoch {epoch}"), values: values.collect() }
    };
    Histograms { x: PlotAxis::new("radius (of 255)").times(255.0), panels: [1, 10, 50].map(panel).to_vec() }
}

fn heat_map() -> HeatMap {
    HeatMap {
        shows: "accuracy by β and γ (%)".into(),
        rows: "β".into(),
        columns: "γ".into(),
        row_names: ["0.1", "0.4", AWKWARD].map(Into::into).to_vec(),
        column_names: ["0.5", "1", "1.9", "a longer column"].map(Into::into).to_vec(),
        cells: vec![
            vec![Some(0.912), Some(0.854), None, Some(0.5)],
            vec![Some(0.4), Some(0.3), Some(0.2), Some(0.1)],
            vec![Some(1.0), Some(0.0), Some(-0.25), Some(0.75)],
        ],
        times: 100.0,
        digits: 1,
    }
}

fn image_sheet() -> ImageSheet {
    let image = |side: usize, channels: usize| {
        FigureImage::new(side, side, (0..side * side * channels).map(|i| (i * 7 % 256) as u8).collect())
            .unwrap()
    };
    let tile =
        |side, channels, caption: &str| Some(Tile { image: image(side, channels), caption: caption.into() });
    ImageSheet {
        shows: "samples with the lowest radii".into(),
        columns: ["unperturbed", "at 8", "at 16", "at its own radius"].map(Into::into).to_vec(),
        rows: vec![
            ImageRow {
                name: "sample 17".into(),
                tiles: vec![tile(28, 1, "Ankle boot"), None, tile(28, 1, AWKWARD), None],
            },
            ImageRow {
                name: String::new(),
                tiles: vec![
                    tile(32, 3, "cat"),
                    tile(200, 3, ""),
                    tile(1, 1, "dog"),
                    tile(32, 3, "automobile, radius 12.345, sure"),
                ],
            },
        ],
    }
}

fn all() -> Vec<(&'static str, Box<dyn Figure>)> {
    let one = vec![Datum::new(0.0, 0.0).labelled(AWKWARD)];
    let lone = Chart {
        x: PlotAxis::new(AWKWARD),
        y: PlotAxis::new(AWKWARD),
        series: vec![Series::line(AWKWARD, one)],
    };
    let steps = Chart {
        x: PlotAxis::new("iterations").logarithmic(),
        y: PlotAxis::new("accuracy (%)").percent().range(0.0, 1.0),
        series: vec![Series::accuracy("", &curve())],
    };
    let flat = Histograms {
        x: PlotAxis::new("radius"),
        panels: vec![Histogram { name: AWKWARD.into(), values: vec![0.1; 9] }],
    };
    vec![
        ("trade-off", Box::new(trade_off())),
        ("one point", Box::new(lone)),
        ("logarithmic", Box::new(steps)),
        ("many series", Box::new(many())),
        ("histograms", Box::new(histograms())),
        ("one bar", Box::new(flat)),
        ("heat map", Box::new(heat_map())),
        ("images", Box::new(image_sheet())),
    ]
}

#[test]
fn svg_is_well_formed_and_says_its_text() {
    for (name, figure) in all() {
        let svg = figure.svg().unwrap();
        let (elements, said) = markup::parse(&svg, &[]).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let [width, height] = figure.draw().unwrap().size().map(|side| side.to_string());
        let root = &elements[0];
        assert_eq!(
            (root.name.as_str(), root.get("width"), root.get("height")),
            ("svg", Some(&*width), Some(&*height))
        );
        for element in &elements {
            if element.name == "text" {
                assert_eq!(element.get("font-family"), Some("sans-serif"), "{name}");
            }
            for reference in ["href", "src", "xlink:href"] {
                assert!(
                    element.get(reference).is_none_or(|to| to.starts_with("data:image/png;base64,")),
                    "{name}"
                );
            }
        }
        if ["one point", "one bar", "heat map"].contains(&name) {
            assert!(said.contains("a <b> & \"c\" 'd'"), "{name}: {said}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{name}");
    }
}

#[test]
fn png_has_its_size_and_something_on_it() {
    for (name, figure) in all() {
        let file = figure.png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!([info.width, info.height], figure.draw().unwrap().size().map(|side| 2 * side), "{name}");
        let dark = pixels.chunks_exact(3).filter(|pixel| pixel.iter().all(|value| *value < 128)).count();
        assert!(dark > 200 && dark < pixels.len() / 6, "{name}: {dark} dark pixels");
        assert!(pixels[..3] == [255; 3] && file.len() < 500_000, "{name}: {} bytes", file.len());
    }
}

#[test]
fn the_same_figure_gives_the_same_bytes() {
    for ((name, one), (_, other)) in all().into_iter().zip(all()) {
        assert!(
            one.svg().unwrap() == other.svg().unwrap() && one.png().unwrap() == other.png().unwrap(),
            "{name}"
        );
    }
}

/// The background of every text.
fn texts(drawing: &Drawing) -> Vec<(String, Area)> {
    let ground = |mark: &Mark| match mark {
        Mark::Text { text, at: [x, y], em, align, upward, .. } => {
            let (width, height) = (drawing.width(text, *em), em * 0.9);
            let along = match align {
                Align::Left => 0.0,
                Align::Middle => -width / 2.0,
                Align::Right => -width,
            };
            let area = if *upward {
                let bottom = y - along;
                Area { left: x - height / 2.0, right: x + height / 2.0, top: bottom - width, bottom }
            } else {
                Area {
                    left: x + along,
                    right: x + along + width,
                    top: y - height / 2.0,
                    bottom: y + height / 2.0,
                }
            };
            Some((text.clone(), area))
        }
        _ => None,
    };
    drawing.marks.iter().filter_map(ground).filter(|(text, _)| !text.is_empty()).collect()
}

#[test]
fn no_text_is_cut_off_or_covers_another() {
    for (name, figure) in all() {
        let drawing = figure.draw().unwrap();
        let [right, bottom] = drawing.size().map(f64::from);
        let sheet = Area { left: 0.0, top: 0.0, right, bottom };
        let texts = texts(&drawing);
        for (i, (text, area)) in texts.iter().enumerate() {
            assert!(sheet.holds(area), "{name}: `{text}` at {area:?} leaves the sheet of {right} x {bottom}");
            for (other, taken) in &texts[..i] {
                assert!(!area.meets(taken), "{name}: `{text}` and `{other}` overlap");
            }
        }
    }
}

#[test]
fn labels_and_legend_cover_no_point() {
    let drawing = trade_off().draw().unwrap();
    let discs = drawing.marks.iter().filter_map(|mark| match mark {
        Mark::Disc { center, radius, .. } => Some(Area::around(*center, 2.0 * radius, 2.0 * radius)),
        _ => None,
    });
    let discs: Vec<Area> = discs.collect();
    assert_eq!(discs.len(), 9, "eight points and the legend's");
    for (text, area) in texts(&drawing) {
        assert!(discs.iter().all(|disc| !area.meets(disc)), "`{text}` covers a point");
    }
    assert_eq!(texts(&drawing).iter().filter(|(text, _)| text.starts_with("ε = ")).count(), 8);
}

fn refused(figure: &dyn Figure) -> String {
    figure.svg().unwrap_err().to_string()
}

#[test]
fn a_chart_refuses_what_it_cannot_draw() {
    let chart = |series| Chart { x: PlotAxis::new("x"), y: PlotAxis::new("loss"), series };
    assert_eq!(refused(&chart(vec![])), "the chart of `loss` has no series");
    assert_eq!(refused(&chart(vec![Series::line("a", vec![])])), "the series `a` has no points");
    let with = |point| refused(&chart(vec![Series::line("a", vec![Datum::new(0.0, 0.0), point])]));
    assert_eq!(with(Datum::new(f64::NAN, 0.0)), "series `a`, point 2: NaN cannot be drawn");
    assert_eq!(with(Datum::new(0.0, f64::INFINITY)), "series `a`, point 2: inf cannot be drawn");
    assert_eq!(with(Datum::new(0.0, 0.0).between(2.0, 1.0)), "series `a`, point 2: interval from 2 to 1");
    assert_eq!(with(Datum::new(0.0, 0.0).between(f64::NAN, 1.0)), "series `a`, point 2: NaN cannot be drawn");
    let mut crowd = many();
    crowd.series.push(Series::line("one more", vec![Datum::new(0.0, 0.0)]));
    assert!(refused(&crowd).contains("29 series, of which at most 28"));
}

#[test]
fn other_figures_refuse_what_they_cannot_draw() {
    let histograms = |panels| Histograms { x: PlotAxis::new("radius"), panels };
    let panel = |values| Histogram { name: "epoch 1".into(), values };
    assert!(refused(&histograms(vec![])).starts_with("0 histograms of `radius`, expected 1 to 16"));
    assert_eq!(refused(&histograms(vec![panel(vec![])])), "the histogram `epoch 1` has no values");
    let fault = refused(&histograms(vec![panel(vec![0.1, f64::NAN])]));
    assert_eq!(fault, "histogram `epoch 1`, value 2: NaN cannot be drawn");

    let logarithmic = Histograms { x: PlotAxis::new("radius").logarithmic(), panels: vec![panel(vec![0.1])] };
    assert!(refused(&logarithmic).contains("which a logarithmic axis has not"));

    let heat_map = |change: fn(&mut HeatMap)| {
        let mut figure = heat_map();
        change(&mut figure);
        refused(&figure)
    };
    assert!(heat_map(|map| map.row_names.clear()).contains("it has no cells"));
    assert!(heat_map(|map| map.cells[1].truncate(2)).contains("3 rows and 4 columns have names"));
    assert!(heat_map(|map| map.cells = vec![vec![None; 4]; 3]).contains("none of its cells has a number"));
    let fault = heat_map(|map| map.cells[1][2] = Some(f64::INFINITY));
    assert!(fault.contains("inf in row `0.4`, column `1.9` cannot be drawn"), "{fault}");
    let crowded = HeatMap {
        column_names: vec!["c".into(); 40],
        cells: vec![vec![Some(0.5); 40]; 3],
        ..self::heat_map()
    };
    assert!(refused(&crowded).contains("40 columns, too many"));

    let mut sheet = image_sheet();
    sheet.rows[0].tiles.pop();
    assert!(refused(&sheet).contains("row 1 has 3 images, expected 4"));
    sheet.rows.clear();
    assert!(refused(&sheet).contains("there are none"));
    let mut long = image_sheet();
    long.rows = vec![long.rows[1].clone(); 40];
    assert!(refused(&long).contains("at most 3000 are drawn"), "{}", refused(&long));
}

#[test]
fn no_number_makes_a_figure_panic() {
    let tiny = f64::from_bits(1);
    let values = [
        0.0,
        -0.0,
        tiny,
        1e-310,
        1e-101,
        2e-100,
        1e-50,
        1.0,
        1.0 + f64::EPSILON,
        -1.0,
        1e15,
        1e15 + 1.0,
        9e99,
        -1e100,
    ];
    let drawn = |figure: &dyn Figure, expected: bool| match figure.svg() {
        Ok(svg) => {
            assert!(expected && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            markup::parse(&svg, &[]).unwrap();
        }
        Err(fault) => assert!(!expected, "{fault}"),
    };
    let shown = |value: f64| if value.abs() < 1e-100 { 0.0 } else { value };
    for low in values {
        for high in values {
            let points = || vec![Datum::new(low, high).labelled("a"), Datum::new(high, low).labelled("b")];
            let chart = |x| Chart { x, y: PlotAxis::new("y"), series: vec![Series::line("", points())] };
            drawn(&chart(PlotAxis::new("x")), true);
            drawn(&chart(PlotAxis::new("x").whole()), true);
            drawn(&chart(PlotAxis::new("x").logarithmic()), shown(low) > 0.0 && shown(high) > 0.0);
            drawn(&chart(PlotAxis::new("x").range(low, high)), shown(low) < shown(high));
            let panels = vec![Histogram { name: String::new(), values: vec![low, high, low] }];
            drawn(&Histograms { x: PlotAxis::new("x"), panels }, true);
        }
    }
    drawn(&HeatMap { digits: usize::MAX, ..heat_map() }, true);
    let back_and_forth = [0.0, 1.0, 0.0, 1.0, 1.0].map(|x| Datum::new(x, x)).to_vec();
    let chart = Chart {
        x: PlotAxis::new("x"),
        y: PlotAxis::new("y"),
        series: vec![Series::line("", back_and_forth)],
    };
    assert!(chart.png().is_ok());
}
