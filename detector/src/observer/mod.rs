//! The observer: asks its subjects in turn, and tells the stewards of a silence.
//!
//! ```text
//!  slot ─▶ subject ─▶ probe ─▶ wire ─▶ (kernel) ─▶ arrivals ─▶ subject ─▶ losses ─▶ report ─▶ stewards
//!                                                   rtt, loss ──┘          ▲          ▲
//!                                                   proof (somebody else was heard) ability (own tick, link, …)
//! ```
//!
//! Nothing is decided here: a report holds numbers. Each rule answers one way in which an observer could call a
//! healthy host silent; the stewards' rule is in `judge`.

mod ability;
mod loss;
mod losses;
mod proof;
mod report;
mod rtt;
mod sent;
mod slot;
mod status;
mod subject;
mod suspicion;

use std::collections::VecDeque;
use std::net::SocketAddr;

use detector_common::packet::Packet;
use detector_common::state::{PeerKey, PeerState};

use crate::identity::{BootId, MemberId};
use crate::message::{Ability, Hint, Look, Message, Report, Sighting};
use crate::profile::Profile;
use crate::time::Instant;

use ability::{Doubts, Silence};
use proof::ReceivePath;
pub use status::{Counters, SubjectStatus};
use subject::{PendingLook, Subject};

/// What the kernel noted of each peer: its maps, or the simulation's memory.
pub trait Arrivals {
    /// The peer's record as it is now; None: no member.
    fn state(&self, peer: MemberId) -> Option<PeerState>;
}

/// One subject by the roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Who.
    pub id: MemberId,
    /// Where it is asked.
    pub address: SocketAddr,
    /// The pair's tag key.
    pub key: PeerKey,
    /// All its observers, this one among them, in any order.
    pub observers: Vec<MemberId>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Send this packet, once.
    Probe {
        /// Whom it asks.
        subject: MemberId,
        /// Where.
        to: SocketAddr,
        /// Sealed.
        packet: Packet,
    },
    /// Tell one other observer, once.
    Tell {
        /// Whom.
        to: MemberId,
        /// What.
        message: Message,
    },
    /// Tell every steward, once.
    TellStewards(Message),
    /// The own incarnation is now this one: the kernel must know before it sees the next echo.
    Incarnation(u32),
}

/// A probe's sequence.
const fn sequence(incarnation: u32, counter: u32) -> u64 {
    ((incarnation as u64) << 32) | counter as u64
}

/// The newest authentic probe or echo of a peer; 0: never.
fn heard(state: &PeerState) -> Instant {
    Instant(state.heard_at.get().max(state.echoed_at.get()))
}

/// See the head of this file.
#[derive(Debug)]
pub struct Observer {
    own: MemberId,
    incarnation: u32,
    profile: Profile,
    config: u64,
    subjects: Vec<Subject>,
    /// Every other host that sends authentic packets here of its own accord: subjects, and who watches this host.
    peers: Vec<MemberId>,
    path: ReceivePath,
    doubts: Doubts,
    armed: Instant,
    ticked: Instant,
    commands: VecDeque<Command>,
    counters: Counters,
}

impl Observer {
    /// `incarnation` is the high half of the first sequences: above those of every earlier start if that is known,
    /// else anything, as subjects tell where to go on.
    #[must_use]
    pub fn new(own: MemberId, incarnation: u32, profile: Profile, now: Instant) -> Self {
        Self {
            own,
            incarnation,
            profile,
            config: profile.config_hash(),
            subjects: Vec::new(),
            peers: Vec::new(),
            path: ReceivePath::default(),
            doubts: Doubts::new(),
            armed: Instant::NEVER,
            ticked: now,
            commands: VecDeque::with_capacity(32),
            counters: Counters::default(),
        }
    }

