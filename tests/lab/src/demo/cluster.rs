//! The demo on a real cluster: nginx behind a NodePort, a client, and a power cut.
#![expect(clippy::print_stdout, reason = "a demo is for a terminal")]

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use super::DemoCommand;
use super::stock::Stock;
use crate::bench::failover::add;
use crate::bench::sharp::SHARP_MS;
use crate::failover::round::{Found, Goal, Round, await_alive, heal};
use crate::failover::timeline::Timeline;
use crate::lab::{Lab, Launcher};
use crate::options::{DetectorOptions, Options};
use crate::progress::Progress;
use crate::report::Report;
use crate::workload::deploy_nginx;

/// Any wait that is not measured.
const LIMIT: Duration = Duration::from_secs(120);
/// From the cut to Ready replacements.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// The client sends to a healthy cluster for so long first.
const LEAD: Duration = Duration::from_secs(2);
/// Who is cut: it carries a steward too.
const VICTIM: &str = "node-2";

/// The whole demo.
pub(super) fn run(command: &DemoCommand, detector: &Path) -> Result<ExitCode> {
    let began = Instant::now();
    let mut progress = Progress::terminal();
    let options = Options {
        detector: Some(DetectorOptions::enforcing(detector, &command.profile)),
        ..Options::new(&format!("demo-{}", std::process::id()))
    };
    progress.say("a cluster in namespaces of this machine: control plane and three nodes");
    let lab = Lab::up(&options, &Launcher::xtask()?, &mut progress)?;
    progress.stage("nginx: six pods Ready behind a NodePort", |_| {
        deploy_nginx(&lab, LIMIT)
    })?;
    progress.stage("every steward finds every node alive", |_| {
        await_alive(&lab, LIMIT)
    })?;
    println!(
        "\nA client sends 100 requests a second (a new connection each, 250 ms limit, no retry) to the other nodes.\nIn {} s \
         the power of {VICTIM} is cut: link down, every process killed.\n",
        LEAD.as_secs()
    );
    let round = Round::begin(&lab, VICTIM)?;
    std::thread::sleep(LEAD);
    let Found { cut, timeline, .. } = round.cut(Goal::Replaced, READY_LIMIT)?;
    println!("{}", table(&timeline, &Stock::committed()?));
    let took = cut.killed.ms_since(cut.started);
    if took > SHARP_MS {
        println!(
            "The cut itself took {took:.0} ms, as something else on this machine held the kernel's lock for network devices: \
             what followed it is less late than it looks.\n"
        );
    }

    let booted = Instant::now();
    let returned = heal(&lab, VICTIM, LIMIT)?;
    println!(
        "{VICTIM} is switched on again, with a new boot id:\n{returned:>9.0} ms  it has shown that it is back: taint off, \
         entry out of the ledger"
    );
    await_alive(&lab, LIMIT)?;
    println!(
        "{:>9.0} ms  every steward finds every node alive\n",
        booted.elapsed().as_secs_f64() * 1e3
    );
    let mut report = Report::new(
        "demo",
        json!({"nodes": 3, "stewards": 3, "pods": 6, "profile": command.profile, "victim": VICTIM}),
    );
    add(&mut report, "ours", std::slice::from_ref(&timeline));
    report.add("ours/cut", vec![took]);
    report.false_verdicts = timeline.false_verdicts;
    if let Some(path) = &command.json {
        report.write(path)?;
    }
    progress.stage("everything removed", |_| lab.down())?;
    println!("The demo took {:.0} s.", began.elapsed().as_secs_f64());
    ensure!(
        timeline.ready.is_some(),
        "the replacements were not Ready within {} s",
        READY_LIMIT.as_secs()
    );
    Ok(ExitCode::SUCCESS)
}

/// The timeline, beside the one of stock Kubernetes.
fn table(timeline: &Timeline, stock: &Stock) -> String {
    let verdict = timeline.evidence.as_ref().map_or_else(
        || "verdict: Dead".to_owned(),
        |evidence| {
            format!(
                "verdict: Dead ({} of {} observers silent, {} needed; {} probes lost in a row over {} ms)",
                evidence.silent,
                evidence.observers,
                evidence.quorum,
                evidence.losses,
                evidence.span_us / 1_000
            )
        },
    );
    let pods = timeline.pods;
    let window = match (timeline.client.first_ms, timeline.client.last_ms) {
        (Some(first), Some(last)) => format!(
            "{} of {} requests failed; they began from {first:.0} to {last:.0} ms",
            timeline.client.failed, timeline.client.sent
        ),
        _ => format!("none of {} requests failed", timeline.client.sent),
    };
    let (deleted, pods_deleted) = (timeline.deleted, format!("its {pods} pods deleted"));
    let lines = [
        (timeline.last_echo, "last probe that was answered", ""),
        (timeline.first_loss, "first probe that was lost", ""),
        (timeline.verdict, verdict.as_str(), "verdict"),
        (timeline.tainted, "tainted: no new pod lands there", "tainted"),
        (
            timeline.endpoints,
            "no endpoint there is ready any more",
            "endpoints",
        ),
        (timeline.second_look, "second look: still silent", ""),
        (deleted, pods_deleted.as_str(), "deleted"),
        (timeline.created, "replacements created", "created"),
        (timeline.scheduled, "replacements scheduled", "scheduled"),
        (timeline.ready, "replacements Ready", "ready"),
    ];
    let mut text = format!("{:>9}     {:>12}\n", "ms", "stock *");
    for (at, what, step) in lines {
        let at = at.map_or_else(|| "-".to_owned(), |at| format!("{at:.1}"));
        let _infallible = writeln!(text, "{at:>9} ms  {:>12}  {what}", stock.span(step));
    }
    let _infallible = writeln!(text, "client: {window}\n* {}", stock.source());
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::{Stock, Timeline, table};

    #[test]
    fn what_did_not_happen_is_shown_as_such_beside_what_stock_does() -> Result<()> {
        let timeline = Timeline {
            verdict: Some(141.26),
            ..Timeline::default()
        };
        let stock = Stock::committed()?;
        let table = table(&timeline, &stock);
        assert!(table.contains("    141.3 ms  "), "{table}");
        let ready = format!("        - ms  {:>12}  replacements Ready", stock.span("ready"));
        assert!(table.contains(&ready), "{table}");
        assert!(table.contains("not measured now"), "{table}");
        Ok(())
    }
}
