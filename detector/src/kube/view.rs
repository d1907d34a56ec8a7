//! What of each object is read: JSON goes straight into these, and nothing else is kept.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;

use crate::names;
use crate::remedy::command::LedgerState;
use crate::remedy::object::{Endpoint, Node, Owner, Pod, PodRef, Slice, Taint, Toleration};
use crate::remedy::{ledger, policy};
use crate::roster::{MAX_ADDRESSES, Member};

/// Label of a Node: its failure domain.
const ZONE: &str = "topology.kubernetes.io/zone";

/// Label of a Node of the control plane.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

/// Annotation of a pod: where its kubelet got it from.
const SOURCE: &str = "kubernetes.io/config.source";

/// Annotation of a mirror pod.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Label of an EndpointSlice: whose it is.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// The only value of it whose slices are patched: that controller puts a mistake right.
pub const SLICE_CONTROLLER: &str = "endpointslice-controller.k8s.io";

/// Metadata of any object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// Name.
    pub name: String,
    /// Empty for what has none.
    pub namespace: String,
    /// UID.
    pub uid: String,
    /// Of this state.
    pub resource_version: String,
    /// Set: on its way out.
    pub deletion_timestamp: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Owners.
    pub owner_references: Vec<OwnerReference>,
}

/// One owner.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    api_version: String,
    kind: String,
    uid: String,
    controller: bool,
}

impl Meta {
    fn opted_out(&self) -> bool {
        self.annotations.get(names::REMEDIATION).map(String::as_str) == Some(names::OFF)
    }
}

/// An object that a watch can follow.
pub trait Object {
    /// Its metadata.
    fn meta(&self) -> &Meta;
}

macro_rules! object {
    ($name:ident) => {
        impl Object for $name {
            fn meta(&self) -> &Meta {
                &self.metadata
            }
        }
    };
}

/// A condition of a Node or pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    r#type: String,
    status: String,
    reason: String,
}

