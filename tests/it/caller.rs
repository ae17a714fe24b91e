//! The truth reaches the client: its own errors come back untouched, and cost no key anything.

use geminate::mock::Form;
use geminate::secret::Digest;
use reqwest::Method;
use serde_json::{Value, json};

use crate::stage::{AT_ONCE, K1, K2, K3, NO_RETRIES, calls_of, key, play, returns_in, states, told};
use crate::world::{MODEL, TOKEN, header, json_of, prompt, with_keys, with_keys_and};

#[tokio::test]
async fn a_callers_error_comes_back_to_the_byte_and_no_key_pays_for_it() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    let faults = ["invalid_argument", "too_many_tokens", "thought_signature", "file_permission", "cache_permission"];
    for fault in faults {
        play(&world, &[&format!("fault={fault} times=1 header=x-goog-said:{fault}")]);
        let answer = gate.generate("hello").await;
        assert_eq!(header(&answer, "x-geminate-attempts"), "1", "{fault}");
        let said = answer.text().await.unwrap();
        let google: Value = serde_json::from_str(&said).unwrap();
        // The mock writes as Google does, over several lines.
        assert_eq!(said.trim_end(), serde_json::to_string_pretty(&google).unwrap().trim_end(), "{fault}");
    }
    for place in 0..2 {
        let key = key(&gate, place).await;
        assert_eq!(
            (&key["state"], &key["effective_weight"], &key["last_error"]),
            (&json!("usable"), &json!(1.0), &Value::Null)
        );
    }
    assert_eq!(world.calls().len(), faults.len());
}

#[tokio::test]
async fn bodies_pass_unchanged_unknown_fields_included() {
    let (world, gate) = with_keys(&[K1]).await;
    let body = "{ \"contents\" :[{\"parts\":[{\"text\":\"\\u0041\"}]}],\"undreamtOf\": 1.0e0 ,\"undreamtOf\":null}\n";
    let path = format!("/v1beta/models/{MODEL}:generateContent?key={TOKEN}&undreamtOf=%7E1");
    let request = gate.http.post(format!("http://{}{path}", gate.data)).header("content-type", "application/json");
    assert_eq!(request.body(body).send().await.unwrap().status(), 200);
    let call = &world.calls()[0];
    assert!(call.body_digest.unwrap().matches(&Digest::of(body.as_bytes())));
    assert_eq!(call.path_and_query, format!("/v1beta/models/{MODEL}:generateContent?undreamtOf=%7E1"));
}

#[tokio::test]
async fn whatever_credentials_a_client_brings_google_gets_one_and_in_a_header() {
    let (world, gate) = with_keys(&["AQ.fake_key-with.dots-0001"]).await;
    let path = format!("/v1beta/models/{MODEL}:generateContent?key={TOKEN}");
    let request = gate.ask(Method::POST, &path).bearer_auth(TOKEN).header("x-api-key", TOKEN);
    assert_eq!(request.body(prompt("hello").to_string()).send().await.unwrap().status(), 200);
    let call = &world.calls()[0];
    assert_eq!((call.credentials.len(), call.credentials[0].form), (1, Form::GoogleHeader));
    assert_eq!(call.credentials[0].value, "AQ.fake_key-with.dots-0001");
    assert!(!call.path_and_query.contains('?'));
}

#[tokio::test]
async fn a_credential_seen_double_is_sent_once_more_and_then_owned_up_to() {
    let (world, gate) = with_keys(&[K1]).await;
    play(&world, &["fault=multiple_credentials times=1"]);
    assert_eq!(gate.generate("hello").await.status(), 200);
    play(&world, &["fault=multiple_credentials"]);
    let (status, error) = told(gate.generate("hello").await).await;
    assert_eq!((status, &error["error"]["details"][0]["reason"]), (502, &json!("CREDENTIAL_FORM")));
    assert_eq!((world.calls().len(), states(&gate).await[0].0.as_str()), (4, "usable"));
}

