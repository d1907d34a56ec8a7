//! The first process of a host: mounts what a machine has of its own, starts the container runtime, keeps services
//! running. When it is killed, the kernel ends everything of the host in the same stroke.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use rustix::process::{Pid, Signal, WaitOptions, kill_process};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use serde::{Deserialize, Serialize};

use crate::netns::Namespace;
use crate::process::Running;
use crate::service::Service;
use crate::signals::Signals;
use crate::{images, process, requirements};

/// A service that ended is started again after this.
const RESTART_DELAY: Duration = Duration::from_millis(300);
/// A service that is to end gets this long after SIGTERM.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// containerd and the import of two small images.
const RUNTIME_LIMIT: Duration = Duration::from_secs(60);

/// What a host is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HostSpec {
    /// Its host name.
    pub(crate) name: String,
    /// A UUID, new with every boot.
    pub(crate) boot_id: String,
    /// What survives a power cut: becomes `/var/lib` and `/var/log`.
    pub(crate) disk: PathBuf,
    /// A JSON list of services, read at the start and at every SIGHUP.
    pub(crate) services: PathBuf,
    /// The container runtime, where the host has one.
    pub(crate) runtime: Option<Runtime>,
}

/// containerd, which has to be ready before anything else starts.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Runtime {
    /// containerd itself.
    pub(crate) service: Service,
    /// docker-archives to import.
    pub(crate) images: Vec<PathBuf>,
}

/// A boot id as no machine ever had it.
pub(crate) fn new_boot_id() -> Result<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    Ok(text.trim().to_owned())
}

/// Starts the first process of a new PID namespace inside a host's network; `adjust` may add to the command.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn start(
    launcher: &[String],
    namespace: &Namespace,
    spec: &Path,
    log: &Path,
    adjust: impl FnOnce(&mut Command),
) -> Result<Running> {
    fs::create_dir_all(log.parent().context("a log without a folder")?)?;
    let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
    let (program, arguments) = launcher.split_first().context("no launcher")?;
    let mut command: Command = namespace.command(program);
    command.args(arguments).arg("init").arg(spec);
    command.env_clear().env("PATH", requirements::PATH);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // Out of the terminal's process group: Ctrl-C is for the one who called `lab up`.
    command.process_group(0);
    adjust(&mut command);
    let here = fs::File::open("/proc/self/ns/pid")?;
    // SAFETY: affects only in which PID namespace this thread's next child is born.
    unsafe { unshare_unsafe(UnshareFlags::NEWPID) }?;
    let init = Running::start(command);
    move_into_link_name_space(here.as_fd(), Some(LinkNameSpaceType::ProcessID))?;
    init
}

/// Runs until it is killed.
///
/// # Errors
/// When the host cannot come up.
pub(crate) fn run(spec: &Path) -> Result<()> {
    if std::process::id() != 1 {
        bail!("a host's init is the first process of its PID namespace, started by `lab up`");
    }
    let signals = Signals::block(&[libc::SIGCHLD, libc::SIGHUP])?;
    let spec: HostSpec = serde_json::from_slice(&fs::read(spec)?)?;
    own_machine(&spec)?;
    let mut keeper = Keeper::default();
    if let Some(runtime) = &spec.runtime {
        keeper.desired.push(runtime.service.clone());
        keeper.step(Instant::now());
        start_runtime(&mut keeper, runtime)?;
    }
    loop {
        keeper.desired = serde_json::from_slice(&fs::read(&spec.services)?).context("reading services")?;
        keeper
            .desired
            .extend(spec.runtime.iter().map(|runtime| runtime.service.clone()));
        keeper.ended.clear();
        keep(&mut keeper, &signals)?;
    }
}

/// Mounts, name and boot id.
fn own_machine(spec: &HostSpec) -> Result<()> {
    // SAFETY: this process has one thread, and no memory or descriptor table is unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWUTS) }?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    // SAFETY: the pointer and the length are those of one live string.
    if unsafe { libc::sethostname(spec.name.as_ptr().cast(), spec.name.len()) } != 0 {
        return Err(io::Error::last_os_error()).context("sethostname");
    }
    let (lib, log, boot_id) = (
        spec.disk.join("lib"),
        spec.disk.join("log"),
        spec.disk.with_extension("boot_id"),
    );
    for folder in [&lib, &log] {
        fs::create_dir_all(folder)?;
    }
    fs::write(&boot_id, format!("{}\n", spec.boot_id))?;
    mount("proc", "/proc", "proc", MountFlags::empty(), None).context("mounting /proc")?;
    mount_bind(&boot_id, "/proc/sys/kernel/random/boot_id").context("the boot id")?;
    mount_bind(&lib, "/var/lib").context("mounting /var/lib")?;
    mount_bind(&log, "/var/log").context("mounting /var/log")?;
    mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), None).context("mounting /run")?;
    mount("bpf", "/sys/fs/bpf", "bpf", MountFlags::empty(), None).context("mounting /sys/fs/bpf")?;
    Ok(())
}

