//! Stock Kubernetes: what its controllers and kubelets do by themselves, at the times measured on a real one.

use detector::remedy::command::ApiEvent;
use detector::remedy::object::{Endpoint, Slice, Taint};

use super::{Api, MS, NAMESPACE};

/// The node controller looks at all Nodes this often.
pub(super) const MONITOR_PERIOD: u64 = 5_000 * MS;

/// A kubelet that has not renewed for this long is given up (stock: 40 s).
const GRACE: u64 = 40_000 * MS;

/// Its pods are deleted this long after that (`tolerationSeconds` of the default tolerations).
const EVICTION: u64 = 300_000 * MS;

/// A pod's change → its slice (15–35 ms).
pub(super) const SLICE_DELAY: u64 = 25 * MS;

/// A slice that somebody else changed is computed again after this (`endpointSliceChangeMinSyncDelay`).
pub(super) const SLICE_RECHECK: u64 = 1_000 * MS;

/// A pod goes → its replacement is created.
pub(super) const REPLACE: u64 = 18 * MS;

/// Created → bound.
const BIND: u64 = 10 * MS;

/// Bound → Ready.
const START: u64 = 700 * MS;

/// A living kubelet puts the status of its pods right within this time.
pub(super) const KUBELET_SYNC: u64 = 5_000 * MS;

/// A kubelet that comes back is Ready after this time...
const KUBELET_RETURN: u64 = 700 * MS;

/// What is to be done later.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// The node controller's look.
    Monitor,
    /// A Deployment's count is looked at.
    Replace(String),
    /// The scheduler binds this pod.
    Bind(String),
    /// Its kubelet has started it.
    Started(String),
    /// A slice is computed from its pods.
    Slice(String),
    /// A kubelet puts its pods right.
    Kubelet(String),
    /// A kubelet finds the API again.
    Back(String),
}

impl Api {
    /// When something is due.
    #[must_use]
    pub fn poll_timeout(&self) -> u64 {
        self.work.next_at().unwrap_or(u64::MAX)
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: u64) {
        while let Some((at, work)) = self.work.pop(now) {
            match work {
                Work::Monitor => self.monitor(at),
                Work::Replace(set) => self.replace(&set, at),
                Work::Bind(pod) => self.bind(&pod, at),
                Work::Started(pod) => self.started(&pod, at),
                Work::Slice(set) => self.recompute_slice(&set),
                Work::Kubelet(node) => self.kubelet(&node, at),
                Work::Back(node) => self.set_kubelet(&node, true, at),
            }
        }
    }

    /// A kubelet loses, or finds again, its way to the API: power, pause or cut.
    pub fn set_kubelet(&mut self, node: &str, reaches: bool, now: u64) {
        let Some(object) = self.nodes.get_mut(node) else {
            return;
        };
        if reaches && object.cut_since.take().is_some() {
            self.work
                .push(now + KUBELET_RETURN, Work::Kubelet(node.to_owned()));
        } else if !reaches && object.cut_since.is_none() {
            object.cut_since = Some(now);
        }
    }

    /// It finds the API again at `at`, by itself.
    pub fn set_kubelet_later(&mut self, node: &str, at: u64) {
        self.work.push(at, Work::Back(node.to_owned()));
    }

    fn monitor(&mut self, now: u64) {
        self.work.push(now + MONITOR_PERIOD, Work::Monitor);
        let mut given_up = Vec::new();
        let mut evicted = Vec::new();
        for (name, object) in &mut self.nodes {
            match (object.cut_since, object.unknown_since) {
                (Some(since), None) if now - since >= GRACE => {
                    object.unknown_since = Some(now);
                    given_up.push(name.clone());
                }
                (Some(_), Some(unknown)) if now - unknown >= EVICTION => evicted.push(name.clone()),
                (None, Some(_)) => object.unknown_since = None,
                _ => {}
            }
        }
        for node in given_up {
            self.set_taint(&node, true);
            for pod in self.pods_of(&node) {
                self.set_ready(&pod, false, now);
            }
        }
        for node in evicted {
            for pod in self.pods_of(&node) {
                if self.pods.get(&pod).is_some_and(|object| !object.pod.terminating) {
                    self.terminate(&pod, now);
                }
            }
        }
    }

