//! What a script does to a session: after how many messages it waits, closes, or breaks.

use std::time::Duration;

use crate::mock::fault::{Fault, Place};
use crate::mock::live::refused::Close;
use crate::mock::script::Script;

/// One thing that happens before a message is sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Turn {
    Wait(Duration),
    /// The session is closed so.
    Close(Close),
    /// The connection ends without a close frame, by FIN or by RST.
    Cut,
    Reset,
}

/// What happens before message number `at`, the answer to the setup being number 0.
pub(super) fn before(script: &Script, at: usize) -> Vec<Turn> {
    let mut turns = Vec::new();
    for fault in &script.faults {
        match fault {
            Fault::Delay(wait) if at == 0 => turns.push(Turn::Wait(*wait)),
            Fault::Stall(after, lasting) if *after == at => turns.push(Turn::Wait(*lasting)),
            Fault::Close(code, after) if *after == at => {
                turns.push(Turn::Close(Close::new(*code, script.body.as_deref().unwrap_or("closed by a script"))));
            }
            Fault::Cut(Place::Frames(after)) if *after == at => turns.push(Turn::Cut),
            Fault::Reset(Place::Frames(after)) if *after == at => turns.push(Turn::Reset),
            _ => {}
        }
    }
    turns
}

/// The time that the client is told it has left, once the session has begun.
pub(super) fn go_away(script: &Script) -> Option<Duration> {
    script.faults.iter().find_map(|fault| if let Fault::GoAway(left) = fault { Some(*left) } else { None })
}

/// The bytes of inline data in the first content.
pub(super) fn huge(script: &Script) -> Option<usize> {
    script.faults.iter().find_map(|fault| if let Fault::Huge(bytes) = fault { Some(*bytes) } else { None })
}
