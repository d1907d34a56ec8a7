//! Slices by node, fed by the watch: no LIST stands between a verdict and the first write.

use std::collections::{BTreeMap, BTreeSet};

use crate::remedy::object::Slice;

type Key = (String, String);

/// All slices of the EndpointSlice controller, and which of them hold endpoints of which node.
#[derive(Clone, Debug, Default)]
pub(super) struct SliceIndex {
    slices: BTreeMap<Key, Slice>,
    nodes: BTreeMap<String, BTreeSet<Key>>,
    /// Positions that would not be ready, where nothing is written; until the slice changes.
    pretended: BTreeMap<Key, BTreeSet<usize>>,
}

impl SliceIndex {
    /// A slice as it is now.
    pub(super) fn insert(&mut self, slice: Slice) {
        let key = (slice.namespace.clone(), slice.name.clone());
        self.forget(&key);
        for endpoint in slice.endpoints.iter().flatten() {
            self.nodes
                .entry(endpoint.node.clone())
                .or_default()
                .insert(key.clone());
        }
        self.slices.insert(key, slice);
    }

    /// A patch of these positions was withheld.
    pub(super) fn pretend(&mut self, namespace: &str, name: &str, positions: &[usize]) {
        let key = (namespace.to_owned(), name.to_owned());
        self.pretended.entry(key).or_default().extend(positions);
    }

    /// What was pretended is not so.
    pub(super) fn forget_pretended(&mut self) {
        self.pretended.clear();
    }

    /// A slice is gone.
    pub(super) fn remove(&mut self, namespace: &str, name: &str) {
        self.forget(&(namespace.to_owned(), name.to_owned()));
    }

    fn forget(&mut self, key: &Key) {
        self.pretended.remove(key);
        let Some(old) = self.slices.remove(key) else {
            return;
        };
        for endpoint in old.endpoints.iter().flatten() {
            if let Some(keys) = self.nodes.get_mut(&endpoint.node) {
                keys.remove(key);
                if keys.is_empty() {
                    self.nodes.remove(&endpoint.node);
                }
            }
        }
    }

    /// The slices in which an endpoint of this node is ready, and where, but for the pods (UIDs) in `except`.
    pub(super) fn ready_on<'a>(
        &'a self,
        node: &'a str,
        except: &'a BTreeSet<String>,
    ) -> impl Iterator<Item = (&'a Slice, Vec<usize>)> {
        self.nodes.get(node).into_iter().flatten().filter_map(move |key| {
            let slice = self.slices.get(key)?;
            let mut positions = ready_positions(slice, node, except);
            if let Some(pretended) = self.pretended.get(key) {
                positions.retain(|position| !pretended.contains(position));
            }
            (!positions.is_empty()).then_some((slice, positions))
        })
    }

    /// The pods (UIDs) of this node that have an endpoint that is not ready.
    #[must_use]
    pub(super) fn unready_pods(&self, node: &str) -> BTreeSet<String> {
        self.nodes
            .get(node)
            .into_iter()
            .flatten()
            .filter_map(|key| self.slices.get(key))
            .flat_map(|slice| slice.endpoints.iter().flatten())
            .filter(|endpoint| endpoint.node == node && !endpoint.ready)
            .filter_map(|endpoint| endpoint.pod.clone())
            .collect()
    }
}

fn ready_positions(slice: &Slice, node: &str, except: &BTreeSet<String>) -> Vec<usize> {
    let is_due = |endpoint: &crate::remedy::object::Endpoint| {
        endpoint.ready
            && endpoint.node == node
            && !endpoint.pod.as_ref().is_some_and(|pod| except.contains(pod))
    };
    let places = slice.endpoints.iter().enumerate();
    places
        .filter(|(_, endpoint)| endpoint.as_ref().is_some_and(is_due))
        .map(|(position, _)| position)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedy::object::Endpoint;

    fn slice(name: &str, endpoints: &[(&str, &str, bool)]) -> Slice {
        Slice {
            namespace: "d".into(),
            name: name.into(),
            endpoints: endpoints
                .iter()
                .map(|&(node, pod, ready)| {
                    (!node.is_empty()).then(|| Endpoint {
                        node: node.into(),
                        pod: Some(pod.into()),
                        ready,
                    })
                })
                .collect(),
        }
    }

    fn ready(index: &SliceIndex, node: &str, except: &[&str]) -> Vec<(String, Vec<usize>)> {
        let except = except.iter().map(|&uid| uid.to_owned()).collect();
        let found = index.ready_on(node, &except);
        found.map(|(slice, at)| (slice.name.clone(), at)).collect()
    }

    #[test]
    fn positions_are_the_slices_own_and_others_are_left_out() {
        let mut index = SliceIndex::default();
        index.insert(slice(
            "s",
            &[
                ("", "x", true),
                ("a", "p", true),
                ("b", "q", true),
                ("a", "r", true),
            ],
        ));
        assert_eq!(ready(&index, "a", &[]), [("s".to_owned(), vec![1, 3])]);
        assert_eq!(ready(&index, "a", &["p"]), [("s".to_owned(), vec![3])]);
        assert_eq!(ready(&index, "a", &["p", "r"]), []);
        assert_eq!(ready(&index, "c", &[]), []);
    }

    #[test]
    fn what_is_pretended_holds_until_the_slice_changes() {
        let mut index = SliceIndex::default();
        index.insert(slice("s", &[("a", "p", true), ("a", "r", true)]));
        index.pretend("d", "s", &[0]);
        assert_eq!(ready(&index, "a", &[]), [("s".to_owned(), vec![1])]);
        index.insert(slice("s", &[("a", "p", true)]));
        assert_eq!(ready(&index, "a", &[]), [("s".to_owned(), vec![0])]);
    }

    #[test]
    fn a_change_replaces_what_was_known() {
        let mut index = SliceIndex::default();
        index.insert(slice("s", &[("a", "p", true)]));
        index.insert(slice("s", &[("b", "p", true), ("a", "r", false)]));
        assert_eq!(ready(&index, "a", &[]), []);
        assert_eq!(index.unready_pods("a"), ["r".to_owned()].into());
        index.remove("d", "s");
        assert!(index.slices.is_empty() && index.nodes.is_empty());
    }
}
