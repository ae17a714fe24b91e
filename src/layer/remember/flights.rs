//! Flights: questions that are being asked just now, each by one call, and all who wait for its answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::error::Error;
use crate::layer::remember::kept::Kept;
use crate::record::Record;
use crate::secret::Digest;
use crate::usage::Usage;

/// Questions that are asked at once; those beyond them are asked without being shared.
const FLIGHTS_MAX: usize = 1_024;

/// The flights of all workers. The lock is held for a look and a change, never across a wait.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<Digest, watch::Sender<Course>>>);

/// How a flight ended, as those learn it who follow.
#[derive(Clone, Debug)]
pub(super) enum Landing {
    /// With an answer, for all of them.
    Answer {
        /// The answer.
        kept: Arc<Kept>,
        /// Its price.
        unpaid: Unpaid,
        /// The model that gave it in the place of the one asked for.
        fallback: Option<Arc<str>>,
    },
    /// With an error.
    Failed(Error),
    /// With an answer too large to be shared: each must ask for itself.
    Alone,
    /// Too late for the call that was made: whose time goes on longer may ask anew.
    Late,
}

/// How far a flight is, as those see it who follow.
#[derive(Clone, Debug, Default)]
pub(super) enum Course {
    /// The question has been asked.
    #[default]
    Asked,
    /// The answer has begun to come.
    Coming,
    /// It is over.
    Over(Landing),
}

/// Tokens of an answer whose call was closed before they were known: one of those who got it counts them.
#[derive(Clone, Debug)]
pub(super) struct Unpaid(Arc<Mutex<Option<Usage>>>);

/// What is found of a question.
pub(super) enum Boarding {
    /// It was answered just now.
    Landed(Arc<Kept>),
    /// Nobody asks it: the caller must, and tell the others by the flight. While the receiver is held somebody waits.
    Leads(Flight, watch::Receiver<Course>),
    /// Somebody asks it.
    Follows(watch::Receiver<Course>),
    /// Nobody asks it, and there are too many flights.
    Full,
}

/// One flight. Dropped, it is over; those who still wait then learn that nothing comes.
#[derive(Debug)]
pub(super) struct Flight {
    flights: Arc<Flights>,
    question: Digest,
    course: watch::Sender<Course>,
}

impl Landing {
    /// With an answer of the call that `record` tells of.
    pub(super) fn answer(kept: Arc<Kept>, record: &Record) -> Self {
        let unpaid = Some(record.used_later()).filter(|usage| !usage.is_zero());
        Self::Answer { kept, unpaid: Unpaid(Arc::new(Mutex::new(unpaid))), fallback: record.fallback() }
    }
}

