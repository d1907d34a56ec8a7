//! The API server of these tests: it does what a steward calls for, and panics where that breaks an invariant.
//!
//! There are no controllers beside it: what the rest of Kubernetes does, a test does itself, at the moment that it is
//! about. The whole, with controllers, is in tests/sim.

use super::world::{START, World, id};
use crate::judgement::Verdict;
use crate::profile::FRESH_LOOK;
use crate::remedy::command::{Answer, ApiEvent, Call, LedgerState, Outcome};
use crate::remedy::ledger::Ledger;
use crate::remedy::object::{Node, OwnTaint, PodRef, Taint};
use crate::remedy::{budget, marks};

impl World {
    pub(super) fn carry_out(&mut self, n: usize, call: &Call) -> Outcome {
        if call.is_write() {
            self.writes.push((self.now - START, n, call.clone()));
        }
        match call {
            Call::ReadLedger => {
                self.reads_of_ledger += 1;
                Outcome::Done(Answer::Ledger(self.ledger.clone()))
            }
            Call::ReadNode { name } => match self.nodes.get(name) {
                Some(node) => Outcome::Done(Answer::Node(node.clone())),
                None => Outcome::Missing,
            },
            Call::ListPods { node } => {
                let pods = self.pods.values().filter(|(on, _)| on == node);
                Outcome::Done(Answer::Pods(pods.map(|(_, pod)| pod.clone()).collect()))
            }
            Call::ReadNamespace { name } => Outcome::Done(Answer::Namespace {
                opted_out: name == "quiet",
            }),
            Call::ReadClaim { name, .. } => Outcome::Done(Answer::Claim {
                shared: name == "shared",
            }),
            Call::Ledger {
                resource_version,
                ledger,
            } => self.write_ledger(resource_version, ledger),
            Call::Taints {
                node,
                uid,
                resource_version,
                taints,
            } => self.write_taints(node, uid, resource_version, taints),
            Call::Slice {
                name,
                node,
                positions,
                ..
            } => self.write_slice(name, node, positions),
            Call::Mark { pod, .. } => self.write_mark(pod),
            Call::Delete {
                pod,
                resource_version,
            } => self.write_delete(pod, resource_version),
            Call::Condition { node, verdict, .. } => self.write_condition(node, *verdict),
            Call::Event { .. } => Outcome::Done(Answer::Nothing),
        }
    }

    fn write_ledger(&mut self, resource_version: &str, ledger: &Ledger) -> Outcome {
        if self.ledger.resource_version != resource_version {
            return Outcome::Conflict;
        }
        let counted = ledger
            .entries
            .iter()
            .filter(|entry| budget::counts(entry))
            .count();
        assert!(
            counted <= budget::limit(self.members.len()),
            "over budget: {ledger:?}"
        );
        self.ledger = LedgerState {
            resource_version: self.next_version(),
            text: Some(ledger.text()),
        };
        let event = ApiEvent::Ledger(self.ledger.clone());
        self.show(&event);
        Outcome::Done(Answer::Ledger(self.ledger.clone()))
    }

    /// Invariant: nothing is written about a node that the ledger does not name.
    fn assert_listed(&self, node: &str, what: &str) {
        assert!(
            self.entries().iter().any(|entry| entry.node == node),
            "{what} of {node} without an entry in the ledger"
        );
    }

    /// Invariant: no more nodes bear our taint of the degraded than a tenth, and one.
    fn assert_room(&self, node: &str) {
        let bear = self.tainted(OwnTaint::Degraded);
        assert!(
            bear.len() < budget::limit(self.members.len()),
            "{node} beside {bear:?}"
        );
    }

    /// The nodes that bear one of our taints.
    pub(super) fn tainted(&self, own: OwnTaint) -> Vec<&str> {
        let nodes = self.nodes.values().filter(|node| node.own_taint(own).is_some());
        nodes.map(|node| node.name.as_str()).collect()
    }

