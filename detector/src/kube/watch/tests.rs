//! Lists and watches against a server that pages, ends, and forgets.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::kube::double::{Double, Scenario};
use crate::kube::view::MapView;
use std::sync::Mutex;

fn page(next: &str, names: &[&str]) -> Scenario {
    let items: Vec<String> = names
        .iter()
        .map(|name| format!("{{\"metadata\":{{\"name\":\"{name}\",\"resourceVersion\":\"5\"}}}}"))
        .collect();
    Scenario::Answer(
        200,
        format!(
            "{{\"metadata\":{{\"resourceVersion\":\"10\",\"continue\":\"{next}\"}},\"items\":[{}]}}",
            items.join(",")
        ),
    )
}

fn event(r#type: &str, name: &str, version: u32) -> String {
    format!(
        "{{\"type\":\"{type}\",\"object\":{{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\
         \"metadata\":{{\"name\":\"{name}\",\"resourceVersion\":\"{version}\"}}}}}}"
    )
}

/// Follows until so many changes were seen; gives them in words, and the requests.
async fn seen(scenarios: Vec<Scenario>, changes: usize) -> (Vec<String>, Vec<String>) {
    let double = Double::start(scenarios).await;
    let target = Target {
        path: "/api/v1/configmaps".into(),
        selectors: "fieldSelector=x".into(),
    };
    let words: Arc<Mutex<Vec<String>>> = Arc::default();
    let sink = |change: Change<MapView>| {
        let word = match change {
            Change::All(maps) => {
                let names: Vec<String> = maps.into_iter().map(|map| map.metadata.name).collect();
                format!("all {}", names.join(" "))
            }
            Change::Applied(map) => format!("applied {}", map.metadata.name),
            Change::Gone(map) => format!("gone {}", map.metadata.name),
        };
        let words = Arc::clone(&words);
        async move {
            let mut words = words.lock().unwrap();
            words.push(word);
            words.len() < changes
        }
    };
    let following = follow(Arc::clone(&double.servers), target, sink);
    tokio::time::timeout(Duration::from_secs(20), following)
        .await
        .unwrap();
    let requests = double.requests();
    let words = words.lock().unwrap().clone();
    (words, requests)
}

#[tokio::test]
async fn pages_are_one_list_and_the_watch_begins_where_it_ended() {
    let (words, requests) = seen(
        vec![
            page("next", &["a"]),
            page("", &["b"]),
            Scenario::Lines(vec![
                event("ADDED", "c", 11),
                event("BOOKMARK", "", 20),
                event("MODIFIED", "a", 21),
            ]),
            Scenario::Lines(vec![event("DELETED", "b", 22)]),
        ],
        4,
    )
    .await;
    assert_eq!(words, ["all a b", "applied c", "applied a", "gone b"]);
    assert_eq!(
        requests.first().unwrap(),
        "GET /api/v1/configmaps?limit=500&fieldSelector=x"
    );
    assert!(
        requests.get(1).unwrap().ends_with("&continue=next"),
        "{requests:?}"
    );
    assert!(
        requests.get(2).unwrap().contains("resourceVersion=10&"),
        "{requests:?}"
    );
    assert!(
        requests.get(3).unwrap().contains("resourceVersion=21&"),
        "{requests:?}"
    );
}

#[tokio::test]
async fn what_the_server_has_forgotten_is_listed_again() {
    let gone = "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\"}}";
    for forgotten in [
        Scenario::Lines(vec![gone.into()]),
        Scenario::Answer(
            410,
            "{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\"}".into(),
        ),
    ] {
        let (words, _) = seen(vec![page("", &["a"]), forgotten, page("", &["b"])], 2).await;
        assert_eq!(words, ["all a", "all b"]);
    }
}

#[tokio::test]
async fn a_server_that_fails_is_asked_again() {
    let failing = vec![
        Scenario::Answer(500, String::new()),
        Scenario::Close,
        Scenario::Answer(200, "{\"items\":[{]".into()),
        page("", &["a"]),
    ];
    let (words, requests) = seen(failing, 1).await;
    assert_eq!((words.join(","), requests.len()), ("all a".to_owned(), 4));
}

/// Its server died with a node: other calls find out, and nothing ends the stream.
#[tokio::test]
async fn a_watch_goes_on_elsewhere_when_its_connections_are_renewed() {
    for stuck in [Scenario::Silence, Scenario::Held(vec![event("ADDED", "b", 11)])] {
        let opens = matches!(stuck, Scenario::Held(_));
        let lines = vec![event("ADDED", "c", 12)];
        let double = Double::start(vec![page("", &["a"]), stuck, Scenario::Lines(lines)]).await;
        let target = Target {
            path: "/api/v1/configmaps".into(),
            selectors: "fieldSelector=x".into(),
        };
        let (shown, mut shows) = tokio::sync::mpsc::unbounded_channel();
        let sink = |change: Change<MapView>| {
            let goes_on = match change {
                Change::Applied(map) => map.metadata.name != "c",
                Change::All(_) | Change::Gone(_) => true,
            };
            shown.send(()).unwrap();
            async move { goes_on }
        };
        let following = follow(Arc::clone(&double.servers), target, sink);
        let renewing = async {
            while double.requests().len() < 2 {
                tokio::task::yield_now().await;
            }
            for _ in 0..=usize::from(opens) {
                shows.recv().await.unwrap();
            }
            double.servers.pick(0).renew();
        };
        let both = async { tokio::join!(following, renewing) };
        tokio::time::timeout(Duration::from_secs(10), both).await.unwrap();
        let version = if opens {
            "resourceVersion=11&"
        } else {
            "resourceVersion=10&"
        };
        assert!(double.requests().get(2).unwrap().contains(version));
    }
}
