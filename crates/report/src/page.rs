//! A self-contained HTML page: it needs no network, runs no script, and has no external references.

use std::fmt::Write;
use std::path::Path;

use crate::figure::{Figure, FigureError, data_uri, escaped};
use crate::table::Table;

/// Larger PNG files, in bytes, are left out of the page, which contains the SVG.
const LARGEST_PNG: usize = 250_000;

/// A page under construction.
#[derive(Debug, Clone)]
pub struct Page {
    title: String,
    body: String,
    tables: usize,
    figures: usize,
}

impl Page {
    /// A page with this title.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), body: String::new(), tables: 0, figures: 0 }
    }

    /// Starts a section.
    pub fn heading(&mut self, text: &str) {
        let _ = writeln!(self.body, "<h2>{}</h2>", escaped(text));
    }

    /// Adds a paragraph; line breaks are kept.
    pub fn text(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p>{}</p>", escaped(text.trim()));
    }

    /// Adds a numbered table with its caption above.
    pub fn table(&mut self, caption: &str, table: &Table) {
        self.tables += 1;
        let (n, caption) = (self.tables, escaped(caption));
        let columns = table.rows().iter().map(Vec::len).max().unwrap_or(0);
        let _ = writeln!(self.body, "<div class=\"wide\"><table id=\"table-{n}\">");
        let _ = writeln!(self.body, "<caption>Table {n}. {caption}</caption>");
        for (i, row) in table.rows().iter().enumerate() {
            self.body += match i {
                0 => "<thead>",
                1 => "<tbody>\n",
                _ => "",
            };
            self.body += "<tr>";
            // A row may have fewer cells than there are heads.
            for column in 0..columns {
                let cell = escaped(row.get(column).map_or("", String::as_str));
                let _ = match (i, column) {
                    (0, _) => write!(self.body, "<th scope=\"col\">{cell}</th>"),
                    (_, 0) => write!(self.body, "<th scope=\"row\">{cell}</th>"),
                    _ => write!(self.body, "<td>{cell}</td>"),
                };
            }
            self.body += if i == 0 { "</tr></thead>\n" } else { "</tr>\n" };
        }
        self.body += if table.rows().len() > 1 { "</tbody></table></div>\n" } else { "</table></div>\n" };
    }

    /// Adds a numbered figure with its caption below, and with its PNG for download if that is small.
    pub fn figure(&mut self, caption: &str, figure: &dyn Figure) -> Result<(), FigureError> {
        let drawing = figure.draw()?;
        self.drawing(caption, &drawing.svg()?, &drawing.png()?);
        Ok(())
    }

    /// The same for a figure that is already drawn.
    pub fn drawing(&mut self, caption: &str, svg: &str, png: &[u8]) {
        self.figures += 1;
        let (n, caption) = (self.figures, escaped(caption));
        let _ = write!(self.body, "<figure id=\"figure-{n}\">\n{svg}<figcaption>Figure {n}. {caption}");
        if png.len() <= LARGEST_PNG {
            let address = data_uri(png);
            let _ = write!(self.body, " <a download=\"figure-{n}.png\" href=\"{address}\">Save as PNG</a>");
        }
        self.body += "</figcaption>\n</figure>\n";
    }

    /// The page as HTML 5.
    pub fn html(&self) -> String {
        let title = escaped(&self.title);
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
             <style>\n{}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{}</main>\n</body>\n</html>\n",
            include_str!("page.css"),
            self.body
        )
    }

    /// Writes the page to a file atomically, replacing an existing file.
    pub fn write(&self, file: &Path) -> temper_files::Result<()> {
        temper_files::save_atomically(file, self.html().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{Chart, Datum, PlotAxis, Series};
    use crate::markup;

    fn page() -> Page {
        let mut page = Page::new("runs of <today> & \"tomorrow\"");
        page.heading("a < b");
        page.text("one line\nand </p><script>alert(1)</script>");
        let mut table = Table::new(&["name", "accuracy & more"]);
        table.row(vec!["<natural>".into(), "83.4 %".into()]);
        table.row(vec!["short".into()]);
        page.table("what it shows > nothing", &table);
        page.table("heads alone", &Table::new(&["name"]));
        let points = vec![Datum::new(1.0, 2.0), Datum::new(2.0, 3.0)];
        let chart = Chart {
            x: PlotAxis::new("x"),
            y: PlotAxis::new("y"),
            series: vec![Series::line("</svg>", points)],
        };
        page.figure("two points & a line", &chart).unwrap();
        page
    }

    #[test]
    fn a_page_is_well_formed_and_whole() {
        let html = page().html();
        let style = html.find("<style>").unwrap()..html.find("</style>").unwrap();
        let mut plain = html.clone();
        plain.replace_range(style, "<style>");
        let (elements, said) = markup::parse(&plain, &["meta"]).unwrap();
        for text in [
            "runs of <today> & \"tomorrow\"",
            "a < b",
            "</p><script>alert(1)</script>",
            "<natural>",
            "83.4 %",
        ] {
            assert!(said.contains(text), "{text}: {said}");
        }
        assert!(said.contains("Table 2. heads alone") && said.contains("Figure 1. two points & a line"));
        let count = |name: &str| elements.iter().filter(|element| element.name == name).count();
        assert_eq!(["h1", "h2", "table", "figure", "script", "link", "a"].map(count), [1, 1, 2, 1, 0, 0, 1]);
        assert_eq!((count("th"), count("td")), (2 + 2 + 1, 2));
        for element in &elements {
            for name in ["href", "src", "srcset", "action"] {
                assert!(element.get(name).is_none_or(|to| to.starts_with("data:image/png;base64,")));
            }
        }
        assert!(!html.contains("url(") && !html.contains("@import"));
    }

    #[test]
    fn a_page_is_written_whole_or_says_why_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("report.html");
        page().write(&file).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), page().html());
        let fault = page().write(&folder.path().join("missing/report.html")).unwrap_err().to_string();
        assert!(fault.starts_with("cannot write ") && fault.contains("missing/report.html: "), "{fault}");
    }

    #[test]
    fn a_figure_that_cannot_be_drawn_leaves_no_trace() {
        let mut page = Page::new("page");
        let before = page.html();
        let chart = Chart { x: PlotAxis::new("x"), y: PlotAxis::new("y"), series: vec![] };
        assert!(page.figure("none", &chart).is_err());
        assert_eq!(page.html(), before);
    }
}
