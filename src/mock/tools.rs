//! Functions that a prompt offers: the model calls the first of them, and says something once it has its result.

use serde_json::{Value, json};

use crate::mock::schema;

/// A call of one function.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FunctionCall {
    pub(crate) name: String,
    pub(crate) arguments: Value,
}

/// The call that the model makes in place of an answer, if it makes one.
pub(crate) fn call(body: &Value) -> Option<FunctionCall> {
    let declared = declarations(body);
    let choice = body.get("tool_choice").unwrap_or(&Value::Null);
    let config = body.get("toolConfig").or(body.get("tool_config")).unwrap_or(&Value::Null);
    let config = config.get("functionCallingConfig").or(config.get("function_calling_config"));
    let mode = config.and_then(|config| config["mode"].as_str()).unwrap_or("AUTO");
    if mode.eq_ignore_ascii_case("none") || choice == "none" || answered(body) {
        return None;
    }
    let named = choice["function"]["name"].as_str();
    let allowed = config.and_then(|config| {
        let all = config.get("allowedFunctionNames").or(config.get("allowed_function_names"))?;
        all.as_array()?.first()?.as_str()
    });
    let wanted = named.or(allowed);
    let function = declared.into_iter().find(|it| wanted.is_none_or(|wanted| it["name"] == wanted))?;
    let parameters = ["parametersJsonSchema", "parameters_json_schema", "parameters"];
    let parameters = parameters.iter().find_map(|name| function.get(*name)).filter(|schema| schema.is_object());
    let arguments = parameters.map_or(json!({}), schema::sample);
    Some(FunctionCall { name: function["name"].as_str()?.to_owned(), arguments })
}

/// The functions offered, in whichever surface's shape.
fn declarations(body: &Value) -> Vec<&Value> {
    let mut found = Vec::new();
    for tool in body["tools"].as_array().into_iter().flatten() {
        let native = tool.get("functionDeclarations").or(tool.get("function_declarations"));
        found.extend(native.and_then(Value::as_array).into_iter().flatten());
        if tool["type"] == "function" {
            found.push(tool.get("function").unwrap_or(tool));
        }
    }
    found
}

/// Whether a function's result is in the history already.
fn answered(body: &Value) -> bool {
    let contents = body["contents"].as_array().into_iter().flatten();
    let mut parts = contents.flat_map(|content| content["parts"].as_array().into_iter().flatten());
    if parts.any(|part| part.get("functionResponse").or(part.get("function_response")).is_some()) {
        return true;
    }
    let last = body["messages"].as_array().and_then(|all| all.last());
    let steps = body["input"].as_array().into_iter().flatten();
    last.is_some_and(|message| message["role"] != "user") || steps.clone().any(|step| step["type"] == "function_result")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_called_until_its_result_is_there() {
        let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
        let native = json!({
            "contents": [{"role": "user", "parts": [{"text": "weather?"}]}],
            "tools": [{"functionDeclarations": [{"name": "weather", "parameters": schema}]}],
        });
        let expected = FunctionCall { name: "weather".to_owned(), arguments: json!({"city": "text"}) };
        assert_eq!(call(&native), Some(expected.clone()));
        let mut answered = native.clone();
        let result = json!({"role": "user", "parts": [{"functionResponse": {"name": "weather"}}]});
        answered["contents"].as_array_mut().unwrap().push(result);
        assert_eq!(call(&answered), None);
        let mut never = native;
        never["toolConfig"] = json!({"functionCallingConfig": {"mode": "NONE"}});
        assert_eq!(call(&never), None);
        let tools = json!([{"type": "function", "function": {"name": "weather", "parameters": schema}}]);
        let mut openai = json!({"messages": [{"role": "user", "content": "weather?"}], "tools": tools});
        assert_eq!(call(&openai), Some(expected.clone()));
        openai["messages"].as_array_mut().unwrap().push(json!({"role": "tool", "content": "rain"}));
        assert_eq!(call(&openai), None);
        let tools = json!([{"type": "function", "name": "weather", "parameters": schema}]);
        let interactions = json!({"input": "weather?", "tools": tools});
        assert_eq!(call(&interactions), Some(expected));
        let input = json!([{"type": "function_result", "name": "weather"}]);
        assert_eq!(call(&json!({"input": input, "tools": tools})), None);
    }

    #[test]
    fn a_caller_may_choose_the_function() {
        let tools = json!([{"functionDeclarations": [{"name": "a"}, {"name": "b"}]}]);
        let config = json!({"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["b"]}});
        let body = json!({"contents": [], "tools": tools, "toolConfig": config});
        assert_eq!(call(&body).unwrap().name, "b");
        assert_eq!(call(&json!({"contents": [], "tools": [{"googleSearch": {}}]})), None);
    }
}
