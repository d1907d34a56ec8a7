//! A mesh without Kubernetes: agents and three stewards on a static roster, each on a host of its own.
//!
//! ```text
//!             ┌ node-1 … node-9:        init ─▶ detector agent --roster …
//!  bridge ────┤                                                                (each in its own network, PID and
//!  (hub)      └ steward-1 … steward-3:  init ─▶ detector steward --roster …     mount namespace, with its own boot id)
//! ```
//! All hosts are children of the thread that brought the mesh up, and die with it; files go with the sweeper. What
//! happened is read from the stewards' incident files, how it is from `detector status`.

mod cpu;
mod files;
mod host;
pub mod load;
mod options;
mod places;
mod record;
mod relay;
mod roster;
mod view;
mod wait;

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use detector::identity::BootId;
use detector::incident::Entry;
use detector::realtime::thread;
use rustix::process::Signal;

use self::cpu::CpuGroup;
use self::files::Files;
use self::host::Host;
use self::places::Place;
use self::record::Record;
use self::relay::Relay;
use crate::link::LinkSwitch;
use crate::netns::{Bridge, Namespace};
use crate::power::{self, Power};
use crate::progress::Progress;

pub use self::options::MeshOptions;
pub use self::places::{Family, MAX_NODES, Role, STEWARDS};
pub use self::record::{Death, dead};
pub use self::relay::Delay;
pub use self::view::{AgentView, Asked, Fellow, StewardView};
pub use crate::power::Strike;

/// From the start of all processes until everybody hears everybody, on two cores that have other things to do.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// A running mesh; it ends with this value, or with the thread that made it.
#[derive(Debug)]
pub struct Mesh {
    hosts: Vec<Host>,
    relay: Option<Relay>,
    hub: Namespace,
    switch: Arc<LinkSwitch>,
    options: MeshOptions,
    places: Vec<Place>,
    record: Record,
    /// What all agents run in, where they are to be starved.
    agents: Option<CpuGroup>,
    /// Last: files go when the processes are gone.
    files: Files,
}

impl Mesh {
    /// Brings a mesh up and waits until every steward says that all members live.
    ///
    /// # Errors
    /// When something is missing, or not so in time: the error says what, with the last lines of a log.
    pub fn up(options: &MeshOptions, progress: &mut Progress) -> Result<Self> {
        options.check()?;
        ensure!(
            rustix::process::geteuid().is_root(),
            "a mesh makes namespaces and mounts: run it as root"
        );
        let files = Files::create(&options.name, &options.launcher.words())?;
        fs::create_dir(files.layout.root().join("status"))?;
        fs::copy(&options.detector, files.detector())
            .with_context(|| format!("copying {}", options.detector.display()))?;
        let places = Place::all(options.nodes, options.family);
        progress.stage("keys and roster", |_| roster::write(&files, &places))?;
        let hub = Namespace::create("hub")?;
        Bridge::create(&hub, &options.family.on_lan(options.family.hub()))?;
        let switch = Arc::new(hub.enter(LinkSwitch::open)??);
        // One seed a mesh: what chance does on the wire needs no replay, as the scheduler has no seed either.
        let relay = options.delay.map(|delay| Relay::start(delay, 1)).transpose()?;
        let group = || CpuGroup::create(&files.layout, "agents", cpu::ORDINARY);
        let agents = options.starvable.then(group).transpose()?;
        let stewards = places.iter().filter(|place| place.role == Role::Steward);
        let record = Record::new(stewards.map(|place| files.incidents(&place.name)));
        let mut mesh = Self {
            hosts: Vec::new(),
            relay,
            hub,
            switch,
            options: options.clone(),
            places: places.clone(),
            record,
            agents,
            files,
        };
        let count = options.nodes;
        progress.stage(&format!("{count} agents and {STEWARDS} stewards started"), |_| {
            places.iter().try_for_each(|place| mesh.boot(place))
        })?;
        progress.stage("every steward: all members Alive", |_| {
            mesh.await_ready(READY_LIMIT)
        })?;
        Ok(mesh)
    }

