//! What our service accounts may do, what they did, and the difference: from the roles, and from the API server's audit
//! log.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Context, Result};
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use kube::Api;
use kube::api::ListParams;
use serde_json::Value;

use crate::api::Cluster;
use crate::detector::NAMESPACE;

/// One verb on one resource, as a rule grants it or as it was used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// `agent` or `steward`.
    pub account: String,
    /// API group and resource with its subresource: `/nodes/status`, `events.k8s.io/events`.
    pub resource: String,
    /// `get`, `list`, `watch`, `create`, `patch`, …
    pub verb: String,
    /// In which namespace; none: in all, or of the cluster.
    pub namespace: Option<String>,
    /// Granted: the names that the rule is bound to, any where it is empty. Used: the object's name.
    pub names: BTreeSet<String>,
}

impl fmt::Display for Right {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} {}", self.account, self.verb, self.resource)?;
        if let Some(namespace) = &self.namespace {
            write!(formatter, " in {namespace}")?;
        }
        if !self.names.is_empty() {
            let names: Vec<_> = self.names.iter().map(String::as_str).collect();
            write!(formatter, " ({})", names.join(", "))?;
        }
        Ok(())
    }
}

impl Right {
    /// Whether this grant is what allowed that use.
    fn covers(&self, used: &Self) -> bool {
        self.account == used.account
            && self.resource == used.resource
            && self.verb == used.verb
            && (self.namespace.is_none() || self.namespace == used.namespace)
            && (self.names.is_empty() || used.names.is_subset(&self.names) && !used.names.is_empty())
    }
}

/// Roles and audit log side by side.
#[derive(Debug, Default)]
pub struct Comparison {
    /// What the roles grant.
    pub granted: BTreeSet<Right>,
    /// What was asked for and allowed.
    pub used: BTreeSet<Right>,
    /// What was asked for and refused: a right is missing.
    pub refused: BTreeSet<Right>,
}

impl Comparison {
    /// Reads the roles from the cluster and the uses from audit logs.
    ///
    /// # Errors
    /// Those of the API; when a log is not one.
    pub fn of(cluster: &Cluster, logs: &[String]) -> Result<Self> {
        let mut comparison = Self {
            granted: granted(cluster)?,
            ..Self::default()
        };
        for line in logs.iter().flat_map(|log| log.lines()) {
            let event = serde_json::from_str(line).context("a line of the audit log")?;
            match use_of(&event) {
                Some((right, true)) => comparison.used.insert(right),
                Some((right, false)) => comparison.refused.insert(right),
                None => false,
            };
        }
        Ok(comparison)
    }

    /// Granted, and never used.
    #[must_use]
    pub fn unused(&self) -> Vec<&Right> {
        self.granted
            .iter()
            .filter(|grant| !self.used.iter().any(|used| grant.covers(used)))
            .collect()
    }

    /// Used, and not by our roles: something else grants too much.
    #[must_use]
    pub fn not_ours(&self) -> Vec<&Right> {
        self.used
            .iter()
            .filter(|used| !self.granted.iter().any(|grant| grant.covers(used)))
            .collect()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, rights) in [
            ("granted", &self.granted),
            ("used", &self.used),
            ("refused", &self.refused),
        ] {
            writeln!(formatter, "{title}:")?;
            for right in rights {
                writeln!(formatter, "  {right}")?;
            }
        }
        Ok(())
    }
}

/// Everything that our accounts' bindings give them.
fn granted(cluster: &Cluster) -> Result<BTreeSet<Right>> {
    let all = ListParams::default();
    let client = cluster.client();
    let (cluster_roles, cluster_bindings, roles, bindings) = cluster.run(async {
        let cluster_roles: Api<ClusterRole> = Api::all(client.clone());
        let cluster_bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
        let roles: Api<Role> = Api::all(client.clone());
        let bindings: Api<RoleBinding> = Api::all(client);
        anyhow::Ok((
            cluster_roles.list(&all).await?.items,
            cluster_bindings.list(&all).await?.items,
            roles.list(&all).await?.items,
            bindings.list(&all).await?.items,
        ))
    })?;
    let cluster_rules = |reference: &RoleRef| {
        let role = cluster_roles
            .iter()
            .find(|role| role.metadata.name.as_ref() == Some(&reference.name));
        role.and_then(|role| role.rules.clone()).unwrap_or_default()
    };
    let mut granted = BTreeSet::new();
    for binding in &cluster_bindings {
        for account in accounts(binding.subjects.as_deref()) {
            granted.extend(flatten(&account, None, &cluster_rules(&binding.role_ref)));
        }
    }
    for binding in &bindings {
        let namespace = binding.metadata.namespace.as_deref();
        let own = |role: &&Role| {
            role.metadata.namespace.as_deref() == namespace
                && role.metadata.name.as_ref() == Some(&binding.role_ref.name)
        };
        let rules = match binding.role_ref.kind.as_str() {
            "Role" => roles
                .iter()
                .find(own)
                .and_then(|role| role.rules.clone())
                .unwrap_or_default(),
            _ => cluster_rules(&binding.role_ref),
        };
        for account in accounts(binding.subjects.as_deref()) {
            granted.extend(flatten(&account, namespace, &rules));
        }
    }
    Ok(granted)
}

