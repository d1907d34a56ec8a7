//! Hosts, network and processes in virtual time. Knows no role: what runs on the hosts is a [`Process`].
//!
//! ```text
//!  process ──probe──▶ network ──▶ kernel of the subject (real check order) ──echo──▶ network ──▶ kernel of the observer
//!     └──datagram──▶ network ──▶ socket ──▶ process
//! ```
//!
//! Times are nanoseconds since the run began; only [`Process`]es see their host's clock. A run is a function of its
//! seed.

mod faults;
mod traffic;

use std::collections::VecDeque;

use detector::time::Instant;

use crate::host::{Arrival, Host};
use crate::network::{End, Network, Port};
use crate::oracle::Oracle;
use crate::process::{Output, Process, Running};
use crate::queue::{Queue, Slab};
use crate::rng::Rng;
use faults::TROUBLING;
use traffic::{Flight, Letter};

pub use faults::Lateness;

/// A wake-up is late by less than this even on an idle host (timer slack and scheduling), in nanoseconds.
const WAKE_SLACK: u64 = 60_000;

#[derive(Clone, Copy)]
enum Event {
    Arrive(Arrival),
    Wake(End),
    GoOn(u32),
}

/// Something that a process tells the world above.
pub struct Notice<N> {
    /// When, in the world's time.
    pub at: u64,
    /// Who.
    pub from: End,
    /// What.
    pub note: N,
}

/// The whole of it.
pub struct World<P: Process> {
    now: u64,
    rng: Rng,
    queue: Queue<Event>,
    flights: Slab<Flight>,
    letters: Slab<Letter>,
    notices: VecDeque<Notice<P::Note>>,
    hosts: Vec<Host>,
    processes: Vec<Option<Running<P>>>,
    lateness: Vec<Lateness>,
    /// What lies between the hosts.
    pub network: Network,
    /// What is true.
    pub oracle: Oracle,
}

impl<P: Process> World<P> {
    /// A world with these hosts, and nothing running on them.
    #[must_use]
    pub fn new(seed: u64, hosts: Vec<Host>, network: Network) -> Self {
        let count = hosts.len();
        Self {
            now: 0,
            rng: Rng::new(seed, 0x0077_6f72),
            queue: Queue::default(),
            flights: Slab::default(),
            letters: Slab::default(),
            notices: VecDeque::new(),
            hosts,
            processes: (0..count * 2).map(|_| None).collect(),
            lateness: vec![Lateness::default(); count],
            network,
            oracle: Oracle::new(count),
        }
    }

    /// The world's time.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Events scheduled so far.
    #[must_use]
    pub fn scheduled(&self) -> u64 {
        self.queue.scheduled()
    }

