//! What projects do with their resources: make, look, list, change, take away.

use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::mock::auth;
use crate::mock::bodies::{self, Asked, Refused};
use crate::mock::content::Content;
use crate::mock::files::{self, Label};
use crate::mock::mint;
use crate::mock::operations::{kind, moment, operation};
use crate::mock::question::Question;
use crate::mock::references;
use crate::mock::reply::{bare, refusal, whole};
use crate::mock::shelf::{self, Place, Shelf, Verb};
use crate::mock::speech;
use crate::mock::store::{Store, Thing};
use crate::mock::wire::Answer;
use crate::mock::world::World;

const CACHE_LIFE: SignedDuration = SignedDuration::from_hours(1);
const TOKEN_LIFE: SignedDuration = SignedDuration::from_mins(30);

/// A call for resources, with what it needs of the world.
struct Desk<'a> {
    store: &'a mut Store,
    now: Timestamp,
    project: &'a str,
    shelf: &'static Shelf,
    /// The resource or collection named.
    name: &'a str,
    query: &'a str,
    body: &'a Value,
}

/// What becomes of a call for a resource that nobody else refuses.
pub(crate) fn answer(world: &World, question: &Question<'_>, asked: &Asked) -> Answer {
    let (name, query) = (&question.route.name, question.head.uri.query().unwrap_or(""));
    let path = question.head.uri.path().trim_start_matches('/').trim_start_matches("download/");
    let rest = path.split_once('/').map_or("", |(_, rest)| rest);
    let Some(place) = Place::parse(&question.head.method, rest) else {
        return refusal(references::missing(name), false);
    };
    let mut store = world.store();
    let mut desk = Desk {
        store: &mut store,
        now: world.now(),
        project: &asked.project,
        shelf: place.shelf,
        name,
        query,
        body: &question.json,
    };
    let done = match place.verb {
        Verb::Create => desk.create().map(|value| whole(&value)),
        Verb::List => desk.list().map(|value| whole(&value)),
        Verb::Get => desk.get().map(|value| whole(&value)),
        Verb::Patch => desk.patch().map(|value| whole(&value)),
        Verb::Delete => desk.delete().map(|value| whole(&value)),
        Verb::Cancel => desk.cancel().map(|value| whole(&value)),
        Verb::Download => desk.download(question.head),
        Verb::Register => Ok(whole(&desk.register())),
        Verb::Import => desk.import().map(|value| whole(&value)),
        Verb::Custom => desk.custom(question.route.action.as_str()).map(|value| whole(&value)),
    };
    done.unwrap_or_else(|refused| refusal(refused, question.route.errors_in_array()))
}

/// Where a film lies, for who did not ask for it there: Google leads on to `/download/` (its guide to Veo, 2026-11).
fn onward(head: &Parts) -> Option<Answer> {
    let target = head.uri.path_and_query().map(|target| target.as_str().trim_start_matches('/'))?;
    if target.starts_with("download/") {
        return None;
    }
    let host = head.uri.authority().map(http::uri::Authority::as_str);
    let host = host.or_else(|| head.headers.get(header::HOST)?.to_str().ok())?;
    let location = format!("http://{host}/download/{target}");
    let page = format!(
        "<HTML><HEAD><TITLE>Moved Temporarily</TITLE></HEAD><BODY><H1>Moved Temporarily</H1>\
         The document has moved <A HREF=\"{location}\">here</A>.</BODY></HTML>\n"
    );
    let mut answer = Answer { status: StatusCode::FOUND, frames: vec![page.into()], ..bare() };
    answer.headers.insert(header::LOCATION, HeaderValue::from_str(&location).ok()?);
    answer.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
    Some(answer)
}

