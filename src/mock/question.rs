//! A call as the methods of the API see it.

use bytes::Bytes;
use http::request::Parts;
use serde_json::Value;

use crate::mock::route::Route;

/// A call, read.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    pub(crate) head: &'a Parts,
    pub(crate) route: &'a Route,
    pub(crate) body: Bytes,
    /// The body as JSON; null when it is none.
    pub(crate) json: Value,
}
