//! What a look at the gateway comes to: sentences that say what to do.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::command::figures::{count, many, plain, ratio, share};
use crate::command::pages::{Full, Key};
use crate::command::report::stretch::Stretch;
use crate::command::status::verdict::Verdict;
use crate::command::words;

/// Fewer attempts than this tell nothing of a key or of the waste.
const ATTEMPTS_MIN: u64 = 50;
/// A part of the attempts that is worth a sentence.
const WASTED_MAX: f64 = 0.1;
/// A key that fails so much more often than all is told of.
const WORSE_BY: f64 = 3.0;
/// Of the requests so many may fail for Google's reasons.
const FAILED_MAX: f64 = 0.01;
/// Of the streams and answers so many may break.
const BROKEN_MAX: f64 = 0.01;
/// Keys that are told of one by one; beyond it they are counted.
const KEYS_TOLD: usize = 50;

/// How much it matters.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Weight {
    /// Somebody has to do something.
    Act,
    /// Somebody should look.
    Look,
    /// Good to know.
    Know,
}

/// One sentence.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(super) struct Finding {
    pub(super) weight: Weight,
    pub(super) code: &'static str,
    pub(super) words: String,
}

/// All there is to say, the most pressing first; never nothing. `verdict` is that of the same look.
pub(super) fn all(full: &Full, stretch: &Stretch, verdict: &Verdict) -> Vec<Finding> {
    let mut findings: Vec<Finding> = judged(verdict).into_iter().collect();
    if full.keys.usable == 0 {
        let words = "No key can serve: every request is refused until one returns or another is added.".to_owned();
        findings.push(Finding { weight: Weight::Act, code: "no_usable_key", words });
    }
    findings.extend(full.keys.keys.iter().filter_map(|key| key_out(key, full)).take(KEYS_TOLD));
    findings.extend(full.keys.keys.iter().filter_map(|key| worse_than_others(key, full)).take(KEYS_TOLD));
    findings.extend(one_project(&full.keys.keys).into_iter().take(KEYS_TOLD));
    findings.extend(waste(full, stretch));
    findings.extend(full.errors.refusals.iter().filter_map(|(reason, number)| refused(reason, *number)));
    findings.extend(failed(full));
    findings.extend(broken(&full.metrics.outcomes));
    if findings.is_empty() {
        let words = "Nothing needs to be done.".to_owned();
        findings.push(Finding { weight: Weight::Know, code: "nothing", words });
    }
    findings.sort_by_key(|finding| finding.weight);
    findings
}

/// What the verdict says and no other finding does.
fn judged(verdict: &Verdict) -> Option<Finding> {
    let weight = match verdict.code {
        "errors" => Weight::Act,
        "state_unsaved" => Weight::Look,
        "draining" => Weight::Know,
        _ => return None,
    };
    Some(Finding { weight, code: verdict.code, words: capital(&verdict.words) + "." })
}

/// `key 3 (..0003)`
fn named(key: &Key) -> String {
    let tail = if key.tail.is_empty() { String::new() } else { format!(" (..{})", plain(&key.tail)) };
    format!("key {}{tail}", plain(&key.id))
}

fn key_out(key: &Key, full: &Full) -> Option<Finding> {
    let reason = key.reason.as_deref().unwrap_or_default();
    let (name, why) = (named(key), plain(words::why_named(reason)));
    let back = key.returns_at.map(|at| words::when(at, full.health.at));
    let (weight, code, words) = match (key.state.as_str(), back) {
        ("dead", back) => {
            let asked = back.map(|back| format!(" It is asked again {back}.")).unwrap_or_default();
            (Weight::Act, "key_dead", format!("{name} is dead, {why}: {}.{asked}", mend(reason)))
        }
        ("off", Some(back)) => (Weight::Look, "key_off", format!("{name} is out, {why}; back {back}.")),
        ("off", None) => (Weight::Act, "key_off", format!("{name} is out, {why}: {}.", mend(reason))),
        ("disabled", _) => (Weight::Know, "key_disabled", format!("{name} is switched off by configuration.")),
        _ => {
            let day = key.cooling.iter().filter(|rest| matches!(rest.reason.as_str(), "quota_day" | "not_in_tier"));
            let models: Vec<String> = day.map(|rest| plain(&rest.model)).collect();
            if models.is_empty() {
                return None;
            }
            let models = words::some(&models, 5);
            let words = format!("{name} has no quota left today for {models}: keys of other projects have.");
            (Weight::Look, "day_spent", words)
        }
    };
    Some(Finding { weight, code, words: capital(&words) })
}

/// What mends a key that does not return by itself.
fn mend(reason: &str) -> &'static str {
    match reason {
        "invalid" => "replace it, if it was copied whole",
        "banned" => "replace it, and find where it was published",
        "blocked" => "allow the Gemini API in its restrictions, or switch the API on in its project",
        "billing" | "spend" => "pay for its project, or raise what it may spend",
        "precondition" => "give it a paid tier, or ask from a place that is served",
        "network" => "look at its proxy",
        _ => "replace it or remove it",
    }
}

