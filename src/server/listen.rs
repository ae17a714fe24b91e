//! Binding a listener, and the files it may open.

use std::io;
use std::net::SocketAddr;

use rlimit::Resource;
use tokio::net::{TcpListener, TcpSocket};
use tracing::warn;

/// Connections that the kernel keeps for us while all places are taken.
const BACKLOG: u32 = 4_096;

/// Binds `address`; the port of a process that has just ended can be had again.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Raises the limit of open files to its hard limit: each call needs two.
pub(super) fn raise_open_files() {
    let raise = |(soft, hard)| if soft < hard { Resource::NOFILE.set(hard, hard) } else { Ok(()) };
    let raised = Resource::NOFILE.get().and_then(raise);
    if let Err(error) = raised {
        warn!(%error, "the limit of open files stays as it is");
    }
}
