//! What is read about the pods of a node before anything is decided about them: a list, their namespaces, their claims.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;

use crate::identity::MemberId;
use crate::remedy::calls::Purpose;
use crate::remedy::case::Case;
use crate::remedy::command::{Answer, Call, Outcome};
use crate::remedy::policy::{self, Namespace};
use crate::remedy::{RETRY, Remedy, budget};
use crate::time::Instant;

impl Remedy {
    /// At the early warning: Node and pods, so that no read stands between the verdict and the first write. Not for more
    /// than could be condemned at once: in a storm the API server has other things to do.
    pub(super) fn prefetch(&mut self, subject: MemberId, now: Instant) {
        let busy = self.cases.values().filter(|case| case.reads.listing).count();
        if busy > budget::limit(self.size.members) {
            return;
        }
        let Some(mut case) = self.cases.remove(&subject) else {
            return;
        };
        if case.reads.pods.is_none() && !case.reads.listing {
            self.read_node(subject, &mut case, now);
            self.list_pods(subject, &mut case, now);
        }
        self.cases.insert(subject, case);
    }

    pub(super) fn list_pods(&mut self, subject: MemberId, case: &mut Case, now: Instant) {
        let whom = self.whom(subject, case);
        case.reads.listing = true;
        let node = whom.node.clone();
        self.call(&whom, None, Call::ListPods { node }, Purpose::Pods, now);
    }

    /// A list came.
    pub(super) fn pods_answered(
        &mut self,
        subject: MemberId,
        case: &mut Case,
        outcome: Outcome,
        now: Instant,
    ) {
        case.reads.listing = false;
        match outcome {
            Outcome::Done(Answer::Pods(pods)) => {
                (case.reads.pods, case.reads.listed) = (Some(pods), now);
                self.read_what_decides(subject, case, now);
            }
            _ => case.retry = now + RETRY,
        }
    }

    /// Namespaces of all pods, and the claims that decide.
    fn read_what_decides(&mut self, subject: MemberId, case: &mut Case, now: Instant) {
        let whom = self.whom(subject, case);
        let mut namespaces = BTreeSet::new();
        let mut claims = BTreeSet::new();
        for pod in case.reads.pods.iter().flatten() {
            namespaces.insert(pod.id.namespace.clone());
            if policy::needs_claims(pod, Namespace::Open) {
                let of_pod = pod.claims.iter();
                claims.extend(of_pod.map(|name| (pod.id.namespace.clone(), name.clone())));
            }
        }
        for name in namespaces {
            if !case.reads.namespaces.contains_key(&name) {
                case.reads.namespaces.insert(name.clone(), None);
                let call = Call::ReadNamespace { name: name.clone() };
                self.call(&whom, None, call, Purpose::Namespace(name), now);
            }
        }
        for (namespace, name) in claims {
            let key = (namespace.clone(), name.clone());
            if let Entry::Vacant(claim) = case.reads.claims.entry(key) {
                claim.insert(None);
                let call = Call::ReadClaim {
                    namespace: namespace.clone(),
                    name: name.clone(),
                };
                self.call(&whom, None, call, Purpose::Claim(namespace, name), now);
            }
        }
    }

    #[expect(clippy::unused_self, reason = "one shape for all answers")]
    pub(super) fn namespace_answered(&self, case: &mut Case, name: String, outcome: &Outcome) {
        let namespace = match outcome {
            Outcome::Done(Answer::Namespace { opted_out: false }) => Namespace::Open,
            Outcome::Done(Answer::Namespace { opted_out: true }) => Namespace::OptedOut,
            _ => Namespace::Unreadable,
        };
        case.reads.namespaces.insert(name, Some(namespace));
    }

    #[expect(clippy::unused_self, reason = "one shape for all answers")]
    pub(super) fn claim_answered(&self, case: &mut Case, namespace: String, name: String, outcome: &Outcome) {
        let shared = matches!(outcome, Outcome::Done(Answer::Claim { shared: true }));
        case.reads.claims.insert((namespace, name), Some(shared));
    }
}
