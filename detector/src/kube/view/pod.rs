//! What of a pod is read.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Condition, Meta, Object};
use crate::names;
use crate::remedy::object::{Owner, Pod, PodRef, Toleration};

/// Annotation of a pod: where its kubelet got it from.
const SOURCE: &str = "kubernetes.io/config.source";

/// Annotation of a mirror pod.
const MIRROR: &str = "kubernetes.io/config.mirror";

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

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use super::PodView;
    use crate::kube::view::read;
    use serde_json::json;

    #[test]
    fn a_pod() {
        let pod = read::<PodView>(&json!({
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
            let pod: PodView = read(&json!({"spec": {"volumes": volumes}}));
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
            let pod: PodView = read(&json!({"metadata": {"annotations": {annotation: value}}}));
            assert_eq!(pod.pod().is_static, is_static, "{annotation}={value}");
        }
    }
}
