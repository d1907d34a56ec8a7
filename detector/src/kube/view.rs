//! What of each object is read: JSON goes straight into these, and nothing else is kept.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::names;
use crate::remedy::command::LedgerState;
use crate::remedy::ledger;

macro_rules! object {
    ($name:ident) => {
        impl Object for $name {
            fn meta(&self) -> &Meta {
                &self.metadata
            }
        }
    };
}

mod node;
mod pod;
mod slice;

pub use node::NodeView;
pub use pod::PodView;
pub use slice::{MANAGED_BY, SLICE_CONTROLLER, SliceView};

/// Metadata of any object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// Name.
    pub name: String,
    /// Empty for what has none.
    pub namespace: String,
    /// UID.
    pub uid: String,
    /// Of this state.
    pub resource_version: String,
    /// Set: on its way out.
    pub deletion_timestamp: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Owners.
    pub owner_references: Vec<OwnerReference>,
}

/// One owner.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    api_version: String,
    kind: String,
    uid: String,
    controller: bool,
}

impl Meta {
    fn opted_out(&self) -> bool {
        self.annotations.get(names::REMEDIATION).map(String::as_str) == Some(names::OFF)
    }
}

/// An object that a watch can follow.
pub trait Object {
    /// Its metadata.
    fn meta(&self) -> &Meta;
}

/// A condition of a Node or pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    r#type: String,
    status: String,
    reason: String,
}

/// `v1/ConfigMap`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct MapView {
    /// Metadata.
    pub metadata: Meta,
    /// Data.
    pub data: BTreeMap<String, String>,
}
object!(MapView);

impl MapView {
    /// As a ledger.
    #[must_use]
    pub fn ledger(&self) -> LedgerState {
        LedgerState {
            resource_version: self.metadata.resource_version.clone(),
            text: self.data.get(ledger::KEY).cloned(),
        }
    }
}

/// `v1/Namespace`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NamespaceView {
    /// Metadata.
    pub metadata: Meta,
}

impl NamespaceView {
    /// Whether its pods are left alone.
    #[must_use]
    pub fn opted_out(&self) -> bool {
        self.metadata.opted_out()
    }
}

/// `v1/PersistentVolumeClaim`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ClaimView {
    spec: ClaimSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClaimSpec {
    access_modes: Vec<String>,
}

impl ClaimView {
    /// ReadWriteMany and nothing less.
    #[must_use]
    pub fn shared(&self) -> bool {
        let modes = &self.spec.access_modes;
        !modes.is_empty() && modes.iter().all(|mode| mode == "ReadWriteMany")
    }
}

/// One page of a list.
#[derive(Clone, Debug, Deserialize)]
pub struct Page<T> {
    /// Metadata of the list.
    #[serde(default)]
    pub metadata: PageMeta,
    /// The objects.
    #[serde(default = "Vec::new")]
    pub items: Vec<T>,
}

/// Metadata of a list.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PageMeta {
    /// Of this state of the collection.
    pub resource_version: String,
    /// Where the next page begins; empty: there is none.
    pub r#continue: String,
}

/// As a watch reads it.
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
fn read<T: serde::de::DeserializeOwned>(value: &serde_json::Value) -> T {
    serde_json::from_str(&value.to_string()).unwrap()
}

#[cfg(test)]
mod tests {
    use super::{ClaimView, NodeView, PodView, SliceView, read};
    use crate::remedy::object::Pod;
    use serde_json::json;

    #[test]
    fn what_is_not_there_or_not_a_key_is_none() {
        let node: NodeView = read(&json!({"metadata": {"annotations":
            {"node-failure-detector.io/public-key": "ä".repeat(32)}}}));
        assert_eq!(node.member().key, None);
        let slice: SliceView = read(&json!({"endpoints": null}));
        assert!(slice.slice().endpoints.is_empty());
        let pod: PodView = read(&json!({}));
        assert_eq!(pod.pod(), Pod::default());
    }

    #[test]
    fn only_a_claim_of_many_writers_is_shared() {
        for (modes, shared) in [
            (json!(["ReadWriteMany"]), true),
            (json!(["ReadWriteOnce"]), false),
            (json!(["ReadWriteMany", "ReadWriteOnce"]), false),
            (json!([]), false),
        ] {
            let claim: ClaimView = read(&json!({"spec": {"accessModes": modes}}));
            assert_eq!(claim.shared(), shared, "{modes}");
        }
    }
}
