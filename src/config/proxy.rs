//! The proxies that the environment names: one that cannot be read must not be passed over, as the HTTP client would.

use std::collections::BTreeMap;

use http::Uri;

use crate::config::fault::Fault;
use crate::settings::Settings;

/// What a proxy may be.
pub(super) const ALLOWED: &str = "http:// or https://, [user:password@], host and port";
/// The variables that name the way to each scheme, the first one that is set counting; in their place the last ones.
const HTTPS: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const HTTP: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
const ALL: [&str; 2] = ["ALL_PROXY", "all_proxy"];

/// Whether a variable may name the way to the upstream.
pub(super) fn names(name: &str) -> bool {
    [HTTPS, HTTP, ALL].iter().any(|names| names.contains(&name))
}

/// Whether requests can go through `proxy`, which the environment names: as curl reads it, `http://` may be left out.
pub(super) fn leads(proxy: &str) -> bool {
    let Some(uri) = proxy.parse::<Uri>().ok() else { return false };
    let scheme = matches!(uri.scheme_str(), None | Some("http" | "https"));
    // What follows the host is a port, or it is not what was meant.
    let port = |authority: &http::uri::Authority| {
        authority.port_u16().is_some() || authority.as_str().ends_with(authority.host())
    };
    scheme && uri.authority().is_some_and(|authority| !authority.host().is_empty() && port(authority))
}

/// The proxy to the upstream must be one that requests can go through. It may hold a password, so it is not shown.
pub(super) fn judge(settings: &Settings, variables: &BTreeMap<String, String>, faults: &mut Vec<Fault>) {
    let own = if settings.upstream.base_url.as_str().starts_with("https:") { HTTPS } else { HTTP };
    let set = |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, variables.get(name)?)));
    if let Some((name, proxy)) = set(own).or_else(|| set(ALL))
        && !leads(proxy.trim())
    {
        let length = proxy.chars().count();
        faults.push(Fault::new(name, &format!("read [secret] of {length} characters, allowed is {ALLOWED}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_host_with_or_without_scheme_port_and_password() {
        for proxy in
            ["http://a:3128", "https://u:p@a.example", "a.example:3128", "localhost", "http://[::1]:1/", "u:p@a:1"]
        {
            assert!(leads(proxy), "{proxy}");
        }
        for proxy in [":::", "", "/", "http://", "socks5://a:1", "http://a:99999", "http://a:b", "a b", "http://:3128"]
        {
            assert!(!leads(proxy), "{proxy}");
        }
    }

    #[test]
    fn the_variable_that_counts_is_judged_and_no_other() {
        let told = |variables: &[(&str, &str)], origin: &str| {
            let mut settings = Settings::default();
            settings.upstream.base_url = crate::settings::Origin::parse(origin).unwrap();
            let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let mut faults = Vec::new();
            judge(&settings, &variables, &mut faults);
            faults.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let (google, plain) = ("https://a.example", "http://127.0.0.1:1");
        let one = told(&[("HTTPS_PROXY", ":::")], google);
        assert_eq!(one, [format!("HTTPS_PROXY: read [secret] of 3 characters, allowed is {ALLOWED}")]);
        assert!(told(&[("HTTPS_PROXY", ":::")], plain).is_empty());
        assert_eq!(told(&[("http_proxy", ":::")], plain).len(), 1);
        assert_eq!(told(&[("all_proxy", "socks5://a:1")], google).len(), 1);
        assert!(told(&[("https_proxy", "http://a:1"), ("all_proxy", "socks5://a:1")], google).is_empty());
        assert!(told(&[], google).is_empty());
    }
}
