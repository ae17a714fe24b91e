//! What settings must be true of together, and what is worth a warning.

use std::net::IpAddr;
use std::path::Path;

use crate::alias::is_name;
use crate::client::Clients;
use crate::config::fault::Fault;
use crate::config::keys::Source;
use crate::config::leaf::{self, Leaf};
use crate::settings::{Algorithm, Jwt, Key, Server, Settings, Upstream};
use crate::upstream::Authorities;

/// Bytes of an HS256 secret at least: as many as its digest has.
const JWT_SECRET_BYTES_MIN: usize = 32;
/// What a model's name may be.
const NAME: &str = "letters, digits, `.`, `_` and `-`, at most 128 of them";
/// Models in the place of one: each that is asked may cost the client a wait.
const FALLBACKS_MAX: usize = 8;

/// Everyone who may come in; `None` when a fault was found.
pub(super) fn clients(settings: &Settings, leaves: &[Leaf], faults: &mut Vec<Fault>) -> Option<Clients> {
    let before = faults.len();
    secret(&settings.auth.jwt, leaves, faults);
    let mut fault = |path: &str, what: &str| faults.push(Fault::new(&leaf::origin(leaves, path), what));
    let jwt = &settings.auth.jwt;
    for (path, tokens) in
        [("auth.tokens", &settings.auth.tokens[..]), ("auth.admin_token", settings.auth.admin_token.as_slice())]
    {
        if tokens.iter().any(|token| token.expose().is_empty() || !token.expose().bytes().all(|b| b.is_ascii_graphic()))
        {
            fault(path, "allowed are visible ASCII characters, no blanks: a token travels in a header");
        }
    }
    let files = [("auth.jwt.public_key_file", &jwt.public_key_file), ("auth.jwt.jwks_file", &jwt.jwks_file)];
    if usize::from(jwt.secret.is_some()) + files.iter().filter(|(_, file)| file.is_some()).count() > 1 {
        fault("auth.jwt.secret", "allowed is at most one of secret (JWT_SECRET), public_key_file and jwks_file");
    }
    let mut material = None;
    for (path, file) in files {
        let Some(file) = file else { continue };
        if jwt.algorithm == Algorithm::HS256 {
            fault(path, "set auth.jwt.algorithm to RS256, ES256 or EdDSA: HS256 is signed with JWT_SECRET");
        }
        match read(file) {
            Ok(text) => material = Some((path, text)),
            Err(what) => fault(path, &what),
        }
    }
    if faults.len() > before {
        return None;
    }
    let loopback = settings.server.host.is_loopback();
    let text = material.as_ref().map(|(_, text)| text.as_str());
    Clients::new(&settings.auth, &settings.clients, text, loopback)
        .map_err(|unusable| {
            let path = material.as_ref().map_or("auth.jwt.secret", |(path, _)| path);
            faults.push(Fault::new(&leaf::origin(leaves, path), &format!("allowed is {unusable}")));
        })
        .ok()
}

/// Who is trusted of upstreams; without the file's own where that was a fault.
pub(super) fn authorities(upstream: &Upstream, leaves: &[Leaf], faults: &mut Vec<Fault>) -> Authorities {
    Authorities::read(upstream.ca_file.as_deref()).unwrap_or_else(|what| {
        faults.push(Fault::new(&leaf::origin(leaves, "upstream.ca_file"), &what));
        Authorities::default()
    })
}

/// The secret that tokens are signed with, where there is one, is fit for it.
pub(super) fn secret(jwt: &Jwt, leaves: &[Leaf], faults: &mut Vec<Fault>) {
    let Some(secret) = &jwt.secret else { return };
    let mut fault = |path: &str, what: &str| faults.push(Fault::new(&leaf::origin(leaves, path), what));
    let length = secret.expose().len();
    if length < JWT_SECRET_BYTES_MIN {
        fault(
            "auth.jwt.secret",
            &format!("read [secret] of {length} bytes, allowed is at least {JWT_SECRET_BYTES_MIN}"),
        );
    }
    if jwt.algorithm != Algorithm::HS256 {
        fault("auth.jwt.algorithm", &format!("{:?} needs public_key_file or jwks_file, not a secret", jwt.algorithm));
    }
}

/// An alias is a name, and leads to a model, not to an alias.
pub(super) fn aliases(settings: &Settings, leaves: &[Leaf], faults: &mut Vec<Fault>) {
    let (aliases, allowed) = (&settings.models.aliases, NAME);
    for (alias, model) in aliases {
        let what = match (is_name(alias), is_name(model)) {
            (false, _) => format!("models.aliases: read the name {alias:?}, allowed are {allowed}"),
            (_, false) => format!("models.aliases.{alias}: read {model:?}, allowed is a model's name: {allowed}"),
            _ if aliases.contains_key(model) => {
                format!("models.aliases.{alias}: {model} is an alias itself: name the model that it stands for")
            }
            _ => continue,
        };
        faults.push(Fault::new(&leaf::origin(leaves, &format!("models.aliases.{alias}")), &what));
    }
}