/// `v1/Node`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeView {
    /// Metadata.
    pub metadata: Meta,
    spec: NodeSpec,
    status: NodeStatus,
}
object!(NodeView);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct NodeSpec {
    taints: Vec<Taint>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct NodeStatus {
    addresses: Vec<Address>,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Address {
    r#type: String,
    address: String,
}

impl NodeView {
    fn spared(&self) -> Option<&'static str> {
        policy::spared_node(
            self.metadata.deletion_timestamp.is_some(),
            self.metadata
                .annotations
                .get(names::REMEDIATION)
                .map(String::as_str),
            self.metadata.labels.contains_key(policy::EXCLUDE_DISRUPTION),
            self.spec.taints.iter().map(|taint| taint.key.as_str()),
        )
    }

    fn control_plane(&self) -> bool {
        self.metadata.labels.contains_key(CONTROL_PLANE)
    }

    /// For the remedy.
    #[must_use]
    pub fn node(&self) -> Node {
        let mut conditions = self.status.conditions.iter();
        let reachable = conditions.find(|condition| condition.r#type == names::REACHABLE);
        Node {
            name: self.metadata.name.clone(),
            uid: self.metadata.uid.clone(),
            resource_version: self.metadata.resource_version.clone(),
            taints: self.spec.taints.clone(),
            alive: self.metadata.annotations.get(names::ALIVE).cloned(),
            spared: self.spared(),
            control_plane: self.control_plane(),
            reachable: reachable.map(|condition| condition.reason.clone()),
        }
    }

    /// For the roster. A key that is none counts as none.
    #[must_use]
    pub fn member(&self) -> Member {
        let key = self.metadata.annotations.get(names::PUBLIC_KEY);
        Member {
            name: self.metadata.name.clone(),
            uid: self.metadata.uid.clone(),
            addresses: self.addresses(),
            zone: self.metadata.labels.get(ZONE).cloned().unwrap_or_default(),
            key: key.and_then(|key| key.parse().ok()),
            control_plane: self.control_plane(),
            // An opted-out node is watched as any other: what leaves is what others take away.
            leaving: self.spared().is_some() && !self.metadata.opted_out(),
        }
    }

    /// InternalIPs, in the Node's order.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        let internal = self
            .status
            .addresses
            .iter()
            .filter(|address| address.r#type == "InternalIP");
        internal
            .filter_map(|address| address.address.parse().ok())
            .take(MAX_ADDRESSES)
            .collect()
    }
}

/// `v1/Pod`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PodView {
    /// Metadata.
    pub metadata: Meta,
    spec: PodSpec,
    status: PodStatus,
}
object!(PodView);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct PodSpec {
    tolerations: Vec<Toleration>,
    volumes: Vec<Volume>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Volume {
    name: String,
    persistent_volume_claim: Option<ClaimSource>,
    ephemeral: Option<serde::de::IgnoredAny>,
    /// Any other.
    #[serde(flatten)]
    source: BTreeMap<String, serde::de::IgnoredAny>,
}

/// Sources of volumes that each node has for itself, or that nobody writes.
const LOCAL: [&str; 7] = [
    "emptyDir",
    "configMap",
    "secret",
    "downwardAPI",
    "projected",
    "image",
    "hostPath",
];

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClaimSource {
    claim_name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct PodStatus {
    phase: String,
    conditions: Vec<Condition>,
}

impl PodView {
    /// For the remedy.
    #[must_use]
    pub fn pod(&self) -> Pod {
        let meta = &self.metadata;
        let owner = meta.owner_references.iter().find(|owner| owner.controller);
        let has = |r#type: &str, status: &str, reason: Option<&str>| {
            self.status.conditions.iter().any(|condition| {
                condition.r#type == r#type
                    && condition.status == status
                    && reason.is_none_or(|reason| condition.reason == reason)
            })
        };
        let claim = |volume: &Volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
            (Some(claim), _) => Some(claim.claim_name.clone()),
            (None, Some(_)) => Some(format!("{}-{}", meta.name, volume.name)),
            (None, None) => None,
        };
        Pod {
            id: PodRef {
                namespace: meta.namespace.clone(),
                name: meta.name.clone(),
                uid: meta.uid.clone(),
            },
            resource_version: meta.resource_version.clone(),
            owner: owner.map(|owner| Owner {
                api_version: owner.api_version.clone(),
                kind: owner.kind.clone(),
                uid: owner.uid.clone(),
            }),
            is_static: meta.annotations.contains_key(MIRROR)
                || meta.annotations.get(SOURCE).is_some_and(|source| source != "api"),
            opted_out: meta.opted_out(),
            terminating: meta.deletion_timestamp.is_some(),
            finished: matches!(self.status.phase.as_str(), "Succeeded" | "Failed"),
            ready: has("Ready", "True", None),
            marked: has("DisruptionTarget", "True", Some(names::REASON)),
            claims: self.spec.volumes.iter().filter_map(claim).collect(),
            shared_volume: self.spec.volumes.iter().any(|volume| {
                let mut sources = volume.source.keys();
                sources.any(|source| !LOCAL.contains(&source.as_str()))
            }),
            tolerations: self.spec.tolerations.clone(),
        }
    }
}

/// `discovery.k8s.io/v1/EndpointSlice`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SliceView {
    /// Metadata.
    pub metadata: Meta,
    endpoints: Option<Vec<EndpointView>>,
    ports: Option<Vec<PortView>>,
}
object!(SliceView);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct EndpointView {
    addresses: Vec<String>,
    node_name: Option<String>,
    target_ref: Option<TargetRef>,
    conditions: EndpointConditions,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct TargetRef {
    kind: String,
    uid: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct EndpointConditions {
    ready: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct PortView {
    port: Option<u16>,
}

impl SliceView {
    /// For the remedy.
    #[must_use]
    pub fn slice(&self) -> Slice {
        let endpoint = |view: &EndpointView| {
            let pod = view.target_ref.as_ref().filter(|target| target.kind == "Pod");
            Some(Endpoint {
                node: view.node_name.clone()?,
                pod: pod.and_then(|pod| pod.uid.clone()),
                ready: view.conditions.ready.unwrap_or(true),
            })
        };
        Slice {
            namespace: self.metadata.namespace.clone(),
            name: self.metadata.name.clone(),
            endpoints: self.endpoints.iter().flatten().map(endpoint).collect(),
        }
    }

    /// Addresses and first port: for the slice of the API servers.
    #[must_use]
    pub fn sockets(&self) -> Vec<(IpAddr, u16)> {
        let port = self.ports.iter().flatten().find_map(|port| port.port);
        let addresses = self
            .endpoints
            .iter()
            .flatten()
            .flat_map(|endpoint| &endpoint.addresses);
        addresses
            .filter_map(|address| Some((address.parse().ok()?, port?)))
            .collect()
    }
}

/// `v1/ConfigMap`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct MapView {
    /// Metadata.
    pub metadata: Meta,
    /// Data.
    pub data: BTreeMap<String, String>,
}
object!(MapView);

impl MapView {
    /// As a ledger.
    #[must_use]
    pub fn ledger(&self) -> LedgerState {
        LedgerState {
            resource_version: self.metadata.resource_version.clone(),
            text: self.data.get(ledger::KEY).cloned(),
        }
    }
}

/// `v1/Namespace`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NamespaceView {
    /// Metadata.
    pub metadata: Meta,
}

impl NamespaceView {
    /// Whether its pods are left alone.
    #[must_use]
    pub fn opted_out(&self) -> bool {
        self.metadata.opted_out()
    }
}

/// `v1/PersistentVolumeClaim`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ClaimView {
    spec: ClaimSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClaimSpec {
    access_modes: Vec<String>,
}

impl ClaimView {
    /// ReadWriteMany and nothing less.
    #[must_use]
    pub fn shared(&self) -> bool {
        let modes = &self.spec.access_modes;
        !modes.is_empty() && modes.iter().all(|mode| mode == "ReadWriteMany")
    }
}

/// One page of a list.
#[derive(Clone, Debug, Deserialize)]
pub struct Page<T> {
    /// Metadata of the list.
    #[serde(default)]
    pub metadata: PageMeta,
    /// The objects.
    #[serde(default = "Vec::new")]
    pub items: Vec<T>,
}

/// Metadata of a list.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PageMeta {
    /// Of this state of the collection.
    pub resource_version: String,
    /// Where the next page begins; empty: there is none.
    pub r#continue: String,
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn view<T: serde::de::DeserializeOwned>(value: &Value) -> T {
        serde_json::from_str(&value.to_string()).unwrap()
    }

