//! One round over the pods of a dead node: list, marks, look, deletes. The first one follows the taint; the later ones
//! look for pods that were bound late.

use std::collections::{BTreeMap, BTreeSet};

use crate::remedy::case::Reads;
use crate::remedy::object::{Pod, PodRef};
use crate::remedy::policy::{self, Fate};
use crate::time::Instant;

/// Where a round stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stage {
    /// Until the list is there, and what decides about its pods.
    Reading,
    /// Until all marks are answered.
    Marking(BTreeSet<String>),
    /// Until the second look is due.
    Waiting(Instant),
    /// Until the look with this nonce is answered, or overdue.
    Looking {
        /// Of which look.
        nonce: u64,
        /// When another one is taken.
        overdue: Instant,
        /// Answered: dead. Until when that authorises a delete.
        dead_until: Option<Instant>,
    },
    /// Until all deletes are answered.
    Deleting(BTreeSet<String>),
}

/// What the API itself says of the Node before its pods are deleted: the watch may hang on a server that died with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum NodeRead {
    /// Not asked.
    No,
    /// Asked then.
    Asked(Instant),
    /// Asked then, and answered: the Node as it is known is no older.
    Seen(Instant),
}

/// A round.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Round {
    /// 0: the first; n: the n-th of [`crate::profile::LATE_PODS`].
    pub(super) late: usize,
    /// When the deletes of the first round were done; the first round: when it began.
    pub(super) since: Instant,
    /// Where it stands.
    pub(super) stage: Stage,
    /// The read of the Node beside the look.
    pub(super) node: NodeRead,
    /// Pods that are marked and may be deleted, by UID, with the version that the mark made.
    pub(super) doomed: BTreeMap<String, (PodRef, String)>,
}

impl Round {
    /// At its beginning.
    pub(super) const fn new(late: usize, since: Instant) -> Self {
        Self {
            late,
            since,
            stage: Stage::Reading,
            node: NodeRead::No,
            doomed: BTreeMap::new(),
        }
    }
}

/// What is to be done with the pods of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// To be marked, sorted by owner: one EndpointSlice is then changed once, not once a pod.
    pub(super) mark: Vec<Pod>,
    /// Of all, marked already or to be marked: UIDs that may be deleted.
    pub(super) delete: BTreeMap<String, (PodRef, String)>,
    /// Not deleted, and why.
    pub(super) spare: Vec<(PodRef, &'static str)>,
}

/// The plan for a list; None: something that decides is not yet read.
pub(super) fn plan(
    pods: &[Pod],
    reads: &Reads,
    settled: &BTreeSet<String>,
    marked: &BTreeSet<String>,
) -> Option<Plan> {
    let mut plan = Plan::default();
    for pod in pods {
        let uid = &pod.id.uid;
        if settled.contains(uid) {
            continue;
        }
        let namespace = reads.namespace(pod)?;
        let shared = if policy::needs_claims(pod, namespace) {
            reads.shared(pod)?
        } else {
            false
        };
        let mut fate = policy::fate(pod, namespace, shared);
        // Only the kubelet makes a pod ready again: it lives.
        if pod.ready && marked.contains(uid) && fate == Fate::Delete {
            fate = Fate::Ignore("is Ready again after our mark: its kubelet lives");
        }
        match fate {
            Fate::Delete => {
                let doomed = (pod.id.clone(), pod.resource_version.clone());
                plan.delete.insert(uid.clone(), doomed);
            }
            Fate::Spare(reason) | Fate::Ignore(reason) => plan.spare.push((pod.id.clone(), reason)),
        }
        if !matches!(fate, Fate::Ignore(_)) && (pod.ready || !pod.marked) {
            plan.mark.push(pod.clone());
        }
    }
    plan.mark.sort_by(|a, b| {
        let key = |pod: &Pod| {
            let owner = pod.owner.as_ref().map(|owner| owner.uid.clone());
            (pod.id.namespace.clone(), owner, pod.id.name.clone())
        };
        key(a).cmp(&key(b))
    });
    Some(plan)
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
mod tests {
    use super::*;
    use crate::remedy::object::Owner;
    use crate::remedy::policy::Namespace;

    fn pod(name: &str, owner: &str) -> Pod {
        Pod {
            id: PodRef {
                namespace: "d".into(),
                name: name.into(),
                uid: format!("uid-{name}"),
            },
            resource_version: "1".into(),
            owner: Some(Owner {
                api_version: "apps/v1".into(),
                kind: "ReplicaSet".into(),
                uid: owner.into(),
            }),
            ready: true,
            ..Pod::default()
        }
    }

    fn open() -> Reads {
        Reads {
            namespaces: [("d".to_owned(), Some(Namespace::Open))].into(),
            ..Reads::default()
        }
    }

    fn names(pods: &[Pod]) -> Vec<&str> {
        pods.iter().map(|pod| pod.id.name.as_str()).collect()
    }

    #[test]
    fn marks_are_sorted_by_owner() {
        let pods = [pod("a", "y"), pod("b", "x"), pod("c", "y"), pod("d", "x")];
        let plan = plan(&pods, &open(), &BTreeSet::new(), &BTreeSet::new()).unwrap();
        assert_eq!(names(&plan.mark), ["b", "d", "a", "c"]);
        assert_eq!(plan.delete.len(), 4);
    }

    #[test]
    fn nothing_is_planned_before_what_decides_is_read() {
        let mut with_claim = pod("a", "x");
        with_claim.claims = vec!["data".into()];
        let pods = [with_claim];
        let none = BTreeSet::new();
        assert_eq!(
            plan(&[pod("b", "x")], &Reads::default(), &none, &none),
            None,
            "its namespace"
        );
        assert_eq!(plan(&pods, &Reads::default(), &none, &none), None);
        assert_eq!(plan(&pods, &open(), &none, &none), None);
        for shared in [false, true] {
            let mut reads = open();
            reads.claims.insert(("d".into(), "data".into()), Some(shared));
            let plan = plan(&pods, &reads, &none, &none).unwrap();
            assert_eq!(plan.delete.len(), usize::from(shared));
            assert_eq!(plan.mark.len(), 1, "marked in any case");
        }
    }

    #[test]
    fn settled_pods_are_left_and_marked_ones_not_marked_again() {
        let mut marked = pod("a", "x");
        (marked.marked, marked.ready) = (true, false);
        let pods = [marked, pod("b", "x")];
        let settled = ["uid-b".to_owned()].into();
        let plan = plan(&pods, &open(), &settled, &BTreeSet::new()).unwrap();
        assert_eq!(plan.mark, []);
        assert_eq!(plan.delete["uid-a"].1, "1");
        assert_eq!(plan.delete.len(), 1);
    }

    #[test]
    fn a_pod_that_is_ready_again_has_a_living_kubelet() {
        let again = [pod("a", "x")];
        let marked = ["uid-a".to_owned()].into();
        let plan = plan(&again, &open(), &BTreeSet::new(), &marked).unwrap();
        assert!(plan.delete.is_empty() && plan.mark.is_empty());
        assert_eq!(plan.spare.len(), 1);
    }
}
