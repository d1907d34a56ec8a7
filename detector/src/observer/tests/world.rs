//! A few observers in virtual time over tables in memory, through the real check order. Everybody observes everybody.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use detector_common::check::{Answer, Tables, respond};
use detector_common::packet::Packet;
use detector_common::state::{Me, PeerKey, PeerState};
use detector_common::word::Word;

use crate::identity::{BootId, MemberId};
use crate::message::{Hint, Message, Report};
use crate::observer::{Arrivals, Command, Observer, Watch};
use crate::profile::Profile;
use crate::time::{Instant, nanos};

pub(super) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// The world's clock when it begins.
const START: u64 = 1_000_000_000_000;

/// The kernel of one host.
pub(super) struct Kernel {
    pub(super) me: Me,
    keys: BTreeMap<u64, PeerKey>,
    pub(super) states: BTreeMap<u64, PeerState>,
}

impl Tables for Kernel {
    fn me(&self) -> Option<&Me> {
        Some(&self.me)
    }
    fn key(&self, peer: u64) -> Option<PeerKey> {
        self.keys.get(&peer).copied()
    }
    fn state(&self, peer: u64) -> Option<&PeerState> {
        self.states.get(&peer)
    }
}

impl Arrivals for Kernel {
    fn state(&self, peer: MemberId) -> Option<PeerState> {
        self.states.get(&peer.0).cloned()
    }
}

pub(super) struct Node {
    pub(super) kernel: Kernel,
    pub(super) observer: Observer,
    /// Own clock less the world's (wrapping).
    offset: u64,
    /// Its agent does not run before this time of the world.
    pub(super) frozen_until: u64,
    /// What its agent told the stewards, and each steward, with the world's time.
    pub(super) reports: Vec<(u64, Report)>,
    pub(super) hints: Vec<(u64, Hint)>,
    /// Sendings of its probes by subject.
    pub(super) probes: BTreeMap<MemberId, Vec<u64>>,
    last_tick: (u64, u32),
}

enum Event {
    Packet {
        from: usize,
        to: usize,
        packet: Packet,
    },
    Told {
        from: usize,
        to: usize,
        message: Message,
    },
}

pub(super) struct World {
    pub(super) now: u64,
    pub(super) nodes: Vec<Node>,
    queue: BTreeMap<(u64, u64), Event>,
    serial: u64,
    pub(super) delay: Duration,
    /// Nothing passes from the first to the second.
    pub(super) cut: BTreeSet<(usize, usize)>,
    /// Probes from this node do not leave: it is told so.
    pub(super) unsendable: BTreeSet<usize>,
    /// Loses every packet for which it says so: sender, receiver, serial number.
    pub(super) lose: fn(usize, usize, u64) -> bool,
}

/// Loses every third packet, by no pattern.
pub(super) fn third(_from: usize, _to: usize, serial: u64) -> bool {
    let mut word = serial.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 40 & 0xff < 85
}

pub(super) fn id(node: usize) -> MemberId {
    MemberId(node as u64 + 1)
}

fn key(a: usize, b: usize) -> PeerKey {
    let (low, high) = (a.min(b) as u64, a.max(b) as u64);
    PeerKey {
        k0: low + 1,
        k1: high + 1,
        id: 7,
    }
}

fn watches(own: usize, n: usize) -> Vec<Watch> {
    let others = (0..n).filter(|other| *other != own);
    let watch = |subject: usize| Watch {
        id: id(subject),
        address: SocketAddr::from(([10, 0, 0, subject as u8], 1)),
        key: key(own, subject),
        observers: (0..n).filter(|observer| *observer != subject).map(id).collect(),
    };
    others.map(watch).collect()
}

impl World {
    pub(super) fn new(n: usize) -> Self {
        let mut world = Self {
            now: START,
            nodes: Vec::new(),
            queue: BTreeMap::new(),
            serial: 0,
            delay: Duration::from_micros(200),
            cut: BTreeSet::new(),
            unsendable: BTreeSet::new(),
            lose: |_, _, _| false,
        };
        for own in 0..n {
            let offset = (own as u64 * 7_777_777_777).wrapping_sub(START / 2);
            let peers = (0..n).filter(|peer| *peer != own);
            let kernel = Kernel {
                me: Me {
                    id: Word::new(id(own).0),
                    boot: Word::new(100 + own as u64),
                    incarnation: Word::new(1),
                    ..Me::default()
                },
                keys: peers.clone().map(|peer| (id(peer).0, key(own, peer))).collect(),
                states: peers.map(|peer| (id(peer).0, PeerState::default())).collect(),
            };
            world.nodes.push(Node {
                kernel,
                observer: agent(own, n, 1, Instant(START.wrapping_add(offset))),
                offset,
                frozen_until: 0,
                reports: Vec::new(),
                hints: Vec::new(),
                probes: BTreeMap::new(),
                last_tick: (0, 0),
            });
        }
        world
    }

    /// A world in which everybody has measured everybody for three seconds.
    pub(super) fn settled(n: usize) -> Self {
        let mut world = Self::new(n);
        world.run(ms(3_000));
        for node in &mut world.nodes {
            node.reports.clear();
            node.probes.clear();
        }
        world
    }

    /// The agent of `node` starts anew with this incarnation; its kernel goes on.
    pub(super) fn restart(&mut self, node: usize, incarnation: u32) {
        let now = self.clock(node);
        self.nodes[node].observer = agent(node, self.nodes.len(), incarnation, now);
        self.nodes[node].kernel.me.incarnation.set(u64::from(incarnation));
    }

