//! Quota is money: what Google says of a limit is learnt once and held to until the limit is over.

use std::time::Duration;

use futures_util::future::join_all;
use geminate::mock::Quota;
use http::Method;
use jiff::Timestamp;
use serde_json::json;
use tokio::time::Instant;

use crate::stage::{
    AT_ONCE, K1, K2, K3, K4, NO_RETRIES, calls_of, key, play, reasons, returns_in, states, told, with_config,
};
use crate::world::{MODEL, TOKEN, header, prompt, with_keys, with_keys_and};

fn cooling(reason: &str) -> (String, String) {
    ("cooling".to_owned(), reason.to_owned())
}

#[tokio::test]
async fn a_spent_day_lasts_until_midnight_in_los_angeles_whatever_wait_is_told() {
    let (world, gate) = with_keys_and(&[K1], &[AT_ONCE]).await;
    play(&world, &[&format!("model={MODEL} fault=quota_day:1s")]);
    let (status, refusal) = told(gate.generate("hello").await).await;
    assert_eq!((status, reasons(&refusal)), (429, &json!({"quota_day": "1"})));
    let now = Timestamp::now();
    // Just after midnight it may be about the day before.
    let is_young = geminate::quota::may_be_of_yesterday(now, Duration::ZERO);
    let midnight = if is_young { geminate::quota::YOUNG } else { geminate::quota::until_midnight(now) };
    let rest = returns_in(&key(&gate, 0).await) - midnight.as_secs_f64();
    assert!((-1.0..=3.0).contains(&rest), "{rest} s after midnight");
    let other = gate.post("/v1beta/models/gemini-3.5-flash:generateContent", &prompt("hello")).await;
    assert_eq!(other.status(), 200, "another model has its own day");
    assert_eq!(key(&gate, 0).await["tier"], "free", "the quota's name told the tier");
}

#[tokio::test]
async fn of_several_quotas_at_once_the_longest_rules() {
    let (world, gate) = with_keys_and(&[K1], &[AT_ONCE]).await;
    world.set_quota("*", "*", Quota { rpm: Some(1), rpd: Some(1), ..Quota::default() });
    assert_eq!(gate.generate("hello").await.status(), 200);
    assert_eq!(gate.generate("hello").await.status(), 429);
    assert_eq!(states(&gate).await, [cooling("quota_day")]);
}

#[tokio::test]
async fn a_shorter_rest_never_overwrites_a_longer_one() {
    let (world, gate) = with_keys_and(&[K1], &[AT_ONCE]).await;
    play(&world, &["fault=delay:400ms,quota_minute:6s times=1", "fault=delay:200ms,quota_day times=1"]);
    let answers = tokio::join!(gate.generate("a"), gate.generate("b"));
    assert_eq!((answers.0.status().as_u16(), answers.1.status().as_u16()), (429, 429));
    assert_eq!(states(&gate).await, [cooling("quota_day")]);
    assert!(returns_in(&key(&gate, 0).await) > 20.0);
}

#[tokio::test]
async fn a_success_under_way_does_not_end_a_rest() {
    let (world, gate) = with_keys_and(&[K1], &[AT_ONCE]).await;
    play(&world, &["fault=delay:400ms times=1", "fault=quota_day times=1"]);
    let slow = async { gate.generate("slow").await.status() };
    let (slow, quick) = tokio::join!(slow, async {
        world.until(Duration::from_secs(5), |calls| !calls.is_empty()).await.unwrap();
        gate.generate("quick").await.status()
    });
    assert_eq!((slow.as_u16(), quick.as_u16()), (200, 429));
    assert_eq!(states(&gate).await, [cooling("quota_day")]);
}

#[tokio::test]
async fn a_burst_of_refusals_is_one_strike() {
    let (world, gate) = with_keys_and(&[K1], &[AT_ONCE, NO_RETRIES]).await;
    play(&world, &["fault=delay:500ms,quota_bare"]);
    let answers = join_all((0..20).map(|_| gate.generate("hello"))).await;
    assert!(answers.iter().all(|answer| answer.status() == 429));
    assert!(world.calls().len() > 10, "they were under way together");
    let back = returns_in(&key(&gate, 0).await);
    assert!((3.0..=7.0).contains(&back), "the first rung of the ladder, not the last: {back} s");
}

#[tokio::test]
async fn keys_of_one_project_rest_together_and_another_serves_without_a_wait() {
    let keys: String = [(K1, "p"), (K2, "p"), (K3, "q")]
        .map(|(key, project)| format!("[[keys]]\nkey = \"{key}\"\nproject = \"{project}\"\n"))
        .concat();
    let (world, gate) = with_config(&["fake-key-0001@p", "fake-key-0002@p", K3], &keys, &[]).await;
    play(&world, &["project=p fault=quota_minute:30s"]);
    let began = Instant::now();
    for _ in 0..4 {
        let answer = gate.generate("hello").await;
        assert_eq!((answer.status().as_u16(), header(&answer, "x-geminate-key")), (200, "3".to_owned()));
    }
    assert!(began.elapsed() < Duration::from_secs(5), "nobody sleeps while a key is free");
    assert_eq!(calls_of(&world, K1).len() + calls_of(&world, K2).len(), 1, "one refusal speaks for both");
    assert_eq!(states(&gate).await[..2], [cooling("quota_minute"), cooling("quota_minute")]);
    assert!((29.0..=33.0).contains(&returns_in(&key(&gate, 1).await)), "as told and a second more");
}

