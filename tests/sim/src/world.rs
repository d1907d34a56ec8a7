//! Hosts, network and processes in virtual time. Knows no role: what runs on the hosts is a [`Process`].
//!
//! ```text
//!  process ──probe──▶ network ──▶ kernel of the subject (real check order) ──echo──▶ network ──▶ kernel of the observer
//!     └──datagram──▶ network ──▶ socket ──▶ process
//! ```
//!
//! Times are nanoseconds since the run began; only [`Process`]es see their host's clock. A run is a function of its
//! seed.

use std::ops::Range;

use detector::profile::LATE_TICK;
use detector::time::{Instant, nanos};
use detector_common::check::Answer;
use detector_common::packet::{Packet, kind};

use crate::host::{Arrival, Host, address, end_of};
use crate::network::{End, Network, Port};
use crate::oracle::Oracle;
use crate::process::{Output, Process, Running};
use crate::queue::{Queue, Slab};
use crate::rng::Rng;

/// A wake-up is late by less than this even on an idle host (timer slack and scheduling), in nanoseconds.
const WAKE_SLACK: u64 = 60_000;

/// A wake that is late by this troubles its host for certain: whichever timer it was for, the observer's own was due
/// within a slot of it.
const TROUBLING: std::time::Duration = LATE_TICK.saturating_mul(2);

/// Arrivals that wait are taken up this far apart.
const DRAIN_STEP: u64 = 2_000;

#[derive(Clone, Copy)]
enum Event {
    Arrive(Arrival),
    Wake(End),
    GoOn(u32),
}

struct Flight {
    from: End,
    to: End,
    /// When the question left: what the oracle needs to know.
    asked: u64,
    packet: Packet,
}

struct Letter {
    from: End,
    to: End,
    bytes: Vec<u8>,
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

/// Userspace that gets the CPU late, now and then.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lateness {
    /// Share of wakes that come late.
    pub share: f64,
    /// By up to this, uniform, in nanoseconds.
    pub most: u64,
}

/// The whole of it.
pub struct World<P: Process> {
    now: u64,
    rng: Rng,
    queue: Queue<Event>,
    flights: Slab<Flight>,
    letters: Slab<Letter>,
    notices: std::collections::VecDeque<Notice<P::Note>>,
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
            notices: std::collections::VecDeque::new(),
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

    /// Power off, in one stroke.
    pub fn crash(&mut self, host: u32) {
        self.trouble(host);
        self.hosts[host as usize].stop();
        self.oracle.crashed(host, self.now);
        for port in [Port::Agent, Port::Steward] {
            self.processes[place(End { host, port })] = None;
        }
    }

    /// Power on: a new boot with an empty kernel, and nothing running yet.
    pub fn boot(&mut self, host: u32, boot: detector::identity::BootId) {
        self.hosts[host as usize].start(boot);
        self.oracle.booted(host);
        self.trouble(host);
    }

    /// The hypervisor holds a host: everything on it stands still, its clock too.
    pub fn pause(&mut self, host: u32, length: u64) {
        self.trouble(host);
        let now = self.now;
        let state = &mut self.hosts[host as usize];
        state.clock.stop(now);
        state.held = now..state.held.end.max(now + length);
        self.queue.push(state.held.end, Event::GoOn(host));
    }

    /// The host's softirqs get no CPU: arrivals wait, userspace goes on.
    pub fn starve(&mut self, host: u32, length: u64) {
        self.trouble(host);
        let state = &mut self.hosts[host as usize];
        state.starved = self.now..state.starved.end.max(self.now + length);
        self.queue.push(state.starved.end, Event::GoOn(host));
    }

    /// A process gets no CPU; the kernel goes on answering.
    pub fn stall(&mut self, end: End, length: u64) {
        if end.port == Port::Agent {
            self.trouble(end.host);
        }
        let until = self.now + length;
        if let Some(running) = &mut self.processes[place(end)] {
            running.stalled = self.now..until;
            running.wake = until;
            self.queue.push(until, Event::Wake(end));
        }
    }