    fn replace(&mut self, set: &str, now: u64) {
        let wanted = self.sets.get(set).copied().unwrap_or(0);
        let of_set = self.pods.values().filter(|object| object.set == set);
        let there = of_set.filter(|object| !object.pod.terminating).count();
        for _ in there..wanted {
            let pod = self.create_pod(set);
            self.work.push(now + BIND, Work::Bind(pod));
        }
    }

    /// The least loaded Node without a taint.
    fn bind(&mut self, name: &str, now: u64) {
        let load = |node: &str| {
            let there = self
                .pods
                .values()
                .filter(|object| object.node.as_deref() == Some(node));
            there.filter(|object| !object.pod.terminating).count()
        };
        let free = self.nodes.values().filter(|object| object.node.taints.is_empty());
        let node = free
            .map(|object| object.node.name.clone())
            .min_by_key(|node| (load(node), node.clone()));
        let next = self.next_version();
        let Some(object) = self.pods.get_mut(name) else {
            return;
        };
        object.node = node;
        object.pod.resource_version = next;
        let work = if object.node.is_some() {
            Work::Started(name.to_owned())
        } else {
            Work::Bind(name.to_owned())
        };
        self.work.push(now + START, work);
    }

    fn started(&mut self, name: &str, now: u64) {
        let node = self.pods.get(name).and_then(|object| object.node.clone());
        if self.is_alive(node.as_deref()) {
            self.set_ready(name, true, now);
        }
    }

    fn kubelet(&mut self, node: &str, now: u64) {
        if !self.is_alive(Some(node)) {
            return;
        }
        self.set_taint(node, false);
        for name in self.pods_of(node) {
            let Some(object) = self.pods.get_mut(&name) else {
                continue;
            };
            if object.pod.terminating {
                let set = object.set.clone();
                self.pods.remove(&name);
                self.work.push(now + SLICE_DELAY, Work::Slice(set));
            } else {
                object.pod.marked = false;
                self.set_ready(&name, true, now);
            }
        }
    }

    fn set_ready(&mut self, name: &str, ready: bool, now: u64) {
        let next = self.next_version();
        if let Some(object) = self.pods.get_mut(name)
            && object.pod.ready != ready
        {
            object.pod.ready = ready;
            object.pod.resource_version = next;
            self.work.push(now + SLICE_DELAY, Work::Slice(object.set.clone()));
        }
    }

    /// The node controller's own taint.
    fn set_taint(&mut self, name: &str, there: bool) {
        const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
        let next = self.next_version();
        let Some(object) = self.nodes.get_mut(name) else {
            return;
        };
        let is_there = object.node.taints.iter().any(|taint| taint.key == UNREACHABLE);
        if is_there == there {
            return;
        }
        if there {
            object.node.taints.push(Taint {
                key: UNREACHABLE.to_owned(),
                value: None,
                effect: "NoExecute".to_owned(),
                time_added: None,
            });
        } else {
            object.node.taints.retain(|taint| taint.key != UNREACHABLE);
        }
        object.node.resource_version = next;
        self.changes.push(ApiEvent::Node(object.node.clone()));
    }

    fn pods_of(&self, node: &str) -> Vec<String> {
        let there = self
            .pods
            .iter()
            .filter(|(_, object)| object.node.as_deref() == Some(node));
        there.map(|(name, _)| name.clone()).collect()
    }

    /// The EndpointSlice controller: what the pods say, whatever anybody wrote.
    pub(super) fn recompute_slice(&mut self, set: &str) {
        let pods = self.pods.values().filter(|object| object.set == set);
        let endpoints: Vec<Option<Endpoint>> = pods
            .filter_map(|object| {
                object.node.clone().map(|node| {
                    Some(Endpoint {
                        node,
                        pod: Some(object.pod.id.uid.clone()),
                        ready: object.pod.ready && !object.pod.terminating,
                    })
                })
            })
            .collect();
        let slice = Slice {
            namespace: NAMESPACE.to_owned(),
            name: set.to_owned(),
            endpoints,
        };
        if self.slices.get(set) != Some(&slice) {
            self.slices.insert(set.to_owned(), slice.clone());
            self.changes.push(ApiEvent::Slice(slice));
        }
    }
}
