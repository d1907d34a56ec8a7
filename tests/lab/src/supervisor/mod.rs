//! The process that holds a lab: everything else is its child and dies with it.
//!
//! It has one thread that matters, the main one: children are killed by the kernel when the thread that started them
//! ends. Its own network namespace is the hub, where bridge and control plane live.

mod bring_up;
mod component;
mod requests;

use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use self::component::Component;
use crate::api::Cluster;
use crate::components::Components;
use crate::control::Notice;
use crate::detector;
use crate::kubeconfig::write_json;
use crate::layout::Layout;
use crate::link::LinkSwitch;
use crate::machine::{Machine, Power, Site, services_file};
use crate::netns::{Bridge, Namespace};
use crate::options::Options;
use crate::progress::Progress;
use crate::service::{Service, last_lines};
use crate::signals::Signals;
use crate::sweeper;
use crate::topology::{CLIENT, HUB, Host, on_lan};

/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(50);

/// What the supervisor needs beside the options: where the cached things are.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Setup {
    pub(crate) options: Options,
    /// Every Kubernetes component.
    pub(crate) binary: PathBuf,
    /// Folder of docker-archives.
    pub(crate) images: PathBuf,
}

/// Runs a lab until it is asked to end.
///
/// # Errors
/// When it cannot come up; the one who started it was told.
pub(crate) fn run(layout: &Layout, launcher: &[String]) -> Result<()> {
    let mut progress = Progress::new(|event| tell(&Notice::Progress(event)));
    let outcome = Supervisor::start(layout, launcher).and_then(|mut supervisor| {
        supervisor.bring_up(&mut progress)?;
        tell(&Notice::Ready);
        supervisor.serve()
    });
    if let Err(error) = &outcome {
        tell(&Notice::Failed(format!("{error:#}")));
    }
    outcome
}

/// One line to whoever started the lab; nobody may be there any more.
fn tell(notice: &Notice) {
    if let Ok(mut line) = serde_json::to_vec(notice) {
        line.push(b'\n');
        let _ = io::stdout().write_all(&line);
    }
}

struct Supervisor {
    layout: Layout,
    setup: Setup,
    launcher: Vec<String>,
    signals: Signals,
    listener: UnixListener,
    hub: Namespace,
    client: Namespace,
    switch: LinkSwitch,
    cluster: Option<Cluster>,
    machines: Vec<Machine>,
    components: Vec<Component>,
    /// Whether agents and stewards have their credentials.
    has_detector: bool,
    /// Whether the end of standard input, whose other end the owner holds, ends the lab.
    tied: bool,
    /// Held open: its other end is the sweeper's standard input, which ends when this process does.
    _sweeper: OwnedFd,
}

/// Why a wait ends early.
#[derive(Debug, thiserror::Error)]
#[error("the lab was asked to end while it came up")]
struct Asked;

