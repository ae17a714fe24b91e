//! Wrong tokens are slowed at whatever door they are tried, and nobody else is.

use reqwest::Method;

use crate::admin::{ADMIN, admin, bare, guarded};
use crate::stage::K1;
use crate::world::{Gate, TOKEN, header, with_keys_and};

/// Guesses until one is not looked at any more.
async fn shut(mut guess: impl AsyncFnMut() -> reqwest::Response) -> reqwest::Response {
    for _ in 0..60 {
        let answer = guess().await;
        if answer.status() == 429 {
            return answer;
        }
        assert_eq!(answer.status(), 401);
    }
    panic!("one may guess for ever");
}

async fn health(gate: &Gate) -> String {
    admin(gate, Method::GET, "/monitor/health").send().await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn a_guess_counts_at_every_door_and_who_is_slowed_at_one_is_at_all() {
    let gate = guarded().await;
    let doors = ["/monitor/keys?key=guess", "/monitor/full?key=guess", "/api/overview?", "/metrics?key=guess"];
    let admins = |door: &'static str| bare(&gate, Method::GET, door).header("x-api-key", "guess").send();
    let data = || gate.http.get(format!("http://{}/monitor/keys", gate.data)).bearer_auth("guess").send();
    for door in &doors[..3] {
        for _ in 0..2 {
            assert_eq!(admins(door).await.unwrap().status(), 401, "{door}");
        }
        assert_eq!(data().await.unwrap().status(), 401);
    }
    assert_eq!(admins(doors[3]).await.unwrap().status(), 200, "on loopback it asks for nothing");
    let slowed = shut(async || data().await.unwrap()).await;
    let wait: u64 = header(&slowed, "retry-after").parse().unwrap();
    assert!((1..=6).contains(&wait), "{wait}");
    for door in &doors[..3] {
        shut(async || admins(door).await.unwrap()).await;
    }
    // Between two guesses that are not looked at the right token is not either: its longer answer would tell it.
    for _ in 0..20 {
        let before = data().await.unwrap().status();
        let told = health(&gate).await;
        let right = bare(&gate, Method::GET, &format!("/monitor/keys?key={ADMIN}")).send().await.unwrap().status();
        if (before.as_u16(), data().await.unwrap().status().as_u16()) == (429, 429) {
            assert!(told.contains("status") && !told.contains("version"), "{told}");
            assert_eq!(right, 429);
            return;
        }
    }
    panic!("it was never shut for long");
}

#[tokio::test]
async fn what_health_says_to_a_guesser_is_the_word_and_counts_as_well() {
    let gate = guarded().await;
    assert!(health(&gate).await.contains("version"));
    for _ in 0..11 {
        let guess = bare(&gate, Method::GET, "/monitor/health").bearer_auth("guess").send().await.unwrap();
        assert_eq!(guess.status(), 200, "whoever asks is told whether it serves");
    }
    let mut more = 0;
    shut(async || {
        more += 1;
        bare(&gate, Method::GET, "/api/overview").bearer_auth("guess").send().await.unwrap()
    })
    .await;
    assert!(more < 5, "{more}");
}

#[tokio::test]
async fn a_client_who_shows_its_own_token_does_not_guess() {
    let gate = guarded().await;
    for _ in 0..25 {
        let answer = bare(&gate, Method::GET, "/monitor/keys").bearer_auth(TOKEN).send().await.unwrap();
        assert_eq!(answer.status(), 401);
    }
    assert_eq!(admin(&gate, Method::GET, "/monitor/keys").send().await.unwrap().status(), 200);
    let beside = async || bare(&gate, Method::GET, "/monitor/keys?key=guess").bearer_auth(TOKEN).send().await.unwrap();
    shut(beside).await;
}

#[tokio::test]
async fn behind_a_proxy_of_the_operator_s_each_address_guesses_for_itself() {
    let trusted = ("GEMINATE__SERVER__TRUSTED_PROXIES", "127.0.0.1");
    let (_world, gate) = with_keys_and(&[K1], &[("ADMIN_TOKEN", ADMIN), trusted]).await;
    let ask = async |from: &str, token: &str| {
        let request = bare(&gate, Method::GET, "/monitor/keys").header("x-forwarded-for", from);
        request.bearer_auth(token).send().await.unwrap()
    };
    let mut pretended = 0;
    shut(async || ask("203.0.113.1", "guess").await).await;
    // What one writes oneself stands before what the proxy writes.
    shut(async || {
        pretended += 1;
        ask(&format!("198.51.100.{pretended}, 203.0.113.1"), "guess").await
    })
    .await;
    assert!(pretended < 3, "{pretended}");
    for _ in 0..20 {
        assert_eq!(ask("203.0.113.2", ADMIN).await.status(), 200, "a scraper elsewhere is served");
    }
}
