//! The agent: what the real-time thread of `detector agent` runs.
//!
//! ```text
//!  arrivals ─▶ observer ─▶ probes ────────────────────────────────▶ AgentCommand
//!                 │ ▲                                                    ▲
//!   hints, reports│ │hints, looks   greetings, sightings, goodbye ───┐   │
//!                 ▼ │                                                ▼   │
//!  datagrams ────▶ control (sealed) ◀────────────────────────────────────┘
//! ```
//!
//! The shell stamps the kernel's `Me` before each [`Agent::handle_timeout`], so that the age of that stamp in the
//! echoes tells that this machine still runs.

mod neighbours;
mod status;
mod unheard;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use detector_common::packet::{Packet, health};
use detector_common::state::PeerKey;

use crate::control::{Control, Delivery, Received, Transmit};
use crate::identity::{BootId, MemberId};
use crate::keys::PairSecret;
use crate::message::{Farewell, Goodbye, Greeting, MAX_SIGHTINGS, Message};
use crate::observer::{Arrivals, Command, Observer};
use crate::profile::{GREETING, Profile, STAMP_INTERVAL};
use crate::rings::Rings;
use crate::roster::Roster;
use crate::time::Instant;

pub use neighbours::Neighbours;
use neighbours::StewardHost;
pub use status::AgentStatus;
use unheard::Unheard;

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentCommand {
    /// Send this packet once; tell [`Agent::handle_unsent`] if it could not leave.
    Probe {
        /// Where.
        to: SocketAddr,
        /// Sealed.
        packet: Packet,
    },
    /// Send this datagram.
    Datagram(Transmit),
    /// The tag keys of all members: the kernel's map must hold these and no others.
    Peers(BTreeMap<u64, PeerKey>),
    /// Own health, for the kernel's `Me`.
    Health(u32),
    /// Own incarnation, for the kernel's `Me`: before the next probe leaves.
    Incarnation(u32),
    /// Nobody asks any more: tell the API that this boot lives.
    Unheard {
        /// The own boot.
        boot: BootId,
    },
    /// For the log.
    Event(Event),
}

/// Something to be told, that changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The own tick came too late: this observer abstains for a window.
    LateTick,
    /// An earlier process of this host sent higher sequences.
    Raised {
        /// The incarnation that goes on above them.
        incarnation: u32,
    },
}

/// See the head of this file.
pub struct Agent {
    own: MemberId,
    boot: BootId,
    port: u16,
    config: u64,
    observer: Observer,
    control: Control,
    unheard: Unheard,
    stewards: Vec<StewardHost>,
    keys: BTreeMap<u64, PeerKey>,
    roster: u64,
    members: usize,
    health: u32,
    farewell: Option<Farewell>,
    greeting_due: Instant,
    stamp_due: Instant,
    commands: VecDeque<AgentCommand>,
}

impl Agent {
    /// `incarnation`: random, new with every start of the process; its low half begins the sequences, and must be in
    /// the kernel's `Me`. `port`: of all agents.
    #[must_use]
    pub fn new(
        own: MemberId,
        boot: BootId,
        incarnation: u64,
        port: u16,
        profile: Profile,
        now: Instant,
    ) -> Self {
        let low = u32::try_from(incarnation & u64::from(u32::MAX)).unwrap_or_default();
        Self {
            own,
            boot,
            port,
            config: profile.config_hash(),
            observer: Observer::new(own, low, profile, now),
            control: Control::new(own, incarnation),
            unheard: Unheard::new(&profile),
            stewards: Vec::new(),
            keys: BTreeMap::new(),
            roster: 0,
            members: 0,
            health: 0,
            farewell: None,
            greeting_due: Instant::NEVER,
            stamp_due: now + STAMP_INTERVAL,
            commands: VecDeque::with_capacity(32),
        }
    }

    /// A new roster, all at once. For large ones build the [`Neighbours`] elsewhere.
    pub fn handle_roster(&mut self, roster: &Roster, pairs: &BTreeMap<MemberId, PairSecret>, now: Instant) {
        let neighbours = Neighbours::new(self.own, self.port, roster, &Rings::new(roster), pairs);
        self.handle_neighbours(neighbours, now);
    }

    /// What is new of a new roster.
    pub fn handle_neighbours(&mut self, neighbours: Neighbours, now: Instant) {
        self.control.set_peers(neighbours.channels);
        let peers: Vec<MemberId> = self.control.peers().collect();
        peers.into_iter().for_each(|peer| self.control.connect(peer, now));
        if self.keys != neighbours.keys {
            self.keys = neighbours.keys;
            self.commands.push_back(AgentCommand::Peers(self.keys.clone()));
        }
        self.roster = neighbours.roster;
        self.members = neighbours.members;
        self.unheard.set_watchers(neighbours.watchers.clone(), now);
        self.observer
            .set_subjects(neighbours.watches, &neighbours.watchers, now);
        let known = |steward: &StewardHost| self.stewards.iter().any(|known| known.id == steward.id);
        if !neighbours.stewards.iter().all(known) {
            self.observer.handle_new_stewards(now);
        }
        self.stewards = neighbours.stewards;
        self.greet(now);
        self.collect(now);
    }

    /// A datagram of kind [`detector_common::packet::kind::SEALED`].
    pub fn handle_sealed(&mut self, datagram: &[u8], now: Instant) {
        if let Ok(Some(received)) = self.control.handle_datagram(datagram, now) {
            self.receive(&received, now);
            self.collect(now);
        }
    }

