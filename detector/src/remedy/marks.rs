//! What is written on Nodes, pods and slices: each body a pure function of a decision.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::identity::IncidentId;
use crate::judgement::Verdict;
use crate::names;
use crate::remedy::object::{OwnTaint, Taint};

/// Wall clock in ms since the epoch, as the API writes `Time`.
#[must_use]
pub fn time(at_ms: u64) -> String {
    let timestamp = i64::try_from(at_ms / 1_000)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok());
    timestamp.unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

/// Wall clock in ms since the epoch, as the API writes `MicroTime`: always six digits.
#[must_use]
pub fn micro_time(at_ms: u64) -> String {
    let whole = time(at_ms);
    let seconds = whole.trim_end_matches('Z');
    format!("{seconds}.{:03}000Z", at_ms % 1_000)
}

/// The list of taints with this one of ours in it, once.
#[must_use]
pub fn with_taint(taints: &[Taint], own: OwnTaint, incident: IncidentId) -> Vec<Taint> {
    let mut all = without_taint(taints, own);
    all.push(Taint {
        key: own.key().into(),
        value: Some(incident.to_string()),
        effect: names::NO_SCHEDULE.into(),
        time_added: None,
    });
    all
}

/// The list of taints without this one of ours.
#[must_use]
pub fn without_taint(taints: &[Taint], own: OwnTaint) -> Vec<Taint> {
    let others = taints.iter().filter(|taint| !own.is(taint));
    others.cloned().collect()
}

/// Merge patch of a Node: the whole list, as JSON patch cannot append to a list that is not there; bound to one UID and
/// version.
#[must_use]
pub fn taints(uid: &str, resource_version: &str, taints: &[Taint]) -> Value {
    json!({
        "metadata": {"uid": uid, "resourceVersion": resource_version},
        "spec": {"taints": taints},
    })
}

/// JSON patch of an EndpointSlice. Fails as a whole where one of the endpoints is not of this node any more.
#[must_use]
pub fn slice(node: &str, positions: &[usize]) -> Value {
    let each = positions.iter().flat_map(|position| {
        let endpoint = format!("/endpoints/{position}");
        [
            json!({"op": "test", "path": format!("{endpoint}/nodeName"), "value": node}),
            // `add` also replaces; what is not said is ready.
            json!({"op": "add", "path": format!("{endpoint}/conditions/ready"), "value": false}),
        ]
    });
    Value::Array(each.collect())
}

/// Strategic merge patch of a pod's status: conditions are merged by their type, others' stay.
#[must_use]
pub fn pod(uid: &str, at_ms: u64) -> Value {
    let at = time(at_ms);
    json!({
        "metadata": {"uid": uid},
        "status": {"conditions": [
            {
                "type": "Ready", "status": "False", "reason": names::REASON, "lastTransitionTime": at,
                "message": "its node is dead by a quorum of its peers",
            },
            {
                "type": "DisruptionTarget", "status": "True", "reason": names::REASON, "lastTransitionTime": at,
                "message": "its node is dead by a quorum of its peers",
            },
        ]},
    })
}

/// Options of a graceful delete.
#[must_use]
pub fn delete(uid: &str, resource_version: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "DeleteOptions",
        "preconditions": {"uid": uid, "resourceVersion": resource_version},
    })
}

/// Reason and status of the condition [`names::REACHABLE`]: one reason for each verdict.
#[must_use]
pub const fn reachable(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Unknown => ("NotHeardYet", "Unknown"),
        Verdict::Alive => ("Heard", "True"),
        Verdict::Degraded => ("Degraded", "True"),
        Verdict::Away => ("AgentAway", "Unknown"),
        Verdict::Partial => ("PartlyHeard", "Unknown"),
        Verdict::Leaving => ("Leaving", "False"),
        Verdict::Dead => (names::REASON, "False"),
    }
}

