//! What the policies are tried on.

use anyhow::{Context, Result, bail};
use detector_lab::api::Cluster;
use serde_json::{Value, json};

use super::account::{JSON, STRATEGIC};

/// Nodes and pods that no kubelet knows, slices of no Service.
pub(super) const OBJECTS: &str = r#"
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
apiVersion: v1
kind: Node
metadata: {name: plane, labels: {node-role.kubernetes.io/control-plane: ""}}
spec: {taints: [{key: theirs, effect: NoSchedule}]}
---
apiVersion: v1
kind: Node
metadata: {name: tainted-plane, labels: {node-role.kubernetes.io/control-plane: ""}}
spec: {taints: [{key: node-failure-detector.io/dead, effect: NoSchedule}]}
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
- {addresses: [10.1.1.1], nodeName: own, zone: z, hostname: a, hints: {forZones: [{name: z}]}, conditions: {ready: true, serving: true}, targetRef: {kind: Pod, name: a, uid: u1}}
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

pub(super) const PODS: &str = "/api/v1/namespaces/default/pods";

/// The pods that the policies are tried on.
pub(super) struct Pods {
    /// Of a ReplicaSet, marked.
    pub(super) marked: Value,
    /// Of a ReplicaSet.
    pub(super) plain: Value,
    /// Of nobody, marked.
    pub(super) bare: Value,
    /// Of a ReplicaSet and of a kubelet's file, marked.
    pub(super) mirror: Value,
}

impl Pods {
    /// Waits for the ReplicaSets, and marks as the administrator.
    pub(super) fn prepare(admin: &Cluster) -> Result<Self> {
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

pub(super) fn path(pod: &str) -> String {
    format!("{PODS}/{pod}")
}

/// The disruption controller takes a DisruptionTarget without a time for a stale one, and clears it at once.
pub(super) fn mark() -> Value {
    let now = k8s_openapi::jiff::Timestamp::now();
    json!({"status": {"conditions": [
        {"type": "Ready", "status": "False", "reason": "NodeFailureDetected", "lastTransitionTime": now},
        {"type": "DisruptionTarget", "status": "True", "reason": "NodeFailureDetected", "lastTransitionTime": now},
    ]}})
}

pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> Result<&'a str> {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .with_context(|| format!("no {pointer} in {value}"))
}
