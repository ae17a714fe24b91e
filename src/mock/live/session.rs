//! One session, from its setup message to its close.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use crate::mock::journal::{BODY_KEPT_MAX, Ending, OpenCall};
use crate::mock::line::Line;
use crate::mock::live::asker::Asker;
use crate::mock::live::refused::Close;
use crate::mock::live::script::{self, Turn};
use crate::mock::live::setup::{self, Begun};
use crate::mock::live::turns::{Heard, Talk};
use crate::mock::script::Script;
use crate::mock::world::World;

/// What the other side has to answer a close.
const FAREWELL: Duration = Duration::from_secs(1);
/// What the connection is given to write out what it holds before it breaks.
const SETTLE: Duration = Duration::from_millis(10);

/// The session's line, as its script bends it.
struct Wire {
    socket: WebSocketStream<TokioIo<Upgraded>>,
    script: Script,
    line: Arc<Line>,
    call: OpenCall,
    /// Messages sent.
    sent: usize,
}

/// The session is over.
struct Over;

/// Plays the session to its end.
pub(super) async fn run(world: Arc<World>, line: Arc<Line>, call: OpenCall, asker: Asker, upgrade: OnUpgrade) {
    let Ok(upgraded) = upgrade.await else { return };
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    let mut wire = Wire { socket, script: Script::default(), line, call, sent: 0 };
    let _over = play(&world, &mut wire, &asker).await;
}

async fn play(world: &World, wire: &mut Wire, asker: &Asker) -> Result<(), Over> {
    let first = wire.hear().await?;
    let first = first.into_data();
    wire.call.note(|call| {
        call.body = Bytes::copy_from_slice(&first[..first.len().min(BODY_KEPT_MAX)]);
        call.body_bytes = first.len() as u64;
    });
    let begun = match setup::judge(world, &wire.call, asker, &first) {
        Ok(begun) => begun,
        Err(close) => return wire.close(&close).await,
    };
    wire.script = begun.script.clone();
    wire.say(&json!({"setupComplete": {}})).await?;
    if let Some(left) = script::go_away(&wire.script) {
        wire.say(&json!({"goAway": {"timeLeft": format!("{}s", left.as_secs_f64())}})).await?;
    }
    if asker.path.to_ascii_lowercase().contains("echo") {
        return echo(wire).await;
    }
    talk(world, wire, &begun).await
}

/// Whatever comes goes back as it came.
async fn echo(wire: &mut Wire) -> Result<(), Over> {
    loop {
        let message = wire.hear().await?;
        wire.send(message).await?;
    }
}

async fn talk(world: &World, wire: &mut Wire, begun: &Begun) -> Result<(), Over> {
    let settings = world.settings();
    let mut talk = Talk::new(&begun.setup, settings.chunks);
    let resumption = begun.setup["sessionResumption"].is_object();
    let huge = script::huge(&wire.script);
    if resumption {
        wire.say(&update(world, begun)).await?;
    }
    loop {
        let message = wire.hear().await?;
        let answer = match talk.hear(&message.into_data(), huge) {
            Heard::On => continue,
            Heard::Answer(messages) => messages,
            Heard::Wrong(why) => return wire.close(&Close::new(1007, &why)).await,
        };
        for message in &answer {
            if !settings.chunk_interval.is_zero() {
                sleep(settings.chunk_interval).await;
            }
            wire.say(message).await?;
        }
        if resumption {
            wire.say(&update(world, begun)).await?;
        }
    }
}

/// A handle by which the project may go on with the session.
fn update(world: &World, begun: &Begun) -> Value {
    json!({"sessionResumptionUpdate": {"newHandle": world.make_resumable(&begun.project), "resumable": true}})
}

impl Wire {
    /// The next message that is no control frame.
    async fn hear(&mut self) -> Result<Message, Over> {
        loop {
            match self.socket.next().await {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => return Ok(message),
                Some(Ok(Message::Close(frame))) => {
                    let code = frame.map_or(1005, |frame| frame.code.into());
                    self.call.note(|call| call.close_heard = Some(code));
                    self.call.end(Ending::Complete);
                    // The answer goes out as the socket is read to its end.
                    let _ = timeout(FAREWELL, async { while let Some(Ok(_)) = self.socket.next().await {} }).await;
                    return Err(Over);
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => {
                    self.call.end(Ending::Gone);
                    return Err(Over);
                }
            }
        }
    }

    /// Sends JSON as Google does: in a binary frame, over several lines.
    async fn say(&mut self, value: &Value) -> Result<(), Over> {
        let text = serde_json::to_string_pretty(value).unwrap_or_default() + "\n";
        self.send(Message::binary(text)).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Over> {
        for turn in script::before(&self.script, self.sent) {
            match turn {
                Turn::Wait(wait) => self.wait(wait).await?,
                Turn::Close(close) => return self.close(&close).await,
                Turn::Cut | Turn::Reset => return self.break_off(turn == Turn::Reset).await,
            }
        }
        self.sent += 1;
        let length = message.len() as u64;
        if self.socket.send(message).await.is_err() {
            self.call.end(Ending::Gone);
            return Err(Over);
        }
        self.call.note(|call| {
            call.bytes_sent += length;
            call.writes += 1;
        });
        Ok(())
    }

    /// Waits; a client that leaves meanwhile is noticed.
    async fn wait(&mut self, wait: Duration) -> Result<(), Over> {
        let heard = tokio::select! {
            heard = self.hear() => heard,
            () = sleep(wait) => return Ok(()),
        };
        // What was said into the silence is lost, as nobody listens.
        heard.map(drop)
    }

    async fn close(&mut self, close: &Close) -> Result<(), Over> {
        let frame = CloseFrame { code: close.code.into(), reason: close.reason.as_str().into() };
        let farewell = async {
            let _ = self.socket.send(Message::Close(Some(frame))).await;
            while let Some(Ok(_)) = self.socket.next().await {}
        };
        let _ = timeout(FAREWELL, farewell).await;
        self.call.end(Ending::Complete);
        Err(Over)
    }

    async fn break_off(&mut self, reset: bool) -> Result<(), Over> {
        sleep(SETTLE).await;
        self.call.end(Ending::Broken);
        if reset {
            self.line.reset();
        } else {
            self.line.close();
        }
        std::future::pending().await
    }
}
