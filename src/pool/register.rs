//! The register: what is configured of the pool and its keys do not say themselves.

use std::collections::HashMap;
use std::sync::Arc;

use crate::pool::key::{Ceilings, KeySpec};
use crate::pool::keys::Keys;
use crate::pool::roster::{Project, Roster};
use crate::secret::Digest;

/// Held by whoever adds to the pool.
#[derive(Debug, Default)]
pub struct Register {
    /// The projects that have a label.
    labels: HashMap<Arc<str>, u32>,
    /// The projects of keys that have none, by the key.
    own: HashMap<Digest, u32>,
    /// The operator's ceilings, by project. All lanes share them.
    pub ceilings: Arc<HashMap<u32, Ceilings>>,
}

impl Register {
    /// The place of a key's project, new if need be.
    pub fn project(&mut self, spec: &KeySpec, roster: &mut Roster, keys: &Keys) -> u32 {
        let fresh = || {
            let name = spec.project.as_ref().unwrap_or(&spec.id);
            roster.projects.push(Project::new(Arc::clone(name)));
            keys.homes.add()
        };
        match &spec.project {
            Some(label) => *self.labels.entry(Arc::clone(label)).or_insert_with(fresh),
            None => *self.own.entry(spec.secret.digest()).or_insert_with(fresh),
        }
    }
}