#[tokio::test]
async fn a_tier_without_the_model_is_passed_over_for_a_day() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    play(&world, &[&format!("key={K1} fault=limit_zero")]);
    for _ in 0..3 {
        assert_eq!(gate.generate("hello").await.status(), 200);
    }
    assert_eq!(calls_of(&world, K1).len(), 1);
    assert_eq!(states(&gate).await[0], cooling("not_in_tier"));
    assert!((86_395.0..=86_403.0).contains(&returns_in(&key(&gate, 0).await)));
}

#[tokio::test]
async fn when_no_tier_has_the_model_google_says_so_itself() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    play(&world, &["fault=limit_zero"]);
    let answer = gate.generate("hello").await;
    let wait = header(&answer, "retry-after").parse::<u32>().unwrap();
    assert!((86_390..=86_403).contains(&wait), "as long as no key is asked again: {wait}");
    let (status, refusal) = told(answer).await;
    assert_eq!(status, 429);
    assert!(refusal["error"]["message"].as_str().unwrap().contains("limit: 0"));
}

#[tokio::test]
async fn a_refusal_without_a_reason_is_taken_elsewhere_after_a_short_pause() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    play(&world, &[&format!("key={K1} fault=quota_bare")]);
    let answer = gate.generate("hello").await;
    assert_eq!((answer.status().as_u16(), header(&answer, "x-geminate-attempts")), (200, "2".to_owned()));
    let calls = world.calls();
    let pause = calls[1].at - calls[0].at;
    assert!((Duration::from_millis(480)..Duration::from_secs(3)).contains(&pause), "{pause:?}");
    assert_eq!(states(&gate).await[0], cooling("quota_bare"));
}

#[tokio::test]
async fn bare_refusals_of_three_projects_are_a_storm_and_no_keys_fault() {
    let (world, gate) = with_keys_and(&[K1, K2, K3, K4], &[AT_ONCE]).await;
    play(&world, &["fault=quota_bare times=3"]);
    let answer = gate.generate("hello").await;
    assert!((3..=7).contains(&header(&answer, "retry-after").parse::<u32>().unwrap()));
    let (status, refusal) = told(answer).await;
    assert_eq!((status, reasons(&refusal)), (429, &json!({"storm": "4"})), "{refusal}");
    assert_eq!(states(&gate).await, vec![cooling("storm"); 4]);
    assert_eq!(world.calls().len(), 3);
}

#[tokio::test]
async fn a_refusal_tells_which_keys_are_out_why_and_until_when() {
    let (world, gate) = with_keys(&[K1, K2, K3]).await;
    for (key, fault) in [(K1, "api_key_invalid"), (K2, "quota_day"), (K3, "quota_minute:30s")] {
        play(&world, &[&format!("key={key} fault={fault}")]);
    }
    let began = Instant::now();
    let answer = gate.generate("hello").await;
    assert!(began.elapsed() < Duration::from_secs(5), "who cannot be served in time is told at once");
    let seconds: u32 = header(&answer, "retry-after").parse().unwrap();
    assert!((30..=33).contains(&seconds), "{seconds}");
    let (status, refusal) = told(answer).await;
    let error = &refusal["error"];
    assert_eq!((status, &error["status"]), (429, &json!("RESOURCE_EXHAUSTED")));
    assert_eq!(reasons(&refusal), &json!({"invalid": "1", "quota_day": "1", "quota_minute": "1"}));
    assert_eq!(error["details"][1]["retryDelay"], format!("{seconds}s"));
    assert!(error["message"].as_str().unwrap().ends_with(&format!("; retry in {seconds} s")));
}

#[tokio::test]
async fn a_spending_limit_holds_for_all_models_of_its_project() {
    let (world, gate) = with_keys_and(&[K1], &[AT_ONCE]).await;
    play(&world, &["fault=spend times=1"]);
    assert_eq!(gate.generate("hello").await.status(), 429);
    let other = gate.post("/v1beta/models/gemini-3.5-flash:generateContent", &prompt("hello")).await;
    let (status, refusal) = told(other).await;
    assert_eq!((status, reasons(&refusal), world.calls().len()), (429, &json!({"spend": "1"}), 1));
    assert!((595.0..=602.0).contains(&returns_in(&key(&gate, 0).await)));
}

#[tokio::test]
async fn a_spent_quota_of_searches_leaves_requests_without_one_alone() {
    let (world, gate) = with_keys_and(&[K1, K2], &[AT_ONCE]).await;
    play(&world, &["fault=grounding times=2"]);
    let mut search = prompt("who won?");
    search["tools"] = json!([{"google_search": {}}]);
    let path = format!("/v1beta/models/{MODEL}:generateContent");
    for _ in 0..2 {
        let (status, refusal) = told(gate.post(&path, &search).await).await;
        assert_eq!((status, refusal["error"]["details"][0]["metadata"]["grounding"].is_string()), (429, true));
    }
    assert_eq!(world.calls().len(), 2);
    assert_eq!(gate.generate("hello").await.status(), 200);
}

