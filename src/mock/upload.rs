//! Uploads: resumable, in several parts, or raw. Bytes stream through in memory that does not grow with them.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, Collected, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::mock::auth;
use crate::mock::bodies::{self, Asked, Refused};
use crate::mock::content::{Content, Gathered};
use crate::mock::delivery::{self, Delivered};
use crate::mock::door;
use crate::mock::files::{self, Label};
use crate::mock::journal::{BODY_KEPT_MAX, OpenCall, held};
use crate::mock::ledger::Holder;
use crate::mock::line::Line;
use crate::mock::multipart;
use crate::mock::references;
use crate::mock::reply;
use crate::mock::route::Route;
use crate::mock::script::Script;
use crate::mock::sessions::{Session, Status};
use crate::mock::wire::Answer;
use crate::mock::world::World;
use crate::secret::Digest;

const STATUS: HeaderName = HeaderName::from_static("x-goog-upload-status");
const URL: HeaderName = HeaderName::from_static("x-goog-upload-url");
const CONTROL_URL: HeaderName = HeaderName::from_static("x-goog-upload-control-url");
const GRANULARITY: HeaderName = HeaderName::from_static("x-goog-upload-chunk-granularity");
const RECEIVED: HeaderName = HeaderName::from_static("x-goog-upload-size-received");
/// What Google takes as one file.
const FILE_MAX: u64 = 2 << 30;
/// The largest metadata beside a file, and the largest body in several parts.
const METADATA_MAX: usize = 1 << 20;
const MULTIPART_MAX: usize = 128 << 20;

/// The action's name, by the protocol and the command in a head.
pub(crate) fn action(head: &Parts) -> &'static str {
    let command = field(head, "x-goog-upload-command").unwrap_or("");
    if upload_id(head).is_some() {
        return match command.trim() {
            "query" => "upload.query",
            "cancel" => "upload.cancel",
            _ => "upload.chunk",
        };
    }
    let kind = auth::query(head.uri.query().unwrap_or("")).find(|(name, _)| *name == "uploadType").map(|it| it.1);
    match field(head, "x-goog-upload-protocol").or(kind.as_deref()) {
        Some("resumable") => "upload.start",
        Some("multipart") => "upload.multipart",
        _ if field(head, "content-type").is_some_and(|it| it.starts_with("multipart/related")) => "upload.multipart",
        _ => "upload.raw",
    }
}

/// Answers one call of an upload.
pub(crate) async fn answer(
    world: &World,
    route: &Route,
    head: &Parts,
    body: Incoming,
    line: Arc<Line>,
    call: OpenCall,
) -> Delivered {
    let (asked, holder) = match caller(world, route, head, &call) {
        Ok(caller) => caller,
        Err(refused) => {
            let _ = stream(body, None, &call).await;
            let answer = stated(reply::refusal(refused, false), Status::Final);
            return delivery::deliver(world, head, answer, None, false, line, call).await;
        }
    };
    let script = world.judge(&door::subject(&asked, head), &holder, None).unwrap_or_default().unwrap_or_default();
    let answered = match script.refusal() {
        Some((reason, retry)) => {
            let refused = reason.to(&asked, retry);
            let over = refused.status < 500 && refused.status != 429;
            stream(body, None, &call)
                .await
                .map(|()| stated(reply::refusal(refused, false), if over { Status::Final } else { Status::Active }))
        }
        None => take(world, route, head, body, &asked, &call).await,
    };
    let Some(mut answer) = answered else {
        drop(call);
        return delivery::broken_off(&line).await;
    };
    reply::bend(&mut answer, &script, &asked.key);
    let script: Option<Script> = script.plays().then_some(script);
    delivery::deliver(world, head, answer, script, false, line, call).await
}

/// Who sends: for a chunk whoever began the upload, for all else whoever holds the key.
fn caller(world: &World, route: &Route, head: &Parts, call: &OpenCall) -> Result<(Asked, Holder), Refused> {
    let Some(id) = upload_id(head) else { return door::admit(world, route, head, call) };
    let Some((key, project)) =
        held(world.uploads()).find(&id).map(|session| (session.key.clone(), session.project.clone()))
    else {
        return Err(bodies::plain(404, "Upload not found."));
    };
    let mut asked = door::asked(route);
    let holder = world.holder(&key).ok_or_else(|| bodies::plain(404, "Upload not found."))?;
    (asked.key, asked.project, asked.consumer, asked.tier) = (key, project.clone(), holder.consumer(), holder.tier);
    call.note(|call| call.project = Some(project));
    Ok((asked, holder))
}

