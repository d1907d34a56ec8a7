//! The double is held against what was measured on a real control plane.

use detector::remedy::command::{Answer, Call, Outcome};
use detector::remedy::object::Taint;

use super::{Api, MS};

fn api() -> Api {
    let nodes: Vec<(String, String)> = (0..3).map(|n| (format!("n{n}"), format!("uid-{n}"))).collect();
    let mut api = Api::new(&nodes);
    api.deploy("web", 6);
    api
}

fn run(api: &mut Api, until: u64) {
    while api.poll_timeout() <= until {
        let at = api.poll_timeout();
        api.handle_timeout(at);
    }
}

fn taint(api: &mut Api, node: &str) -> Outcome {
    let object = &api.node(node).expect("a Node").node;
    let call = Call::Taints {
        node: node.to_owned(),
        uid: object.uid.clone(),
        resource_version: object.resource_version.clone(),
        taints: vec![Taint {
            key: detector::names::DEAD_TAINT.to_owned(),
            value: Some("1".to_owned()),
            effect: detector::names::NO_SCHEDULE.to_owned(),
            time_added: None,
        }],
    };
    api.call(&call, 0)
}

#[test]
fn stock_takes_its_time() {
    let mut api = api();
    assert_eq!(api.serving("web"), 6);
    api.set_kubelet("n1", false, 0);
    run(&mut api, 39_000 * MS);
    assert_eq!(api.endpoints("web"), (4, 2));
    run(&mut api, 51_000 * MS);
    assert_eq!(api.endpoints("web"), (4, 0), "43–50 s to endpoints gone");
    run(&mut api, 339_000 * MS);
    assert_eq!(api.serving("web"), 4);
    run(&mut api, 352_000 * MS);
    assert_eq!(api.serving("web"), 6, "343–350 s to replaced");
}

#[test]
fn deletes_without_a_taint_come_back_to_the_dead_node() {
    let mut api = api();
    api.set_kubelet("n1", false, 0);
    for object in api.pods().cloned().collect::<Vec<_>>() {
        if object.node.as_deref() == Some("n1") {
            let call = Call::Delete {
                pod: object.pod.id,
                resource_version: object.pod.resource_version,
            };
            assert_eq!(api.call(&call, 0), Outcome::Done(Answer::Nothing));
        }
    }
    run(&mut api, 2_000 * MS);
    assert_eq!(api.serving("web"), 4);
}

#[test]
fn a_patched_slice_comes_back_after_a_second_unless_its_pods_are_marked() {
    for marked in [false, true] {
        let mut api = api();
        api.set_kubelet("n1", false, 0);
        assert!(matches!(taint(&mut api, "n1"), Outcome::Done(Answer::Node(_))));
        let slice = api.slices.get("web").expect("a slice").clone();
        let positions: Vec<usize> = slice
            .endpoints
            .iter()
            .enumerate()
            .filter(|(_, endpoint)| endpoint.as_ref().is_some_and(|endpoint| endpoint.node == "n1"))
            .map(|(position, _)| position)
            .collect();
        let patch = Call::Slice {
            namespace: slice.namespace,
            name: slice.name,
            node: "n1".to_owned(),
            positions,
        };
        assert!(matches!(api.call(&patch, 0), Outcome::Done(Answer::Slice(_))));
        assert_eq!(api.endpoints("web"), (4, 0));
        if marked {
            for pod in api.pods_of_node("n1") {
                assert!(matches!(
                    api.call(&Call::Mark { pod, at_ms: 0 }, 0),
                    Outcome::Done(Answer::Version(_))
                ));
            }
        }
        run(&mut api, 1_100 * MS);
        assert_eq!(api.endpoints("web"), (4, if marked { 0 } else { 2 }));
    }
}

#[test]
fn a_living_kubelet_undoes_marks_and_makes_a_late_delete_fail() {
    let mut api = api();
    let pod = api.pods_of_node("n1").remove(0);
    let Outcome::Done(Answer::Version(version)) = api.call(
        &Call::Mark {
            pod: pod.clone(),
            at_ms: 0,
        },
        0,
    ) else {
        panic!("the mark was refused");
    };
    run(&mut api, 6_000 * MS);
    assert_eq!(api.serving("web"), 6);
    let late = Call::Delete {
        pod,
        resource_version: version,
    };
    assert_eq!(api.call(&late, 6_000 * MS), Outcome::Conflict);
    assert!(api.deletions().is_empty());
}

#[test]
fn stale_versions_and_other_uids_are_refused() {
    let mut api = api();
    let stale = Call::Ledger {
        resource_version: "0".to_owned(),
        ledger: detector::remedy::ledger::Ledger::default(),
    };
    assert_eq!(api.call(&stale, 0), Outcome::Conflict);
    let object = api.node("n1").expect("a Node").node.clone();
    let other = Call::Taints {
        node: "n1".to_owned(),
        uid: "another".to_owned(),
        resource_version: object.resource_version,
        taints: Vec::new(),
    };
    assert_eq!(api.call(&other, 0), Outcome::Conflict);
}