/// Strategic merge patch of a Node's status.
#[must_use]
pub fn condition(uid: &str, verdict: Verdict, at_ms: u64) -> Value {
    let (reason, status) = reachable(verdict);
    json!({
        "metadata": {"uid": uid},
        "status": {"conditions": [{
            "type": names::REACHABLE, "status": status, "reason": reason, "lastTransitionTime": time(at_ms),
            "message": "what the node's peers hear of it",
        }]},
    })
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const AT: u64 = 1_767_225_600_123;

    fn foreign(key: &str) -> Taint {
        Taint {
            key: key.into(),
            value: None,
            effect: "NoExecute".into(),
            time_added: Some("2026-01-01T00:00:00Z".into()),
        }
    }

    #[test]
    fn times_as_the_api_writes_them() {
        assert_eq!(time(AT), "2026-01-01T00:00:00Z");
        assert_eq!(micro_time(AT), "2026-01-01T00:00:00.123000Z");
        assert_eq!(micro_time(1_767_225_600_000), "2026-01-01T00:00:00.000000Z");
        assert_eq!(time(u64::MAX), "1970-01-01T00:00:00Z", "nonsense is not a panic");
    }

    #[test]
    fn our_taint_is_there_once_and_others_stay_as_they_were() {
        let old = [foreign("a"), foreign("b")];
        let once = with_taint(&old, OwnTaint::Dead, IncidentId(0xab));
        let twice = with_taint(&once, OwnTaint::Dead, IncidentId(0xcd));
        assert_eq!(twice.len(), 3);
        assert_eq!(without_taint(&twice, OwnTaint::Dead), old);
        let both = with_taint(&once, OwnTaint::Degraded, IncidentId(0xef));
        assert_eq!(without_taint(&both, OwnTaint::Degraded), once);
        assert_eq!(both.iter().filter(|taint| taint.is_ours()).count(), 2);
        assert_eq!(
            taints("u", "7", &once),
            json!({"metadata": {"uid": "u", "resourceVersion": "7"}, "spec": {"taints": [
                {"key": "a", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"},
                {"key": "b", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"},
                {"key": "node-failure-detector.io/dead", "value": "00000000000000ab", "effect": "NoSchedule"},
            ]}})
        );
    }

    #[test]
    fn each_endpoint_is_tested_before_it_is_changed() {
        assert_eq!(
            slice("n", &[0, 2]),
            json!([
                {"op": "test", "path": "/endpoints/0/nodeName", "value": "n"},
                {"op": "add", "path": "/endpoints/0/conditions/ready", "value": false},
                {"op": "test", "path": "/endpoints/2/nodeName", "value": "n"},
                {"op": "add", "path": "/endpoints/2/conditions/ready", "value": false},
            ])
        );
    }

    #[test]
    fn a_mark_is_bound_to_the_uid_and_says_two_things() {
        let body = pod("u", AT);
        assert_eq!(body["metadata"], json!({"uid": "u"}));
        let said: Vec<_> = body["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|condition| (condition["type"].as_str(), condition["status"].as_str()))
            .collect();
        assert_eq!(
            said,
            [
                (Some("Ready"), Some("False")),
                (Some("DisruptionTarget"), Some("True"))
            ]
        );
    }

    #[test]
    fn a_delete_is_graceful_and_bound_to_uid_and_version() {
        let body = delete("u", "9");
        assert_eq!(body["preconditions"], json!({"uid": "u", "resourceVersion": "9"}));
        assert_eq!(body.get("gracePeriodSeconds"), None);
    }

    #[test]
    fn every_verdict_has_its_own_reason() {
        use Verdict::{Alive, Away, Dead, Degraded, Leaving, Partial, Unknown};
        let all = [Unknown, Alive, Degraded, Away, Partial, Leaving, Dead];
        let reasons: std::collections::BTreeSet<_> =
            all.map(|verdict| reachable(verdict).0).into_iter().collect();
        assert_eq!(reasons.len(), all.len());
    }
}
