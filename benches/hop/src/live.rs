//! Live sessions over blocking sockets, all by one thread: opened one after the other, then spoken to all at once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::load::Address;

const PATH: &str = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";
/// What a client says of itself, once.
const SETUP: &str =
    r#"{"setup":{"model":"models/gemini-3.8-live","generationConfig":{"responseModalities":["AUDIO"]}}}"#;
/// What makes it the model's turn.
const OVER: &str = r#"{"realtimeInput":{"audioStreamEnd":true}}"#;
/// The base64 of one of the client's messages.
const AUDIO_BYTES: usize = 6_000;
/// The client's messages of a turn, before the one that ends it.
const AUDIO_MESSAGES: usize = 5;
/// For a message to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sessions that are open.
pub struct Sessions {
    all: Vec<Session>,
    audio: Vec<u8>,
    over: Vec<u8>,
}

impl Sessions {
    /// Opens so many, each until it has heard that its setup is complete.
    pub fn open(address: &Address, count: usize) -> Self {
        let audio = format!(
            r#"{{"realtimeInput":{{"audio":{{"mimeType":"audio/pcm;rate=16000","data":"{}"}}}}}}"#,
            "A".repeat(AUDIO_BYTES)
        );
        let all = (0..count).map(|_| Session::open(address)).collect();
        Self { all, audio: frame(&audio), over: frame(OVER) }
    }

    /// A turn of every session's, under way at the same time: how many messages there were, of both sides.
    pub fn turn(&mut self) -> u64 {
        for session in &mut self.all {
            for _ in 0..AUDIO_MESSAGES {
                session.0.write_all(&self.audio).expect("a session");
            }
            session.0.write_all(&self.over).expect("a session");
        }
        let asked = AUDIO_MESSAGES as u64 + 1;
        self.all.iter_mut().map(|session| asked + session.hear_turn()).sum()
    }
}

/// A client's end of a session.
struct Session(TcpStream);

impl Session {
    fn open(address: &Address) -> Self {
        let stream = TcpStream::connect(address.at).expect("a gateway that listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut session = Self(stream);
        let head = format!(
            "GET {PATH} HTTP/1.1\r\nhost: {}\r\nx-goog-api-key: {}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            address.at, address.token
        );
        session.0.write_all(head.as_bytes()).expect("a connection");
        session.switched();
        session.0.write_all(&frame(SETUP)).expect("a session");
        let first = session.hear();
        assert!(memchr::memmem::find(&first, b"setupComplete").is_some(), "{}", String::from_utf8_lossy(&first));
        session
    }

    /// Reads the answer to the handshake, and nothing of what follows it.
    fn switched(&mut self) {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            self.0.read_exact(&mut byte).expect("an answer in time");
            head.extend(byte);
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    }

    /// Hears the model's turn to its end: how many messages it had.
    fn hear_turn(&mut self) -> u64 {
        for count in 1.. {
            if memchr::memmem::find(&self.hear(), b"turnComplete").is_some() {
                return count;
            }
        }
        0
    }

    /// The next message, which is one frame.
    fn hear(&mut self) -> Vec<u8> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).expect("a message in time");
        assert!(matches!(head[0], 0x81 | 0x82), "a whole message: {head:x?}");
        let bytes = match head[1] {
            126 => u64::from(u16::from_be_bytes(self.exactly())),
            127 => u64::from_be_bytes(self.exactly()),
            short => short.into(),
        };
        let mut message = vec![0; usize::try_from(bytes).expect("a length")];
        self.0.read_exact(&mut message).expect("a whole message");
        message
    }

    fn exactly<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes).expect("a whole head");
        bytes
    }
}

/// A client's text frame, masked as it must be.
fn frame(text: &str) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![0x81];
    match u16::try_from(text.len()).expect("a short message") {
        len @ ..=125 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0x80 | 126);
            frame.extend(len.to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(text.bytes().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
