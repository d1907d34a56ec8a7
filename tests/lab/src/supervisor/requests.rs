//! What a lab is asked once it is up.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Supervisor, Wake};
use crate::control::{self, HostState, Request, State};
use crate::machine::{Machine, Power};
use crate::options::DetectorOptions;
use crate::topology::Host;
use crate::{cgroup, detector, processes};

impl Supervisor {
    /// Answers requests until the lab is to end.
    pub(super) fn serve(&mut self) -> Result<()> {
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
                let init = self.machine(name, Power::On)?.init();
                let killed = processes::signal_role(init, "detector", "agent", Signal::KILL)?;
                Ok(json!(killed))
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
        let components = self
            .components
            .iter_mut()
            .filter_map(|component| component.check().err());
        let machines = self
            .machines
            .iter_mut()
            .filter_map(|machine| machine.check(&self.layout).err());
        let ended = components.chain(machines);
        State {
            supervisor: std::process::id(),
            hosts,
            ended: ended.map(|error| error.to_string()).collect(),
            client: self.client.path(),
            binary: self.setup.binary.clone(),
        }
    }
}

/// The client may have gone: the lab goes on.
fn answer_to(stream: &UnixStream, answer: &Result<Value, String>) {
    if let Err(error) = control::send(stream, answer) {
        eprintln!("an answer was not taken: {error}");
    }
}
