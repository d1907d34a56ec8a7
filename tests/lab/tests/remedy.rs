//! The remediation on a real control plane, without a mesh: a judge that is told what to say, two stewards with their own
//! service account under the roles and policies of `deploy/`, a node whose power is cut, and its return.
#![expect(
    clippy::disallowed_methods,
    reason = "a lab is IO: clocks and waits; a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use detector::clock;
use detector::identity::{BootId, IncidentId, MemberId};
use detector::incident::{Entry, Step, Write};
use detector::judgement::{Ask, Causes, Evidence, Judgement, Verdict};
use detector::kube::client::Servers;
use detector::kube::steward::{Heard, Identity, Surroundings, run};
use detector::profile::Profile;
use detector::remedy::Mode;
use detector::roster::{PublicKey, Roster, StewardEntry};
use detector_lab::detector::NAMESPACE;
use detector_lab::kubeconfig::{self, Credential};
use detector_lab::lab::{Lab, Launcher};
use detector_lab::netns::Namespace;
use detector_lab::options::Options;
use detector_lab::progress::Progress;
use detector_lab::topology::HUB;
use detector_lab::workload::deploy_nginx;
use tokio::sync::mpsc;

const BOOT: BootId = BootId(1);
const INCIDENT: IncidentId = IncidentId(2);

/// What one steward told, and what it can be told.
#[derive(Clone)]
struct Steward {
    records: Arc<Mutex<Vec<Entry>>>,
    roster: Arc<Mutex<Roster>>,
    heard: mpsc::Sender<Heard>,
}

impl Surroundings for Steward {
    fn ask(&mut self, ask: Ask) {
        if let Ask::Look { subject, boot, nonce } = ask {
            let _full = self.heard.try_send(Heard::Judgement(Judgement::Looked {
                subject,
                boot,
                nonce,
                dead: true,
                evidence: Evidence::default(),
                at: clock::now(),
            }));
        }
    }

    fn roster(&mut self, roster: &Roster) {
        self.roster
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(roster);
    }

    fn record(&mut self, entry: &Entry) {
        self.records
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(entry.clone());
    }
}

impl Steward {
    fn roster(&self) -> Roster {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn steps(&self) -> Vec<Entry> {
        self.records
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn say(&self, judgement: Judgement) -> Result<()> {
        self.heard
            .try_send(Heard::Judgement(judgement))
            .context("the steward has ended")
    }
}

/// Starts a steward on a thread of its own in the hub's network.
fn start(hub: Namespace, kubeconfig: &Path, n: u8, mode: Mode) -> Steward {
    let (heard, hears) = mpsc::channel(64);
    let steward = Steward {
        records: Arc::default(),
        roster: Arc::default(),
        heard,
    };
    let identity = Identity {
        entry: StewardEntry {
            id: MemberId(u64::from(n)),
            node: format!("steward-{n}"),
            address: (HUB, 9_000 + u16::from(n)).into(),
            key: PublicKey([n; 32]),
        },
        mode,
        profile: Profile::LAN,
    };
    let (hub, kubeconfig, surroundings) = (hub, kubeconfig.to_owned(), steward.clone());
    std::thread::spawn(move || {
        let ended = hub.enter(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let servers = Servers::connect(Some(&kubeconfig)).await?;
                run(servers, identity, hears, surroundings).await?;
                anyhow::Ok(())
            })
        });
        if let Err(error) = ended.and_then(|ended| ended) {
            eprintln!("steward {n} ended: {error:#}");
        }
    });
    steward
}

