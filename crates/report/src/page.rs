//! A self-contained HTML page: it needs no network, runs no script, and has no external references.

use std::fmt::Write;
use std::path::Path;

use temper_results::Warning;

use crate::figure::{Figure, FigureError, data_uri, escaped};
use crate::table::Table;

/// Larger PNG files, in bytes, are left out of the page, which contains the SVG.
const LARGEST_PNG: usize = 250_000;
/// A cell with more characters than this, and a space, is text that may be wrapped.
const LONG_CELL: usize = 28;
/// The line by which a page of ours is recognised.
const MARK: &str = "<meta name=\"generator\" content=\"temper\">";

/// A page under construction.
#[derive(Debug, Clone)]
pub struct Page {
    title: String,
    body: String,
    headings: Vec<String>,
    tables: usize,
    figures: usize,
}

/// A number shown large, with its name above and a note below.
#[derive(Debug, Clone)]
pub struct KeyFigure {
    /// What it is.
    pub name: String,
    /// The number with its unit.
    pub number: String,
    /// What should be known of it.
    pub note: String,
}

impl Page {
    /// A page with this title.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), body: String::new(), headings: vec![], tables: 0, figures: 0 }
    }

    /// Starts a section, which the list of contents names.
    pub fn heading(&mut self, text: &str) {
        self.headings.push(text.into());
        let _ = writeln!(self.body, "<h2 id=\"section-{}\">{}</h2>", self.headings.len(), inline(text));
    }

    /// Starts a part of a section.
    pub fn subheading(&mut self, text: &str) {
        let _ = writeln!(self.body, "<h3>{}</h3>", inline(text));
    }

    /// Adds paragraphs, which empty lines separate; other line breaks are spaces. Text between backticks is code.
    pub fn text(&mut self, text: &str) {
        for paragraph in paragraphs(text) {
            let _ = writeln!(self.body, "<p>{}</p>", inline(&paragraph));
        }
    }

    /// Adds a list.
    pub fn list<T: AsRef<str>>(&mut self, items: &[T]) {
        self.body += "<ul>\n";
        for item in items {
            let _ = writeln!(self.body, "<li>{}</li>", inline(item.as_ref()));
        }
        self.body += "</ul>\n";
    }

    /// Adds warnings, severe ones first.
    pub fn warnings(&mut self, warnings: &[Warning]) {
        let mut warnings: Vec<&Warning> = warnings.iter().collect();
        warnings.sort_by_key(|warning| !warning.is_severe());
        self.body += "<ul class=\"warnings\">\n";
        for warning in warnings {
            let class = if warning.is_severe() { "severe" } else { "caution" };
            let _ = write!(self.body, "<li class=\"{class}\"><strong>{}</strong> ", warning.heading());
            self.body += &inline(&warning.text);
            if let Some(advice) = &warning.advice {
                let _ = write!(self.body, "<br>What to do: {}", inline(advice));
            }
            if !warning.id.is_empty() {
                let _ = write!(self.body, "<br><code>temper explain {}</code>", escaped(&warning.id));
            }
            self.body += "</li>\n";
        }
        self.body += "</ul>\n";
    }

    /// Adds numbers shown large, side by side.
    pub fn key_figures(&mut self, figures: &[KeyFigure]) {
        self.body += "<dl class=\"key\">\n";
        for KeyFigure { name, number, note } in figures {
            let [name, number, note] = [name, number, note].map(|text| inline(text));
            let _ = writeln!(
                self.body,
                "<div><dt>{name}</dt><dd class=\"number\">{number}</dd><dd>{note}</dd></div>"
            );
        }
        self.body += "</dl>\n";
    }

    /// Adds names with their values, which may be long.
    pub fn facts(&mut self, facts: &[(String, String)]) {
        self.body += "<dl class=\"facts\">\n";
        for (name, value) in facts {
            let _ = writeln!(self.body, "<dt>{}</dt><dd>{}</dd>", inline(name), inline(value));
        }
        self.body += "</dl>\n";
    }

    /// Adds text that is shown as it is once its summary is opened.
    pub fn folded(&mut self, summary: &str, text: &str) {
        let _ = writeln!(
            self.body,
            "<details><summary>{}</summary>\n<pre>{}</pre>\n</details>",
            inline(summary),
            escaped(text)
        );
    }

    /// Adds a numbered table with its caption above.
    pub fn table(&mut self, caption: &str, table: &Table) {
        self.tables += 1;
        let (n, caption) = (self.tables, inline(caption));
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
                let text = row.get(column).map_or("", String::as_str);
                let class = if is_prose(text) { " class=\"prose\"" } else { "" };
                let cell = inline(text);
                let _ = match (i, column) {
                    (0, _) => write!(self.body, "<th scope=\"col\">{cell}</th>"),
                    (_, 0) => write!(self.body, "<th scope=\"row\"{class}>{cell}</th>"),
                    _ => write!(self.body, "<td{class}>{cell}</td>"),
                };
            }
            self.body += if i == 0 { "</tr></thead>\n" } else { "</tr>\n" };
        }
        self.body += if table.rows().len() > 1 { "</tbody></table></div>\n" } else { "</table></div>\n" };
    }

    /// Adds a numbered figure with its caption below. On an error nothing is added.
    pub fn figure(&mut self, caption: &str, figure: &dyn Figure) -> Result<(), FigureError> {
        self.vector(caption, &figure.draw()?.svg()?, "");
        Ok(())
    }

    /// Adds a numbered figure, or, if it cannot be drawn, its caption and the reason.
    pub fn figure_or_reason(&mut self, caption: &str, figure: &dyn Figure) {
        if let Err(error) = self.figure(caption, figure) {
            self.text(&format!("Not drawn: {caption} Reason: {error}."));
        }
    }

    /// Adds a figure that is already drawn, with its PNG for download if that is small.
    pub fn drawing(&mut self, caption: &str, svg: &str, png: &[u8]) {
        let mut link = String::new();
        if png.len() <= LARGEST_PNG {
            let (n, address) = (self.figures + 1, data_uri(png));
            link = format!(" <a download=\"figure-{n}.png\" href=\"{address}\">Save as PNG</a>");
        }
        self.vector(caption, svg, &link);
    }

    fn vector(&mut self, caption: &str, svg: &str, link: &str) {
        self.figures += 1;
        let (n, caption) = (self.figures, inline(caption));
        let _ = writeln!(
            self.body,
            "<figure id=\"figure-{n}\">\n{svg}<figcaption>Figure {n}. {caption}{link}</figcaption>\n</figure>"
        );
    }

    /// The list of contents of a page with several sections.
    fn contents(&self) -> String {
        if self.headings.len() < 3 {
            return String::new();
        }
        let link = |(i, text): (usize, &String)| {
            format!("<li><a href=\"#section-{}\">{}</a></li>\n", i + 1, inline(text))
        };
        let links: String = self.headings.iter().enumerate().map(link).collect();
        format!("<nav><ul>\n{links}</ul></nav>\n")
    }

    /// The page as HTML 5.
    pub fn html(&self) -> String {
        let title = escaped(&self.title);
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n{MARK}\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
             <style>\n{}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{}{}</main>\n</body>\n</html>\n",
            include_str!("page.css"),
            self.contents(),
            self.body
        )
    }

    /// Whether the first bytes of a file are those of a page that temper wrote.
    pub fn is_ours(start: &[u8]) -> bool {
        start.windows(MARK.len()).any(|window| window == MARK.as_bytes())
    }

    /// Writes the page to a file atomically, replacing an existing file.
    pub fn write(&self, file: &Path) -> temper_files::Result<()> {
        temper_files::save_atomically(file, self.html().as_bytes())
    }
}

