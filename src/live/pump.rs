//! The pump: messages both ways, each sent on before the next is read, until one side ends or the time is over.

use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::error::Error as SocketError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::live::close::Close;
use crate::live::means::Limits;
use crate::live::socket::{self, Message};
use crate::phase::Phase;
use crate::record::{Ender, Record};

/// After a side took no more: how long its own last word is waited for.
const LAST_WORD: Duration = Duration::from_secs(1);
/// Before connections are cut sessions are closed, so that nobody is: this much, or a quarter of what is left.
const BEFORE_CUT: Duration = Duration::from_secs(1);

/// How one side ended.
#[derive(Debug)]
pub(super) enum End {
    /// By a close frame.
    Closed(Option<CloseFrame>),
    /// Without one, or by what is no message that passes.
    Broke(SocketError),
    /// By a message that may not pass.
    Barred(Close),
    /// It takes nothing any more.
    Stuck,
}

/// Why a session is over.
#[derive(Debug)]
pub(super) enum Ending {
    Client(End),
    Google(End),
    /// No message came either way for too long.
    Idle,
    /// It lasted as long as one may.
    Long,
    /// The house goes down.
    Drained,
    /// The operator ended it.
    Cancelled,
}

/// When a session must be over.
#[derive(Debug)]
pub(super) struct Clock {
    limits: Limits,
    began: Instant,
    /// Milliseconds after `began`.
    last: AtomicU64,
    phase: watch::Receiver<Phase>,
    record: Arc<Record>,
}

impl Clock {
    /// From now on, for the session of this record.
    pub(super) fn new(limits: Limits, phase: watch::Receiver<Phase>, record: Arc<Record>) -> Self {
        Self { limits, began: Instant::now(), last: AtomicU64::new(0), phase, record }
    }

