//! The published schema is that of the types, and documents obey it.

use std::path::Path;

use serde_json::{Value, json};
use sori_testing::golden::assert_text;

#[test]
fn the_published_schema_is_current() {
    let mut found = serde_json::to_string_pretty(&sori_timeline::schema()).unwrap();
    found.push('\n');
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/document.schema.json");
    assert_text(&found, &path);
}

/// What is wrong with `value` by `schema`: the keywords that ours uses, and properties it does not describe.
fn problems(root: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.trim_start_matches("#/$defs/");
        return problems(root, &root["$defs"][name], value, place);
    }
    for choices in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[choices].as_array() {
            let tried = choices
                .iter()
                .map(|choice| problems(root, choice, value, place));
            return tried.min_by_key(Vec::len).unwrap_or_default();
        }
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::String(_) => "string",
        Value::Number(number) if number.is_u64() && schema["type"] == "integer" => "integer",
        Value::Number(_) => "number",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let types = &schema["type"];
    let typed = types == kind
        || types
            .as_array()
            .is_some_and(|all| all.contains(&json!(kind)));
    let constant = schema.get("const").is_none_or(|constant| constant == value);
    if !typed || !constant {
        return vec![format!("{place} is {value}, not {types}")];
    }
    let mut found = Vec::new();
    for (at, item) in value.as_array().into_iter().flatten().enumerate() {
        found.extend(problems(
            root,
            &schema["items"],
            item,
            &format!("{place}[{at}]"),
        ));
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        if value.get(required.as_str().unwrap()).is_none() {
            found.push(format!("{place} lacks {required}"));
        }
    }
    for (name, inner) in value.as_object().into_iter().flatten() {
        let place = format!("{place}.{name}");
        match schema["properties"]
            .get(name)
            .or(schema.get("additionalProperties"))
        {
            Some(schema) => found.extend(problems(root, schema, inner, &place)),
            None => found.push(format!("{place} is not described")),
        }
    }
    found
}

#[test]
fn documents_obey_the_schema() {
    let schema = sori_timeline::schema();
    for name in ["document.json", "dialogue.json"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(name);
        let document: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(problems(&schema, &schema, &document, name), [""; 0]);

        type Break = fn(&mut Value);
        let breaks: [Break; 4] = [
            |document| document["segments"][0]["start_time"] = json!("0"),
            |document| document["segments"][0]["words"][0]["time_source"] = json!("heard"),
            |document| document["segments"][0]["emotion"] = json!(1),
            |document| document["language"] = Value::Null,
        ];
        for damage in breaks {
            let mut broken = document.clone();
            damage(&mut broken);
            assert_eq!(problems(&schema, &schema, &broken, name).len(), 1);
        }
    }
}