    /// The names of the agents' hosts.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.named(Role::Agent)
    }

    /// The names of the stewards' hosts, in the order in which they act.
    pub fn stewards(&self) -> impl Iterator<Item = &str> {
        self.named(Role::Steward)
    }

    fn named(&self, role: Role) -> impl Iterator<Item = &str> {
        let of_role = move |place: &&Place| place.role == role;
        self.places
            .iter()
            .filter(of_role)
            .map(|place| place.name.as_str())
    }

    /// The network that the bridge is in.
    #[must_use]
    pub fn hub(&self) -> &Namespace {
        &self.hub
    }

    /// A host's address.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn address(&self, name: &str) -> Result<IpAddr> {
        Ok(self.host(name)?.place.address)
    }

    /// What a host is booted as now.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn boot_id(&self, name: &str) -> Result<BootId> {
        Ok(self.host(name)?.boot)
    }

    /// A host's network namespace.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn network(&self, name: &str) -> Result<&Namespace> {
        Ok(&self.host(name)?.namespace)
    }

    /// A host's files, as they are seen from outside.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn root(&self, name: &str) -> Result<PathBuf> {
        let first = self.host(name)?.init.pid();
        Ok(PathBuf::from(format!("/proc/{}/root", first.as_raw_pid())))
    }

    /// Cuts a host's power: link down, and every process killed in one stroke. Whatever else the machine does, the two
    /// follow each other within microseconds.
    ///
    /// # Errors
    /// When there is no such host, or it is off.
    pub fn cut(&mut self, name: &str) -> Result<Death> {
        let host = of_name(&mut self.hosts, name)?;
        ensure!(host.power != Power::Off, "{name} is cut already");
        let (switch, port, first) = (Arc::clone(&self.switch), name.to_owned(), host.init.pid());
        let strike = thread::start("cut", true, move |_| power::strike(&switch, &port, first))?;
        let strike = strike
            .join()
            .map_err(|_| anyhow!("the thread that cuts panicked"))??;
        host.power = Power::Off;
        let death = Death {
            node: name.to_owned(),
            boot: host.boot,
            strike,
        };
        self.record.add(death.clone());
        Ok(death)
    }

    /// Boots a host that was cut, with a new boot id; [`Self::await_ready`] waits until it is known.
    ///
    /// # Errors
    /// When it is not off.
    pub fn heal(&mut self, name: &str) -> Result<BootId> {
        let host = of_name(&mut self.hosts, name)?;
        ensure!(host.power == Power::Off, "{name} is {:?}", host.power);
        power::await_end(name, &mut host.init)?;
        let place = host.place.clone();
        // The port of the old network is removed now: the kernel takes down a namespace when it finds the time.
        self.hub.exec(&["ip", "link", "del", name])?;
        self.hosts.retain(|host| host.place != place);
        self.boot(&place)?;
        self.boot_id(name)
    }

    /// Stops every process of a host, or lets them go on; its kernel answers all the time.
    ///
    /// # Errors
    /// When there is no such host, or it is off.
    pub fn pause(&mut self, name: &str, stop: bool) -> Result<()> {
        let host = of_name(&mut self.hosts, name)?;
        ensure!(host.power != Power::Off, "{name} is off");
        host.pause(stop)
    }

    /// Signals a host's agent or steward and nothing else.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, name: &str, signal: Signal) -> Result<()> {
        self.host(name)?.signal(signal)
    }

    /// Ends a host's agent or steward by a signal and waits for its end; it stays away until it is started.
    ///
    /// # Errors
    /// When it does not run, or does not end within 20 s.
    pub fn end(&self, name: &str, signal: Signal) -> Result<()> {
        self.host(name)?.end(signal)
    }

    /// Starts a host's agent or steward again.
    ///
    /// # Errors
    /// When it runs, or does not start within 20 s.
    pub fn start(&self, name: &str) -> Result<()> {
        self.host(name)?.start()
    }

    /// What a steward says.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn steward(&self, name: &str) -> Result<StewardView> {
        view::ask(&self.files.socket(name))
    }

    /// What an agent says.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn agent(&self, name: &str) -> Result<AgentView> {
        view::ask(&self.files.socket(name))
    }

    /// Everything the stewards have recorded so far, by file and then by time.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn entries(&mut self) -> Result<&[Entry]> {
        self.record.read()
    }

    /// Verdicts of `Dead` about hosts that were not cut before.
    ///
    /// # Errors
    /// When the incidents cannot be read.
    pub fn false_verdicts(&mut self) -> Result<Vec<Entry>> {
        self.record.false_verdicts()
    }

    /// Frames that the relay of a delayed mesh had to drop, as too many waited.
    #[must_use]
    pub fn dropped_frames(&self) -> u64 {
        self.relay.as_ref().map_or(0, Relay::dropped)
    }

    /// Ends the mesh and waits until nothing of it is left.
    ///
    /// # Errors
    /// When something is left.
    pub fn down(mut self) -> Result<()> {
        self.end_all()
    }

    fn end_all(&mut self) -> Result<()> {
        self.hosts.clear();
        self.files.remove()
    }

    fn host(&self, name: &str) -> Result<&Host> {
        let found = self.hosts.iter().find(|host| host.place.name == name);
        found.with_context(|| format!("no host {name:?}"))
    }

    fn boot(&mut self, place: &Place) -> Result<()> {
        let namespace = Namespace::create(&place.name)?;
        let address = self.options.family.on_lan(place.address);
        match &self.relay {
            Some(relay) => relay.connect(&self.hub, &namespace, &place.name, &address),
            None => Bridge::existing(&self.hub).connect(&namespace, &place.name, &address),
        }
        .with_context(|| format!("the network of {}", place.name))?;
        let group = self.agents.as_ref().filter(|_| place.role == Role::Agent);
        let group = group.map(CpuGroup::processes).transpose()?;
        let host = Host::boot(&self.files, &self.options, place, namespace, group)?;
        self.hosts.push(host);
        Ok(())
    }
}

fn of_name<'a>(hosts: &'a mut [Host], name: &str) -> Result<&'a mut Host> {
    let found = hosts.iter_mut().find(|host| host.place.name == name);
    found.with_context(|| format!("no host {name:?}"))
}

impl Drop for Mesh {
    fn drop(&mut self) {
        if let Err(error) = self.end_all() {
            eprintln!("mesh {}: {error:#}", self.options.name);
        }
    }
}
