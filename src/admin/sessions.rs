//! Sessions: who has shown the admin token and carries a cookie since.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::rand;
use tokio::time::Instant;

use crate::secret::{Digest, Secret};

/// Sessions at once; beyond them the oldest goes.
const SESSIONS_MAX: usize = 64;
/// How long one lasts.
pub(crate) const LIFE: Duration = Duration::from_hours(12);
/// Random bytes of a session's name.
const NAME_BYTES: usize = 32;

/// The sessions that are open, by the digest of their name: the names are nowhere but in the cookies.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<VecDeque<Session>>);

struct Session {
    name: Digest,
    /// The token that it was opened by: with another one configured it is over.
    token: Digest,
    until: Instant,
}

impl Sessions {
    /// Opens one by `token`: its name, for the cookie. `None` where the system gives no random bytes.
    pub(crate) fn open(&self, token: Digest, now: Instant) -> Option<Secret> {
        let mut bytes = [0; NAME_BYTES];
        rand::fill(&mut bytes).ok()?;
        let name = Secret::new(Digest::from(bytes).to_string());
        let mut open = self.lock();
        open.retain(|session| session.until > now);
        if open.len() == SESSIONS_MAX {
            open.pop_front();
        }
        open.push_back(Session { name: name.digest(), token, until: now + LIFE });
        Some(name)
    }

    /// Whether `name` is an open session's, opened by `token`.
    pub(crate) fn knows(&self, name: &str, token: Digest, now: Instant) -> bool {
        let name = Digest::of(name.as_bytes());
        let alive = |session: &Session| session.until > now && session.token == token;
        // Every name is compared, so that the time says nothing of which one it was.
        self.lock().iter().filter(|session| alive(session) & session.name.matches(&name)).count() > 0
    }

    /// Ends the session of this name, if there is one.
    pub(crate) fn close(&self, name: &str) {
        let name = Digest::of(name.as_bytes());
        self.lock().retain(|session| !session.name.matches(&name));
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sessions", self.lock().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lasts_its_time_and_not_beyond_its_token() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let [token, other] = [Digest::of(b"fake-token-1"), Digest::of(b"fake-token-2")];
        let name = sessions.open(token, now).unwrap();
        assert_eq!(name.expose().len(), 2 * NAME_BYTES);
        assert!(sessions.knows(name.expose(), token, now));
        assert!(!sessions.knows(name.expose(), other, now), "the token was changed");
        assert!(!sessions.knows("", token, now) && !sessions.knows(&"0".repeat(64), token, now));
        assert!(!sessions.knows(name.expose(), token, now + LIFE));
        sessions.close(name.expose());
        assert!(!sessions.knows(name.expose(), token, now));
        assert_eq!(format!("{sessions:?}"), "0 sessions");
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let (sessions, now, token) = (Sessions::default(), Instant::now(), Digest::of(b"fake-token-1"));
        let names: Vec<_> = (0..=SESSIONS_MAX).filter_map(|_| sessions.open(token, now)).collect();
        assert!(!sessions.knows(names[0].expose(), token, now));
        assert!(names[1..].iter().all(|name| sessions.knows(name.expose(), token, now)));
        assert_eq!(sessions.lock().len(), SESSIONS_MAX);
    }
}