    /// Packets and datagrams on their way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flights.len() + self.letters.len()
    }

    /// A host.
    #[must_use]
    pub fn host(&self, host: u32) -> &Host {
        &self.hosts[host as usize]
    }

    /// How many hosts there are.
    #[must_use]
    pub fn hosts(&self) -> u32 {
        self.hosts.len() as u32
    }

    /// What its host's clock shows now.
    #[must_use]
    pub fn clock(&self, host: u32) -> Instant {
        self.hosts[host as usize].clock.at(self.now)
    }

    /// A running process.
    #[must_use]
    pub fn process(&self, end: End) -> Option<&Running<P>> {
        self.processes[place(end)].as_ref()
    }

    /// All ends at which something runs.
    pub fn ends(&self) -> impl Iterator<Item = End> + '_ {
        (0..self.hosts())
            .flat_map(|host| {
                [Port::Agent, Port::Steward]
                    .into_iter()
                    .map(move |port| End { host, port })
            })
            .filter(|end| self.processes[place(*end)].is_some())
    }

    /// The shell of a new agent writes who it is where the kernel reads it.
    pub fn me(&mut self, host: u32, incarnation: u32) {
        let state = &self.hosts[host as usize];
        let me = &state.kernel.me;
        me.id.set(state.id.0);
        me.boot.set(state.boot.0);
        me.incarnation.set(u64::from(incarnation));
    }

    /// Starts a process; one that ran there is gone.
    pub fn start(&mut self, end: End, machine: P) {
        self.processes[place(end)] = Some(Running::new(machine));
        self.settle(end);
    }

    /// Ends a process without a word.
    pub fn kill(&mut self, end: End) {
        self.processes[place(end)] = None;
        if end.port == Port::Agent {
            self.trouble(end.host);
        }
    }

    /// Lets the world above speak to a process, at its host's time.
    pub fn with<R>(&mut self, end: End, speak: impl FnOnce(&mut P, Instant) -> R) -> Option<R> {
        let host = &self.hosts[end.host as usize];
        let running = self.processes[place(end)].as_mut()?;
        let answer = speak(&mut running.machine, host.clock.at(self.now));
        self.settle(end);
        Some(answer)
    }

    /// Runs until a process has something to tell, or until this time.
    pub fn run(&mut self, until: u64) -> Option<Notice<P::Note>> {
        loop {
            if let Some(notice) = self.notices.pop_front() {
                return Some(notice);
            }
            let Some((at, event)) = self.queue.pop(until) else {
                self.now = self.now.max(until);
                return None;
            };
            self.now = at;
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(arrival) => self.arrive(arrival),
            Event::Wake(end) => self.wake(end),
            Event::GoOn(host) => self.go_on(host),
        }
    }

    fn wake(&mut self, end: End) {
        let host = &self.hosts[end.host as usize];
        let local = host.clock.at(self.now);
        let Some(running) = &mut self.processes[place(end)] else {
            return;
        };
        if running.wake != self.now || host.held.contains(&self.now) {
            return;
        }
        // Which of socket and timer a thread looks at first after a stall is chance.
        let timer_first = running.has_mail() && self.rng.chance(0.5);
        if timer_first {
            running.machine.handle_timeout(local, &host.kernel);
        }
        while let Some((from, bytes)) = running.dequeue() {
            running.machine.handle_datagram(from, &bytes, local);
        }
        if !timer_first {
            running.machine.handle_timeout(local, &host.kernel);
        }
        running.wake = u64::MAX;
        let late = running.wanted != Instant::NEVER && local.since(running.wanted) >= TROUBLING;
        if late && end.port == Port::Agent {
            self.trouble(end.host);
        }
        self.settle(end);
    }

    /// Carries out what a process wants done, and arms its timer.
    fn settle(&mut self, end: End) {
        loop {
            let host = &mut self.hosts[end.host as usize];
            let Some(running) = &mut self.processes[place(end)] else {
                return;
            };
            let Some(output) = running.machine.poll_output(&mut host.kernel) else {
                break;
            };
            match output {
                Output::Probe { to, packet } => {
                    running.count(self.now);
                    self.send_probe(end, to, packet);
                }
                Output::Datagram { to, bytes } => {
                    running.count(self.now);
                    self.send_datagram(end, to, bytes);
                }
                Output::Note(note) => self.notices.push_back(Notice {
                    at: self.now,
                    from: end,
                    note,
                }),
            }
        }
        self.arm(end);
    }

    fn arm(&mut self, end: End) {
        let host = &self.hosts[end.host as usize];
        let Some(running) = &mut self.processes[place(end)] else {
            return;
        };
        let wanted = running.machine.poll_timeout();
        if wanted == Instant::NEVER || host.held.contains(&self.now) {
            return;
        }
        // A wake that is armed for this time stays: its lateness is drawn once.
        if running.wanted == wanted && running.wake > self.now && running.wake != u64::MAX {
            return;
        }
        running.wanted = wanted;
        let due = host.clock.when(wanted).max(self.now);
        let mut wake = due + self.rng.below(WAKE_SLACK);
        let lateness = self.lateness[end.host as usize];
        if running.stalled.contains(&wake) {
            wake = running.stalled.end;
        } else if self.rng.chance(lateness.share) {
            wake += self.rng.below(lateness.most.max(1));
            running.stalled = due..wake;
        }
        running.wake = wake;
        self.queue.push(wake, Event::Wake(end));
    }
}

/// Where the process of an end is kept.
fn place(end: End) -> usize {
    end.host as usize * 2 + usize::from(end.port == Port::Steward)
}
