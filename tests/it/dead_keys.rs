//! A key that cannot serve is Google's to refuse once, and ours to remember: no client notices it.

use std::time::Duration;

use geminate::mock::Form;
use reqwest::Method;
use serde_json::json;

use crate::house::PATIENCE;
use crate::stage::{
    AT_ONCE, K1, K2, K3, K4, NO_RETRIES, calls_of, counted, key, play, reasons, returns_in, states, told,
};
use crate::world::{Gate, MODEL, header, prompt, with_keys, with_keys_and};

/// Dead keys are asked again after ten milliseconds.
const PROBE_SOON: [(&str, &str); 2] =
    [("GEMINATE__POOL__PROBE_AFTER_MS", "10"), ("GEMINATE__POOL__PROBE_AFTER_MAX_MS", "10")];

fn chat() -> serde_json::Value {
    json!({"model": MODEL, "messages": [{"role": "user", "content": "hello"}]})
}

#[tokio::test]
async fn every_kind_of_dead_key_is_switched_away_from_at_once_and_for_good() {
    let (world, gate) = with_keys(&[K1, K2, K3, K4]).await;
    for (key, fault) in [(K1, "api_key_invalid"), (K2, "api_key_expired"), (K3, "api_key_not_found")] {
        play(&world, &[&format!("key={key} fault={fault}")]);
    }
    for _ in 0..5 {
        assert_eq!(gate.generate("hello").await.status(), 200);
    }
    assert_eq!(world.calls().len(), 8, "each dead key was asked once, more often than retries would allow");
    let dead = ("dead".to_owned(), "invalid".to_owned());
    assert_eq!(states(&gate).await[..3], [dead.clone(), dead.clone(), dead]);
    assert!((595.0..=600.0).contains(&returns_in(&key(&gate, 0).await)), "asked again in ten minutes");
}

#[tokio::test]
async fn a_dead_key_is_seen_through_the_array_of_streams_and_of_the_openai_surface() {
    let (world, gate) = with_keys(&[K1, K2, K3]).await;
    play(&world, &[&format!("key={K1} fault=api_key_invalid"), &format!("key={K2} fault=api_key_invalid")]);
    let array = gate.post(&format!("/v1beta/models/{MODEL}:streamGenerateContent"), &prompt("hello")).await;
    let chat = gate.post("/v1/chat/completions", &chat()).await;
    assert_eq!((array.status().as_u16(), chat.status().as_u16()), (200, 200));
    assert_eq!((calls_of(&world, K1).len(), calls_of(&world, K2).len()), (1, 1));
}

#[tokio::test]
async fn with_all_keys_dead_the_answer_is_ours_and_never_the_dead_keys() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    play(&world, &["fault=api_key_invalid"]);
    for _ in 0..2 {
        let answer = gate.generate("hello").await;
        assert_eq!(header(&answer, "retry-after"), "600");
        let (status, refusal) = told(answer).await;
        assert_eq!((status, &refusal["error"]["status"]), (503, &json!("UNAVAILABLE")));
        assert!(refusal["error"]["message"].as_str().unwrap().starts_with("no usable key (2 invalid)"), "{refusal}");
        assert!(!refusal.to_string().contains("API key not valid"));
    }
    assert_eq!(world.calls().len(), 2, "no call is wasted on a dead key");
    let (status, refusal) = told(gate.post("/v1/chat/completions", &chat()).await).await;
    assert_eq!((status, &refusal["error"]["code"]), (503, &json!("no_usable_key")));
    let health = gate.http.get(format!("http://{}/monitor/health", gate.admin)).send().await.unwrap();
    assert_eq!(health.status(), 503);
}

#[tokio::test]
async fn a_dead_key_is_asked_for_its_models_until_it_lives() {
    let (world, gate) = with_keys_and(&[K1, K2], &PROBE_SOON).await;
    play(&world, &[&format!("key={K1} fault=api_key_invalid times=2")]);
    assert_eq!(gate.generate("hello").await.status(), 200);
    gate.logged(|line| line["message"] == "probed dead key #1: it serves again").await;
    for _ in 0..2 {
        assert_eq!(gate.generate("hello").await.status(), 200);
    }
    let calls = calls_of(&world, K1);
    let actions: Vec<_> = calls.iter().map(|call| (call.method.as_str(), call.action.as_str())).collect();
    let probe = ("GET", "models");
    assert_eq!(actions, [("POST", "generateContent"), probe, probe, ("POST", "generateContent")]);
}

