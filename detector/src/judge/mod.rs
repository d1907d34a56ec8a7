//! The judge: counts the evidence on every subject, and says what holds of it. The steward's real-time half.
//!
//! ```text
//!  report ─▶ peer (its clock) ─▶ witness (what was heard, what is silent) ─▶ weigh ─▶ rule ─┐
//!  greeting, sighting, goodbye ─▶ subject ──────────────────────────────▶ signs ─▶ verdict ◀┤─▶ Judgement
//!                                                      storm, minority, own late tick: hold ┘
//! ```
//!
//! Evidence is weighed with every report, not once a burst, and nothing is latched but a verdict of `Dead`, which
//! stands until a sign of life: observers may be cut off after it, or rest.

mod degraded;
mod evidence;
mod goodbye;
mod hear;
mod look;
mod peer;
mod returning;
mod rule;
mod status;
mod storm;
mod subject;
mod suspicion;
mod verdict;
mod weighing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use crate::identity::{BootId, MemberId};
use crate::judgement::{Ask, Evidence, Hold, Judgement};
use crate::message::Message;
use crate::offset::PeerTime;
use crate::profile::{GREETING, LATE_TICK, Profile, SAYS_ALIVE, SLOT, SWEEP, SWEEP_PARTS};
use crate::rings::Rings;
use crate::time::Instant;

use evidence::Origin;
use look::{Asker, LookRound};
use peer::Peer;
pub use status::{Counters, SubjectStatus};
use storm::Guard;
use subject::Subject;

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// For the remedy.
    Judged(Judgement),
    /// Send this message, once.
    Send {
        /// To whom.
        to: MemberId,
        /// What.
        message: Message,
    },
}

/// See the head of this file.
#[derive(Debug)]
pub struct Judge {
    own: MemberId,
    profile: Profile,
    config: u64,
    rings: Rings,
    peers: BTreeMap<MemberId, Peer>,
    subjects: BTreeMap<MemberId, Subject>,
    /// Subjects of which something may change without a message.
    open: BTreeSet<MemberId>,
    /// By the ledger.
    condemned: BTreeSet<MemberId>,
    guard: Guard,
    /// The hold on all that was told last.
    held: Option<Hold>,
    tick_at: Instant,
    sweep_at: Instant,
    swept: MemberId,
    pings: u64,
    looks: u64,
    commands: VecDeque<Command>,
    counters: Counters,
}

