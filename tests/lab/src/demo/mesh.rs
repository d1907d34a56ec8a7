//! The demo without Kubernetes.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use detector::incident::{Entry, Step};
use detector::judgement::{Evidence, Verdict};
use serde_json::json;

use super::DemoCommand;
use crate::lab::Launcher;
use crate::mesh::{Death, Mesh, MeshOptions, STEWARDS, dead};
use crate::progress::Progress;
use crate::report::Report;

/// Everybody has heard everybody for so long when the power is cut.
const SETTLE: Duration = Duration::from_secs(2);
/// A verdict that takes longer is none.
const VERDICT_LIMIT: Duration = Duration::from_secs(10);
/// The stewards go on with the incident for so long before the node is switched on again.
const WATCH: Duration = Duration::from_secs(2);
/// From the boot until everybody hears the node.
const HEAL_LIMIT: Duration = Duration::from_secs(60);

/// The whole demo.
pub(super) fn run(command: &DemoCommand, detector: &Path) -> Result<ExitCode> {
    let began = Instant::now();
    let mut progress = Progress::terminal();
    let options = MeshOptions {
        nodes: command.nodes,
        profile: command.profile.clone(),
        ..MeshOptions::new("demo", detector.to_owned(), Launcher::xtask()?)
    };
    let mut mesh = Mesh::up(&options, &mut progress)?;
    let victim = mesh
        .nodes()
        .last()
        .map(str::to_owned)
        .context("a mesh without agents")?;
    let echo = mesh.agent(&victim)?;
    say(&format!(
        "\n{} agents ask each other; probes are answered by {} ({}), the probing thread has {}.\n\
         In {} s the power of {victim} is cut.\n",
        command.nodes,
        echo.echo_mode,
        echo.echo_reason,
        echo.scheduling,
        SETTLE.as_secs()
    ))?;
    std::thread::sleep(SETTLE);
    let death = mesh.cut(&victim)?;
    let verdicts = mesh.await_verdicts(&death, VERDICT_LIMIT)?;
    std::thread::sleep(WATCH);
    let entries = about(&mut mesh, &death)?;
    say(&timeline(&death, &entries))?;
    let first = mesh.stewards().next().map(str::to_owned).unwrap_or_default();
    let (verdict, evidence) = verdicts
        .get(&first)
        .and_then(|entry| Some((entry, dead(entry)?)))
        .with_context(|| format!("{first} gave no verdict within {} s", VERDICT_LIMIT.as_secs()))?;

    let healed = Instant::now();
    mesh.heal(&victim)?;
    let booted = healed.elapsed();
    mesh.await_ready(HEAL_LIMIT)?;
    let returned = ms(healed.elapsed());
    say(&format!(
        "{victim} is switched on again, with a new boot id:\n{:>9.1} ms  its first process runs\n{:>9.1} ms  every steward: \
         all members Alive again\n",
        ms(booted),
        returned
    ))?;

    let mut report = Report::new(
        "demo",
        json!({"nodes": command.nodes, "stewards": STEWARDS, "profile": command.profile, "kubernetes": false,
            "echo": echo.echo_mode}),
    );
    let age = |age: Option<u64>| age.map(|age| death.ms_at(verdict.at_us.saturating_sub(age)));
    report.add("ours/last_echo", age(evidence.last_echo_us).into_iter().collect());
    report.add(
        "ours/first_loss",
        age(evidence.first_loss_us).into_iter().collect(),
    );
    report.add(
        "ours/verdict",
        verdicts.values().map(|entry| death.ms(entry)).collect(),
    );
    report.add("ours/returned_from_boot", vec![returned]);
    report.false_verdicts = mesh.false_verdicts()?.len();
    if let Some(path) = &command.json {
        report.write(path)?;
    }
    progress.stage("everything removed", |_| mesh.down())?;
    say(&format!(
        "\n{}\n{:.0} s in all, without building.",
        report.table(),
        began.elapsed().as_secs_f64()
    ))?;
    ensure!(report.false_verdicts == 0, "there were false verdicts");
    Ok(ExitCode::SUCCESS)
}

/// What the stewards recorded about a death.
fn about(mesh: &mut Mesh, death: &Death) -> Result<Vec<Entry>> {
    let entries = mesh.entries()?.iter();
    let about = entries.filter(|entry| entry.node == death.node && entry.boot == death.boot);
    Ok(about.cloned().collect())
}

/// The incident as lines, by time.
fn timeline(death: &Death, entries: &[Entry]) -> String {
    let mut lines: Vec<(f64, String)> = vec![(
        0.0,
        format!("power of {} cut: link down, and every process killed", death.node),
    )];
    let first = entries.iter().find_map(|entry| Some((entry, dead(entry)?)));
    if let Some((entry, evidence)) = first {
        let age = |age: Option<u64>| age.map(|age| death.ms_at(entry.at_us.saturating_sub(age)));
        lines.extend(
            age(evidence.last_echo_us).map(|at| (at, "the last probe that it answered was sent".to_owned())),
        );
        lines.extend(
            age(evidence.first_loss_us)
                .map(|at| (at, "the first probe that it did not answer was sent".to_owned())),
        );
    }
    lines.extend(entries.iter().map(|entry| (death.ms(entry), line(entry))));
    lines.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut text = String::new();
    for (at, line) in &lines {
        // A steward repeats itself while it waits: once is enough here.
        let count = counts.entry(line).or_default();
        *count += 1;
        if *count == 1 {
            text.push_str(&format!("{at:>9.1} ms  {line}\n"));
        }
    }
    text
}

fn line(entry: &Entry) -> String {
    let what = match &entry.step {
        Step::Suspected => "suspects it (half the evidence)".to_owned(),
        Step::Verdict {
            verdict: Verdict::Dead,
            evidence,
            ..
        } => format!("DEAD: {}", words(evidence)),
        Step::Verdict { verdict, .. } => format!("{verdict:?}"),
        Step::Held { hold } => format!("held back: {hold:?}"),
        Step::Decided {
            write,
            object,
            enforced,
        } => {
            let how = if *enforced { "" } else { " (observe: not written)" };
            format!("would write {write:?} of {object}{how}")
        }
        Step::Written { write, object, .. } => format!("has written {write:?} of {object}"),
        Step::Failed { write, reason, .. } => format!("{write:?} failed: {reason}"),
        Step::Looked { dead, evidence } => {
            format!(
                "second look: {}: {}",
                if *dead { "still dead" } else { "not dead" },
                words(evidence)
            )
        }
        Step::Spared { pod, reason } => format!("spares {pod}: {reason}"),
        Step::Revoked => "heard again".to_owned(),
        Step::Returned => "has returned".to_owned(),
        Step::Closed => "closed".to_owned(),
    };
    format!("{}: {what}", entry.steward)
}

fn words(evidence: &Evidence) -> String {
    format!(
        "{} of {} observers silent ({} needed, {} not able), {} losses over {:.0} ms, weight {:.0}",
        evidence.silent,
        evidence.observers,
        evidence.quorum,
        evidence.unable,
        evidence.losses,
        evidence.span_us as f64 / 1e3,
        evidence.weight
    )
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn say(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").context("writing to the terminal")
}