    /// Whom to watch from now on, and who watches this host. What was heard of those who stay stays. A subject that
    /// does not name this host among its observers is left out.
    pub fn set_subjects(&mut self, subjects: Vec<Watch>, watchers: &[MemberId], now: Instant) {
        let mut old = std::mem::take(&mut self.subjects);
        let fresh = subjects
            .into_iter()
            .filter_map(|watch| Subject::new(self.own, watch, now));
        self.subjects = fresh
            .map(|fresh| match old.iter().position(|kept| kept.id == fresh.id) {
                Some(place) => {
                    let mut kept = old.swap_remove(place);
                    kept.update(fresh);
                    kept
                }
                None => fresh,
            })
            .collect();
        self.subjects.sort_unstable_by_key(|subject| subject.id);
        self.subjects.dedup_by_key(|subject| subject.id);
        let subjects = self.subjects.iter().map(|subject| subject.id);
        self.peers = subjects
            .chain(watchers.iter().copied())
            .filter(|peer| *peer != self.own)
            .collect();
        self.peers.sort_unstable();
        self.peers.dedup();
        self.rearm(now);
    }

    /// The stewards are others than before: what is silent is told from the beginning, as they know nothing yet.
    pub fn handle_new_stewards(&mut self, now: Instant) {
        self.subjects.iter_mut().for_each(|subject| subject.rouse(now));
        self.rearm(now);
    }

    /// Another observer finds a subject silent. Obeyed only from an observer of that subject, and no more often than a
    /// loss of one's own: no member can make this host ask or report at more than the rate of a suspicion.
    pub fn handle_hint(&mut self, hint: &Hint, from: MemberId, now: Instant) {
        let own = self.own;
        let Some(subject) = self.subject(hint.subject) else {
            self.counters.hints_refused += 1;
            return;
        };
        if from == own || subject.observers.binary_search(&from).is_err() {
            self.counters.hints_refused += 1;
        } else if subject.hinted(hint, now) {
            self.rearm(now);
        } else {
            self.counters.hints_limited += 1;
        }
    }

    /// A steward (the caller has made sure of that) wants a report younger than its question.
    pub fn handle_look(&mut self, look: &Look, from: MemberId, now: Instant) {
        let pending = PendingLook {
            steward: from,
            nonce: look.nonce,
            asked: now,
        };
        if let Some(subject) = self.subject(look.subject) {
            let dropped = subject.looked(pending);
            self.counters.looks_dropped += u64::from(dropped);
            self.rearm(now);
        } else {
            let message = Message::Report(self.not_observed(look));
            self.commands.push_back(Command::Tell { to: from, message });
        }
    }

    fn not_observed(&self, look: &Look) -> Report {
        Report {
            subject: look.subject,
            boot: BootId(0),
            incident: Default::default(),
            config: self.config,
            nonce: look.nonce,
            ability: Ability::NotObserver,
            echo: None,
            sign: None,
            loss: 1.0,
            losses: Vec::new(),
        }
    }

    /// Something authentic came from a process on `host`, another one than this, by another way than the kernel's
    /// maps. It may have waited in the socket since the last tick, and proves nothing after that.
    pub fn handle_alive(&mut self, host: MemberId, now: Instant) {
        let at = self.ticked.min(now);
        if host == self.own {
            return;
        }
        self.path.note(host, at);
        if let Some(subject) = self.subject(host) {
            subject.sign = subject.sign.max(at);
        }
    }

    /// This probe did not leave the host (ENOBUFS, ENETDOWN, EPERM): it is no loss. An unreachable host (EHOSTUNREACH)
    /// is not told here: that probe was lost.
    pub fn handle_unsent(&mut self, id: MemberId, sequence: u64, now: Instant) {
        if (sequence >> 32) != u64::from(self.incarnation) {
            return;
        }
        let counter = u32::try_from(sequence & u64::from(u32::MAX)).unwrap_or_default();
        if let Some(subject) = self.subject(id)
            && subject.unsent(counter)
        {
            self.counters.unsent += 1;
            self.rearm(now);
        }
    }

    /// The link that probes leave through lost or found its carrier.
    pub fn handle_link(&mut self, up: bool, now: Instant) {
        if self.doubts.link(up, now, self.profile.window) {
            self.subjects.iter_mut().for_each(Subject::forget);
            self.rearm(now);
        }
    }

    /// Whom this host hears, or heard once.
    pub fn sightings(&self, now: Instant) -> impl Iterator<Item = Sighting> {
        self.subjects
            .iter()
            .filter_map(move |subject| subject.sighting(now))
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, arrivals: &impl Arrivals) {
        let late = self.doubts.tick(self.armed, now, self.profile.window);
        self.counters.late_ticks += u64::from(late);
        let waiting = self.hear(late, now, arrivals);
        if let Some(deadline) = waiting {
            self.prove(deadline, arrivals);
        }
        let all = Silence::of(&self.subjects);
        for place in 0..self.subjects.len() {
            self.act(place, &all, now);
        }
        self.ticked = now;
        self.armed = self.next_due();
    }

