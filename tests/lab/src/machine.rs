//! One host of a lab: a Kubernetes node (or a steward's host) in its own network, PID, mount and host-name namespaces.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use serde::{Deserialize, Serialize};

use crate::init::{HostSpec, Runtime};
use crate::kubeconfig::write_json;
use crate::layout::Layout;
use crate::link::LinkSwitch;
use crate::moment::Moment;
use crate::netns::{Bridge, Namespace};
use crate::process::Running;
use crate::service::{Service, last_lines};
use crate::topology::{HUB, Host, on_lan};
use crate::{cgroup, images, process, processes, requirements};

/// In which state a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Power {
    /// Runs.
    On,
    /// Its power was cut: no process, no link.
    Off,
    /// Every process is stopped; its kernel goes on.
    Paused,
}

/// When a power cut did what.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cut {
    /// Just before the first action: the zero of every measurement.
    pub started: Moment,
    /// The link is down.
    pub link_down: Moment,
    /// The signal that kills every process is on its way.
    pub killed: Moment,
    /// The last process is gone.
    pub gone: Moment,
}

/// A host and what holds it.
pub(crate) struct Machine {
    pub(crate) host: Host,
    pub(crate) power: Power,
    pub(crate) boot_id: String,
    namespace: Namespace,
    init: Running,
}

/// What all machines of a lab have in common.
pub(crate) struct Site<'a> {
    pub(crate) layout: &'a Layout,
    /// Where the bridge is.
    pub(crate) hub: &'a Namespace,
    /// Folder of the docker-archives.
    pub(crate) images: &'a Path,
    /// Other hosts that have pods: each gets a route to them.
    pub(crate) peers: &'a [Host],
    /// How this program is called to become a host's init.
    pub(crate) launcher: &'a [String],
}

impl Machine {
    /// Turns a machine on: new network, new boot id, the old disk.
    pub(crate) fn boot(site: &Site<'_>, host: Host) -> Result<Self> {
        let name = host.name();
        let namespace = connect(site, host).with_context(|| format!("the network of {name}"))?;
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/uuid")?
            .trim()
            .to_owned();
        let runtime = host
            .pods()
            .map(|subnet| runtime(site, host, &subnet))
            .transpose()?;
        let config = site.layout.config(&name);
        let spec = HostSpec {
            name: name.clone(),
            boot_id: boot_id.clone(),
            disk: site.layout.disk(&name),
            services: services_file(site.layout, host),
            runtime,
        };
        fs::create_dir_all(&config)?;
        let path = config.join("host.json");
        write_json(&path, &serde_json::to_value(&spec)?)?;
        let init = start_init(site, &namespace, host, &path).with_context(|| format!("starting {name}"))?;
        Ok(Self {
            host,
            power: Power::On,
            boot_id,
            namespace,
            init,
        })
    }

    /// The process id of its init, as the machine outside sees it.
    pub(crate) fn init(&self) -> u32 {
        self.init.id()
    }

    /// A path to its network namespace, for `nsenter --net=…`.
    pub(crate) fn network(&self) -> std::path::PathBuf {
        self.namespace.path()
    }

    /// Refuses when the host has ended although nobody cut it.
    pub(crate) fn check(&mut self, layout: &Layout) -> Result<()> {
        if self.power == Power::On
            && let Some(status) = self.init.child().try_wait()?
        {
            let log = layout.log(&format!("{}/init", self.host.name()));
            bail!(
                "{} ended: {}\n{}",
                self.host.name(),
                process::ended(status),
                last_lines(&log, 10)
            );
        }
        Ok(())
    }

    /// Cuts the power: link down, and every process killed in one stroke.
    pub(crate) fn cut(&mut self, switch: &LinkSwitch) -> Result<Cut> {
        let started = Moment::now();
        switch
            .set(&self.host.name(), false)
            .context("taking the link down")?;
        let link_down = Moment::now();
        kill_process(self.pid()?, Signal::KILL)?;
        let killed = Moment::now();
        self.power = Power::Off;
        // Its end is reported when all others of its PID namespace are gone.
        if process::wait_for(self.init.child(), Duration::from_secs(20))?.is_none() {
            bail!(
                "processes of {} are still there 20 s after they were killed",
                self.host.name()
            );
        }
        Ok(Cut {
            started,
            link_down,
            killed,
            gone: Moment::now(),
        })
    }

    /// Stops every process, or lets them go on.
    pub(crate) fn pause(&mut self, stop: bool) -> Result<usize> {
        let stopped = processes::signal_tree(self.init(), if stop { Signal::STOP } else { Signal::CONT })?;
        self.power = if stop { Power::Paused } else { Power::On };
        Ok(stopped)
    }