/// Takes what came. `None` when the body broke off.
async fn take(
    world: &World,
    route: &Route,
    head: &Parts,
    body: Incoming,
    asked: &Asked,
    call: &OpenCall,
) -> Option<Answer> {
    let store = (route.name != "files").then_some(route.name.as_str());
    if let Some(name) = store.filter(|_| upload_id(head).is_none())
        && world.store().find(&asked.project, name, world.now()).is_none()
    {
        stream(body, None, call).await?;
        return Some(stated(reply::refusal(references::missing(name), false), Status::Final));
    }
    match action(head) {
        "upload.start" => {
            let metadata = Limited::new(body, METADATA_MAX).collect().await.map(Collected::to_bytes).ok()?;
            note(call, &metadata, metadata.len() as u64, Digest::of(&metadata));
            Some(start(world, route, head, &metadata, asked))
        }
        "upload.multipart" => {
            let whole = Limited::new(body, MULTIPART_MAX).collect().await.map(Collected::to_bytes).ok()?;
            note(call, &whole, whole.len() as u64, Digest::of(&whole));
            Some(in_parts(world, route, head, &whole, asked))
        }
        "upload.raw" => {
            let mut gathered = Gathered::default();
            stream(body, Some(&mut gathered), call).await?;
            let mime = field(head, "x-goog-upload-header-content-type").or(field(head, "content-type"));
            let name = field(head, "x-goog-upload-file-name");
            let label =
                Label { mime: mime.map(str::to_owned), display_name: name.map(str::to_owned), ..Label::default() };
            Some(arrived(world, &asked.project, &route.name, &label, gathered.finish()))
        }
        _ => chunk(world, head, body, call).await,
    }
}

fn start(world: &World, route: &Route, head: &Parts, metadata: &Bytes, asked: &Asked) -> Answer {
    let refuse = |message: &str| stated(reply::refusal(bodies::plain(400, message), false), Status::Final);
    if field(head, "x-goog-upload-command").is_none_or(|command| command.trim() != "start") {
        return refuse("A resumable upload begins with the command `start`.");
    }
    let Ok(json) = serde_json::from_slice::<Value>(if metadata.is_empty() { b"{}" } else { metadata }) else {
        return refuse("Invalid JSON payload received.");
    };
    let declared = field(head, "x-goog-upload-header-content-length").map(str::parse::<u64>);
    let Ok(declared) = declared.transpose() else { return refuse("The length of the upload is no number.") };
    if declared.is_some_and(|length| length > FILE_MAX) {
        return refuse("The file is larger than 2 GiB.");
    }
    let mut label = Label::of(&json);
    label.mime = label.mime.or(field(head, "x-goog-upload-header-content-type").map(str::to_owned));
    label.display_name = label.display_name.or(field(head, "x-goog-upload-file-name").map(str::to_owned));
    let taken = label.id.as_ref().filter(|_| route.name == "files").map(|id| format!("files/{id}"));
    if let Some(name) = taken.filter(|name| world.store().find(&asked.project, name, world.now()).is_some()) {
        return stated(reply::refusal(bodies::plain(409, &format!("{name} already exists.")), false), Status::Final);
    }
    let session = Session::new(&asked.key, &asked.project, &route.name, label, declared);
    let id = held(world.uploads()).begin(session);
    let mut answer = stated(reply::bare(), Status::Active);
    if let Ok(url) = HeaderValue::from_str(&url(world, head, &asked.key, &id)) {
        answer.headers.insert(URL, url.clone());
        answer.headers.insert(CONTROL_URL, url);
    }
    answer.headers.insert(GRANULARITY, HeaderValue::from_static("262144"));
    answer
}

/// Where the bytes are to go: the origin that the settings name, or the one that was called.
fn url(world: &World, head: &Parts, key: &str, id: &str) -> String {
    let settings = world.settings();
    let origin = settings.upload_origin.clone().unwrap_or_else(|| {
        let host = head.uri.authority().map(http::uri::Authority::as_str).or(field(head, "host"));
        format!("http://{}", host.unwrap_or("localhost"))
    });
    let key = if settings.upload_key { format!("key={key}&") } else { String::new() };
    let path = head.uri.path().trim_start_matches('/');
    format!("{}/{path}?{key}upload_id={id}&upload_protocol=resumable", origin.trim_end_matches('/'))
}

fn in_parts(world: &World, route: &Route, head: &Parts, body: &[u8], asked: &Asked) -> Answer {
    let parts = multipart::parts(&head.headers, body);
    let Some([metadata, content]) = parts.as_deref() else {
        let refused = bodies::plain(400, "A multipart upload has two parts: metadata and content.");
        return stated(reply::refusal(refused, false), Status::Final);
    };
    let Ok(json) = serde_json::from_slice::<Value>(metadata.body) else {
        let refused = bodies::plain(400, "Invalid JSON payload received.");
        return stated(reply::refusal(refused, false), Status::Final);
    };
    let mut label = Label::of(&json);
    label.mime = label.mime.or(content.header("content-type").map(str::to_owned));
    arrived(world, &asked.project, &route.name, &label, Content::of(content.body))
}