    /// A message passed.
    fn touch(&self) {
        self.last.store(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Ends when the drain begins: with the time by which sessions are to be closed.
    pub(super) async fn drains(&self) -> Instant {
        let deadline = Phase::drains(&mut self.phase.clone()).await;
        let left = deadline.saturating_duration_since(Instant::now());
        deadline - BEFORE_CUT.min(left / 4)
    }

    /// Ends when the operator wants the session to be over. The drain's word is for calls: sessions have [`Clock::cut`].
    pub(super) async fn cancelled(&self) {
        let by_operator = |cx: &mut Context<'_>| self.record.poll_cancelled(cx) == Some(Ender::Operator);
        poll_fn(|cx| if by_operator(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Ends when the house wants the session to be over.
    pub(super) async fn cut(&self) {
        sleep_until(self.drains().await).await;
    }

    /// Ends when the session must, whatever the sides do.
    async fn over(&self) -> Ending {
        let whole = async {
            match self.limits.whole {
                Some(whole) => sleep_until(self.began + whole).await,
                None => pending().await,
            }
        };
        let idle = async {
            loop {
                let due = self.began + Duration::from_millis(self.last.load(Relaxed)) + self.limits.idle;
                if due <= Instant::now() {
                    break;
                }
                sleep_until(due).await;
            }
        };
        tokio::select! {
            () = whole => Ending::Long,
            () = idle => Ending::Idle,
            () = self.cut() => Ending::Drained,
            () = self.cancelled() => Ending::Cancelled,
        }
    }
}

/// One side, as the pump sees it.
pub(super) struct Side<R, W> {
    pub(super) from: R,
    pub(super) to: W,
    /// Messages of its that were read before.
    pub(super) ahead: VecDeque<Message>,
}

/// Passes messages on until the session is over. `seen` is shown each message of Google's before it goes down, and
/// `check` says of each of the client's whether it may go up; `notice` makes the text that tells the client to leave, out
/// of the time it has left.
pub(super) async fn run<CR, CW, GR, GW>(
    client: &mut Side<CR, CW>,
    google: &mut Side<GR, GW>,
    clock: &Clock,
    mut seen: impl FnMut(&Message),
    check: impl FnMut(&Message) -> Result<(), Close>,
    notice: impl Fn(Duration) -> String,
) -> Ending
where
    CR: Stream<Item = Result<Message, SocketError>> + Unpin,
    GR: Stream<Item = Result<Message, SocketError>> + Unpin,
    CW: Sink<Message, Error = SocketError> + Unpin,
    GW: Sink<Message, Error = SocketError> + Unpin,
{
    let leave = async { notice(clock.drains().await.saturating_duration_since(Instant::now())) };
    let seen = |message: &Message| {
        seen(message);
        Ok(())
    };
    let (told, said) = (mem::take(&mut google.ahead), mem::take(&mut client.ahead));
    let mut down = pin!(pass(&mut google.from, &mut client.to, told, clock, seen, leave));
    let mut up = pin!(pass(&mut client.from, &mut google.to, said, clock, check, pending()));
    let passed = tokio::select! {
        biased;
        passed = &mut down => passed.told(Ending::Google, Ending::Client),
        passed = &mut up => passed.told(Ending::Client, Ending::Google),
        ending = clock.over() => (ending, true),
    };
    // Who takes nothing more may have said why.
    match passed {
        (Ending::Google(end), false) => Ending::Google(timeout(LAST_WORD, down).await.map_or(end, Passed::of_sender)),
        (Ending::Client(end), false) => Ending::Client(timeout(LAST_WORD, up).await.map_or(end, Passed::of_sender)),
        (ending, _) => ending,
    }
}

/// Why one direction is over: by its sender or by its receiver.
enum Passed {
    From(End),
    To(End),
}

impl Passed {
    /// Whose end it is, and whether that side had a say in it.
    fn told(self, from: fn(End) -> Ending, to: fn(End) -> Ending) -> (Ending, bool) {
        match self {
            Self::From(end) => (from(end), true),
            Self::To(end) => (to(end), false),
        }
    }

    fn of_sender(self) -> End {
        let (Self::From(end) | Self::To(end)) = self;
        end
    }
}

async fn pass<R, W>(
    from: &mut R,
    to: &mut W,
    mut ahead: VecDeque<Message>,
    clock: &Clock,
    mut check: impl FnMut(&Message) -> Result<(), Close>,
    notice: impl Future<Output = String>,
) -> Passed
where
    R: Stream<Item = Result<Message, SocketError>> + Unpin,
    W: Sink<Message, Error = SocketError> + Unpin,
{
    let (mut notice, mut noticed, mut last) = (pin!(notice), false, Bytes::new());
    let mut binary = ahead.front().is_some_and(Message::is_binary);
    loop {
        let message = if let Some(message) = ahead.pop_front() {
            if let Err(close) = check(&message) {
                return Passed::From(End::Barred(close));
            }
            message
        } else {
            tokio::select! {
                next = socket::next(from, &mut last) => match next {
                    Some(Ok(Message::Close(frame))) => return Passed::From(End::Closed(frame)),
                    // Both ends answer pings themselves; the pings pass, so that both connections live.
                    Some(Ok(Message::Pong(pong))) => {
                        last = pong;
                        continue;
                    }
                    Some(Ok(message)) => {
                        if !message.is_ping() {
                            clock.touch();
                            binary = message.is_binary();
                            if let Err(close) = check(&message) {
                                return Passed::From(End::Barred(close));
                            }
                        }
                        message
                    }
                    Some(Err(error)) => return Passed::From(End::Broke(error)),
                    None => return Passed::From(End::Broke(SocketError::ConnectionClosed)),
                },
                text = &mut notice, if !noticed => {
                    noticed = true;
                    // Google's clients read what Google writes: mostly binary frames.
                    if binary { Message::binary(text) } else { Message::text(text) }
                }
            }
        };
        last = message.clone().into_data();
        match timeout(clock.limits.idle, socket::send(to, message)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Passed::To(End::Broke(error)),
            Err(_) => return Passed::To(End::Stuck),
        }
    }
}
