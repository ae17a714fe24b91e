//! Where traces go, and which of them: OpenTelemetry's own variables, not a section of the file.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::secret::Secret;

/// Traces to a collector by OTLP.
#[derive(Clone, Debug)]
pub struct Traces {
    /// The URL to send to; it may hold a password.
    pub endpoint: Secret,
    /// Headers for it, marked as sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How long sending a batch may take.
    pub timeout: Duration,
    /// A further CA in PEM to trust.
    pub ca_file: Option<PathBuf>,
    /// Who sends them, `service.name` among it.
    pub resource: Vec<(String, String)>,
    /// Which are kept.
    pub sampler: Sampler,
    /// How they are gathered.
    pub batch: Batch,
}

/// Which traces are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// Whether the client's word stands, where it has one.
    pub by_parent: bool,
    /// The share of the others, 0 to 1.
    pub share: f64,
}

/// How spans are gathered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Batch {
    /// Spans that wait; one beyond is dropped and counted.
    pub queue_max: usize,
    /// Spans sent at once.
    pub size_max: usize,
    /// The time between two batches.
    pub delay: Duration,
}

impl Traces {
    /// Everything in it that nobody may see.
    pub fn secrets(&self) -> Vec<Secret> {
        let headers = self.headers.iter().filter_map(|(_, value)| value.to_str().ok());
        // `Bearer token`: the token alone is one as well.
        let pieces = headers.flat_map(|value| [Some(value), value.rsplit_once(' ').map(|(_, last)| last)]);
        let password = self.endpoint.expose().split_once('@').and_then(|(before, _)| before.rsplit_once(':'));
        let all = pieces.flatten().chain(password.map(|(_, password)| password));
        all.filter(|text| text.len() >= SECRET_BYTES_MIN).map(|text| Secret::new(text.to_owned())).collect()
    }
}

/// A header's value shorter than this is a tenant's name or a switch; taken out of every text, it would spoil them.
const SECRET_BYTES_MIN: usize = 8;

impl Sampler {
    /// Whether a trace is kept. `parent` is what the client says of it.
    pub fn keeps(&self, trace: u128, parent: Option<bool>) -> bool {
        match parent.filter(|_| self.by_parent) {
            Some(kept) => kept,
            None => below(trace, self.share),
        }
    }
}

/// Whether the trace is among the share: by its id alone, so that all who keep the same share keep the same traces.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a share is rough by nature, and 0 to 1"
)]
fn below(trace: u128, share: f64) -> bool {
    let chance = (trace as u64) >> 1;
    chance < (share * (1_u64 << 63) as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_decides_only_where_it_may() {
        let by_parent = |share| Sampler { by_parent: true, share };
        let own = |share| Sampler { by_parent: false, share };
        for (sampler, parent, kept) in [
            (by_parent(1.0), None, true),
            (by_parent(1.0), Some(false), false),
            (by_parent(0.0), Some(true), true),
            (by_parent(0.0), None, false),
            (own(1.0), Some(false), true),
            (own(0.0), Some(true), false),
        ] {
            assert_eq!(sampler.keeps(u128::MAX, parent), kept, "{sampler:?} {parent:?}");
        }
    }

    #[test]
    fn a_share_of_the_traces_is_kept_by_their_ids() {
        let quarter = Sampler { by_parent: false, share: 0.25 };
        let kept = (0..1000).filter(|n| quarter.keeps(u128::from(u64::MAX / 1000) * n, None)).count();
        assert!((248..=252).contains(&kept), "{kept}");
        assert!(!quarter.keeps(u128::from(u64::MAX), None) && quarter.keeps(u128::from(u64::MAX) << 64, None));
    }

    #[test]
    fn tokens_and_passwords_are_secrets_and_names_are_not() {
        let header = |value| (http::header::AUTHORIZATION, HeaderValue::from_static(value));
        let traces = Traces {
            endpoint: Secret::new("http://user:fake-password@127.0.0.1:4318/v1/traces".to_owned()),
            headers: vec![header("Bearer fake-token-1"), header("tenant1")],
            timeout: Duration::ZERO,
            ca_file: None,
            resource: Vec::new(),
            sampler: Sampler { by_parent: true, share: 1.0 },
            batch: Batch { queue_max: 1, size_max: 1, delay: Duration::ZERO },
        };
        let secrets: Vec<_> = traces.secrets().iter().map(|secret| secret.expose().to_owned()).collect();
        assert_eq!(secrets, ["Bearer fake-token-1", "fake-token-1", "fake-password"]);
    }
}
