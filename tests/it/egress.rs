//! The way out: TLS with an authority of one's own, the common proxy, a key's own proxy.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use geminate::mock;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::world::{Gate, google, header};

const KEY: &str = "fake-key-0001";

/// Google behind TLS that offers HTTP/2 and HTTP/1.1; the certificate of the authority that signed for it.
async fn google_over_tls() -> (Arc<mock::World>, SocketAddr, String) {
    // Another test may have one already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (world, origin) = google(mock::Settings::with_keys([KEY])).await;
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let pair = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&pair, &authority).unwrap();
    let key = pair.serialize_der().try_into().unwrap();
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let plain: SocketAddr = origin.trim_start_matches("http://").parse().unwrap();
    each(listener, move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut tls = acceptor.accept(stream).await.ok()?;
            let mut inside = TcpStream::connect(plain).await.ok()?;
            copy_bidirectional(&mut tls, &mut inside).await.ok()
        }
    });
    (world, address, authority.as_ref().pem())
}

/// A proxy that tunnels whatever `CONNECT` asks for to `target`; how many tunnels it made.
async fn proxy(target: SocketAddr) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let tunnels = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&tunnels);
    each(listener, move |mut stream| {
        let count = Arc::clone(&count);
        async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.ok()?);
            }
            assert!(head.starts_with(b"CONNECT "));
            count.fetch_add(1, Relaxed);
            let mut inside = TcpStream::connect(target).await.ok()?;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
            copy_bidirectional(&mut stream, &mut inside).await.ok()
        }
    });
    (url, tunnels)
}

fn each<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F + Send + 'static)
where
    F: Future<Output = Option<(u64, u64)>> + Send + 'static,
{
    #[expect(clippy::disallowed_methods, reason = "it ends with the runtime of the test")]
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
}

#[tokio::test]
async fn an_authority_of_ones_own_is_trusted_and_a_stranger_is_not() {
    let (world, address, authority) = google_over_tls().await;
    let dir = Arc::new(tempfile::TempDir::new().unwrap());
    let file = dir.path().join("authority.pem");
    std::fs::write(&file, authority).unwrap();
    let origin = format!("https://localhost:{}", address.port());
    let variables = [("GEMINI_API_KEY", KEY), ("GEMINI_BASE_URL", &origin)];

    let stranger = Gate::open(&variables).await;
    let answer = stranger.generate("hello").await;
    assert_eq!(answer.status(), 502, "{}", answer.text().await.unwrap());
    assert!(world.calls().is_empty());

    let trusting = [("SSL_CERT_FILE", file.to_str().unwrap()), variables[0], variables[1]];
    let gate = Gate::open_in(dir, &trusting).await;
    assert_eq!(gate.generate("hello").await.status(), 200);
    assert_eq!(gate.stream("hello").await.status(), 200);
}

#[tokio::test]
async fn an_authority_replaced_in_its_file_is_trusted_without_a_restart() {
    let (_, _, other) = google_over_tls().await;
    let (_world, address, authority) = google_over_tls().await;
    let dir = Arc::new(tempfile::TempDir::new().unwrap());
    let file = dir.path().join("authority.pem");
    std::fs::write(&file, other).unwrap();
    let origin = format!("https://localhost:{}", address.port());
    let trusting = [("SSL_CERT_FILE", file.to_str().unwrap()), ("GEMINI_API_KEY", KEY), ("GEMINI_BASE_URL", &origin)];
    let gate = Gate::open_in(dir, &trusting).await;
    assert_eq!(gate.generate("hello").await.status(), 502);

    std::fs::write(&file, authority).unwrap();
    gate.signal("HUP");
    gate.logged(|line| line["message"] == "took up a new configuration").await;
    assert_eq!(gate.generate("hello").await.status(), 200);
}

#[tokio::test]
async fn the_common_proxy_is_used_unless_it_is_ruled_out() {
    let (_world, address, authority) = google_over_tls().await;
    let dir = Arc::new(tempfile::TempDir::new().unwrap());
    let file = dir.path().join("authority.pem");
    std::fs::write(&file, authority).unwrap();
    let (proxy, tunnels) = proxy(address).await;
    // The name leads nowhere but through the proxy.
    let base = [("GEMINI_API_KEY", KEY), ("GEMINI_BASE_URL", "https://localhost:1"), ("HTTPS_PROXY", &proxy)];
    let mut variables = vec![("SSL_CERT_FILE", file.to_str().unwrap())];
    variables.extend(base);
    let gate = Gate::open_in(Arc::clone(&dir), &variables).await;
    assert_eq!(gate.generate("hello").await.status(), 200);
    assert_eq!(tunnels.load(Relaxed), 1);

    variables.push(("NO_PROXY", "localhost"));
    let gate = Gate::open_in(dir, &variables).await;
    assert_eq!(gate.generate("hello").await.status(), 502, "port 1 of this machine is closed");
    assert_eq!(tunnels.load(Relaxed), 1);
}

#[tokio::test]
async fn a_key_goes_through_its_own_proxy() {
    let (_world, address, authority) = google_over_tls().await;
    let dir = Arc::new(tempfile::TempDir::new().unwrap());
    std::fs::write(dir.path().join("authority.pem"), authority).unwrap();
    let (proxy, tunnels) = proxy(address).await;
    let text = format!("[[keys]]\nkey = \"{KEY}\"\nid = \"far\"\nproxy = \"{proxy}\"\n");
    std::fs::write(dir.path().join("config.toml"), text).unwrap();
    let file = dir.path().join("authority.pem");
    let variables = [("SSL_CERT_FILE", file.to_str().unwrap()), ("GEMINI_BASE_URL", "https://localhost:1")];
    let gate = Gate::open_in(Arc::clone(&dir), &variables).await;
    let answer = gate.generate("hello").await;
    assert_eq!((answer.status().as_u16(), header(&answer, "x-geminate-key")), (200, "far".to_owned()));
    assert_eq!(tunnels.load(Relaxed), 1);
}
