//! What stock Kubernetes does after the same cut: quoted, never measured by the demo, as it takes six minutes.

/// Quoted figures.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stock {
    /// Where they are from.
    pub(super) source: &'static str,
    /// The Node is not Ready, s from the cut.
    pub(super) not_ready: &'static str,
    /// No endpoint of the node is ready.
    pub(super) endpoints: &'static str,
    /// Its pods are deleted.
    pub(super) deleted: &'static str,
    /// Replacements are Ready.
    pub(super) ready: &'static str,
}

/// Kubernetes 1.36 with default flags.
pub(super) const STOCK: Stock = Stock {
    source: "quoted, not measured now: Kubernetes 1.36, default flags, three real nodes on two cores",
    not_ready: "43–50 s",
    endpoints: "43–50 s",
    deleted: "343–349 s",
    ready: "343–350 s",
};
