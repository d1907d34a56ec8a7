//! One host of a lab: a Kubernetes node (or a steward's host) in its own network, PID, mount and host-name namespaces.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::init::{self, HostSpec, Runtime};
use crate::kubeconfig::write_json;
use crate::layout::Layout;
use crate::link::LinkSwitch;
use crate::netns::{Bridge, Namespace};
pub use crate::power::{Cut, Power};
use crate::process::Running;
use crate::service::{Service, last_lines};
use crate::topology::{HUB, Host, on_lan};
use crate::{cgroup, images, power, process, processes, requirements};

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
        let boot_id = init::new_boot_id()?;
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
        let log = site.layout.log(&format!("{name}/init"));
        let init = init::start(site.launcher, &namespace, &path, &log, |_| ())
            .with_context(|| format!("starting {name}"))?;
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
        self.power = Power::Off;
        power::cut(switch, &self.host.name(), &mut self.init)
    }

    /// Stops every process, or lets them go on.
    pub(crate) fn pause(&mut self, stop: bool) -> Result<usize> {
        let stopped = processes::signal_tree(self.init(), if stop { Signal::STOP } else { Signal::CONT })?;
        self.power = if stop { Power::Paused } else { Power::On };
        Ok(stopped)
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