    /// From now on the wakes on this host are late like this.
    pub fn set_lateness(&mut self, host: u32, lateness: Lateness) {
        self.lateness[host as usize] = lateness;
        self.trouble(host);
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

    /// Whether this host's agent could see and tell all that happened to it in this time.
    #[must_use]
    pub fn untroubled(&self, host: u32, time: Range<u64>) -> bool {
        let state = &self.hosts[host as usize];
        let end = End::agent(host);
        let overlaps = |begin: u64, until: u64| begin < time.end && until > time.start;
        state.on
            && !overlaps(state.held.start, state.held.end)
            && !overlaps(state.starved.start, state.starved.end)
            && !state.troubles.iter().any(|at| time.contains(at))
            && self.processes[place(end)].as_ref().is_some_and(|running| {
                let Range { start, end } = running.stalled;
                !overlaps(start, end) || end - start < nanos(TROUBLING)
            })
    }

    fn trouble(&mut self, host: u32) {
        let now = self.now;
        self.hosts[host as usize].trouble(now);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(arrival) => self.arrive(arrival),
            Event::Wake(end) => self.wake(end),
            Event::GoOn(host) => self.go_on(host),
        }
    }

    fn arrive(&mut self, arrival: Arrival) {
        let to = match arrival {
            Arrival::Packet(slot) => {
                let flight = self.flights.get(slot);
                if flight.packet.kind() == kind::ECHO {
                    let (observer, subject) = (flight.to.host, flight.from.host);
                    self.oracle
                        .echo_arrived(observer, subject, flight.asked, self.now);
                }
                flight.to
            }
            Arrival::Datagram(slot) => self.letters.get(slot).to,
        };
        let host = &mut self.hosts[to.host as usize];
        if host.receives(self.now) {
            match arrival {
                Arrival::Packet(slot) => self.respond(slot),
                Arrival::Datagram(slot) => self.deliver(slot),
            }
        } else if !host.on || !host.put_aside(arrival) {
            self.forget(arrival);
        }
    }

    fn forget(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Packet(slot) => drop(self.flights.take(slot)),
            Arrival::Datagram(slot) => drop(self.letters.take(slot)),
        }
    }

    fn respond(&mut self, slot: u32) {
        let mut flight = self.flights.take(slot);
        let host = &mut self.hosts[flight.to.host as usize];
        let local = host.clock.at(self.now);
        if let Ok(Answer::Echo) = host.kernel.receive(&mut flight.packet, local.0) {
            let (from, to) = (flight.to, flight.from);
            self.send_packet(Flight { from, to, ..flight });
        }
    }

    fn deliver(&mut self, slot: u32) {
        let letter = self.letters.take(slot);
        let end = letter.to;
        let local = self.hosts[end.host as usize].clock.at(self.now);
        let Some(running) = &mut self.processes[place(end)] else {
            return;
        };
        if running.stalled.contains(&self.now) {
            running.enqueue(address(letter.from), letter.bytes);
            return;
        }
        running
            .machine
            .handle_datagram(address(letter.from), &letter.bytes, local);
        self.settle(end);
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

    /// The hypervisor lets go, or the softirqs run again.
    fn go_on(&mut self, host: u32) {
        self.trouble(host);
        let now = self.now;
        let state = &mut self.hosts[host as usize];
        if !state.on {
            return;
        }
        if !state.held.contains(&now) {
            state.clock.go_on(now);
        }
        if !state.receives(now) {
            return;
        }
        let waiting: Vec<Arrival> = state.waiting.drain(..).collect();
        for (nth, arrival) in waiting.into_iter().enumerate() {
            self.queue
                .push(now + nth as u64 * DRAIN_STEP, Event::Arrive(arrival));
        }
        for port in [Port::Agent, Port::Steward] {
            self.arm(End { host, port });
        }
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

    fn send_probe(&mut self, from: End, to: std::net::SocketAddr, packet: Packet) {
        let Some(to) = self.known(to) else {
            return;
        };
        self.oracle.probe_sent(from.host, to.host, self.now);
        self.send_packet(Flight {
            from,
            to,
            asked: self.now,
            packet,
        });
    }

    fn send_packet(&mut self, flight: Flight) {
        if let Some(arrival) = self.network.carry(flight.from, flight.to, self.now) {
            let slot = self.flights.put(flight);
            self.queue.push(arrival, Event::Arrive(Arrival::Packet(slot)));
        }
    }

    fn send_datagram(&mut self, from: End, to: std::net::SocketAddr, bytes: Vec<u8>) {
        let Some(to) = self.known(to) else {
            return;
        };
        if let Some(arrival) = self.network.carry(from, to, self.now) {
            let slot = self.letters.put(Letter { from, to, bytes });
            self.queue.push(arrival, Event::Arrive(Arrival::Datagram(slot)));
        }
    }

    fn known(&self, to: std::net::SocketAddr) -> Option<End> {
        end_of(to).filter(|end| end.host < self.hosts())
    }
}

/// Where the process of an end is kept.
fn place(end: End) -> usize {
    end.host as usize * 2 + usize::from(end.port == Port::Steward)
}