#[tokio::test]
async fn a_dead_key_does_not_come_back_by_an_answer_that_is_none_of_the_api() {
    let (world, gate) = with_keys_and(&[K1, K2], &PROBE_SOON).await;
    play(&world, &[&format!("key={K1} fault=api_key_invalid times=1")]);
    play(&world, &["action=models fault=status:400 times=1 body=oops", "action=models fault=cut:0 times=1"]);
    assert_eq!(gate.generate("hello").await.status(), 200);
    gate.logged(|line| line["message"] == "probed dead key #1: it serves again").await;
    assert_eq!(calls_of(&world, K1).iter().filter(|call| call.action == "models").count(), 3);
}

#[tokio::test]
async fn what_google_bans_is_never_asked_again_and_its_words_are_kept_from_all() {
    let (world, gate) = with_keys_and(&[K1, K2, K3, K4], &PROBE_SOON).await;
    for (key, fault) in [(K1, "leaked"), (K2, "consumer_suspended"), (K3, "project_denied"), (K4, "api_key_invalid")] {
        play(&world, &[&format!("key={key} fault={fault}")]);
    }
    let (status, refusal) = told(gate.generate("hello").await).await;
    assert_eq!((status, reasons(&refusal)), (503, &json!({"banned": "3", "invalid": "1"})));
    let probed = world.until(PATIENCE, |calls| calls.iter().filter(|call| call.action == "models").count() >= 2).await;
    assert!(probed.unwrap().iter().filter(|call| call.action == "models").all(|call| call.key.as_deref() == Some(K4)));
    assert_eq!(states(&gate).await[1], ("dead".to_owned(), "banned".to_owned()));
    assert!(key(&gate, 1).await["returns_at"].is_null());
    let keys = gate.monitor("/monitor/keys").await.to_string();
    assert!(!refusal.to_string().contains(K2) && !keys.contains(K2) && !gate.log().contains(K2));
}

#[tokio::test]
async fn a_key_whose_setup_forbids_the_call_rests_and_another_serves() {
    let (world, gate) =
        with_keys(&["fake-key-0001", "fake-key-0002", "fake-key-0003", "fake-key-0004", "fake-key-0005"]).await;
    for (key, fault) in
        [(K1, "service_disabled"), (K2, "service_blocked"), (K3, "ip_blocked"), (K4, "referrer_blocked")]
    {
        play(&world, &[&format!("key={key} fault={fault}")]);
    }
    assert_eq!(gate.generate("hello").await.status(), 200);
    assert_eq!(gate.generate("hello").await.status(), 200);
    assert_eq!(world.calls().len(), 6);
    assert!(states(&gate).await[..4].iter().all(|(state, reason)| state == "off" && reason == "blocked"));
    assert!((590.0..=602.0).contains(&returns_in(&key(&gate, 0).await)), "ten minutes");
}

#[tokio::test]
async fn with_every_setup_forbidding_the_call_googles_403_is_passed_on_without_the_key_in_it() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    play(&world, &["fault=service_disabled"]);
    let (status, refusal) = told(gate.generate("hello").await).await;
    assert_eq!((status, &refusal["error"]["details"][0]["reason"]), (403, &json!("SERVICE_DISABLED")));
    assert_eq!(refusal["error"]["details"][0]["metadata"]["containerInfo"], "api_key:[key]");
    assert_eq!(world.calls().len(), 2);
}

#[tokio::test]
async fn a_project_out_of_money_is_off_for_an_hour_and_says_so() {
    let (world, gate) = with_keys_and(&[K1], &[AT_ONCE]).await;
    play(&world, &["fault=payment_required"]);
    let answer = gate.generate("hello").await;
    assert!((3600..=3602).contains(&header(&answer, "retry-after").parse::<u32>().unwrap()));
    let (status, refusal) = told(answer).await;
    assert_eq!((status, reasons(&refusal)), (429, &json!({"billing": "1"})));
    assert_eq!(states(&gate).await, [("off".to_owned(), "billing".to_owned())]);
    let other = gate.post("/v1beta/models/gemini-3.5-flash:generateContent", &prompt("hello")).await;
    assert_eq!((other.status().as_u16(), world.calls().len()), (429, 1), "money is gone for every model");
}

async fn forms_after_401(gate: &Gate, world: &geminate::mock::World) -> Vec<Form> {
    assert_eq!(gate.post("/v1/chat/completions", &chat()).await.status(), 200);
    calls_of(world, K1).iter().map(|call| call.credentials[0].form).collect()
}