fn worse_than_others(key: &Key, full: &Full) -> Option<Finding> {
    let own = ratio(key.failures(), key.attempts).filter(|_| key.attempts >= ATTEMPTS_MIN && !key.is_out())?;
    let all = full.waste();
    let others = ratio(all.wasted_attempts - key.failures(), all.attempts - key.attempts)?;
    if own < WASTED_MAX || own < others * WORSE_BY {
        return None;
    }
    let name = capital(&named(key));
    let words = format!(
        "{name} fails in {} of its attempts, the others in {}: look what it meets most in its errors.",
        share(own),
        share(others)
    );
    Some(Finding { weight: Weight::Look, code: "key_failing", words })
}

fn one_project(keys: &[Key]) -> Vec<Finding> {
    // Each pair is told once, by its first key.
    let place: BTreeMap<&str, usize> = keys.iter().enumerate().map(|(n, key)| (key.id.as_str(), n)).collect();
    let told = |(n, key): (usize, &Key)| {
        let later = |id: &&String| place.get(id.as_str()).is_some_and(|other| *other > n);
        let others: Vec<String> = key.probably_same_project_as.iter().filter(later).map(|id| plain(id)).collect();
        (!others.is_empty()).then(|| {
            let (name, others) = (capital(&named(key)), words::some(&others, 10));
            let words = format!(
                "{name} is probably of one project with {others}: they share one quota, so give them one project label."
            );
            Finding { weight: Weight::Look, code: "same_project", words }
        })
    };
    keys.iter().enumerate().filter_map(told).collect()
}

fn waste(full: &Full, stretch: &Stretch) -> Option<Finding> {
    let totals = &stretch.totals;
    let (attempts, wasted) = totals.attempts.zip(totals.wasted_attempts).unwrap_or_else(|| {
        let waste = full.waste();
        (waste.attempts, waste.wasted_attempts)
    });
    let part = ratio(wasted, attempts).filter(|part| attempts >= ATTEMPTS_MIN && *part >= WASTED_MAX)?;
    let class = full.errors.by_class.iter().max_by_key(|(_, number)| **number).map(|(class, _)| class.as_str())?;
    let (part, wasted, advice) = (share(part), count(wasted), advice(class));
    let words = format!("{part} of the attempts ({wasted}) were wasted, most by {}: {advice}.", plain(class));
    Some(Finding { weight: Weight::Look, code: "waste", words })
}

/// What helps where most attempts fail so.
fn advice(class: &str) -> &'static str {
    match class {
        "quota_day" | "quota_minute" | "quota_bare" | "not_in_tier" => "keys of other projects would take the load",
        "overloaded" | "internal" | "edge" | "deadline" => {
            "the cause is Google's, and models.fallback lets another model answer"
        }
        "connect" | "interrupted" | "broken" => "look at the network between here and Google",
        _ => "mend or remove the keys that meet it",
    }
}

/// Requests since the start that Google left without an answer, or answered with an error of its own.
fn failed(full: &Full) -> Option<Finding> {
    let outcomes = &full.metrics.outcomes;
    let number = outcomes.get("upstream_error").copied().unwrap_or_default();
    let part = ratio(number, outcomes.values().sum()).filter(|part| *part >= FAILED_MAX)?;
    let class = full.errors.by_class.iter().max_by_key(|(_, number)| **number).filter(|(_, number)| **number > 0);
    let look = match class {
        Some((class, _)) => format!("most failed attempts met {}: {}", plain(class), advice(class)),
        None => "look at the network between here and Google, and at REQUEST_TIMEOUT".to_owned(),
    };
    let (number, part) = (many(number, "request"), share(part));
    let words = format!("Failed since the start, by Google's errors or its silence: {number} ({part}); {look}.");
    Some(Finding { weight: Weight::Look, code: "failed", words })
}

/// Refusals since the start that somebody can do something about.
fn refused(reason: &str, number: u64) -> Option<Finding> {
    let (weight, advice) = match reason {
        "exhausted" | "no_usable_key" => {
            (Weight::Act, "because no key could serve: add keys, or let requests wait longer (pool.max_wait_ms)")
        }
        "line_full" => (Weight::Act, "because too many waited for a key already: add keys"),
        "busy" => (Weight::Look, "because all places were taken: raise MAX_CONCURRENT_REQUESTS"),
        "unauthenticated" => (Weight::Know, "that came without a token that is known"),
        "rate_limited" => (Weight::Know, "of clients beyond their rate limit (RATE_LIMIT_PER_MINUTE)"),
        "body_too_large" => (Weight::Know, "that were too large (server.body_bytes_max)"),
        _ => return None,
    };
    let number = many(Some(number).filter(|number| *number > 0)?, "request");
    Some(Finding { weight, code: "refused", words: format!("Refused since the start: {number} {advice}.") })
}