impl Judge {
    /// Without members; it listens from `now` on.
    #[must_use]
    pub fn new(own: MemberId, profile: Profile, now: Instant) -> Self {
        Self {
            own,
            profile,
            config: profile.config_hash(),
            rings: Rings::default(),
            peers: BTreeMap::new(),
            subjects: BTreeMap::new(),
            open: BTreeSet::new(),
            condemned: BTreeSet::new(),
            guard: Guard::new(&profile, now),
            held: None,
            tick_at: Instant::NEVER,
            sweep_at: now + SWEEP,
            swept: MemberId(0),
            pings: 0,
            looks: 0,
            commands: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Who is a member with a key, and who watches whom. What is known of those who stay stays.
    pub fn set_rings(&mut self, rings: Rings, now: Instant) {
        self.rings = rings;
        let members: BTreeSet<MemberId> = self.rings.iter().map(|(id, _)| id).collect();
        self.peers.retain(|id, _| members.contains(id));
        self.subjects.retain(|id, _| members.contains(id));
        self.open.retain(|id| members.contains(id));
        for (id, observers) in self.rings.iter() {
            self.peers.entry(id).or_default();
            self.subjects
                .entry(id)
                .and_modify(|subject| subject.reassign(observers))
                .or_insert_with(|| Subject::new(observers));
        }
        self.mark_condemned();
        self.count(now);
    }

    fn mark_condemned(&mut self) {
        for (id, peer) in &mut self.peers {
            peer.condemned = self.condemned.contains(id);
        }
    }

    /// A message from an agent, sealed by its clock at `sealed`.
    pub fn handle_message(
        &mut self,
        from: MemberId,
        incarnation: u64,
        sealed: PeerTime,
        message: &Message,
        now: Instant,
    ) {
        self.check_tick(now);
        let Some(peer) = self.peers.get_mut(&from) else {
            self.counters.strangers += 1;
            return;
        };
        peer.heard(incarnation, sealed, now);
        if let Message::Pong(number) = message {
            peer.pong(*number, sealed, now);
        }
        let origin = Origin {
            incarnation,
            sealed,
            arrived: now,
        };
        if !matches!(message, Message::Greeting(_) | Message::Goodbye(_)) {
            self.sender_lives(from, &origin);
        }
        match message {
            Message::Greeting(greeting) => self.greeted(from, &origin, *greeting),
            Message::Hint(hint) => self.hinted(*hint, now),
            Message::Report(report) => self.reported(from, &origin, report),
            Message::Heard(sightings) => self.sighted(from, &origin, sightings),
            Message::Goodbye(goodbye) => self.parted(from, &origin, *goodbye),
            Message::Pong(_) => {}
            // From a steward alone, and not to a steward.
            Message::Look(_) | Message::Ping(_) => self.counters.misdirected += 1,
        }
    }

    /// What the remedy asks.
    pub fn handle_ask(&mut self, ask: &Ask, now: Instant) {
        self.check_tick(now);
        match ask {
            Ask::Look { subject, boot, nonce } => self.look(*subject, *boot, *nonce, now),
            Ask::Condemned(condemned) => {
                self.condemned = condemned.iter().copied().collect();
                self.mark_condemned();
                self.count(now);
            }
            Ask::SaysAlive { subject: id, boot } => {
                let Some(subject) = self.subjects.get_mut(id) else {
                    self.counters.unknown_subjects += 1;
                    return;
                };
                if subject.boot == *boot {
                    subject.says_alive_until = now + SAYS_ALIVE;
                    self.evaluate(*id, now);
                }
            }
        }
    }

    fn look(&mut self, id: MemberId, boot: BootId, nonce: u64, now: Instant) {
        let subject = self.subjects.get_mut(&id).filter(|subject| subject.boot == boot);
        let Some(subject) = subject else {
            self.commands.push_back(Command::Judged(Judgement::Looked {
                subject: id,
                boot,
                nonce,
                dead: false,
                evidence: Evidence::default(),
                at: now,
            }));
            return;
        };
        let old = subject.begin_look(LookRound::new(Asker::Remedy, nonce, now));
        if let Some(old) = old.filter(|old| old.asker == Asker::Remedy) {
            self.commands.push_back(Command::Judged(Judgement::Looked {
                subject: id,
                boot,
                nonce: old.nonce,
                dead: false,
                evidence: Evidence::default(),
                at: now,
            }));
        }
        self.evaluate(id, now);
    }

    /// The last verdict on `subject` was not taken: the next tick or sweep tells it again.
    pub fn untold(&mut self, subject: MemberId) {
        if let Some(subject) = self.subjects.get_mut(&subject) {
            subject.told = None;
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.check_tick(now);
        if self.tick_at <= now {
            let open: Vec<MemberId> = self.open.iter().copied().collect();
            self.tick_at = now + SLOT;
            for id in open {
                self.evaluate(id, now);
            }
            if self.open.is_empty() {
                self.tick_at = Instant::NEVER;
            }
            self.tell_hold(now);
        }
        if self.sweep_at <= now {
            self.sweep_at = now + SWEEP;
            self.sweep(now);
        }
    }

    /// When [`Judge::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        self.tick_at.min(self.sweep_at)
    }

    /// The next thing to do, in order.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// A tick that is overdue when anything else comes is late too: it may be this steward that stood still, with
    /// messages that waited. Silence of before counts no more.
    fn check_tick(&mut self, now: Instant) {
        let due = self.poll_timeout();
        if now.since(due) < LATE_TICK {
            return;
        }
        self.counters.late_ticks += 1;
        self.guard.late_at = Some(now);
        // The next one is on time unless it is late by itself.
        self.sweep_at = self.sweep_at.max(now);
        self.tick_at = self.tick_at.max(now);
        self.tell_hold(now);
    }

    /// Looks at itself, and at a part of the members.
    fn sweep(&mut self, now: Instant) {
        self.count(now);
        let part = self.subjects.len().div_ceil(SWEEP_PARTS);
        let after = (Bound::Excluded(self.swept), Bound::Unbounded);
        let ids: Vec<MemberId> = self.subjects.range(after).map(|(id, _)| *id).take(part).collect();
        self.swept = if ids.len() < part {
            MemberId(0)
        } else {
            ids.last().copied().unwrap_or_default()
        };
        for id in ids {
            self.evaluate(id, now);
            self.count_rounds(id, now);
            self.ping(id, false, now);
        }
    }

    /// Counts anew what the guard wants to know of the members.
    fn count(&mut self, now: Instant) {
        let known = || self.peers.values().filter(|peer| peer.is_known());
        self.guard.known = known().count();
        self.guard.heard = known().filter(|peer| peer.is_heard(now)).count();
        self.guard.suspected = known().filter(|peer| peer.quiet).count();
        self.tell_hold(now);
    }

    /// One more good round, if a quorum of its observers hears it. Who does not may be cut off from it alone: that is
    /// `Partial`, and no reason to keep a node empty.
    fn count_rounds(&mut self, id: MemberId, now: Instant) {
        let Some(subject) = self.subjects.get_mut(&id) else {
            return;
        };
        // Sightings come each second, and one may be lost.
        let since = subject.returning.bad_until().max(now.before(GREETING * 5 / 2));
        let (mut heard, mut deaf) = (0, 0);
        for witness in &subject.witnesses {
            let counts = |peer: &&Peer| peer.is_known() && !peer.suspected && peer.is_heard(now);
            if self.peers.get(&witness.observer).filter(counts).is_none() {
                continue;
            }
            if witness.life.is_none_or(|life| life.latest() <= since) {
                deaf += 1;
            } else {
                heard += 1;
            }
        }
        if heard == 0 || heard < subject.quorum() {
            if deaf > 0 {
                subject.returning.interrupted(subject.returning.bad_until());
            }
            return;
        }
        let condemned = self.peers.get(&id).is_some_and(|peer| peer.condemned);
        let observers = subject.witnesses.len();
        if let Some(rounds) = subject.returning.good(observers, condemned, now) {
            self.commands.push_back(Command::Judged(Judgement::Good {
                subject: id,
                boot: subject.boot,
                rounds,
                at: now,
            }));
        }
    }

    fn ping(&mut self, to: MemberId, urgent: bool, now: Instant) {
        let Some(peer) = self.peers.get_mut(&to) else {
            return;
        };
        if peer.ping(self.pings, urgent, now) {
            let message = Message::Ping(self.pings);
            self.pings += 1;
            self.commands.push_back(Command::Send { to, message });
        }
    }

    /// Tells a hold on all verdicts, if there is any to hold.
    fn tell_hold(&mut self, now: Instant) {
        self.guard.note(now);
        let hold = self.guard.hold(now).filter(|_| self.guard.suspected > 0);
        if hold != self.held {
            self.held = hold;
            self.commands.push_back(Command::Judged(Judgement::Held {
                subject: None,
                hold,
                at: now,
            }));
        }
    }
}

#[cfg(test)]
mod tests;
