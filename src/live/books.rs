//! The books of a session: what Google's messages say of tokens, and what its end means to client, key and record.

use std::sync::Arc;

use tokio::time::Instant;

use crate::client::Client;
use crate::error::{Error, seconds};
use crate::live::close::{Close, FAILED, GOING_AWAY, NO_CODE, NORMAL, RESTART};
use crate::live::means::Limits;
use crate::live::message::Told;
use crate::live::pump::{End, Ending};
use crate::live::socket::Message;
use crate::live::tally::Tally;
use crate::pool::key::Key;
use crate::pool::lease::Lease;
use crate::pool::scene::Moment;
use crate::record::{Outcome, Record};
use crate::refusal::Refusal;
use crate::relay::Eyes;
use crate::resource::Resource;
use crate::telemetry::{AttemptSeen, clock};
use crate::usage::Usage;
use crate::verdict::Verdict;

/// What stands in the place of a key's id where an ephemeral token is used.
pub(super) const TOKEN: &str = "token";

/// Kept while the session lasts.
#[derive(Debug)]
pub(super) struct Books {
    eyes: Eyes,
    record: Arc<Record>,
    client: Client,
    lease: Option<Lease>,
    /// In whose project the session lives.
    home: Option<Arc<Key>>,
    tally: Tally,
    settled: u64,
    over: bool,
}

impl Books {
    /// Of a session of `client`'s that has begun on the key of `lease`, or on an ephemeral token; it lives in the project
    /// of the key `home`, where that is known.
    pub(super) fn new(
        eyes: Eyes,
        record: Arc<Record>,
        client: Client,
        lease: Option<Lease>,
        home: Option<Arc<Key>>,
    ) -> Self {
        Self { eyes, record, client, lease, home, tally: Tally::default(), settled: 0, over: false }
    }

    /// A message of Google's, on its way to the client.
    pub(super) fn read(&mut self, message: &Message) {
        let (bytes, now) = (bytes(message), Instant::now());
        self.record.chunk(bytes.len(), now);
        let told = Told::read(bytes);
        if self.tally.read(bytes, &told) {
            let Usage { prompt_tokens, .. } = self.tally.sum();
            self.record.usage(self.tally.sum());
            if let Some(lease) = &self.lease {
                lease.spend(prompt_tokens.saturating_sub(self.settled), now);
            }
            self.settled = self.settled.max(prompt_tokens);
        }
        if let (Some(handle), Some(key)) = (told.handle.as_deref(), &self.home)
            && let Some(session) = Resource::session(handle)
        {
            // Only its project can go on with it.
            self.eyes.affinity.learn(session, key, Some(&self.client), clock());
        }
    }

    /// The end: gives the verdict back; how the client and Google are to be closed.
    pub(super) fn end(mut self, ending: Ending, limits: &Limits) -> (Close, Close) {
        self.over = true;
        let away = || Close::new(GOING_AWAY, "");
        match ending {
            Ending::Client(end) => self.client_ended(end, limits),
            Ending::Google(end) => (self.google_ended(end, limits), away()),
            Ending::Idle => {
                let reason = format!("no message for {} s (live.idle_timeout_ms)", seconds(limits.idle));
                (self.ended(Outcome::Ok, Close::new(GOING_AWAY, &reason)), away())
            }
            Ending::Long => {
                let most = seconds(limits.whole.unwrap_or_default());
                let reason = format!("a session lasts at most {most} s (live.session_max_ms)");
                (self.ended(Outcome::Ok, Close::new(GOING_AWAY, &reason)), away())
            }
            Ending::Cancelled => {
                let close = Close::of(&Error::Cancelled);
                (self.ended(Outcome::Cancelled, close), away())
            }
            Ending::Drained => (self.ended(Outcome::Ok, Close::new(RESTART, "geminate is restarting")), away()),
        }
    }

    fn ended(&mut self, outcome: Outcome, close: Close) -> Close {
        self.record.outcome(outcome);
        self.seen(Verdict::Success, "");
        close
    }

    fn client_ended(&mut self, end: End, limits: &Limits) -> (Close, Close) {
        match end {
            // Google hears the client's own words; the client its answer.
            End::Closed(frame) => {
                let said = frame.map_or(Close::new(NO_CODE, ""), |frame| Close::new(frame.code.into(), &frame.reason));
                (self.ended(Outcome::Ok, said.clone()), said)
            }
            End::Broke(error) => match Close::of_fault(&error, limits.message_bytes) {
                Some(close) => (self.ended(Outcome::CallerError, close), Close::new(GOING_AWAY, "")),
                None => (self.gone(), Close::new(GOING_AWAY, "")),
            },
            End::Barred(close) => (self.ended(Outcome::CallerError, close), Close::new(GOING_AWAY, "")),
            End::Stuck => (self.gone(), Close::new(GOING_AWAY, "")),
        }
    }

    fn gone(&mut self) -> Close {
        self.record.outcome(Outcome::ClientGone);
        self.abandon();
        Close::new(GOING_AWAY, "")
    }

    /// How the client is closed when Google ended: by Google's own frame, where there was one.
    fn google_ended(&mut self, end: End, limits: &Limits) -> Close {
        let why = match end {
            End::Closed(frame) => return self.google_closed(Close::heard(frame.as_ref(), &self.eyes.scrubber)),
            End::Barred(close) => return self.google_closed(close),
            End::Broke(error) => match Close::of_fault(&error, limits.message_bytes) {
                Some(close) => format!("the upstream failed: {}", close.reason),
                None => "the upstream broke off".to_owned(),
            },
            End::Stuck => "the upstream takes nothing more".to_owned(),
        };
        self.record.outcome(Outcome::StreamBroken);
        self.fail(Verdict::Broken, &Refusal::default(), &why);
        Close::new(FAILED, &why)
    }

    fn google_closed(&mut self, close: Close) -> Close {
        if matches!(close.code, NORMAL | GOING_AWAY | NO_CODE) {
            return self.ended(Outcome::Ok, close);
        }
        let refusal = close.refusal();
        let verdict = match Verdict::of_key(&refusal) {
            Verdict::Internal | Verdict::Overloaded => Verdict::Broken,
            verdict => verdict,
        };
        if verdict.is_failure() {
            self.record.outcome(Outcome::StreamBroken);
            self.fail(verdict, &refusal, refusal.summary());
            return close;
        }
        self.ended(Outcome::CallerError, close)
    }

    fn fail(&mut self, verdict: Verdict, refusal: &Refusal, message: &str) {
        let moment = Moment { now: Instant::now(), wall: clock(), dice: 0.5 };
        if let Some(lease) = &mut self.lease {
            lease.fail(verdict, refusal, moment);
            lease.note(verdict, message.to_owned(), moment.wall);
        }
        self.seen(verdict, message);
    }

    fn abandon(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.abandon();
        }
        self.seen(Verdict::Abandoned, "");
    }

    fn seen(&self, verdict: Verdict, message: &str) {
        let id = self.lease.as_ref().map_or_else(|| TOKEN.into(), |lease| Arc::clone(&lease.key().id));
        let (record, key, now) = (&*self.record, &id, Instant::now());
        self.eyes.telemetry.attempt(AttemptSeen { record, key, verdict, status: None, message, now });
    }
}

impl Drop for Books {
    /// The session was cut: the key is not to blame.
    fn drop(&mut self) {
        if !self.over {
            self.abandon();
        }
    }
}

/// What is in a message.
fn bytes(message: &Message) -> &[u8] {
    match message {
        Message::Text(text) => text.as_bytes(),
        Message::Binary(bytes) => bytes,
        _ => &[],
    }
}