fn broken(outcomes: &BTreeMap<String, u64>) -> Option<Finding> {
    let of = |name: &str| outcomes.get(name).copied().unwrap_or_default();
    let (broken, all) = (of("stream_broken") + of("stream_unfinished"), outcomes.values().sum());
    let part = ratio(broken, all).filter(|part| *part >= BROKEN_MAX && all >= ATTEMPTS_MIN)?;
    let (part, broken) = (share(part), count(broken));
    let words = format!("{part} of the answers since the start broke off ({broken}): look at the network.");
    Some(Finding { weight: Weight::Look, code: "streams_broken", words })
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().collect::<String>() + chars.as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::command::looks;
    use crate::command::report::sources::Span;
    use crate::command::status::verdict;

    fn found(keys: &Value, more: &Value) -> Vec<String> {
        let full = looks::full(keys, more);
        let stretch = Stretch::of(&full, None, Span::Day);
        all(&full, &stretch, &verdict::of(&full)).into_iter().map(|finding| finding.words).collect()
    }

    #[test]
    fn each_key_that_is_out_has_its_sentence_the_pressing_ones_first() {
        let keys = json!([
            {"id": "1", "tail": "0001", "state": "usable"},
            {"id": "2", "tail": "0002", "state": "off", "reason": "quota_day", "returns_at": "2026-11-25T19:12:00Z"},
            {"id": "3", "tail": "0003", "state": "dead", "reason": "banned"},
            {"id": "4", "tail": "0004", "state": "disabled", "reason": "disabled"},
            {"id": "5", "tail": "", "state": "cooling", "cooling": [{"model": "gemini-x", "reason": "quota_day"}]},
        ]);
        let words = [
            "Key 3 (..0003) is dead, Google has banned it: replace it, and find where it was published.",
            "Key 2 (..0002) is out, the day's quota is spent; back in 5 h 12 min (19:12 UTC).",
            "Key 5 has no quota left today for gemini-x: keys of other projects have.",
            "Key 4 (..0004) is switched off by configuration.",
        ];
        assert_eq!(found(&keys, &json!({})), words);
        assert_eq!(found(&looks::keys(&["usable"]), &json!({})), ["Nothing needs to be done."]);
    }

    #[test]
    fn a_gateway_whose_every_request_fails_has_much_to_be_done() {
        let silent = |classes: Value| {
            let minute = json!({"requests": 24, "success_ratio": 0.0});
            json!({
                "metrics": {"requests": 24, "outcomes": {"upstream_error": 24}},
                "performance": {"last_minute": minute}, "errors": {"by_class": classes},
            })
        };
        let keys = looks::keys(&["usable"]);
        let words = [
            "100 % of the last minute's requests were not served.",
            "Failed since the start, by Google's errors or its silence: 24 requests (100 %); look at the network between \
             here and Google, and at REQUEST_TIMEOUT.",
        ];
        assert_eq!(found(&keys, &silent(json!({"connect": 0}))), words);
        let told = found(&keys, &silent(json!({"connect": 40, "internal": 2})));
        assert!(told[1].ends_with("most failed attempts met connect: look at the network between here and Google."));
        let few = json!({"metrics": {"outcomes": {"ok": 1_000, "upstream_error": 9}}});
        assert_eq!(found(&keys, &few), ["Nothing needs to be done."], "now and then one fails");
        let words = "DATA_DIR cannot be written: what is known will not survive a restart.";
        assert_eq!(found(&keys, &json!({"health": {"state_saved": false}})), [words]);
    }

    #[test]
    fn waste_refusals_and_keys_that_fail_more_than_others_are_told() {
        let key = |id: &str, failed: u64, same: &[&str]| {
            let outcomes = json!({"success": 100 - failed, "overloaded": failed});
            json!({"id": id, "state": "usable", "attempts": 100, "outcomes": outcomes,
                   "probably_same_project_as": same})
        };
        let keys = json!([key("1", 2, &["3"]), key("2", 60, &[]), key("3", 2, &["1"])]);
        let more = json!({
            "errors": {"by_class": {"overloaded": 64}, "refusals": {"exhausted": 3, "rate_limited": 0, "closed": 9}},
            "metrics": {"outcomes": {"ok": 90, "stream_broken": 10}},
        });
        let words = [
            "Refused since the start: 3 requests because no key could serve: add keys, or let requests wait longer \
             (pool.max_wait_ms).",
            "Key 2 fails in 60.0 % of its attempts, the others in 2.0 %: look what it meets most in its errors.",
            "Key 1 is probably of one project with 3: they share one quota, so give them one project label.",
            "21.3 % of the attempts (64) were wasted, most by overloaded: the cause is Google's, and \
             models.fallback lets another model answer.",
            "10.0 % of the answers since the start broke off (10): look at the network.",
        ];
        assert_eq!(found(&keys, &more), words);
        let none = found(&looks::keys(&["dead"]), &json!({}));
        assert!(none[0].starts_with("No key can serve") && none[1].contains("replace it or remove it"), "{none:?}");
    }
}
