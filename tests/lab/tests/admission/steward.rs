//! What a steward may write: its marks on Nodes, pods and slices, its own ConfigMaps, Events.

use anyhow::Result;
use detector_lab::detector::NAMESPACE;
use serde_json::{Value, json};

use super::account::{Account, JSON, MERGE, PATCH, STRATEGIC, condition, metadata, owners};
use super::objects::{PODS, Pods, mark, path, text};

pub(super) fn tries(account: &mut Account<'_>, on: &Pods) -> Result<()> {
    nodes(account);
    pods(account, on)?;
    slices(account);
    own(account);
    Ok(())
}

fn nodes(account: &mut Account<'_>) {
    // Added behind what stands there: the API server and its controllers put taints of their own on Nodes without a kubelet.
    let taint = |key: &str, effect: &str| json!([{"op": "add", "path": "/spec/taints/-", "value": {"key": key, "effect": effect}}]);
    let (ours, degraded) = (
        "node-failure-detector.io/dead",
        "node-failure-detector.io/degraded",
    );
    account.allowed("PATCH", "/api/v1/nodes/own", PATCH, &taint(ours, "NoSchedule"));
    account.allowed(
        "PATCH",
        "/api/v1/nodes/own",
        PATCH,
        &taint(degraded, "NoSchedule"),
    );
    let our_taint = json!({"spec": {"taints": [{"key": ours, "effect": "NoSchedule"}]}});
    let own = ("PATCH", "/api/v1/nodes/own");
    let plane = ("PATCH", "/api/v1/nodes/tainted-plane");
    let cases: &[(&str, (&str, &str), &str, Value)] = &[
        (
            "a steward neither creates nor deletes a Node",
            ("DELETE", own.1),
            JSON,
            Value::Null,
        ),
        ("our taint is NoSchedule", own, PATCH, taint(ours, "NoExecute")),
        (
            "our taint is NoSchedule",
            own,
            PATCH,
            taint(degraded, "NoExecute"),
        ),
        (
            "our taint is NoSchedule",
            own,
            PATCH,
            taint(degraded, "PreferNoSchedule"),
        ),
        ("taints that are not ours", own, PATCH, taint("a", "NoSchedule")),
        (
            "taints that are not ours",
            own,
            PATCH,
            taint("node-failure-detector.io/other", "NoSchedule"),
        ),
        ("taints that are not ours", own, MERGE, our_taint),
        (
            "a control-plane node is alarm only",
            ("PATCH", "/api/v1/nodes/plane"),
            PATCH,
            taint(ours, "NoSchedule"),
        ),
        (
            "a control-plane node is alarm only",
            ("PATCH", "/api/v1/nodes/plane"),
            PATCH,
            taint(degraded, "NoSchedule"),
        ),
        // One of ours is no leave for the other.
        (
            "a control-plane node is alarm only",
            plane,
            PATCH,
            taint(degraded, "NoSchedule"),
        ),
        (
            "a steward does not cordon",
            own,
            MERGE,
            json!({"spec": {"unschedulable": true}}),
        ),
        (
            "a steward writes only taints of a spec",
            own,
            MERGE,
            json!({"spec": {"providerID": "a"}}),
        ),
        (
            "a steward does not write labels",
            own,
            MERGE,
            metadata("labels", json!({"a": "b"})),
        ),
        (
            "a steward does not write annotations, an agent's key least of all",
            own,
            MERGE,
            metadata("annotations", json!({"node-failure-detector.io/public-key": "b"})),
        ),
        (
            "a steward does not write finalizers",
            own,
            MERGE,
            metadata("finalizers", json!(["a.b/c"])),
        ),
        ("a steward does not write owners", own, MERGE, owners()),
    ];
    for (message, request, content, body) in cases {
        account.refused("steward-nodes", message, *request, content, body);
    }

    let status = ("PATCH", "/api/v1/nodes/own/status");
    account.allowed(
        status.0,
        status.1,
        STRATEGIC,
        &condition("node-failure-detector.io/Reachable", "False", "Dead"),
    );
    let cases: &[(&str, Value)] = &[
        ("conditions that are not ours", condition("Ready", "Unknown", "a")),
        (
            "addresses",
            json!({"status": {"addresses": [{"type": "InternalIP", "address": "10.1.1.9"}]}}),
        ),
        ("capacity", json!({"status": {"capacity": {"cpu": "1"}}})),
        ("volumes", json!({"status": {"volumesInUse": ["a"]}})),
        ("node info", json!({"status": {"nodeInfo": {"bootID": "a"}}})),
        ("labels", metadata("labels", json!({"a": "b"}))),
        ("annotations", metadata("annotations", json!({"a": "b"}))),
        ("finalizers", metadata("finalizers", json!(["a.b/c"]))),
        ("owners", owners()),
    ];
    for (message, body) in cases {
        account.refused("steward-node-status", message, status, STRATEGIC, body);
    }
    // By its place: theirs come behind it.
    let untaint = json!([
        {"op": "test", "path": "/spec/taints/0/key", "value": ours},
        {"op": "remove", "path": "/spec/taints/0"},
    ]);
    account.allowed(plane.0, plane.1, PATCH, &untaint);
}