async fn chunk(world: &World, head: &Parts, body: Incoming, call: &OpenCall) -> Option<Answer> {
    let id = upload_id(head)?;
    let session = held(world.uploads()).find(&id).cloned()?;
    let command = field(head, "x-goog-upload-command").unwrap_or("");
    let commands: Vec<&str> = command.split(',').map(str::trim).collect();
    let state = |status: Status, received: u64| {
        let mut answer = stated(reply::bare(), status);
        answer.headers.insert(RECEIVED, received.into());
        answer
    };
    match commands[..] {
        ["query"] => {
            stream(body, None, call).await?;
            return Some(state(session.status, session.received));
        }
        ["cancel"] => {
            stream(body, None, call).await?;
            held(world.uploads()).cancel(&id);
            return Some(stated(reply::bare(), Status::Cancelled));
        }
        ["upload" | "finalize"] | ["upload", "finalize"] => {}
        _ => {
            stream(body, None, call).await?;
            let refused = bodies::plain(400, &format!("Unknown upload command: `{command}`."));
            return Some(stated(reply::refusal(refused, false), session.status));
        }
    }
    let offset = field(head, "x-goog-upload-offset").map_or(Some(session.received), |offset| offset.parse().ok());
    let objection = if session.status != Status::Active {
        Some("Upload has already been terminated.".to_owned())
    } else if offset != Some(session.received) && commands[0] == "upload" {
        Some(format!("Invalid upload offset: {} bytes were received.", session.received))
    } else {
        None
    };
    let mut held_back = None;
    let gathered = if objection.is_none() { held(world.uploads()).open(&id) } else { None };
    if let Some(gathered) = gathered {
        held_back = Some(Arriving { world, id: &id, gathered });
    }
    let Some(mut arriving) = held_back else {
        stream(body, None, call).await?;
        let objection = objection.unwrap_or_else(|| "Another chunk of this upload is arriving.".to_owned());
        return Some(stated(reply::refusal(bodies::plain(400, &objection), false), session.status));
    };
    stream(body, Some(&mut arriving.gathered), call).await?;
    drop(arriving);
    if !commands.contains(&"finalize") {
        return Some(stated(reply::bare(), Status::Active));
    }
    let content = held(world.uploads()).finish(&id);
    let Some(content) = content else {
        let refused = bodies::plain(400, "The upload is not of the length that was told at its start.");
        return Some(stated(reply::refusal(refused, false), Status::Active));
    };
    Some(arrived(world, &session.project, &session.target, &session.label, content))
}

/// A chunk on its way. What came of it stays when it breaks off, and is there for the next.
struct Arriving<'a> {
    world: &'a World,
    id: &'a str,
    gathered: Gathered,
}

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        held(self.world.uploads()).close(self.id, std::mem::take(&mut self.gathered));
    }
}

/// All bytes are there: the file, or the document's operation.
fn arrived(world: &World, project: &str, target: &str, label: &Label, content: Content) -> Answer {
    let now = world.now();
    let mut store = world.store();
    let value = if target == "files" {
        let file = files::file(project, label, "UPLOADED", content, now);
        let shown = json!({"file": file.value});
        store.put(file);
        shown
    } else {
        files::document(&mut store, project, target, "upload/operations", label, content.length, now)
    };
    stated(reply::whole(&value), Status::Final)
}

/// Reads a body to its end, and keeps it where it is wanted. `None` when it breaks off.
async fn stream(mut body: Incoming, mut into: Option<&mut Gathered>, call: &OpenCall) -> Option<()> {
    let mut seen = Gathered::default();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        seen.add(&data);
        if let Some(into) = &mut into {
            into.add(&data);
        }
    }
    let seen = seen.finish();
    note(call, &seen.head, seen.length, Digest::from(seen.sha256));
    Some(())
}

fn note(call: &OpenCall, body: &Bytes, length: u64, digest: Digest) {
    call.note(|call| {
        call.body = Bytes::copy_from_slice(&body[..body.len().min(BODY_KEPT_MAX)]);
        call.body_bytes = length;
        call.body_digest = Some(digest);
    });
}

/// The answer with where the upload stands: clients that miss it ask again.
fn stated(mut answer: Answer, status: Status) -> Answer {
    answer.headers.insert(STATUS, HeaderValue::from_static(status.text()));
    if answer.status == StatusCode::OK && answer.frames.is_empty() {
        answer.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    answer
}

fn upload_id(head: &Parts) -> Option<String> {
    auth::query(head.uri.query().unwrap_or("")).find(|(name, _)| *name == "upload_id").map(|(_, id)| id)
}

fn field<'a>(head: &'a Parts, name: &str) -> Option<&'a str> {
    head.headers.get(name)?.to_str().ok()
}