/// A list is of models by Google's own names, each once, none of them the one that it is for.
pub(super) fn fallback(settings: &Settings, leaves: &[Leaf], faults: &mut Vec<Fault>) {
    let aliases = &settings.models.aliases;
    for (model, list) in &settings.models.fallback {
        let path = format!("models.fallback.{model}");
        let unlike = |name: &&String| !is_name(name) || aliases.contains_key(*name);
        let twice = |(n, name): &(usize, &String)| *name == model || list[..*n].contains(name);
        let what = if let Some(name) = [model].into_iter().chain(list).find(unlike) {
            if aliases.contains_key(name) {
                format!("{path}: {name} is an alias: name the model that it stands for")
            } else {
                format!("{path}: read the name {name:?}, allowed are {NAME}")
            }
        } else if let Some((_, name)) = list.iter().enumerate().find(twice) {
            format!("{path}: {name} stands there twice, or is the model that the list is for")
        } else if !(1..=FALLBACKS_MAX).contains(&list.len()) {
            format!("{path}: read {} models, allowed are 1 to {FALLBACKS_MAX}", list.len())
        } else {
            continue;
        };
        faults.push(Fault::new(&leaf::origin(leaves, &path), &what));
    }
}

/// Nothing listens beyond loopback with nothing to authenticate by, unless that was said.
pub(super) fn exposure(settings: &Settings, leaves: &[Leaf], faults: &mut Vec<Fault>) {
    let (server, auth) = (&settings.server, &settings.auth);
    // A setting that could not be read was told already; what would follow from its default is not worth a line.
    let about = |field: &str| matches!(field, "host" | "admin_host" | "allow_anonymous");
    let misread = |leaf: &Leaf| match &leaf.path[..] {
        _ if leaf.value.is_some() => false,
        [section, field] if section == "server" => about(field),
        [section, ..] => section == "auth",
        [] => false,
    };
    if server.allow_anonymous || leaves.iter().any(misread) {
        return;
    }
    let jwt = auth.jwt.secret.is_some() || auth.jwt.public_key_file.is_some() || auth.jwt.jwks_file.is_some();
    let open = auth.tokens.is_empty();
    let mut refuse = |path, address: IpAddr, set| {
        let what = format!(
            "{address} can be reached from other machines and there is nothing to authenticate by: \
             set {set}, or ALLOW_ANONYMOUS=true if that is what you want"
        );
        faults.push(Fault::new(&leaf::origin(leaves, path), &what));
    };
    if !server.host.is_loopback() && open && !jwt {
        refuse("server.host", server.host, "AUTH_TOKEN or JWT_SECRET");
    }
    if !server.admin_host.is_loopback() && open && auth.admin_token.is_none() {
        refuse("server.admin_host", server.admin_host, "ADMIN_TOKEN");
    }
}

/// The two listeners cannot have one port of one address.
pub(super) fn listeners(server: &Server, leaves: &[Leaf], faults: &mut Vec<Fault>) {
    let fields = ["host", "port", "admin_host", "admin_port"];
    let about = |path: &[String]| matches!(path, [section, field] if section == "server" && fields.contains(&&**field));
    let misread = leaves.iter().any(|leaf| leaf.value.is_none() && about(&leaf.path));
    if misread || server.port == 0 || server.port != server.admin_port || !overlap(server.host, server.admin_host) {
        return;
    }
    let admin = leaf::origin(leaves, "server.admin_port");
    let what = format!(
        "read {}, which the admin listener has on the same address by {admin}: allowed are two different ports",
        server.port
    );
    faults.push(Fault::new(&leaf::origin(leaves, "server.port"), &what));
}

/// Whether what listens at one address also listens at the other: `0.0.0.0` is all of its kind, and `::` simply all.
fn overlap(one: IpAddr, other: IpAddr) -> bool {
    let holds = |all: IpAddr, part: IpAddr| all.is_unspecified() && (all.is_ipv6() || part.is_ipv4());
    one == other || holds(one, other) || holds(other, one)
}

/// What the operator should know.
pub(super) fn warnings(settings: &Settings, keys: &[Key]) -> Vec<String> {
    let mut warnings = Vec::new();
    let origin = settings.upstream.base_url.as_str();
    let host = origin.strip_prefix("http://").map(|rest| rest.rsplit_once(':').map_or(rest, |(host, _)| host));
    if host.is_some_and(|host| !matches!(host, "127.0.0.1" | "localhost" | "[::1]")) {
        warnings.push(format!("GEMINI_BASE_URL: keys travel to {origin} in the clear"));
    }
    let off = keys.iter().filter(|key| !key.enabled).count();
    if off > 0 {
        warnings.push(format!("{off} of {} keys are not enabled", keys.len()));
    }
    warnings
}

/// A key of the environment that the file adjusts: never silently.
pub(super) fn adjusted(source: &Source) -> Option<String> {
    let at = source.adjusted.as_ref()?;
    Some(format!("{at} adjusts a key of {}", source.name))
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}
