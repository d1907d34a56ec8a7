//! The whole way on a real control plane: real agents and stewards, a node whose power is cut, its pods elsewhere, and its
//! return; first in `observe`, which must write none of it, then in `enforce`; then a kubelet that hangs. What is checked is
//! order and outcome, from the incident records; the times are printed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use detector::incident::{Entry, Step, Write};
use detector::names::DEGRADED_TAINT;
use detector::profile::{DEGRADED_TAINT_AFTER, DEGRADED_UNTAINT_AFTER};
use detector_lab::audit::Comparison;
use detector_lab::detector::NAMESPACE;
use detector_lab::failover::round::{Found, heal, until};
use detector_lab::failover::sightings::What;
use detector_lab::failover::{Goal, Round, await_alive};
use detector_lab::lab::{Lab, Launcher};
use detector_lab::moment::Moment;
use detector_lab::options::{DetectorOptions, Options};
use detector_lab::processes::signal_role;
use detector_lab::progress::Progress;
use detector_lab::workload::{deploy_nginx, spread_nginx};
use rustix::process::Signal;

/// For each wait: a machine that is busy with something else may be slow, not wrong.
const LIMIT: Duration = Duration::from_secs(60);

/// A pod on the victim that has a claim of its own: it is marked, and left to stock Kubernetes.
const CLAIMING: &str = r"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}, storageClassName: none}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: claiming}
spec:
  selector: {matchLabels: {app: claiming}}
  template:
    metadata: {labels: {app: claiming}}
    spec:
      nodeName: node-1
      containers: [{name: c, image: lab.local/nginx:1, imagePullPolicy: Never}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
";

/// The program under test, with its kernel programs where xtask built it.
fn detector() -> PathBuf {
    let beside = || Path::new(env!("CARGO_BIN_EXE_lab")).with_file_name("detector");
    std::env::var_os("DETECTOR_BIN").map_or_else(beside, PathBuf::from)
}

/// Where in a steward's record the first entry of a kind is.
fn position(entries: &[&Entry], what: &str, is: impl Fn(&Step) -> bool) -> Result<usize> {
    entries
        .iter()
        .position(|entry| is(&entry.step))
        .with_context(|| format!("no {what} in {entries:#?}"))
}

fn decided(step: &Step, kind: Write) -> bool {
    matches!(step, Step::Decided { write, .. } if *write == kind)
}

/// One steward decided everything, in the order of the design.
fn check_order(entries: &[Entry], victim: &str, pods: usize) -> Result<()> {
    let deletes = |steward: &str| {
        let theirs = entries.iter().filter(|entry| entry.steward == steward);
        theirs.filter(|entry| decided(&entry.step, Write::Delete)).count()
    };
    let stewards: BTreeSet<_> = entries.iter().map(|entry| entry.steward.as_str()).collect();
    let actor = stewards
        .into_iter()
        .find(|steward| deletes(steward) > 0)
        .with_context(|| format!("nobody deleted: {entries:#?}"))?;
    ensure!(
        deletes(actor) == pods,
        "{actor} deleted {} pods of {pods}",
        deletes(actor)
    );
    let own: Vec<_> = entries
        .iter()
        .filter(|entry| entry.steward == actor && entry.node == victim)
        .collect();
    let at = |kind: Write| position(&own, &format!("{kind:?}"), |step| decided(step, kind));
    let verdict = position(&own, "verdict", |step| matches!(step, Step::Verdict { .. }))?;
    let looked = position(&own, "second look", |step| {
        matches!(step, Step::Looked { dead: true, .. })
    })?;
    let ledger = at(Write::Ledger)?;
    let order = [
        ("verdict < ledger", verdict, ledger),
        ("ledger < taint", ledger, at(Write::Taint)?),
        ("ledger < slice", ledger, at(Write::Slice)?),
        ("taint < mark", at(Write::Taint)?, at(Write::Mark)?),
        ("mark < second look", at(Write::Mark)?, looked),
        ("second look < delete", looked, at(Write::Delete)?),
    ];
    for (what, earlier, later) in order {
        ensure!(earlier < later, "not {what}: {own:#?}");
    }
    Ok(())
}

fn check_common(found: &Found) -> Result<()> {
    let timeline = &found.timeline;
    eprintln!("{timeline:#?}");
    ensure!(timeline.pods > 0, "no pod on the victim");
    ensure!(
        timeline.false_verdicts == 0,
        "a false verdict: {:#?}",
        found.entries
    );
    let evidence = timeline.evidence.as_ref().context("no verdict")?;
    ensure!(
        evidence.silent >= evidence.quorum && evidence.span_us >= 120_000,
        "too little for a verdict: {evidence:?}"
    );
    check_order(&found.entries, &timeline.victim, timeline.pods)
}

fn taints(lab: &Lab, node: &str) -> Result<String> {
    lab.kubectl(&["get", "node", node, "-o", "jsonpath={.spec.taints[*].key}"])
}

/// What is written about a node, in one line.
fn traces(lab: &Lab, node: &str) -> Result<String> {
    let taints = taints(lab, node)?;
    // `observe` makes none.
    let map = "node-failure-detector-ledger";
    let ledger = lab.kubectl(&[
        "-n",
        NAMESPACE,
        "get",
        "configmap",
        map,
        "--ignore-not-found",
        "-o",
        "jsonpath={.data.ledger}",
    ])?;
    Ok(format!("taints: {taints}; ledger: {ledger}"))
}

/// Marks are not looked for: the pods' own kubelet and the disruption controller take them off, the latter after two minutes.
fn is_clean(traces: &str) -> bool {
    !traces.contains("node-failure-detector.io/dead") && !traces.contains("incident")
}

fn observe(lab: &Lab) -> Result<()> {
    let victim = "node-2";
    let found = Round::begin(lab, victim)?.cut(Goal::Closed, LIMIT)?;
    check_common(&found)?;
    for entry in &found.entries {
        let written = matches!(
            entry.step,
            Step::Written { .. } | Step::Decided { enforced: true, .. }
        );
        ensure!(!written, "observe wrote: {entry:?}");
    }
    let touched = |what: &What| match what {
        What::Node { taints, .. } => taints.iter().any(|key| key.contains("node-failure-detector")),
        What::Pod(pod) => pod.leaving,
        What::Slice { .. } => false,
    };
    let touched: Vec<_> = found
        .seen
        .iter()
        .filter(|sighting| touched(&sighting.what))
        .collect();
    ensure!(
        touched.is_empty() && found.timeline.endpoints.is_none(),
        "observe changed the cluster: {touched:#?}"
    );
    let traces = traces(lab, victim)?;
    ensure!(is_clean(&traces), "{traces}");
    eprintln!("observe: returned after {:.0} ms", heal(lab, victim, LIMIT)?);
    await_alive(lab, LIMIT)
}

fn enforce(lab: &Lab) -> Result<()> {
    let victim = "node-1";
    let found = Round::begin(lab, victim)?.cut(Goal::Replaced, LIMIT)?;
    check_common(&found)?;
    let timeline = &found.timeline;
    ensure!(
        timeline.tainted.is_some() && timeline.endpoints.is_some() && timeline.ready.is_some(),
        "not done: {:#?}",
        found.entries
    );
    let failed: Vec<_> = found
        .entries
        .iter()
        .filter(|entry| matches!(entry.step, Step::Failed { .. }))
        .collect();
    ensure!(failed.is_empty(), "{failed:#?}");
    let spared = found
        .entries
        .iter()
        .any(|entry| matches!(&entry.step, Step::Spared { pod, .. } if pod.starts_with("default/claiming-")));
    ensure!(
        spared,
        "the pod with a claim was not spared: {:#?}",
        found.entries
    );
    let on_it = |before: bool| -> BTreeSet<String> {
        let pods = found.seen.iter().filter_map(|sighting| match &sighting.what {
            What::Pod(pod) if (sighting.at.ms_since(found.cut.started) < 0.0) == before => Some(pod),
            _ => None,
        });
        pods.filter(|pod| pod.node.as_deref() == Some(victim))
            .map(|pod| pod.uid.clone())
            .collect()
    };
    ensure!(
        on_it(false).is_subset(&on_it(true)),
        "a replacement went to the dead node"
    );
    eprintln!("enforce: returned after {:.0} ms", heal(lab, victim, LIMIT)?);
    until("taint and entry are gone", LIMIT, || {
        Ok(is_clean(&traces(lab, victim)?))
    })
    .with_context(|| traces(lab, victim).unwrap_or_default())?;
    await_alive(lab, LIMIT)
}

/// A kubelet that hangs on a node whose kernel answers: after a while no new pods, and nothing else, until it is back.
fn kubelet_down(lab: &Lab) -> Result<()> {
    let victim = "node-2";
    let hosts = lab.state()?.hosts;
    let host = hosts.iter().find(|host| host.name == victim);
    let init = host.context("no such host")?.init;
    let signal = |signal| signal_role(init, "control-plane", "kubelet", signal);
    let is_tainted = || -> Result<bool> { Ok(taints(lab, victim)?.contains(DEGRADED_TAINT)) };
    let pods = || {
        let selector = format!("--field-selector=spec.nodeName={victim}");
        let path = "jsonpath={range .items[*]}{.metadata.uid}={.metadata.deletionTimestamp} {end}";
        lab.kubectl(&["get", "pods", "-A", &selector, "-o", path])
    };
    let before = pods()?;

    ensure!(signal(Signal::STOP)? == 1, "one kubelet");
    let stopped = Moment::now();
    until("it is tainted", LIMIT, is_tainted)?;
    let tainted = Moment::now().ms_since(stopped);
    ensure!(
        tainted >= DEGRADED_TAINT_AFTER.as_secs_f64() * 1e3,
        "tainted after {tainted:.0} ms"
    );
    let after = pods()?;
    ensure!(after == before, "its pods were {before}, and are {after}");

    ensure!(signal(Signal::CONT)? == 1, "one kubelet");
    let back = Moment::now();
    until("the taint is gone", LIMIT, || Ok(!is_tainted()?))?;
    let untainted = Moment::now().ms_since(back);
    ensure!(
        untainted >= DEGRADED_UNTAINT_AFTER.as_secs_f64() * 1e3,
        "untainted after {untainted:.0} ms"
    );
    eprintln!("kubelet down: tainted after {tainted:.0} ms, untainted {untainted:.0} ms after its return");
    let of_it = format!("--field-selector=involvedObject.name={victim}");
    let events = lab.kubectl(&["get", "events", &of_it, "-o", "jsonpath={.items[*].reason}"])?;
    for reason in ["NodeDegraded", "NodeTainted", "NodeUntainted"] {
        ensure!(
            events.split_whitespace().any(|event| event == reason),
            "no {reason}: {events}"
        );
    }
    await_alive(lab, LIMIT)
}

/// What the roles grant is what was used.
fn rights(lab: &Lab) -> Result<()> {
    let log = fs::read_to_string(lab.layout().audit_log(1))?;
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole).to_owned();
    let comparison = lab.with_cluster(|cluster| Comparison::of(cluster, &[whole]))?;
    eprintln!("{comparison}");
    ensure!(
        comparison.unused().is_empty(),
        "granted and not used: {:#?}",
        comparison.unused()
    );
    ensure!(
        comparison.not_ours().is_empty() && comparison.refused.is_empty(),
        "used and not granted: {:#?}, {:#?}",
        comparison.not_ours(),
        comparison.refused
    );
    Ok(())
}

