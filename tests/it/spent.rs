//! Every token that Google bills is counted, whatever became of the answer.

use serde_json::Value;

use crate::cache::{ON, ask, cold};
use crate::stage::{K1, K2, play, told};
use crate::world::{Gate, MODEL, TOKEN, with_keys_and};

const TWICE: (&str, &str) = ("EMPTY_RETRIES", "1");

/// The prompt's tokens that were counted.
async fn counted(gate: &Gate) -> u64 {
    let page = gate.http.get(format!("http://{}/metrics", gate.admin)).bearer_auth(TOKEN).send().await.unwrap();
    let page = page.text().await.unwrap();
    let lines = page.lines().filter(|line| line.starts_with("geminate_tokens_total") && line.contains("\"prompt\""));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// What an answer says of its prompt.
fn billed(answer: &Value) -> u64 {
    answer["usageMetadata"]["promptTokenCount"].as_u64().unwrap()
}

#[tokio::test]
async fn an_empty_answer_that_is_put_aside_is_paid_for_like_the_one_that_is_given() {
    for (script, answers) in [("fault=empty times=1", 2), ("fault=empty", 2), ("times=1 fault=lf", 1)] {
        let (world, gate) = with_keys_and(&[K1, K2], &[TWICE]).await;
        play(&world, &[script]);
        let (status, answer) = told(gate.generate("hello").await).await;
        assert_eq!((status, world.calls().len()), (200, answers), "{script}");
        gate.logged(|line| line["status"] == 200).await;
        assert_eq!(counted(&gate).await, billed(&answer) * answers as u64, "{script}");
    }
}

#[tokio::test]
async fn who_shares_an_answer_pays_for_it_once_all_together() {
    let (world, gate) = with_keys_and(&[K1, K2], &[TWICE, ON]).await;
    play(&world, &["fault=delay:1s,empty times=1"]);
    let path = format!("/v1beta/models/{MODEL}:generateContent");
    let body = cold("hello");
    let (one, other) = tokio::join!(ask(&gate, &path, &body, &[]), ask(&gate, &path, &body, &[]));
    let ((_, one), (_, other)) = (told(one).await, told(other).await);
    assert_eq!((&one, world.calls().len()), (&other, 2));
    let asked = async {
        while gate.monitor("/monitor/metrics").await["in_flight"] != 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::house::PATIENCE, asked).await.expect("it goes on");
    assert_eq!(counted(&gate).await, billed(&one) * 2);
}