    /// Kills the host's processes that run a program (by its file's name) in a role: the word behind it on the command
    /// line, which a script's interpreter may precede.
    pub(crate) fn kill(&self, program: &str, role: &str) -> Result<usize> {
        let is_it = |pair: &[String]| match pair {
            [first, second] => Path::new(first).ends_with(program) && second == role,
            _ => false,
        };
        let mut killed = 0;
        for pid in processes::tree(self.init())? {
            if processes::command_line(pid).windows(2).any(is_it) {
                kill_process(pid, Signal::KILL)?;
                killed += 1;
            }
        }
        Ok(killed)
    }

    /// Lets its init read the list of services again.
    pub(crate) fn reload(&self) -> Result<()> {
        Ok(kill_process(self.pid()?, Signal::HUP)?)
    }

    fn pid(&self) -> Result<Pid> {
        i32::try_from(self.init.id())
            .ok()
            .and_then(Pid::from_raw)
            .context("a process id out of range")
    }
}

/// Where the list of a host's services lies.
pub(crate) fn services_file(layout: &Layout, host: Host) -> std::path::PathBuf {
    layout.config(&host.name()).join("services.json")
}

/// A network namespace on the bridge, with routes.
fn connect(site: &Site<'_>, host: Host) -> Result<Namespace> {
    let namespace = Namespace::create(&host.name())?;
    Bridge::existing(site.hub).connect(&namespace, &host.name(), &on_lan(host.address()))?;
    // The kubelet finds its address by the default route.
    namespace.exec(&["ip", "route", "add", "default", "via", &HUB.to_string()])?;
    for peer in site.peers.iter().filter(|peer| **peer != host) {
        if let Some(pods) = peer.pods() {
            namespace.exec(&["ip", "route", "add", &pods, "via", &peer.address().to_string()])?;
        }
    }
    namespace.sysctl("net.ipv4.ip_forward", "1")?;
    Ok(namespace)
}

/// containerd's and CNI's configuration, the cgroup of the pods.
fn runtime(site: &Site<'_>, host: Host, subnet: &str) -> Result<Runtime> {
    let name = host.name();
    let config = site.layout.config(&name);
    let cni = config.join("cni");
    fs::create_dir_all(&cni)?;
    cgroup::create(&site.layout.cgroup(&name))?;
    let conflist = serde_json::json!({"cniVersion": "0.4.0", "name": "lab", "plugins": [{
        "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": subnet}]], "routes": [{"dst": "0.0.0.0/0"}]},
    }]});
    write_json(&cni.join("10-lab.conflist"), &conflist)?;
    // restrict_oom_score_adj: root may lack CAP_SYS_RESOURCE, as in a container.
    let containerd = format!(
        r#"version = 2
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{}"
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{}"
conf_dir = "{}"
"#,
        images::PAUSE,
        requirements::cni_folder()?,
        cni.display()
    );
    let path = config.join("containerd.toml");
    fs::write(&path, containerd)?;
    let argv = [
        "containerd".to_owned(),
        "-c".to_owned(),
        path.display().to_string(),
    ];
    let service = Service::new(
        "containerd",
        &site.layout.log(&format!("{name}/containerd")),
        argv,
    );
    let images = ["pause.tar", "nginx.tar"]
        .map(|file| site.images.join(file))
        .to_vec();
    Ok(Runtime { service, images })
}

/// Starts the first process of a new PID namespace inside the host's network.
fn start_init(site: &Site<'_>, namespace: &Namespace, host: Host, spec: &Path) -> Result<Running> {
    let log = site.layout.log(&format!("{}/init", host.name()));
    fs::create_dir_all(log.parent().context("a log without a folder")?)?;
    let log = fs::OpenOptions::new().create(true).append(true).open(&log)?;
    let (program, arguments) = site.launcher.split_first().context("no launcher")?;
    let mut command: Command = namespace.command(program);
    command.args(arguments).arg("init").arg(spec);
    command.env_clear().env("PATH", requirements::PATH);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // Out of the terminal's process group: Ctrl-C is for the one who called `lab up`.
    command.process_group(0);
    let here = fs::File::open("/proc/self/ns/pid")?;
    // SAFETY: affects only in which PID namespace this thread's next child is born.
    unsafe { unshare_unsafe(UnshareFlags::NEWPID) }?;
    let init = Running::start(command);
    move_into_link_name_space(
        std::os::fd::AsFd::as_fd(&here),
        Some(LinkNameSpaceType::ProcessID),
    )?;
    init
}
