//! What of an EndpointSlice is read.

use std::net::IpAddr;

use serde::Deserialize;

use super::{Meta, Object};
use crate::remedy::object::{Endpoint, Slice};

/// Label of an EndpointSlice: whose it is.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// The only value of it whose slices are patched: that controller puts a mistake right.
pub const SLICE_CONTROLLER: &str = "endpointslice-controller.k8s.io";

/// `discovery.k8s.io/v1/EndpointSlice`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SliceView {
    /// Metadata.
    pub metadata: Meta,
    endpoints: Option<Vec<EndpointView>>,
    ports: Option<Vec<PortView>>,
}
object!(SliceView);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct EndpointView {
    addresses: Vec<String>,
    node_name: Option<String>,
    target_ref: Option<TargetRef>,
    conditions: EndpointConditions,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct TargetRef {
    kind: String,
    uid: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct EndpointConditions {
    ready: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct PortView {
    port: Option<u16>,
}

impl SliceView {
    /// For the remedy.
    #[must_use]
    pub fn slice(&self) -> Slice {
        let endpoint = |view: &EndpointView| {
            let pod = view.target_ref.as_ref().filter(|target| target.kind == "Pod");
            Some(Endpoint {
                node: view.node_name.clone()?,
                pod: pod.and_then(|pod| pod.uid.clone()),
                ready: view.conditions.ready.unwrap_or(true),
            })
        };
        Slice {
            namespace: self.metadata.namespace.clone(),
            name: self.metadata.name.clone(),
            endpoints: self.endpoints.iter().flatten().map(endpoint).collect(),
        }
    }

    /// Addresses and first port: for the slice of the API servers.
    #[must_use]
    pub fn sockets(&self) -> Vec<(IpAddr, u16)> {
        let port = self.ports.iter().flatten().find_map(|port| port.port);
        let addresses = self
            .endpoints
            .iter()
            .flatten()
            .flat_map(|endpoint| &endpoint.addresses);
        addresses
            .filter_map(|address| Some((address.parse().ok()?, port?)))
            .collect()
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use super::SliceView;
    use crate::kube::view::read;
    use crate::remedy::object::Endpoint;
    use serde_json::json;
    use std::net::IpAddr;

    #[test]
    fn a_slice_keeps_its_order_and_what_is_not_said_is_ready() {
        let slice = read::<SliceView>(&json!({
            "metadata": {"name": "s", "namespace": "d"},
            "ports": [{"name": "https", "port": 6443}],
            "endpoints": [
                {"addresses": ["10.0.0.1"], "conditions": {}},
                {"addresses": ["10.0.0.2"], "nodeName": "n", "conditions": {"ready": false},
                    "targetRef": {"kind": "Pod", "uid": "u"}},
                {"addresses": ["fd00::3"], "nodeName": "n", "conditions": {}},
            ],
        }));
        let endpoint = |pod: Option<&str>, ready| {
            Some(Endpoint {
                node: "n".into(),
                pod: pod.map(str::to_owned),
                ready,
            })
        };
        assert_eq!(
            slice.slice().endpoints,
            [None, endpoint(Some("u"), false), endpoint(None, true)]
        );
        assert_eq!(slice.sockets().len(), 3);
        assert_eq!(slice.sockets()[0], (IpAddr::from([10, 0, 0, 1]), 6443));
    }
}
