//! Affinity: which project owns which resource, and what that means for a call that names some.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant as StdInstant};

use jiff::{SignedDuration, Timestamp};
use moka::Expiry;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::endpoint::Makes;
use crate::error::Error;
use crate::pool::homes::Homes;
use crate::pool::key::Key;
use crate::pool::keys::Keys;
use crate::reference::Reference;
use crate::resource::Resource;
use crate::settings;

mod sightings;
mod sticks;
pub mod prefixes;
pub mod signatures;

pub use sightings::Answer;

use self::prefixes::Prefixes;
use self::signatures::Signatures;
use sightings::Sightings;
use sticks::Sticks;

/// The index of resources. Made once, shared.
#[derive(Debug)]
pub struct Affinity {
    owners: Cache<Resource, Owner>,
    /// Which project a client makes things in.
    sticks: Sticks,
    /// Apart from the resources, which they would drive out.
    signatures: Signatures,
    /// `None`: conversations go where it is whose turn.
    prefixes: Option<Prefixes>,
    homes: Arc<Homes>,
    isolate: bool,
    /// Grows with every change, so that the index is written down only then.
    changes: AtomicU64,
}

/// Who owns a resource.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The pool's index of the key it was made or seen with.
    pub key: u32,
    /// The pool's index of that key's project.
    pub project: u32,
    /// The client that made it; `None`: it was seen, and nobody here is known to have made it.
    pub client: Option<Client>,
    /// When it may be forgotten.
    until: Timestamp,
}

/// What a call's resources say of the keys that may serve it.
#[derive(Clone, Debug, Default)]
pub enum Bound {
    /// It names none: any key.
    #[default]
    Free,
    /// It names none, and a project should serve it while it can: where the client made what it may name with this.
    Prefers(u32),
    /// The owner's project: any of its keys.
    Project(u32, Resource),
    /// One key and no other: what it began, it must end, and may even while it rests.
    Key(u32, Resource),
    /// It asks for one project's part of a list.
    Part(u32),
    /// It names resources of which nobody is known to own any.
    Unknown(Arc<[Resource]>),
}

/// Why a call may not name what it names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Conflict {
    /// No project owns both.
    TwoOwners(Resource, Resource),
    /// It is not the client's.
    Foreign(Resource),
}

impl Affinity {
    /// An empty index of at most `settings.resources_max` resources.
    pub fn new(settings: &settings::Affinity) -> Self {
        Self {
            // Whatever is new must be kept, even if all else is used more.
            owners: Cache::builder()
                .max_capacity(settings.resources_max)
                .eviction_policy(EvictionPolicy::lru())
                .expire_after(Life)
                .build(),
            sticks: Sticks::new(settings),
            signatures: Signatures::default(),
            prefixes: None,
            homes: Arc::new(Homes::new(0)),
            isolate: settings.isolate_clients,
            changes: AtomicU64::new(0),
        }
    }

    /// Whether `client` may name only what it made.
    pub fn isolates(&self, client: &Client) -> bool {
        self.isolate && !client.operator()
    }

    /// Projects that turned out to be one own what either of them did.
    #[must_use]
    pub fn with_homes(self, homes: Arc<Homes>) -> Self {
        Self { homes, ..self }
    }

    /// Conversations that share a long prefix stay on one project while it has room.
    #[must_use]
    pub fn with_prefixes(self, wanted: bool) -> Self {
        Self { prefixes: wanted.then(Prefixes::default), ..self }
    }

    /// Who has read which prefix, where conversations are kept together.
    pub const fn prefixes(&self) -> Option<&Prefixes> {
        self.prefixes.as_ref()
    }

    /// Who owns a resource, as far as it is known.
    pub fn owner(&self, resource: &Resource) -> Option<Owner> {
        self.owners.get(resource).map(|owner| Owner { project: self.homes.of(owner.project), ..owner })
    }

    /// Whether `client` may see a resource.
    pub fn shows(&self, resource: &Resource, client: &Client) -> bool {
        !self.isolates(client) || self.owner(resource).is_some_and(|owner| owner.is(client))
    }