fn until(what: &str, limit: Duration, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !holds()? {
        ensure!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn changed(subject: MemberId, verdict: Verdict) -> Judgement {
    Judgement::Changed {
        subject,
        boot: BOOT,
        incident: (verdict == Verdict::Dead).then_some(INCIDENT),
        verdict,
        causes: Causes::NONE,
        evidence: Evidence::default(),
        farewell: None,
        longest_silence: Duration::ZERO,
        at: clock::now(),
    }
}

/// Milliseconds from `since_us` to the last answered write of each kind, and how many there were.
fn times(steps: &[Entry], since_us: u64) -> BTreeMap<Write, (usize, u64)> {
    let mut times = BTreeMap::new();
    for entry in steps.iter().filter(|entry| entry.at_us >= since_us) {
        if let Step::Written { write, .. } = &entry.step {
            let (count, last) = times.entry(*write).or_insert((0, 0));
            *count += 1;
            *last = (entry.at_us - since_us) / 1_000;
        }
    }
    times
}

/// A kubeconfig with a token of the stewards' service account.
fn kubeconfig_of(lab: &Lab, server: &str) -> Result<tempfile::NamedTempFile> {
    let token = lab.with_cluster(|cluster| cluster.token(NAMESPACE, "steward", None))?;
    let file = tempfile::NamedTempFile::new()?;
    let authority = lab.layout().pki().join("ca.crt");
    kubeconfig::write(file.path(), server, &authority, &Credential::Token(&token))?;
    Ok(file)
}

fn up(name: &str, change: impl FnOnce(&mut Options)) -> Result<Lab> {
    let mut options = Options::new(&format!("{name}-{}", std::process::id()));
    change(&mut options);
    let launcher = Launcher::program(env!("CARGO_BIN_EXE_lab"));
    let lab = Lab::up(&options, &launcher, &mut Progress::terminal())?;
    lab.apply_deploy()?;
    Ok(lab)
}

fn warning(subject: MemberId) -> Judgement {
    Judgement::EarlyWarning {
        subject,
        boot: BOOT,
        incident: INCIDENT,
        at: clock::now(),
    }
}

/// The objects of all answered writes of one kind.
fn written(steps: &[Entry], kind: Write) -> BTreeSet<&str> {
    let mut objects = BTreeSet::new();
    for entry in steps {
        if let Step::Written { write, object, .. } = &entry.step
            && *write == kind
        {
            objects.insert(object.as_str());
        }
    }
    objects
}

/// What failed for good. Others write a Node as well: a conflict is looked at, and tried again.
fn failures(steps: &[Entry]) -> Vec<&Entry> {
    let failed = |entry: &&Entry| match &entry.step {
        Step::Failed { reason, .. } => reason != "changed meanwhile",
        _ => false,
    };
    steps.iter().filter(failed).collect()
}

fn is_closed(steward: &Steward) -> bool {
    steward.steps().iter().any(|entry| entry.step == Step::Closed)
}

#[test]
fn a_dead_nodes_pods_run_elsewhere_and_its_marks_go_when_it_returns() -> Result<()> {
    let lab = up("remedy", |_| ())?;
    deploy_nginx(&lab, Duration::from_secs(60))?;
    let file = kubeconfig_of(&lab, &format!("https://{HUB}:6443"))?;
    let first = start(lab.hub()?, file.path(), 1, Mode::Enforce);
    // One after the other: the order of the list is the order in which they act.
    until(
        "the first steward is in the roster",
        Duration::from_secs(20),
        || Ok(first.roster().stewards.len() == 1),
    )?;
    let second = start(lab.hub()?, file.path(), 2, Mode::Enforce);
    let stewards = [&first, &second];
    until(
        "two stewards and three members in both rosters",
        Duration::from_secs(20),
        || {
            let complete = |roster: Roster| roster.members.len() == 3 && roster.stewards.len() == 2;
            Ok(complete(first.roster()) && complete(second.roster()))
        },
    )?;
    until("the roster is published", Duration::from_secs(20), || {
        let map = "node-failure-detector-roster-0";
        let get = [
            "-n",
            NAMESPACE,
            "get",
            "configmap",
            map,
            "--ignore-not-found",
            "-o",
            "jsonpath={.data.members}",
        ];
        Ok(lab.kubectl(&get)?.matches("\"name\":\"node-").count() == 3)
    })?;

    // Death.
    let victim = "node-2";
    let roster = first.roster();
    let (subject, _) = roster.named(victim).context("no such member")?;
    let on_victim = || {
        let selector = format!("spec.nodeName={victim}");
        lab.kubectl(&[
            "get",
            "pods",
            "-l",
            "app=nginx",
            "--field-selector",
            &selector,
            "-o",
            "jsonpath={range .items[*]}{.metadata.name}={.metadata.deletionTimestamp} {end}",
        ])
    };
    let there: Vec<String> = on_victim()?
        .split_whitespace()
        .map(|pod| format!("default/{}", pod.trim_end_matches('=')))
        .collect();
    ensure!(!there.is_empty(), "no pod on the victim");
    lab.cut(victim)?;
    for steward in stewards {
        steward.say(warning(subject))?;
    }
    std::thread::sleep(Duration::from_millis(60));
    let verdict_us = clock::now().0 / 1_000;
    for steward in stewards {
        steward.say(changed(subject, Verdict::Dead))?;
    }
    // Where the first is late, as on a busy machine, the second goes on: together they do the work once.
    until("all steps done", Duration::from_secs(60), || {
        Ok(is_closed(&first) || is_closed(&second))
    })?;
    let steps = [first.steps(), second.steps()].concat();
    let death = times(&steps, verdict_us);
    eprintln!("ms after the verdict, kind: (writes, last answered): {death:#?}");
    ensure!(
        written(&steps, Write::Taint).len() == 1,
        "{:?}",
        written(&steps, Write::Taint)
    );
    ensure!(!written(&steps, Write::Slice).is_empty(), "no slice");
    let deleted = written(&steps, Write::Delete);
    ensure!(
        deleted == there.iter().map(String::as_str).collect(),
        "{there:?} were there, {deleted:?} deleted"
    );
    ensure!(
        written(&steps, Write::Mark).is_superset(&deleted),
        "all pods are marked"
    );
    ensure!(failures(&steps).is_empty(), "{:#?}", failures(&steps));
    let left = on_victim()?;
    ensure!(
        !left.split_whitespace().any(|pod| pod.ends_with('=')),
        "still there: {left}"
    );
    lab.kubectl(&["rollout", "status", "deployment/nginx", "--timeout=30s"])?;
    let ledger = || {
        lab.kubectl(&[
            "-n",
            NAMESPACE,
            "get",
            "configmap",
            "node-failure-detector-ledger",
            "-o",
            "jsonpath={.data.ledger}",
        ])
    };
    ensure!(ledger()?.contains("\"done\""), "{}", ledger()?);
    let events = lab.kubectl(&["get", "events", "-o", "jsonpath={.items[*].reason}"])?;
    ensure!(
        events.contains("NodeDead") && events.contains("PodsDeleted"),
        "{events}"
    );

    // Return.
    lab.heal(victim)?;
    for steward in stewards {
        steward.say(changed(subject, Verdict::Alive))?;
        steward.say(Judgement::Good {
            subject,
            boot: BOOT,
            rounds: 50,
            at: clock::now(),
        })?;
    }
    until("taint and entry are gone", Duration::from_secs(20), || {
        let taints = lab.kubectl(&["get", "node", victim, "-o", "jsonpath={.spec.taints}"])?;
        Ok(!taints.contains("node-failure-detector.io") && ledger()? == "{\"v\":1,\"entries\":[]}")
    })?;
    until("the condition says so", Duration::from_secs(20), || {
        let path = "jsonpath={.status.conditions[?(@.type==\"node-failure-detector.io/Reachable\")].status}";
        Ok(lab.kubectl(&["get", "node", victim, "-o", path])? == "True")
    })?;
    let steps = [first.steps(), second.steps()].concat();
    ensure!(failures(&steps).is_empty(), "{:#?}", failures(&steps));
    lab.down()
}

/// A Node that no kubelet knows, and two pods of a ReplicaSet on it.
const GHOST: &str = r#"
{apiVersion: v1, kind: Node, metadata: {name: ghost}}
---
{apiVersion: v1, kind: Node, metadata: {name: other}}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: set}
spec:
  replicas: 2
  selector: {matchLabels: {app: set}}
  template:
    metadata: {labels: {app: set}}
    spec: {nodeName: ghost, containers: [{name: c, image: none}]}
"#;

#[test]
fn observe_decides_everything_and_writes_only_the_roster() -> Result<()> {
    let lab = up("observe", |options| options.real = 0)?;
    lab.apply(GHOST)?;
    let versions = || {
        let node = lab.kubectl(&[
            "get",
            "node",
            "ghost",
            "-o",
            "jsonpath={.spec.taints} {.status.conditions[*].type}",
        ])?;
        let pods = lab.kubectl(&[
            "get",
            "pods",
            "-o",
            "jsonpath={.items[*].metadata.resourceVersion}",
        ])?;
        let map = "node-failure-detector-ledger";
        let get = ["-n", NAMESPACE, "get", "configmap", map];
        let ledger = lab.kubectl(&[&get[..], &["--ignore-not-found", "-o", "name"]].concat())?;
        let events = lab.kubectl(&["get", "events", "-o", "jsonpath={.items[*].reportingComponent}"])?;
        anyhow::Ok((
            node.contains("node-failure-detector"),
            pods,
            ledger,
            events.contains("steward"),
        ))
    };
    let file = kubeconfig_of(&lab, &format!("https://{HUB}:6443"))?;
    let steward = start(lab.hub()?, file.path(), 1, Mode::Observe);
    until("members", Duration::from_secs(20), || {
        let roster = steward.roster();
        Ok(roster.members.len() == 2 && roster.stewards.len() == 1)
    })?;
    until("two pods", Duration::from_secs(20), || {
        Ok(versions().is_ok_and(|(_, pods, ..)| pods.split_whitespace().count() == 2))
    })?;
    let before = versions()?;
    let roster = steward.roster();
    let (subject, _) = roster.named("ghost").context("no such member")?;
    steward.say(warning(subject))?;
    std::thread::sleep(Duration::from_millis(60));
    steward.say(changed(subject, Verdict::Dead))?;
    until("all steps done", Duration::from_secs(30), || {
        Ok(is_closed(&steward))
    })?;
    ensure!(
        versions()? == before,
        "something was written: {before:?}, {:?}",
        versions()?
    );
    ensure!(
        !before.0 && before.2.is_empty() && !before.3,
        "not a clean start: {before:?}"
    );
    let mut decided = BTreeMap::new();
    for entry in steward.steps() {
        match entry.step {
            Step::Decided { write, enforced, .. } => {
                ensure!(!enforced, "{write:?} was carried out");
                *decided.entry(write).or_insert(0) += 1;
            }
            Step::Written { write, .. } => anyhow::bail!("{write:?} was written"),
            _ => {}
        }
    }
    ensure!(decided.get(&Write::Taint) == Some(&1), "{decided:?}");
    ensure!(decided.get(&Write::Mark) == Some(&2), "{decided:?}");
    ensure!(decided.get(&Write::Delete) == Some(&2), "{decided:?}");
    lab.down()
}

#[test]
fn an_api_server_that_dies_with_the_node_costs_one_try() -> Result<()> {
    let lab = up("two-servers", |options| options.api_servers = 2)?;
    deploy_nginx(&lab, Duration::from_secs(60))?;
    // As a pod of node-1 would: through the service address, behind which both servers are.
    let file = kubeconfig_of(&lab, "https://10.96.0.1:443")?;
    let state = lab.state()?;
    let host = state
        .hosts
        .iter()
        .find(|host| host.name == "node-1")
        .context("no node-1")?;
    let steward = start(Namespace::open(&host.network)?, file.path(), 1, Mode::Enforce);
    until("members", Duration::from_secs(20), || {
        let roster = steward.roster();
        Ok(roster.members.len() == 3 && roster.stewards.len() == 1)
    })?;
    // Both servers have been found and have answered.
    std::thread::sleep(Duration::from_secs(5));
    let victim = "node-3";
    let roster = steward.roster();
    let (subject, _) = roster.named(victim).context("no such member")?;
    lab.cut(victim)?;
    std::thread::sleep(Duration::from_millis(90));
    steward.say(warning(subject))?;
    std::thread::sleep(Duration::from_millis(60));
    let verdict_us = clock::now().0 / 1_000;
    steward.say(changed(subject, Verdict::Dead))?;
    until("all steps done", Duration::from_secs(40), || {
        Ok(is_closed(&steward))
    })?;
    let steps = steward.steps();
    let death = times(&steps, verdict_us);
    eprintln!("ms after the verdict, kind: (writes, last answered): {death:#?}");
    let (_, tainted) = death.get(&Write::Taint).context("no taint")?;
    ensure!(*tainted < 1_500, "tainted after {tainted} ms");
    ensure!(
        death.get(&Write::Delete).is_some_and(|(count, _)| *count > 0),
        "no deletes: {steps:#?}"
    );
    lab.kubectl(&["rollout", "status", "deployment/nginx", "--timeout=30s"])?;
    lab.down()
}
