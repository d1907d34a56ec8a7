//! What the API server does with a call: preconditions first, then the change, then the watch event.

use detector::judgement::Verdict;
use detector::names;
use detector::remedy::command::{Answer, ApiEvent, Call, Outcome};
use detector::remedy::ledger::{KEY, Ledger};
use detector::remedy::marks;
use detector::remedy::object::{PodRef, Taint};

use super::controllers::{self, Work};
use super::{Api, Deletion, MS};

impl Api {
    /// Carries out one call at `now`: what a writer that reached the server is answered.
    pub fn call(&mut self, call: &Call, now: u64) -> Outcome {
        let outcome = self.carry_out(call, now);
        if call.is_write() && matches!(outcome, Outcome::Done(_)) {
            self.writes += 1;
        }
        outcome
    }

    fn carry_out(&mut self, call: &Call, now: u64) -> Outcome {
        match call {
            Call::ReadLedger => Outcome::Done(Answer::Ledger(self.ledger.clone())),
            Call::ReadNode { name } => self.nodes.get(name).map_or(Outcome::Missing, |object| {
                Outcome::Done(Answer::Node(object.node.clone()))
            }),
            Call::ListPods { node } => {
                let pods = self
                    .pods
                    .values()
                    .filter(|object| object.node.as_ref() == Some(node));
                Outcome::Done(Answer::Pods(pods.map(|object| object.pod.clone()).collect()))
            }
            Call::ReadNamespace { .. } => Outcome::Done(Answer::Namespace { opted_out: false }),
            Call::ReadClaim { .. } => Outcome::Done(Answer::Claim { shared: false }),
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
            } => self.patch_slice(name, node, positions, now),
            Call::Mark { pod, .. } => self.mark(pod, now),
            Call::Delete {
                pod,
                resource_version,
            } => self.delete(pod, resource_version, now),
            Call::Condition {
                node, uid, verdict, ..
            } => self.write_condition(node, uid, *verdict),
            Call::Event { .. } => Outcome::Done(Answer::Nothing),
        }
    }

    fn write_ledger(&mut self, version: &str, ledger: &Ledger) -> Outcome {
        if self.ledger.resource_version != version {
            return Outcome::Conflict;
        }
        let Ok(text) = serde_json::to_string(ledger) else {
            return Outcome::Refused(format!("data.{KEY}: not JSON"));
        };
        self.ledger.text = Some(text);
        self.ledger.resource_version = self.next_version();
        self.changes.push(ApiEvent::Ledger(self.ledger.clone()));
        Outcome::Done(Answer::Ledger(self.ledger.clone()))
    }

    fn write_taints(&mut self, name: &str, uid: &str, version: &str, taints: &[Taint]) -> Outcome {
        let next = self.next_version();
        let Some(object) = self.nodes.get_mut(name) else {
            return Outcome::Missing;
        };
        if object.node.uid != uid || object.node.resource_version != version {
            return Outcome::Conflict;
        }
        let foreign = |taints: &[Taint]| -> Vec<Taint> {
            taints.iter().filter(|taint| !taint.is_ours()).cloned().collect()
        };
        let ours_only = taints
            .iter()
            .filter(|taint| taint.is_ours())
            .all(|taint| taint.effect == names::NO_SCHEDULE);
        if foreign(&object.node.taints) != foreign(taints) || !ours_only {
            return Outcome::Refused("admission: only our own taints, NoSchedule".to_owned());
        }
        object.node.taints = taints.to_vec();
        object.node.resource_version = next;
        self.changes.push(ApiEvent::Node(object.node.clone()));
        Outcome::Done(Answer::Node(object.node.clone()))
    }

    fn patch_slice(&mut self, name: &str, node: &str, positions: &[usize], now: u64) -> Outcome {
        let Some(slice) = self.slices.get_mut(name) else {
            return Outcome::Missing;
        };
        for position in positions {
            let is_of_node = slice
                .endpoints
                .get(*position)
                .and_then(Option::as_ref)
                .is_some_and(|endpoint| endpoint.node == node);
            if !is_of_node {
                return Outcome::Conflict;
            }
        }
        for position in positions {
            if let Some(Some(endpoint)) = slice.endpoints.get_mut(*position) {
                endpoint.ready = false;
            }
        }
        let changed = slice.clone();
        self.changes.push(ApiEvent::Slice(changed.clone()));
        self.work
            .push(now + controllers::SLICE_RECHECK, Work::Slice(name.to_owned()));
        Outcome::Done(Answer::Slice(changed))
    }

    fn mark(&mut self, pod: &PodRef, now: u64) -> Outcome {
        let next = self.next_version();
        let Some(object) = self.pods.get_mut(&pod.name) else {
            return Outcome::Missing;
        };
        if object.pod.id.uid != pod.uid {
            return Outcome::Refused("metadata.uid: Invalid value: field is immutable".to_owned());
        }
        object.pod.ready = false;
        object.pod.marked = true;
        object.pod.resource_version.clone_from(&next);
        let (set, node) = (object.set.clone(), object.node.clone());
        self.work.push(now + controllers::SLICE_DELAY, Work::Slice(set));
        if let Some(node) = node.filter(|node| self.is_alive(Some(node))) {
            self.work
                .push(now + controllers::KUBELET_SYNC, Work::Kubelet(node));
        }
        Outcome::Done(Answer::Version(next))
    }

    fn delete(&mut self, pod: &PodRef, version: &str, now: u64) -> Outcome {
        let Some(object) = self.pods.get(&pod.name) else {
            return Outcome::Missing;
        };
        if object.pod.id.uid != pod.uid || object.pod.resource_version != version {
            return Outcome::Conflict;
        }
        let node = object.node.clone().unwrap_or_default();
        self.deletions.push(Deletion {
            at: now,
            pod: pod.clone(),
            alive: self.is_alive(Some(&node)),
            node,
        });
        self.terminate(&pod.name, now);
        Outcome::Done(Answer::Nothing)
    }

    fn write_condition(&mut self, name: &str, uid: &str, verdict: Verdict) -> Outcome {
        let next = self.next_version();
        let Some(object) = self.nodes.get_mut(name) else {
            return Outcome::Missing;
        };
        if object.node.uid != uid {
            return Outcome::Refused("metadata.uid: Invalid value: field is immutable".to_owned());
        }
        object.node.reachable = Some(marks::reachable(verdict).0.to_owned());
        object.node.resource_version = next;
        self.changes.push(ApiEvent::Node(object.node.clone()));
        Outcome::Done(Answer::Nothing)
    }

    /// An agent's own word on its Node: that it lives, though no probe reaches it.
    pub fn says_alive(&mut self, name: &str, word: String) {
        let next = self.next_version();
        if let Some(object) = self.nodes.get_mut(name) {
            object.node.alive = Some(word);
            object.node.resource_version = next;
            self.changes.push(ApiEvent::Node(object.node.clone()));
        }
    }

    pub(super) fn terminate(&mut self, name: &str, now: u64) {
        let next = self.next_version();
        let Some(object) = self.pods.get_mut(name) else {
            return;
        };
        object.pod.terminating = true;
        object.pod.resource_version = next;
        let (set, node) = (object.set.clone(), object.node.clone());
        self.work
            .push(now + controllers::SLICE_DELAY, Work::Slice(set.clone()));
        self.work.push(now + controllers::REPLACE, Work::Replace(set));
        if let Some(node) = node.filter(|node| self.is_alive(Some(node))) {
            self.work.push(now + 2_000 * MS, Work::Kubelet(node));
        }
    }
}
