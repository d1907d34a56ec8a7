//! Agents and stewards on hosts of their own: what kills a node is told once and by all, and nothing else is.
#![expect(clippy::disallowed_methods, reason = "a lab is IO: clocks and waits")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use detector::incident::Entry;
use detector::judge::SubjectStatus;
use detector::judgement::{Cause, Causes, Verdict};
use detector::message::Ability;
use detector_lab::lab::Launcher;
use detector_lab::mesh::{Delay, Family, Mesh, MeshOptions, STEWARDS, dead};
use detector_lab::process::Running;
use detector_lab::progress::Progress;
use rustix::process::Signal;

/// Verdicts are due in a fraction of a second; a machine that is busy with other tests may take its time.
const VERDICT: Duration = Duration::from_secs(20);
/// For everything that takes a few seconds by design.
const SOON: Duration = Duration::from_secs(60);
/// The host's key, on disk and in the kernel, below a host's root.
const KEY_FILE: &str = "var/lib/node-failure-detector/key";
const KEY_PIN: &str = "sys/fs/bpf/node-failure-detector/host-key";
/// Long enough for every verdict that would be wrong: a dozen windows.
const LONG: Duration = Duration::from_secs(2);

fn options(nodes: u8) -> Result<MeshOptions> {
    let detector = std::env::var_os("DETECTOR_BIN")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_BIN_EXE_lab")).with_file_name("detector"));
    let launcher = Launcher::program(env!("CARGO_BIN_EXE_lab"));
    ensure!(
        detector.is_file(),
        "{}: `cargo xtask test` builds it",
        detector.display()
    );
    Ok(MeshOptions {
        nodes,
        ..MeshOptions::new("test", detector, launcher)
    })
}

/// Every `Dead`, by whom and about whom.
fn deaths(mesh: &mut Mesh) -> Result<Vec<(String, String)>> {
    let entries = mesh.entries()?.iter().filter(|entry| dead(entry).is_some());
    let mut deaths: Vec<_> = entries
        .map(|entry| (entry.steward.clone(), entry.node.clone()))
        .collect();
    deaths.sort();
    Ok(deaths)
}

fn by_each_steward(node: &str) -> Vec<(String, String)> {
    (1..=STEWARDS)
        .map(|number| (format!("steward-{number}"), node.to_owned()))
        .collect()
}

#[test]
fn a_cut_is_told_once_by_each_steward_and_healing_ends_it() -> Result<()> {
    let mut mesh = Mesh::up(&options(9)?, &mut Progress::terminal())?;
    let before = mesh.boot_id("node-4")?;
    let death = mesh.cut("node-4")?;
    let verdicts = mesh.await_verdicts(&death, VERDICT)?;
    ensure!(verdicts.len() == usize::from(STEWARDS), "{verdicts:#?}");
    for entry in verdicts.values() {
        let evidence = dead(entry).context("a verdict of Dead")?;
        // The law, as far as the record shows it.
        ensure!(evidence.silent >= evidence.quorum, "{entry:#?}");
        ensure!(evidence.span_us >= 120_000, "{entry:#?}");
        ensure!(
            death.ms(entry) >= 120.0 - 20.0,
            "{} ms: {entry:#?}",
            death.ms(entry)
        );
    }
    std::thread::sleep(LONG);
    assert_eq!(deaths(&mut mesh)?, by_each_steward("node-4"));
    assert_eq!(mesh.false_verdicts()?, []);

    let after = mesh.heal("node-4")?;
    assert_ne!(before, after);
    mesh.await_ready(SOON)?;
    std::thread::sleep(LONG);
    assert_eq!(deaths(&mut mesh)?, by_each_steward("node-4"));
    mesh.down()
}

