//! Gathers an answer whole, as far as it fits.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use tokio::sync::Semaphore;

use crate::error::Error;
use crate::relay::Relay;

/// The memory for answers that are being gathered is counted in pieces of this size.
pub(super) const PIECE: usize = 1024;

/// What came of it.
pub(super) enum Gathered {
    /// All of it.
    Whole(Response<Bytes>),
    /// It does not fit: it goes on as it comes, what was read of it first.
    TooLarge(Response<Relay>),
    /// There is no answer, or it broke off.
    Failed(Error),
}

/// Reads `reply` to its end, if that comes within `bytes_max` and all that is gathered at once has `room`.
pub(super) async fn gather(mut reply: Response<Relay>, bytes_max: usize, room: &Arc<Semaphore>) -> Gathered {
    let promised = reply.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if promised.is_some_and(|bytes| bytes > bytes_max) {
        return Gathered::TooLarge(reply);
    }
    let mut chunks = VecDeque::new();
    let (mut bytes, mut taken) = (0, None);
    while let Some(frame) = reply.body_mut().frame().await {
        let data = match frame {
            Ok(frame) => frame.into_data().unwrap_or_default(),
            Err(error) => return Gathered::Failed(error),
        };
        bytes += data.len();
        chunks.push_back(data);
        // What was taken is given back before more is asked for, which then may be gone: no two wait for each other.
        drop(taken.take());
        let pieces = u32::try_from(bytes.div_ceil(PIECE)).unwrap_or(u32::MAX);
        taken = Arc::clone(room).try_acquire_many_owned(pieces).ok();
        if bytes > bytes_max || taken.is_none() {
            reply.body_mut().put_back(chunks);
            return Gathered::TooLarge(reply);
        }
    }
    let whole = match chunks.len() {
        1 => chunks.pop_front().unwrap_or_default(),
        _ => Bytes::from(Vec::from(chunks).concat()),
    };
    Gathered::Whole(reply.map(|_| whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(pieces: usize) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(pieces))
    }

    fn reply(text: &'static str) -> Response<Relay> {
        Response::new(Relay::from(Bytes::from_static(text.as_bytes())))
    }

    #[tokio::test]
    async fn what_fits_comes_whole_and_what_does_not_comes_through() {
        let room = room(8);
        for (text, bytes_max, fits) in [("12345", 5, true), ("", 5, true), ("123456", 5, false)] {
            match gather(reply(text), bytes_max, &room).await {
                Gathered::Whole(whole) => assert!(fits && whole.body() == text, "{text}"),
                Gathered::TooLarge(rest) => {
                    assert!(!fits, "{text}");
                    assert_eq!(rest.into_body().collect().await.unwrap().to_bytes(), text);
                }
                Gathered::Failed(error) => panic!("{error}"),
            }
        }
        assert_eq!(room.available_permits(), 8);
    }

    #[tokio::test]
    async fn without_room_an_answer_passes_through() {
        let Gathered::TooLarge(rest) = gather(reply("12345"), 5, &room(0)).await else { panic!("it was gathered") };
        assert_eq!(rest.into_body().collect().await.unwrap().to_bytes(), "12345");
    }

    #[tokio::test]
    async fn a_length_that_is_told_is_believed_before_anything_is_read() {
        let mut told = reply("123456");
        told.headers_mut().insert(CONTENT_LENGTH, http::HeaderValue::from_static("6"));
        assert!(matches!(gather(told, 5, &room(8)).await, Gathered::TooLarge(_)));
    }
}
