//! How the house changes while it serves: what another configuration comes to is made beside it, then put in its place.

use std::sync::Arc;

use anyhow::ensure;
use futures_util::Stream;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::command::house::{House, probing, secrets, spec};
use crate::config::Configuration;
use crate::config::book::{Book, TakeUp};
use crate::gateway::Shared;
use crate::pool::key::KeySpec;
use crate::upstream::{Egresses, Upstream};

/// Keys that the pool has places for, those that are gone among them.
const PLACES_MAX: usize = 200_000;

/// A configuration that could be taken up at once: whatever might be wrong with it has been tried.
struct Renewal {
    house: Arc<House>,
    configuration: Configuration,
    specs: Vec<KeySpec>,
    egresses: Egresses,
    /// One for each of those there are, where the way to Google changes.
    upstreams: Vec<Upstream>,
}

impl House {
    /// Tries what a configuration comes to. Nothing changes before [`Renewal::take_up`].
    fn renewal(self: &Arc<Self>, configuration: Configuration) -> anyhow::Result<Renewal> {
        let (rooms, shared) = (self.rooms(), self.shared());
        let mut egresses = rooms.egresses.clone();
        let specs: Vec<KeySpec> = configuration.keys.iter().map(|key| spec(key, &mut egresses)).collect();
        let places = shared.pool.keys().places().len();
        ensure!(
            places + specs.len() <= PLACES_MAX,
            "{places} keys came and went since the start, and each keeps its place: restart geminate to forget them"
        );
        let (old, new) = (&shared.settings.upstream, &configuration.settings.upstream);
        // The file may say something else under the same name.
        let authorities = &configuration.authorities;
        let same = old == new && egresses == rooms.egresses && *authorities == rooms.authorities;
        let count = if same { 0 } else { rooms.upstreams.len() };
        let upstreams = (0..count).map(|_| Upstream::new(new, &egresses, authorities.all()));
        let upstreams = upstreams.collect::<Result<_, _>>()?;
        drop(rooms);
        Ok(Renewal { house: Arc::clone(self), configuration, specs, egresses, upstreams })
    }
}

impl House {
    /// Grants what `book` is asked for, and reads its files again at each of `hangups`.
    pub(super) fn follow(
        self: &Arc<Self>,
        book: Book,
        hangups: impl Stream<Item = ()> + Unpin + Send + 'static,
    ) -> anyhow::Result<()> {
        let house = Arc::clone(self);
        let take_up: TakeUp = Box::new(move |configuration| {
            let renewal = house.renewal(configuration)?;
            Ok(Box::new(move || renewal.take_up()))
        });
        self.until_stopped(book.run(take_up, hangups))
    }
}

impl Renewal {
    /// Puts it in the place of what was. Requests under way end as they began; those that wait for a key see the new
    /// ones.
    fn take_up(self) {
        let Self { house, configuration, specs, egresses, upstreams } = self;
        let began = Instant::now();
        let mut rooms = house.rooms();
        let old = house.shared();
        // First what must not be printed, then who may use it.
        if let Err(error) = old.eyes.scrubber.learn(&secrets(&configuration)) {
            return error!(%error, "the new secrets could not be learnt: nothing was changed");
        }
        (rooms.egresses, rooms.authorities) = (egresses, Arc::clone(&configuration.authorities));
        for (upstream, new) in rooms.upstreams.iter().zip(&upstreams) {
            upstream.renew(new);
        }
        if let Err(error) = old.pool.take_up(&specs, began) {
            return error!(%error, "a key cannot be sent in a header: nothing else was changed");
        }
        let Configuration { settings, clients, .. } = configuration;
        old.pool.probe_by(probing(&settings.pool));
        // What the operator set by hand stands until the file says something else.
        if settings.log.level != old.settings.log.level
            && let Err(error) = house.log.set(&settings.log.level)
        {
            warn!(%error, "the log's filter stays as it is");
        }
        let shared = Shared::renewed(&old, Arc::new(settings), clients, &house.tasks);
        let monitor = house.monitor(&shared);
        rooms.stacks.iter().for_each(|renew| renew(&shared, &monitor));
        house.shared.store(Arc::new(shared));
        info!(keys = specs.len(), took_ms = began.elapsed().as_secs_f64() * 1e3, "took up a new configuration");
    }
}