#[test]
fn agents_come_and_go_and_no_node_dies_of_it() -> Result<()> {
    let mut mesh = Mesh::up(&options(5)?, &mut Progress::terminal())?;
    let echo = mesh.agent("node-1")?;
    ensure!(
        echo.echo_mode != "user",
        "the kernel answers nothing: {}",
        echo.echo_reason
    );
    let before = mesh.boot_id("node-1")?;
    let about = |mesh: &mut Mesh| -> Result<Vec<Entry>> {
        let entries = mesh.entries()?.iter().filter(|entry| entry.node == "node-1");
        Ok(entries.cloned().collect())
    };

    // Stopped for two seconds, an agent here and everything there: the kernels go on.
    mesh.signal("node-1", Signal::STOP)?;
    mesh.pause("node-2", true)?;
    std::thread::sleep(LONG);
    mesh.signal("node-1", Signal::CONT)?;
    mesh.pause("node-2", false)?;
    mesh.await_ready(SOON)?;
    assert_eq!(deaths(&mut mesh)?, []);

    // Started again at once: nobody notices.
    let entries = about(&mut mesh)?;
    mesh.end("node-1", Signal::KILL)?;
    mesh.start("node-1")?;
    mesh.await_ready(SOON)?;
    assert_eq!(about(&mut mesh)?, entries);

    // Gone without a word: its kernel answers, its stamp grows old.
    mesh.end("node-1", Signal::KILL)?;
    mesh.await_each("node-1", SOON, |status| status.verdict == Verdict::Degraded)?;
    std::thread::sleep(LONG);
    assert_eq!(deaths(&mut mesh)?, []);
    mesh.start("node-1")?;
    mesh.await_ready(SOON)?;

    // Gone with a word.
    mesh.end("node-1", Signal::TERM)?;
    mesh.await_each("node-1", SOON, |status| status.verdict == Verdict::Away)?;
    mesh.start("node-1")?;
    mesh.await_ready(SOON)?;

    assert_eq!(deaths(&mut mesh)?, []);
    assert_eq!(mesh.boot_id("node-1")?, before);
    mesh.down()
}

/// Ends the agent of `node-1`, removes these files of its host, starts it, and waits for its first answer: what it says
/// to an operator.
fn restart_without(mesh: &Mesh, files: &[&str]) -> Result<String> {
    mesh.end("node-1", Signal::KILL)?;
    for file in files {
        fs::remove_file(mesh.root("node-1")?.join(file)).with_context(|| (*file).to_owned())?;
    }
    mesh.start("node-1")?;
    await_that(|| Ok(mesh.agent("node-1").is_ok()))?;
    mesh.agent("node-1")?.alarm.context("no alarm")
}

/// Cuts a node: every steward condemns it, and nobody else.
fn each_steward_tells_the_death_of(mesh: &mut Mesh, node: &str) -> Result<()> {
    let death = mesh.cut(node)?;
    let verdicts = mesh.await_verdicts(&death, VERDICT)?;
    ensure!(verdicts.len() == usize::from(STEWARDS), "{verdicts:#?}");
    assert_eq!(mesh.false_verdicts()?, []);
    Ok(())
}

/// Whether a steward knows that the host's key was not in its file.
fn is_told(status: &SubjectStatus) -> bool {
    status.verdict == Verdict::Degraded && status.causes == Causes::NONE.with(Cause::Key)
}

/// Whether `node-1` hears so many subjects.
fn observes(mesh: &Mesh, count: usize) -> Result<bool> {
    // It may not listen yet.
    let Ok(agent) = mesh.agent("node-1") else {
        return Ok(false);
    };
    let heard = agent.subjects.iter().filter(|subject| subject.rtt_ms.is_some());
    Ok(heard.count() == count)
}

#[test]
fn a_key_file_that_is_gone_changes_no_key_and_is_told() -> Result<()> {
    // Two observers each: without either of them there is no verdict.
    let mut mesh = Mesh::up(&options(3)?, &mut Progress::terminal())?;
    let file = mesh.root("node-1")?.join(KEY_FILE);
    let key = fs::read(&file)?;
    ensure!(mesh.agent("node-1")?.alarm.is_none());

    let alarm = restart_without(&mesh, &[KEY_FILE])?;
    ensure!(alarm.contains("going on with the key that is pinned"), "{alarm}");
    ensure!(fs::read(&file)? == key, "another key");
    mesh.await_each("node-1", SOON, is_told)?;
    await_that(|| observes(&mesh, 2))?;
    each_steward_tells_the_death_of(&mut mesh, "node-2")?;
    mesh.down()
}

#[test]
fn pairs_keys_alone_answer_and_make_no_observer() -> Result<()> {
    let mut mesh = Mesh::up(&options(3)?, &mut Progress::terminal())?;
    let root = mesh.root("node-1")?;
    let key = fs::read(root.join(KEY_FILE))?;

    let alarm = restart_without(&mesh, &[KEY_FILE, KEY_PIN])?;
    ensure!(alarm.contains("only the pairs' keys are pinned"), "{alarm}");
    // By its echoes alone: it can seal nothing.
    mesh.await_each("node-1", SOON, is_told)?;
    std::thread::sleep(LONG);
    assert_eq!(deaths(&mut mesh)?, []);
    ensure!(mesh.agent("node-1")?.subjects.is_empty(), "it observes");
    ensure!(
        !root.join(KEY_FILE).exists() && !root.join(KEY_PIN).exists(),
        "a key out of nothing"
    );

    // As an operator does.
    fs::write(root.join(KEY_FILE), key)?;
    fs::set_permissions(root.join(KEY_FILE), fs::Permissions::from_mode(0o600))?;
    mesh.end("node-1", Signal::KILL)?;
    mesh.start("node-1")?;
    await_that(|| observes(&mesh, 2))?;
    mesh.await_ready(SOON)?;
    ensure!(mesh.agent("node-1")?.alarm.is_none());
    ensure!(root.join(KEY_PIN).exists(), "the key is not pinned again");
    assert_eq!(deaths(&mut mesh)?, []);
    mesh.down()
}

