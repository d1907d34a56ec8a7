//! The admission policies of `deploy/` on a real API server: what agents and stewards do is allowed, and each thing that
//! a policy names is refused by it. The accounts get every right there is, so that it is the policy which refuses.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a lab is IO: clocks and waits; a test fails by panicking"
)]

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use detector_lab::api::Cluster;
use detector_lab::detector::NAMESPACE;
use detector_lab::lab::{Lab, Launcher};
use detector_lab::options::Options;
use detector_lab::progress::Progress;
use serde_json::{Value, json};

const POLICIES: &str = include_str!("../../../deploy/base/admission.yaml");
/// What no request can reach: the API server compares the UID itself, before any policy.
const UNREACHABLE: &[(&str, &str)] = &[("steward-pod-status", "by UID")];

/// What the policies are tried on: Nodes and pods that no kubelet knows, slices of no Service.
const OBJECTS: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: too-wide}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects:
- {kind: ServiceAccount, name: agent, namespace: node-failure-detector}
- {kind: ServiceAccount, name: steward, namespace: node-failure-detector}
---
{apiVersion: v1, kind: Node, metadata: {name: own, annotations: {theirs: a}}, spec: {taints: [{key: theirs, effect: NoSchedule}]}}
---
{apiVersion: v1, kind: Node, metadata: {name: other}}
---
{apiVersion: v1, kind: Node, metadata: {name: plane, labels: {node-role.kubernetes.io/control-plane: ""}}}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: set}
spec:
  replicas: 2
  selector: {matchLabels: {app: set}}
  template:
    metadata: {labels: {app: set}}
    # Bound to a node: the API server itself forces the deletion of a pod that is not.
    spec: {nodeName: other, containers: [{name: c, image: none}]}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: mirror}
spec:
  replicas: 1
  selector: {matchLabels: {app: mirror}}
  template:
    metadata: {labels: {app: mirror}, annotations: {kubernetes.io/config.mirror: a}}
    spec: {nodeName: other, containers: [{name: c, image: none}]}
---
{apiVersion: v1, kind: Pod, metadata: {name: bare}, spec: {nodeSelector: {no: such-node}, containers: [{name: c, image: none}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: ours, labels: {kubernetes.io/service-name: none, endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io}}
addressType: IPv4
ports: [{port: 80}]
endpoints:
- {addresses: [10.1.1.1], nodeName: own, conditions: {ready: true, serving: true}, targetRef: {kind: Pod, name: a, uid: u1}}
- {addresses: [10.1.1.2], nodeName: own, conditions: {ready: false, serving: true}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: theirs, labels: {kubernetes.io/service-name: none, endpointslice.kubernetes.io/managed-by: somebody.else}}
addressType: IPv4
endpoints: [{addresses: [10.1.1.1], conditions: {ready: true}}]
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: node-failure-detector-ledger, namespace: node-failure-detector}}
"#;

const PODS: &str = "/api/v1/namespaces/default/pods";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const PATCH: &str = "application/json-patch+json";
const JSON: &str = "application/json";

/// One account that tries things, without changing anything (`dryRun=All`).
struct Account<'a> {
    cluster: &'a Cluster,
    /// Policy and message of every refusal seen.
    refused: BTreeSet<(String, String)>,
    wrong: Vec<String>,
}

impl<'a> Account<'a> {
    fn new(cluster: &'a Cluster) -> Self {
        Self {
            cluster,
            refused: BTreeSet::new(),
            wrong: Vec::new(),
        }
    }

