//! Guesses: wrong tokens, which slow down whoever presents them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::clock::Clock;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::time::Instant;

/// Wrong tokens a minute that one address may present.
const GUESSES_PER_MINUTE: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// Addresses whose guesses are counted; beyond them those that guessed longest ago are forgotten.
const GUESSERS_MAX: usize = 1_024;
/// The part of an IPv6 address that one customer of a provider has to himself.
const NETWORK_BITS: u32 = 64;

/// What came of looking at the token that somebody presented.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Token {
    /// There was none.
    Missing,
    /// It opens.
    Right,
    /// It is somebody's, and does not open.
    Another,
    /// It is nobody's: a guess.
    Wrong,
    /// Too many were wrong: nothing is looked at for so long.
    Slowed(Duration),
}

/// Who guessed lately. One for all doors, so that nobody guesses on at another.
#[derive(Debug, Default)]
pub struct Guesses(Mutex<HashMap<IpAddr, Guesser>>);

#[derive(Debug)]
struct Guesser {
    rate: DefaultDirectRateLimiter,
    /// Until then nothing that comes from there is compared: a right guess would not be told from a wrong one.
    shut_until: Option<Instant>,
    last: Instant,
}

impl Guesses {
    /// What a token that comes from `address` is by `look`, which is not asked while nothing from there is looked at.
    pub(crate) fn judge(&self, address: IpAddr, now: Instant, look: impl FnOnce() -> Token) -> Token {
        if let Some(wait) = self.shut(address, now) {
            return Token::Slowed(wait);
        }
        let token = look();
        if token == Token::Wrong {
            self.wrong(address, now);
        }
        token
    }

    /// How long nothing from `address` is looked at; `None` when it may present a token.
    fn shut(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let guessers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let until = guessers.get(&network(address))?.shut_until.filter(|until| *until > now)?;
        Some(until - now)
    }

    /// A token that came from `address` was wrong.
    fn wrong(&self, address: IpAddr, now: Instant) {
        let mut guessers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if guessers.len() >= GUESSERS_MAX
            && !guessers.contains_key(&network(address))
            && let Some(oldest) = guessers.iter().min_by_key(|(_, guesser)| guesser.last).map(|(address, _)| *address)
        {
            guessers.remove(&oldest);
        }
        let guesser = match guessers.entry(network(address)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let rate = RateLimiter::direct(Quota::per_minute(GUESSES_PER_MINUTE));
                entry.insert(Guesser { rate, shut_until: None, last: now })
            }
        };
        guesser.last = now;
        let refused = guesser.rate.check().err();
        let wait = refused.map(|refused| refused.wait_time_from(guesser.rate.clock().now()));
        guesser.shut_until = wait.map(|wait| now + wait);
    }
}

/// What of an address stands for one person.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => Ipv6Addr::from_bits(six.to_bits() >> NETWORK_BITS << NETWORK_BITS).into(),
        four @ IpAddr::V4(_) => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(guesses: &Guesses, address: &str, times: usize, now: Instant) -> Option<Duration> {
        let address = address.parse().unwrap();
        (0..times).for_each(|_| guesses.wrong(address, now));
        guesses.shut(address, now)
    }

    #[test]
    fn eleven_wrong_tokens_shut_the_door_for_seconds_and_for_nobody_else() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        assert_eq!(guess(&guesses, "192.0.2.7", 10, now), None);
        let wait = guess(&guesses, "192.0.2.7", 1, now).unwrap();
        assert!(wait > Duration::from_secs(4) && wait <= Duration::from_secs(6), "{wait:?}");
        assert_eq!(guesses.shut("192.0.2.8".parse().unwrap(), now), None);
        assert_eq!(guesses.shut("192.0.2.7".parse().unwrap(), now + wait), None);
    }

    #[test]
    fn a_right_token_is_not_told_from_a_wrong_one_while_the_door_is_shut() {
        let (guesses, now, address) = (Guesses::default(), Instant::now(), "192.0.2.7".parse().unwrap());
        assert_eq!(guesses.judge(address, now, || Token::Another), Token::Another);
        for _ in 0..11 {
            assert_eq!(guesses.judge(address, now, || Token::Wrong), Token::Wrong);
        }
        assert!(matches!(guesses.judge(address, now, || Token::Right), Token::Slowed(_)));
        assert_eq!(guesses.judge("192.0.2.8".parse().unwrap(), now, || Token::Right), Token::Right);
    }

    #[test]
    fn one_network_of_ipv6_is_one_guesser() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        assert_eq!(guess(&guesses, "2001:db8::1", 6, now), None);
        assert!(guess(&guesses, "2001:db8::ffff:2", 5, now).is_some());
        assert_eq!(guess(&guesses, "2001:db8:0:1::1", 1, now), None);
    }

    #[test]
    fn guessers_are_bounded() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for n in 0..3_000_u32 {
            guesses.wrong(IpAddr::from(n.to_be_bytes()), now + Duration::from_millis(n.into()));
        }
        assert_eq!(guesses.0.lock().unwrap().len(), GUESSERS_MAX);
    }
}