/// Those of a binding's subjects that are ours.
fn accounts(subjects: Option<&[Subject]>) -> Vec<String> {
    let ours = |subject: &&Subject| {
        subject.kind == "ServiceAccount" && subject.namespace.as_deref() == Some(NAMESPACE)
    };
    subjects
        .unwrap_or_default()
        .iter()
        .filter(ours)
        .map(|subject| subject.name.clone())
        .collect()
}

/// A right for each verb on each resource of each rule.
fn flatten(account: &str, namespace: Option<&str>, rules: &[PolicyRule]) -> Vec<Right> {
    let mut rights = Vec::new();
    for rule in rules {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                rights.extend(rule.verbs.iter().map(|verb| Right {
                    account: account.to_owned(),
                    resource: format!("{group}/{resource}"),
                    verb: verb.clone(),
                    namespace: namespace.map(str::to_owned),
                    names: rule.resource_names.iter().flatten().cloned().collect(),
                }));
            }
        }
    }
    rights
}

/// What an audit event says that one of our accounts did, and whether it was allowed to. None for what concerns no
/// resource (the API's own description) and for other users.
fn use_of(event: &Value) -> Option<(Right, bool)> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let account = text("/user/username")
        .strip_prefix("system:serviceaccount:")?
        .strip_prefix(NAMESPACE)?
        .strip_prefix(':')?;
    let resource = text("/objectRef/resource");
    if resource.is_empty() {
        return None;
    }
    let subresource = match text("/objectRef/subresource") {
        "" => String::new(),
        name => format!("/{name}"),
    };
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let right = Right {
        account: account.to_owned(),
        resource: format!("{}/{resource}{subresource}", text("/objectRef/apiGroup")),
        verb: text("/verb").to_owned(),
        namespace: some(text("/objectRef/namespace")),
        names: some(text("/objectRef/name")).into_iter().collect(),
    };
    Some((
        right,
        text("/annotations/authorization.k8s.io~1decision") == "allow",
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(verb: &str, resource: &str, name: &str, decision: &str) -> Value {
        json!({"verb": verb, "user": {"username": "system:serviceaccount:node-failure-detector:steward"},
            "objectRef": {"resource": resource, "name": name, "namespace": "a", "apiVersion": "v1"},
            "annotations": {"authorization.k8s.io/decision": decision}})
    }

    fn rule(resource: &str, verbs: &[&str], names: &[&str]) -> PolicyRule {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec![resource.to_owned()]),
            resource_names: Some(owned(names)),
            verbs: owned(verbs),
            ..PolicyRule::default()
        }
    }

    #[test]
    fn what_is_granted_and_not_used_is_found_and_so_is_the_reverse() {
        let rules = [
            rule("pods", &["list", "delete"], &[]),
            rule("configmaps", &["patch"], &["mine"]),
        ];
        let mut comparison = Comparison {
            granted: flatten("steward", None, &rules).into_iter().collect(),
            ..Comparison::default()
        };
        let events = [
            event("list", "pods", "", "allow"),
            event("patch", "configmaps", "other", "allow"),
            event("get", "secrets", "s", "forbid"),
        ];
        for (right, allowed) in events.iter().filter_map(use_of) {
            if allowed {
                comparison.used.insert(right)
            } else {
                comparison.refused.insert(right)
            };
        }
        let shown = |rights: Vec<&Right>| rights.into_iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            shown(comparison.unused()),
            ["steward patch /configmaps (mine)", "steward delete /pods"]
        );
        assert_eq!(
            shown(comparison.not_ours()),
            ["steward patch /configmaps in a (other)"]
        );
        assert_eq!(comparison.refused.len(), 1);
    }

    #[test]
    fn other_users_and_requests_without_a_resource_are_left_out() -> Result<()> {
        let mut other = event("get", "pods", "a", "allow");
        *other.pointer_mut("/user/username").context("no user")? =
            json!("system:serviceaccount:kube-system:steward");
        assert_eq!(use_of(&other), None);
        let version = json!({"verb": "get", "requestURI": "/version",
            "user": {"username": "system:serviceaccount:node-failure-detector:agent"}});
        assert_eq!(use_of(&version), None);
        Ok(())
    }
}
