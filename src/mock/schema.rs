//! A JSON text that satisfies a schema, as a model that was told to keep to it would write.

use serde_json::{Map, Value, json};

/// How deep a schema is followed; what lies deeper is null.
const DEPTH_MAX: usize = 16;
/// How many items an array gets at most, however many it wants.
const ITEMS_MAX: u64 = 16;

/// The schema that the answer must keep to, wherever a surface puts it. `{}` when it must only be JSON; `None` when
/// it may be anything.
pub(crate) fn wanted(body: &Value) -> Option<&Value> {
    static ANY: Value = Value::Null;
    let config = body.get("generationConfig").or(body.get("generation_config")).unwrap_or(&ANY);
    for name in ["responseJsonSchema", "response_json_schema", "responseSchema", "response_schema"] {
        if let Some(schema) = config.get(name).filter(|schema| schema.is_object()) {
            return Some(schema);
        }
    }
    let format = body.get("response_format").unwrap_or(&ANY);
    let schema = format["json_schema"].get("schema").or(format.get("schema")).filter(|schema| schema.is_object());
    let mime = config.get("responseMimeType").or(config.get("response_mime_type"));
    let plain = mime.is_some_and(|mime| mime == "application/json") || format["type"] == "json_object";
    schema.or(plain.then_some(&ANY))
}

/// A text that keeps to `schema`: JSON, or the bare word where one of several words is wanted.
pub(crate) fn text(body: &Value, schema: &Value) -> String {
    let config = body.get("generationConfig").or(body.get("generation_config")).unwrap_or(&Value::Null);
    let mime = config.get("responseMimeType").or(config.get("response_mime_type"));
    if schema.is_null() {
        return json!({"answer": "text"}).to_string();
    }
    match sample(schema) {
        Value::String(word) if mime.is_some_and(|mime| mime == "text/x.enum") => word,
        value => value.to_string(),
    }
}

/// A value that keeps to `schema`.
pub(crate) fn sample(schema: &Value) -> Value {
    below(schema, schema, DEPTH_MAX)
}

fn below(schema: &Value, root: &Value, depth: usize) -> Value {
    if depth == 0 {
        return Value::Null;
    }
    if let Some(path) = schema["$ref"].as_str() {
        let target = root.pointer(path.trim_start_matches('#')).unwrap_or(&Value::Null);
        return below(target, root, depth - 1);
    }
    if let Some(fixed) = schema.get("const") {
        return fixed.clone();
    }
    if let Some(first) = schema["enum"].as_array().and_then(|all| all.first()) {
        return first.clone();
    }
    for several in ["anyOf", "oneOf", "any_of"] {
        if let Some(first) = schema[several].as_array().and_then(|all| all.first()) {
            return below(first, root, depth - 1);
        }
    }
    if let Some(all) = schema["allOf"].as_array() {
        let parts = all.iter().map(|part| below(part, root, depth - 1));
        let fields = parts.filter_map(|part| if let Value::Object(fields) = part { Some(fields) } else { None });
        return Value::Object(fields.flatten().collect());
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        one => one.as_str(),
    };
    let guessed = if schema["properties"].is_object() { "object" } else { "string" };
    match kind.unwrap_or(guessed).to_ascii_lowercase().as_str() {
        "object" => object(schema, root, depth),
        "array" => array(schema, root, depth),
        "integer" => json!(whole(number(schema, 1.0))),
        "number" => json!(number(schema, 0.5)),
        "boolean" => json!(true),
        "null" => Value::Null,
        _ => json!(word(schema)),
    }
}

fn object(schema: &Value, root: &Value, depth: usize) -> Value {
    let mut fields = Map::new();
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        fields.insert(name.clone(), below(schema, root, depth - 1));
    }
    Value::Object(fields)
}

