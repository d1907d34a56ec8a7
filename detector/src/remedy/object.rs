//! What the remedy must know of Kubernetes objects, and no more: a cluster's Nodes and slices are held in memory.

use serde::{Deserialize, Serialize};

use crate::names;

/// A taint of a Node, as the API writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Taint {
    /// Key.
    pub key: String,
    /// Value; ours holds the incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
    /// Kept as it was: a merge patch replaces the whole list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_added: Option<String>,
}

/// The taints that we write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnTaint {
    /// Of a node that is dead or leaving.
    Dead,
    /// Of a degraded node that can start no pod.
    Degraded,
}

impl OwnTaint {
    /// Its key.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Dead => names::DEAD_TAINT,
            Self::Degraded => names::DEGRADED_TAINT,
        }
    }

    /// Whether a taint is this one.
    #[must_use]
    pub fn is(self, taint: &Taint) -> bool {
        taint.key == self.key()
    }
}

impl Taint {
    /// Whether we write it.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        OwnTaint::Dead.is(self) || OwnTaint::Degraded.is(self)
    }
}

/// A Node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Name.
    pub name: String,
    /// UID: a Node that was deleted and made again is another one.
    pub uid: String,
    /// Of this state.
    pub resource_version: String,
    /// All of them, others' too.
    pub taints: Vec<Taint>,
    /// The annotation [`names::ALIVE`].
    pub alive: Option<String>,
    /// Why it is left alone: opt-out, autoscaler or shutdown mark, deletion.
    pub spared: Option<&'static str>,
    /// Alarm only.
    pub control_plane: bool,
    /// Reason of the condition [`names::REACHABLE`]; None: not there.
    pub reachable: Option<String>,
}

impl Node {
    /// Our taint, if it bears it.
    #[must_use]
    pub fn own_taint(&self, own: OwnTaint) -> Option<&Taint> {
        self.taints.iter().find(|taint| own.is(taint))
    }

    /// Whether it bears our taint of the dead.
    #[must_use]
    pub fn is_tainted(&self) -> bool {
        self.own_taint(OwnTaint::Dead).is_some()
    }
}

/// Which pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodRef {
    /// Namespace.
    pub namespace: String,
    /// Name: another pod may bear it a second later.
    pub name: String,
    /// UID.
    pub uid: String,
}

impl std::fmt::Display for PodRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The controller of a pod: its owner reference with `controller: true`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// `apps/v1`, `v1`, …
    pub api_version: String,
    /// `ReplicaSet`, …
    pub kind: String,
    /// UID.
    pub uid: String,
}

/// A toleration, as the API writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toleration {
    /// None: every key, with `Exists`.
    #[serde(default)]
    pub key: Option<String>,
    /// `Exists` or, also when it is not there, `Equal`.
    #[serde(default)]
    pub operator: Option<String>,
    /// With `Equal`.
    #[serde(default)]
    pub value: Option<String>,
    /// None: every effect.
    #[serde(default)]
    pub effect: Option<String>,
}

/// A pod of the node in question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Which.
    pub id: PodRef,
    /// Of this state.
    pub resource_version: String,
    /// Its controller; None: nobody's.
    pub owner: Option<Owner>,
    /// The kubelet's own: annotation `kubernetes.io/config.mirror`, or source other than the API.
    pub is_static: bool,
    /// Annotation [`names::REMEDIATION`] is `off`.
    pub opted_out: bool,
    /// Has a deletionTimestamp.
    pub terminating: bool,
    /// Phase `Succeeded` or `Failed`.
    pub finished: bool,
    /// Condition Ready is True.
    pub ready: bool,
    /// Has our DisruptionTarget.
    pub marked: bool,
    /// Names of the PersistentVolumeClaims it mounts, generic ephemeral ones included.
    pub claims: Vec<String>,
    /// Has a volume that is neither a claim nor local to its node: two nodes can write it, and nothing locks it.
    pub shared_volume: bool,
    /// All of them.
    pub tolerations: Vec<Toleration>,
}

/// One endpoint of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Node's name.
    pub node: String,
    /// UID of the pod, where it stands for one.
    pub pod: Option<String>,
    /// Condition `ready`; true also where it is not said.
    pub ready: bool,
}

/// An EndpointSlice of the EndpointSlice controller; others' are not even watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// In the slice's order: patches name positions. None: of no node.
    pub endpoints: Vec<Option<Endpoint>>,
}
