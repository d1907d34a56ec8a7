//! One write of a ConfigMap of ours.

use serde_json::{Value, json};

use crate::names;
use crate::remedy::request::{Http, config_map};

/// A ConfigMap of ours, as the watch shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapState {
    /// Of this state.
    pub resource_version: String,
    /// The text under the key that is ours; None: there is none.
    pub text: Option<String>,
}

/// One write of a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Its name.
    pub name: &'static str,
    /// The version that is changed; None: it is made.
    pub resource_version: Option<String>,
    /// Key and text; None: it is made empty.
    pub data: Option<(&'static str, String)>,
}

impl Publish {
    /// Of this ConfigMap, in the state that the watch shows.
    pub(super) fn of(
        name: &'static str,
        state: Option<&MapState>,
        data: Option<(&'static str, String)>,
    ) -> Self {
        Self {
            name,
            resource_version: state.map(|state| state.resource_version.clone()),
            data,
        }
    }

    /// As HTTP.
    #[must_use]
    pub fn http(&self) -> Http {
        let mut body = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": self.name, "namespace": names::NAMESPACE},
        });
        if let (Some((key, text)), Some(body)) = (&self.data, body.as_object_mut()) {
            body.insert("data".into(), json!({*key: text}));
        }
        let Some(version) = &self.resource_version else {
            return Http {
                method: "POST",
                path: format!("/api/v1/namespaces/{}/configmaps", names::NAMESPACE),
                content_type: Some("application/json"),
                body,
            };
        };
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".into(), json!(version));
        }
        Http {
            method: "PATCH",
            path: config_map(self.name),
            content_type: Some("application/merge-patch+json"),
            body,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Publish;
    use crate::names;
    use serde_json::json;

    #[test]
    fn a_write_is_bound_to_the_version_it_changes() {
        let patch = Publish {
            name: names::STEWARDS,
            resource_version: Some("7".into()),
            data: Some(("stewards", "x".into())),
        };
        let http = patch.http();
        assert_eq!(http.method, "PATCH");
        assert_eq!(http.body.pointer("/metadata/resourceVersion"), Some(&json!("7")));
        assert_eq!(http.body.pointer("/data/stewards"), Some(&json!("x")));
    }
}
