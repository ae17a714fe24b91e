//! The setup message: who asks for which model, and whether Google lets the session begin.

use serde_json::Value;

use crate::mock::bodies::{self, Asked};
use crate::mock::catalogue;
use crate::mock::journal::OpenCall;
use crate::mock::ledger::Holder;
use crate::mock::live::asker::Asker;
use crate::mock::live::refused::Close;
use crate::mock::refusals::Refusal;
use crate::mock::script::{Script, Subject};
use crate::mock::speech;
use crate::mock::world::World;

/// The action by which scripts name a session.
const ACTION: &str = "bidiGenerateContent";

/// A session that may begin.
#[derive(Debug)]
pub(super) struct Begun {
    /// The members of `setup`.
    pub(super) setup: Value,
    pub(super) project: String,
    pub(super) script: Script,
}

/// Judges a first message.
pub(super) fn judge(world: &World, call: &OpenCall, from: &Asker, message: &[u8]) -> Result<Begun, Close> {
    let json: Value = serde_json::from_slice(message).unwrap_or(Value::Null);
    let setup = json["setup"].clone();
    if !setup.is_object() {
        return Err(Close::new(1007, "setup must be the first message and only the first"));
    }
    let model = setup["model"].as_str().unwrap_or("").trim_start_matches("models/").to_owned();
    let key = from.key();
    let asked = Asked {
        key: key.clone(),
        model: model.clone(),
        version: version(&from.path),
        action: ACTION.to_owned(),
        ..Asked::default()
    };
    let refuse = |refusal: Refusal, asked: &Asked| Close::of(&refusal.to(asked, None));
    call.note(|call| call.model.clone_from(&model));
    let holder = holder(world, from).map_err(|refusal| refuse(refusal, &asked))?;
    let asked = Asked { tier: holder.tier, consumer: holder.consumer(), ..asked };
    call.note(|call| {
        call.key = Some(key.clone());
        call.project = Some(holder.project.clone());
    });
    let subject = Subject { key: &key, project: &holder.project, model: &model, action: ACTION, path: &from.path };
    let tokens = Some(speech::prompt_tokens(&setup));
    let script = match world.judge(&subject, &holder, tokens) {
        Ok(script) => script.unwrap_or_default(),
        Err(shortage) => return Err(Close::of(&bodies::quota_exceeded(&asked, &shortage))),
    };
    let played = !script.faults.is_empty();
    call.note(|call| call.script = played.then(|| script.to_string()).or(call.script.take()));
    if let Some((refusal, retry)) = script.refusal() {
        return Err(Close::of(&refusal.to(&asked, retry)));
    }
    let music = from.method.contains("Music");
    if !music && !catalogue::knows(&world.settings().models, &model) {
        return Err(refuse(Refusal::ModelNotFound, &asked));
    }
    if let Some(handle) = setup["sessionResumption"]["handle"].as_str().filter(|handle| !handle.is_empty())
        && world.resumable(handle).as_deref() != Some(&holder.project)
    {
        return Err(Close::new(1008, "BidiGenerateContent session not found"));
    }
    Ok(Begun { setup, project: holder.project, script })
}

/// Who asks: the holder of the key, or of the ephemeral token where the method takes one.
fn holder(world: &World, from: &Asker) -> Result<Holder, Refusal> {
    let Some(credential) = &from.credential else { return Err(Refusal::Unregistered) };
    if let Some(token) = from.token() {
        let constrained = from.method.ends_with("Constrained");
        return world.token_holder(token).filter(|_| constrained).ok_or(Refusal::Unauthenticated);
    }
    let key = crate::mock::auth::key(std::slice::from_ref(credential), false)?;
    world.holder(&key).ok_or(Refusal::ApiKeyInvalid)
}

/// The version in `/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent`.
fn version(path: &str) -> String {
    path.split('.')
        .find(|part| part.starts_with('v') && part[1..].starts_with(|c: char| c.is_ascii_digit()))
        .unwrap_or("v1beta")
        .to_owned()
}
