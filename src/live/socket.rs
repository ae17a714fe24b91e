//! One WebSocket: how it is set up to cost little, how a message is sent, how it is closed.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::Error as SocketError;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::live::close::Close;
use crate::live::frames::Frames;
use crate::upstream::Upgraded;

pub(super) use tokio_tungstenite::tungstenite::Message;

/// What is read at once; an idle socket holds so much.
const READ_BYTES: usize = 8 << 10;
/// What of it the codec takes at once, and the memory it begins with. Below 1 KiB, as it would otherwise take as much
/// again with each frame's head.
const TAKE_BYTES: usize = 1_000;
/// A message up to here goes on in one frame ...
const WHOLE_BYTES_MAX: usize = 32 << 10;
/// ... a larger one in several of this size, as a socket keeps the memory of the largest frame it wrote.
const PIECE_BYTES: usize = 16 << 10;
/// What may be waiting to be written: one frame, its head, and the answer to a ping.
const WRITE_BYTES_MAX: usize = WHOLE_BYTES_MAX + (4 << 10);
/// What the other side has to answer a close, and to end its connection.
const FAREWELL: Duration = Duration::from_secs(2);

/// A client's end.
pub(super) type ClientSocket = Socket<TokioIo<hyper::upgrade::Upgraded>>;
/// Google's end.
pub(super) type GoogleSocket = Socket<Upgraded>;
/// A WebSocket on `S`.
type Socket<S> = WebSocketStream<Frames<S>>;

/// The WebSocket on `io`, whose handshake is over.
pub(super) async fn on<S: AsyncRead + AsyncWrite + Unpin>(io: S, role: Role, bytes_max: usize) -> Socket<S> {
    let config = WebSocketConfig::default()
        .read_buffer_size(TAKE_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BYTES_MAX)
        .max_message_size(Some(bytes_max))
        .max_frame_size(Some(bytes_max));
    WebSocketStream::from_raw_socket(Frames::new(io, READ_BYTES), role, Some(config)).await
}

/// The next message. `last` is the one before: it is let go once memory of its own was taken for what comes, so that a
/// socket does not hold on to what a large message took.
pub(super) async fn next<S>(from: &mut S, last: &mut Bytes) -> Option<Result<Message, SocketError>>
where
    S: Stream<Item = Result<Message, SocketError>> + Unpin,
{
    poll_fn(|cx| {
        let polled = from.poll_next_unpin(cx);
        // Memory that nobody else held would have been used again, and so kept.
        *last = Bytes::new();
        polled
    })
    .await
}

/// Sends a message, and waits until the other side's network has taken it.
pub(super) async fn send<S>(to: &mut S, message: Message) -> Result<(), SocketError>
where
    S: Sink<Message, Error = SocketError> + Unpin,
{
    if message.len() <= WHOLE_BYTES_MAX {
        return to.send(message).await;
    }
    let mut kind = if message.is_text() { Data::Text } else { Data::Binary };
    let mut rest = message.into_data();
    while !rest.is_empty() {
        let piece = rest.split_to(PIECE_BYTES.min(rest.len()));
        to.send(Message::Frame(Frame::message(piece, OpCode::Data(kind), rest.is_empty()))).await?;
        kind = Data::Continue;
    }
    Ok(())
}

/// Closes it, and waits a moment for the other side's answer: what is still unread would otherwise reset the connection,
/// and the close would be lost with it.
pub(super) async fn close<S: AsyncRead + AsyncWrite + Unpin>(mut socket: Socket<S>, close: &Close) {
    let farewell = async {
        // Where the other side closed first, this sends the answer to it.
        let _ = socket.send(Message::Close(close.frame())).await;
        while let Some(Ok(_)) = socket.next().await {}
        let mut io = socket.into_inner();
        let _ = io.shutdown().await;
        let mut unread = [0; 1024];
        while io.read(&mut unread).await.is_ok_and(|read| read > 0) {}
    };
    let _cut_short = timeout(FAREWELL, farewell).await;
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::io::duplex;

    use super::*;

    #[tokio::test]
    async fn what_a_message_took_is_given_back_as_soon_as_the_next_is_waited_for() {
        let (near, mut far) = duplex(64 << 10);
        let mut from = on(near, Role::Client, 16 << 20).await;
        for bytes in [4 << 20, 100, 20_000, 130, 1, 300_000] {
            // In one frame, however large.
            let mut frame = vec![0x82, 127];
            frame.extend((bytes as u64).to_be_bytes());
            frame.resize(frame.len() + bytes, b'x');
            let (sent, heard) = tokio::join!(far.write_all(&frame), from.next());
            sent.unwrap();
            let message = heard.unwrap().unwrap().into_data();
            assert_eq!(message.len(), bytes);
            let mut last = message.clone();
            assert!(next(&mut from, &mut last).now_or_never().is_none());
            assert!(bytes < TAKE_BYTES || message.is_unique(), "{bytes} bytes are held");
        }
    }
}
