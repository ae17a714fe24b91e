//! Tokens: whom they let in, and which attacks they are good for (none).

use geminate::client::{Clients, Denied, Presented};
use geminate::secret::Secret;
use geminate::settings::{Algorithm, Auth, ClientLimits, Clients as Limits, Jwt};
use http::{HeaderMap, HeaderValue};
use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn hs256() -> Jwt {
    Jwt { secret: Some(Secret::new(SECRET.into())), ..Jwt::default() }
}

fn of(algorithm: Algorithm) -> Jwt {
    Jwt { algorithm, ..Jwt::default() }
}

fn clients(jwt: Jwt, material: Option<&str>) -> Clients {
    let auth = Auth { tokens: vec![Secret::new("operators-own".into())], jwt, ..Auth::default() };
    Clients::new(&auth, &Limits::default(), material, true).unwrap()
}

/// What `clients` makes of a Bearer credential: the id, or why not.
fn ask(clients: &Clients, credential: &str) -> Result<String, Denied> {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {credential}")).unwrap());
    let presented = Presented::take(&mut headers, &"/".parse().unwrap());
    clients.identify(&presented).map(|client| client.id().to_string())
}

/// Good claims but for what is `said`.
fn claims(mut said: Value) -> Value {
    let all = said.as_object_mut().unwrap();
    all.entry("sub").or_insert_with(|| "alice".into());
    all.entry("exp").or_insert_with(|| (get_current_timestamp() + 600).into());
    said
}

