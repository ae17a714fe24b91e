//! Sticks: in which project each client makes what its later calls may name together.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use crate::client::Client;
use crate::endpoint::Makes;
use crate::settings;

/// Where each client works. In memory alone, bounded; each is forgotten when its client has made nothing for long enough.
#[derive(Debug)]
pub(crate) struct Sticks {
    /// Where it last made a file, a cache, a store or the like.
    made: Cache<Arc<str>, u32>,
    /// Where its last conversation is: of use to one that has made nothing yet.
    talked: Cache<Arc<str>, u32>,
}

impl Sticks {
    /// Nobody's yet.
    pub(crate) fn new(settings: &settings::Affinity) -> Self {
        let stickiness = Duration::from_millis(settings.uploads_stick_ms);
        let cache = || Cache::builder().max_capacity(settings.resources_max).time_to_idle(stickiness).build();
        Self { made: cache(), talked: cache() }
    }

    /// Where a client should make this. A conversation goes where things were made that it may name; what is made first, to
    /// the conversation that may name it.
    pub(crate) fn of(&self, client: &Client, makes: Makes) -> Option<u32> {
        let talked = || self.talked.get(client.id()).filter(|_| makes == Makes::Thing);
        self.made.get(client.id()).or_else(talked)
    }

    /// A client makes this in `project`.
    pub(crate) fn stick(&self, client: &Client, makes: Makes, project: u32) {
        let place = match makes {
            Makes::Thing => &self.made,
            Makes::Turn => &self.talked,
        };
        place.insert(Arc::clone(client.id()), project);
    }
}
