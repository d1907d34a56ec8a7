//! What else a machine may be doing: busy loops, foreign packets, agents that get no processor.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use detector::realtime::thread;
use rustix::process::{Signal, kill_process};
use serde::Serialize;

use super::Mesh;
use super::cpu::{CpuGroup, LEAST, MUCH, ORDINARY};
use super::host::join_cgroup;
use crate::netns::Namespace;
use crate::process::{self, Running};

/// Busy loops of [`Kind::Busy`]: sixteen for each of two processors.
const LOOPS: usize = 32;
/// Groups of [`Kind::Starved`], with a busy loop each.
const GREEDY: usize = 8;
/// Foreign packets: so many at once, 20,000 a second.
const BURST: u64 = 20;
/// Between two bursts.
const PERIOD: Duration = Duration::from_millis(1);
/// Nobody listens on "discard".
const FOREIGN_PORT: u16 = 9;

/// How loaded the machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Not beside the mesh.
    Idle,
    /// 32 busy loops, and 20,000 foreign packets a second to the subject.
    Busy,
    /// All agents in a group with the least share of the processors, beside eight with a large one and a busy loop each.
    Starved,
}

impl Kind {
    /// Its name in the series.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Starved => "starved",
        }
    }

    /// Whether this machine can be loaded so.
    #[must_use]
    pub fn is_possible(self) -> bool {
        self != Self::Starved || CpuGroup::is_available()
    }
}

/// A load that can be put on and taken off.
#[derive(Debug)]
pub struct Load {
    /// Stopped when it is off.
    loops: Vec<Running>,
    flood: Option<Flood>,
    starved: Option<CpuGroup>,
}

impl Load {
    /// Prepares it; it is off.
    ///
    /// # Errors
    /// When the processes cannot be started.
    pub fn new(kind: Kind, mesh: &Mesh) -> Result<Self> {
        let mut load = Self {
            loops: Vec::new(),
            flood: None,
            starved: None,
        };
        match kind {
            Kind::Idle => {}
            Kind::Busy => {
                for _ in 0..LOOPS {
                    load.add_loop(None)?;
                }
                load.flood = Some(Flood::start(mesh.hub())?);
            }
            Kind::Starved => {
                for number in 0..GREEDY {
                    let group = CpuGroup::create(&mesh.files.layout, &format!("greedy-{number}"), MUCH)?;
                    load.add_loop(Some(&group))?;
                }
                let agents = mesh.agents.clone();
                load.starved = Some(agents.context("the agents of this mesh are in no group of their own")?);
            }
        }
        Ok(load)
    }

    /// Puts it on; foreign packets go to the subject.
    ///
    /// # Errors
    /// When a process has ended.
    pub fn on(&self, subject: IpAddr) -> Result<()> {
        if let Some(agents) = &self.starved {
            agents.set_shares(LEAST)?;
        }
        if let Some(flood) = &self.flood {
            flood.aim(Some(subject));
        }
        self.signal_loops(Signal::CONT)
    }

    /// Takes it off.
    ///
    /// # Errors
    /// When a process has ended.
    pub fn off(&self) -> Result<()> {
        self.signal_loops(Signal::STOP)?;
        if let Some(flood) = &self.flood {
            flood.aim(None);
        }
        if let Some(agents) = &self.starved {
            agents.set_shares(ORDINARY)?;
        }
        Ok(())
    }

    /// Foreign packets a second while it was on; None: it sends none.
    #[must_use]
    pub fn foreign_rate(&self) -> Option<f64> {
        self.flood.as_ref().map(Flood::rate)
    }

    fn add_loop(&mut self, group: Option<&CpuGroup>) -> Result<()> {
        let mut command = Command::new("sh");
        // It stops itself first: it is to run only while the load is on.
        command.args(["-c", "kill -STOP $$; while :; do :; done"]);
        process::die_with_parent(&mut command);
        if let Some(group) = group {
            join_cgroup(&mut command, group.processes()?);
        }
        self.loops.push(Running::start(command)?);
        Ok(())
    }

    fn signal_loops(&self, signal: Signal) -> Result<()> {
        for running in &self.loops {
            kill_process(running.pid(), signal).context("a busy loop has ended")?;
        }
        Ok(())
    }
}

/// Sends foreign packets from the bridge until it is dropped; scheduled as the network's own interrupts would be.
#[derive(Debug)]
struct Flood {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    target: Mutex<Option<SocketAddr>>,
    stop: AtomicBool,
    sent: AtomicU64,
    /// Time spent sending, in ns.
    spent: AtomicU64,
}

impl Flood {
    fn start(hub: &Namespace) -> Result<Self> {
        let socket = hub.enter(|| UdpSocket::bind(("::", 0)))??;
        socket.set_nonblocking(true)?;
        let shared = Arc::new(Shared::default());
        let thread = {
            let shared = Arc::clone(&shared);
            thread::start("flood", true, move |_| send(&socket, &shared))?
        };
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    fn aim(&self, subject: Option<IpAddr>) {
        let target = subject.map(|address| {
            let address = match address {
                IpAddr::V4(address) => address.to_ipv6_mapped(),
                IpAddr::V6(address) => address,
            };
            SocketAddr::new(address.into(), FOREIGN_PORT)
        });
        *self.shared.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }

    fn rate(&self) -> f64 {
        let sent = self.shared.sent.load(Ordering::Relaxed) as f64;
        let spent = self.shared.spent.load(Ordering::Relaxed) as f64;
        sent / (spent / 1e9).max(1e-9)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}

fn send(socket: &UdpSocket, shared: &Shared) {
    let payload = [0; 64];
    let mut last = Instant::now();
    while !shared.stop.load(Ordering::Relaxed) {
        std::thread::sleep(PERIOD.saturating_sub(last.elapsed()));
        let passed = last.elapsed();
        last = Instant::now();
        let target = *shared.target.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(target) = target else { continue };
        for _ in 0..BURST {
            // A host that was cut refuses nothing and takes nothing.
            if socket.send_to(&payload, target).is_ok() {
                shared.sent.fetch_add(1, Ordering::Relaxed);
            }
        }
        let passed = u64::try_from(passed.as_nanos()).unwrap_or_default();
        shared.spent.fetch_add(passed, Ordering::Relaxed);
    }
}
