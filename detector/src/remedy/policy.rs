//! Which nodes and pods are left alone. An allow-list: who is not named is spared, and told why.

use crate::names;
use crate::remedy::object::{Node, Owner, Pod, Toleration};

/// What may be done to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Marked, and after the second look deleted.
    Delete,
    /// Marked, and left to stock Kubernetes; why.
    Spare(&'static str),
    /// Not even marked; why.
    Ignore(&'static str),
}

/// What is known about the namespace of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// It did not opt out.
    Open,
    /// It opted out.
    OptedOut,
    /// It could not be read.
    Unreadable,
}

/// Controllers whose pods are deleted: both make a new pod at once, and two of theirs at the same time hurt nobody.
fn is_allowed(owner: &Owner) -> bool {
    matches!(
        (owner.api_version.as_str(), owner.kind.as_str()),
        ("apps/v1", "ReplicaSet") | ("v1", "ReplicationController")
    )
}

/// Whether a pod with this toleration may be bound to a node with our taint of the dead.
fn tolerates_us(toleration: &Toleration) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or("");
    let key = toleration.key.as_deref().unwrap_or("");
    let exists = toleration.operator.as_deref() == Some("Exists");
    // With `Equal` the value would have to be an incident's label: only of our key, and then somebody meant it.
    (effect.is_empty() || effect == names::NO_SCHEDULE)
        && ((key.is_empty() && exists) || key == names::DEAD_TAINT)
}

/// Why a pod of this kind of owner is not deleted.
fn spared_owner(owner: Option<&Owner>) -> &'static str {
    match owner.map(|owner| owner.kind.as_str()) {
        None => "has no controller: nobody would replace it",
        Some("StatefulSet") => "StatefulSet: its name may still run there",
        Some("Job") => "Job: a deleted pod may fail the Job",
        Some("DaemonSet") => "DaemonSet: it belongs to the node",
        Some("Node") => "static: it belongs to the node",
        Some(_) => "controller is not on the allow-list (ReplicaSet, ReplicationController)",
    }
}

/// What may be done to a pod of a dead node. `shared_claims`: each of its claims was read and is ReadWriteMany.
#[must_use]
pub fn fate(pod: &Pod, namespace: Namespace, shared_claims: bool) -> Fate {
    if pod.opted_out {
        return Fate::Ignore("opted out by its annotation");
    }
    match namespace {
        Namespace::OptedOut => return Fate::Ignore("opted out by its namespace"),
        Namespace::Unreadable => return Fate::Ignore("its namespace could not be read"),
        Namespace::Open => {}
    }
    if pod.finished {
        return Fate::Ignore("has finished");
    }
    if pod.terminating {
        return Fate::Spare("is terminating already");
    }
    if pod.is_static {
        return Fate::Spare("static or mirror: it belongs to the node");
    }
    if !pod.owner.as_ref().is_some_and(is_allowed) {
        return Fate::Spare(spared_owner(pod.owner.as_ref()));
    }
    if pod.shared_volume {
        return Fate::Spare("has a volume of its own that another node could write as well");
    }
    if !pod.claims.is_empty() && !shared_claims {
        return Fate::Spare("has a claim that is not known to be ReadWriteMany");
    }
    if pod.tolerations.iter().any(tolerates_us) {
        return Fate::Spare("tolerates our taint: its replacement would go back");
    }
    Fate::Delete
}

/// Whether the claims of a pod have to be read: only where they decide.
#[must_use]
pub fn needs_claims(pod: &Pod, namespace: Namespace) -> bool {
    !pod.claims.is_empty() && fate(pod, namespace, true) == Fate::Delete
}

/// Why a Node is left alone, from its marks; None: it is not.
///
/// `annotation` and `has_label` look into its metadata; `taints` are the keys of its taints.
#[must_use]
pub fn spared_node<'a>(
    deleting: bool,
    annotation: Option<&str>,
    excluded: bool,
    mut taints: impl Iterator<Item = &'a str>,
) -> Option<&'static str> {
    if deleting {
        return Some("is being deleted");
    }
    if annotation == Some(names::OFF) {
        return Some("opted out by its annotation");
    }
    if excluded {
        return Some("opted out by the label node.kubernetes.io/exclude-disruption");
    }
    taints
        .any(|key| REMOVERS.contains(&key))
        .then_some("is on its way out: marked by an autoscaler, the cloud, or as out of service")
}

/// Label of a Node that keeps disruptions away.
pub const EXCLUDE_DISRUPTION: &str = "node.kubernetes.io/exclude-disruption";

/// Taints of others who are already at work on the node.
const REMOVERS: [&str; 5] = [
    "ToBeDeletedByClusterAutoscaler",
    "karpenter.sh/disrupted",
    "karpenter.sh/disruption",
    "node.cloudprovider.kubernetes.io/shutdown",
    "node.kubernetes.io/out-of-service",
];