#[tokio::test]
async fn blocked_and_truncated_answers_are_successes_that_pass_as_they_are() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    for (fault, says) in [
        ("blocked:SAFETY", "blockReason"),
        ("finish:RECITATION", "RECITATION"),
        ("finish:MAX_TOKENS", "MAX_TOKENS"),
        ("empty", "candidates"),
    ] {
        play(&world, &[&format!("fault={fault} times=1")]);
        let answer = gate.generate("hello").await;
        assert_eq!(
            (answer.status().as_u16(), header(&answer, "x-geminate-attempts")),
            (200, "1".to_owned()),
            "{fault}"
        );
        assert!(answer.text().await.unwrap().contains(says), "{fault}");
    }
    assert_eq!(states(&gate).await[0].0, "usable");
}

#[tokio::test]
async fn an_empty_answer_gets_a_second_chance_where_that_is_wanted() {
    let (world, gate) = with_keys_and(&[K1, K2], &[("EMPTY_RETRIES", "1")]).await;
    play(&world, &["fault=empty times=1"]);
    for _ in 0..2 {
        assert!(
            json_of(gate.generate("hello").await).await["candidates"][0]["content"]["parts"][0]["text"].is_string()
        );
    }
    play(&world, &["fault=empty times=1 header=x-goog-said:first", "fault=empty header=x-goog-said:second"]);
    let answer = gate.generate("hello").await;
    assert_eq!((answer.status().as_u16(), header(&answer, "x-goog-said")), (200, "first".to_owned()));
    assert_eq!(world.calls().len(), 5);
    gate.logged(|line| line["outcome"] == "ok" && line["attempts"] == 2).await;
    assert!(states(&gate).await.iter().all(|(state, _)| state == "usable"));
}

#[tokio::test]
async fn an_empty_answer_is_the_answer_where_no_other_key_can_give_a_better_one() {
    for fault in ["quota_day", "api_key_invalid", "internal", "overloaded"] {
        let (world, gate) = with_keys_and(&[K1, K2], &[("EMPTY_RETRIES", "1")]).await;
        play(&world, &["fault=empty times=1 header=x-goog-said:first", &format!("fault={fault} times=1")]);
        let answer = gate.generate("hello").await;
        assert_eq!((answer.status().as_u16(), header(&answer, "x-goog-said")), (200, "first".to_owned()), "{fault}");
        assert_eq!((calls_of(&world, K1).len(), calls_of(&world, K2).len()), (1, 1), "nobody pays twice: {fault}");
    }
    let (world, gate) = with_keys_and(&[K1, K2, K3], &[("EMPTY_RETRIES", "1")]).await;
    play(&world, &["fault=empty times=1", "fault=quota_day times=1"]);
    let text = json_of(gate.generate("hello").await).await["candidates"][0]["content"]["parts"][0]["text"].take();
    assert!(text.is_string() && world.calls().len() == 3, "a third key can");
}

#[tokio::test]
async fn a_place_google_does_not_serve_is_the_keys_and_the_next_key_is_asked() {
    let (world, gate) = with_keys(&[K1, K2]).await;
    play(&world, &[&format!("key={K1} fault=location")]);
    for _ in 0..3 {
        assert_eq!(gate.generate("hello").await.status(), 200);
    }
    assert_eq!(calls_of(&world, K1).len(), 1);
    assert_eq!(states(&gate).await[0], ("off".to_owned(), "precondition".to_owned()));
    assert!((3590.0..=3600.0).contains(&returns_in(&key(&gate, 0).await)));
}

#[tokio::test]
async fn a_place_that_no_key_serves_is_told_in_googles_words() {
    for fault in ["location", "free_tier_unavailable"] {
        let (world, gate) = with_keys(&[K1, K2, K3]).await;
        play(&world, &[&format!("fault={fault}")]);
        let (status, error) = told(gate.generate("hello").await).await;
        assert_eq!((status, &error["error"]["status"], world.calls().len()), (400, &json!("FAILED_PRECONDITION"), 2));
    }
}

