//! One client: its name, its rights and its rate.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::endpoint::Surface;
use crate::secret::Secret;
use crate::settings::ClientLimits;

/// The client that anyone is where there is nothing to know clients by; no token and no JWT names it.
pub(super) const ANONYMOUS: &str = "anonymous";

/// Who asks, and in which dialect: told before the credentials that show it are taken out of the request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub client: Client,
    /// In which dialect.
    pub surface: Surface,
    /// The ephemeral token of Google's that it brought: the session it opens is the token's.
    pub token: Option<Secret>,
}

/// One client. Clones are the same client: they share its rate.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: Arc<str>,
    operator: bool,
    limit: Option<DefaultDirectRateLimiter>,
}

impl Client {
    /// A client named `id`; `operator` gives it full rights on the data plane.
    pub fn new(id: impl Into<Arc<str>>, operator: bool, limits: &ClientLimits) -> Self {
        let limit = NonZeroU32::new(limits.rate_limit_per_minute).map(|rate| {
            let burst = NonZeroU32::new(limits.burst).unwrap_or(rate);
            RateLimiter::direct(Quota::per_minute(rate).allow_burst(burst))
        });
        Self(Arc::new(Inner { id: id.into(), operator, limit }))
    }

    /// The name in logs, metrics and `[clients.NAME]`: `operator` (`operator-2`, ..), `anonymous` or the `sub` of a JWT.
    pub fn id(&self) -> &Arc<str> {
        &self.0.id
    }

    /// Whether it is anyone: nobody is known here by a credential.
    pub fn anonymous(&self) -> bool {
        &*self.0.id == ANONYMOUS
    }

    /// Whether it may see what concerns the operator only, such as the id of the key that served it.
    pub fn operator(&self) -> bool {
        self.0.operator
    }

    /// Counts one request against the client's rate; the error is the time until the next one is allowed.
    ///
    /// The rate refills evenly (GCRA): after a rest `burst` requests pass at once, then one every 60 s / rate.
    pub fn check(&self) -> Result<(), Duration> {
        let Some(limit) = &self.0.limit else { return Ok(()) };
        limit.check().map_err(|refused| refused.wait_time_from(limit.clock().now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_its_minute_and_no_more() {
        let client = Client::new("a", false, &ClientLimits { rate_limit_per_minute: 3, burst: 0 });
        assert!((0..3).all(|_| client.clone().check().is_ok()));
        let wait = client.check().unwrap_err();
        assert!(wait > Duration::from_secs(15) && wait <= Duration::from_secs(20), "{wait:?}");
    }

    #[test]
    fn a_smaller_burst_spreads_the_minute() {
        let client = Client::new("a", false, &ClientLimits { rate_limit_per_minute: 60, burst: 2 });
        assert_eq!((0..10).filter(|_| client.check().is_ok()).count(), 2);
    }

    #[test]
    fn no_limit_is_no_limit() {
        let client = Client::new("a", false, &ClientLimits::default());
        assert!((0..10_000).all(|_| client.check().is_ok()));
    }
}
