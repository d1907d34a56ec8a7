//! One host of a mesh: its own network, PID, mount and host-name namespaces, boot id, BPF file system and disk.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use detector::identity::BootId;
use rustix::process::{Pid, Signal, kill_process};

use super::files::Files;
use super::options::MeshOptions;
use super::places::{Place, Role, STEWARD_PORT};
use crate::init::{self, HostSpec};
use crate::kubeconfig::write_json;
use crate::netns::Namespace;
use crate::power::Power;
use crate::process::Running;
use crate::processes;
use crate::service::{Service, last_lines};

/// A process that was told to end, or that its init was told to start, has so long.
const PROCESS_LIMIT: Duration = Duration::from_secs(20);
/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(5);

/// A host and what holds it.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) place: Place,
    pub(super) power: Power,
    /// As everybody but this host knows it.
    pub(super) boot: BootId,
    pub(super) namespace: Namespace,
    pub(super) init: Running,
}

impl Host {
    /// Turns a host on in its network: new boot id, the old disk. `cgroup` is a list of processes that it joins.
    pub(super) fn boot(
        files: &Files,
        options: &MeshOptions,
        place: &Place,
        namespace: Namespace,
        cgroup: Option<File>,
    ) -> Result<Self> {
        let Place { name, role, .. } = place;
        let boot_id = init::new_boot_id()?;
        let config = files.layout.root().join("hosts").join(name);
        fs::create_dir_all(&config)?;
        let services = config.join("services.json");
        let service = Service::new(role.word(), &files.log(name), arguments(files, options, place)).once();
        write_json(&services, &serde_json::to_value([service])?)?;
        let spec = HostSpec {
            name: name.clone(),
            boot_id: boot_id.clone(),
            disk: files.layout.disk(name),
            services,
            runtime: None,
        };
        let path = config.join("host.json");
        write_json(&path, &serde_json::to_value(&spec)?)?;
        let log = files.layout.log(&format!("{name}/init"));
        let join = |command: &mut Command| {
            if let Some(cgroup) = cgroup {
                join_cgroup(command, cgroup);
            }
        };
        let init = init::start(&options.launcher.words(), &namespace, &path, &log, join)
            .with_context(|| format!("starting {name}"))?;
        Ok(Self {
            place: place.clone(),
            power: Power::On,
            boot: BootId::of(&boot_id),
            namespace,
            init,
        })
    }

    /// Refuses when the host has ended although nobody cut it.
    pub(super) fn check(&mut self, files: &Files) -> Result<()> {
        if self.power == Power::On && self.init.child().try_wait()?.is_some() {
            let name = &self.place.name;
            bail!(
                "{name} ended\n{}",
                last_lines(&files.layout.log(&format!("{name}/init")), 10)
            );
        }
        Ok(())
    }

    /// The detector's process.
    pub(super) fn process(&self) -> Result<Option<Pid>> {
        let word = self.place.role.word();
        let is_it = |pid: &Pid| {
            processes::command_line(*pid)
                .get(1)
                .is_some_and(|argument| argument == word)
        };
        Ok(processes::tree(self.init.id())?.into_iter().find(is_it))
    }

    /// Signals the detector's process alone.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let name = &self.place.name;
        let process = self
            .process()?
            .with_context(|| format!("{name} runs no {}", self.place.role.word()))?;
        Ok(kill_process(process, signal)?)
    }

    /// Ends the detector's process by a signal and waits for its end; it stays away until it is started.
    pub(super) fn end(&self, signal: Signal) -> Result<()> {
        let process = self.process()?;
        self.signal(signal)?;
        // Until its init has taken note of the end: told to start it before, it would not.
        let is_there = |pid: Pid| Path::new("/proc").join(pid.as_raw_pid().to_string()).exists();
        self.wait("ends", |_| !process.is_some_and(is_there))
    }

    /// Starts the detector again.
    pub(super) fn start(&self) -> Result<()> {
        let name = &self.place.name;
        ensure!(
            self.process()?.is_none(),
            "{name}: the {} runs already",
            self.place.role.word()
        );
        kill_process(self.init.pid(), Signal::HUP)?;
        self.wait("starts", |process| process.is_some())
    }

    /// Stops every process, or lets them go on.
    pub(super) fn pause(&mut self, stop: bool) -> Result<()> {
        processes::signal_tree(self.init.id(), if stop { Signal::STOP } else { Signal::CONT })?;
        self.power = if stop { Power::Paused } else { Power::On };
        Ok(())
    }

    fn wait(&self, verb: &str, condition: impl Fn(Option<Pid>) -> bool) -> Result<()> {
        let deadline = Instant::now() + PROCESS_LIMIT;
        while !condition(self.process()?) {
            let Place { name, role, .. } = &self.place;
            ensure!(
                Instant::now() < deadline,
                "{name}: not so within {} s: its {} {verb}",
                PROCESS_LIMIT.as_secs(),
                role.word()
            );
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

/// The command line of an agent or a steward.
fn arguments(files: &Files, options: &MeshOptions, place: &Place) -> Vec<String> {
    let mut argv = vec![
        files.detector().display().to_string(),
        place.role.word().to_owned(),
        format!("--roster={}", files.roster().display()),
        format!("--node-name={}", place.name),
        format!("--profile={}", options.profile),
        format!("--status-socket={}", files.socket(&place.name).display()),
    ];
    match place.role {
        Role::Agent => argv.extend([
            format!("--echo={}", options.echo),
            "--kubelet-healthz=off".to_owned(),
        ]),
        Role::Steward => argv.push(format!("--steward-port={STEWARD_PORT}")),
    }
    argv
}

/// Lets a command's process join a cgroup before it runs: its children are born there.
pub(super) fn join_cgroup(command: &mut Command, processes: File) {
    let join = move || {
        rustix::io::write(processes.as_fd(), b"0")?;
        Ok(())
    };
    // SAFETY: the closure makes one system call and allocates nothing, which is all that is allowed after a fork.
    unsafe { command.pre_exec(join) };
}
