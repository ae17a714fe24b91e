//! What Live sessions name belongs to somebody, as what calls name does.

use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::given_up::until_counted;
use crate::live::{LIVE, PATH, Session, setup};
use crate::sender::{FILES, begin, finalize, url_of};
use crate::stage::{K1, K2, K3, calls_of, play, told};
use crate::world::{Gate, with_keys, with_keys_and};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const ISOLATED: [(&str, &str); 2] = [("JWT_SECRET", SECRET), ("GEMINATE__AFFINITY__ISOLATE_CLIENTS", "true")];

fn jwt(sub: &str) -> String {
    let claims = json!({"sub": sub, "exp": get_current_timestamp() + 600});
    encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

/// A session of the client of this token, nothing said yet.
async fn session_of(gate: &Gate, token: &str) -> Session {
    let mut request = format!("ws://{}{PATH}", gate.data).into_client_request().unwrap();
    request.headers_mut().insert("x-goog-api-key", token.parse().unwrap());
    Session(connect_async(request).await.unwrap().0)
}

/// A session by an ephemeral token.
async fn session_by(gate: &Gate, token: &str) -> Session {
    let path = PATH.replace("v1beta", "v1alpha") + "Constrained";
    let request = format!("ws://{}{path}?access_token={token}", gate.data).into_client_request().unwrap();
    Session(connect_async(request).await.unwrap().0)
}

fn resume(handle: Option<&str>) -> Value {
    let resumption = handle.map_or(json!({}), |handle| json!({"handle": handle}));
    json!({"setup": {"model": format!("models/{LIVE}"), "sessionResumption": resumption}})
}

fn turn_with(file: &str) -> Value {
    let uri = format!("https://generativelanguage.googleapis.com/v1beta/{file}");
    let parts = json!([{"fileData": {"mimeType": "text/plain", "fileUri": uri}}, {"text": "read it"}]);
    json!({"clientContent": {"turns": [{"role": "user", "parts": parts}], "turnComplete": true}})
}

#[tokio::test]
async fn an_isolated_client_names_its_own_alone_whenever_in_a_session() {
    let (world, gate) = with_keys_and(&[K1], &ISOLATED).await;
    let (alice, bob) = (jwt("alice"), jwt("bob"));
    let request = gate.http.post(format!("http://{}{FILES}", gate.data)).bearer_auth(&alice);
    let url = url_of(&begin(request).send().await.unwrap());
    let file = finalize(&gate, &url, 0, "hers").await["name"].as_str().unwrap().to_owned();
    let mut hers = session_of(&gate, &alice).await;
    hers.say(&setup()).await;
    hers.say(&turn_with(&file)).await;
    assert_eq!(hers.hear().await, json!({"setupComplete": {}}));
    assert!(hers.hear_turn().await.contains("read it"));
    // In the middle of a session, and before it has begun.
    for early in [false, true] {
        if early {
            play(&world, &["fault=delay:300ms"]);
        }
        let mut his = session_of(&gate, &bob).await;
        his.say(&setup()).await;
        if !early {
            assert_eq!(his.hear().await, json!({"setupComplete": {}}));
        }
        his.say(&turn_with(&file)).await;
        assert_eq!(his.ended().await, (1008, format!("{file} was not found")), "early: {early}");
    }
    gate.logged(|line| line["client"] == "bob" && line["outcome"] == "caller_error").await;
}

#[tokio::test]
async fn a_handle_too_long_to_be_read_resumes_nothing() {
    let (world, gate) = with_keys_and(&[K1], &ISOLATED).await;
    let mut session = session_of(&gate, &jwt("bob")).await;
    session.say(&resume(Some(&"h".repeat(5_000)))).await;
    let (code, reason) = session.ended().await;
    assert_eq!((code, reason.contains("handle")), (1008, true), "{reason}");
    assert_eq!(world.calls().len(), 0);
}

#[tokio::test]
async fn a_session_by_token_can_be_resumed_by_whoever_made_the_token_and_by_nobody_else() {
    let (world, gate) = with_keys_and(&[K1, K2], &ISOLATED).await;
    let (alice, bob) = (jwt("alice"), jwt("bob"));
    let token_of = async |client: &str| {
        let request = gate.http.post(format!("http://{}/v1alpha/auth_tokens", gate.data)).bearer_auth(client);
        let (status, made) = told(request.body(json!({"uses": 5}).to_string()).send().await.unwrap()).await;
        assert_eq!(status, 200, "{made}");
        made["name"].as_str().unwrap().to_owned()
    };
    let (hers, his) = (token_of(&alice).await, token_of(&bob).await);
    let mut session = session_by(&gate, &hers).await;
    session.say(&resume(None)).await;
    session.hear().await;
    let handle = session.hear().await["sessionResumptionUpdate"]["newHandle"].as_str().unwrap().to_owned();
    drop(session);
    let mut again = session_by(&gate, &hers).await;
    again.say(&resume(Some(&handle))).await;
    assert_eq!(again.hear().await, json!({"setupComplete": {}}));
    let before = world.calls().len();
    let mut foreign = session_by(&gate, &his).await;
    foreign.say(&resume(Some(&handle))).await;
    assert_eq!((foreign.ended().await.0, world.calls().len()), (1008, before));
    // No key went up, and yet Google was asked.
    until_counted(&gate, r#"geminate_attempts_total{key="token""#).await;
}

#[tokio::test]
async fn what_a_setup_names_is_looked_for_in_each_project_and_known_when_it_is_found() {
    let (world, gate) = with_keys(&["fake-key-0001@a", "fake-key-0002@b", "fake-key-0003@c"]).await;
    let refused = "fault=close:1008@0 body=CachedContent not found (or permission denied)";
    play(&world, &[&format!("key={K1} {refused}"), &format!("key={K2} {refused}")]);
    let setup = json!({"setup": {"model": format!("models/{LIVE}"), "cachedContent": "cachedContents/c"}});
    for _ in 0..4 {
        let mut session = Session::open(&gate, PATH).await;
        session.say(&setup).await;
        assert_eq!(session.hear().await, json!({"setupComplete": {}}));
    }
    let asked = [K1, K2, K3].map(|key| calls_of(&world, key).len());
    assert!(asked[0] <= 1 && asked[1] <= 1 && asked[2] == 4, "the owner is asked alone once it is known: {asked:?}");
    assert!(asked[0] + asked[1] > 0, "another project was asked first: {asked:?}");
}
