//! Spread: a list of what lives in projects is asked of all of them, one after the other, and answered as one.
//!
//! A page is filled from the first project on; its token says in which project the next one begins, and where. With a
//! single project, and for lists within a resource, the answer is Google's own, byte for byte.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, Either, ready};
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use tokio::time::Instant;
use tower::Service;
use tower::layer::{Layer, layer_fn};

use crate::affinity::{Affinity, Bound};
use crate::call::{Call, Payload};
use crate::client::Client;
use crate::endpoint::Action;
use crate::error::Error;
use crate::pool::KeyPool;
use crate::record::Outcome;
use crate::relay::Relay;
use crate::resource::Resource;

use self::page::Page;
use self::query::{List, Place};

mod query;
mod page;

/// The projects that are asked for one page; a page that is not full by then says where to go on.
const PROJECTS_MAX: usize = 32;
/// While others are to be asked, a project has no less time than this for its part, as far as half of what is left goes.
const PART_TIME_MIN: Duration = Duration::from_secs(2);
/// With less than this left of the call's time nobody is asked any more.
const LEFT_MIN: Duration = Duration::from_millis(10);
/// The most bytes of one project's part of a page.
const PART_BYTES_MAX: usize = 8 << 20;
/// Tells how many projects could not be asked, so that what is theirs is missing.
const PARTIAL: HeaderName = HeaderName::from_static("x-geminate-partial");
/// Chooses what of an answer is sent; a list is read here, and sent whole.
const FIELDS: HeaderName = HeaderName::from_static("x-goog-fieldmask");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=UTF-8");

/// What the layer needs beside the service within. Made once, shared.
#[derive(Debug)]
pub struct Means {
    /// Whose projects are asked.
    pub pool: Arc<KeyPool>,
    /// Knows what a client may see.
    pub affinity: Arc<Affinity>,
}

/// Asks every project for its part of a list.
#[derive(Clone, Debug)]
pub struct Spread<S> {
    inner: S,
    means: Arc<Means>,
}

/// Spreads lists over the projects of a pool.
pub fn layer<S>(means: Means) -> impl Layer<S, Service = Spread<S>> + Clone {
    let means = Arc::new(means);
    layer_fn(move |inner| Spread { inner, means: Arc::clone(&means) })
}

impl<S> Service<Arc<Call>> for Spread<S>
where
    S: Service<Arc<Call>, Response = Response<Relay>, Error = Error> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Relay>;
    type Error = Error;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response<Relay>, Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Arc<Call>) -> Self::Future {
        let isolated = self.means.affinity.isolates(&call.client);
        let alone = self.means.pool.projects() == 1 && !isolated;
        let list = if alone { None } else { List::of(&call) };
        let Some(list) = list else {
            if isolated && may_list(&call) {
                return Either::Right(Box::pin(ready(Err(Error::Unlisted))));
            }
            return Either::Left(self.inner.call(call));
        };
        let (inner, means) = (self.inner.clone(), Arc::clone(&self.means));
        Either::Right(Box::pin(async move { means.merged(inner, &call, &list).await }))
    }
}

impl Means {
    /// One page of all projects' lists together.
    async fn merged<S>(&self, mut inner: S, call: &Call, list: &List) -> Result<Response<Relay>, Error>
    where
        S: Service<Arc<Call>, Response = Response<Relay>, Error = Error>,
    {
        let mut place = self.begin(list, &call.client)?;
        let mut page = Page::new(list);
        let (mut asked, mut missing, mut failed) = (0, 0, None);
        while page.room() > 0
            && asked < PROJECTS_MAX
            && (asked == 0 || Instant::now() + LEFT_MIN < call.deadline)
            && let Some(current) = place.take()
        {
            asked += 1;
            let next = self.from(current.project + 1);
            let others = self.projects(current.project + 1).take(PROJECTS_MAX - asked).count();
            let deadline = due(call, others, Instant::now());
            let part = Call { deadline, ..part_of(call, list, &current, page.room()) };
            match gathered(inner.call(Arc::new(part)).await).await {
                Part::Whole(body) => {
                    let shows = |resource: Option<&Resource>| match resource {
                        Some(resource) => self.affinity.shows(resource, &call.client),
                        None => !self.affinity.isolates(&call.client),
                    };
                    let unread = |_| Error::Interrupted("a list came in a form that is not known".to_owned());
                    let more = page.add(list, &body, shows).map_err(unread)?;
                    place = more.map(|token| Place { project: current.project, token: Some(token) }).or(next);
                    failed = None;
                }
                // What is wrong with the question is wrong in every project.
                Part::Refused(reply) if reply.status() == StatusCode::BAD_REQUEST => return Ok(*reply),
                refused => {
                    missing += 1;
                    place = next;
                    failed = Some(refused);
                }
            }
        }
        match failed {
            Some(Part::Failed(error)) if missing == asked => Err(error),
            Some(Part::Refused(reply)) if missing == asked => Ok(*reply),
            _ => {
                let token = place.map(|place| self.token(&place));
                Ok(answer(page.write(list, token.as_deref()), missing))
            }
        }
    }

