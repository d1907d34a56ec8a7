//! What an agent may write: annotations of its own Node.

use serde_json::{Value, json};

use super::account::{Account, MERGE, condition, metadata, owners};

pub(super) fn tries(account: &mut Account<'_>) {
    let own = ("PATCH", "/api/v1/nodes/own");
    for key in [
        "node-failure-detector.io/public-key",
        "node-failure-detector.io/alive",
    ] {
        account.allowed(own.0, own.1, MERGE, &metadata("annotations", json!({key: "a"})));
    }
    let nothing_but = "an agent writes nothing but annotations of a Node";
    let cases: &[(&str, (&str, &str), Value)] = &[
        (
            "annotations that are not an agent's",
            own,
            metadata("annotations", json!({"theirs": "b"})),
        ),
        (
            "annotations that are not an agent's",
            own,
            metadata("annotations", json!({"theirs": null})),
        ),
        (
            "an agent does not write a Node's spec",
            own,
            json!({"spec": {"unschedulable": true}}),
        ),
        (
            "an agent does not write a Node's spec",
            own,
            json!({"spec": {"taints": [
                {"key": "theirs", "effect": "NoSchedule"},
                {"key": "node-failure-detector.io/degraded", "effect": "NoSchedule"},
            ]}}),
        ),
        (
            "an agent does not write labels",
            own,
            metadata("labels", json!({"a": "b"})),
        ),
        (
            "an agent does not write finalizers",
            own,
            metadata("finalizers", json!(["a.b/c"])),
        ),
        ("an agent does not write owners", own, owners()),
        (
            "an agent writes its own Node only, with a bound token",
            ("PATCH", "/api/v1/nodes/other"),
            metadata("annotations", json!({"node-failure-detector.io/alive": "a"})),
        ),
        (
            nothing_but,
            ("PATCH", "/api/v1/nodes/own/status"),
            condition("Ready", "True", "a"),
        ),
        (nothing_but, ("DELETE", "/api/v1/nodes/own"), Value::Null),
        (
            nothing_but,
            ("PATCH", "/api/v1/namespaces/default/pods/bare"),
            metadata("labels", json!({"a": "b"})),
        ),
    ];
    for (message, request, body) in cases {
        account.refused("agent", message, *request, MERGE, body);
    }
}
