//! The admission policies of `deploy/` on a real API server: what agents and stewards do is allowed, and each thing that
//! a policy names is refused by it. The accounts get every right there is, so that it is the policy which refuses.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a lab is IO: clocks and waits; a test fails by panicking"
)]

mod account;
mod agent;
mod objects;
mod steward;

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use detector_lab::detector::NAMESPACE;
use detector_lab::lab::{Lab, Launcher};
use detector_lab::options::Options;
use detector_lab::progress::Progress;
use serde_json::json;

use account::{Account, MERGE, metadata};
use objects::{OBJECTS, Pods};

const POLICIES: &str = include_str!("../../../../deploy/base/admission.yaml");
/// What no request can reach: the API server compares the UID itself, before any policy.
const UNREACHABLE: &[(&str, &str)] = &[("steward-pod-status", "by UID")];

/// Every policy and message that `deploy/` holds.
fn validations() -> BTreeSet<(String, String)> {
    let mut policy = "";
    let mut all = BTreeSet::new();
    for line in POLICIES.lines() {
        if let Some(name) = line.strip_prefix("metadata: {name: node-failure-detector-") {
            policy = name.trim_end_matches('}');
        }
        if let Some((_, rest)) = line.split_once("message: \"") {
            all.insert((policy.to_owned(), rest.trim_end_matches("\"}").to_owned()));
        }
    }
    all
}

#[test]
fn each_policy_allows_what_is_done_and_refuses_what_it_names() -> Result<()> {
    let options = Options {
        real: 0,
        ..Options::new(&format!("admission-{}", std::process::id()))
    };
    let lab = Lab::up(
        &options,
        &Launcher::program(env!("CARGO_BIN_EXE_lab")),
        &mut Progress::terminal(),
    )?;
    lab.apply_deploy()?;
    lab.apply(OBJECTS)?;
    let (pods, bound, unbound, steward) = lab.with_cluster(|admin| {
        let nodes = admin.nodes()?;
        let own = nodes
            .iter()
            .find(|node| node.metadata.name.as_deref() == Some("own"));
        let bound = admin.token(NAMESPACE, "agent", own)?;
        Ok((
            Pods::prepare(admin)?,
            bound,
            admin.token(NAMESPACE, "agent", None)?,
            admin.token(NAMESPACE, "steward", None)?,
        ))
    })?;
    let (mut refused, mut wrong) = lab.with_token(&bound, |cluster| {
        let mut account = Account::new(cluster);
        agent::tries(&mut account);
        Ok((account.refused, account.wrong))
    })?;
    let without_a_node = lab.with_token(&unbound, |cluster| {
        let mut account = Account::new(cluster);
        let body = metadata("annotations", json!({"node-failure-detector.io/alive": "a"}));
        let message = "an agent writes its own Node only, with a bound token";
        account.refused("agent", message, ("PATCH", "/api/v1/nodes/own"), MERGE, &body);
        Ok(account.wrong)
    })?;
    let by_steward = lab.with_token(&steward, |cluster| {
        let mut account = Account::new(cluster);
        steward::tries(&mut account, &pods)?;
        Ok((account.refused, account.wrong))
    })?;
    refused.extend(by_steward.0);
    wrong.extend(without_a_node.into_iter().chain(by_steward.1));
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));

    refused.extend(
        UNREACHABLE
            .iter()
            .map(|(policy, message)| ((*policy).to_owned(), (*message).to_owned())),
    );
    let untried: Vec<_> = validations().difference(&refused).cloned().collect();
    ensure!(
        untried.is_empty(),
        "nothing tried what these refuse: {untried:#?}"
    );
    lab.down()
}
