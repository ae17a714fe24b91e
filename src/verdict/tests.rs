//! What each answer of Google's means.

use serde_json::{Value, json};

use super::*;

fn judge(code: u16, error: &Value) -> Verdict {
    Verdict::judge(&Refusal::read(code, json!({ "error": error }).to_string().as_bytes()), true)
}

fn says(code: u16, status: &str, message: &str) -> Verdict {
    judge(code, &json!({"code": code, "status": status, "message": message}))
}

fn quota(ids: &[(&str, &str)]) -> Verdict {
    let violations: Vec<Value> = ids.iter().map(|(id, limit)| json!({"quotaId": id, "quotaValue": limit})).collect();
    let details = json!([
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"},
    ]);
    // A text that says otherwise: details go before it.
    judge(429, &json!({"status": "RESOURCE_EXHAUSTED", "message": "spend per day limit: 0", "details": details}))
}

#[test]
fn details_go_before_words_and_the_longest_quota_before_others() {
    const DAY: (&str, &str) = ("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "250");
    const MINUTE: (&str, &str) = ("GenerateContentInputTokensPerModelPerMinute-FreeTier", "250000");
    assert_eq!(quota(&[MINUTE]), Verdict::QuotaMinute);
    assert_eq!(quota(&[MINUTE, DAY]), Verdict::QuotaDay);
    assert_eq!(quota(&[("SomethingDaily", "1")]), Verdict::QuotaDay);
    assert_eq!(quota(&[("SomethingNew", "1")]), Verdict::QuotaMinute, "an id that is not known falls to its wait");
    assert_eq!(quota(&[DAY, (MINUTE.0, "0")]), Verdict::NotInTier);
}

#[test]
fn a_limit_that_is_not_told_is_zero_where_the_message_says_so_of_it() {
    let judged = |violations: Value, message: &str| {
        let details = json!([{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations}]);
        judge(429, &json!({"status": "RESOURCE_EXHAUSTED", "message": message, "details": details}))
    };
    let violation = |metric: &str| json!({"quotaMetric": metric, "quotaId": "TokensPerModelPerMinute-FreeTier"});
    let said = |limits: &[(&str, u64)]| {
        let line = |(metric, limit): &(&str, u64)| {
            format!("* Quota exceeded for metric: {metric}, limit: {limit}, model: gemini-x\n")
        };
        format!("You exceeded your quota.\n{}Please retry in 38.6s.", limits.iter().map(line).collect::<String>())
    };
    let of_a = || json!([violation("a")]);
    assert_eq!(judged(of_a(), &said(&[("b", 7), ("a", 0)])), Verdict::NotInTier);
    assert_eq!(judged(of_a(), &said(&[("a", 0), ("a", 0)])), Verdict::NotInTier);
    assert_eq!(judged(of_a(), "Quota exceeded, limit: 0."), Verdict::NotInTier, "all that is told is nothing");
    for limits in [&[("a", 7), ("b", 0)][..], &[("a", 0), ("a", 7)], &[("b", 0), ("c", 7)], &[("a", 10)], &[]] {
        assert_eq!(judged(of_a(), &said(limits)), Verdict::QuotaMinute, "{limits:?}");
    }
    let both = json!([violation("a"), {"quotaMetric": "b", "quotaId": "RequestsPerMinute", "quotaValue": "7"}]);
    assert_eq!(judged(both, &said(&[("b", 7), ("a", 0)])), Verdict::NotInTier, "what has nothing serves nobody");
}

#[test]
fn without_details_the_words_decide() {
    for (message, verdict) in [
        ("Quota exceeded for metric: requests, limit: 20 per day", Verdict::QuotaDay),
        ("Quota exceeded. Please retry in 12.5s.", Verdict::QuotaMinute),
        ("Quota exceeded for metric: m, limit: 0, model: x\nPlease retry in 3s.", Verdict::NotInTier),
        ("Your prepayment credits are depleted. Please go to billing.", Verdict::Billing),
        ("Resource has been exhausted (e.g. check quota).", Verdict::QuotaBare),
        ("", Verdict::QuotaBare),
    ] {
        assert_eq!(says(429, "RESOURCE_EXHAUSTED", message), verdict, "{message}");
    }
    for message in ["API key not valid. Please pass one.", "api key expired.", "API Key not found."] {
        assert_eq!(says(400, "INVALID_ARGUMENT", message), Verdict::KeyInvalid, "{message}");
    }
}

#[test]
fn the_words_of_interactions_say_what_numbers_say_elsewhere() {
    for (http, code, message, verdict) in [
        (400, "invalid_request", "'input' is required.", Verdict::Caller),
        (400, "invalid_request", "API key not valid. Please pass a valid API key.", Verdict::KeyInvalid),
        (400, "failed_precondition", "Billing is disabled for the project.", Verdict::Precondition),
        (400, "failed_precondition", "The interaction is still running.", Verdict::Caller),
        (400, "parameter_unknown", "Unknown parameter 'x'.", Verdict::Caller),
        (401, "authentication", "The API key is missing, invalid, or expired.", Verdict::Unauthorized),
        (401, "authentication", "API key not valid.", Verdict::KeyInvalid),
        (402, "payment_required", "Prepaid credits are depleted.", Verdict::Billing),
        (403, "permission_denied", "no", Verdict::ModelForbidden),
        (403, "permission_denied", "Your API key was reported as leaked.", Verdict::Banned),
        (404, "not_found", "The interaction was not found for this model.", Verdict::Caller),
        (404, "model_not_found", "no", Verdict::ModelUnknown),
        (409, "already_exists", "no", Verdict::Caller),
        (409, "aborted", "no", Verdict::Caller),
        (416, "out_of_range", "no", Verdict::Caller),
        (429, "rate_limit_exceeded", "no", Verdict::QuotaMinute),
        (429, "quota_exceeded", "no", Verdict::QuotaDay),
        (429, "too_many_requests", "no", Verdict::QuotaBare),
        (499, "cancelled", "no", Verdict::Caller),
        (500, "api_error", "no", Verdict::Internal),
        (501, "unimplemented", "no", Verdict::Caller),
        (503, "service_unavailable", "no", Verdict::Overloaded),
        (504, "deadline_exceeded", "no", Verdict::Deadline),
    ] {
        let error = json!({"code": code, "message": message});
        assert_eq!(judge(http, &error), verdict, "{code}: {message}");
        // The same inside a stream, where the word alone tells.
        let refusal = Refusal::in_stream(json!({"event_type": "error", "error": error}).to_string().as_bytes());
        assert_eq!(Verdict::judge(&refusal, true), verdict, "{code}: {message}");
    }
}

#[test]
fn a_caller_who_speaks_of_keys_kills_none() {
    let field = json!([{"@type": "x/google.rpc.BadRequest"}, {"@type": "x/google.rpc.ErrorInfo", "reason": "OTHER"}]);
    let error = json!({"status": "INVALID_ARGUMENT", "message": "Not JSON: \"API key not valid\"", "details": field});
    assert_eq!(judge(400, &error), Verdict::Caller);
    assert_eq!(says(400, "FAILED_PRECONDITION", "The file is not in an ACTIVE state."), Verdict::Caller);
    assert_eq!(says(404, "NOT_FOUND", "Requested entity was not found."), Verdict::Caller);
    for code in [405, 409, 412, 413, 416, 422, 499] {
        assert_eq!(says(code, "", "no"), Verdict::Caller, "{code}");
    }
}

#[test]
fn a_body_that_says_nothing_is_judged_by_its_status() {
    for (code, verdict) in [
        (400, Verdict::Caller),
        (401, Verdict::Unauthorized),
        (402, Verdict::Billing),
        (403, Verdict::ModelForbidden),
        (404, Verdict::Caller),
        (429, Verdict::QuotaBare),
        (500, Verdict::Internal),
        (502, Verdict::Edge),
        (503, Verdict::Overloaded),
        (504, Verdict::Edge),
        (529, Verdict::Internal),
    ] {
        for body in [&b""[..], b"{", b"[]", b"null"] {
            assert_eq!(Verdict::judge(&Refusal::read(code, body), true), verdict, "{code}");
        }
    }
}

#[test]
fn a_page_is_the_edge_s_but_where_it_blames_the_request() {
    let page = |code| Verdict::judge(&Refusal::read(code, b" <html>"), true);
    for code in [400, 404, 405, 411, 413, 414, 431] {
        assert_eq!(page(code), Verdict::Caller, "{code}");
    }
    for code in [200, 401, 402, 403, 429, 500, 502, 503, 504, 529] {
        assert_eq!(page(code), Verdict::Edge, "{code}");
    }
}

#[test]
fn a_status_that_no_answer_has_is_the_edge_s() {
    for code in [100, 101, 199, 600, 999] {
        assert_eq!(Verdict::judge(&Refusal::read(code, b"{}"), true), Verdict::Edge, "{code}");
    }
}

#[test]
fn of_an_answer_that_broke_off_only_what_it_says_of_the_key_stands() {
    let uri = "/v1beta/models/m:generateContent".parse().unwrap();
    let endpoint = Endpoint::parse(&http::Method::POST, &uri, crate::endpoint::Surface::Gemini).unwrap();
    let beginning = |code, text: &str| Verdict::of_beginning(&Refusal::read(code, text.as_bytes()), &endpoint);
    let invalid = r#"{"error":{"code":400,"message":"API key not valid. Ple"#;
    assert_eq!(beginning(400, invalid), Some(Verdict::KeyInvalid));
    let reason = r#"{"error":{"details":[{"@type":"x.ErrorInfo","reason":"API_KEY_INVALID","do"#;
    assert_eq!(beginning(400, reason), Some(Verdict::KeyInvalid));
    let day = r#"{"error":{"details":[{"@type":"x.QuotaFailure","violations":[{"quotaId":"PerDay","quota"#;
    assert_eq!(beginning(429, day), Some(Verdict::QuotaDay));
    for text in ["", "{", r#"{"error":{"code":429,"message":"Resou"#] {
        assert_eq!(beginning(429, text), Some(Verdict::QuotaBare), "no other status is only ever of the key: {text}");
    }
    for code in [400, 401, 402, 403, 404, 500, 503] {
        for text in ["", "{", r#"{"error":{"code":4"#, r#"{"error":{"message":"The mod"#, "<html>", "API_KEY_INVALID"] {
            assert_eq!(beginning(code, text), None, "{code} {text}");
        }
    }
}

#[test]
fn verdicts_are_listed_in_order_of_their_numbers() {
    assert!(ALL.iter().enumerate().all(|(n, verdict)| *verdict as usize == n));
}
