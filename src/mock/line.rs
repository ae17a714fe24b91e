//! One TCP connection, which a script may close or reset under a call's feet.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::mock::journal::held;
use crate::mock::world::World;

/// The hold that calls have on their connection.
pub(crate) struct Line {
    /// Counts from 1.
    pub(crate) number: u64,
    reset: AtomicBool,
    over: Notify,
    /// What the connection goes on with once HTTP is over.
    next: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.number)
    }
}

impl Line {
    pub(crate) fn new(number: u64) -> Self {
        Self { number, reset: AtomicBool::new(false), over: Notify::new(), next: Mutex::default() }
    }

    /// Leaves what the connection goes on with, once its answer has switched protocols.
    pub(crate) fn follow(&self, next: BoxFuture<'static, ()>) {
        *held(&self.next) = Some(next);
    }

    /// What was left.
    pub(crate) fn next(&self) -> Option<BoxFuture<'static, ()>> {
        held(&self.next).take()
    }

    /// Ends the connection without another byte, by FIN.
    pub(crate) fn close(&self) {
        self.over.notify_one();
    }

    /// Ends the connection by RST.
    pub(crate) fn reset(&self) {
        self.reset.store(true, Ordering::Relaxed);
        self.close();
    }

    /// Waits for the end that a script makes.
    pub(crate) async fn over(&self) {
        self.over.notified().await;
    }
}

/// The stream of a line. Dropped after a reset it sends RST instead of FIN.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    line: Arc<Line>,
    world: Arc<World>,
}

impl Socket {
    /// Takes the stream over and counts it as a connection of `world`.
    pub(crate) fn new(stream: TcpStream, world: Arc<World>) -> (Self, Arc<Line>) {
        let line = Arc::new(Line::new(world.connected()));
        // Without this the pieces of an answer would be gathered again.
        let _ = stream.set_nodelay(true);
        (Self { stream, line: Arc::clone(&line), world }, line)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.line.reset.load(Ordering::Relaxed) {
            let _ = self.stream.set_zero_linger();
        }
        self.world.disconnected();
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
