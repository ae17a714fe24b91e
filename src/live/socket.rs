//! One WebSocket: how it is set up to cost little, how a message is sent, how it is closed.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, SinkExt as _, StreamExt as _};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::Error as SocketError;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::live::close::Close;
use crate::upstream::Upgraded;

pub(super) use tokio_tungstenite::tungstenite::Message;

/// What is read at once; an idle socket holds so much.
const READ_BYTES: usize = 8 << 10;
/// A message up to here goes on in one frame ...
const WHOLE_BYTES_MAX: usize = 256 << 10;
/// ... a larger one in several of this size, as a socket keeps the memory of the largest frame it wrote.
const PIECE_BYTES: usize = 64 << 10;
/// What may be waiting to be written: one frame, its head, and the answer to a ping.
const WRITE_BYTES_MAX: usize = WHOLE_BYTES_MAX + (4 << 10);
/// What the other side has to answer a close, and to end its connection.
const FAREWELL: Duration = Duration::from_secs(2);

/// A client's end.
pub(super) type ClientSocket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;
/// Google's end.
pub(super) type GoogleSocket = WebSocketStream<Upgraded>;

/// The WebSocket on `io`, whose handshake is over.
pub(super) async fn on<S: AsyncRead + AsyncWrite + Unpin>(io: S, role: Role, bytes_max: usize) -> WebSocketStream<S> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BYTES_MAX)
        .max_message_size(Some(bytes_max))
        .max_frame_size(Some(bytes_max));
    WebSocketStream::from_raw_socket(io, role, Some(config)).await
}

/// A message that was large, kept until what follows it was read into memory of its own: a socket whose memory nobody
/// else holds would use it again, and so keep for ever what its largest message took.
#[derive(Debug, Default)]
pub(super) struct Large {
    kept: Option<Bytes>,
    since: usize,
}

impl Large {
    /// A message was sent on, and given back if it was large.
    pub(super) fn sent(&mut self, bytes: usize, large: Option<Bytes>) {
        if large.is_some() {
            *self = Self { kept: large, since: 0 };
        } else if self.kept.is_some() {
            self.since += bytes;
            // What was left behind the large message is used up by now.
            if self.since > 2 * READ_BYTES {
                self.kept = None;
            }
        }
    }
}

/// Sends a message, and waits until the other side's network has taken it. Gives it back if it was large.
pub(super) async fn send<S>(to: &mut S, message: Message) -> Result<Option<Bytes>, SocketError>
where
    S: Sink<Message, Error = SocketError> + Unpin,
{
    if message.len() <= WHOLE_BYTES_MAX {
        to.send(message).await?;
        return Ok(None);
    }
    let mut kind = if message.is_text() { Data::Text } else { Data::Binary };
    let whole = message.into_data();
    let mut rest = whole.clone();
    while !rest.is_empty() {
        let piece = rest.split_to(PIECE_BYTES.min(rest.len()));
        to.send(Message::Frame(Frame::message(piece, OpCode::Data(kind), rest.is_empty()))).await?;
        kind = Data::Continue;
    }
    Ok(Some(whole))
}

/// Closes it, and waits a moment for the other side's answer: what is still unread would otherwise reset the connection,
/// and the close would be lost with it.
pub(super) async fn close<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocketStream<S>, close: &Close) {
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