#[tokio::test]
async fn a_403_without_a_reason_is_asked_of_one_other_key_and_the_first_answer_stands() {
    let (world, gate) = with_keys_and(&[K1, K2], &[AT_ONCE]).await;
    play(
        &world,
        &[
            "fault=permission_denied times=1 header=x-goog-said:first",
            "fault=permission_denied header=x-goog-said:second",
        ],
    );
    let answer = gate.generate("hello").await;
    assert_eq!((answer.status().as_u16(), header(&answer, "x-goog-said")), (403, "first".to_owned()));
    assert_eq!((world.calls().len(), states(&gate).await[0].0.as_str()), (2, "usable"), "once is no proof");
    gate.generate("hello").await;
    assert_eq!(states(&gate).await[0], ("cooling".to_owned(), "forbidden".to_owned()), "twice in a row is");
    assert!((3590.0..=3602.0).contains(&returns_in(&key(&gate, 0).await)));
}

#[tokio::test]
async fn a_model_that_is_denied_to_every_key_stays_a_403_while_nobody_is_asked() {
    let (world, gate) = with_keys(&[K1, K2, K3]).await;
    play(&world, &[&format!("key={K3} fault=api_key_invalid"), "fault=permission_denied"]);
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(gate.generate("hello").await.status().as_u16());
    }
    let asked = world.calls().len();
    let answer = gate.generate("hello").await;
    assert!((3590..=3602).contains(&header(&answer, "retry-after").parse::<u32>().unwrap()));
    let (status, refusal) = told(answer).await;
    assert_eq!((statuses, status, &refusal["error"]["status"]), (vec![403; 3], 403, &json!("PERMISSION_DENIED")));
    assert_eq!(refusal["error"]["details"][0]["metadata"], json!({"forbidden": "2", "invalid": "1"}), "{refusal}");
    assert_eq!(world.calls().len(), asked);
    world.clear_scripts();
    assert_eq!(gate.post("/v1beta/models/gemini-3.5-flash:countTokens", &prompt("hi")).await.status(), 200);
}

#[tokio::test]
async fn a_model_that_nobody_knows_is_asked_of_two_projects_and_then_of_one() {
    let (world, gate) = with_keys(&[K1, K2, K3]).await;
    let ask = || gate.post("/v1beta/models/no-such-model:generateContent", &Value::Null);
    let answer = gate.post("/v1beta/models/no-such-model:generateContent", &prompt("hello")).await;
    let (status, error) = told(answer).await;
    assert_eq!((status, &error["error"]["status"], world.calls().len()), (404, &json!("NOT_FOUND"), 2));
    assert!(error["error"]["message"].as_str().unwrap().starts_with("models/no-such-model is not found"));
    assert_eq!(gate.post("/v1beta/models/no-such-model:generateContent", &prompt("hello")).await.status(), 404);
    assert_eq!(world.calls().len(), 3, "it is known to be unknown");
    assert!(ask().await.status().is_client_error());
    assert!(states(&gate).await.iter().all(|(state, _)| state == "usable"));
}

#[tokio::test]
async fn a_model_closed_to_one_project_is_asked_of_those_that_have_it() {
    let (world, gate) = with_keys_and(&[K1, K2], &[NO_RETRIES]).await;
    play(&world, &[&format!("key={K1} fault=model_retired")]);
    // Without retries a 404 is a 404.
    let statuses = [gate.generate("a").await.status().as_u16(), gate.generate("b").await.status().as_u16()];
    assert_eq!(statuses, [404, 200]);

    let (world, gate) = with_keys(&[K1, K2]).await;
    play(&world, &[&format!("key={K1} fault=model_retired")]);
    for _ in 0..4 {
        assert_eq!(gate.generate("hello").await.status(), 200);
    }
    assert_eq!(calls_of(&world, K1).len(), 1);
    assert_eq!(states(&gate).await[0], ("cooling".to_owned(), "model_unknown".to_owned()));
    assert!((43_190.0..=43_202.0).contains(&returns_in(&key(&gate, 0).await)));
}