    fn receive(&mut self, received: &Received, now: Instant) {
        let from = received.from;
        let steward = self.stewards.iter().find(|steward| steward.id == from).copied();
        if let Some(host) = steward.map_or(Some(from), |steward| steward.host) {
            self.observer.handle_alive(host, now);
        }
        match &received.message {
            Message::Hint(hint) if steward.is_none() => self.observer.handle_hint(hint, from, now),
            Message::Look(look) if steward.is_some() => self.observer.handle_look(look, from, now),
            Message::Ping(number) if steward.is_some() => {
                self.control
                    .send(from, &Message::Pong(*number), Delivery::Once, now);
            }
            Message::Greeting(_) if steward.is_some() => {}
            _ => self.control.count_misdirected(),
        }
    }

    /// A probe did not leave the host (ENOBUFS, ENETDOWN, EPERM; not EHOSTUNREACH).
    pub fn handle_unsent(&mut self, packet: &Packet, now: Instant) {
        self.observer
            .handle_unsent(MemberId(packet.subject.get()), packet.sequence.get(), now);
    }

    /// The link that probes leave through lost or found its carrier.
    pub fn handle_link(&mut self, up: bool, now: Instant) {
        self.observer.handle_link(up, now);
    }

    /// Local health, as bits of [`detector_common::packet::health`].
    pub fn handle_health(&mut self, bits: u32, now: Instant) {
        if self.health != bits {
            self.health = bits;
            self.commands.push_back(AgentCommand::Health(self.bits()));
            self.greet(now);
        }
    }

    /// The last words: repeated to each steward until it acknowledges them. Whoever asks the kernel learns that a
    /// shutdown is under way as well.
    pub fn handle_farewell(&mut self, farewell: Farewell, now: Instant) {
        let before = self.bits();
        self.farewell = Some(farewell);
        if self.bits() != before {
            self.commands.push_back(AgentCommand::Health(self.bits()));
        }
        let goodbye = Message::Goodbye(Goodbye {
            boot: self.boot,
            farewell,
        });
        for steward in &self.stewards {
            self.control.send(steward.id, &goodbye, Delivery::Reliable, now);
        }
    }

    /// Whether a steward has not acknowledged the farewell yet: the process should wait, for a while.
    #[must_use]
    pub fn is_saying_goodbye(&self) -> bool {
        self.farewell.is_some()
            && self
                .stewards
                .iter()
                .any(|steward| self.control.pending(steward.id) > 0)
    }

    fn bits(&self) -> u32 {
        let leaving = matches!(self.farewell, Some(Farewell::PowerOff | Farewell::Reboot));
        self.health | if leaving { health::LEAVING } else { 0 }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, arrivals: &impl Arrivals) {
        if self.observer.poll_timeout() <= now {
            let before = self.observer.counters().late_ticks;
            self.observer.handle_timeout(now, arrivals);
            if self.observer.counters().late_ticks > before {
                self.commands.push_back(AgentCommand::Event(Event::LateTick));
            }
        }
        if self.unheard.check(now, arrivals) {
            self.commands.push_back(AgentCommand::Unheard { boot: self.boot });
        }
        if self.greeting_due <= now {
            self.greet(now);
        }
        self.control.handle_timeout(now);
        self.stamp_due = now + STAMP_INTERVAL;
        self.collect(now);
    }

    /// Tells every steward how this host is, and whom it hears. Not after a farewell: a later greeting takes it back.
    fn greet(&mut self, now: Instant) {
        if self.farewell.is_some() {
            self.greeting_due = Instant::NEVER;
            return;
        }
        self.greeting_due = now + GREETING;
        let greeting = Message::Greeting(Greeting {
            boot: self.boot,
            config: self.config,
            roster: self.roster,
            health: self.bits(),
        });
        self.tell_stewards(&greeting, now);
        let sightings: Vec<_> = self.observer.sightings(now).collect();
        for some in sightings.chunks(MAX_SIGHTINGS) {
            self.tell_stewards(&Message::Heard(some.to_vec()), now);
        }
    }

    fn tell_stewards(&mut self, message: &Message, now: Instant) {
        for steward in &self.stewards {
            self.control.send(steward.id, message, Delivery::Once, now);
        }
    }

    /// Carries out what the observer wants.
    fn collect(&mut self, now: Instant) {
        while let Some(command) = self.observer.poll_command() {
            match command {
                Command::Probe { to, packet, .. } => {
                    self.commands.push_back(AgentCommand::Probe { to, packet });
                }
                Command::Tell { to, message } => self.control.send(to, &message, Delivery::Once, now),
                Command::TellStewards(message) => self.tell_stewards(&message, now),
                Command::Incarnation(incarnation) => {
                    self.commands.push_back(AgentCommand::Incarnation(incarnation));
                    self.commands
                        .push_back(AgentCommand::Event(Event::Raised { incarnation }));
                }
            }
        }
    }

    /// The next thing to do: what the kernel must know, probes, then datagrams.
    pub fn poll_command(&mut self) -> Option<AgentCommand> {
        let command = self.commands.pop_front();
        command.or_else(|| self.control.poll_transmit().map(AgentCommand::Datagram))
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        let own = self.greeting_due.min(self.unheard.due).min(self.stamp_due);
        own.min(self.observer.poll_timeout())
            .min(self.control.poll_timeout())
    }
}

#[cfg(test)]
mod tests;