impl Desk<'_> {
    fn create(&mut self) -> Result<Value, Refused> {
        if let Some((parent, _)) = self.name.rsplit_once('/') {
            self.find(parent)?;
        }
        match self.shelf.word {
            "tunedModels" => return Ok(self.tune()),
            "files" => {
                let file = files::file(self.project, &Label::of(self.body), "UPLOADED", Content::of(b""), self.now);
                let shown = json!({"file": file.value});
                self.add(file)?;
                return Ok(shown);
            }
            _ => {}
        }
        let chosen = ["id", "name"].iter().find_map(|field| self.body[*field].as_str()).filter(|id| !id.is_empty());
        let chosen = chosen.map(|name| name.rsplit('/').next().unwrap_or(name).to_owned());
        let id = match self.shelf.word {
            "auth_tokens" => mint::secret(),
            "cachedContents" | "fileSearchStores" | "webhooks" | "triggers" | "environments" => mint::id(),
            _ => chosen.unwrap_or_else(mint::id),
        };
        let name = format!("{}/{id}", self.name);
        let mut value = self.body.clone();
        let (created, updated) =
            if self.shelf.worded { ("create_time", "update_time") } else { ("createTime", "updateTime") };
        if self.shelf.worded {
            value["id"] = json!(id);
        } else {
            value["name"] = json!(name);
        }
        value[created] = json!(moment(self.now));
        value[updated] = json!(moment(self.now));
        let expires = self.furnish(&mut value)?;
        let project = self.project.to_owned();
        self.add(Thing { project, name, value: value.clone(), expires, ..Thing::default() })?;
        Ok(value)
    }

    /// What each kind of resource shows beside the fields it was made with; and when it is gone.
    fn furnish(&self, value: &mut Value) -> Result<Option<Timestamp>, Refused> {
        match self.shelf.word {
            "cachedContents" => {
                let tokens = speech::prompt_tokens(value);
                let expires = self.end()?.unwrap_or(self.now + CACHE_LIFE);
                if let Some(fields) = value.as_object_mut() {
                    for hidden in ["contents", "systemInstruction", "system_instruction", "tools", "toolConfig", "ttl"]
                    {
                        fields.remove(hidden);
                    }
                }
                value["usageMetadata"] = json!({"totalTokenCount": tokens});
                value["expireTime"] = json!(moment(expires));
                Ok(Some(expires))
            }
            "auth_tokens" => {
                let expires = self.end()?.unwrap_or(self.now + TOKEN_LIFE);
                *value = json!({"name": value["name"]});
                Ok(Some(expires))
            }
            "fileSearchStores" => {
                value["embeddingModel"] =
                    self.body.get("embeddingModel").cloned().unwrap_or(json!("models/gemini-embedding-2"));
                value["activeDocumentsCount"] = json!("0");
                Ok(None)
            }
            "webhooks" => {
                value["state"] = json!("enabled");
                value["new_signing_secret"] = json!(format!("whsec_{}", mint::secret()));
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn tune(&mut self) -> Value {
        let wanted = auth::query(self.query).find(|(name, _)| *name == "tunedModelId").map(|(_, id)| id);
        let name = format!("tunedModels/{}", wanted.filter(|id| !id.is_empty()).unwrap_or_else(mint::id));
        let mut value = self.body.clone();
        value["name"] = json!(name);
        value["state"] = json!("ACTIVE");
        value["createTime"] = json!(moment(self.now));
        value["updateTime"] = json!(moment(self.now));
        let metadata = json!({"@type": kind("CreateTunedModelMetadata"), "tunedModel": name});
        let mut response = value.clone();
        response["@type"] = json!(kind("TunedModel"));
        let begun = operation(self.project, format!("{name}/operations/{}", mint::id()), &metadata, &response);
        let shown = begun.value.clone();
        self.store.put(Thing { project: self.project.to_owned(), name, value, ..Thing::default() });
        self.store.put(begun);
        shown
    }

    fn list(&self) -> Result<Value, Refused> {
        if let Some((parent, _)) = self.name.rsplit_once('/').filter(|(parent, _)| !parent.starts_with("models/")) {
            self.find(parent.trim_end_matches("/upload"))?;
        }
        let field =
            |wanted: [&str; 2]| auth::query(self.query).find(|it| wanted.contains(&&*it.0)).map(|(_, value)| value);
        let size = field(["pageSize", "page_size"]).and_then(|size| size.parse().ok()).filter(|size| *size > 0);
        let size = size.unwrap_or(self.shelf.page).min(self.shelf.page_max);
        let token = field(["pageToken", "page_token"]);
        let page = self.store.page(self.project, self.name, size, token.as_deref(), self.now);
        let Some(page) = page else {
            return Err(if self.shelf.worded {
                bodies::worded(400, "invalid_request", "Invalid page token.")
            } else {
                bodies::plain(400, "Invalid page token.")
            });
        };
        // Google leaves out what is empty.
        let mut value = json!({});
        if !page.values.is_empty() {
            value[self.shelf.list] = Value::Array(page.values);
        }
        if let Some(next) = page.next {
            value[if self.shelf.worded { "next_page_token" } else { "nextPageToken" }] = json!(next);
        }
        Ok(value)
    }

    fn get(&mut self) -> Result<Value, Refused> {
        self.store.poll(self.project, self.name, self.now).ok_or_else(|| references::missing(self.name))
    }

    fn patch(&mut self) -> Result<Value, Refused> {
        self.find(self.name)?;
        let mut changes = self.body.as_object().cloned().unwrap_or_default();
        let end = if shelf::collection(self.name) == "cachedContents" { self.end()? } else { None };
        for fixed in ["name", "id", "ttl"] {
            changes.remove(fixed);
        }
        let updated = if self.shelf.worded { "update_time" } else { "updateTime" };
        changes.insert(updated.to_owned(), json!(moment(self.now)));
        if let Some(end) = end {
            changes.insert("expireTime".to_owned(), json!(moment(end)));
        }
        let thing = self.store.find_mut(self.project, self.name, self.now);
        let thing = thing.ok_or_else(|| references::missing(self.name))?;
        for (field, value) in changes {
            thing.value[field] = value;
        }
        thing.expires = end.or(thing.expires);
        Ok(thing.value.clone())
    }

    fn delete(&mut self) -> Result<Value, Refused> {
        self.find(self.name)?;
        let forced = auth::query(self.query).any(|(name, value)| name == "force" && value.eq_ignore_ascii_case("true"));
        let documents = format!("{}/documents", self.name);
        let full = self.store.page(self.project, &documents, 1, None, self.now).is_some_and(|it| !it.values.is_empty());
        if self.shelf.word == "fileSearchStores" && full && !forced {
            let message = "Cannot delete non-empty FileSearchStore.";
            return Err(bodies::envelope(400, "FAILED_PRECONDITION", message, Value::Null));
        }
        self.store.remove(self.project, self.name, self.now);
        Ok(json!({}))
    }

    /// Ends what is still open; what is done stays as it is.
    fn cancel(&mut self) -> Result<Value, Refused> {
        let thing = self.store.find_mut(self.project, self.name, self.now);
        let thing = thing.ok_or_else(|| references::missing(self.name))?;
        if thing.next.take().is_some() {
            thing.value["done"] = json!(true);
            thing.value["error"] = json!({"code": 1, "message": "The operation was cancelled."});
            if thing.value["metadata"]["state"].is_string() {
                thing.value["metadata"]["state"] = json!("BATCH_STATE_CANCELLED");
                thing.value["metadata"]["endTime"] = json!(moment(self.now));
            }
        }
        Ok(json!({}))
    }

    fn download(&self, head: &Parts) -> Result<Answer, Refused> {
        let thing = self.find(self.name)?;
        let Some(content) = thing.content.as_ref().filter(|_| auth::asks_for(self.query, "media")) else {
            return Err(bodies::plain(400, "Download needs alt=media and a file."));
        };
        let is_film = thing.value["source"] == "GENERATED" && thing.value["mimeType"] == "video/mp4";
        if let Some(answer) = onward(head).filter(|_| is_film) {
            return Ok(answer);
        }
        let mut answer = Answer { frames: content.pieces(), ..bare() };
        let mime = HeaderValue::from_str(thing.value["mimeType"].as_str().unwrap_or(""));
        answer
            .headers
            .insert(header::CONTENT_TYPE, mime.unwrap_or(HeaderValue::from_static("application/octet-stream")));
        Ok(answer)
    }

    fn register(&mut self) -> Value {
        let uris = self.body["uris"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut shown = Vec::new();
        for uri in uris {
            let label = Label { display_name: Some(uri.to_owned()), ..Label::default() };
            let file = files::file(self.project, &label, "REGISTERED", Content::of(b""), self.now);
            shown.push(file.value.clone());
            self.store.put(file);
        }
        json!({"files": shown})
    }

    fn import(&mut self) -> Result<Value, Refused> {
        self.find(self.name)?;
        let named = self.body.get("fileName").or(self.body.get("file_name")).and_then(Value::as_str);
        let Some(file) = named.and_then(references::file_of) else {
            return Err(bodies::plain(400, "* ImportFileRequest.file_name: file_name is not specified\n"));
        };
        let file = self.find(&file)?;
        let size = file.content.as_ref().map_or(0, |content| content.length);
        let label = Label { id: None, metadata: Label::of(self.body).metadata, ..Label::of(&file.value) };
        Ok(files::document(self.store, self.project, self.name, "operations", &label, size, self.now))
    }

    fn custom(&mut self, action: &str) -> Result<Value, Refused> {
        self.find(self.name)?;
        let rotates = action == "webhooks.rotateSigningSecret";
        Ok(if rotates { json!({"secret": format!("whsec_{}", mint::secret())}) } else { json!({}) })
    }

    /// The time that the body gives a resource to live; `None` when it says nothing of it.
    fn end(&self) -> Result<Option<Timestamp>, Refused> {
        let wrong = |field: &str| bodies::plain(400, &format!("Invalid value at '{field}'"));
        let field = |names: [&str; 2]| names.iter().find_map(|name| self.body.get(*name)).and_then(Value::as_str);
        if let Some(text) = field(["expireTime", "expire_time"]) {
            return text.parse().map(Some).map_err(|_| wrong("expire_time"));
        }
        let Some(text) = field(["ttl", "ttl"]) else { return Ok(None) };
        let seconds = text.strip_suffix('s').and_then(|seconds| seconds.parse().ok());
        let life = seconds.and_then(|seconds| SignedDuration::try_from_secs_f64(seconds).ok());
        let end = life.and_then(|life| self.now.checked_add(life).ok());
        end.map(Some).ok_or_else(|| wrong("ttl"))
    }

    fn find(&self, name: &str) -> Result<&Thing, Refused> {
        self.store.find(self.project, name, self.now).ok_or_else(|| references::missing(name))
    }

    fn add(&mut self, thing: Thing) -> Result<(), Refused> {
        if self.store.find(self.project, &thing.name, self.now).is_some() {
            return Err(bodies::plain(409, &format!("{} already exists.", thing.name)));
        }
        self.store.put(thing);
        Ok(())
    }
}