    #[test]
    fn a_node() {
        let key = "ab".repeat(32);
        let node: NodeView = view(&json!({
            "metadata": {
                "name": "n", "uid": "u", "resourceVersion": "7",
                "labels": {"topology.kubernetes.io/zone": "a"},
                "annotations": {"node-failure-detector.io/public-key": key, "node-failure-detector.io/alive": "x 1"},
                "managedFields": [{"manager": "kubelet"}],
            },
            "spec": {"podCIDR": "10.0.0.0/24", "taints": [
                {"key": "k", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}]},
            "status": {
                "addresses": [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "10.1.0.1"},
                    {"type": "InternalIP", "address": "fd00::1"}, {"type": "InternalIP", "address": "nonsense"}],
                "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"},
                    {"type": "node-failure-detector.io/Reachable", "status": "False", "reason": "Leaving"}],
            },
        }));
        let object = node.node();
        assert_eq!(
            object.taints[0].time_added.as_deref(),
            Some("2026-01-01T00:00:00Z")
        );
        assert_eq!(object.reachable.as_deref(), Some("Leaving"));
        assert_eq!(object.alive.as_deref(), Some("x 1"));
        assert_eq!((object.spared, object.control_plane), (None, false));
        let member = node.member();
        assert_eq!(
            member.addresses,
            [IpAddr::from([10, 1, 0, 1]), "fd00::1".parse().unwrap()]
        );
        assert_eq!(member.zone, "a");
        assert_eq!(member.key.map(|key| key.to_string()), Some(key));
        assert!(!member.leaving);
    }

    #[test]
    fn what_is_not_there_or_not_a_key_is_none() {
        let node: NodeView = view(&json!({"metadata": {"annotations":
            {"node-failure-detector.io/public-key": "ä".repeat(32)}}}));
        assert_eq!(node.member().key, None);
        let slice: SliceView = view(&json!({"endpoints": null}));
        assert!(slice.slice().endpoints.is_empty());
        let pod: PodView = view(&json!({}));
        assert_eq!(pod.pod(), Pod::default());
    }

    #[test]
    fn nodes_that_opted_out_stay_members_and_those_that_go_are_leaving() {
        let with = |value: Value| view::<NodeView>(&value);
        let out = with(json!({"metadata": {"annotations": {"node-failure-detector.io/remediation": "off"}}}));
        assert!(out.node().spared.is_some() && !out.member().leaving);
        let going =
            with(json!({"spec": {"taints": [{"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}]}}));
        assert!(going.node().spared.is_some() && going.member().leaving);
        let deleted = with(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
        assert!(deleted.member().leaving);
        let control = with(json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}));
        assert!(control.node().control_plane && control.member().control_plane);
    }

    #[test]
    fn a_pod() {
        let pod = view::<PodView>(&json!({
            "metadata": {
                "name": "web-0", "namespace": "shop", "uid": "u", "resourceVersion": "9",
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Other", "uid": "x"},
                    {"apiVersion": "apps/v1", "kind": "ReplicaSet", "uid": "rs", "controller": true}],
            },
            "spec": {
                "tolerations": [{"operator": "Exists"}],
                "volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "persistentVolumeClaim": {"claimName": "data"}},
                    {"name": "c", "ephemeral": {"volumeClaimTemplate": {}}}],
            },
            "status": {"phase": "Running", "conditions": [
                {"type": "Ready", "status": "True"},
                {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]},
        }))
        .pod();
        assert_eq!(
            pod.owner.as_ref().map(|owner| owner.kind.as_str()),
            Some("ReplicaSet")
        );
        assert_eq!(pod.claims, ["data", "web-0-c"]);
        assert!(!pod.shared_volume);
        assert!(pod.ready && !pod.marked, "another's mark is not ours");
        assert!(!pod.is_static && !pod.finished && !pod.terminating);
        assert_eq!(pod.tolerations[0].operator.as_deref(), Some("Exists"));
    }

    #[test]
    fn volumes_that_another_node_could_write() {
        for (source, shared) in [
            ("emptyDir", false),
            ("configMap", false),
            ("hostPath", false),
            ("iscsi", true),
            ("nfs", true),
            ("csi", true),
            ("a source of tomorrow", true),
        ] {
            let volumes = json!([{"name": "a", "emptyDir": {}}, {"name": "b", source: {}}]);
            let pod: PodView = view(&json!({"spec": {"volumes": volumes}}));
            assert_eq!(pod.pod().shared_volume, shared, "{source}");
        }
    }

    #[test]
    fn static_and_mirror_pods() {
        for (annotation, value, is_static) in [
            ("kubernetes.io/config.mirror", "x", true),
            ("kubernetes.io/config.source", "file", true),
            ("kubernetes.io/config.source", "api", false),
        ] {
            let pod: PodView = view(&json!({"metadata": {"annotations": {annotation: value}}}));
            assert_eq!(pod.pod().is_static, is_static, "{annotation}={value}");
        }
    }

    #[test]
    fn a_slice_keeps_its_order_and_what_is_not_said_is_ready() {
        let slice = view::<SliceView>(&json!({
            "metadata": {"name": "s", "namespace": "d"},
            "ports": [{"name": "https", "port": 6443}],
            "endpoints": [
                {"addresses": ["10.0.0.1"], "conditions": {}},
                {"addresses": ["10.0.0.2"], "nodeName": "n", "conditions": {"ready": false},
                    "targetRef": {"kind": "Pod", "uid": "u"}},
                {"addresses": ["fd00::3"], "nodeName": "n", "conditions": {}},
            ],
        }));
        let endpoint = |pod: Option<&str>, ready| {
            Some(Endpoint {
                node: "n".into(),
                pod: pod.map(str::to_owned),
                ready,
            })
        };
        assert_eq!(
            slice.slice().endpoints,
            [None, endpoint(Some("u"), false), endpoint(None, true)]
        );
        assert_eq!(slice.sockets().len(), 3);
        assert_eq!(slice.sockets()[0], (IpAddr::from([10, 0, 0, 1]), 6443));
    }

    #[test]
    fn only_a_claim_of_many_writers_is_shared() {
        for (modes, shared) in [
            (json!(["ReadWriteMany"]), true),
            (json!(["ReadWriteOnce"]), false),
            (json!(["ReadWriteMany", "ReadWriteOnce"]), false),
            (json!([]), false),
        ] {
            let claim: ClaimView = view(&json!({"spec": {"accessModes": modes}}));
            assert_eq!(claim.shared(), shared, "{modes}");
        }
    }
}