/// What keeps the whole remediation off this node; None: nothing.
#[must_use]
pub const fn held_node(node: &Node) -> Option<crate::judgement::Hold> {
    use crate::judgement::Hold;
    if node.spared.is_some() {
        Some(Hold::OptedOut)
    } else if node.control_plane {
        Some(Hold::ControlPlane)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(api_version: &str, kind: &str) -> Pod {
        Pod {
            owner: Some(Owner {
                api_version: api_version.into(),
                kind: kind.into(),
                uid: "o".into(),
            }),
            ready: true,
            ..Pod::default()
        }
    }

    fn toleration(key: &str, operator: &str, effect: &str) -> Toleration {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Toleration {
            key: some(key),
            operator: some(operator),
            value: None,
            effect: some(effect),
        }
    }

    #[test]
    fn only_the_named_owners_are_deleted() {
        for (api_version, kind, deleted) in [
            ("apps/v1", "ReplicaSet", true),
            ("v1", "ReplicationController", true),
            ("apps/v1", "StatefulSet", false),
            ("batch/v1", "Job", false),
            ("apps/v1", "DaemonSet", false),
            ("v1", "Node", false),
            ("example.org/v1", "ReplicaSet", false),
            ("apps/v1", "replicaset", false),
        ] {
            let fate = fate(&owned(api_version, kind), Namespace::Open, false);
            assert_eq!(fate == Fate::Delete, deleted, "{api_version} {kind}: {fate:?}");
            assert!(!matches!(fate, Fate::Ignore(_)), "{kind} is marked all the same");
        }
        let orphan = Pod::default();
        assert!(matches!(fate(&orphan, Namespace::Open, true), Fate::Spare(_)));
    }

    #[test]
    fn what_spares_a_pod_of_an_allowed_owner() {
        let base = owned("apps/v1", "ReplicaSet");
        let with = |change: fn(&mut Pod)| {
            let mut pod = base.clone();
            change(&mut pod);
            fate(&pod, Namespace::Open, false)
        };
        assert_eq!(with(|_| ()), Fate::Delete);
        assert!(matches!(with(|pod| pod.is_static = true), Fate::Spare(_)));
        assert!(matches!(with(|pod| pod.terminating = true), Fate::Spare(_)));
        assert!(matches!(
            with(|pod| pod.claims = vec!["data".into()]),
            Fate::Spare(_)
        ));
        assert!(matches!(with(|pod| pod.shared_volume = true), Fate::Spare(_)));
        assert!(matches!(with(|pod| pod.opted_out = true), Fate::Ignore(_)));
        assert!(matches!(with(|pod| pod.finished = true), Fate::Ignore(_)));
    }

    #[test]
    fn a_shared_claim_does_not_spare_and_is_read_only_where_it_decides() {
        let mut pod = owned("apps/v1", "ReplicaSet");
        pod.claims = vec!["data".into()];
        assert_eq!(fate(&pod, Namespace::Open, true), Fate::Delete);
        assert!(needs_claims(&pod, Namespace::Open));
        pod.owner = owned("apps/v1", "StatefulSet").owner;
        assert!(!needs_claims(&pod, Namespace::Open));
    }

    #[test]
    fn namespaces_opt_out_and_one_that_cannot_be_read_counts_as_if() {
        let pod = owned("apps/v1", "ReplicaSet");
        for (namespace, deleted) in [
            (Namespace::Open, true),
            (Namespace::OptedOut, false),
            (Namespace::Unreadable, false),
        ] {
            let fate = fate(&pod, namespace, false);
            assert_eq!(fate == Fate::Delete, deleted);
            assert_eq!(matches!(fate, Fate::Ignore(_)), !deleted);
        }
    }

    #[test]
    fn tolerations_that_lead_back_to_the_dead_node() {
        for (toleration, spared) in [
            (toleration("", "Exists", ""), true),
            (toleration("", "Exists", "NoSchedule"), true),
            (toleration("", "Exists", "NoExecute"), false),
            (toleration(names::DEAD_TAINT, "Exists", ""), true),
            (toleration(names::DEAD_TAINT, "", "NoSchedule"), true),
            (
                toleration("node.kubernetes.io/not-ready", "Exists", "NoExecute"),
                false,
            ),
            (toleration("node.kubernetes.io/unreachable", "Exists", ""), false),
        ] {
            let mut pod = owned("apps/v1", "ReplicaSet");
            pod.tolerations = vec![toleration.clone()];
            assert_eq!(
                fate(&pod, Namespace::Open, false) != Fate::Delete,
                spared,
                "{toleration:?}"
            );
        }
    }

    #[test]
    fn nodes_that_others_work_on_are_left_to_them() {
        let none = std::iter::empty();
        assert_eq!(spared_node(false, None, false, none.clone()), None);
        assert_eq!(spared_node(false, Some("on"), false, none.clone()), None);
        assert!(spared_node(true, None, false, none.clone()).is_some());
        assert!(spared_node(false, Some("off"), false, none.clone()).is_some());
        assert!(spared_node(false, None, true, none).is_some());
        for key in REMOVERS {
            assert!(spared_node(false, None, false, ["a", key].into_iter()).is_some());
        }
        assert_eq!(
            spared_node(false, None, false, ["node.kubernetes.io/unreachable"].into_iter()),
            None
        );
    }
}
