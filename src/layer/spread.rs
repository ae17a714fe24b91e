//! Spread: a list of what lives in projects is asked of all of them, one after the other, and answered as one.
//!
//! A page is filled from the first project on; its token says in which project the next one begins, and where. It has one
//! only where an entry is behind it, and entries wherever there are any: SDKs take no page without. With a single project,
//! and for lists within a resource, the answer is Google's own, byte for byte.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, Either, ready};
use futures_util::stream::FuturesOrdered;
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

/// The parts that one page is made of; a page that is not full by then says where to go on.
const PARTS_MAX: usize = 32;
/// The projects that are asked at once whether they have an entry. Where there are no more than these, each is asked for its
/// part without that.
const AHEAD_MAX: u32 = 8;
/// While others are to be asked, a project has no less time than this for its part, as far as half of what is left goes.
const PART_TIME_MIN: Duration = Duration::from_secs(2);
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
        S: Service<Arc<Call>, Response = Response<Relay>, Error = Error> + Clone,
    {
        let mut place = self.begin(list, &call.client)?;
        let mut page = Page::new(list);
        let (mut tour, mut parts, many) = (Tour::default(), 0, self.pool.projects() > AHEAD_MAX);
        while page.room() > 0
            && (parts < PARTS_MAX || page.is_empty())
            && let Some(mut current) = place.take()
        {
            if many && parts > 0 && current.token.is_none() {
                let Some(found) = self.ahead(inner.clone(), call, list, current, &mut tour).await else { break };
                current = found;
            }
            parts += 1;
            let next = self.from(current.project + 1);
            let others = self.projects(current.project + 1).take(PARTS_MAX).count();
            match asked(&mut inner, call, list, &current, page.room(), others).await {
                Part::Whole(body) => {
                    tour.asked += 1;
                    let more = self.add(&mut page, call, list, &body).map_err(unread)?;
                    place = goes_on(&current, more).or(next);
                }
                // What is wrong with the question is wrong in every project.
                Part::Refused(reply) if reply.status() == StatusCode::BAD_REQUEST => return Ok(*reply),
                refused => {
                    tour.misses(refused);
                    place = next;
                }
            }
        }
        if let Some(next) = place.take() {
            place = self.ahead(inner, call, list, next, &mut tour).await;
        }
        match tour.failed {
            Some(Part::Failed(error)) if tour.missing == tour.asked => Err(error),
            Some(Part::Refused(reply)) if tour.missing == tour.asked => Ok(*reply),
            _ => {
                let token = place.map(|place| self.token(&place));
                Ok(answer(page.write(list, token.as_deref()), tour.missing))
            }
        }
    }

    /// The first place from `place` on behind which the client finds an entry. Several projects are asked at once, for as
    /// little as tells; those that cannot be asked are passed over.
    async fn ahead<S>(&self, inner: S, call: &Call, list: &List, place: Place, tour: &mut Tour) -> Option<Place>
    where
        S: Service<Arc<Call>, Response = Response<Relay>, Error = Error> + Clone,
    {
        // Where Google's own list goes on nothing need be asked, if nothing of it is hidden.
        if place.token.is_some() && !self.affinity.isolates(&call.client) {
            return Some(place);
        }
        let mut probes = FuturesOrdered::new();
        let mut next = Some(place);
        loop {
            while probes.len() < AHEAD_MAX as usize
                && let Some(place) = next.take()
            {
                next = self.from(place.project + 1);
                probes.push_back(self.probe(inner.clone(), call, list, place));
            }
            match probes.next().await? {
                Ok(Some(place)) => return Some(place),
                Ok(None) => tour.asked += 1,
                Err(part) => tour.misses(part),
            }
        }
    }

    /// The first place from `place` on in its project behind which the client finds an entry.
    async fn probe<S>(&self, mut inner: S, call: &Call, list: &List, place: Place) -> Result<Option<Place>, Part>
    where
        S: Service<Arc<Call>, Response = Response<Relay>, Error = Error>,
    {
        // The first entry tells, unless it may be one that is hidden.
        let room = if self.affinity.isolates(&call.client) { list.size } else { 1 };
        let mut next = Some(place);
        while let Some(place) = next.take() {
            let mut page = Page::new(list);
            // Those that are asked beside it take no time of its own, those after them do.
            match asked(&mut inner, call, list, &place, room, 1).await {
                Part::Whole(body) => {
                    let more = self.add(&mut page, call, list, &body).map_err(|error| Part::Failed(unread(error)))?;
                    if !page.is_empty() {
                        return Ok(Some(place));
                    }
                    next = goes_on(&place, more);
                }
                refused => return Err(refused),
            }
        }
        Ok(None)
    }

    /// Adds to the page what the client may see of one project's answer; gives the token by which that goes on.
    fn add(&self, page: &mut Page, call: &Call, list: &List, body: &[u8]) -> serde_json::Result<Option<String>> {
        page.add(list, body, |resource| match resource {
            Some(resource) => self.affinity.shows(resource, &call.client),
            None => !self.affinity.isolates(&call.client),
        })
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

/// Who was asked for a page, and what came of it.
#[derive(Default)]
struct Tour {
    asked: usize,
    /// Those among them that gave nothing.
    missing: usize,
    /// What the last of these said.
    failed: Option<Part>,
}

impl Tour {
    fn misses(&mut self, part: Part) {
        self.asked += 1;
        self.missing += 1;
        self.failed = Some(part);
    }
}

/// Where a project's list goes on, by its own token; one that leads to where it came from ends it.
fn goes_on(place: &Place, more: Option<String>) -> Option<Place> {
    let on = more != place.token;
    more.filter(|_| on).map(|token| Place { project: place.project, token: Some(token) })
}

fn unread(_: serde_json::Error) -> Error {
    Error::Interrupted("a list came in a form that is not known".to_owned())
}

/// What one project says of so many entries, as long as there is time to ask, with so many others to be asked after it.
async fn asked<S>(inner: &mut S, call: &Call, list: &List, place: &Place, room: usize, others: usize) -> Part
where
    S: Service<Arc<Call>, Response = Response<Relay>, Error = Error>,
{
    let now = Instant::now();
    if now >= call.deadline {
        return Part::Failed(Error::DeadlineExceeded(call.time));
    }
    let part = Call { deadline: due(call, others, now), ..part_of(call, list, place, room) };
    gathered(inner.call(Arc::new(part)).await).await
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
