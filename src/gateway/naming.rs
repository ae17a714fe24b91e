//! Naming: what a request calls its model, and Google's name put into the place of another one.

use bytes::Bytes;
use http::Method;

use crate::alias::Aliases;
use crate::call::Payload;
use crate::endpoint::{Action, Endpoint, Surface};
use crate::skim::{names, peek};

/// The collection whose members name their model in the body, beside a path without one.
const CACHES: &str = "cachedContents";

/// The name of the model or agent that a call spends the quota of, read off its path or its body; Google's names are
/// put into the places of others. A body that is not at hand passes as it is, and names nothing. What a body says is `shown`
/// as it may be; a path's name was.
pub(super) fn settle(
    endpoint: &mut Endpoint,
    method: &Method,
    payload: &mut Payload,
    aliases: &Aliases,
    shown: impl FnOnce(Box<str>) -> Box<str>,
) -> Option<Box<str>> {
    let in_body =
        *method == Method::POST && (endpoint.surface == Surface::OpenAi || endpoint.action == Action::Interaction);
    if !in_body {
        if endpoint.renamed || !aliases.is_empty() && endpoint.collection() == CACHES {
            rename(payload, aliases);
        }
        return endpoint.model.clone();
    }
    let body = peek(payload.bytes());
    if body.model.as_deref().is_some_and(|model| aliases.real(model).is_some()) {
        rename(payload, aliases);
    }
    // A turn that Google does not store is a generation like any other; an agent may do more than answer.
    endpoint.replayable |= endpoint.action == Action::Interaction && body.unstored && body.model.is_some();
    let model = body.model.as_deref().map(|model| aliases.model(model));
    model.or(body.agent.as_deref()).map(|name| shown(name.into()))
}

fn rename(payload: &mut Payload, aliases: &Aliases) {
    if let Payload::Kept(body, _) = payload
        && let Some(renamed) = renamed(body, aliases)
    {
        *body = renamed;
    }
}

/// The body with Google's names in it and not a byte else changed; `None` where there is nothing to change.
fn renamed(body: &[u8], aliases: &Aliases) -> Option<Bytes> {
    names::renamed(body, |written| aliases.real(written).map(|real| real.to_owned().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_name_is_touched() {
        let names = [("gpt-4o", "gemini-x")].map(|(alias, model)| (alias.to_owned(), model.to_owned()));
        let aliases = Aliases::new(&names.into());
        for (body, expected) in [
            (
                r#"{ "model" :"gpt-4o" , "x":[1.0, 2e3],"x":null}"#,
                Some(r#"{ "model" :"gemini-x" , "x":[1.0, 2e3],"x":null}"#),
            ),
            (r#"{"model":"gpt\u002d4o","a":"gpt-4o"}"#, Some(r#"{"model":"gemini-x","a":"gpt-4o"}"#)),
            (r#"{"model":"google\/gemini-x"}"#, Some(r#"{"model":"gemini-x"}"#)),
            (r#"{"model":"google/\"a"}"#, Some(r#"{"model":"\"a"}"#)),
            (
                r#"{"requests":[{"model":"models/gpt-4o"},{"model":"models/other"}]}"#,
                Some(r#"{"requests":[{"model":"models/gemini-x"},{"model":"models/other"}]}"#),
            ),
            (r#"{"model":"gpt-4o","model":"gpt-4o"}"#, Some(r#"{"model":"gemini-x","model":"gemini-x"}"#)),
            (r#"{"model":"gemini-x"}"#, None),
            (r#"{"model":"models/gemini-x"}"#, None),
            (r#"{"messages":[{"model":"gpt-4o"}]}"#, None),
            (r#"{"model":"gpt-4o"#, None),
            ("model: gpt-4o", None),
        ] {
            let renamed = renamed(body.as_bytes(), &aliases);
            assert_eq!(renamed.as_deref(), expected.map(str::as_bytes), "{body}");
        }
    }
}