#[tokio::test]
async fn a_refusal_that_takes_no_key_out_of_play_is_not_asked_for_without_end() {
    let (world, gate) = with_keys_and(&[K1, K2], &[AT_ONCE, ("REQUEST_TIMEOUT", "5000")]).await;
    play(&world, &["fault=grounding"]);
    // Nothing in this request says that it is grounded.
    assert_eq!(gate.generate("hello").await.status(), 429);
    assert_eq!(world.calls().len(), 2);
}

#[tokio::test]
async fn an_operators_ceiling_is_kept_without_asking_google() {
    let keys = format!("[[keys]]\nkey = \"{K1}\"\nrpm = 2\n[[keys]]\nkey = \"{K2}\"\nrpd = 1\n");
    let (world, gate) = with_config(&[K1, K2], &keys, &[]).await;
    for _ in 0..3 {
        assert_eq!(gate.generate("hello").await.status(), 200);
    }
    let answer = gate.generate("hello").await;
    assert!((50..=61).contains(&header(&answer, "retry-after").parse::<u32>().unwrap()));
    let (status, refusal) = told(answer).await;
    assert_eq!((status, reasons(&refusal)), (429, &json!({"budget": "2"})));
    assert_eq!((calls_of(&world, K1).len(), calls_of(&world, K2).len()), (2, 1));
    assert_eq!(key(&gate, 0).await["outcomes"], json!({"success": 2}), "no strike");
}

#[tokio::test]
async fn prometheus_sees_what_each_key_used_of_the_day_and_no_name_that_a_client_made_up() {
    let keys = format!(
        "[[keys]]\nkey = \"{K1}\"\nid = \"ours\"\nproject = \"p\"\nrpd = 5\n[[keys]]\nkey = \"{K2}\"\nid = \"theirs\"\n\
         project = \"q\"\n[[keys]]\nkey = \"{K3}\"\nid = \"off\"\nrpd = 5\nenabled = false\n"
    );
    let (world, gate) = with_config(&[K1, &format!("{K2}@small"), K3], &keys, &[AT_ONCE]).await;
    world.set_quota("small", "*", Quota { rpd: Some(1), ..Quota::default() });
    for _ in 0..4 {
        assert_eq!(gate.generate("hello").await.status(), 200);
    }
    let _unknown = gate.post("/v1beta/models/made-up:generateContent", &prompt("hello")).await;
    let (ours, theirs) = (calls_of(&world, K1), calls_of(&world, K2));
    let of_model = ours.iter().filter(|call| call.model == MODEL).count();
    assert!(of_model >= 3 && theirs.len() >= 2, "{of_model} {}", theirs.len());
    let page = gate.http.get(format!("http://{}/metrics", gate.admin)).bearer_auth(TOKEN).send().await.unwrap();
    let page = page.text().await.unwrap();
    for line in [
        format!("geminate_key_day_requests{{key=\"ours\",project=\"p\",model=\"{MODEL}\"}} {of_model}"),
        format!("geminate_key_day_requests_max{{key=\"ours\",project=\"p\",model=\"{MODEL}\"}} 5"),
        format!("geminate_key_day_requests_max{{key=\"theirs\",project=\"q\",model=\"{MODEL}\"}} 1"),
    ] {
        assert!(page.lines().any(|seen| seen == line), "{line} is not in\n{page}");
    }
    let spent = format!("geminate_key_day_requests{{key=\"theirs\",project=\"q\",model=\"{MODEL}\"}} ");
    let spent = page.lines().find_map(|line| line.strip_prefix(&spent)).unwrap();
    assert!(spent.parse::<u64>().unwrap() >= 1, "all that Google granted is used: {spent}");
    let days = page.lines().filter(|line| line.starts_with("geminate_key_day_requests"));
    assert_eq!(days.filter(|line| line.contains("made-up") || line.contains("\"off\"")).count(), 0, "{page}");
}

#[tokio::test]
async fn a_picture_is_weighed_as_a_picture() {
    let config = "[[keys]]\nkey = \"fake-key-0001\"\ntpm = 20000\n";
    let (_world, gate) = with_config(&[K1], config, &[]).await;
    assert_eq!(gate.generate("hello").await.status(), 200);
    let ask = |part: serde_json::Value| {
        let body = json!({"contents": [{"role": "user", "parts": [part]}]});
        gate.ask(Method::POST, &format!("/v1beta/models/{MODEL}:generateContent")).body(body.to_string()).send()
    };
    let picture = json!({"inlineData": {"mimeType": "image/png", "data": "aB3x/9Qz".repeat(50_000)}});
    assert_eq!(ask(picture).await.unwrap().status(), 200, "400 kB of text were 100,000 tokens");
    let text = json!({"text": "a word. ".repeat(50_000)});
    assert_eq!(ask(text).await.unwrap().status(), 429, "as they are");
}
