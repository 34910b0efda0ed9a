//! For tests: checks that a document is well-formed, and extracts its contents.

/// Parses elements, attributes and text; the error describes the mistake. `void` lists elements without an end
/// tag, as in HTML. Returns the name and attributes of each element, and the text with entities resolved.
pub(crate) fn parse(document: &str, void: &[&str]) -> Result<(Vec<Element>, String), String> {
    let (mut open, mut elements, mut said) = (vec![], vec![], String::new());
    let mut rest = document;
    while let Some((text, after)) = rest.split_once('<') {
        said += &resolved(text)?;
        if let Some(after) = after.strip_prefix("!DOCTYPE html>") {
            rest = after;
            continue;
        }
        let (tag, after) = after.split_once('>').ok_or("a tag without an end")?;
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("</{name}> ends what is not open"));
            }
            continue;
        }
        let (tag, alone) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, attributes) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
        if name.is_empty() || !name.chars().all(char::is_alphanumeric) {
            return Err(format!("an element of the name `{name}`"));
        }
        elements.push(Element { name: name.into(), attributes: pairs(attributes)? });
        if !alone && !void.contains(&name) {
            open.push(name);
        }
    }
    said += &resolved(rest)?;
    if open.is_empty() { Ok((elements, said)) } else { Err(format!("{open:?} are still open")) }
}

/// The start tag of an element.
#[derive(Debug)]
pub(crate) struct Element {
    pub(crate) name: String,
    attributes: Vec<(String, String)>,
}

impl Element {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn pairs(mut text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs: Vec<(String, String)> = vec![];
    loop {
        text = text.trim();
        if text.is_empty() {
            return Ok(pairs);
        }
        let (name, after) = text.split_once("=\"").ok_or_else(|| format!("no attribute: {text}"))?;
        let (value, after) =
            after.split_once('"').ok_or_else(|| format!("the value of {name} has no end"))?;
        if name.contains(|c: char| !(c.is_alphanumeric() || c == '-' || c == ':')) {
            return Err(format!("an attribute of the name `{name}`"));
        }
        if pairs.iter().any(|(known, _)| known == name) {
            return Err(format!("twice the attribute `{name}`"));
        }
        pairs.push((name.into(), resolved(value)?));
        text = after;
    }
}

fn resolved(text: &str) -> Result<String, String> {
    if let Some(letter) =
        text.chars().find(|c| (c.is_control() && !"\n\t\r".contains(*c)) || "<>".contains(*c))
    {
        return Err(format!("{letter:?} in text"));
    }
    let mut parts = text.split('&');
    let mut whole = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let (name, after) = part.split_once(';').ok_or_else(|| format!("an & by itself: {part}"))?;
        whole.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" | "#39" => '\'',
            _ => return Err(format!("an unknown entity `{name}`")),
        });
        whole += after;
    }
    Ok(whole)
}

#[test]
fn faults_are_seen() {
    assert!(parse("<a b=\"1\"><c/>x &amp; y</a>", &[]).unwrap().1.contains("x & y"));
    assert!(parse("<!DOCTYPE html><a><br></a>", &["br"]).is_ok());
    for wrong in [
        "<a>",
        "<a></b>",
        "<a b=1/>",
        "<a b=\"1/>",
        "<a>&</a>",
        "<a>\u{1}</a>",
        "<a b=\"1\" b=\"2\"/>",
        "<>",
        "a > b",
        "</a>",
    ] {
        assert!(parse(wrong, &[]).is_err(), "{wrong}");
    }
}
