//! One round: load, a cut, what follows, and the way back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use detector::incident::Step;
use detector::judgement::Verdict;
use serde_json::Value;

use super::record::incidents;
use super::sightings::{Sighting, Watcher, What};
use super::timeline::Timeline;
use crate::client::{Client, Outcome, Request};
use crate::control::{HostState, State};
use crate::detector::copy_of_binary;
use crate::lab::Lab;
use crate::machine::{Cut, Power};
use crate::moment::Moment;
use crate::process;
use crate::workload::nginx_targets;

/// Between two looks.
const PACE: Duration = Duration::from_millis(25);
/// The client goes on after the goal, as long as kube-proxy may wait between two syncs.
const TAIL: Duration = Duration::from_millis(1_500);
/// In ms from the cut: no request that begins later should fail because of it.
pub const LATE_MS: f64 = 350.0;
/// kube-proxy's default `minSyncPeriod`, and what its last sync takes: it waits for nothing any more when its Service has
/// not changed for so long, and a change is carried out at once.
const PROXY_IDLE: Duration = Duration::from_millis(1_500);
/// nginx's label and Service.
const APP: &str = "nginx";

/// What a round waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// No endpoint of the victim is ready.
    EndpointsGone,
    /// The replacements are Ready.
    Replaced,
    /// A steward has closed the incident: also where it writes nothing.
    Closed,
}

/// A cut under load.
#[derive(Debug)]
pub struct Round<'a> {
    lab: &'a Lab,
    victim: String,
    client: Client,
    watcher: Watcher,
    began: Moment,
}

/// What a round has found.
#[derive(Debug)]
pub struct Found {
    /// The cut itself.
    pub cut: Cut,
    /// In milliseconds.
    pub timeline: Timeline,
    /// What stewards recorded since the round began.
    pub entries: Vec<detector::incident::Entry>,
    /// Requests that began later than [`LATE_MS`] after the cut, and failed: they need an explanation. With each the
    /// failed request before that came from the same port.
    pub late: Vec<(Request, Option<Request>)>,
    /// What the watcher saw.
    pub seen: Vec<Sighting>,
}

impl<'a> Round<'a> {
    /// Starts a watcher, and a client that sends to the nodes that will live; waits until the proxies of an idle cluster
    /// wait for nothing.
    ///
    /// # Errors
    /// When the victim has no pod, or the watcher sees nothing.
    pub fn begin(lab: &'a Lab, victim: &str) -> Result<Self> {
        let mut state = lab.state()?;
        state.hosts.retain(|host| host.name != victim);
        let watcher = Watcher::start(lab, APP)?;
        let client = Client::start(lab.client()?, &nginx_targets(&state))?;
        let round = Self {
            lab,
            victim: victim.to_owned(),
            client,
            watcher,
            began: Moment::now(),
        };
        until(
            "the watcher sees every endpoint, the victim's too, and its pod",
            Duration::from_secs(20),
            || Ok(knows_all(&round.watcher.seen(), victim)),
        )?;
        until("no endpoint changes", Duration::from_secs(60), || {
            let seen = round.watcher.seen();
            let slices = seen
                .iter()
                .filter(|sighting| matches!(sighting.what, What::Slice { .. }));
            let last = slices.map(|sighting| sighting.at.monotonic_ns).max();
            let idle = Moment::now()
                .monotonic_ns
                .saturating_sub(last.unwrap_or_default());
            Ok(u128::from(idle) >= PROXY_IDLE.as_nanos())
        })?;
        Ok(round)
    }

    /// Cuts, waits for the goal, and puts together what was found. A goal that is not reached in time shows as a time
    /// that is missing.
    ///
    /// # Errors
    /// When the lab, the client or the watcher failed.
    pub fn cut(self, goal: Goal, limit: Duration) -> Result<Found> {
        let cut = self.lab.cut(&self.victim)?;
        let state = self.lab.state()?;
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            let reached = match goal {
                Goal::Closed => incidents(self.lab, &state, cut.started)?
                    .iter()
                    .any(|entry| entry.step == Step::Closed),
                Goal::EndpointsGone | Goal::Replaced => {
                    let seen = self.watcher.seen();
                    let so_far = Timeline::new(&self.victim, cut.started, &[], &seen, &[]);
                    let time = if goal == Goal::Replaced {
                        so_far.ready
                    } else {
                        so_far.endpoints
                    };
                    time.is_some()
                }
            };
            if reached {
                break;
            }
            std::thread::sleep(PACE);
        }
        std::thread::sleep(TAIL);
        let requests = self.client.stop()?;
        let seen = self.watcher.stop()?;
        let entries = incidents(self.lab, &state, self.began)?;
        let timeline = Timeline::new(&self.victim, cut.started, &entries, &seen, &requests);
        let is_late = |request: &Request| {
            request.started.ms_since(cut.started) > LATE_MS && request.outcome != Outcome::Answered
        };
        let before = |late: &Request| {
            requests
                .iter()
                .rev()
                .filter(|request| request.started.monotonic_ns < late.started.monotonic_ns)
                .find(|request| {
                    (request.port, request.target) == (late.port, late.target)
                        && request.outcome != Outcome::Answered
                })
                .copied()
        };
        let late = requests.iter().filter(|request| is_late(request));
        Ok(Found {
            cut,
            timeline,
            entries,
            late: late.map(|request| (*request, before(request))).collect(),
            seen,
        })
    }
}

