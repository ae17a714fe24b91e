//! The words of an error answer: as much of its body as came in time, and how it ended.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::upstream::{CUT_SHORT, causes, cut_short};

/// More of an error's body than this is not kept. Google lists every field that is wrong, so that some are long.
const BODY_BYTES_MAX: usize = 256 << 10;

/// The body of an error answer.
pub(super) struct Words {
    /// It, or its beginning.
    pub(super) bytes: Vec<u8>,
    /// How it ended.
    pub(super) end: End,
}

/// How the body of an error answer ended.
pub(super) enum End {
    /// In order: it is whole.
    Whole,
    /// It is longer than what is kept.
    TooLong,
    /// It broke off or did not come in time, and why.
    Broken(String),
}

/// Reads what comes within `limit`, after `bytes` that came before.
pub(super) async fn read(mut bytes: Vec<u8>, mut body: reqwest::Body, limit: Duration) -> Words {
    let due = Instant::now() + limit;
    if bytes.len() > BODY_BYTES_MAX {
        bytes.truncate(BODY_BYTES_MAX);
        return Words { bytes, end: End::TooLong };
    }
    let end = loop {
        match timeout_at(due, next_chunk(&mut body)).await {
            Ok(Some(Ok(chunk))) => {
                let room = BODY_BYTES_MAX - bytes.len();
                bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    break End::TooLong;
                }
            }
            Ok(None) => break End::Whole,
            Ok(Some(Err(why))) => break End::Broken(why),
            Err(_) => break End::Broken("its error did not come to an end".to_owned()),
        }
    };
    Words { bytes, end }
}

/// The next chunk that is not empty. An end before the promised length is a break.
pub(super) async fn next_chunk(body: &mut reqwest::Body) -> Option<Result<Bytes, String>> {
    loop {
        match body.frame().await {
            None if cut_short(body) => return Some(Err(CUT_SHORT.to_owned())),
            None => return None,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if !data.is_empty() => return Some(Ok(data)),
                _ => {}
            },
            Some(Err(error)) => return Some(Err(causes(&error))),
        }
    }
}