    fn write_taints(&mut self, name: &str, uid: &str, version: &str, taints: &[Taint]) -> Outcome {
        let has = |taints: &[Taint], own: OwnTaint| taints.iter().any(|taint| own.is(taint));
        let old = self.nodes.get(name).map_or(&[][..], |node| &node.taints);
        let adds = |own| has(taints, own) && !has(old, own);
        if adds(OwnTaint::Dead) {
            self.assert_listed(name, "taint");
        }
        if adds(OwnTaint::Degraded) {
            self.assert_room(name);
        }
        let next = self.next_version();
        let Some(node) = self.nodes.get_mut(name) else {
            return Outcome::Missing;
        };
        if node.uid != uid || node.resource_version != version {
            return Outcome::Conflict;
        }
        assert!(
            taints.iter().any(|taint| taint.key == "other"),
            "others' taints stay"
        );
        node.taints = taints.to_vec();
        node.resource_version = next;
        let node = node.clone();
        self.show(&ApiEvent::Node(node.clone()));
        Outcome::Done(Answer::Node(node))
    }

    fn write_slice(&mut self, name: &str, node: &str, positions: &[usize]) -> Outcome {
        self.assert_listed(node, "slice");
        let Some(slice) = self.slices.get_mut(name) else {
            return Outcome::Missing;
        };
        let of_node = |position: &usize| {
            let endpoint = slice.endpoints.get(*position).and_then(Option::as_ref);
            endpoint.is_some_and(|endpoint| endpoint.node == node)
        };
        if !positions.iter().all(of_node) {
            return Outcome::Conflict;
        }
        for &position in positions {
            slice.endpoints[position].as_mut().unwrap().ready = false;
        }
        let slice = slice.clone();
        self.show(&ApiEvent::Slice(slice.clone()));
        Outcome::Done(Answer::Slice(slice))
    }

    fn is_tainted(&self, node: &str) -> bool {
        self.nodes.get(node).is_some_and(Node::is_tainted)
    }

    fn write_mark(&mut self, pod: &PodRef) -> Outcome {
        if let Some((name, outcome)) = &self.answer_marks_of
            && *name == pod.name
        {
            return outcome.clone();
        }
        let next = self.next_version();
        let Some((node, _)) = self.pods.get(&pod.uid) else {
            return Outcome::Missing;
        };
        let node = node.clone();
        self.assert_listed(&node, "mark");
        assert!(self.is_tainted(&node), "{pod} marked, but {node} is not tainted");
        if let Some((_, pod)) = self.pods.get_mut(&pod.uid) {
            (pod.marked, pod.ready) = (true, false);
            pod.resource_version.clone_from(&next);
        }
        Outcome::Done(Answer::Version(next))
    }

    fn write_delete(&mut self, pod: &PodRef, version: &str) -> Outcome {
        let Some((node, found)) = self.pods.get(&pod.uid) else {
            return Outcome::Missing;
        };
        assert!(self.is_tainted(node), "{pod} deleted, but {node} is not tainted");
        assert!(found.marked, "{pod} deleted, but not marked");
        let kind = found.owner.as_ref().map(|owner| owner.kind.as_str());
        assert_eq!(kind, Some("ReplicaSet"), "{pod} deleted");
        let look = self.looks.get(&id(node)).copied().unwrap_or_default();
        assert!(
            look <= self.now && self.now - look <= FRESH_LOOK,
            "{pod} deleted without a fresh look"
        );
        if found.resource_version != version {
            return Outcome::Conflict;
        }
        let next = self.next_version();
        if let Some((_, pod)) = self.pods.get_mut(&pod.uid) {
            pod.terminating = true;
            pod.resource_version = next;
        }
        Outcome::Done(Answer::Nothing)
    }

    fn write_condition(&mut self, name: &str, verdict: Verdict) -> Outcome {
        let version = self.next_version();
        let Some(node) = self.nodes.get_mut(name) else {
            return Outcome::Missing;
        };
        node.reachable = Some(marks::reachable(verdict).0.into());
        node.resource_version = version;
        let event = ApiEvent::Node(node.clone());
        self.show(&event);
        Outcome::Done(Answer::Nothing)
    }
}