    /// Where a call of `client` must go that names these.
    pub fn bind<'r>(
        &self,
        references: impl Iterator<Item = &'r Reference>,
        client: &Client,
    ) -> Result<Bound, Conflict> {
        let mut bound: Option<(u32, &Resource)> = None;
        let mut unknown: Vec<Resource> = Vec::new();
        let isolated = self.isolates(client);
        for Reference { resource, certain } in references {
            match self.owner(resource) {
                Some(owner) if isolated && !owner.is(client) => return Err(Conflict::Foreign(resource.clone())),
                Some(owner) => match bound {
                    Some((project, first)) if project != owner.project => {
                        return Err(Conflict::TwoOwners(first.clone(), resource.clone()));
                    }
                    Some(_) => {}
                    None => bound = Some((owner.project, resource)),
                },
                None if !certain => {}
                None if isolated => return Err(Conflict::Foreign(resource.clone())),
                None => unknown.push(resource.clone()),
            }
        }
        Ok(match bound {
            Some((project, resource)) => Bound::Project(project, resource.clone()),
            None if unknown.is_empty() => Bound::Free,
            None => Bound::Unknown(unknown.into()),
        })
    }

    /// `resource` lives in the project of `key`, and `client` made it. Of what is known already nothing changes: what an
    /// answer says may be what its client wrote.
    pub fn learn(&self, resource: Resource, key: &Key, client: Option<&Client>, now: Timestamp) {
        let until = now.saturating_add(SignedDuration::try_from(resource.life()).unwrap_or(SignedDuration::MAX));
        let until = until.unwrap_or(Timestamp::MAX);
        let owner = || Owner { key: key.index, project: key.project(), client: client.cloned(), until };
        if self.owners.entry(resource).or_insert_with(owner).is_fresh() {
            self.changes.fetch_add(1, Relaxed);
        }
    }

    /// It is gone.
    pub fn forget(&self, resource: &Resource) {
        if self.owners.remove(resource).is_some() {
            self.changes.fetch_add(1, Relaxed);
        }
    }

    /// The project where a client should make what it may name with what it made before, so that all has one owner.
    pub fn sticks(&self, client: &Client, makes: Makes) -> Option<u32> {
        self.sticks.of(client, makes).map(|project| self.homes.of(project))
    }

    /// A client has made such a thing in `project`.
    pub fn stick(&self, client: &Client, makes: Makes, project: u32) {
        self.sticks.stick(client, makes, project);
    }

    /// On whose behalf a resumable upload goes on at `path` for whoever has its id; `client` is the one who says so, where a
    /// credential tells. `None`: it is not known, or not theirs.
    pub fn continues(&self, path: &str, upload_id: &str, client: Option<&Client>) -> Option<Client> {
        let owner = self.owner(&Resource::upload(path, upload_id)?)?;
        let foreign = client.is_some_and(|client| self.isolates(client) && !owner.is(client));
        owner.client.filter(|_| !foreign)
    }

    /// It is over, but may be asked for a little while yet.
    pub fn retire(&self, resource: &Resource, after: Duration, now: Timestamp) {
        let Some(owner) = self.owners.get(resource) else { return };
        let until = now.saturating_add(SignedDuration::try_from(after).unwrap_or(SignedDuration::MAX));
        let until = until.unwrap_or(Timestamp::MAX).min(owner.until);
        self.owners.insert(resource.clone(), Owner { until, ..owner });
        self.changes.fetch_add(1, Relaxed);
    }

    /// Who made the signatures of thoughts.
    pub const fn signatures(&self) -> &Signatures {
        &self.signatures
    }

    /// How many resources are known.
    pub fn len(&self) -> u64 {
        self.owners.entry_count()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Grows with every change.
    pub fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }

    /// What must survive a restart.
    pub fn memory(&self, keys: &Keys) -> Memory {
        let entry = |(resource, owner): (Arc<Resource>, Owner)| {
            let key = keys.get(owner.key)?;
            Some(Remembered {
                name: resource.name().to_owned(),
                key: key.digest.to_string(),
                client: owner.client.as_ref().map(|client| client.id().to_string()),
                until: owner.until,
            })
        };
        Memory { resources: self.owners.iter().filter_map(entry).collect() }
    }

    /// Takes up what an earlier run remembered. What is past, and what belonged to keys that are gone, is dropped.
    /// `client` makes a client of its name.
    pub fn recall(&self, memory: Memory, keys: &Keys, now: Timestamp, client: impl Fn(&str) -> Client) {
        let by_digest: std::collections::HashMap<String, &Arc<Key>> =
            keys.iter().map(|key| (key.digest.to_string(), key)).collect();
        for Remembered { name, key, client: made_by, until } in memory.resources {
            let (Some(resource), Some(key)) = (Resource::recall(&name), by_digest.get(&key)) else { continue };
            if until > now {
                let client = made_by.map(|name| client(&name));
                self.owners.insert(resource, Owner { key: key.index, project: key.project(), client, until });
            }
        }
    }
}