    /// Own time of `node`.
    pub(super) fn clock(&self, node: usize) -> Instant {
        Instant(self.now.wrapping_add(self.nodes[node].offset))
    }

    /// Nothing reaches `node` and nothing leaves it.
    pub(super) fn kill(&mut self, node: usize) {
        for other in 0..self.nodes.len() {
            self.cut.extend([(node, other), (other, node)]);
        }
    }

    pub(super) fn boot(&self, node: usize) -> BootId {
        BootId(self.nodes[node].kernel.me.boot.get())
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + nanos(time);
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until `node` has just sent a probe to `subject`.
    pub(super) fn until_probe(&mut self, node: usize, subject: usize) {
        let sent = |world: &Self| world.nodes[node].probes.get(&id(subject)).map_or(0, Vec::len);
        let before = sent(self);
        while sent(self) == before {
            assert!(self.step(u64::MAX));
        }
    }

    /// One event; false: none before `end`.
    pub(super) fn step(&mut self, end: u64) -> bool {
        let due = |node: &Node| match node.observer.poll_timeout() {
            Instant::NEVER => u64::MAX,
            at => at.0.wrapping_sub(node.offset).max(node.frozen_until),
        };
        let tick = self.nodes.iter().map(due).enumerate().min_by_key(|(_, at)| *at);
        let (node, tick_at) = tick.unwrap_or((0, u64::MAX));
        let event_at = self.queue.first_key_value().map_or(u64::MAX, |((at, _), _)| *at);
        if tick_at.min(event_at) >= end {
            return false;
        }
        self.now = self.now.max(tick_at.min(event_at));
        if event_at <= tick_at {
            let event = self.queue.pop_first().map(|(_, event)| event);
            event.into_iter().for_each(|event| self.deliver(event));
        } else {
            self.tick(node);
        }
        true
    }

    fn tick(&mut self, place: usize) {
        let now = self.clock(place);
        let node = &mut self.nodes[place];
        let (at, times) = node.last_tick;
        node.last_tick = (self.now, if at == self.now { times + 1 } else { 0 });
        assert!(node.last_tick.1 < 5, "node {place} spins");
        node.observer.handle_timeout(now, &node.kernel);
        self.drain(place);
    }

    /// Carries out what `place`'s observer wants.
    pub(super) fn drain(&mut self, place: usize) {
        let now = self.clock(place);
        while let Some(command) = self.nodes[place].observer.poll_command() {
            match command {
                Command::Probe { subject, packet, .. } => {
                    if self.unsendable.contains(&place) {
                        let sequence = packet.sequence.get();
                        self.nodes[place].observer.handle_unsent(subject, sequence, now);
                        continue;
                    }
                    self.nodes[place]
                        .probes
                        .entry(subject)
                        .or_default()
                        .push(self.now);
                    self.send(place, subject.0 as usize - 1, |from, to| Event::Packet {
                        from,
                        to,
                        packet,
                    });
                }
                Command::Tell {
                    to,
                    message: Message::Report(report),
                } => {
                    assert!(to.0 >= 1_000, "a report to a member");
                    self.nodes[place].reports.push((self.now, report));
                }
                Command::Tell { to, message } => {
                    self.send(place, to.0 as usize - 1, |from, to| Event::Told {
                        from,
                        to,
                        message,
                    });
                }
                Command::TellStewards(Message::Report(report)) => {
                    self.nodes[place].reports.push((self.now, report));
                }
                Command::TellStewards(Message::Hint(hint)) => self.nodes[place].hints.push((self.now, hint)),
                Command::TellStewards(other) => panic!("{other:?}"),
                Command::Incarnation(incarnation) => {
                    self.nodes[place]
                        .kernel
                        .me
                        .incarnation
                        .set(u64::from(incarnation));
                }
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, event: impl FnOnce(usize, usize) -> Event) {
        self.serial += 1;
        if self.cut.contains(&(from, to)) || (self.lose)(from, to, self.serial) {
            return;
        }
        let at = self.now + nanos(self.delay);
        self.queue.insert((at, self.serial), event(from, to));
    }

    fn deliver(&mut self, event: Event) {
        match event {
            Event::Packet { from, to, mut packet } => {
                let now = self.clock(to).0;
                if respond(&mut packet, now, &self.nodes[to].kernel) == Ok(Answer::Echo) {
                    self.send(to, from, |from, to| Event::Packet { from, to, packet });
                }
            }
            Event::Told { from, to, message } => {
                let now = self.clock(to);
                let observer = &mut self.nodes[to].observer;
                observer.handle_alive(id(from), now);
                match message {
                    Message::Hint(hint) => observer.handle_hint(&hint, id(from), now),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    /// The newest report of `node` about `subject`.
    pub(super) fn last_report(&self, node: usize, subject: usize) -> Option<&Report> {
        let mut reports = self.nodes[node].reports.iter().rev();
        reports
            .find(|(_, report)| report.subject == id(subject))
            .map(|(_, report)| report)
    }

    /// The most losses that any report of `node` about `subject` counted.
    pub(super) fn most_losses(&self, node: usize, subject: usize) -> usize {
        let reports = self.nodes[node]
            .reports
            .iter()
            .filter(|(_, report)| report.subject == id(subject));
        reports.map(|(_, report)| report.losses.len()).max().unwrap_or(0)
    }
}

fn agent(own: usize, n: usize, incarnation: u32, now: Instant) -> Observer {
    let mut observer = Observer::new(id(own), incarnation, Profile::LAN, now);
    let watchers: Vec<MemberId> = (0..n).filter(|other| *other != own).map(id).collect();
    observer.set_subjects(watches(own, n), &watchers, now);
    observer
}
