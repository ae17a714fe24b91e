//! `geminate status`: one screen and an exit code that tell how the running gateway is.

use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::house::free_port;
use crate::keys_check::Ran;
use crate::stage::{AT_ONCE, K1, K2, NO_RETRIES, play, states};
use crate::world::{Gate, TOKEN, with_keys, with_keys_and};

/// `geminate ..` in a directory of its own, with the operator's token and these variables.
pub(crate) async fn geminate(words: &[&str], variables: &[(&str, &str)]) -> Ran {
    let dir = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_geminate"));
    command.args(words).env_clear().env("AUTH_TOKEN", TOKEN).envs(variables.iter().copied()).current_dir(dir.path());
    let ran = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let ran = Ran { code: ran.status.code(), out: text(ran.stdout), err: text(ran.stderr) };
    let all = ran.out.clone() + &ran.err;
    assert!(!all.contains("fake-key-") && !all.contains("fake-token-"), "{all}");
    ran
}

async fn status(gate: &Gate, more: &[&str]) -> Ran {
    let port = gate.admin.port().to_string();
    geminate(&[&["status"], more].concat(), &[("ADMIN_PORT", &port)]).await
}

#[tokio::test]
async fn all_is_well_says_so_with_figures_and_exits_0() {
    let (_google, gate) = with_keys(&[K1, K2]).await;
    for _ in 0..3 {
        assert_eq!(gate.generate("hello").await.status(), 200);
    }
    let ran = status(&gate, &[]).await;
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    for words in
        ["all is well", "2 of 2 keys can serve.", "last minute  3", "100 %", "Since the start: 3 requests; 3 attempts"]
    {
        assert!(ran.out.contains(words), "{words}\n{}", ran.out);
    }
    assert!(!ran.out.contains('\u{1b}'), "no terminal, no colour");
    assert!(ran.out.lines().count() <= 24 && ran.out.lines().all(|line| line.len() <= 120), "{}", ran.out);
}

#[tokio::test]
async fn a_key_that_is_out_is_named_with_its_reason_and_exits_1() {
    let (google, gate) = with_keys(&[K1, K2]).await;
    play(&google, &[&format!("key={K1} fault=leaked")]);
    for _ in 0..4 {
        gate.generate("hello").await.text().await.unwrap();
    }
    assert_eq!(states(&gate).await[0].0, "dead");
    let ran = status(&gate, &[]).await;
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    assert!(
        ran.out.contains("1 of 2 keys is out") && ran.out.contains("1 of 2 keys can serve (1 dead)"),
        "{}",
        ran.out
    );
    let line = ran.out.lines().find(|line| line.contains("Google has banned it")).unwrap();
    assert!(line.starts_with("1 ") && line.ends_with("not by itself"), "{line}");
    assert!(ran.out.contains("Failed attempts: banned 1."), "{}", ran.out);
    let page = status(&gate, &["--json"]).await.json();
    assert_eq!((&page["verdict"]["state"], &page["verdict"]["code"]), (&json!("degraded"), &json!("keys_out")));
    assert_eq!((&page["keys"]["out"][0]["id"], &page["keys"]["out"][0]["reason"]), (&json!("1"), &json!("banned")));
    assert_eq!(page["waste"]["wasted_attempts"], 1);
}

#[tokio::test]
async fn no_key_that_can_serve_exits_2_and_says_when_one_returns() {
    let (google, gate) = with_keys_and(&[K1], &[AT_ONCE, NO_RETRIES]).await;
    play(&google, &[&format!("key={K1} fault=leaked")]);
    assert_ne!(gate.generate("hello").await.status(), 200);
    let ran = status(&gate, &[]).await;
    assert_eq!(ran.code, Some(2), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("none of 1 key can serve; and none returns by itself"), "{}", ran.out);
}

#[tokio::test]
async fn the_data_listener_answers_as_well_and_a_wrong_token_is_told() {
    let (_google, gate) = with_keys(&[K1]).await;
    let url = format!("http://{}", gate.data);
    let ran = geminate(&["status", "--url", &url], &[]).await;
    assert_eq!((ran.code, ran.out.contains("all is well")), (Some(0), true), "{}{}", ran.out, ran.err);
    let ran = geminate(&["status", "--url", &url], &[("AUTH_TOKEN", "fake-token-of-another")]).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(69), ""));
    assert!(ran.err.contains("answers 401") && ran.err.contains("ADMIN_TOKEN"), "{}", ran.err);
}

#[tokio::test]
async fn what_cannot_be_asked_exits_69_and_says_why() {
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let ran = geminate(&["status", "--url", &nobody], &[]).await;
    assert_eq!(ran.code, Some(69));
    assert!(ran.err.starts_with("geminate: the gateway cannot be asked: no answer at 127.0.0.1:"), "{}", ran.err);
    let ran = geminate(&["status"], &[("PORT", "no port")]).await;
    assert_eq!(ran.code, Some(64), "{}", ran.err);
    assert!(ran.err.contains("PORT"), "{}", ran.err);
}

#[tokio::test]
async fn something_else_that_answers_there_is_no_gateway() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(|| async { r#"{"hello":"world"}"# });
    #[expect(clippy::disallowed_methods, reason = "it ends with the runtime of the test")]
    tokio::spawn(async move { axum::serve(listener, router).await });
    let ran = geminate(&["status", "--url", &url], &[]).await;
    assert_eq!(ran.code, Some(69));
    assert!(ran.err.contains("is no such gateway"), "{}", ran.err);
}
