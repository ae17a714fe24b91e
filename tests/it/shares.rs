//! Every key gets its share, exact within one request.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use crate::stage::{K1, K2, K3, calls_of, play};
use crate::world::{Gate, google, header, with_keys};

async fn weighted() -> Gate {
    let (_world, origin) = google(geminate::mock::Settings::default()).await;
    let list = format!("{K1}:10,{K2}:8,{K3}:5");
    Gate::open(&[("GEMINI_API_KEY", &list), ("GEMINI_BASE_URL", &origin)]).await
}

#[tokio::test]
async fn shares_are_exact_within_one_request_after_every_request() {
    let gate = weighted().await;
    let mut counts = BTreeMap::new();
    for turn in 1..=46 {
        let answer = gate.generate("hello").await;
        *counts.entry(header(&answer, "x-geminate-key")).or_insert(0) += 1;
        for (key, weight) in [("1", 10.0), ("2", 8.0), ("3", 5.0)] {
            let due = f64::from(turn) * weight / 23.0;
            let got = f64::from(counts.get(key).copied().unwrap_or(0));
            assert!((got - due).abs() < 1.0 + 1e-9, "key {key} after {turn} requests: {got} of {due}");
        }
    }
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [20, 16, 10]);
}

#[tokio::test]
async fn shares_hold_for_requests_at_once_on_all_workers() {
    let gate = weighted().await;
    let answers = join_all((0..230).map(|_| gate.generate("hello"))).await;
    let share = |key: &str| answers.iter().filter(|answer| header(answer, "x-geminate-key") == key).count();
    assert_eq!([share("1"), share("2"), share("3")], [100, 80, 50]);
    let keys = gate.monitor("/monitor/keys").await;
    let shares: Vec<_> =
        (0..3).map(|n| (&keys["keys"][n]["actual_share"], &keys["keys"][n]["expected_share"])).collect();
    assert!(
        shares.iter().all(|(actual, expected)| (actual.as_f64().unwrap() - expected.as_f64().unwrap()).abs() < 0.01),
        "{shares:?}"
    );
}

#[tokio::test]
async fn the_share_of_a_key_that_is_out_goes_to_the_others() {
    let (world, gate) = with_keys(&[K1, K2, K3]).await;
    play(&world, &[&format!("key={K2} fault=quota_day")]);
    for _ in 0..20 {
        assert_eq!(gate.generate("hello").await.status(), 200);
    }
    assert_eq!((calls_of(&world, K2).len(), calls_of(&world, K1).len(), calls_of(&world, K3).len()), (1, 10, 10));
}
