//! The agent's word against a server that does not take it at once.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use super::*;
use crate::kube::double::{Double, Scenario};

fn node() -> Scenario {
    let node = json!({"metadata": {"name": "n", "uid": "u", "resourceVersion": "1"}});
    Scenario::Answer(200, node.to_string())
}

async fn say(scenarios: Vec<Scenario>) -> (Result<(), String>, usize) {
    let double = Double::start(scenarios).await;
    let api = AgentApi::new(Arc::clone(&double.servers), String::from("n"));
    let said = api.say_alive("u", BootId(1), 7).await;
    let requests = double.requests();
    assert!(
        requests.iter().all(|request| request == "PATCH /api/v1/nodes/n"),
        "{requests:?}"
    );
    (said, requests.len())
}

#[tokio::test]
async fn a_word_gets_in_when_the_api_has_come_back() {
    let busy = Scenario::Answer(429, String::new());
    let failing = Scenario::Answer(503, String::new());
    let hiccup = vec![
        failing.clone(),
        Scenario::Close,
        busy,
        failing.clone(),
        failing,
        node(),
    ];
    assert_eq!(say(hiccup).await, (Ok(()), 6));
}

#[tokio::test]
async fn what_is_refused_is_not_said_again() {
    for code in [403, 404, 409, 422] {
        let (said, tries) = say(vec![Scenario::Answer(code, String::from("no")), node()]).await;
        assert!(said.unwrap_err().contains(&code.to_string()));
        assert_eq!(tries, 1);
    }
}

#[tokio::test]
async fn a_word_is_given_up_when_the_next_one_is_due() {
    let (said, tries) = say(vec![Scenario::Answer(503, String::from("away"))]).await;
    assert!(said.unwrap_err().contains("503 away"));
    assert!((6..=12).contains(&tries), "{tries} tries");
}

/// Times of the tries of an API that refuses at once, with every pause drawn so.
fn tries(drawn: u64) -> Vec<Duration> {
    let mut at = Duration::ZERO;
    let mut tries = vec![at];
    while let Some(pause) = pause_of_word(tries.len() - 1, at, drawn) {
        at += pause;
        tries.push(at);
    }
    tries
}

#[test]
fn a_word_is_said_again_soon_then_less_often_and_not_beyond_the_next() {
    // The least of each pause, and the most: half of any divides 8 s.
    for drawn in [0, 7_999_999_999] {
        let tries = tries(drawn);
        let within = |time: u64| {
            tries
                .iter()
                .filter(|at| **at <= Duration::from_millis(time))
                .count()
        };
        assert!(within(100) >= 3 && within(700) >= 6, "{tries:?}");
        assert!((7..=10).contains(&tries.len()), "{tries:?}");
        assert!(*tries.last().unwrap() < UNHEARD_REPEAT);
        let longest = tries.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(longest <= Duration::from_millis(1_000), "{tries:?}");
    }
    // A try that itself took too long is the last.
    assert_eq!(pause_of_word(0, UNHEARD_REPEAT, 0), None);
    assert_eq!(
        pause_of_word(usize::MAX, Duration::ZERO, 0),
        Some(Duration::from_millis(500))
    );
}
