//! A connection that is read frame by frame, so that whoever reads it takes memory for one frame and never ahead of it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{self, AsyncBufRead as _, AsyncRead, AsyncWrite, BufReader, ReadBuf};

/// The longest head of a frame: two bytes, a length of eight, a mask of four.
const HEAD_BYTES_MAX: usize = 14;

/// What comes over `S`, read at once as far as it is there, handed out in pieces that end where a head or a frame ends.
/// What goes out passes as it is.
#[derive(Debug)]
pub(super) struct Frames<S> {
    io: BufReader<S>,
    place: Place,
}

impl<S: AsyncRead> Frames<S> {
    /// With a buffer of `bytes`; the next byte that comes is the first of a frame.
    pub(super) fn new(io: S, bytes: usize) -> Self {
        Self { io: BufReader::with_capacity(bytes, io), place: Place::default() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Frames<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { io, place } = self.get_mut();
        let there = ready!(Pin::new(&mut *io).poll_fill_buf(cx))?;
        let piece = &there[..place.next(there.len().min(buf.remaining()))];
        buf.put_slice(piece);
        place.pass(piece);
        let bytes = piece.len();
        Pin::new(io).consume(bytes);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Frames<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

/// A place in a run of frames.
#[derive(Debug, Default)]
struct Place {
    /// The head that is passed, as far as it went.
    head: [u8; HEAD_BYTES_MAX],
    head_bytes: usize,
    /// What is left of the frame whose head is passed.
    left: u64,
}

impl Place {
    /// How many of `bytes` come before the next end of a head or a frame; of a head's length two bytes tell.
    fn next(&self, bytes: usize) -> usize {
        match self.left {
            0 => bytes.min(self.head_needs() - self.head_bytes),
            left => usize::try_from(left).map_or(bytes, |left| bytes.min(left)),
        }
    }

    /// Goes on by a piece no longer than `next` allows.
    fn pass(&mut self, piece: &[u8]) {
        if self.left > 0 {
            self.left -= piece.len() as u64;
            return;
        }
        let end = self.head_bytes + piece.len();
        self.head[self.head_bytes..end].copy_from_slice(piece);
        self.head_bytes = end;
        if end >= 2 && end == self.head_needs() {
            self.left = self.length();
            self.head_bytes = 0;
        }
    }

    fn head_needs(&self) -> usize {
        if self.head_bytes < 2 {
            return 2;
        }
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        2 + self.length_bytes() + mask
    }

    /// Of the length that follows the first two bytes.
    fn length_bytes(&self) -> usize {
        match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }

    /// What a whole head says of its frame.
    fn length(&self) -> u64 {
        match self.length_bytes() {
            0 => u64::from(self.head[1] & 0x7f),
            long => self.head[2..2 + long].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// The head of a frame and what is in it.
    fn frame(bytes: u64, masked: bool) -> [Vec<u8>; 2] {
        let [.., high, low] = bytes.to_be_bytes();
        let mut head = match bytes {
            0..126 => vec![0x82, low],
            126..0x1_0000 => vec![0x82, 126, high, low],
            _ => [&[0x82, 127][..], &bytes.to_be_bytes()].concat(),
        };
        if masked {
            head[1] |= 0x80;
            head.extend([1, 2, 3, 4]);
        }
        [head, (0..bytes).map(|_| b'x').collect()]
    }

    /// Read to the end, `most` at once.
    fn pieces(bytes: &[u8], buffer: usize, most: usize) -> Vec<Vec<u8>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut reader, mut piece, mut pieces) = (Frames::new(bytes, buffer), vec![0; most], Vec::new());
            loop {
                match reader.read(&mut piece).await.unwrap() {
                    0 => return pieces,
                    count => pieces.push(piece[..count].to_vec()),
                }
            }
        })
    }

    proptest! {
        #[test]
        fn pieces_end_where_heads_and_frames_end_however_the_bytes_come(
            sizes in prop::collection::vec(prop::sample::select(vec![0, 1, 13, 125, 126, 700, 65_535, 65_536]), 0..6),
            masked in any::<bool>(),
            buffer in 1_usize..5_000,
            most in 1_usize..3_000,
        ) {
            let parts: Vec<Vec<u8>> = sizes.iter().flat_map(|bytes| frame(*bytes, masked)).collect();
            let mut pieces = pieces(&parts.concat(), buffer, most).into_iter();
            for part in parts {
                let mut heard = Vec::new();
                while heard.len() < part.len() {
                    heard.extend(pieces.next().expect("it is cut short"));
                }
                prop_assert!(heard == part, "{} bytes instead of {}", heard.len(), part.len());
            }
            prop_assert!(pieces.next().is_none());
        }
    }
}
