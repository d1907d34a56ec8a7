//! A Kubernetes API in memory: what the remedy reads and writes, and what stock Kubernetes does by itself.
//!
//! ```text
//!  Call ─▶ server (UIDs, versions) ─▶ objects ─▶ watch events
//!                                       ▲
//!  power of the hosts ─▶ controllers ───┘   (kubelets, ReplicaSet, scheduler, slices, node controller)
//! ```
//!
//! The times are those measured on a real control plane (kubernetes.md); the rules are what a real server refuses.

mod controllers;
mod server;

use std::collections::BTreeMap;

use detector::remedy::command::{ApiEvent, LedgerState};
use detector::remedy::object::{Endpoint, Node, Pod, PodRef, Slice};

use crate::queue::Queue;
use controllers::Work;

/// The namespace of all that runs in the simulated cluster.
pub const NAMESPACE: &str = "default";

const MS: u64 = 1_000_000;

/// A Node, with what its kubelet and the node controller know.
#[derive(Clone, Debug)]
pub struct NodeObject {
    /// What a steward sees.
    pub node: Node,
    /// Since when its kubelet does not reach the API; None: it does.
    pub cut_since: Option<u64>,
    /// When the node controller gave it up.
    pub unknown_since: Option<u64>,
}

/// A pod, with where it is.
#[derive(Clone, Debug)]
pub struct PodObject {
    /// What a steward sees.
    pub pod: Pod,
    /// The Deployment it belongs to.
    pub set: String,
    /// Where it is bound to.
    pub node: Option<String>,
}

/// A deletion by a steward, and what was true of its node then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// When.
    pub at: u64,
    /// Which.
    pub pod: PodRef,
    /// Where it ran.
    pub node: String,
    /// Whether its host was alive and reached the API: the pod is then lost for nothing.
    pub alive: bool,
}

/// The API server, etcd and the controllers.
#[derive(Default)]
pub struct Api {
    version: u64,
    minted: u64,
    nodes: BTreeMap<String, NodeObject>,
    pods: BTreeMap<String, PodObject>,
    slices: BTreeMap<String, Slice>,
    sets: BTreeMap<String, usize>,
    ledger: LedgerState,
    work: Queue<Work>,
    changes: Vec<ApiEvent>,
    deletions: Vec<Deletion>,
    /// Writes that were carried out, by anybody.
    writes: u64,
}

impl Api {
    /// A cluster with these Nodes, given as name and UID, all of them Ready.
    #[must_use]
    pub fn new(nodes: &[(String, String)]) -> Self {
        let mut api = Self::default();
        for (name, uid) in nodes {
            let node = Node {
                name: name.clone(),
                uid: uid.clone(),
                resource_version: api.next_version(),
                ..Node::default()
            };
            api.nodes.insert(
                name.clone(),
                NodeObject {
                    node,
                    cut_since: None,
                    unknown_since: None,
                },
            );
        }
        api.ledger.resource_version = api.next_version();
        api.work.push(controllers::MONITOR_PERIOD, Work::Monitor);
        api
    }

    /// A Deployment with this many replicas and a Service with one slice: placed, started and Ready as it is told.
    pub fn deploy(&mut self, set: &str, replicas: usize) {
        self.sets.insert(set.to_owned(), replicas);
        let names: Vec<String> = self.nodes.keys().cloned().collect();
        for nth in 0..replicas {
            let name = self.create_pod(set);
            let pod = self.pods.get_mut(&name).expect("just created");
            pod.node = Some(names[nth % names.len()].clone());
            pod.pod.ready = true;
        }
        self.recompute_slice(set);
    }

    /// The state of all watched objects, as a steward's first list shows it.
    #[must_use]
    pub fn snapshot(&self) -> Vec<ApiEvent> {
        let nodes = self
            .nodes
            .values()
            .map(|object| ApiEvent::Node(object.node.clone()));
        let slices = self.slices.values().map(|slice| ApiEvent::Slice(slice.clone()));
        let ledger = std::iter::once(ApiEvent::Ledger(self.ledger.clone()));
        nodes
            .chain(slices)
            .chain(ledger)
            .chain(std::iter::once(ApiEvent::Paused(None)))
            .collect()
    }

    /// Watch events since the last call.
    pub fn take_changes(&mut self) -> Vec<ApiEvent> {
        std::mem::take(&mut self.changes)
    }

    /// A Node.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&NodeObject> {
        self.nodes.get(name)
    }

    /// All Nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeObject> {
        self.nodes.values()
    }

    /// All pods.
    pub fn pods(&self) -> impl Iterator<Item = &PodObject> {
        self.pods.values()
    }

    /// The ledger as it is written.
    #[must_use]
    pub fn ledger(&self) -> &LedgerState {
        &self.ledger
    }

    /// Deletions by stewards.
    #[must_use]
    pub fn deletions(&self) -> &[Deletion] {
        &self.deletions
    }

    /// Writes carried out so far, Events among them.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.writes
    }

    /// Pods of this Deployment that run on a living node and are Ready.
    #[must_use]
    pub fn serving(&self, set: &str) -> usize {
        self.pods
            .values()
            .filter(|object| object.set == set && object.pod.ready && !object.pod.terminating)
            .filter(|object| self.is_alive(object.node.as_deref()))
            .count()
    }

    /// Endpoints that clients are sent to, of this Deployment: on living nodes, and on dead ones.
    #[must_use]
    pub fn endpoints(&self, set: &str) -> (usize, usize) {
        let slice = self.slices.get(set);
        let ready = slice.into_iter().flat_map(|slice| &slice.endpoints).flatten();
        let (alive, dead): (Vec<&Endpoint>, Vec<&Endpoint>) = ready
            .filter(|endpoint| endpoint.ready)
            .partition(|endpoint| self.is_alive(Some(&endpoint.node)));
        (alive.len(), dead.len())
    }

    /// The pods that are bound to this node.
    #[must_use]
    pub fn pods_of_node(&self, node: &str) -> Vec<PodRef> {
        let there = self
            .pods
            .values()
            .filter(|object| object.node.as_deref() == Some(node));
        there.map(|object| object.pod.id.clone()).collect()
    }

    fn is_alive(&self, node: Option<&str>) -> bool {
        let object = node.and_then(|name| self.nodes.get(name));
        object.is_some_and(|object| object.cut_since.is_none())
    }

    fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    fn create_pod(&mut self, set: &str) -> String {
        self.minted += 1;
        let name = format!("{set}-{}", self.minted);
        let pod = Pod {
            id: PodRef {
                namespace: NAMESPACE.to_owned(),
                name: name.clone(),
                uid: format!("pod-{}", self.minted),
            },
            resource_version: self.next_version(),
            owner: Some(detector::remedy::object::Owner {
                api_version: "apps/v1".to_owned(),
                kind: "ReplicaSet".to_owned(),
                uid: format!("set-{set}"),
            }),
            ..Pod::default()
        };
        self.pods.insert(
            name.clone(),
            PodObject {
                pod,
                set: set.to_owned(),
                node: None,
            },
        );
        name
    }
}

#[cfg(test)]
mod tests;