fn signed(claims: &Value) -> String {
    encode(&Header::default(), claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

fn base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let sextet = |bits: u32, n: usize| char::from(ALPHABET[(bits >> (18 - 6 * n)) as usize & 63]);
    let group = |bytes: &[u8]| {
        let bits = (0..3).fold(0, |bits, n| bits << 8 | u32::from(*bytes.get(n).unwrap_or(&0)));
        (0..=bytes.len()).map(|n| sextet(bits, n)).collect::<String>()
    };
    text.as_bytes().chunks(3).map(group).collect()
}

#[test]
fn a_good_token_is_the_client_it_names_without_the_operators_rights() {
    let clients = clients(hs256(), None);
    for _ in 0..2 {
        assert_eq!(ask(&clients, &signed(&claims(json!({})))).unwrap(), "alice");
    }
    assert_eq!(ask(&clients, "operators-own").unwrap(), "operator");
    let mut headers = HeaderMap::from_iter([("x-goog-api-key".parse().unwrap(), "operators-own".parse().unwrap())]);
    let presented = Presented::take(&mut headers, &"/".parse().unwrap());
    assert!(clients.identify(&presented).unwrap().operator() && clients.may_monitor(&presented));
}

#[test]
fn a_token_is_refused_for_what_it_says() {
    let now = get_current_timestamp();
    let picky = Jwt { issuer: Some("us".into()), audience: Some("geminate".into()), ..hs256() };
    let (clients, picky) = (clients(hs256(), None), clients(picky, None));
    let good = json!({"iss": "us", "aud": ["other", "geminate"]});
    assert_eq!(ask(&picky, &signed(&claims(good))).unwrap(), "alice");
    for (clients, said, denied) in [
        (&clients, json!({"exp": now - 31}), Denied::Expired),
        (&clients, json!({"exp": null}), Denied::Unknown),
        (&clients, json!({"exp": "never"}), Denied::Unknown),
        (&clients, json!({"nbf": now + 600}), Denied::Unknown),
        (&clients, json!({"sub": null}), Denied::Unknown),
        (&clients, json!({"sub": ""}), Denied::Unknown),
        (&clients, json!({"sub": 5}), Denied::Unknown),
        (&clients, json!({"sub": "a".repeat(129)}), Denied::Unknown),
        (&clients, json!({"sub": "alice\n\"injected\""}), Denied::Unknown),
        (&clients, json!({"sub": "operator"}), Denied::Unknown),
        (&clients, json!({"sub": "operator-2"}), Denied::Unknown),
        (&clients, json!({"sub": "anonymous"}), Denied::Unknown),
        (&picky, json!({}), Denied::Unknown),
        (&picky, json!({"iss": "us"}), Denied::Unknown),
        (&picky, json!({"iss": "them", "aud": "geminate"}), Denied::Unknown),
        (&picky, json!({"iss": "us", "aud": "other"}), Denied::Unknown),
    ] {
        assert_eq!(ask(clients, &signed(&claims(said.clone()))), Err(denied), "{said}");
    }
    assert!(ask(&clients, &signed(&claims(json!({"exp": now - 20})))).is_ok(), "clocks may differ by the leeway");
}

#[test]
fn no_signature_is_no_signature_however_it_is_spelt() {
    let clients = clients(hs256(), None);
    let payload = base64(&claims(json!({})).to_string());
    for alg in ["none", "None", "NONE", "nOnE", "", "HS512", "RS256"] {
        let header = base64(&json!({"alg": alg, "typ": "JWT"}).to_string());
        for signature in ["", "AAAA"] {
            assert_eq!(ask(&clients, &format!("{header}.{payload}.{signature}")), Err(Denied::Unknown), "{alg}");
        }
    }
    let good = signed(&claims(json!({})));
    let (head, signature) = good.rsplit_once('.').unwrap();
    assert_eq!(ask(&clients, &format!("{head}.")), Err(Denied::Unknown));
    let other = signed(&claims(json!({"sub": "bob"})));
    let stolen = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
    assert_eq!(ask(&clients, &stolen), Err(Denied::Unknown), "another token's signature");
}

#[test]
fn a_token_that_asks_to_be_understood_further_is_not_believed() {
    let sign =
        |header: Header| encode(&header, &claims(json!({})), &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
    let clients = clients(hs256(), None);
    for crit in [vec![], vec!["exp".to_owned()], vec!["b64".to_owned(), "urn:x".to_owned()]] {
        let header = Header { crit: Some(crit.clone()), ..Header::default() };
        assert_eq!(ask(&clients, &sign(header)), Err(Denied::Unknown), "{crit:?}");
    }
    let mut header = Header::default();
    header.extras.insert("b64", true);
    assert_eq!(ask(&clients, &sign(header)).unwrap(), "alice", "what is not critical may be passed over");
}

#[test]
fn garbage_and_monsters_are_refused_unread() {
    let clients = clients(hs256(), None);
    let monster = signed(&claims(json!({"padding": "x".repeat(9_000)})));
    for credential in ["..", "a.b.c", "a.b", "a.b.c.d", "e30.e30.e30", "\u{7f}", &".".repeat(8_000), &monster] {
        let Ok(value) = HeaderValue::from_str(&format!("Bearer {credential}")) else { continue };
        let mut headers = HeaderMap::from_iter([("authorization".parse().unwrap(), value)]);
        let denied = clients.identify(&Presented::take(&mut headers, &"/".parse().unwrap()));
        assert_eq!(denied.unwrap_err(), Denied::Unknown, "{credential:.20}");
    }
    assert_eq!(clients.identify(&Presented::default()).unwrap_err(), Denied::Missing);
}

/// A key pair of the test's own: private and public PEM.
fn pair(algorithm: &'static rcgen::SignatureAlgorithm) -> (String, String) {
    let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
    (pair.serialize_pem(), pair.public_key_pem())
}

#[test]
fn public_keys_verify_and_are_no_secrets() {
    for (algorithm, jwt, made) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, Algorithm::ES256, jsonwebtoken::Algorithm::ES256),
        (&rcgen::PKCS_ED25519, Algorithm::EdDSA, jsonwebtoken::Algorithm::EdDSA),
        (&rcgen::PKCS_RSA_SHA256, Algorithm::RS256, jsonwebtoken::Algorithm::RS256),
    ] {
        let (private, public) = pair(algorithm);
        let key = match jwt {
            Algorithm::RS256 => EncodingKey::from_rsa_pem(private.as_bytes()),
            Algorithm::ES256 => EncodingKey::from_ec_pem(private.as_bytes()),
            _ => EncodingKey::from_ed_pem(private.as_bytes()),
        }
        .unwrap();
        let clients = clients(of(jwt), Some(&public));
        let token = encode(&Header::new(made), &claims(json!({})), &key).unwrap();
        assert_eq!(ask(&clients, &token).unwrap(), "alice", "{jwt:?}");
        // The public key is known to all: signed with it as a secret, a token must be worth nothing.
        for secret in [public.as_bytes(), public.trim().as_bytes()] {
            let forged = encode(&Header::default(), &claims(json!({})), &EncodingKey::from_secret(secret)).unwrap();
            assert_eq!(ask(&clients, &forged), Err(Denied::Unknown), "{jwt:?}");
            let (_, rest) = forged.split_once('.').unwrap();
            let header = base64(&json!({"alg": format!("{jwt:?}")}).to_string());
            assert_eq!(ask(&clients, &format!("{header}.{rest}")), Err(Denied::Unknown), "{jwt:?}");
        }
    }
}

