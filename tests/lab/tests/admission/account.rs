//! Who tries things, and what is said of each.

use std::collections::BTreeSet;

use anyhow::Result;
use detector_lab::api::Cluster;
use serde_json::{Value, json};

pub(super) const MERGE: &str = "application/merge-patch+json";
pub(super) const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub(super) const PATCH: &str = "application/json-patch+json";
pub(super) const JSON: &str = "application/json";

/// One account that tries things, without changing anything (`dryRun=All`).
pub(super) struct Account<'a> {
    cluster: &'a Cluster,
    /// Policy and message of every refusal seen.
    pub(super) refused: BTreeSet<(String, String)>,
    pub(super) wrong: Vec<String>,
}

impl<'a> Account<'a> {
    pub(super) fn new(cluster: &'a Cluster) -> Self {
        Self {
            cluster,
            refused: BTreeSet::new(),
            wrong: Vec::new(),
        }
    }

    fn attempt(&self, method: &str, path: &str, content: &str, body: &Value) -> Result<Value> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let mut body = body.clone();
        // With a body the API server reads a DELETE's options from there alone.
        if let Some(options) = body.as_object_mut().filter(|_| method == "DELETE") {
            options.insert("dryRun".to_owned(), json!(["All"]));
        }
        self.cluster
            .request(method, &format!("{path}{separator}dryRun=All"), content, &body)
    }

    /// As `attempt`; what is allowed is tried again for a while, as policies are in force only after some seconds.
    fn attempt_until_refused(
        &self,
        (method, path): (&str, &str),
        content: &str,
        body: &Value,
    ) -> Result<Value> {
        let mut outcome = self.attempt(method, path, content, body);
        for _ in 0..100 {
            if outcome.is_err() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
            outcome = self.attempt(method, path, content, body);
        }
        outcome
    }

    pub(super) fn allowed(&mut self, method: &str, path: &str, content: &str, body: &Value) {
        if let Err(error) = self.attempt(method, path, content, body) {
            self.wrong
                .push(format!("{method} {path} {body} ought to be allowed: {error:#}"));
        }
    }

    /// Refused by the policy of that name for that reason.
    pub(super) fn refused(
        &mut self,
        policy: &str,
        message: &str,
        (method, path): (&str, &str),
        content: &str,
        body: &Value,
    ) {
        let expected = format!("policy 'node-failure-detector-{policy}'");
        match self.attempt_until_refused((method, path), content, body) {
            Ok(_) => self.wrong.push(format!("{method} {path} {body} was allowed")),
            Err(error) => {
                let text = format!("{error:#}").to_lowercase();
                if text.contains(&expected)
                    && text.contains(&format!("denied request: {}", message.to_lowercase()))
                {
                    self.refused.insert((policy.to_owned(), message.to_owned()));
                } else {
                    self.wrong.push(format!(
                        "{method} {path} {body} ought to be refused with {message:?}: {text}"
                    ));
                }
            }
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "callers make the value on the spot")]
pub(super) fn metadata(key: &str, value: Value) -> Value {
    json!({"metadata": {key: value}})
}

pub(super) fn owners() -> Value {
    metadata(
        "ownerReferences",
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "b"}]),
    )
}

pub(super) fn condition(kind: &str, status: &str, reason: &str) -> Value {
    json!({"status": {"conditions": [{"type": kind, "status": status, "reason": reason}]}})
}
