//! What each call is in HTTP: method, path and body. Pure, so that it is tested by value and the writer only sends.

use serde_json::{Value, json};

use crate::names;
use crate::remedy::command::Call;
use crate::remedy::{ledger, marks};

/// One HTTP request, without its connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    /// Method.
    pub method: &'static str,
    /// Path and query.
    pub path: String,
    /// Of the body; None: no body.
    pub content_type: Option<&'static str>,
    /// JSON; `Null`: none.
    pub body: Value,
}

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";

/// Events about what has no namespace live here.
const EVENTS_NAMESPACE: &str = "default";

/// The longest name of a node inside the name of an Event, of 253 characters in all.
const EVENT_NODE_MAX: usize = 200;

/// A name as one segment of a path: names come from the API server, but nothing that it says may lead elsewhere.
fn segment(name: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
            out.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    if matches!(out.as_str(), "." | "..") {
        String::from("%2E")
    } else {
        out
    }
}

fn get(path: String) -> Http {
    Http {
        method: "GET",
        path,
        content_type: None,
        body: Value::Null,
    }
}

fn patch(path: String, content_type: &'static str, body: Value) -> Http {
    Http {
        method: "PATCH",
        path,
        content_type: Some(content_type),
        body,
    }
}

/// Path of a Node.
#[must_use]
pub fn node_path(name: &str) -> String {
    format!("/api/v1/nodes/{}", segment(name))
}

fn namespaced(group: &str, namespace: &str, resource: &str, name: &str) -> String {
    format!(
        "/{group}/namespaces/{}/{resource}/{}",
        segment(namespace),
        segment(name)
    )
}

/// Path of one of our own ConfigMaps.
#[must_use]
pub fn config_map(name: &str) -> String {
    namespaced("api/v1", names::NAMESPACE, "configmaps", name)
}

/// The HTTP request of a call. `instance`: this steward, in Events.
#[must_use]
pub fn http(call: &Call, instance: &str) -> Http {
    match call {
        Call::ReadLedger => get(config_map(names::LEDGER)),
        Call::ReadNode { name } => get(node_path(name)),
        Call::ListPods { node } => get(format!(
            "/api/v1/pods?fieldSelector=spec.nodeName%3D{}",
            segment(node)
        )),
        Call::ReadNamespace { name } => get(format!("/api/v1/namespaces/{}", segment(name))),
        Call::ReadClaim { namespace, name } => {
            get(namespaced("api/v1", namespace, "persistentvolumeclaims", name))
        }
        Call::Ledger {
            resource_version,
            ledger,
        } => patch(
            config_map(names::LEDGER),
            MERGE,
            json!({
                "metadata": {"resourceVersion": resource_version},
                "data": {ledger::KEY: ledger.text()},
            }),
        ),
        Call::Taints {
            node: name,
            uid,
            resource_version,
            taints,
        } => patch(
            node_path(name),
            MERGE,
            marks::taints(uid, resource_version, taints),
        ),
        Call::Slice {
            namespace,
            name,
            node,
            positions,
        } => patch(
            namespaced("apis/discovery.k8s.io/v1", namespace, "endpointslices", name),
            JSON_PATCH,
            marks::slice(node, positions),
        ),
        Call::Mark { pod, at_ms } => patch(
            format!(
                "{}/status",
                namespaced("api/v1", &pod.namespace, "pods", &pod.name)
            ),
            STRATEGIC,
            marks::pod(&pod.uid, *at_ms),
        ),
        Call::Delete {
            pod,
            resource_version,
        } => Http {
            method: "DELETE",
            path: namespaced("api/v1", &pod.namespace, "pods", &pod.name),
            content_type: Some(JSON),
            body: marks::delete(&pod.uid, resource_version),
        },
        Call::Condition {
            node: name,
            uid,
            verdict,
            at_ms,
        } => patch(
            format!("{}/status", node_path(name)),
            STRATEGIC,
            marks::condition(uid, *verdict, *at_ms),
        ),
        Call::Event {
            node,
            uid,
            warning,
            reason,
            note,
            at_ms,
        } => {
            let short: String = node.chars().take(EVENT_NODE_MAX).collect();
            let name = format!("{short}.{at_ms:x}.{}", reason.to_ascii_lowercase());
            Http {
                method: "POST",
                path: format!("/apis/events.k8s.io/v1/namespaces/{EVENTS_NAMESPACE}/events"),
                content_type: Some(JSON),
                body: json!({
                    "apiVersion": "events.k8s.io/v1", "kind": "Event",
                    // A second try finds the first one's Event there, and is done.
                    "metadata": {"name": name, "namespace": EVENTS_NAMESPACE},
                    "eventTime": marks::micro_time(*at_ms),
                    "reportingController": names::CONTROLLER,
                    "reportingInstance": instance,
                    "action": "Remedy",
                    "reason": reason,
                    "note": note.chars().take(EVENT_NOTE_MAX).collect::<String>(),
                    "type": if *warning { "Warning" } else { "Normal" },
                    "regarding": {"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid},
                }),
            }
        }
    }
}

/// The API server takes 1,024 bytes; a character may be four.
const EVENT_NOTE_MAX: usize = 250;

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::remedy::object::PodRef;

    #[test]
    fn paths_name_one_object_each() {
        let pod = PodRef {
            namespace: "shop".into(),
            name: "web-1".into(),
            uid: "u".into(),
        };
        let mark = Call::Mark {
            pod: pod.clone(),
            at_ms: 0,
        };
        let delete = Call::Delete {
            pod,
            resource_version: "7".into(),
        };
        for (call, method, path, content_type) in [
            (
                mark,
                "PATCH",
                "/api/v1/namespaces/shop/pods/web-1/status",
                Some(STRATEGIC),
            ),
            (delete, "DELETE", "/api/v1/namespaces/shop/pods/web-1", Some(JSON)),
            (
                Call::ListPods { node: "n.1".into() },
                "GET",
                "/api/v1/pods?fieldSelector=spec.nodeName%3Dn.1",
                None,
            ),
            (
                Call::ReadLedger,
                "GET",
                "/api/v1/namespaces/node-failure-detector/configmaps/node-failure-detector-ledger",
                None,
            ),
        ] {
            let http = http(&call, "i");
            assert_eq!(
                (http.method, http.path.as_str(), http.content_type),
                (method, path, content_type)
            );
        }
    }

    #[test]
    fn a_name_cannot_lead_elsewhere() {
        for name in ["..", "a/../../secrets", "a?x=1", "a#b", "a%2fb", "a&b"] {
            let path = http(&Call::ReadNode { name: name.into() }, "i").path;
            let last = path.strip_prefix("/api/v1/nodes/").unwrap_or_default();
            assert!(
                !last.is_empty() && !last.contains(['/', '?', '#', '&']) && last != "..",
                "{path}"
            );
        }
    }

    #[test]
    fn an_event_of_the_longest_node_fits() {
        let event = Call::Event {
            node: "n".repeat(253),
            uid: "u".into(),
            warning: true,
            reason: "PodsDeleted",
            note: "ü".repeat(2_000),
            at_ms: 1_767_225_600_123,
        };
        let body = http(&event, "i").body;
        assert!(
            body["metadata"]["name"]
                .as_str()
                .is_some_and(|name| name.len() <= 253)
        );
        assert!(body["note"].as_str().is_some_and(|note| note.len() <= 1_024));
        assert_eq!(body["regarding"]["uid"], "u");
    }
}
