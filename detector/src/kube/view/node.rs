//! What of a Node is read, for the remedy and for the roster.

use std::net::IpAddr;

use serde::Deserialize;

use super::{Condition, Meta, Object};
use crate::names;
use crate::remedy::object::{Node, Taint};
use crate::remedy::policy;
use crate::roster::{MAX_ADDRESSES, Member};

/// Label of a Node: its failure domain.
const ZONE: &str = "topology.kubernetes.io/zone";

/// Label of a Node of the control plane.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

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

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
mod tests {
    use super::NodeView;
    use crate::kube::view::read;
    use serde_json::{Value, json};
    use std::net::IpAddr;

    #[test]
    fn a_node() {
        let key = "ab".repeat(32);
        let node: NodeView = read(&json!({
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
    fn nodes_that_opted_out_stay_members_and_those_that_go_are_leaving() {
        let with = |value: Value| read::<NodeView>(&value);
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
}
