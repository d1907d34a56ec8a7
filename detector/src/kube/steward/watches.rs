//! IO: one task a kind of object follows its watch, and tells the steward what changed.
#![expect(clippy::disallowed_methods, reason = "an IO file: watches are tasks")]

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::kube::agent::map_target;
use crate::kube::client::Servers;
use crate::kube::view::{MANAGED_BY, MapView, NodeView, Object, SLICE_CONTROLLER, SliceView};
use crate::kube::watch::{Change, Target, follow};
use crate::names;
use crate::remedy::command::ApiEvent;

/// What a watch shows, on its way.
pub(super) enum Seen {
    Node(Box<NodeView>),
    NodeGone(String),
    /// All Nodes have been shown.
    Synced,
    Api(ApiEvent),
    Map(&'static str, Option<MapView>),
    /// The publisher's write ended.
    Published(&'static str, bool),
}

/// One task a kind of object.
pub(super) fn watch_all(servers: &Arc<Servers>, seen: &mpsc::Sender<Seen>) -> Vec<JoinHandle<()>> {
    let nodes = Target {
        path: String::from("/api/v1/nodes"),
        selectors: String::new(),
    };
    let slices = Target {
        path: String::from("/apis/discovery.k8s.io/v1/endpointslices"),
        selectors: format!(
            "labelSelector={}%3D{SLICE_CONTROLLER}",
            MANAGED_BY.replace('/', "%2F")
        ),
    };
    let mut tasks = Vec::new();
    let mut known = BTreeSet::new();
    let sender = seen.clone();
    tasks.push(tokio::spawn(follow(Arc::clone(servers), nodes, move |change| {
        let events = node_events(change, &mut known);
        send_all(sender.clone(), events)
    })));
    let mut known = BTreeSet::new();
    let sender = seen.clone();
    tasks.push(tokio::spawn(follow(Arc::clone(servers), slices, move |change| {
        let events = slice_events(change, &mut known);
        send_all(sender.clone(), events)
    })));
    for name in [names::LEDGER, names::SETTINGS, names::ROSTER, names::STEWARDS] {
        let sender = seen.clone();
        tasks.push(tokio::spawn(follow(
            Arc::clone(servers),
            map_target(name),
            move |change| {
                let map: Option<MapView> = match change {
                    Change::All(maps) => maps.into_iter().next(),
                    Change::Applied(map) => Some(map),
                    Change::Gone(_) => None,
                };
                send_all(sender.clone(), vec![Seen::Map(name, map)])
            },
        )));
    }
    tasks
}

async fn send_all(sender: mpsc::Sender<Seen>, events: Vec<Seen>) -> bool {
    for event in events {
        if sender.send(event).await.is_err() {
            return false;
        }
    }
    true
}

/// `known`: UIDs shown before; what a new list does not hold is gone.
fn node_events(change: Change<NodeView>, known: &mut BTreeSet<String>) -> Vec<Seen> {
    match change {
        Change::All(nodes) => {
            let now: BTreeSet<String> = nodes.iter().map(|node| node.metadata.uid.clone()).collect();
            let gone = known.difference(&now).cloned().map(Seen::NodeGone);
            let mut events: Vec<Seen> = gone.collect();
            events.extend(nodes.into_iter().map(|node| Seen::Node(Box::new(node))));
            events.push(Seen::Synced);
            *known = now;
            events
        }
        Change::Applied(node) => {
            known.insert(node.metadata.uid.clone());
            vec![Seen::Node(Box::new(node))]
        }
        Change::Gone(node) => {
            known.remove(&node.metadata.uid);
            vec![Seen::NodeGone(node.metadata.uid)]
        }
    }
}

/// As [`node_events`], by namespace and name.
fn slice_events(change: Change<SliceView>, known: &mut BTreeSet<(String, String)>) -> Vec<Seen> {
    let key = |slice: &SliceView| (slice.meta().namespace.clone(), slice.meta().name.clone());
    let gone = |(namespace, name)| Seen::Api(ApiEvent::SliceGone { namespace, name });
    match change {
        Change::All(slices) => {
            let now: BTreeSet<_> = slices.iter().map(key).collect();
            let mut events: Vec<Seen> = known.difference(&now).cloned().map(gone).collect();
            events.extend(
                slices
                    .iter()
                    .map(|slice| Seen::Api(ApiEvent::Slice(slice.slice()))),
            );
            *known = now;
            events
        }
        Change::Applied(slice) => {
            known.insert(key(&slice));
            vec![Seen::Api(ApiEvent::Slice(slice.slice()))]
        }
        Change::Gone(slice) => {
            known.remove(&key(&slice));
            vec![gone(key(&slice))]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(uid: &str) -> NodeView {
        let mut view = NodeView::default();
        view.metadata.uid = uid.into();
        view
    }

    fn words(events: Vec<Seen>) -> Vec<String> {
        let word = |seen| match seen {
            Seen::Node(node) => format!("node {}", node.metadata.uid),
            Seen::NodeGone(uid) => format!("gone {uid}"),
            Seen::Synced => String::from("synced"),
            Seen::Api(event) => format!("{event:?}"),
            Seen::Map(name, _) | Seen::Published(name, _) => name.to_owned(),
        };
        events.into_iter().map(word).collect()
    }

    #[test]
    fn what_a_new_list_does_not_hold_is_gone() {
        let mut known = BTreeSet::new();
        let mut show = |change| words(node_events(change, &mut known));
        assert_eq!(
            show(Change::All(vec![node("a"), node("b")])),
            ["node a", "node b", "synced"]
        );
        assert_eq!(show(Change::Applied(node("c"))), ["node c"]);
        assert_eq!(show(Change::Gone(node("a"))), ["gone a"]);
        assert_eq!(
            show(Change::All(vec![node("c"), node("d")])),
            ["gone b", "node c", "node d", "synced"]
        );
    }
}
