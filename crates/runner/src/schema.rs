//! The JSON Schema of pipelines, with the plugins of this binary: what editors complete, and the source of `temper
//! describe` and of the configuration reference.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use crate::config::Draft;
use crate::model_weights;

/// The JSON Schema of a pipeline.
pub fn schema() -> Value {
    let mut schema =
        SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Draft>().to_value();
    strip(&mut schema);
    // Required keys are optional in the type that reads a pipeline, so that every mistake is found.
    schema["required"] = serde_json::json!(["dataset", "model"]);
    let models = "/$defs/model/oneOf/1/properties";
    if let Some(models) = schema.pointer_mut(models).and_then(Value::as_object_mut) {
        for (name, table) in models.iter_mut() {
            if let (Some([doc, _]), Some(keys)) =
                (model_weights::described(name), table["properties"].as_object_mut())
            {
                keys.insert("weights".into(), serde_json::json!({ "type": "string", "description": doc }));
            }
        }
    }
    schema
}

/// Removes what says nothing about TOML: null, which it does not have, and sizes of integers.
fn strip(value: &mut Value) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(strip),
        Value::Object(map) => {
            map.values_mut().for_each(strip);
            map.retain(|_, value| !value.is_null());
            // Not a key of that name, whose value is a schema.
            if map.get("format").is_some_and(Value::is_string) {
                map.remove("format");
            }
            if map.get("default").is_some_and(|default| default.as_object().is_some_and(Map::is_empty)) {
                map.remove("default");
            }
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = &types[..] {
                    let only = only.clone();
                    map.insert("type".into(), only);
                }
            }
            without_null(map);
        }
        _ => {}
    }
}

/// Replaces `anyOf` of something and null by that something.
fn without_null(map: &mut Map<String, Value>) {
    let Some(Value::Array(any)) = map.get("anyOf") else { return };
    let left: Vec<Value> = any.iter().filter(|one| one["type"] != "null").cloned().collect();
    if left.len() == any.len() {
        return;
    }
    map.remove("anyOf");
    match <[Value; 1]>::try_from(left) {
        Ok([Value::Object(only)]) => {
            for (key, value) in only {
                map.entry(key).or_insert(value);
            }
        }
        Ok([other]) => drop(map.insert("anyOf".into(), vec![other].into())),
        Err(left) => drop(map.insert("anyOf".into(), left.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_in_the_docs_is_that_of_the_types_and_plugins() {
        let text = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
        expect_test::expect_file!["../../../docs/pipeline.schema.json"].assert_eq(&text);
    }
}
