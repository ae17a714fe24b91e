//! Uploads: what is begun through geminate goes on through geminate, on the key that began it.
//!
//! Google answers the beginning of a resumable upload with a URL of its own that may carry the key. Clients get one of
//! this gateway's in its place, and whoever has its `upload_id` may go on: SDKs send no credential with the parts.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Uri};

use crate::affinity::Affinity;
use crate::call::Call;
use crate::client::Client;
use crate::endpoint::{Action, Endpoint, Surface};
use crate::error::Error;
use crate::pool::KeyPool;
use crate::record::Record;
use crate::relay::Relay;
use crate::resource::Resource;
use crate::settings::PublicUrl;
use crate::telemetry::clock;

mod goes_on;
mod origin;

pub use origin::ViaProxy;
use origin::origin;

const STATUS: HeaderName = HeaderName::from_static("x-goog-upload-status");
/// Where an upload goes on, and where it is asked for and cancelled.
const URLS: [HeaderName; 2] =
    [HeaderName::from_static("x-goog-upload-url"), HeaderName::from_static("x-goog-upload-control-url")];
/// An upload that is over can be asked for so long yet: the client may not have seen the last answer.
const AFTERGLOW: Duration = Duration::from_hours(1);

/// What the uploads of all workers share. Made once.
#[derive(Debug)]
pub struct Uploads {
    public_url: Option<PublicUrl>,
    pool: Arc<KeyPool>,
    affinity: Arc<Affinity>,
}

/// What the head of a request says of an upload, beside what its call does.
#[derive(Debug)]
pub enum Said {
    /// A new file. The origin is where the client found this gateway.
    New(Option<String>),
    /// More of this one.
    On(Resource),
}

/// One call of an upload, from before its walk to its answer.
#[derive(Debug)]
pub struct Upload {
    uploads: Arc<Uploads>,
    record: Arc<Record>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// A new file.
    New { client: Client, origin: Option<String> },
    /// More of this one.
    On(Resource),
}

impl Uploads {
    /// Uploads to keys of `pool`; `public_url` is where clients find this gateway, where that is configured.
    pub fn new(public_url: Option<PublicUrl>, pool: Arc<KeyPool>, affinity: Arc<Affinity>) -> Self {
        Self { public_url, pool, affinity }
    }

    /// What the head of a request says, if it is one of an upload.
    pub fn said(&self, endpoint: &Endpoint, head: &Parts) -> Result<Option<Said>, Error> {
        Ok(Some(match (endpoint.action, &endpoint.resource) {
            // Its id lets in whoever has it, and for this upload alone.
            (Action::UploadChunk, _) if goes_on::begins(head) => return Err(Error::UploadBegins),
            (Action::UploadChunk, Some(upload)) => Said::On(upload.clone()),
            (Action::UploadStart | Action::Upload, _) => {
                let origin = origin(self.public_url.as_ref(), head);
                if endpoint.action == Action::UploadStart && origin.is_none() {
                    return Err(Error::NoOrigin);
                }
                Said::New(origin)
            }
            _ => return Ok(None),
        }))
    }

    /// What the call's answer will need.
    pub fn of(self: &Arc<Self>, said: Said, call: &Call) -> Upload {
        let step = match said {
            Said::New(origin) => Step::New { client: call.client.clone(), origin },
            Said::On(upload) => Step::On(upload),
        };
        Upload { uploads: Arc::clone(self), record: Arc::clone(&call.record), step }
    }
}

impl Upload {
    /// The answer as the client may have it. What the client will need for going on is known before it has it.
    pub fn answered(self, mut reply: Response<Relay>) -> Result<Response<Relay>, Error> {
        let Uploads { pool, affinity, .. } = &*self.uploads;
        if !reply.status().is_success() {
            // A refusal names no address, and if it did it would be none of ours.
            URLS.iter().for_each(|name| drop(reply.headers_mut().remove(name)));
            return Ok(reply);
        }
        match self.step {
            Step::On(upload) => {
                // The client has its address, which is one of ours.
                URLS.iter().for_each(|name| drop(reply.headers_mut().remove(name)));
                if is_over(reply.headers()) {
                    affinity.retire(&upload, AFTERGLOW, clock());
                }
            }
            Step::New { client, origin } => {
                let id = self.record.key();
                let Some(key) = pool.keys().iter().find(|key| Some(&key.id) == id.as_ref()) else {
                    return Err(Error::UploadUrl);
                };
                for name in &URLS {
                    let Some(url) = reply.headers_mut().remove(name) else { continue };
                    let ours = origin.as_deref().and_then(|origin| on_from_here(origin, &url));
                    let (ours, upload) = ours.ok_or(Error::UploadUrl)?;
                    affinity.learn(upload, key, Some(&client), clock());
                    reply.headers_mut().insert(name, ours);
                }
            }
        }
        Ok(reply)
    }
}

/// Whether the upload is finished or cancelled.
fn is_over(headers: &HeaderMap) -> bool {
    headers.get(STATUS).is_some_and(|status| matches!(status.as_bytes(), b"final" | b"cancelled"))
}

/// Google's URL with this gateway's origin in place of its own and without credentials, and the upload that it names.
/// `None` where it names none, or leads where no client may go.
fn on_from_here(origin: &str, url: &HeaderValue) -> Option<(HeaderValue, Resource)> {
    let uri: Uri = url.to_str().ok()?.parse().ok()?;
    let endpoint = Endpoint::parse(&Method::POST, &uri, Surface::Gemini).ok()?;
    let upload = endpoint.resource.filter(|_| endpoint.action == Action::UploadChunk)?;
    let mut ours = HeaderValue::try_from(format!("{origin}{}", endpoint.target)).ok()?;
    ours.set_sensitive(true);
    Some((ours, upload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_url_of_googles_becomes_ours_without_its_key_or_is_not_handed_out() {
        for (url, expected) in [
            (
                "https://generativelanguage.googleapis.com/upload/v1beta/files?key=fake-key-0001&upload_id=u&a=%20",
                Some("https://gate.example/g/upload/v1beta/files?upload_id=u&a=%20"),
            ),
            (
                "https://elsewhere.example/upload/v1beta/fileSearchStores/s:uploadToFileSearchStore?upload_id=u",
                Some("https://gate.example/g/upload/v1beta/fileSearchStores/s:uploadToFileSearchStore?upload_id=u"),
            ),
            ("/upload/v1/files?upload_id=u&access_token=x", Some("https://gate.example/g/upload/v1/files?upload_id=u")),
            ("https://generativelanguage.googleapis.com/upload/v1beta/files", None),
            ("https://generativelanguage.googleapis.com/upload/v1beta/files?upload_id=", None),
            ("https://generativelanguage.googleapis.com/upload/v1beta/files?upload_id=a&upload_id=b", None),
            ("https://generativelanguage.googleapis.com/resumable/files?upload_id=u", None),
            ("https://generativelanguage.googleapis.com/v1beta/files?upload_id=u", None),
            ("not a url", None),
        ] {
            let ours = on_from_here("https://gate.example/g", &HeaderValue::from_str(url).unwrap());
            assert_eq!(ours.as_ref().map(|(ours, _)| ours.to_str().unwrap()), expected, "{url}");
        }
    }
}
