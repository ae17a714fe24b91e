//! Who asks: the key that came with a call, and who holds it.

use http::request::Parts;

use crate::mock::auth;
use crate::mock::bodies::{Asked, Refused};
use crate::mock::journal::OpenCall;
use crate::mock::ledger::Holder;
use crate::mock::quota::Work;
use crate::mock::refusals::Refusal;
use crate::mock::route::{Call, Route};
use crate::mock::script::Subject;
use crate::mock::world::World;

/// The caller and what it asks, entered into the call; or what Google's front door says to it.
pub(crate) fn admit(world: &World, route: &Route, head: &Parts, call: &OpenCall) -> Result<(Asked, Holder), Refused> {
    let mut asked = asked(route);
    asked.key =
        auth::key(&auth::credentials(&head.uri, &head.headers), route.openai).map_err(|it| it.to(&asked, None))?;
    let holder = world.holder(&asked.key).ok_or_else(|| Refusal::ApiKeyInvalid.to(&asked, None))?;
    asked.tier = world.tier(&holder, &asked.model);
    asked.consumer = holder.consumer();
    asked.project.clone_from(&holder.project);
    call.note(|call| {
        call.key = Some(asked.key.clone());
        call.project = Some(holder.project.clone());
    });
    Ok((asked, holder))
}

/// What is asked, before it is known by whom.
pub(crate) fn asked(route: &Route) -> Asked {
    let embeds = matches!(route.call, Call::Embed | Call::BatchEmbed | Call::EmbedOpenai);
    Asked {
        model: route.model.clone(),
        version: route.version.clone(),
        action: route.action.clone(),
        work: if embeds { Work::Embed } else { Work::Generate },
        ..Asked::default()
    }
}

/// The call as scripts see it.
pub(crate) fn subject<'a>(asked: &'a Asked, head: &'a Parts) -> Subject<'a> {
    Subject {
        key: &asked.key,
        project: &asked.project,
        model: &asked.model,
        action: &asked.action,
        path: head.uri.path_and_query().map_or("", |path| path.as_str()),
    }
}
