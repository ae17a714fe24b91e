//! The running gateway: where it is asked, and with which token.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use http::StatusCode;
use http_body_util::{BodyExt as _, Limited};
use reqwest::{Client, Url};
use serde::de::DeserializeOwned;

use crate::command::health::reached_at;
use crate::scrub::Scrubber;
use crate::secret::Secret;
use crate::settings::Settings;
use crate::upstream::{Authorities, causes};

/// The time that an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of it: ten thousand keys take less.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// A gateway to be asked.
pub(super) struct Instance {
    /// Host and port, as they are told.
    at: String,
    origin: String,
    client: Client,
    token: Option<Secret>,
    scrubber: Scrubber,
}

/// Why there is nothing to tell.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unheard {
    /// Nobody is there, or nobody answers in time.
    #[error("no answer at {at}: {why}")]
    NoAnswer { at: String, why: String },
    /// It wants another token, or any.
    #[error(
        "{at} answers 401 Unauthorized: it takes its ADMIN_TOKEN, or its AUTH_TOKEN where no ADMIN_TOKEN is set; set \
         the same here"
    )]
    Token { at: String },
    /// It has no such page.
    #[error("{at} has no {page}: it is no geminate, or its ENABLE_MONITORING is off")]
    Absent { at: String, page: String },
    /// Another refusal.
    #[error("{at} answers {status}")]
    Status { at: String, status: StatusCode },
    /// Something else listens there.
    #[error("what answers at {at} is no such gateway")]
    Strange { at: String },
}

impl Instance {
    /// The one at `url`; without one, the admin listener that `settings` configure.
    pub(super) fn new(settings: &Settings, url: Option<&str>) -> anyhow::Result<Self> {
        let (server, auth) = (&settings.server, &settings.auth);
        let (at, origin) = match url.map(origin).transpose()? {
            Some(url) => (told(&url), url.as_str().trim_end_matches('/').to_owned()),
            None if server.admin_port == 0 => bail!("ADMIN_PORT is 0, so that nobody knows where it is"),
            None => {
                let at = reached_at(server.admin_host, server.admin_port);
                (at.to_string(), format!("http://{at}"))
            }
        };
        // No proxy: the question is about this machine, or one beside it. No certificates are loaded for plain HTTP.
        let secure = origin.starts_with("https:");
        let file = settings.upstream.ca_file.as_deref();
        let trusted = if secure { Authorities::read(file) } else { Ok(Authorities::default()) };
        let trusted = trusted.map_err(|why| anyhow!("upstream.ca_file: {why}"))?;
        let client = Client::builder().no_proxy().tls_certs_only(trusted.all().iter().cloned()).timeout(PATIENCE);
        let client = client.redirect(reqwest::redirect::Policy::none()).build();
        let client = client.map_err(|error| anyhow!("the HTTP client cannot be made: {}", error.without_url()))?;
        let token = auth.admin_token.as_ref().or(auth.tokens.first()).cloned();
        let secrets = auth.tokens.iter().chain(&auth.admin_token).chain(&auth.jwt.secret);
        let scrubber = Scrubber::new(secrets).context("the scrubber")?;
        Ok(Self { at, origin, client, token, scrubber })
    }

    /// Host and port.
    pub(super) fn at(&self) -> &str {
        &self.at
    }

    /// What `GET path` answers.
    pub(super) async fn look<T: DeserializeOwned>(&self, path: &str) -> Result<T, Unheard> {
        let at = || self.at.clone();
        let no_answer = |error: &reqwest::Error| Unheard::NoAnswer { at: at(), why: causes(error) };
        let mut request = self.client.get(format!("{}{path}", self.origin));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        let answer = request.send().await.map_err(|error| no_answer(&error))?;
        let answer: http::Response<reqwest::Body> = answer.into();
        match answer.status() {
            status if status.is_success() => {}
            StatusCode::UNAUTHORIZED => return Err(Unheard::Token { at: at() }),
            StatusCode::NOT_FOUND => {
                let page = path.split('?').next().unwrap_or_default().to_owned();
                return Err(Unheard::Absent { at: at(), page });
            }
            status => return Err(Unheard::Status { at: at(), status }),
        }
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let cut = |_| Unheard::NoAnswer { at: at(), why: "it does not come whole".to_owned() };
        serde_json::from_slice(&body.map_err(cut)?.to_bytes()).map_err(|_| Unheard::Strange { at: at() })
    }

    /// The same of a page that may not be there.
    pub(super) async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Unheard> {
        match self.look(path).await {
            Ok(page) => Ok(Some(page)),
            Err(Unheard::Status { status, .. }) if status.is_client_error() => Ok(None),
            Err(Unheard::Absent { .. } | Unheard::Strange { .. } | Unheard::Token { .. }) => Ok(None),
            Err(unheard) => Err(unheard),
        }
    }

    /// Whatever the gateway told was scrubbed where it came in; this is the last door.
    pub(super) fn clean(&self, text: &str) -> String {
        self.scrubber.scrub_str(text).into_owned()
    }
}

/// An origin that can be asked and shown. What is wrong is told without showing it: it may hold a password.
fn origin(text: &str) -> anyhow::Result<Url> {
    let wrong = || anyhow!("--url takes an origin such as http://127.0.0.1:9090, and nothing behind it");
    let url = Url::parse(text).map_err(|_| wrong())?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let nobody = url.username().is_empty() && url.password().is_none();
    let web = matches!(url.scheme(), "http" | "https") && url.has_host();
    if bare && nobody && web { Ok(url) } else { Err(wrong()) }
}

fn told(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Server;

    #[test]
    fn the_configured_admin_listener_is_asked_unless_another_is_named() {
        // Another test may have one already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let server = Server { admin_host: "0.0.0.0".parse().unwrap(), admin_port: 9_191, ..Server::default() };
        let mut settings = Settings { server, ..Settings::default() };
        assert_eq!(Instance::new(&settings, None).unwrap().origin, "http://127.0.0.1:9191");
        let there = Instance::new(&settings, Some("http://[::1]:8080/")).unwrap();
        assert_eq!((there.origin.as_str(), there.at()), ("http://[::1]:8080", "[::1]:8080"));
        settings.server.admin_port = 0;
        assert!(Instance::new(&settings, None).is_err());
    }

    #[test]
    fn an_origin_holds_nothing_that_must_not_be_shown() {
        for text in ["", "h:1", "http://u:p@h", "http://h/path", "http://h?key=k", "ftp://h", "http://h#x"] {
            assert!(origin(text).is_err(), "{text}");
        }
        assert_eq!(told(&origin("https://geminate.example").unwrap()), "geminate.example");
    }
}