impl Supervisor {
    /// Namespaces, socket, sweeper: what everything else stands on.
    fn start(layout: &Layout, launcher: &[String]) -> Result<Self> {
        let setup: Setup = serde_json::from_slice(&fs::read(layout.options())?)?;
        let sweeper = sweeper::start(launcher, &["sweep", layout.name()])?;
        let signals = Signals::block(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP])?;
        // SAFETY: this thread is the only one yet; no memory or descriptor table is unshared.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.context("a network namespace for the hub")?;
        let hub = Namespace::of_process(std::process::id())?;
        hub.exec(&["ip", "link", "set", "lo", "up"])?;
        hub.sysctl("net.ipv4.ip_forward", "1")?;
        let client = Namespace::create("client")?;
        let bridge = Bridge::create(&hub, &on_lan(HUB))?;
        bridge.connect(&client, "client", &on_lan(CLIENT))?;
        client.exec(&["ip", "route", "add", "default", "via", &HUB.to_string()])?;
        let listener = UnixListener::bind(layout.socket())?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            layout: layout.clone(),
            setup,
            launcher: launcher.to_vec(),
            signals,
            listener,
            hub,
            client,
            switch: LinkSwitch::open()?,
            cluster: None,
            machines: Vec::new(),
            components: Vec::new(),
            has_detector: false,
            tied: true,
            _sweeper: sweeper,
        })
    }

    fn options(&self) -> &Options {
        &self.setup.options
    }

    fn components(&self) -> Components<'_> {
        Components {
            binary: &self.setup.binary,
            layout: &self.layout,
        }
    }

    fn boot(&self, host: Host) -> Result<Machine> {
        let peers: Vec<_> = self.options().nodes().collect();
        let site = Site {
            layout: &self.layout,
            hub: &self.hub,
            images: &self.setup.images,
            peers: &peers,
            launcher: &self.launcher,
        };
        Machine::boot(&site, host)
    }

    /// What a host's init is to keep running, beside the container runtime.
    fn write_services(&self, host: Host) -> Result<()> {
        let (components, options) = (self.components(), self.options());
        let folder = self.layout.config(&host.name());
        fs::create_dir_all(&folder)?;
        let mut services = Vec::new();
        if host.pods().is_some() {
            write_json(&folder.join("kubelet.json"), &components.kubelet_config(host))?;
            let min_sync_ms = options.proxy_min_sync_ms;
            let config = components.proxy_config(host, min_sync_ms);
            write_json(&components.proxy_config_file(host, min_sync_ms), &config)?;
            services.push(components.kubelet(host));
            services.push(components.proxy(host, min_sync_ms));
        }
        if options.second_api_server() == Some(host) {
            services.push(components.api_server(Some(host)));
        }
        // Agents start when there are credentials for them.
        if self.has_detector {
            services.extend(detector::services(&self.layout, options, host));
        }
        write_json(
            &services_file(&self.layout, host),
            &serde_json::to_value(services)?,
        )
    }

    /// Writes all hosts' services anew and lets the inits read them.
    fn reload(&self) -> Result<()> {
        for host in self.options().hosts() {
            self.write_services(host)?;
        }
        for machine in self.machines.iter().filter(|machine| machine.power != Power::Off) {
            machine.reload()?;
        }
        Ok(())
    }

    fn cluster(&self) -> Result<&Cluster> {
        self.cluster.as_ref().context("the API server is not up yet")
    }

    fn launch(&mut self, service: Service) -> Result<()> {
        self.components.push(Component::start(service)?);
        Ok(())
    }

    /// Waits for a condition; fails at the limit, when a component or a host ends, or when the lab is to end.
    fn wait(
        &mut self,
        problem: &str,
        log: &str,
        limit: Duration,
        mut condition: impl FnMut(&mut Self) -> Result<bool>,
    ) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !condition(self)? {
            for component in &mut self.components {
                component.check()?;
            }
            for machine in &mut self.machines {
                machine.check(&self.layout)?;
            }
            if Instant::now() > deadline {
                let lines = last_lines(&self.layout.log(log), 12);
                bail!("{problem} after {} s\n{lines}", limit.as_secs());
            }
            if self.idle(LOOK, false)? == Wake::End {
                return Err(Asked.into());
            }
        }
        Ok(())
    }

    /// Sleeps until a request, the end, or the limit.
    fn idle(&mut self, limit: Duration, requests: bool) -> Result<Wake> {
        let stdin = io::stdin();
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        if requests {
            fds.push(PollFd::new(&self.listener, PollFlags::IN));
        }
        if self.tied {
            fds.push(PollFd::new(&stdin, PollFlags::IN));
        }
        match poll(&mut fds, Some(&Timespec::try_from(limit)?)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let awake: Vec<_> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if awake.first() == Some(&true) {
            return Ok(Wake::End);
        }
        if self.tied && awake.last() == Some(&true) {
            // One byte sets the lab free; the end of the stream ends it with its owner.
            if rustix::io::read(&stdin, &mut [0; 1])? == 0 {
                return Ok(Wake::End);
            }
            self.tied = false;
        }
        Ok(if requests && awake.get(1) == Some(&true) {
            Wake::Request
        } else {
            Wake::Limit
        })
    }
}

/// What ended a sleep.
#[derive(Debug, PartialEq, Eq)]
enum Wake {
    Request,
    End,
    Limit,
}
