//! A real cluster: comes up, serves, loses a node by a power cut, gets it back, and leaves nothing behind.
#![expect(clippy::disallowed_methods, reason = "a lab is IO: clocks and waits")]

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use detector_lab::api::is_ready;
use detector_lab::client::{Client, ErrorWindow, Outcome, request};
use detector_lab::control::State;
use detector_lab::lab::{Lab, Launcher};
use detector_lab::machine::Power;
use detector_lab::netns::Namespace;
use detector_lab::options::Options;
use detector_lab::progress::Progress;
use detector_lab::workload::{deploy_nginx, nginx_targets};

fn up(name: &str, real: u8) -> Result<Lab> {
    let options = Options {
        real,
        ..Options::new(&format!("{name}-{}", std::process::id()))
    };
    Lab::up(
        &options,
        &Launcher::program(env!("CARGO_BIN_EXE_lab")),
        &mut Progress::terminal(),
    )
}

/// What of a lab can be found from outside.
struct Traces {
    name: String,
    root: PathBuf,
    /// Inodes of its network namespaces.
    networks: BTreeSet<u64>,
}

impl Traces {
    fn of(lab: &Lab, state: &State) -> Result<Self> {
        let hub = PathBuf::from(format!("/proc/{}/ns/net", state.supervisor));
        let hosts = state.hosts.iter().map(|host| host.network.clone());
        let paths = hosts.chain([hub, state.client.clone()]);
        let networks = paths
            .map(|path| Ok(fs::metadata(path)?.ino()))
            .collect::<Result<_>>()?;
        let root = lab.layout().root().to_owned();
        Ok(Self {
            name: lab.layout().name().to_owned(),
            root,
            networks,
        })
    }

    /// Everything that is still there, in words.
    fn left(&self) -> Result<Vec<String>> {
        let mut left = Vec::new();
        for entry in fs::read_dir("/proc")?.filter_map(Result::ok) {
            let network = fs::metadata(entry.path().join("ns/net")).map(|meta| meta.ino());
            let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words).replace('\0', " ");
            let named = words.contains(&self.root.display().to_string());
            if named || network.is_ok_and(|inode| self.networks.contains(&inode)) {
                left.push(format!("process {}: {words}", entry.file_name().display()));
            }
        }
        let cgroups = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(cgroups)?
            .filter_map(Result::ok)
            .map(|entry| entry.path());
        for hierarchy in hierarchies
            .chain([cgroups.to_owned()])
            .filter(|path| path.is_dir())
        {
            for entry in fs::read_dir(hierarchy)?.filter_map(Result::ok) {
                if entry.file_name().to_string_lossy().contains(&self.name) {
                    left.push(format!("cgroup {}", entry.path().display()));
                }
            }
        }
        if fs::read_to_string("/proc/self/mountinfo")?.contains(&self.name) {
            left.push("a mount".to_owned());
        }
        if self.root.exists() {
            left.push(format!("folder {}", self.root.display()));
        }
        Ok(left)
    }
}

#[test]
fn a_node_is_cut_and_comes_back_and_nothing_is_left() -> Result<()> {
    let lab = up("cluster", 3)?;
    let state = lab.state()?;
    deploy_nginx(&lab, Duration::from_secs(60))?;

    let targets = nginx_targets(&state);
    ensure!(targets.len() == 3, "{targets:?}");
    for target in &targets {
        let answer = request(&lab.client()?, *target)?;
        ensure!(
            answer.outcome == Outcome::Answered,
            "no answer through {target}: {answer:?}"
        );
    }

    // Behind the service's address too, as any process of a node would ask.
    let service = lab.kubectl(&["get", "service", "nginx", "-o", "jsonpath={.spec.clusterIP}"])?;
    let node = state.hosts.first().context("no host")?;
    let answer = request(
        &Namespace::open(&node.network)?,
        SocketAddr::new(service.trim().parse()?, 80),
    )?;
    ensure!(
        answer.outcome == Outcome::Answered,
        "no answer by the service's address: {answer:?}"
    );

    // A power cut: nothing runs there any more, its cable is dead, and some clients of the others notice.
    let victim = state
        .hosts
        .iter()
        .find(|host| host.name == "node-2")
        .context("no node-2")?;
    let alive: Vec<_> = targets
        .iter()
        .copied()
        .filter(|target| target.ip() != victim.address)
        .collect();
    let client = Client::start(lab.client()?, &alive)?;
    std::thread::sleep(Duration::from_millis(500));
    let cut = lab.cut(&victim.name)?;
    std::thread::sleep(Duration::from_millis(500));
    let requests = client.stop()?;
    let window = ErrorWindow::since(cut.started, &requests);
    ensure!(
        cut.killed.ms_since(cut.started) < 50.0,
        "a cut is one stroke: {cut:?}"
    );
    ensure!(
        !Path::new(&format!("/proc/{}", victim.init)).exists(),
        "its init is still there"
    );
    let inside = fs::metadata(&victim.network)
        .ok()
        .map(|meta| meta.ino())
        .context("its network went with it")?;
    let processes = fs::read_dir("/proc")?
        .filter_map(Result::ok)
        .filter(|entry| fs::metadata(entry.path().join("ns/net")).is_ok_and(|meta| meta.ino() == inside));
    ensure!(processes.count() == 0, "a process outlived the cut");
    let links = lab.hub()?.exec(&["ip", "-br", "link", "show", &victim.name])?;
    ensure!(links.contains("DOWN"), "its link is up: {links}");
    ensure!(
        lab.state()?
            .hosts
            .iter()
            .any(|host| host.name == victim.name && host.power == Power::Off)
    );
    ensure!(
        window.failed > 0 && window.sent > 30,
        "nobody noticed that two of six pods are gone: {window:?}"
    );
    let before = requests
        .iter()
        .filter(|request| request.started.ms_since(cut.started) < -250.0);
    ensure!(
        before.clone().count() > 10 && before.clone().all(|request| request.outcome == Outcome::Answered)
    );

    let boot_id = lab.heal(&victim.name)?;
    ensure!(boot_id != victim.boot_id, "the same boot id after a power cut");
    let nodes = lab.with_cluster(|cluster| cluster.nodes())?;
    ensure!(
        nodes.iter().any(|node| is_ready(node, Some(&boot_id))),
        "not Ready with its new boot id"
    );

    let stopped = lab.pause("node-1")?;
    ensure!(
        stopped >= 4,
        "{stopped} processes stopped: init, containerd, kubelet, kube-proxy at least"
    );
    ensure!(lab.cut("nobody").is_err() && lab.heal("node-3").is_err());
    ensure!(lab.resume("node-1")? >= stopped);

    let traces = Traces::of(&lab, &lab.state()?)?;
    ensure!(
        !traces.left()?.is_empty(),
        "a running lab leaves no trace: this test sees nothing"
    );
    lab.down()?;
    let left = traces.left()?;
    ensure!(left.is_empty(), "left behind: {left:#?}");
    Ok(())
}

#[test]
fn a_lab_whose_supervisor_is_killed_leaves_nothing() -> Result<()> {
    let lab = up("killed", 1)?;
    let state = lab.state()?;
    let traces = Traces::of(&lab, &state)?;
    let pid = rustix::process::Pid::from_raw(i32::try_from(state.supervisor)?).context("no process id")?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;

    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let left = traces.left()?;
        // The supervisor itself stays a zombie, without a namespace or a command line, until this test ends.
        if left.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "left behind: {left:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
