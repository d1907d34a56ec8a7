//! Every verb that is used, and on what: the roles in `deploy/` grant these and nothing else.

use crate::names;

/// One verb on one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// API group; empty: core.
    pub group: &'static str,
    /// Resource, with its subresource.
    pub resource: &'static str,
    /// Verb.
    pub verb: &'static str,
    /// The one object in our own namespace; None: every object of the cluster.
    pub name: Option<&'static str>,
}

const fn cluster(group: &'static str, resource: &'static str, verb: &'static str) -> Right {
    Right {
        group,
        resource,
        verb,
        name: None,
    }
}

const fn own(verb: &'static str, name: &'static str) -> Right {
    Right {
        group: "",
        resource: "configmaps",
        verb,
        name: Some(name),
    }
}

/// What an agent does. Which Node and which annotations: the admission policies.
pub const AGENT: &[Right] = &[
    cluster("", "nodes", "get"),
    cluster("", "nodes", "patch"),
    own("list", names::ROSTER),
    own("watch", names::ROSTER),
    own("list", names::STEWARDS),
    own("watch", names::STEWARDS),
];

/// What a steward does. Its `create` of ConfigMaps is bound to names by an admission policy: RBAC cannot.
pub const STEWARD: &[Right] = &[
    cluster("", "nodes", "get"),
    cluster("", "nodes", "list"),
    cluster("", "nodes", "watch"),
    cluster("", "nodes", "patch"),
    cluster("", "nodes/status", "patch"),
    cluster("", "pods", "list"),
    cluster("", "pods", "delete"),
    cluster("", "pods/status", "patch"),
    cluster("", "namespaces", "get"),
    cluster("", "persistentvolumeclaims", "get"),
    cluster("discovery.k8s.io", "endpointslices", "list"),
    cluster("discovery.k8s.io", "endpointslices", "watch"),
    cluster("discovery.k8s.io", "endpointslices", "patch"),
    cluster("events.k8s.io", "events", "create"),
    own("create", ""),
    own("get", names::LEDGER),
    own("list", names::LEDGER),
    own("watch", names::LEDGER),
    own("patch", names::LEDGER),
    own("list", names::ROSTER),
    own("watch", names::ROSTER),
    own("patch", names::ROSTER),
    own("list", names::STEWARDS),
    own("watch", names::STEWARDS),
    own("patch", names::STEWARDS),
    own("list", names::SETTINGS),
    own("watch", names::SETTINGS),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    type Granted = BTreeSet<(String, String, String, Option<String>)>;

    /// The words of `key: [a, b]` or of a block list under `key:`; both forms that deploy/ has.
    fn words(rule: &str, key: &str) -> Vec<String> {
        let Some((_, rest)) = rule.split_once(&format!("{key}:")) else {
            return Vec::new();
        };
        let rest = rest.trim_start();
        let list = match rest.strip_prefix('[') {
            Some(inline) => inline.split(']').next().unwrap_or_default().replace(',', "\n"),
            None => {
                let lines = rest.lines().map(str::trim_start);
                let block = lines.take_while(|line| line.starts_with("- "));
                block
                    .map(|line| line.trim_start_matches("- "))
                    .collect::<Vec<_>>()
                    .join("\n")
            }
        };
        list.lines()
            .map(|word| word.trim().trim_matches('"').to_owned())
            .collect()
    }

    /// What the roles whose name ends with `role` grant.
    fn granted(yaml: &str, role: &str) -> Granted {
        let mut granted = Granted::new();
        for document in yaml.split("\n---\n") {
            let is_role = document.contains("kind: Role\n") || document.contains("kind: ClusterRole\n");
            let named = document.lines().any(|line| {
                let name = line.split_once("{name: ").map(|(_, rest)| rest);
                let name = name.and_then(|rest| rest.split([',', '}']).next());
                name.is_some_and(|name| name.ends_with(role))
            });
            if !is_role || !named {
                continue;
            }
            let Some((_, rules)) = document.split_once("rules:\n") else {
                continue;
            };
            let rules: Vec<&str> = rules
                .lines()
                .filter(|line| !line.trim_start().starts_with('#'))
                .collect();
            for rule in rules
                .join("\n")
                .split("\n- ")
                .map(|rule| rule.trim_start_matches("- "))
            {
                let names = words(rule, "resourceNames");
                let is_own = document.contains("kind: Role\n");
                for group in words(rule, "apiGroups") {
                    for resource in words(rule, "resources") {
                        for verb in words(rule, "verbs") {
                            let mut grant = |name: Option<String>| {
                                granted.insert((group.clone(), resource.clone(), verb.clone(), name));
                            };
                            if names.is_empty() {
                                grant(is_own.then(String::new));
                            }
                            names.iter().for_each(|name| grant(Some(name.clone())));
                        }
                    }
                }
            }
        }
        granted
    }

    #[test]
    fn the_roles_grant_what_is_used_and_nothing_else() {
        let yaml = include_str!("../../../deploy/base/rbac.yaml");
        for (role, rights) in [("agent", AGENT), ("steward", STEWARD)] {
            let used: Granted = rights
                .iter()
                .map(|right| {
                    let name = right.name.map(str::to_owned);
                    (right.group.into(), right.resource.into(), right.verb.into(), name)
                })
                .collect();
            assert_eq!(granted(yaml, role), used, "{role}");
        }
    }
}
