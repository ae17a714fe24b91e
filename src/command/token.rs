//! `geminate token`: issues a JSON Web Token for a client.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use crate::client::nameable;
use crate::config::Sources;
use crate::settings;

/// The longest life of a token: ten years.
const TTL_S_MAX: u64 = 10 * 365 * 86_400;

/// Issue a token for a client.
#[derive(clap::Args, Debug)]
pub(super) struct Token {
    /// The client's name: its id in logs, metrics and [clients.NAME]
    #[arg(long, value_name = "NAME", value_parser = sub)]
    sub: String,
    /// How long it is good: a number and s, m, h or d
    #[arg(long, default_value = "30d", value_parser = ttl_s)]
    ttl: u64,
    /// The audience [default: auth.jwt.audience]
    #[arg(long)]
    aud: Option<String>,
    /// The issuer [default: auth.jwt.issuer]
    #[arg(long)]
    iss: Option<String>,
    /// A private key in PEM for auth.jwt.algorithm [default: JWT_SECRET signs]
    #[arg(long, value_name = "FILE")]
    private_key: Option<PathBuf>,
    /// The id of the key, where a JWK set is used to verify
    #[arg(long)]
    kid: Option<String>,
}

#[derive(Serialize)]
struct Claims<'c> {
    sub: &'c str,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'c str>,
}

impl Token {
    /// Prints the token.
    pub(super) fn run(self, config: Option<&Path>) -> anyhow::Result<ExitCode> {
        let jwt = Sources::of_process(config).signing()?;
        let token = self.sign(&jwt, jsonwebtoken::get_current_timestamp())?;
        writeln!(std::io::stdout().lock(), "{token}")?;
        Ok(ExitCode::SUCCESS)
    }

    fn sign(&self, jwt: &settings::Jwt, now: u64) -> anyhow::Result<String> {
        let (algorithm, key) = match (&self.private_key, &jwt.secret) {
            (None, Some(secret)) => (Algorithm::HS256, EncodingKey::from_secret(secret.expose().as_bytes())),
            (None, None) => bail!("there is nothing to sign with: set JWT_SECRET, or give --private-key"),
            (Some(path), _) => {
                let pem = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
                let (algorithm, key) = match jwt.algorithm {
                    settings::Algorithm::RS256 => (Algorithm::RS256, EncodingKey::from_rsa_pem(&pem)),
                    settings::Algorithm::ES256 => (Algorithm::ES256, EncodingKey::from_ec_pem(&pem)),
                    settings::Algorithm::EdDSA => (Algorithm::EdDSA, EncodingKey::from_ed_pem(&pem)),
                    settings::Algorithm::HS256 => bail!("set auth.jwt.algorithm to RS256, ES256 or EdDSA"),
                };
                let wrong = || anyhow!("{} is no private key in PEM for {algorithm:?}", path.display());
                (algorithm, key.map_err(|_| wrong())?)
            }
        };
        let claims = Claims {
            sub: &self.sub,
            iat: now,
            exp: now + self.ttl,
            aud: self.aud.as_deref().or(jwt.audience.as_deref()),
            iss: self.iss.as_deref().or(jwt.issuer.as_deref()),
        };
        let header = Header { kid: self.kid.clone(), ..Header::new(algorithm) };
        jsonwebtoken::encode(&header, &claims, &key).context("the token cannot be signed")
    }
}

/// A name that the gateway would let in.
fn sub(text: &str) -> Result<String, String> {
    let allowed = "1 to 128 letters, digits and ._-@:|+/=, and not a name of geminate's own (operator, anonymous)";
    if nameable(text) { Ok(text.to_owned()) } else { Err(allowed.to_owned()) }
}

/// `90s`, `15m`, `12h`, `30d`.
fn ttl_s(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.len() - text.chars().next_back().map_or(0, char::len_utf8));
    let unit_s = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err("a number and one of s, m, h, d".to_owned()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_s));
    seconds.filter(|seconds| (1..=TTL_S_MAX).contains(seconds)).ok_or_else(|| "from 1s to 3650d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_a_number_and_a_unit() {
        assert_eq!(
            (ttl_s("90s"), ttl_s("15m"), ttl_s("12h"), ttl_s("30d")),
            (Ok(90), Ok(900), Ok(43_200), Ok(2_592_000))
        );
        for text in ["", "s", "30", "0s", "-1d", "1w", "4000d", "99999999999999999999d", "1\u{e9}"] {
            assert!(ttl_s(text).is_err(), "{text}");
        }
    }
}
