//! Settings that say where something is: origins, URLs, networks.

use std::fmt;
use std::net::IpAddr;

use http::Uri;
use ipnet::IpNet;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `scheme://host[:port]`, nothing more.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Origin(String);

impl Origin {
    /// Google's own.
    pub fn google() -> Self {
        Self("https://generativelanguage.googleapis.com".to_owned())
    }

    /// The text, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads an origin; a slash at the end is tolerated.
    pub fn parse(text: &str) -> Option<Self> {
        let (origin, path) = located(text)?;
        path.is_empty().then_some(Self(origin))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).ok_or_else(|| {
            D::Error::custom("expected an origin such as https://host or http://host:port, nothing after it")
        })
    }
}

/// `scheme://host[:port][/path]`: what stands before the path of every request that reaches this gateway.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// The text, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for PublicUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = located(&String::deserialize(deserializer)?).map(|(origin, path)| Self(origin + &path));
        found.ok_or_else(|| D::Error::custom("expected a URL such as https://host or https://host/path"))
    }
}

/// The origin and the path of a URL that has no more to it, slashes at the end left out.
fn located(text: &str) -> Option<(String, String)> {
    let uri: Uri = text.parse().ok()?;
    let host = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    let plain = uri.query().is_none() && !text.contains(['#', '?']);
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let path = uri.path().trim_end_matches('/').to_owned();
    (plain && !host.host().is_empty()).then(|| (format!("{scheme}://{host}"), path))
}

/// One address, or all of a network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network(IpNet);

impl Network {
    /// Whether `address` is in it, however it is written.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let found = text.parse().or_else(|_| text.parse::<IpAddr>().map(|one| IpNet::from(one.to_canonical())));
        found.map(Self).map_err(|_| D::Error::custom("expected addresses and networks such as 10.0.0.7 and fd00::/8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (text, origin) in [
            ("https://example.com", "https://example.com"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
            ("http://[::1]:1", "http://[::1]:1"),
        ] {
            assert_eq!(Origin::parse(text).unwrap().as_str(), origin);
        }
        for text in [
            "",
            "example.com",
            "ftp://a",
            "https://u:p@a",
            "https://a/v1",
            "https://a?x",
            "https://a#x",
            "https://",
            "/",
        ] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }

    fn read<T: for<'de> Deserialize<'de>>(text: &str) -> Option<T> {
        serde_json::from_value(serde_json::Value::from(text)).ok()
    }

    #[test]
    fn a_public_url_may_have_a_path_and_nothing_more() {
        let url = |text: &str| read::<PublicUrl>(text).map(|url| url.as_str().to_owned());
        assert_eq!(url("https://ai.example.com/").as_deref(), Some("https://ai.example.com"));
        assert_eq!(url("https://ai.example.com:8443/gemini/").as_deref(), Some("https://ai.example.com:8443/gemini"));
        for text in ["", "ai.example.com", "ftp://a", "https://u:p@a", "https://a?x", "https://a/b#c", "/gemini"] {
            assert_eq!(url(text), None, "{text}");
        }
    }

    #[test]
    fn a_network_holds_its_addresses_however_they_are_written() {
        let holds = |network: &str, address: &str| read::<Network>(network).unwrap().contains(address.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.9.8.7") && holds("10.0.0.0/8", "::ffff:10.9.8.7"));
        assert!(holds("127.0.0.1", "127.0.0.1") && !holds("127.0.0.1", "127.0.0.2"));
        assert!(holds("fd00::/8", "fd12::1") && !holds("fd00::/8", "10.0.0.1"));
        assert_eq!(["10.0.0.0/33", "proxy.example", ""].map(read::<Network>), [None; 3]);
    }
}
