//! Who asks: the clients that may come in, and how a credential finds its own.

use std::time::Duration;

use moka::sync::Cache;

use crate::secret::{Digest, Secret};
use crate::settings::{Auth, ClientLimits, Clients as Limits};

mod identity;
mod presented;
mod jwt;
mod peer;
mod guesses;

pub use guesses::Guesses;
pub(crate) use guesses::Token;
use identity::ANONYMOUS;
pub use identity::{Caller, Client};
pub use jwt::Unusable;
use jwt::{Refused, Verifier};
pub use peer::Peer;
pub(crate) use peer::asker;
pub use presented::Presented;

/// JWT clients that are remembered with their rate.
const JWT_CLIENTS_MAX: u64 = 10_000;
/// How long one is remembered after its last request. A rate limit is over after a minute, so nothing is lost.
const JWT_CLIENT_IDLE: Duration = Duration::from_hours(1);
/// The longest name of a JWT client.
const SUB_BYTES_MAX: usize = 128;
/// Verified tokens that are remembered, to verify a signature once and not for each request.
const TOKENS_MAX: u64 = 10_000;
/// How long a verified token is remembered at most.
const TOKEN_LIFE: Duration = Duration::from_mins(10);

/// The client that the dashboard's playground is; no token and no JWT names it.
pub const DASHBOARD: &str = "dashboard";

/// Why nobody was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Denied {
    /// No credential was presented.
    #[error("no credential: send `Authorization: Bearer`, `x-goog-api-key`, `x-api-key` or `?key=`")]
    Missing,
    /// None of the credentials is known.
    #[error("the credential is not valid here")]
    Unknown,
    /// None was needed, had the upload been known.
    #[error("no such upload")]
    Upload,
    /// A token that was good.
    #[error("the token has expired")]
    Expired,
}

/// Everyone who may come in.
pub struct Clients {
    tokens: Vec<(Digest, Client)>,
    admin: Option<Digest>,
    jwt: Option<Verifier>,
    /// Whoever asks, when there is nothing to authenticate by.
    anonymous: Option<Client>,
    limits: Limits,
    subjects: Cache<String, Client>,
    verified: Cache<Digest, (Client, u64)>,
}

impl Clients {
    /// `material` is the text of the JWT's public key file or JWKS file, when one is set. Without tokens and JWT
    /// everyone is `anonymous`, with the operator's rights when `loopback` says that only this machine can ask.
    pub fn new(auth: &Auth, limits: &Limits, material: Option<&str>, loopback: bool) -> Result<Self, Unusable> {
        let named = |n: usize| if n == 0 { "operator".to_owned() } else { format!("operator-{}", n + 1) };
        let token = |(n, token): (usize, &Secret)| {
            let id = named(n);
            (token.digest(), Client::new(id.as_str(), true, &limits_of(limits, &id)))
        };
        let jwt = Verifier::new(&auth.jwt, material)?;
        let open = auth.tokens.is_empty() && jwt.is_none();
        Ok(Self {
            tokens: auth.tokens.iter().enumerate().map(token).collect(),
            admin: auth.admin_token.as_ref().map(Secret::digest),
            jwt,
            anonymous: open.then(|| Client::new(ANONYMOUS, loopback, &limits_of(limits, ANONYMOUS))),
            limits: limits.clone(),
            subjects: Cache::builder().max_capacity(JWT_CLIENTS_MAX).time_to_idle(JWT_CLIENT_IDLE).build(),
            verified: Cache::builder().max_capacity(TOKENS_MAX).time_to_live(TOKEN_LIFE).build(),
        })
    }

    /// One client and its only credential, with the operator's rights: for a door of geminate's own.
    pub fn of_one(id: &str, credential: &Secret) -> Self {
        let client = Client::new(id, true, &ClientLimits::default());
        Self {
            tokens: vec![(credential.digest(), client)],
            admin: None,
            jwt: None,
            anonymous: None,
            limits: Limits::default(),
            subjects: Cache::builder().max_capacity(0).build(),
            verified: Cache::builder().max_capacity(0).build(),
        }
    }