/// Paragraphs of a text: an empty line ends one, other line breaks are spaces.
fn paragraphs(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let parts = lines.split(|line| line.is_empty()).filter(|lines| !lines.is_empty());
    parts.map(|lines| lines.join(" ")).collect()
}

/// Escapes a text; what stands between two backticks becomes code.
fn inline(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    let mut html = String::new();
    for (i, part) in parts.iter().enumerate() {
        let (code, last) = (i % 2 == 1, i + 1 == parts.len());
        let _ = match code {
            // A backtick without a partner.
            true if last => write!(html, "`{}", escaped(part)),
            true => write!(html, "<code>{}</code>", escaped(part)),
            false => write!(html, "{}", escaped(part)),
        };
    }
    html
}

/// Whether the text of a cell is prose, which may be wrapped, not a number.
fn is_prose(text: &str) -> bool {
    text.chars().count() > LONG_CELL && text.contains(' ')
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
        assert_eq!(["h1", "h2", "table", "figure", "script", "link", "a"].map(count), [1, 1, 2, 1, 0, 0, 0]);
        assert_eq!((count("th"), count("td")), (2 + 2 + 1, 2));
        for element in &elements {
            for name in ["href", "src", "srcset", "action"] {
                assert!(element.get(name).is_none_or(|to| to.starts_with("data:image/png;base64,")));
            }
        }
        assert!(!html.contains("url(") && !html.contains("@import"));
    }

    #[test]
    fn text_has_paragraphs_and_code_and_no_line_breaks() {
        let mut page = Page::new("page");
        page.text("one\ntwo `a < b`\n\n  three ` four");
        let wanted = "<p>one two <code>a &lt; b</code></p>\n<p>three ` four</p>";
        assert!(page.html().contains(wanted), "{}", page.html());
        assert!(Page::is_ours(&page.html().as_bytes()[..400]) && !Page::is_ours(b"<!DOCTYPE html>"));
    }

    #[test]
    fn severe_warnings_come_first_and_say_what_to_do() {
        let mut page = Page::new("page");
        page.warnings(&[
            Warning::caution("", "old & plain"),
            Warning::severe("random-output", "it differs").advising("set `rand`"),
        ]);
        let html = page.html();
        let [severe, caution] = ["it differs", "old &amp; plain"].map(|text| html.find(text).unwrap());
        assert!(severe < caution);
        let wanted =
            "<br>What to do: set <code>rand</code><br><code>temper explain random-output</code></li>";
        assert!(html.contains(wanted), "{html}");
    }

    #[test]
    fn a_page_of_several_sections_lists_them() {
        let mut page = Page::new("page");
        for text in ["one", "two <b>", "three"] {
            page.heading(text);
        }
        let html = page.html();
        assert!(html.contains("<li><a href=\"#section-2\">two &lt;b&gt;</a></li>"), "{html}");
        assert!(html.contains("<h2 id=\"section-2\">two &lt;b&gt;</h2>"));
    }

    #[test]
    fn a_small_png_is_offered_and_a_large_one_is_not() {
        let mut page = Page::new("page");
        page.drawing("small", "<svg></svg>", b"PNG");
        page.drawing("large", "<svg></svg>", &vec![0; LARGEST_PNG + 1]);
        assert_eq!(page.html().matches("download=").count(), 1);
        assert!(page.html().contains("download=\"figure-1.png\""));
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
        page.figure_or_reason("None.", &chart);
        assert!(
            page.html()
                .contains("<p>Not drawn: None. Reason: the chart of <code>y</code> has no series.</p>")
        );
    }
}