#[test]
fn an_observer_whose_cable_is_pulled_says_so_until_it_is_back() -> Result<()> {
    let mesh = Mesh::up(&options(3)?, &mut Progress::terminal())?;
    let is = |ability: Ability| {
        let subjects = mesh.agent("node-1")?.subjects;
        Ok(subjects.len() == 2 && subjects.iter().all(|subject| subject.ability == ability))
    };
    let cable = |state: &str| mesh.hub().exec(&["ip", "link", "set", "node-1", state]);
    await_that(|| is(Ability::Able))?;
    cable("down")?;
    await_that(|| is(Ability::LinkDown))?;
    cable("up")?;
    await_that(|| is(Ability::Able))?;
    mesh.down()
}

#[test]
fn a_cut_is_told_over_ipv6_and_slow_wires() -> Result<()> {
    let delay = Delay {
        mean: Duration::from_millis(1),
        jitter: Duration::from_micros(500),
    };
    let options = MeshOptions {
        family: Family::V6,
        delay: Some(delay),
        ..options(3)?
    };
    let mut mesh = Mesh::up(&options, &mut Progress::terminal())?;
    let rtt = mesh.agent("node-1")?.subjects;
    ensure!(
        rtt.iter()
            .all(|subject| subject.rtt_ms.is_some_and(|rtt| rtt >= 1.0)),
        "no delay: {rtt:?}"
    );
    each_steward_tells_the_death_of(&mut mesh, "node-2")?;
    mesh.down()
}

#[test]
fn a_mesh_whose_owner_is_killed_leaves_nothing() -> Result<()> {
    let MeshOptions { detector, .. } = options(2)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesh_owner"));
    command
        .arg(detector)
        .arg(env!("CARGO_BIN_EXE_lab"))
        .stdin(Stdio::piped());
    let owner = Running::start(command)?;
    let root = PathBuf::from(format!("/tmp/detector-mesh/owner-{}", owner.id()));
    // All is there when the last steward answers.
    let socket = root.join(format!("status/steward-{STEWARDS}"));
    await_that(|| Ok(socket.exists()))?;
    let networks = networks_below(owner.id())?;
    ensure!(networks.len() > usize::from(STEWARDS), "{networks:?}");
    // Dropped, it is killed.
    drop(owner);
    await_that(|| Ok(!root.exists() && processes_in(&networks)?.is_empty()))
        .with_context(|| format!("{:?} is left", processes_in(&networks)))
}

fn await_that(condition: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + SOON;
    while !condition()? {
        ensure!(Instant::now() < deadline, "not so after {} s", SOON.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Every process, with its parent and the inode of its network namespace.
fn processes() -> Result<Vec<(u32, u32, u64)>> {
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc")?.filter_map(Result::ok) {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
        let parent = fields
            .split_whitespace()
            .nth(1)
            .and_then(|field| field.parse().ok());
        let network = fs::metadata(entry.path().join("ns/net")).map(|metadata| metadata.ino());
        if let (Some(parent), Ok(network)) = (parent, network) {
            processes.push((pid, parent, network));
        }
    }
    Ok(processes)
}

/// The network namespaces of a process's children, other than its own.
fn networks_below(owner: u32) -> Result<Vec<u64>> {
    let processes = processes()?;
    let own = processes.iter().find(|(pid, _, _)| *pid == owner);
    let own = own
        .map(|(_, _, network)| *network)
        .context("the owner has ended")?;
    let children = processes.iter().filter(|(_, parent, _)| *parent == owner);
    Ok(children
        .map(|(_, _, network)| *network)
        .filter(|network| *network != own)
        .collect())
}

fn processes_in(networks: &[u64]) -> Result<Vec<u32>> {
    let processes = processes()?;
    let inside = processes
        .iter()
        .filter(|(_, _, network)| networks.contains(network));
    Ok(inside.map(|(pid, _, _)| *pid).collect())
}