    /// The client of the first credential that is valid.
    pub fn identify(&self, presented: &Presented) -> Result<Client, Denied> {
        if let Some(anonymous) = &self.anonymous {
            return Ok(anonymous.clone());
        }
        let mut denied = Denied::Missing;
        for credential in presented.iter() {
            match self.of(credential) {
                Ok(client) => return Ok(client),
                Err(Denied::Expired) => denied = Denied::Expired,
                Err(_) if denied == Denied::Missing => denied = Denied::Unknown,
                Err(_) => {}
            }
        }
        Err(denied)
    }

    /// Whether `/monitor/*` may be shown: to the admin token, without one to the operator.
    pub fn may_monitor(&self, presented: &Presented) -> bool {
        match self.admin {
            Some(_) => self.administers(presented),
            None => self.identify(presented).is_ok_and(|client| client.operator()),
        }
    }

    /// The digest of the admin token, where one is configured.
    pub fn admin(&self) -> Option<Digest> {
        self.admin
    }

    /// Whether the admin token is among the credentials. Never without one configured.
    pub fn administers(&self, presented: &Presented) -> bool {
        self.admin.is_some_and(|admin| presented.iter().any(|credential| Digest::of(credential).matches(&admin)))
    }

    /// Whether each of the credentials is somebody's, though it be one that has expired.
    pub(crate) fn know(&self, presented: &Presented) -> bool {
        let admin = |credential| self.admin.is_some_and(|admin| Digest::of(credential).matches(&admin));
        presented.iter().all(|credential| admin(credential) || self.of(credential).err() != Some(Denied::Unknown))
    }

    /// The client of this name, as it was given to it earlier: a token's, or a JWT's subject.
    pub fn named(&self, id: &str) -> Client {
        let mut tokens = self.tokens.iter().map(|(_, client)| client).chain(&self.anonymous);
        tokens.find(|client| &**client.id() == id).cloned().unwrap_or_else(|| self.subject(id))
    }

    fn subject(&self, sub: &str) -> Client {
        self.subjects.get_with_by_ref(sub, || Client::new(sub, false, &limits_of(&self.limits, sub)))
    }

    fn of(&self, credential: &[u8]) -> Result<Client, Denied> {
        let digest = Digest::of(credential);
        // Every token is compared, so that the time says nothing of which one it was.
        let mut found = None;
        for (token, client) in &self.tokens {
            if token.matches(&digest) {
                found = Some(client);
            }
        }
        match (found, &self.jwt) {
            (Some(client), _) => Ok(client.clone()),
            (None, Some(jwt)) => self.of_token(jwt, credential, digest),
            (None, None) => Err(Denied::Unknown),
        }
    }

    fn of_token(&self, jwt: &Verifier, token: &[u8], digest: Digest) -> Result<Client, Denied> {
        if let Some((client, expires)) = self.verified.get(&digest)
            && jsonwebtoken::get_current_timestamp() < expires
        {
            return Ok(client);
        }
        let verified = jwt.verify(token).map_err(|refused| match refused {
            Refused::Expired => Denied::Expired,
            Refused::Invalid => Denied::Unknown,
        })?;
        if !nameable(&verified.sub) {
            return Err(Denied::Unknown);
        }
        let client = self.subject(&verified.sub);
        self.verified.insert(digest, (client.clone(), verified.expires));
        Ok(client)
    }
}

/// Whether a JWT may name its client so: 1 to 128 letters, digits and `._-@:|+/=`, fit to stand in logs and metrics as
/// they are, and none of the names that are geminate's own to give.
pub fn nameable(sub: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@:|+/=".contains(&byte);
    let own = sub == ANONYMOUS || sub == DASHBOARD || sub == "operator" || sub.starts_with("operator-");
    (1..=SUB_BYTES_MAX).contains(&sub.len()) && sub.bytes().all(plain) && !own
}

fn limits_of(limits: &Limits, id: &str) -> ClientLimits {
    let all = ClientLimits { rate_limit_per_minute: limits.rate_limit_per_minute, burst: limits.burst };
    limits.named.get(id).cloned().unwrap_or(all)
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients")
            .field("tokens", &self.tokens.len())
            .field("jwt", &self.jwt.is_some())
            .finish_non_exhaustive()
    }
}