/// Whether the slices have an endpoint on the victim, and for each of their endpoints a Ready pod was seen: one that is
/// seen only after the cut would count as created by it.
fn knows_all(seen: &[Sighting], victim: &str) -> bool {
    let (mut slices, mut pods) = (BTreeMap::new(), BTreeSet::new());
    for sighting in seen {
        match &sighting.what {
            What::Slice { name, ready } => _ = slices.insert(name, ready),
            What::Pod(pod) if pod.ready => _ = pods.insert(&pod.uid),
            _ => {}
        }
    }
    let endpoints: usize = slices.values().flat_map(|ready| ready.values()).sum();
    slices.values().any(|ready| ready.contains_key(victim)) && pods.len() >= endpoints
}

/// Boots the victim, and waits until the stewards have undone what they did: gives the ms from the boot to that.
///
/// # Errors
/// When it is not Ready, or not accepted back, within the limit.
pub fn heal(lab: &Lab, victim: &str, limit: Duration) -> Result<f64> {
    let booted = Moment::now();
    lab.heal(victim)?;
    let state = lab.state()?;
    let mut returned = None;
    until("a steward says that it has returned", limit, || {
        let entries = incidents(lab, &state, booted)?;
        returned = entries
            .iter()
            .find(|entry| entry.node == victim && entry.step == Step::Returned)
            .map(|entry| super::timeline::ms(booted, entry));
        Ok(returned.is_some())
    })?;
    returned.context("it has not returned")
}

/// Waits until every steward that runs finds every node alive, heard by all others, and knows its fellows.
///
/// # Errors
/// When that takes longer; the error holds what the stewards said last.
pub fn await_alive(lab: &Lab, limit: Duration) -> Result<()> {
    let state = lab.state()?;
    let nodes = state.hosts.iter().filter(|host| is_node(host)).count();
    let stewards: Vec<_> = running(&state, "steward").collect();
    let mut last = Vec::new();
    until("every steward finds every node alive", limit, || {
        last = stewards.iter().map(|host| status(lab, host, "steward")).collect();
        Ok(last.iter().all(|answer| {
            answer
                .as_ref()
                .is_ok_and(|answer| all_alive(answer, nodes, stewards.len()))
        }))
    })
    .with_context(|| {
        let words = last.iter().map(|answer| match answer {
            Ok(answer) => answer.to_string(),
            Err(error) => format!("{error:#}"),
        });
        words.collect::<Vec<_>>().join("\n")
    })
}

/// Hosts that are on and have a role.
fn running<'a>(state: &'a State, role: &'a str) -> impl Iterator<Item = &'a HostState> {
    state
        .hosts
        .iter()
        .filter(move |host| host.power == Power::On && host.roles.iter().any(|has| has == role))
}

fn is_node(host: &HostState) -> bool {
    host.roles.iter().any(|role| role == "agent")
}

/// `detector status --json`, asked on a host.
///
/// # Errors
/// When nobody answers.
pub fn status(lab: &Lab, host: &HostState, role: &str) -> Result<Value> {
    let mut command = Command::new("nsenter");
    command.args(["-t", &host.init.to_string(), "-m", "--"]);
    command.arg(copy_of_binary(lab.layout()));
    let socket = Path::new("/run/node-failure-detector").join(format!("{role}.sock"));
    command.args(["status", "--json", "--socket"]).arg(socket);
    let answer = process::output(&mut command, Duration::from_secs(5))?;
    Ok(serde_json::from_str(&answer)?)
}

fn all_alive(status: &Value, nodes: usize, stewards: usize) -> bool {
    let list = |name: &str| {
        status
            .get(name)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let (subjects, fellows) = (list("subjects"), list("fellows"));
    subjects.len() == nodes
        && subjects.iter().all(|subject| {
            subject.get("verdict") == Some(&Value::from(format!("{:?}", Verdict::Alive)))
                && subject.get("heard_by") == subject.get("observers")
        })
        && fellows.len() + 1 == stewards
        && fellows
            .iter()
            .all(|fellow| fellow.get("connected") == Some(&Value::Bool(true)))
}

/// Waits for something.
///
/// # Errors
/// Those of the look; when it takes longer than the limit.
pub fn until(what: &str, limit: Duration, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !holds()? {
        ensure!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(PACE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sightings::PodSeen;
    use super::*;

    #[test]
    fn a_watcher_that_has_not_seen_each_endpoints_pod_knows_too_little() {
        let sighting = |what| Sighting {
            at: Moment::now(),
            what,
        };
        let pod = |uid: &str| {
            sighting(What::Pod(PodSeen {
                uid: uid.to_owned(),
                name: uid.to_owned(),
                node: Some("node-1".to_owned()),
                ready: true,
                leaving: false,
            }))
        };
        let slice = sighting(What::Slice {
            name: "s".to_owned(),
            ready: BTreeMap::from([("node-1".to_owned(), 1), ("node-2".to_owned(), 1)]),
        });
        let mut seen = vec![slice, pod("a"), pod("a")];
        assert!(!knows_all(&seen, "node-1"));
        seen.push(pod("b"));
        assert!(knows_all(&seen, "node-1"));
        assert!(!knows_all(&seen, "node-3"));
    }
}
