//! Every refusal of Google's that is known has one meaning, on every surface that words it.

use geminate::endpoint::{Endpoint, Surface};
use geminate::mock::{Refusal as Word, Settings};
use geminate::refusal::Refusal;
use geminate::verdict::Verdict::{self, *};
use http::{HeaderMap, Method, Uri};

use crate::stage::{K1, play};
use crate::world::{MODEL, google, prompt};

const TABLE: [(&str, Verdict); 49] = [
    ("api_key_invalid", KeyInvalid),
    ("api_key_expired", KeyInvalid),
    ("api_key_not_found", KeyInvalid),
    ("invalid_argument", Caller),
    ("too_many_tokens", Caller),
    ("thought_signature", ForeignSignature),
    ("multiple_credentials", DoubleCredential),
    ("location", Precondition),
    ("free_tier_unavailable", Precondition),
    ("unauthenticated", Unauthorized),
    ("payment_required", Billing),
    ("leaked", Banned),
    ("consumer_suspended", Banned),
    ("service_disabled", KeyBlocked),
    ("service_blocked", KeyBlocked),
    ("ip_blocked", KeyBlocked),
    ("referrer_blocked", KeyBlocked),
    ("file_permission", Caller),
    ("cache_permission", Caller),
    ("project_denied", Banned),
    ("unregistered", Unauthorized),
    ("permission_denied", ModelForbidden),
    ("model_not_found", ModelUnknown),
    ("model_retired", ModelUnknown),
    ("quota_day", QuotaDay),
    ("quota_minute", QuotaMinute),
    ("quota_tokens", QuotaMinute),
    ("limit_zero", NotInTier),
    ("quota_bare", QuotaBare),
    ("spend", Spend),
    ("grounding", Grounding),
    ("cancelled", Caller),
    ("internal", Internal),
    ("overloaded", Overloaded),
    ("high_demand", Overloaded),
    ("deadline_exceeded", Deadline),
    ("html_502", Edge),
    ("html_blocked", Edge),
    ("interactions_invalid_request", Caller),
    ("interactions_failed_precondition", Caller),
    ("interactions_parameter_unknown", Caller),
    ("interactions_authentication", Unauthorized),
    ("interactions_payment_required", Billing),
    ("interactions_permission_denied", ModelForbidden),
    ("interactions_model_not_found", ModelUnknown),
    ("interactions_out_of_range", Caller),
    ("interactions_rate_limit_exceeded", QuotaMinute),
    ("interactions_quota_exceeded", QuotaDay),
    ("interactions_cancelled", Caller),
];

#[tokio::test]
async fn every_refusal_has_one_meaning_on_every_surface() {
    let (world, origin) = google(Settings::with_keys([K1])).await;
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let chat = serde_json::json!({"model": MODEL, "messages": []});
    for (path, body) in [
        (format!("/v1beta/models/{MODEL}:generateContent"), prompt("hello")),
        (format!("/v1beta/models/{MODEL}:streamGenerateContent"), prompt("hello")),
        ("/v1beta/openai/chat/completions".to_owned(), chat),
    ] {
        let uri: Uri = path.parse().unwrap();
        let endpoint = Endpoint::parse(&Method::POST, &uri, Surface::of(&uri, &HeaderMap::new())).unwrap();
        for (name, verdict) in TABLE {
            world.clear_scripts();
            play(&world, &[&format!("fault={name}")]);
            let request = http.post(format!("{origin}{path}"));
            let request =
                if path.contains("openai") { request.bearer_auth(K1) } else { request.header("x-goog-api-key", K1) };
            let answer = request.body(body.to_string()).send().await.unwrap();
            let status = answer.status().as_u16();
            let refusal = Refusal::read(status, &answer.bytes().await.unwrap());
            assert_eq!(Verdict::of(&refusal, &endpoint), verdict, "{name} on {path}: {refusal:?}");
        }
    }
}

#[test]
fn no_refusal_is_without_a_meaning() {
    for word in Word::all().map(|word| word.to_string()).filter(|word| word != "interactions_not_found") {
        assert!(TABLE.iter().any(|(name, _)| *name == word), "{word}");
    }
}
