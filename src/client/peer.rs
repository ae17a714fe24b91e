//! The other end of a connection, and who asks through it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{Extensions, HeaderMap};

use crate::settings::Network;

/// Where proxies write down whom they ask for, each behind those before it.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The other end of a request's connection, among its extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// The address that a request comes from: its peer's, or where that is one of `proxies`, the last one that they name and
/// that is none of theirs. What whoever asks writes there himself stands further to the left and is not believed.
pub(crate) fn asker(extensions: &Extensions, headers: &HeaderMap, proxies: &[Network]) -> IpAddr {
    let peer = extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(address)| *address);
    let is_proxy = |address: &IpAddr| proxies.iter().any(|proxy| proxy.contains(*address));
    let lines = headers.get_all(FORWARDED_FOR).into_iter().rev();
    let named = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(',').map(str::trim));
    let mut asker = peer;
    for name in named {
        if !is_proxy(&asker) {
            break;
        }
        let Some(address) = address(name) else { break };
        asker = address;
    }
    asker
}

/// An address, with or without a port.
fn address(name: &str) -> Option<IpAddr> {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.parse().ok().or_else(|| Some(name.parse::<SocketAddr>().ok()?.ip()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::settings::Server;

    fn of(peer: &str, lines: &[&str]) -> String {
        let proxies = serde_json::json!({"trusted_proxies": ["127.0.0.1", "10.0.0.0/8"]});
        let proxies = serde_json::from_value::<Server>(proxies).unwrap().trusted_proxies;
        let mut extensions = Extensions::new();
        extensions.insert(Peer(peer.parse().unwrap()));
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        asker(&extensions, &headers, &proxies).to_string()
    }

    #[test]
    fn only_proxies_of_the_operator_s_say_for_whom_they_ask() {
        for (peer, lines, asks) in [
            ("192.0.2.7", &["203.0.113.1"][..], "192.0.2.7"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["203.0.113.1"], "203.0.113.1"),
            ("::ffff:127.0.0.1", &["203.0.113.1"], "203.0.113.1"),
            ("127.0.0.1", &["198.51.100.9, 203.0.113.1"], "203.0.113.1"),
            ("127.0.0.1", &["198.51.100.9", "203.0.113.1, 10.1.2.3"], "203.0.113.1"),
            ("127.0.0.1", &["203.0.113.1:4711"], "203.0.113.1"),
            ("127.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("127.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("127.0.0.1", &["203.0.113.1, unknown"], "127.0.0.1"),
            ("127.0.0.1", &["203.0.113.1, , 10.1.2.3"], "10.1.2.3"),
            ("127.0.0.1", &["\u{e9}"], "127.0.0.1"),
            ("127.0.0.1", &["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
        ] {
            assert_eq!(of(peer, lines), asks, "{peer} {lines:?}");
        }
        assert_eq!(asker(&Extensions::new(), &HeaderMap::new(), &[]).to_string(), "0.0.0.0");
    }
}