/// Waits for containerd and gives it the images: on a disk that was used before they are there already.
fn start_runtime(keeper: &mut Keeper, runtime: &Runtime) -> Result<()> {
    let deadline = Instant::now() + RUNTIME_LIMIT;
    let ctr = |arguments: &[&str]| {
        let mut command = Command::new("ctr");
        process::die_with_parent(&mut command);
        command.args(["-n", "k8s.io"]).args(arguments);
        process::output(&mut command, RUNTIME_LIMIT)
    };
    let present = loop {
        // A first look at the socket is cheaper than a program that fails.
        if Path::new("/run/containerd/containerd.sock").exists()
            && let Ok(present) = ctr(&["images", "ls", "-q"])
        {
            break present;
        }
        if Instant::now() > deadline {
            bail!("containerd did not answer within {} s", RUNTIME_LIMIT.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
        keeper.reap();
        keeper.step(Instant::now());
    };
    if !(present.contains(images::PAUSE) && present.contains(images::NGINX)) {
        for image in &runtime.images {
            ctr(&["images", "import", &image.display().to_string()])?;
        }
    }
    Ok(())
}

/// Keeps the services running until a SIGHUP asks to read them again.
fn keep(keeper: &mut Keeper, signals: &Signals) -> Result<()> {
    loop {
        keeper.reap();
        let now = Instant::now();
        keeper.step(now);
        let limit = keeper
            .next()
            .map(|at| at.saturating_duration_since(now))
            .map(Timespec::try_from);
        match poll(
            &mut [PollFd::new(signals, PollFlags::IN)],
            limit.transpose()?.as_ref(),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        while let Some(signal) = signals.take() {
            if signal == libc::SIGHUP {
                return Ok(());
            }
        }
    }
}

/// Makes what runs equal to what is desired.
#[derive(Default)]
struct Keeper {
    desired: Vec<Service>,
    running: BTreeMap<i32, Process>,
    /// When a service that ended may start again.
    not_before: BTreeMap<String, Instant>,
    /// Services that have ended and are not to be started again.
    ended: BTreeSet<String>,
}

struct Process {
    pid: Pid,
    service: Service,
    /// Asked to end; killed at that time.
    stopping: Option<Instant>,
}

impl Keeper {
    /// Stops what is no longer desired as it runs, starts what is desired and does not run.
    fn step(&mut self, now: Instant) {
        for process in self.running.values_mut() {
            let wanted = self.desired.contains(&process.service);
            match process.stopping {
                None if !wanted => {
                    signal(process.pid, Signal::TERM);
                    process.stopping = Some(now + STOP_GRACE);
                }
                Some(at) if at <= now => signal(process.pid, Signal::KILL),
                _ => {}
            }
        }
        for service in &self.desired {
            let runs = self
                .running
                .values()
                .any(|process| process.service.name == service.name);
            let waits = self.not_before.get(&service.name).is_some_and(|at| *at > now);
            if runs || waits || self.ended.contains(&service.name) {
                continue;
            }
            match service.command().and_then(|mut command| command.spawn()) {
                Ok(child) => {
                    let process = Process {
                        pid: Pid::from_child(&child),
                        service: service.clone(),
                        stopping: None,
                    };
                    self.running.insert(process.pid.as_raw_pid(), process);
                }
                Err(error) => {
                    eprintln!("{}: cannot be started: {error}", service.name);
                    self.not_before.insert(service.name.clone(), now + RESTART_DELAY);
                }
            }
        }
    }

    /// Collects every process that has ended: services, and orphans, which are this process's children too.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let Some(process) = self.running.remove(&pid.as_raw_pid()) else {
                continue;
            };
            let how = process::ended(ExitStatus::from_raw(status.as_raw()));
            eprintln!("{}: {how}", process.service.name);
            if !process.service.restart {
                self.ended.insert(process.service.name);
            } else if process.stopping.is_none() {
                self.not_before
                    .insert(process.service.name, Instant::now() + RESTART_DELAY);
            }
        }
    }

    /// When `step` has to be called again although nothing has ended.
    fn next(&self) -> Option<Instant> {
        let stops = self.running.values().filter_map(|process| process.stopping);
        let starts = self
            .desired
            .iter()
            .filter_map(|service| self.not_before.get(&service.name).copied());
        let now = Instant::now();
        stops.chain(starts.filter(|at| *at > now)).min()
    }
}

fn signal(pid: Pid, signal: Signal) {
    // A process that has just ended is reaped at the next turn.
    let _ = kill_process(pid, signal);
}
