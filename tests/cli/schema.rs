//! `temper schema` and `temper describe` of tables: what editors and readers learn is what pipelines take.

use serde_json::Value;

use crate::support::{root, stderr, succeed, temper};

/// The keywords that [`fault`] knows, and those that say nothing about whether a value is right. Patterns of texts are
/// not tried.
const KEYWORDS: [&str; 24] = [
    "$ref",
    "type",
    "enum",
    "const",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "anyOf",
    "oneOf",
    "items",
    "required",
    "minProperties",
    "maxProperties",
    "properties",
    "additionalProperties",
    "minItems",
    "maxItems",
    "description",
    "default",
    "pattern",
    "title",
    "$schema",
    "$defs",
];

/// Why a value does not satisfy a schema; `None` if it does.
fn fault(root: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    for keyword in schema.as_object().into_iter().flat_map(serde_json::Map::keys) {
        assert!(KEYWORDS.contains(&&**keyword), "{at}: the keyword {keyword}");
    }
    if let Some(name) = schema["$ref"].as_str() {
        let definition = root.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("{name}"));
        if let Some(fault) = fault(root, definition, value, at) {
            return Some(fault);
        }
    }
    let is = |kind: &Value| match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        other => panic!("type {other}"),
    };
    let fits = match &schema["type"] {
        Value::Null => true,
        Value::Array(kinds) => kinds.iter().any(is),
        kind => is(kind),
    };
    if !fits {
        return Some(format!("{at}: {value} is no {}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value))
        || schema.get("const").is_some_and(|word| word != value)
    {
        return Some(format!("{at}: {value} is not among the words"));
    }
    let number = value.as_f64().unwrap_or(f64::NAN);
    for (key, wrong) in [
        ("minimum", (|x, bound| x < bound) as fn(f64, f64) -> bool),
        ("maximum", |x, bound| x > bound),
        ("exclusiveMinimum", |x, bound| x <= bound),
        ("exclusiveMaximum", |x, bound| x >= bound),
    ] {
        if schema[key].as_f64().is_some_and(|bound| wrong(number, bound)) {
            return Some(format!("{at}: {value} is beyond the {key} {}", schema[key]));
        }
    }
    for (key, most) in [("anyOf", usize::MAX), ("oneOf", 1)] {
        let Some(all) = schema[key].as_array() else { continue };
        let faults: Vec<Option<String>> = all.iter().map(|one| fault(root, one, value, at)).collect();
        let right = faults.iter().filter(|fault| fault.is_none()).count();
        if right == 0 || right > most {
            return faults.into_iter().flatten().last();
        }
    }
    if let Some(values) = value.as_array() {
        let bound = |key: &str| schema[key].as_u64().map(|n| n as usize);
        if bound("minItems").is_some_and(|n| values.len() < n)
            || bound("maxItems").is_some_and(|n| values.len() > n)
        {
            return Some(format!("{at}: {} items", values.len()));
        }
    }
    if let (Some(values), Some(items)) = (value.as_array(), schema.get("items")) {
        return values
            .iter()
            .enumerate()
            .find_map(|(i, item)| fault(root, items, item, &format!("{at}.{i}")));
    }
    let table = value.as_object()?;
    let missing = |key: &&Value| !table.contains_key(key.as_str().unwrap());
    if let Some(key) = schema["required"].as_array().and_then(|keys| keys.iter().find(missing)) {
        return Some(format!("{at}: {key} is missing"));
    }
    let within = |key: &str, least: bool| {
        schema[key]
            .as_u64()
            .is_some_and(|n| (table.len() as u64) < n && least || (table.len() as u64) > n && !least)
    };
    if within("minProperties", true) || within("maxProperties", false) {
        return Some(format!("{at}: {} keys", table.len()));
    }
    table.iter().find_map(|(key, value)| match schema["properties"].get(key) {
        Some(schema) => fault(root, schema, value, &format!("{at}.{key}")),
        None if schema["additionalProperties"] == false => Some(format!("{at}: unknown key {key}")),
        None => None,
    })
}

fn schema() -> Value {
    serde_json::from_str(&succeed(&root(), &["schema"])).unwrap()
}

fn read(text: &str) -> Value {
    serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap()
}

#[test]
fn every_pipeline_of_the_repository_satisfies_the_schema_and_names_it() {
    let (schema, mut n) = (schema(), 0);
    for entry in std::fs::read_dir(root().join("configs")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(fault(&schema, &schema, &read(&text), ""), None, "{}", path.display());
        assert!(text.starts_with("#:schema ../docs/pipeline.schema.json\n"), "{}", path.display());
        n += 1;
    }
    assert!(n >= 3, "{n} pipelines");
}

#[test]
fn mistakes_do_not_satisfy_the_schema() {
    let schema = schema();
    let pipeline = std::fs::read_to_string(root().join("configs/quickstart.toml")).unwrap();
    let said = |from: &str, to: &str| {
        assert!(pipeline.contains(from), "{from}");
        fault(&schema, &schema, &read(&pipeline.replace(from, to)), "").unwrap_or_default()
    };
    assert_eq!(said("epochs = 3", "epochs = -3"), ".train.epochs: -3 is beyond the minimum 0");
    assert_eq!(said("epochs = 3", "epochz = 3"), ".train: \"epochs\" is missing");
    assert!(!said("start = 0.1", "start = true").is_empty());
    assert!(said("attack.pgd = { steps = 5", "attack.pgd = { stepz = 5").ends_with("unknown key stepz"));
    assert!(said("attack.pgd = { steps = 5", "attack.pdg = { steps = 5").ends_with("unknown key pdg"));
    assert!(said("momentum = 0.9", "momentum = 1.0").contains("exclusiveMaximum"));
}

#[test]
fn a_plugin_or_a_table_is_described_by_its_name_alone() {
    let alone = succeed(&root(), &["describe", "pgd"]);
    assert_eq!(alone, succeed(&root(), &["describe", "attack", "pgd"]));
    let table = succeed(&root(), &["describe", "optimizer"]);
    assert!(table.contains("\n[train.optimizer]\n") && table.contains("\nmomentum = 0.9\n"), "{table}");
    for (word, expected) in [
        ("optimiser", "unknown plugin or table `optimiser`; did you mean `optimizer`? "),
        ("loss", "`loss` is a kind of plugin; name one: `cross-entropy`, `mart`, `mixup`, `trades`"),
    ] {
        let output = temper(&root(), &["describe", word]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}