    /// Where the page begins.
    fn begin(&self, list: &List, client: &Client) -> Result<Option<Place>, Error> {
        let Some(token) = &list.token else { return Ok(self.from(0)) };
        let place = if list.openai {
            let resource = Resource::of_id(&list.collection, token);
            let shown = resource.filter(|resource| self.affinity.shows(resource, client));
            let owner = shown.and_then(|resource| self.affinity.owner(&resource));
            owner.map(|owner| Place { project: owner.project, token: Some(token.clone()) })
        } else {
            query::read_token(token).and_then(|(digest, token)| {
                let keys = self.pool.keys();
                let gone = keys.places().filter_map(|index| keys.get(index));
                let key = keys.iter().chain(gone).find(|key| key.digest.to_string().starts_with(&digest))?;
                Some(Place { project: key.project(), token })
            })
        };
        let place = place.ok_or(Error::PageToken)?;
        Ok(if self.has_key(place.project) { Some(place) } else { self.from(place.project + 1) })
    }

    /// The beginning of the first project from `project` on that can be asked.
    fn from(&self, project: u32) -> Option<Place> {
        self.projects(project).next().map(|project| Place { project, token: None })
    }

    /// The projects from `project` on that can be asked.
    fn projects(&self, project: u32) -> impl Iterator<Item = u32> {
        let homes = self.pool.homes();
        (project..self.pool.projects()).filter(|next| homes.of(*next) == *next && self.has_key(*next))
    }

    /// Whether a project still has a key: a configuration that was taken up may have taken its last one.
    fn has_key(&self, project: u32) -> bool {
        self.pool.keys().of_project(project).next().is_some()
    }

    /// A token by which the next page begins there, after a restart as well.
    fn token(&self, place: &Place) -> String {
        let key = self.pool.keys().iter().find(|key| key.project() == place.project);
        query::write_token(&key.map(|key| key.digest.to_string()).unwrap_or_default(), place.token.as_deref())
    }
}

/// Whether a call that is no list known here may show what belongs to others: all that names no resource and makes none.
fn may_list(call: &Call) -> bool {
    call.endpoint.action == Action::Other && call.endpoint.resource.is_none() && call.method != Method::POST
}

/// What one project answered.
enum Part {
    Whole(Bytes),
    Refused(Box<Response<Relay>>),
    Failed(Error),
}

/// By when one project's part is due, with so many others to be asked after it: one that stays silent takes of their time
/// no more than is its own.
fn due(call: &Call, others: usize, now: Instant) -> Instant {
    let left = call.deadline.saturating_duration_since(now);
    match u32::try_from(others) {
        Ok(0) => call.deadline,
        others => now + (left / (others.unwrap_or(u32::MAX - 1) + 1)).max(PART_TIME_MIN.min(left / 2)),
    }
}

/// The question to one project.
fn part_of(call: &Call, list: &List, place: &Place, room: usize) -> Call {
    let mut endpoint = call.endpoint.clone();
    endpoint.target = list.target(place, room);
    let mut part = call.in_place(endpoint, Payload::Kept(Bytes::new(), None));
    part.headers.remove(FIELDS);
    part.bound = Bound::Part(place.project);
    part
}

async fn gathered(reply: Result<Response<Relay>, Error>) -> Part {
    match reply {
        Ok(reply) if reply.status().is_success() => {
            match Limited::new(reply.into_body(), PART_BYTES_MAX).collect().await {
                Ok(body) => Part::Whole(body.to_bytes()),
                Err(_) => Part::Failed(Error::Interrupted("a list broke off".to_owned())),
            }
        }
        Ok(reply) => Part::Refused(Box::new(reply)),
        Err(error) => Part::Failed(error),
    }
}

fn answer(body: Bytes, missing: usize) -> Response<Relay> {
    let mut reply = Response::new(Relay::from(body));
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    if missing > 0 {
        reply.headers_mut().insert(PARTIAL, HeaderValue::from(missing));
    }
    reply.extensions_mut().insert(Outcome::Ok);
    reply
}
