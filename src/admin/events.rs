//! `/api/overview`, and `/api/live`: the same and the keys that changed, each second, as an event stream.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::IntoResponse;
use futures_util::stream;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::admin::live::{LISTENERS_MAX, Listener, event, next};
use crate::admin::overview::Overview;
use crate::admin::problem::Problem;
use crate::admin::room::Room;
use crate::admin::rows::{Row, rows};

/// Tells nginx not to hold the events back.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// The time between two ticks.
const TICK: Duration = Duration::from_secs(1);

/// Everything at a glance.
#[utoipa::path(get, path = "/api/overview", tag = "overview", responses((status = 200, body = Overview)))]
pub(crate) async fn overview(State(room): State<Arc<Room>>) -> Json<Overview> {
    Json(room.overview(&room.view()))
}

/// The overview each second (`overview`, as `/api/overview` has it) and the keys that changed (`keys`: `keys` as
/// `/api/keys` has them, and `gone` with the ids of those that were removed). The first `keys` has all. It ends when the
/// session or the admin token by which it was opened does.
#[utoipa::path(
    get, path = "/api/live", tag = "overview",
    responses(
        (status = 200, description = "Events without end", body = String, content_type = "text/event-stream"),
        (status = 503, description = "Too many listen", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn live(State(room): State<Arc<Room>>, headers: HeaderMap) -> Result<impl IntoResponse, Problem> {
    let Some(Listener { ticks, first }) = room.lasting.live.listen() else {
        let detail = format!("{LISTENERS_MAX} listen already");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).after(TICK));
    };
    if first {
        let ticker = Arc::clone(&room);
        room.lasting.tasks.spawn(async move { tick(&ticker).await }).map_err(|full| {
            room.lasting.live.stopped();
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, full.to_string()).after(TICK)
        })?;
    }
    let whole = Bytes::from(whole(&room));
    let visitor = room.visitor(&headers, Instant::now());
    let events = stream::unfold((Some(whole), ticks, room, visitor), |(whole, mut ticks, room, visitor)| async {
        let events = match whole {
            Some(whole) => whole,
            None => next(&mut ticks).await.ok()?.unwrap_or_else(|| self::whole(&room).into()),
        };
        let known = room.lasting.knows(&visitor, Instant::now());
        known.then_some((Ok::<_, Infallible>(events), (None, ticks, room, visitor)))
    });
    Ok(([(CONTENT_TYPE, "text/event-stream"), (ACCEL_BUFFERING, "no")], Body::from_stream(events)))
}

/// Ticks until nobody listens or geminate ends.
async fn tick(room: &Room) {
    let mut clock = interval(TICK);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut changes = Changes::default();
    loop {
        tokio::select! {
            _ = clock.tick() => {}
            () = room.lasting.tasks.stopping() => return room.lasting.live.stopped(),
        }
        if room.lasting.live.is_over() {
            return;
        }
        room.lasting.live.tick(changes.events(room).into());
    }
}

/// Everything, for whoever begins to listen.
fn whole(room: &Room) -> String {
    Changes::default().events(room)
}

/// What the last tick said of each key.
#[derive(Default)]
struct Changes {
    told: HashMap<Arc<str>, u64>,
    hasher: RandomState,
    /// Whether anything was told.
    begun: bool,
}

impl Changes {
    /// The events of this tick.
    fn events(&mut self, room: &Room) -> String {
        let view = room.view();
        let overview = serde_json::to_string(&room.overview(&view)).unwrap_or_default();
        let mut events = event("overview", &overview);
        if let Some(keys) = self.keys(&rows(view, &room.running().configuration)) {
            events.push_str(&event("keys", &keys));
        }
        events
    }

    /// What differs from the last time; `None` when nothing does.
    fn keys(&mut self, rows: &[Row]) -> Option<String> {
        let mut changed = String::new();
        let mut text = Vec::new();
        for row in rows {
            text.clear();
            // Writing to a Vec cannot fail, and a row has no map with other keys than texts.
            let _never_fails = serde_json::to_writer(&mut text, row);
            let hash = self.hasher.hash_one(&text);
            if self.told.get(row.id()) != Some(&hash) {
                self.told.insert(Arc::clone(row.id()), hash);
                changed.push_str(if changed.is_empty() { "" } else { "," });
                changed.push_str(&String::from_utf8_lossy(&text));
            }
        }
        let gone = self.gone(rows);
        if std::mem::replace(&mut self.begun, true) && changed.is_empty() && gone.is_empty() {
            return None;
        }
        let gone = serde_json::to_string(&gone).unwrap_or_default();
        Some(format!("{{\"keys\":[{changed}],\"gone\":{gone}}}"))
    }

    fn gone(&mut self, rows: &[Row]) -> Vec<Arc<str>> {
        if self.told.len() == rows.len() {
            return Vec::new();
        }
        let there: HashSet<_> = rows.iter().map(Row::id).collect();
        self.told.extract_if(|id, _| !there.contains(id)).map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Sources;
    use crate::pool::KeyPool;
    use crate::pool::key::{Ceilings, KeySpec};
    use crate::pool::memory::Clocks;
    use crate::secret::Secret;
    use crate::telemetry::clock;

    fn rows_of(ids: &[(&str, bool)]) -> Vec<Row> {
        let spec = |(id, enabled): &(&str, bool)| KeySpec {
            id: (*id).into(),
            secret: Secret::new(format!("fake-key-{id}")),
            weight: 1,
            project: None,
            egress: 0,
            ceilings: Ceilings::default(),
            enabled: *enabled,
        };
        let clocks = Clocks { now: Instant::now(), wall: clock() };
        let configuration = Sources::new([("GEMINI_API_KEY", "fake-key-0001")], None).configuration().unwrap();
        let pool = KeyPool::new(&ids.iter().map(spec).collect::<Vec<_>>(), clocks).unwrap();
        rows(pool.view(clocks), &configuration)
    }

    fn ids(event: Option<String>) -> Value {
        let Some(event) = event else { return Value::Null };
        let event: Value = serde_json::from_str(&event).unwrap();
        let keys: Vec<_> = event["keys"].as_array().unwrap().iter().map(|key| key["id"].clone()).collect();
        json!([keys, event["gone"]])
    }

    #[test]
    fn the_first_event_is_whole_and_the_next_ones_have_what_changed() {
        let mut changes = Changes::default();
        assert_eq!(ids(changes.keys(&[])), json!([[], []]), "none is also told once");
        let two = [("a", true), ("b", true)];
        assert_eq!(ids(changes.keys(&rows_of(&two))), json!([["a", "b"], []]));
        assert_eq!(ids(changes.keys(&rows_of(&two))), Value::Null);
        // Those of the others that change are their shares.
        assert_eq!(ids(changes.keys(&rows_of(&[("a", true), ("b", false)]))), json!([["a", "b"], []]));
        assert_eq!(ids(changes.keys(&rows_of(&[("a", true), ("c", true)]))), json!([["a", "c"], ["b"]]));
        let gone = ids(changes.keys(&[]));
        assert!(gone == json!([[], ["a", "c"]]) || gone == json!([[], ["c", "a"]]), "{gone}");
    }
}
