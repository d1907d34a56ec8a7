//! The process that holds a lab: everything else is its child and dies with it.
//!
//! It has one thread that matters, the main one: children are killed by the kernel when the thread that started them
//! ends. Its own network namespace is the hub, where bridge and control plane live.

use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use serde_json::{Value, json};

use crate::api::{Cluster, is_ready};
use crate::certificates::Authority;
use crate::components::{AUDIT_POLICY, Components, hollow_name, server_names};
use crate::control::{self, HostState, Notice, Request, State};
use crate::kubeconfig::{self, Credential, write_json};
use crate::layout::Layout;
use crate::link::LinkSwitch;
use crate::machine::{Machine, Power, Site, services_file};
use crate::netns::{Bridge, Namespace};
use crate::options::{DetectorOptions, Options};
use crate::process::Running;
use crate::progress::Progress;
use crate::service::{Service, last_lines};
use crate::signals::Signals;
use crate::topology::{CLIENT, CLUSTER_DNS, HUB, Host, on_lan};
use crate::{cgroup, detector, process};

/// Certificates to API server, on a machine with two busy cores.
const API_LIMIT: Duration = Duration::from_secs(60);
/// Nodes register within seconds; hollow ones need more.
const NODES_LIMIT: Duration = Duration::from_secs(120);
/// A hollow node that is not Ready by then is started again: it may have registered too late for its own CSINode.
const HOLLOW_PATIENCE: Duration = Duration::from_secs(45);
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

/// A process of the control plane, or a hollow node.
struct Component {
    service: Service,
    running: Running,
    since: Instant,
}

/// Why a wait ends early.
#[derive(Debug, thiserror::Error)]
#[error("the lab was asked to end while it came up")]
struct Asked;