    fn attempt(&self, method: &str, path: &str, content: &str, body: &Value) -> Result<Value> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let mut body = body.clone();
        // With a body the API server reads a DELETE's options from there alone.
        if let Some(options) = body.as_object_mut().filter(|_| method == "DELETE") {
            options.insert("dryRun".to_owned(), json!(["All"]));
        }
        self.cluster
            .request(method, &format!("{path}{separator}dryRun=All"), content, &body)
    }

    /// As `attempt`; what is allowed is tried again for a while, as policies are in force only after some seconds.
    fn attempt_until_refused(
        &self,
        (method, path): (&str, &str),
        content: &str,
        body: &Value,
    ) -> Result<Value> {
        let mut outcome = self.attempt(method, path, content, body);
        for _ in 0..100 {
            if outcome.is_err() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
            outcome = self.attempt(method, path, content, body);
        }
        outcome
    }

    fn allowed(&mut self, method: &str, path: &str, content: &str, body: &Value) {
        if let Err(error) = self.attempt(method, path, content, body) {
            self.wrong
                .push(format!("{method} {path} {body} ought to be allowed: {error:#}"));
        }
    }

    /// Refused by the policy of that name for that reason.
    fn refused(
        &mut self,
        policy: &str,
        message: &str,
        (method, path): (&str, &str),
        content: &str,
        body: &Value,
    ) {
        let expected = format!("policy 'node-failure-detector-{policy}'");
        match self.attempt_until_refused((method, path), content, body) {
            Ok(_) => self.wrong.push(format!("{method} {path} {body} was allowed")),
            Err(error) => {
                let text = format!("{error:#}").to_lowercase();
                if text.contains(&expected)
                    && text.contains(&format!("denied request: {}", message.to_lowercase()))
                {
                    self.refused.insert((policy.to_owned(), message.to_owned()));
                } else {
                    self.wrong.push(format!(
                        "{method} {path} {body} ought to be refused with {message:?}: {text}"
                    ));
                }
            }
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "callers make the value on the spot")]
fn metadata(key: &str, value: Value) -> Value {
    json!({"metadata": {key: value}})
}

fn owners() -> Value {
    metadata(
        "ownerReferences",
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "b"}]),
    )
}

fn condition(kind: &str, status: &str, reason: &str) -> Value {
    json!({"status": {"conditions": [{"type": kind, "status": status, "reason": reason}]}})
}

