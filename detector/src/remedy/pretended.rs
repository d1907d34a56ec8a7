//! What stands on Nodes, or would, where nothing is written.

use crate::identity::MemberId;
use crate::remedy::Remedy;
use crate::remedy::object::{Node, OwnTaint};

/// What we wrote, where nothing is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Pretended {
    pub(super) taint: Option<bool>,
    pub(super) degraded: Option<bool>,
    pub(super) reachable: Option<String>,
}

impl Remedy {
    /// Whether our taint is on the Node, or would be.
    pub(super) fn is_tainted(&self, subject: MemberId) -> bool {
        let pretended = self.pretended.get(&subject).and_then(|pretended| pretended.taint);
        let known = self.nodes.get(&subject);
        pretended.unwrap_or_else(|| known.is_some_and(Node::is_tainted))
    }

    /// Whether our taint of the degraded is on the Node, or would be.
    pub(super) fn is_tainted_degraded(&self, subject: MemberId) -> bool {
        let pretended = self
            .pretended
            .get(&subject)
            .and_then(|pretended| pretended.degraded);
        let own = |node: &Node| node.own_taint(OwnTaint::Degraded).is_some();
        pretended.unwrap_or_else(|| self.nodes.get(&subject).is_some_and(own))
    }

    /// The reason of the Node's condition, or what it would be.
    pub(super) fn reachable(&self, subject: MemberId) -> Option<&str> {
        let pretended = self
            .pretended
            .get(&subject)
            .and_then(|pretended| pretended.reachable.as_deref());
        let known = self.nodes.get(&subject);
        pretended.or_else(|| known.and_then(|node| node.reachable.as_deref()))
    }
}
