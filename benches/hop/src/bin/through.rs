//! The bare pass-through: axum over reqwest, as one writes it first. `through PORT ORIGIN`

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode, header};
use axum::serve::ListenerExt;
use reqwest::Client;
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Clone)]
struct Upstream {
    client: Client,
    origin: String,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut words = std::env::args().skip(1);
    let port = words.next().expect("a port");
    let origin = words.next().expect("an origin");
    let client = Client::builder().http1_only().no_proxy().build().expect("a client");
    let app = Router::new().fallback(pass).with_state(Upstream { client, origin });
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    // Small answers go out at once, as geminate's do.
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).expect("a socket"));
    axum::serve(listener, app).await
}

async fn pass(State(upstream): State<Upstream>, request: Request) -> Result<Response<Body>, StatusCode> {
    let (mut parts, body) = request.into_parts();
    parts.headers.remove(header::HOST);
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let answer = upstream
        .client
        .request(parts.method, format!("{}{target}", upstream.origin))
        .headers(parts.headers)
        .body(reqwest::Body::wrap_stream(body.into_data_stream()))
        .send()
        .await
        .map_err(|_| StatusCode::BAD_GATEWAY)?;
    Ok(Response::from(answer).map(Body::new))
}