fn agent(account: &mut Account<'_>) {
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

fn steward_of_nodes(account: &mut Account<'_>) {
    let taint = |key: &str, effect: &str| json!([{"op": "add", "path": "/spec/taints/-", "value": {"key": key, "effect": effect}}]);
    let ours = "node-failure-detector.io/dead";
    account.allowed("PATCH", "/api/v1/nodes/own", PATCH, &taint(ours, "NoSchedule"));
    let our_taint = json!({"spec": {"taints": [{"key": ours, "effect": "NoSchedule"}]}});
    let own = ("PATCH", "/api/v1/nodes/own");
    let cases: &[(&str, (&str, &str), &str, Value)] = &[
        (
            "a steward neither creates nor deletes a Node",
            ("DELETE", own.1),
            JSON,
            Value::Null,
        ),
        ("our taint is NoSchedule", own, PATCH, taint(ours, "NoExecute")),
        ("taints that are not ours", own, PATCH, taint("a", "NoSchedule")),
        ("taints that are not ours", own, MERGE, our_taint.clone()),
        (
            "a control-plane node is alarm only",
            ("PATCH", "/api/v1/nodes/plane"),
            MERGE,
            our_taint,
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
    ];
    for (message, body) in cases {
        account.refused("steward-node-status", message, status, STRATEGIC, body);
    }
}

fn steward_of_pods(account: &mut Account<'_>, pods: &Pods) -> Result<()> {
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

fn steward_of_slices(account: &mut Account<'_>) {
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
            "ready only from true to false",
            ("PATCH", ours),
            set("/endpoints/1/conditions/ready", json!(true)),
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

fn steward_of_own(account: &mut Account<'_>) {
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

/// The disruption controller takes a DisruptionTarget without a time for a stale one, and clears it at once.
fn mark() -> Value {
    let now = k8s_openapi::jiff::Timestamp::now();
    json!({"status": {"conditions": [
        {"type": "Ready", "status": "False", "reason": "NodeFailureDetected", "lastTransitionTime": now},
        {"type": "DisruptionTarget", "status": "True", "reason": "NodeFailureDetected", "lastTransitionTime": now},
    ]}})
}

fn text<'a>(value: &'a Value, pointer: &str) -> Result<&'a str> {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .with_context(|| format!("no {pointer} in {value}"))
}

/// Every policy and message that `deploy/` holds.
fn validations() -> BTreeSet<(String, String)> {
    let mut policy = "";
    let mut all = BTreeSet::new();
    for line in POLICIES.lines() {
        if let Some(name) = line.strip_prefix("metadata: {name: node-failure-detector-") {
            policy = name.trim_end_matches('}');
        }
        if let Some((_, rest)) = line.split_once("message: \"") {
            all.insert((policy.to_owned(), rest.trim_end_matches("\"}").to_owned()));
        }
    }
    all
}

/// The pods that the policies are tried on.
struct Pods {
    /// Of a ReplicaSet, marked.
    marked: Value,
    /// Of a ReplicaSet.
    plain: Value,
    /// Of nobody, marked.
    bare: Value,
    /// Of a ReplicaSet and of a kubelet's file, marked.
    mirror: Value,
}

impl Pods {
    /// Waits for the ReplicaSets, and marks as the administrator.
    fn prepare(admin: &Cluster) -> Result<Self> {
        let Ok([marked, plain]) = <[Value; 2]>::try_from(pods_of(admin, "set", 2)?) else {
            bail!("not two pods")
        };
        let Ok([mirror]) = <[Value; 1]>::try_from(pods_of(admin, "mirror", 1)?) else {
            bail!("not one pod")
        };
        let bare = admin.request("GET", &path("bare"), JSON, &Value::Null)?;
        for pod in [&marked, &bare, &mirror] {
            let status = format!("{}/status", path(text(pod, "/metadata/name")?));
            admin.request("PATCH", &status, STRATEGIC, &mark())?;
        }
        Ok(Self {
            marked,
            plain,
            bare,
            mirror,
        })
    }
}

fn pods_of(admin: &Cluster, app: &str, count: usize) -> Result<Vec<Value>> {
    for _ in 0..100 {
        let list = admin.request(
            "GET",
            &format!("{PODS}?labelSelector=app%3D{app}"),
            JSON,
            &Value::Null,
        )?;
        let found = list
            .pointer("/items")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        if found.len() == count {
            return Ok(found);
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    bail!("the ReplicaSet {app} made no {count} pods within 10 s")
}

fn path(pod: &str) -> String {
    format!("{PODS}/{pod}")
}

#[test]
fn each_policy_allows_what_is_done_and_refuses_what_it_names() -> Result<()> {
    let options = Options {
        real: 0,
        ..Options::new(&format!("admission-{}", std::process::id()))
    };
    let lab = Lab::up(
        &options,
        &Launcher::program(env!("CARGO_BIN_EXE_lab")),
        &mut Progress::terminal(),
    )?;
    lab.apply_deploy()?;
    lab.apply(OBJECTS)?;
    let (pods, bound, unbound, steward) = lab.with_cluster(|admin| {
        let nodes = admin.nodes()?;
        let own = nodes
            .iter()
            .find(|node| node.metadata.name.as_deref() == Some("own"));
        let bound = admin.token(NAMESPACE, "agent", own)?;
        Ok((
            Pods::prepare(admin)?,
            bound,
            admin.token(NAMESPACE, "agent", None)?,
            admin.token(NAMESPACE, "steward", None)?,
        ))
    })?;
    let (mut refused, mut wrong) = lab.with_token(&bound, |cluster| {
        let mut account = Account::new(cluster);
        agent(&mut account);
        Ok((account.refused, account.wrong))
    })?;
    let without_a_node = lab.with_token(&unbound, |cluster| {
        let mut account = Account::new(cluster);
        let body = metadata("annotations", json!({"node-failure-detector.io/alive": "a"}));
        let message = "an agent writes its own Node only, with a bound token";
        account.refused("agent", message, ("PATCH", "/api/v1/nodes/own"), MERGE, &body);
        Ok(account.wrong)
    })?;
    let by_steward = lab.with_token(&steward, |cluster| {
        let mut account = Account::new(cluster);
        steward_of_nodes(&mut account);
        steward_of_pods(&mut account, &pods)?;
        steward_of_slices(&mut account);
        steward_of_own(&mut account);
        Ok((account.refused, account.wrong))
    })?;
    refused.extend(by_steward.0);
    wrong.extend(without_a_node.into_iter().chain(by_steward.1));
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));

    refused.extend(
        UNREACHABLE
            .iter()
            .map(|(policy, message)| ((*policy).to_owned(), (*message).to_owned())),
    );
    let untried: Vec<_> = validations().difference(&refused).cloned().collect();
    ensure!(
        untried.is_empty(),
        "nothing tried what these refuse: {untried:#?}"
    );
    lab.down()
}