impl Supervisor {
    /// Namespaces, socket, sweeper: what everything else stands on.
    fn start(layout: &Layout, launcher: &[String]) -> Result<Self> {
        let setup: Setup = serde_json::from_slice(&fs::read(layout.options())?)?;
        let sweeper = start_sweeper(layout, launcher)?;
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

    /// The whole way from certificates to Ready nodes and running agents.
    fn bring_up(&mut self, progress: &mut Progress) -> Result<()> {
        progress.stage("certificates", |_| self.credentials())?;
        progress.stage("API server ready", |_| self.api_server())?;
        progress.stage("control plane and nodes started", |_| {
            self.controllers_and_nodes()
        })?;
        let count = self.options().real;
        progress.stage(&format!("{count} real nodes Ready"), |_| self.await_nodes(false))?;
        if self.options().hollow > 0 {
            let count = self.options().hollow;
            progress.say(format!("starting {count} hollow nodes: about half a minute"));
            progress.stage(&format!("{count} hollow nodes Ready"), |_| self.hollow_nodes())?;
        }
        if self.options().detector.is_some() {
            progress.stage("agents and stewards started", |_| self.start_detector())?;
        }
        Ok(())
    }

    /// Certificates and kubeconfigs of every user, and files that never change.
    fn credentials(&self) -> Result<()> {
        let (layout, options) = (&self.layout, self.options());
        fs::create_dir_all(layout.kubeconfig("admin").parent().context("no folder")?)?;
        let authority = Authority::create(&layout.pki())?;
        authority.service_accounts()?;
        authority.server("server", &server_names(options.second_api_server()))?;
        let local = "https://127.0.0.1:6443".to_owned();
        let mut users = vec![(
            "admin".to_owned(),
            "admin".to_owned(),
            "system:masters",
            local.clone(),
        )];
        for name in ["kube-controller-manager", "kube-scheduler"] {
            users.push((name.to_owned(), format!("system:{name}"), "", local.clone()));
        }
        let server = format!("https://{HUB}:6443");
        users.push((
            "kube-proxy".to_owned(),
            "system:kube-proxy".to_owned(),
            "",
            server.clone(),
        ));
        let nodes = options
            .nodes()
            .map(Host::name)
            .chain((1..=options.hollow).map(hollow_name));
        users.extend(nodes.map(|name| {
            let user = format!("system:node:{name}");
            (name, user, "system:nodes", server.clone())
        }));
        for (name, user, group, server) in users {
            let pair = authority.client(&name, &user, group)?;
            let credential = Credential::Certificate(&pair);
            kubeconfig::write(
                &layout.kubeconfig(&name),
                &server,
                &authority.certificate(),
                &credential,
            )?;
        }
        fs::write(layout.root().join("audit-policy.json"), AUDIT_POLICY)?;
        // Pods find nothing by name: a lab has no DNS.
        fs::write(
            layout.root().join("resolv.conf"),
            format!("nameserver {CLUSTER_DNS}\n"),
        )?;
        Ok(())
    }

    fn api_server(&mut self) -> Result<()> {
        let shared = self.options().api_servers == 2;
        self.launch(self.components().etcd(shared))?;
        self.launch(self.components().api_server(None))?;
        let cluster = Cluster::new(&self.layout.kubeconfig("admin"))?;
        // Nodes take their time to start containerd: they begin now and meet a ready API server.
        self.boot_all()?;
        self.wait("the API server is not ready", "kube-apiserver", API_LIMIT, |_| {
            Ok(cluster.is_ready())
        })?;
        self.cluster = Some(cluster);
        Ok(())
    }

    fn controllers_and_nodes(&mut self) -> Result<()> {
        self.launch(self.components().controller_manager())?;
        self.launch(self.components().scheduler())
    }

    fn boot_all(&mut self) -> Result<()> {
        for host in self.options().hosts() {
            if let Some(pods) = host.pods() {
                self.hub
                    .exec(&["ip", "route", "add", &pods, "via", &host.address().to_string()])?;
            }
            self.write_services(host)?;
            let machine = self.boot(host)?;
            self.machines.push(machine);
        }
        Ok(())
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

    fn await_nodes(&mut self, hollow: bool) -> Result<()> {
        let real: Vec<_> = self.options().nodes().map(Host::name).collect();
        let hollow = (1..=self.options().hollow).filter(|_| hollow).map(hollow_name);
        let wanted: Vec<_> = real.into_iter().chain(hollow).collect();
        let mut missing = wanted.clone();
        let mut look = |supervisor: &mut Self| {
            let nodes = supervisor.cluster()?.nodes()?;
            let ready = |name: &String| {
                nodes
                    .iter()
                    .any(|node| node.metadata.name.as_ref() == Some(name) && is_ready(node, None))
            };
            missing = wanted.iter().filter(|name| !ready(name)).cloned().collect();
            supervisor.restart_late(&missing)?;
            Ok(missing.is_empty())
        };
        let outcome = self.wait(
            "not every node is Ready",
            "kube-controller-manager",
            NODES_LIMIT,
            &mut look,
        );
        let Some(first) = missing.first() else {
            return outcome;
        };
        let log = if first.starts_with("hollow") {
            first.clone()
        } else {
            format!("{first}/kubelet")
        };
        outcome.with_context(|| {
            format!(
                "missing: {}\n{}",
                missing.join(", "),
                last_lines(&self.layout.log(&log), 12)
            )
        })
    }

    fn hollow_nodes(&mut self) -> Result<()> {
        for number in 1..=self.options().hollow {
            fs::create_dir_all(self.layout.disk(&hollow_name(number)))?;
            self.launch(self.components().hollow(number))?;
        }
        self.await_nodes(true)
    }

    fn restart_late(&mut self, missing: &[String]) -> Result<()> {
        for component in &mut self.components {
            if missing.contains(&component.service.name) && component.since.elapsed() > HOLLOW_PATIENCE {
                *component = Component::start(component.service.clone())?;
            }
        }
        Ok(())
    }

    /// Manifests, tokens, then the processes.
    fn start_detector(&mut self) -> Result<()> {
        let Some(options) = &self.options().detector else {
            return Ok(());
        };
        install(&options.binary, &detector::copy_of_binary(&self.layout))?;
        detector::apply(&self.setup.binary, &self.layout)?;
        detector::credentials(&self.layout, self.options(), self.cluster()?)?;
        self.has_detector = true;
        self.reload()
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

    /// Answers requests until the lab is to end.
    fn serve(&mut self) -> Result<()> {
        loop {
            match self.idle(Duration::from_secs(3600), true)? {
                Wake::End => return Ok(()),
                Wake::Limit => {}
                Wake::Request => {
                    let Ok((stream, _)) = self.listener.accept() else {
                        continue;
                    };
                    // One who connects and says nothing may not stop the lab.
                    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
                    let Ok(request) = control::receive::<Request>(&stream) else {
                        continue;
                    };
                    let answer = self.handle(&request).map_err(|error| format!("{error:#}"));
                    answer_to(&stream, &answer);
                    if request == Request::Down {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn handle(&mut self, request: &Request) -> Result<Value> {
        match request {
            Request::Status => Ok(serde_json::to_value(self.state())?),
            Request::Cut(name) => self.cut(name),
            Request::Heal(name) => self.heal(name),
            Request::Pause(name) => {
                let machine = self.machine(name, Power::On)?;
                Ok(json!(machine.pause(true)?))
            }
            Request::Resume(name) => {
                let machine = self.machine(name, Power::Paused)?;
                Ok(json!(machine.pause(false)?))
            }
            Request::KillAgent(name) => {
                let machine = self.machine(name, Power::On)?;
                Ok(json!(machine.kill("detector", "agent")?))
            }
            Request::Detector(options) => self.reconfigure(options),
            Request::ProxyMinSync(ms) => {
                self.setup.options.proxy_min_sync_ms = *ms;
                self.reload()?;
                Ok(Value::Null)
            }
            Request::Down => Ok(Value::Null),
        }
    }

    fn machine(&mut self, name: &str, power: Power) -> Result<&mut Machine> {
        let names: Vec<_> = self.machines.iter().map(|machine| machine.host.name()).collect();
        let found = self
            .machines
            .iter_mut()
            .find(|machine| machine.host.name() == name);
        let machine = found.with_context(|| format!("no host {name:?}; there are: {}", names.join(", ")))?;
        if machine.power != power {
            bail!("{name} is {:?}; this needs it to be {power:?}", machine.power);
        }
        Ok(machine)
    }

    fn cut(&mut self, name: &str) -> Result<Value> {
        let found = self
            .machines
            .iter_mut()
            .find(|machine| machine.host.name() == name);
        if found.as_ref().is_some_and(|machine| machine.power == Power::Off) {
            bail!("{name} is cut already");
        }
        let switch = &self.switch;
        let cut = found.with_context(|| format!("no host {name:?}"))?.cut(switch)?;
        // As with a real one, nothing of its memory is left: cgroups of its pods are.
        cgroup::remove(&self.layout.cgroup(name))?;
        Ok(serde_json::to_value(cut)?)
    }

    fn heal(&mut self, name: &str) -> Result<Value> {
        let host = self.machine(name, Power::Off)?.host;
        // The port of the old network is removed now: the kernel takes down a namespace when it finds the time.
        self.hub.exec(&["ip", "link", "del", name])?;
        let machine = self.boot(host)?;
        self.machines.retain(|machine| machine.host != host);
        let boot_id = machine.boot_id.clone();
        self.machines.push(machine);
        self.machines.sort_by_key(|machine| machine.host);
        Ok(json!(boot_id))
    }

    fn reconfigure(&mut self, options: &DetectorOptions) -> Result<Value> {
        if self.options().detector.is_none() {
            bail!("this lab was brought up without agents and stewards");
        }
        self.setup.options.detector = Some(options.clone());
        self.reload()?;
        Ok(Value::Null)
    }

    fn state(&mut self) -> State {
        let options = self.setup.options.clone();
        let roles = |host: Host| {
            let mut roles: Vec<_> = host.pods().map(|_| "kubelet".to_owned()).into_iter().collect();
            roles.extend(
                detector::services(&self.layout, &options, host)
                    .into_iter()
                    .map(|service| service.name),
            );
            roles.extend((options.second_api_server() == Some(host)).then(|| "kube-apiserver".to_owned()));
            roles
        };
        let host = |machine: &Machine| HostState {
            name: machine.host.name(),
            address: machine.host.address(),
            zone: machine.host.zone(),
            roles: roles(machine.host),
            power: machine.power,
            boot_id: machine.boot_id.clone(),
            init: machine.init(),
            network: machine.network(),
        };
        let hosts = self.machines.iter().map(host).collect();
        let ended = self
            .components
            .iter_mut()
            .filter_map(|component| component.check().err());
        State {
            supervisor: std::process::id(),
            hosts,
            ended: ended.map(|error| error.to_string()).collect(),
            client: self.client.path(),
            binary: self.setup.binary.clone(),
        }
    }
}

/// What ended a sleep.
#[derive(Debug, PartialEq, Eq)]
enum Wake {
    Request,
    End,
    Limit,
}

impl Component {
    fn start(service: Service) -> Result<Self> {
        let running = Running::start(service.command()?)?;
        Ok(Self {
            service,
            running,
            since: Instant::now(),
        })
    }

    /// Fails with its last words when it has ended.
    fn check(&mut self) -> Result<()> {
        if let Some(status) = self.running.child().try_wait()? {
            let lines = last_lines(&self.service.log, 12);
            bail!("{} ended: {}\n{lines}", self.service.name, process::ended(status));
        }
        Ok(())
    }
}

/// The client may have gone: the lab goes on.
fn answer_to(stream: &UnixStream, answer: &Result<Value, String>) {
    if let Err(error) = control::send(stream, answer) {
        eprintln!("an answer was not taken: {error}");
    }
}

/// Starts the process that outlives this one and removes what the kernel does not: cgroups and files. Gives the end of
/// the pipe that has to stay open.
fn start_sweeper(layout: &Layout, launcher: &[String]) -> Result<OwnedFd> {
    let (read, write) = io::pipe()?;
    let (program, arguments) = launcher.split_first().context("no launcher")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .args(["sweep", layout.name()])
        .stdin(read)
        .stdout(Stdio::null());
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().context("starting the sweeper")?;
    Ok(write.into())
}

/// Copies a program, whole.
fn install(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    let copy = || -> io::Result<()> {
        let unfinished = to.with_extension("unfinished");
        fs::copy(from, &unfinished)?;
        fs::rename(&unfinished, to)
    };
    copy().with_context(|| format!("copying {} (build it by `cargo xtask build`)", from.display()))
}