fn pods(account: &mut Account<'_>, pods: &Pods) -> Result<()> {
    let of = |pod: &Value| {
        let by_uid = json!({"preconditions": {"uid": text(pod, "/metadata/uid")?}});
        anyhow::Ok((path(text(pod, "/metadata/name")?), by_uid))
    };
    let ((marked, by_uid), (plain, plain_by_uid)) = (of(&pods.marked)?, of(&pods.plain)?);
    let ((bare, bare_by_uid), (mirror, mirror_by_uid)) = (of(&pods.bare)?, of(&pods.mirror)?);
    account.allowed("DELETE", &marked, JSON, &by_uid);
    let mut forced = by_uid;
    forced["gracePeriodSeconds"] = json!(0);
    let cases: &[(&str, &str, Value)] = &[
        ("no collection", PODS, Value::Null),
        ("by UID", &marked, json!({})),
        ("owner", &bare, bare_by_uid),
        ("mirror pod", &mirror, mirror_by_uid),
        (
            "not marked DisruptionTarget/NodeFailureDetected",
            &plain,
            plain_by_uid,
        ),
        ("forced deletion is not enabled", &marked, forced),
    ];
    for (message, path, body) in cases {
        account.refused("steward-pods", message, ("DELETE", path), JSON, body);
    }

    let status = format!("{plain}/status");
    account.allowed("PATCH", &status, STRATEGIC, &mark());
    let cases: &[(&str, &str, Value)] = &[
        ("status only", &plain, metadata("labels", json!({"a": "b"}))),
        ("labels", &status, metadata("labels", json!({"a": "b"}))),
        ("annotations", &status, metadata("annotations", json!({"a": "b"}))),
        ("finalizers", &status, metadata("finalizers", json!(["a.b/c"]))),
        ("phase", &status, json!({"status": {"phase": "Failed"}})),
        (
            "addresses",
            &status,
            json!({"status": {"podIP": "10.1.1.1", "podIPs": [{"ip": "10.1.1.1"}]}}),
        ),
        (
            "containers",
            &status,
            json!({"status": {"containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0}]}}),
        ),
        (
            "conditions that are not ours to write",
            &status,
            condition("PodScheduled", "True", "a"),
        ),
        ("Ready only to False", &status, condition("Ready", "True", "a")),
        (
            "DisruptionTarget only with our reason",
            &status,
            condition("DisruptionTarget", "True", "a"),
        ),
    ];
    for (message, path, body) in cases {
        account.refused("steward-pod-status", message, ("PATCH", path), STRATEGIC, body);
    }
    Ok(())
}

fn slices(account: &mut Account<'_>) {
    let ours = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/ours";
    let theirs = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/theirs";
    let set = |path: &str, value: Value| json!([{"op": "add", "path": path, "value": value}]);
    account.allowed(
        "PATCH",
        ours,
        PATCH,
        &set("/endpoints/0/conditions/ready", json!(false)),
    );
    let cases: &[(&str, (&str, &str), Value)] = &[
        (
            "a steward neither creates nor deletes a slice",
            ("DELETE", ours),
            Value::Null,
        ),
        (
            "another controller's slice: nobody would put it right",
            ("PATCH", theirs),
            set("/endpoints/0/conditions/ready", json!(false)),
        ),
        ("labels, ports", ("PATCH", ours), set("/ports/0/port", json!(81))),
        (
            "annotations, owners",
            ("PATCH", ours),
            set("/metadata/annotations", json!({"a": "b"})),
        ),
        (
            "addresses",
            ("PATCH", ours),
            set("/endpoints/0/addresses/0", json!("10.1.1.9")),
        ),
        (
            "node names",
            ("PATCH", ours),
            set("/endpoints/0/nodeName", json!("other")),
        ),
        (
            "targets",
            ("PATCH", ours),
            set("/endpoints/0/targetRef/uid", json!("u2")),
        ),
        (
            "targets",
            ("PATCH", ours),
            set("/endpoints/0/targetRef/name", json!("b")),
        ),
        (
            "hints",
            ("PATCH", ours),
            set("/endpoints/0/hints/forZones/0/name", json!("y")),
        ),
        (
            "zones, host names",
            ("PATCH", ours),
            set("/endpoints/0/zone", json!("y")),
        ),
        (
            "finalizers",
            ("PATCH", ours),
            set("/metadata/finalizers", json!(["a.b/c"])),
        ),
        (
            "ready only from true to false",
            ("PATCH", ours),
            set("/endpoints/1/conditions/ready", json!(true)),
        ),
        (
            "ready only from true to false",
            ("PATCH", ours),
            json!([{"op": "remove", "path": "/endpoints/1/conditions/ready"}]),
        ),
        (
            "other conditions",
            ("PATCH", ours),
            set("/endpoints/0/conditions/serving", json!(false)),
        ),
    ];
    for (message, request, body) in cases {
        account.refused("steward-slices", message, *request, PATCH, body);
    }
}

fn own(account: &mut Account<'_>) {
    let maps = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let map = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    let events = "/apis/events.k8s.io/v1/namespaces/default/events";
    let event = |controller: &str, kind: &str| {
        json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "a.1", "namespace": "default"},
            "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": controller, "reportingInstance": "a",
            "action": "a", "reason": "a", "type": "Warning", "regarding": {"kind": kind, "name": "own"}})
    };
    account.allowed("POST", &maps, JSON, &map("node-failure-detector-roster-0"));
    account.allowed(
        "POST",
        events,
        JSON,
        &event("node-failure-detector.io/steward", "Node"),
    );
    let ledger = format!("{maps}/node-failure-detector-ledger");
    let elsewhere = "/api/v1/namespaces/default/configmaps";
    let cases: &[(&str, (&str, &str), Value)] = &[
        ("a steward deletes neither", ("DELETE", &ledger), Value::Null),
        ("a ConfigMap that is not a steward's", ("POST", &maps), map("a")),
        (
            "a ConfigMap that is not a steward's",
            ("POST", elsewhere),
            map("node-failure-detector-roster-0"),
        ),
        (
            "an Event that is not a steward's",
            ("POST", events),
            event("a", "Node"),
        ),
        (
            "an Event that is not a steward's",
            ("POST", events),
            event("node-failure-detector.io/steward", "Pod"),
        ),
    ];
    for (message, request, body) in cases {
        account.refused("steward-own", message, *request, JSON, body);
    }
}