#[tokio::test]
async fn a_key_refused_in_one_form_is_offered_once_in_the_other_which_is_remembered() {
    let (world, gate) = with_keys(&[K1]).await;
    play(&world, &["fault=unauthenticated times=1"]);
    assert_eq!(forms_after_401(&gate, &world).await, [Form::Authorization, Form::GoogleHeader]);
    assert_eq!(forms_after_401(&gate, &world).await[2..], [Form::GoogleHeader]);
    assert_eq!(gate.generate("hello").await.status(), 200);
    assert_eq!(calls_of(&world, K1).last().unwrap().credentials.len(), 1);
}

#[tokio::test]
async fn each_form_that_a_key_is_asked_in_is_a_request_that_is_counted_everywhere() {
    for (then, verdicts) in [
        (None, json!({"success": 1, "unauthorized": 1})),
        (Some("fault=unauthenticated"), json!({"unauthorized": 2})),
        (Some("fault=overloaded"), json!({"overloaded": 1, "unauthorized": 1})),
    ] {
        let (world, gate) = with_keys_and(&[K1], &[NO_RETRIES, AT_ONCE]).await;
        play(&world, &["fault=unauthenticated times=1"]);
        play(&world, then.as_slice());
        let answer = gate.post("/v1/chat/completions", &chat()).await;
        assert_eq!((header(&answer, "x-geminate-attempts").as_str(), world.calls().len()), ("2", 2), "{then:?}");
        answer.bytes().await.unwrap();
        assert_eq!(gate.logged(|line| line["message"] == "served").await["attempts"], 2);
        let key = key(&gate, 0).await;
        assert_eq!((&key["outcomes"], &key["attempts"]), (&verdicts, &json!(2)), "{then:?}");
        for (verdict, count) in verdicts.as_object().unwrap() {
            assert_eq!(json!(counted(&gate, verdict).await), *count, "{then:?} {verdict}");
        }
    }
}

#[tokio::test]
async fn a_body_that_streams_through_kills_no_key_by_its_form() {
    let (world, gate) = with_keys_and(&[K1], &[("GEMINATE__RETRY__REPLAY_BYTES_MAX", "1000")]).await;
    play(&world, &["path=/openai/ fault=unauthenticated times=1"]);
    let mut large = chat();
    large["messages"][0]["content"] = "long ".repeat(1000).into();
    let (status, refusal) = told(gate.post("/v1/chat/completions", &large).await).await;
    assert_eq!((status, &refusal["error"]["code"]), (503, &json!("no_usable_key")));
    assert_eq!(states(&gate).await[0].0, "usable");
    assert_eq!(gate.generate("hello").await.status(), 200, "Google's own routes let it in");
    assert_eq!(gate.post("/v1/chat/completions", &large).await.status(), 200);
    let forms = calls_of(&world, K1).into_iter().map(|call| call.credentials[0].form);
    assert_eq!(forms.collect::<Vec<_>>(), [Form::Authorization, Form::GoogleHeader, Form::GoogleHeader]);
}

#[tokio::test]
async fn a_key_that_streamed_bodies_were_refused_with_in_both_forms_is_dead() {
    let (world, gate) = with_keys_and(&[K1], &[("GEMINATE__RETRY__REPLAY_BYTES_MAX", "1000")]).await;
    play(&world, &["fault=unauthenticated"]);
    for state in ["usable", "dead"] {
        assert_eq!(gate.generate(&"long ".repeat(1000)).await.status(), 503);
        assert_eq!(states(&gate).await[0].0, state);
    }
    let forms: Vec<_> = calls_of(&world, K1).iter().map(|call| call.credentials[0].form).collect();
    assert_eq!(forms, [Form::GoogleHeader, Form::Authorization]);
}

#[tokio::test]
async fn a_key_refused_in_both_forms_is_dead() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    play(&world, &[&format!("key={K1} fault=unauthenticated")]);
    for _ in 0..3 {
        let answer = gate.ask(Method::POST, &format!("/v1beta/models/{MODEL}:generateContent"));
        let answer = answer.timeout(Duration::from_secs(5)).body(prompt("hello").to_string()).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "x-geminate-key")), (200, "2".to_owned()));
    }
    let forms: Vec<_> = calls_of(&world, K1).iter().map(|call| call.credentials[0].form).collect();
    assert_eq!(forms, [Form::GoogleHeader, Form::Authorization]);
    assert_eq!(states(&gate).await[0].0, "dead");
}