#[test]
fn a_set_of_keys_is_told_apart_by_kid() {
    let jwk = |kid: &str| {
        let (private, public) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
        let key = EncodingKey::from_ec_pem(private.as_bytes()).unwrap();
        let mut jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&key, jsonwebtoken::Algorithm::ES256).unwrap();
        jwk.common.key_id = Some(kid.to_owned());
        drop(public);
        (key, serde_json::to_value(jwk).unwrap())
    };
    let ((one, first), (two, second)) = (jwk("one"), jwk("two"));
    let oct = json!({"kty": "oct", "kid": "oct", "k": base64(SECRET)});
    let set = json!({"keys": [first, second, oct]}).to_string();
    let settings = Jwt { jwks_file: Some("jwks.json".into()), ..of(Algorithm::ES256) };
    let clients = clients(settings.clone(), Some(&set));
    let token = |kid: Option<&str>, key| {
        let header = Header { kid: kid.map(Into::into), ..Header::new(jsonwebtoken::Algorithm::ES256) };
        encode(&header, &claims(json!({})), key).unwrap()
    };
    assert_eq!(ask(&clients, &token(Some("one"), &one)).unwrap(), "alice");
    assert_eq!(ask(&clients, &token(Some("two"), &two)).unwrap(), "alice");
    for forged in [token(Some("two"), &one), token(None, &one), token(Some("three"), &one)] {
        assert_eq!(ask(&clients, &forged), Err(Denied::Unknown));
    }
    let header = Header { kid: Some("oct".into()), ..Header::default() };
    let symmetric = encode(&header, &claims(json!({})), &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
    assert_eq!(ask(&clients, &symmetric), Err(Denied::Unknown), "a secret in the set is none of the algorithm");
    for bad in ["", "{}", "{\"keys\": []}", "[1]"] {
        let auth = Auth { jwt: settings.clone(), ..Auth::default() };
        assert!(Clients::new(&auth, &Limits::default(), Some(bad), true).is_err(), "{bad}");
    }
}

#[test]
fn a_clients_rate_holds_over_all_its_tokens() {
    let alice = ClientLimits { rate_limit_per_minute: 2, burst: 0 };
    let limits = Limits { named: [("alice".to_owned(), alice)].into(), ..Limits::default() };
    let auth = Auth { jwt: hs256(), ..Auth::default() };
    let clients = Clients::new(&auth, &limits, None, true).unwrap();
    let check = |n: u64, sub: &str| {
        let token = signed(&claims(json!({"sub": sub, "exp": get_current_timestamp() + 100 + n})));
        let mut headers = HeaderMap::from_iter([("x-api-key".parse().unwrap(), token.parse().unwrap())]);
        clients.identify(&Presented::take(&mut headers, &"/".parse().unwrap())).unwrap().check().is_ok()
    };
    assert_eq!((0..5).filter(|n| check(*n, "alice")).count(), 2);
    assert!((0..5).all(|n| check(n, "bob")));
}

#[test]
fn with_nothing_to_authenticate_by_everyone_is_anonymous() {
    for loopback in [true, false] {
        let clients = Clients::new(&Auth::default(), &Limits::default(), None, loopback).unwrap();
        let client = clients.identify(&Presented::default()).unwrap();
        assert_eq!((client.id().as_ref(), client.operator()), ("anonymous", loopback));
        assert!(!clients.administers(&Presented::default()));
    }
}