/// Sees one answer of Google's pass: what it names is learnt before its client can read it.
#[derive(Debug)]
pub struct Witness {
    affinity: Arc<Affinity>,
    sightings: Sightings,
    /// Who made what the answer names.
    client: Option<Client>,
    /// What is gone when the answer is a success.
    deletes: Option<Resource>,
}

impl Witness {
    /// Of `answer`; `client` made what it names, if anyone did.
    pub fn new(affinity: Arc<Affinity>, answer: Answer<'_>, client: Option<Client>, deletes: Option<Resource>) -> Self {
        Self { affinity, sightings: Sightings::new(answer), client, deletes }
    }

    /// The next bytes, of an answer to `key`.
    pub fn see(&mut self, chunk: &[u8], key: &Key, now: Timestamp) {
        for resource in self.sightings.feed(chunk) {
            if self.deletes.is_none() {
                self.affinity.learn(resource, key, self.client.as_ref(), now);
            }
        }
    }

    /// The answer ended in order, with success.
    pub fn succeeded(&self) {
        if let Some(resource) = &self.deletes {
            self.affinity.forget(resource);
        }
    }
}

impl Owner {
    /// Whether `client` made it.
    pub fn is(&self, client: &Client) -> bool {
        self.client.as_ref().is_some_and(|owner| owner.id() == client.id())
    }
}

impl From<Conflict> for Error {
    fn from(conflict: Conflict) -> Self {
        match conflict {
            Conflict::TwoOwners(one, other) => Self::TwoOwners(one, other),
            Conflict::Foreign(resource) => Self::Foreign(resource),
        }
    }
}

impl Bound {
    /// What the call is bound by.
    pub fn resource(&self) -> Option<&Resource> {
        match self {
            Self::Project(_, resource) | Self::Key(_, resource) => Some(resource),
            Self::Free | Self::Prefers(_) | Self::Part(_) | Self::Unknown(_) => None,
        }
    }
}

/// The index on disk.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Memory {
    resources: Vec<Remembered>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Remembered {
    name: String,
    /// The digest of its key, in hex.
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    until: Timestamp,
}

/// Each resource lives as long as its kind; one that was recalled, as long as was left.
struct Life;

impl Expiry<Resource, Owner> for Life {
    fn expire_after_create(&self, resource: &Resource, owner: &Owner, _: StdInstant) -> Option<Duration> {
        // The wall clock may jump: no entry outlives its kind.
        let left = Duration::try_from(owner.until.duration_since(Timestamp::now())).unwrap_or_default();
        Some(left.min(resource.life()))
    }

    fn expire_after_update(
        &self,
        resource: &Resource,
        owner: &Owner,
        at: StdInstant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(resource, owner, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::key::{Ceilings, KeySpec};
    use crate::secret::Secret;

    fn key() -> Key {
        let spec = KeySpec {
            id: "1".into(),
            secret: Secret::new("fake-key-0001".into()),
            weight: 1,
            project: None,
            egress: 0,
            ceilings: Ceilings::default(),
            enabled: true,
        };
        Key::new(&spec, 0, 0, &Arc::new(Homes::new(1))).unwrap()
    }

    #[test]
    fn a_full_index_takes_up_what_is_new() {
        let affinity = Affinity::new(&settings::Affinity { resources_max: 100, ..settings::Affinity::default() });
        let (key, now) = (key(), Timestamp::now());
        let file = |n: usize| Resource::of_value(&format!("files/f{n}")).unwrap();
        for n in 0..100 {
            affinity.learn(file(n), &key, None, now);
            (0..10).for_each(|_| drop(affinity.owner(&file(n))));
        }
        for n in 100..200 {
            affinity.learn(file(n), &key, None, now);
            assert!(affinity.owner(&file(n)).is_some(), "{n}");
        }
        affinity.owners.run_pending_tasks();
        assert!(affinity.len() <= 100, "{}", affinity.len());
        assert!(affinity.owner(&file(199)).is_some());
    }
}
