//! Resumable uploads that are under way, each known by an id that nobody can guess.

use std::collections::VecDeque;

use crate::mock::content::{Content, Gathered};
use crate::mock::files::Label;
use crate::mock::mint;

/// How many are kept, those that are over too; beyond them the oldest is forgotten.
const SESSIONS_MAX: usize = 512;

/// Where an upload stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Status {
    Active,
    Final,
    Cancelled,
}

impl Status {
    /// As `x-goog-upload-status` says it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Final => "final",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One upload.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// The key it was begun with.
    pub(crate) key: String,
    pub(crate) project: String,
    /// `files`, or the store that the bytes become a document of.
    pub(crate) target: String,
    pub(crate) label: Label,
    /// The length that was told at the start.
    pub(crate) declared: Option<u64>,
    /// Bytes taken so far.
    pub(crate) received: u64,
    pub(crate) status: Status,
    /// What came so far; away while a chunk is arriving.
    gathered: Option<Gathered>,
}

impl Session {
    pub(crate) fn new(key: &str, project: &str, target: &str, label: Label, declared: Option<u64>) -> Self {
        Self {
            key: key.to_owned(),
            project: project.to_owned(),
            target: target.to_owned(),
            label,
            declared,
            received: 0,
            status: Status::Active,
            gathered: Some(Gathered::default()),
        }
    }
}

/// All of one world's.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    all: VecDeque<(String, Session)>,
}

impl Sessions {
    /// Begins an upload and gives its id.
    pub(crate) fn begin(&mut self, session: Session) -> String {
        if self.all.len() == SESSIONS_MAX {
            self.all.pop_front();
        }
        let id = mint::secret();
        self.all.push_back((id.clone(), session));
        id
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Session> {
        self.all.iter().find(|(known, _)| known == id).map(|(_, session)| session)
    }

    /// Takes what came so far out, for a chunk to be added. `None` when another chunk is arriving, or all have.
    pub(crate) fn open(&mut self, id: &str) -> Option<Gathered> {
        self.find_mut(id).filter(|session| session.status == Status::Active)?.gathered.take()
    }

    /// Puts it back, longer. An upload that was cancelled meanwhile keeps nothing.
    pub(crate) fn close(&mut self, id: &str, gathered: Gathered) {
        if let Some(session) = self.find_mut(id).filter(|session| session.status == Status::Active) {
            session.received = gathered.length();
            session.gathered = Some(gathered);
        }
    }

    /// Ends an upload with all its bytes. `None` when it is not open, or not of the length that was told.
    pub(crate) fn finish(&mut self, id: &str) -> Option<Content> {
        let session = self.find_mut(id).filter(|session| session.status == Status::Active)?;
        if session.declared.is_some_and(|declared| declared != session.received) {
            return None;
        }
        let gathered = session.gathered.take()?;
        session.status = Status::Final;
        Some(gathered.finish())
    }

    /// Ends an upload without a file; one that is over stays as it is.
    pub(crate) fn cancel(&mut self, id: &str) {
        if let Some(session) = self.find_mut(id).filter(|session| session.status == Status::Active) {
            session.status = Status::Cancelled;
            session.gathered = None;
        }
    }

    fn find_mut(&mut self, id: &str) -> Option<&mut Session> {
        self.all.iter_mut().find(|(known, _)| known == id).map(|(_, session)| session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(declared: Option<u64>) -> Session {
        Session::new("k", "p", "files", Label::default(), declared)
    }

    #[test]
    fn chunks_come_one_after_another_and_end_in_a_file() {
        let mut sessions = Sessions::default();
        let id = sessions.begin(session(Some(4)));
        let mut gathered = sessions.open(&id).unwrap();
        assert!(sessions.open(&id).is_none(), "two chunks at once");
        gathered.add(b"ab");
        sessions.close(&id, gathered);
        assert!(sessions.finish(&id).is_none(), "it is not whole yet");
        let mut gathered = sessions.open(&id).unwrap();
        gathered.add(b"cd");
        sessions.close(&id, gathered);
        assert_eq!(sessions.finish(&id).unwrap().head, "abcd");
        assert!(sessions.open(&id).is_none() && sessions.find(&id).unwrap().status == Status::Final);
    }

    #[test]
    fn a_cancelled_upload_takes_nothing_more() {
        let mut sessions = Sessions::default();
        let id = sessions.begin(session(None));
        let gathered = sessions.open(&id).unwrap();
        sessions.cancel(&id);
        sessions.close(&id, gathered);
        assert!(sessions.open(&id).is_none() && sessions.finish(&id).is_none());
        assert!(sessions.find("guessed").is_none());
    }

    #[test]
    fn sessions_are_bounded() {
        let mut sessions = Sessions::default();
        let first = sessions.begin(session(None));
        (0..SESSIONS_MAX).for_each(|_| drop(sessions.begin(session(None))));
        assert!(sessions.find(&first).is_none() && sessions.all.len() == SESSIONS_MAX);
    }
}
