//! JSON Web Tokens: which ones are believed, and whose they are.

use std::collections::HashMap;

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use crate::settings;

/// The longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Why the settings of `[auth.jwt]` verify nothing.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The PEM is none, or of another algorithm.
    #[error("a public key in PEM for the algorithm {0:?}")]
    PublicKey(settings::Algorithm),
    /// The text is no JWK set.
    #[error("a JWK set: {{\"keys\": [...]}}")]
    Jwks,
    /// No key of the set is of the algorithm.
    #[error("a JWK set with at least one key for the algorithm {0:?}, each with a `kid` when there are several")]
    NoKey(settings::Algorithm),
}

/// What a believed token says.
pub(super) struct Verified {
    pub(super) sub: String,
    /// Seconds since 1970.
    pub(super) expires: u64,
}

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refused {
    Expired,
    Invalid,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
}

/// Verifies tokens with keys and an algorithm that the settings fix.
pub(super) struct Verifier {
    keys: Keys,
    validation: Validation,
}

enum Keys {
    One(DecodingKey),
    ByKid(HashMap<String, DecodingKey>),
}

impl Verifier {
    /// `material` is the text of the public key file or of the JWKS file; `None` when neither is set.
    /// Gives `None` when nothing is configured to verify with.
    pub(super) fn new(jwt: &settings::Jwt, material: Option<&str>) -> Result<Option<Self>, Unusable> {
        let algorithm = match jwt.algorithm {
            settings::Algorithm::HS256 => Algorithm::HS256,
            settings::Algorithm::RS256 => Algorithm::RS256,
            settings::Algorithm::ES256 => Algorithm::ES256,
            settings::Algorithm::EdDSA => Algorithm::EdDSA,
        };
        let keys = match (&jwt.secret, material) {
            (Some(secret), _) => Keys::One(DecodingKey::from_secret(secret.expose().as_bytes())),
            (None, Some(text)) if jwt.jwks_file.is_some() => Keys::ByKid(jwks(text, algorithm, jwt.algorithm)?),
            (None, Some(text)) => {
                let key = match algorithm {
                    Algorithm::RS256 => DecodingKey::from_rsa_pem(text.as_bytes()),
                    Algorithm::ES256 => DecodingKey::from_ec_pem(text.as_bytes()),
                    Algorithm::EdDSA => DecodingKey::from_ed_pem(text.as_bytes()),
                    _ => return Err(Unusable::PublicKey(jwt.algorithm)),
                };
                Keys::One(key.map_err(|_| Unusable::PublicKey(jwt.algorithm))?)
            }
            (None, None) => return Ok(None),
        };
        Ok(Some(Self { keys, validation: validation(jwt, algorithm) }))
    }

    /// Believes a token or not.
    pub(super) fn verify(&self, token: &[u8]) -> Result<Verified, Refused> {
        if token.len() > TOKEN_BYTES_MAX || memchr::memchr_iter(b'.', token).count() != 2 {
            return Err(Refused::Invalid);
        }
        let key = match &self.keys {
            Keys::One(key) => key,
            Keys::ByKid(keys) => {
                let kid = jsonwebtoken::decode_header(token).map_err(|_| Refused::Invalid)?.kid;
                let only = || keys.values().next().filter(|_| keys.len() == 1);
                kid.map_or_else(only, |kid| keys.get(&kid)).ok_or(Refused::Invalid)?
            }
        };
        let token = jsonwebtoken::decode::<Claims>(token, key, &self.validation).map_err(|e| refused(&e))?;
        // What must be understood is not: nothing beyond the header's common fields is (RFC 7515, 4.1.11).
        if token.header.crit.is_some() {
            return Err(Refused::Invalid);
        }
        let claims = token.claims;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of f64 saturates")]
        let expires = claims.exp as u64;
        Ok(Verified { sub: claims.sub, expires })
    }
}

fn validation(jwt: &settings::Jwt, algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    let mut required = vec!["exp", "sub"];
    validation.leeway = jwt.leeway_s;
    validation.validate_nbf = true;
    validation.validate_aud = jwt.audience.is_some();
    if let Some(audience) = &jwt.audience {
        validation.set_audience(&[audience]);
        required.push("aud");
    }
    if let Some(issuer) = &jwt.issuer {
        validation.set_issuer(&[issuer]);
        required.push("iss");
    }
    validation.set_required_spec_claims(&required);
    validation
}

/// The keys of a set that are of the algorithm, by `kid`.
fn jwks(
    text: &str,
    algorithm: Algorithm,
    named: settings::Algorithm,
) -> Result<HashMap<String, DecodingKey>, Unusable> {
    let set: JwkSet = serde_json::from_str(text).map_err(|_| Unusable::Jwks)?;
    let mut keys = HashMap::new();
    for jwk in &set.keys {
        let Ok(key) = DecodingKey::from_jwk(jwk) else { continue };
        if key.family() == algorithm.family() && key_usable(jwk, algorithm) {
            keys.insert(jwk.common.key_id.clone().unwrap_or_default(), key);
        }
    }
    let nameless = keys.len() > 1 && keys.contains_key("");
    if keys.is_empty() || nameless { Err(Unusable::NoKey(named)) } else { Ok(keys) }
}

fn key_usable(jwk: &jsonwebtoken::jwk::Jwk, algorithm: Algorithm) -> bool {
    jwk.common.key_algorithm.is_none_or(|stated| stated.to_string() == format!("{algorithm:?}"))
}

fn refused(error: &Error) -> Refused {
    match error.kind() {
        ErrorKind::ExpiredSignature => Refused::Expired,
        _ => Refused::Invalid,
    }
}