fn agents_and_stewards(mode: &str) -> DetectorOptions {
    DetectorOptions {
        binary: detector(),
        agent_args: Vec::new(),
        steward_args: vec![format!("--mode={mode}")],
    }
}

fn up(name: &str, mode: &str, api_servers: u8) -> Result<Lab> {
    let options = Options {
        detector: Some(agents_and_stewards(mode)),
        api_servers,
        ..Options::new(&format!("{name}-{}", std::process::id()))
    };
    let launcher = Launcher::program(env!("CARGO_BIN_EXE_lab"));
    let lab = Lab::up(&options, &launcher, &mut Progress::terminal())?;
    deploy_nginx(&lab, LIMIT)?;
    await_alive(&lab, LIMIT)?;
    Ok(lab)
}

#[test]
fn a_dead_nodes_pods_run_elsewhere_where_it_is_enforced_and_nothing_is_touched_where_not() -> Result<()> {
    let lab = up("failover", "observe", 1)?;
    observe(&lab)?;

    lab.reconfigure(&agents_and_stewards("enforce"))?;
    spread_nginx(&lab, LIMIT)?;
    lab.apply(CLAIMING)?;
    await_alive(&lab, LIMIT)?;
    enforce(&lab)?;
    kubelet_down(&lab)?;
    rights(&lab)?;
    lab.down()
}

/// A connection to the API server that died with the node costs a try of 500 ms at most, and never the remediation.
#[test]
fn one_of_two_api_servers_dies_with_the_node() -> Result<()> {
    let lab = up("two-apis", "enforce", 2)?;
    let found = Round::begin(&lab, "node-3")?.cut(Goal::Replaced, LIMIT)?;
    check_common(&found)?;
    let timeline = &found.timeline;
    let (verdict, tainted) = timeline.verdict.zip(timeline.tainted).context("no taint")?;
    ensure!(
        tainted - verdict < 3_000.0,
        "tainted {:.0} ms after the verdict: {:#?}",
        tainted - verdict,
        found.entries
    );
    ensure!(timeline.ready.is_some(), "not replaced: {:#?}", found.entries);
    lab.down()
}