    /// Reads what was noted of every subject that waits for something. The newest deadline of a loss that waits for a
    /// proof of the receive path.
    fn hear(&mut self, late: bool, now: Instant, arrivals: &impl Arrivals) -> Option<Instant> {
        let mut waiting = None;
        let mut incarnation = self.incarnation;
        for subject in &mut self.subjects {
            if subject.due > now && subject.losses.waiting().is_none() && !late {
                continue;
            }
            if let Some(state) = subject.listening().then(|| arrivals.state(subject.id)).flatten() {
                subject.news |= subject.read(&state, self.incarnation, now);
                self.path.note(subject.id, heard(&state));
                incarnation =
                    incarnation.max(subject.go_on_above(state.echoed_highest.get(), self.incarnation));
            }
            if late {
                subject.forget();
                subject.news |= subject.suspicion.is_some();
            }
            waiting = waiting.max(subject.losses.waiting());
        }
        if incarnation == self.incarnation {
            return waiting;
        }
        // Echoes to the incarnation before are refused from now on: they are no losses.
        self.subjects.iter_mut().for_each(Subject::forget);
        self.incarnation = incarnation;
        self.counters.raised += 1;
        self.commands.push_back(Command::Incarnation(incarnation));
        None
    }

    /// Looks up who else was heard after `deadline`.
    fn prove(&mut self, deadline: Instant, arrivals: &impl Arrivals) {
        for peer in &self.peers {
            if self.path.covers(deadline) {
                return;
            }
            if let Some(state) = arrivals.state(*peer) {
                self.path.note(*peer, heard(&state));
            }
        }
    }

    /// Everything that one subject has to say or to be asked now.
    fn act(&mut self, place: usize, all: &Silence, now: Instant) {
        let Some(subject) = self.subjects.get_mut(place) else {
            return;
        };
        let counted = subject.losses.count(self.path.proven_until(subject.id));
        let news = std::mem::take(&mut subject.news) || counted;
        if subject.due > now && !news {
            return;
        }
        subject.rest(now);
        if let Some(hint) = subject.hint(now) {
            let own = self.own;
            let others = subject.observers.iter().filter(|observer| **observer != own);
            self.commands.extend(others.map(|observer| Command::Tell {
                to: *observer,
                message: Message::Hint(hint),
            }));
            self.commands
                .push_back(Command::TellStewards(Message::Hint(hint)));
        }
        let ability = self.doubts.ability(subject, all, now);
        while let Some(look) = subject.answerable(self.profile.window, now) {
            let report = report::report(subject, ability, self.config, look.nonce, now);
            self.commands.push_back(Command::Tell {
                to: look.steward,
                message: Message::Report(report),
            });
        }
        if subject.report(news, now) {
            let report = report::report(subject, ability, self.config, 0, now);
            self.commands
                .push_back(Command::TellStewards(Message::Report(report)));
        }
        subject.close(now);
        if let Some(packet) = subject.probe(self.incarnation, self.profile.timeout_cap(), now) {
            self.commands.push_back(Command::Probe {
                subject: subject.id,
                to: subject.address,
                packet,
            });
        }
        subject.arm(self.profile.window, now);
    }

    /// The next thing to do, in order.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// When [`Self::handle_timeout`] is due; [`Instant::NEVER`] without subjects.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        self.armed
    }

    fn rearm(&mut self, now: Instant) {
        for subject in &mut self.subjects {
            subject.arm_sooner(self.profile.window, now);
        }
        self.armed = self.next_due();
    }

    fn next_due(&self) -> Instant {
        let due = self.subjects.iter().map(|subject| subject.due);
        due.min().unwrap_or(Instant::NEVER)
    }

    fn subject(&mut self, id: MemberId) -> Option<&mut Subject> {
        let place = self
            .subjects
            .binary_search_by_key(&id, |subject| subject.id)
            .ok()?;
        self.subjects.get_mut(place)
    }
}

#[cfg(test)]
mod tests;