fn array(schema: &Value, root: &Value, depth: usize) -> Value {
    if let Some(each) = schema["prefixItems"].as_array() {
        return each.iter().map(|schema| below(schema, root, depth - 1)).collect();
    }
    let count = |name: &str| schema[name].as_u64().or(schema[name].as_str().and_then(|count| count.parse().ok()));
    let most = count("maxItems").unwrap_or(ITEMS_MAX).min(ITEMS_MAX);
    let count = count("minItems").unwrap_or(1).min(most);
    let item = below(&schema["items"], root, depth - 1);
    (0..count).map(|_| item.clone()).collect()
}

fn number(schema: &Value, usual: f64) -> f64 {
    let least = schema["minimum"].as_f64().or(schema["exclusiveMinimum"].as_f64().map(|least| least + 1.0));
    let most = schema["maximum"].as_f64().or(schema["exclusiveMaximum"].as_f64().map(|most| most - 1.0));
    usual.max(least.unwrap_or(usual)).min(most.unwrap_or(f64::MAX))
}

#[expect(clippy::cast_possible_truncation, reason = "a bound beyond 64 bits is met at 64")]
fn whole(number: f64) -> i64 {
    number.ceil() as i64
}

fn word(schema: &Value) -> String {
    let word = match schema["format"].as_str() {
        Some("date-time") => "2026-11-21T08:00:00Z",
        Some("date") => "2026-11-21",
        Some("time") => "08:00:00Z",
        Some("email") => "nobody@example.test",
        Some("uri" | "url") => "https://example.test/",
        Some("uuid") => "00000000-0000-4000-8000-000000000000",
        _ => "text",
    };
    let bound = |name: &str| schema[name].as_u64().and_then(|count| usize::try_from(count).ok());
    let least = bound("minLength").unwrap_or(0).min(4096);
    word.chars()
        .chain(std::iter::repeat('x'))
        .take(word.len().max(least))
        .take(bound("maxLength").unwrap_or(usize::MAX))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simple_schemas_are_kept_to() {
        let schema = json!({
            "type": "OBJECT",
            "properties": {
                "name": {"type": "STRING"},
                "age": {"type": "INTEGER", "minimum": 18},
                "share": {"type": "number", "maximum": 0.25},
                "ok": {"type": "boolean"},
                "colour": {"type": "string", "enum": ["red", "blue"]},
                "tags": {"type": "array", "items": {"$ref": "#/$defs/Tag"}, "minItems": 2},
                "maybe": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
                "code": {"type": ["null", "string"], "minLength": 6},
            },
            "$defs": {"Tag": {"type": "object", "properties": {"id": {"const": 7}}}},
        });
        let value = json!({
            "name": "text", "age": 18, "share": 0.25, "ok": true, "colour": "red", "tags": [{"id": 7}, {"id": 7}],
            "maybe": "2026-11-21", "code": "textxx",
        });
        assert_eq!(sample(&schema), value);
    }

    #[test]
    fn a_schema_without_an_end_has_an_answer_with_one() {
        let schema = json!({"type": "object", "properties": {"next": {"$ref": "#"}, "many": {"type": "array", "minItems": 1_000_000_000}}});
        assert!(sample(&schema).to_string().len() < 100_000);
    }

    #[test]
    fn every_surface_may_ask_for_a_schema() {
        let schema = json!({"type": "string"});
        for body in [
            json!({"generationConfig": {"responseSchema": schema}}),
            json!({"generation_config": {"response_json_schema": schema}}),
            json!({"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}),
            json!({"response_format": {"type": "text", "mime_type": "application/json", "schema": schema}}),
        ] {
            assert_eq!(wanted(&body), Some(&schema), "{body}");
        }
        assert!(wanted(&json!({"contents": []})).is_none());
        let json = json!({"generationConfig": {"responseMimeType": "application/json"}});
        assert_eq!(text(&json, wanted(&json).unwrap()), r#"{"answer":"text"}"#);
        let word = json!({"generationConfig": {"responseMimeType": "text/x.enum", "responseSchema": {"enum": ["a"]}}});
        assert_eq!(text(&word, wanted(&word).unwrap()), "a");
    }
}