impl Unpaid {
    /// The price, for the first who asks.
    pub(super) fn take(&self) -> Option<Usage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Flights {
    /// Finds the flight of a question, or begins one. `known` looks up kept answers once more: one may have landed since.
    pub(super) fn board(self: &Arc<Self>, question: Digest, known: impl Fn() -> Option<Arc<Kept>>) -> Boarding {
        let mut all = self.all();
        if let Some(course) = all.get(&question) {
            return Boarding::Follows(course.subscribe());
        }
        if let Some(kept) = known() {
            return Boarding::Landed(kept);
        }
        if all.len() >= FLIGHTS_MAX {
            return Boarding::Full;
        }
        let (course, aboard) = watch::channel(Course::Asked);
        all.insert(question, course.clone());
        Boarding::Leads(Flight { flights: Arc::clone(self), question, course }, aboard)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Digest, watch::Sender<Course>>> {
        // Nothing in there can be half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    /// Tells all who wait that the answer has begun to come.
    pub(super) fn coming(&self) {
        self.course.send_replace(Course::Coming);
    }

    /// Tells all who wait. Whoever asks from now on asks anew, or finds the answer among the kept ones.
    pub(super) fn land(&self, landing: Landing) {
        self.remove(&mut self.flights.all());
        self.course.send_replace(Course::Over(landing));
    }

    /// Ends when nobody waits any more; then nobody can join any more either.
    pub(super) async fn deserted(&self) {
        loop {
            self.course.closed().await;
            let mut all = self.flights.all();
            // Who joins does so under this lock.
            if self.course.receiver_count() == 0 {
                return self.remove(&mut all);
            }
        }
    }

    /// Takes this flight out, and not a later one of the same question.
    fn remove(&self, all: &mut HashMap<Digest, watch::Sender<Course>>) {
        if all.get(&self.question).is_some_and(|course| course.same_channel(&self.course)) {
            all.remove(&self.question);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.remove(&mut self.flights.all());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::FutureExt;
    use http::{HeaderValue, Method, Response};
    use tokio::time::Instant;

    use super::*;

    fn question(n: usize) -> Digest {
        Digest::of(&n.to_le_bytes())
    }

    fn board(flights: &Arc<Flights>, n: usize) -> Boarding {
        flights.board(question(n), || None)
    }

    fn lead(flights: &Arc<Flights>, n: usize) -> (Flight, watch::Receiver<Course>) {
        let Boarding::Leads(flight, aboard) = board(flights, n) else { panic!("somebody asks {n}") };
        (flight, aboard)
    }

    #[tokio::test]
    async fn the_first_leads_the_others_follow_and_all_learn_how_it_ended() {
        let flights = Arc::default();
        let (flight, _aboard) = lead(&flights, 1);
        let Boarding::Follows(mut course) = board(&flights, 1) else { panic!("it leads") };
        flight.land(Landing::Failed(Error::Busy));
        let over = |course: &Course| matches!(course, Course::Over(Landing::Failed(Error::Busy)));
        assert!(over(&course.wait_for(over).await.unwrap()));
        lead(&flights, 1);
    }

    #[tokio::test]
    async fn a_flight_goes_on_while_anybody_waits_and_no_longer() {
        let flights = Arc::default();
        let (flight, aboard) = lead(&flights, 1);
        let Boarding::Follows(landing) = board(&flights, 1) else { panic!("it leads") };
        drop(aboard);
        assert!(flight.deserted().now_or_never().is_none());
        drop(landing);
        assert!(flight.deserted().now_or_never().is_some());
        let (_second, _aboard) = lead(&flights, 1);
        // The end of the first is none of the second.
        drop(flight);
        assert!(matches!(board(&flights, 1), Boarding::Follows(_)));
    }

    #[tokio::test]
    async fn who_follows_a_flight_that_vanished_does_not_wait_for_ever() {
        let flights = Arc::default();
        let (flight, _aboard) = lead(&flights, 1);
        let Boarding::Follows(mut course) = board(&flights, 1) else { panic!("it leads") };
        drop(flight);
        assert!(course.wait_for(|course| matches!(course, Course::Over(_))).await.is_err());
        assert!(flights.all().is_empty());
    }

    #[test]
    fn flights_are_bounded() {
        let flights = Arc::default();
        let all: Vec<_> = (0..FLIGHTS_MAX).map(|n| lead(&flights, n)).collect();
        assert!(matches!(board(&flights, FLIGHTS_MAX), Boarding::Full));
        assert!(matches!(board(&flights, 0), Boarding::Follows(_)));
        drop(all);
        assert!(flights.all().is_empty());
    }

    #[test]
    fn an_answer_that_landed_in_between_is_found_and_no_flight_begins() {
        let flights: Arc<Flights> = Arc::default();
        let kept = Arc::new(Kept::of(&Response::new(Bytes::new()), false));
        assert!(matches!(flights.board(question(1), || Some(Arc::clone(&kept))), Boarding::Landed(_)));
        assert!(flights.all().is_empty());
    }

    #[test]
    fn tokens_are_counted_once_by_the_call_or_by_one_of_those_who_followed() {
        let kept = Arc::new(Kept::of(&Response::new(Bytes::new()), false));
        let spent = Usage { prompt_tokens: 7, ..Usage::default() };
        let unpaid = |record: &Record| {
            record.usage(spent);
            let Landing::Answer { unpaid, .. } = Landing::answer(Arc::clone(&kept), record) else { panic!("an error") };
            [unpaid.take(), unpaid.take()]
        };
        let record = || Record::new(HeaderValue::from_static("r"), Method::POST, Instant::now());
        assert_eq!(unpaid(&record()), [None, None]);
        let tried_twice = record();
        tried_twice.usage_aside(spent);
        assert_eq!(unpaid(&tried_twice), [None, None], "two answers, and both are counted");
        let closed = record();
        closed.close(Instant::now());
        assert_eq!(unpaid(&closed), [Some(spent), None]);
    }
}
