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

mod evidence;
mod goodbye;
mod look;
mod peer;
mod returning;
mod rule;
mod status;
mod storm;
mod subject;
mod verdict;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use crate::identity::{BootId, MemberId};
use crate::judgement::{Ask, Evidence, Hold, Judgement};
use crate::message::{Goodbye, Greeting, Hint, Look, Message, Report, Sighting};
use crate::offset::PeerTime;
use crate::profile::{
    GREETING, LATE_TICK, Profile, REPORT_EXPIRY, REPORT_TAIL, SAYS_ALIVE, SLOT, SWEEP, SWEEP_PARTS,
};
use crate::rings::Rings;
use crate::time::Instant;

use evidence::{Life, Origin, Scale, Told, Weighed, weigh};
use goodbye::Parting;
use look::LookRound;
use peer::Peer;
use rule::Bar;
pub use status::{Counters, SubjectStatus};
use storm::Guard;
use subject::{Condemnation, Greeted, Subject, Suspicion, Telling};

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

    /// A message of the agent whose boot is known is a sign of life of that boot; those that name theirs speak for
    /// themselves.
    fn sender_lives(&mut self, from: MemberId, origin: &Origin) {
        let Some(subject) = self.subjects.get_mut(&from) else {
            return;
        };
        if subject
            .greeted
            .is_some_and(|greeted| greeted.incarnation == origin.incarnation)
        {
            subject.sign = subject.sign.max(Some(origin.arrived));
            if self.open.contains(&from) || subject.condemnation.is_some() {
                self.evaluate(from, origin.arrived);
            }
        }
    }

    fn greeted(&mut self, from: MemberId, origin: &Origin, greeting: Greeting) {
        let Some(subject) = self.subjects.get_mut(&from) else {
            return;
        };
        let overtaken = |greeted: Greeted| greeted.overtook(origin);
        // Control retires the older lives of an agent: another one is later, whatever it names.
        let over = subject.is_over(greeting.boot) && subject.agent == Some(origin.incarnation);
        if greeting.boot == BootId(0) || over || subject.greeted.is_some_and(overtaken) {
            self.counters.outdated += 1;
            return;
        }
        let now = origin.arrived;
        if greeting.boot != subject.boot {
            subject.reboot(greeting.boot, now);
        }
        if subject
            .parting
            .is_some_and(|parting| parting.taken_back_by(origin.incarnation, origin.sealed))
        {
            subject.parting = None;
        }
        subject.agent = Some(origin.incarnation);
        subject.greeted = Some(Greeted {
            at: now,
            incarnation: origin.incarnation,
            sealed: origin.sealed,
        });
        subject.sign = subject.sign.max(Some(now));
        subject.set_health(now, greeting.health);
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.other_config = greeting.config != self.config;
        }
        self.evaluate(from, now);
    }

    fn parted(&mut self, from: MemberId, origin: &Origin, goodbye: Goodbye) {
        let Some(subject) = self.subjects.get_mut(&from) else {
            return;
        };
        if goodbye.boot != subject.boot && subject.boot != BootId(0) {
            self.counters.other_boot += 1;
            return;
        }
        if subject.boot == BootId(0) {
            subject.reboot(goodbye.boot, origin.arrived);
        }
        let overtaken = |greeted: Greeted| greeted.overtook(origin);
        if subject.greeted.is_some_and(overtaken) {
            self.counters.outdated += 1;
            return;
        }
        subject.sign = subject.sign.max(Some(origin.arrived));
        subject.parting = Some(Parting {
            farewell: goodbye.farewell,
            at: origin.arrived,
            incarnation: origin.incarnation,
            sealed: origin.sealed,
        });
        self.evaluate(from, origin.arrived);
    }

    fn hinted(&mut self, hint: Hint, now: Instant) {
        let Some(subject) = self.subjects.get_mut(&hint.subject) else {
            self.counters.unknown_subjects += 1;
            return;
        };
        if hint.boot != subject.boot {
            self.counters.other_boot += 1;
            return;
        }
        subject.stir(hint.incident, now);
        self.evaluate(hint.subject, now);
    }

    fn reported(&mut self, from: MemberId, origin: &Origin, report: &Report) {
        let Some(subject) = self.subjects.get_mut(&report.subject) else {
            self.counters.unknown_subjects += 1;
            return;
        };
        let now = origin.arrived;
        let heard = match (report.echo, report.sign) {
            (Some(echo), Some(sign)) => Some(echo.min(sign)),
            (echo, sign) => echo.or(sign),
        };
        if report.echo.is_some()
            && let Some(witness) = subject.witness(from)
        {
            witness.boot = report.boot;
        }
        if let Some(boot) = subject.boot_by_quorum(now) {
            subject.reboot(boot, now);
        }
        if report.boot != subject.boot || report.boot == BootId(0) {
            self.counters.other_boot += 1;
            return;
        }
        let life = heard.map(|age| Life::told(origin, age));
        let looks = subject.look;
        match (subject.witness(from), life) {
            (Some(witness), life) => {
                if let Some(life) = life {
                    witness.heard(life);
                }
                let mut told = Told::new(*origin, report);
                if report.config != self.config {
                    self.counters.other_config += 1;
                    told.disable();
                }
                if looks.is_some_and(|look| look.nonce == report.nonce) {
                    witness.answers(told.clone());
                }
                witness.tells(told);
                if !report.losses.is_empty() {
                    subject.stir(report.incident, now);
                }
            }
            // Not one of its observers by our roster: what it heard counts, what it did not hear does not.
            (None, Some(life)) => subject.sign = subject.sign.max(Some(life.latest())),
            (None, None) => {}
        }
        self.evaluate(report.subject, now);
    }

    fn sighted(&mut self, from: MemberId, origin: &Origin, sightings: &[Sighting]) {
        for sighting in sightings {
            let Some(subject) = self.subjects.get_mut(&sighting.subject) else {
                self.counters.unknown_subjects += 1;
                continue;
            };
            let now = origin.arrived;
            let boot = subject.boot;
            let was_known = subject.is_known();
            let life = Life::told(origin, sighting.echo);
            let Some(witness) = subject.witness(from) else {
                if sighting.boot == boot {
                    subject.sign = subject.sign.max(Some(life.latest()));
                }
                continue;
            };
            witness.boot = sighting.boot;
            if let Some(boot) = subject.boot_by_quorum(now) {
                subject.reboot(boot, now);
            }
            if sighting.boot != subject.boot || sighting.boot == BootId(0) {
                continue;
            }
            let mut changed = subject.boot != boot;
            if let Some(witness) = subject.witness(from) {
                witness.heard(life);
                witness.sees(origin, sighting);
            }
            changed |= subject.set_health(life.latest(), sighting.health);
            changed |= subject.is_known() != was_known;
            if changed || subject.condemnation.is_some() || self.open.contains(&sighting.subject) {
                self.evaluate(sighting.subject, now);
            }
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
        if let Some(old) = subject.look.replace(LookRound::new(nonce, now)) {
            self.commands.push_back(Command::Judged(Judgement::Looked {
                subject: id,
                boot,
                nonce: old.nonce,
                dead: false,
                evidence: Evidence::default(),
                at: now,
            }));
        }
        subject
            .witnesses
            .iter_mut()
            .for_each(|witness| witness.answer = None);
        self.evaluate(id, now);
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

    /// One more good round, if every observer that can hear it does.
    fn count_rounds(&mut self, id: MemberId, now: Instant) {
        let Some(subject) = self.subjects.get_mut(&id) else {
            return;
        };
        // Sightings come each second, and one may be lost.
        let since = subject.returning.bad_until().max(now.before(GREETING * 5 / 2));
        let mut heard = 0;
        for witness in &subject.witnesses {
            let counts = |peer: &&Peer| peer.is_known() && !peer.suspected && peer.is_heard(now);
            if self.peers.get(&witness.observer).filter(counts).is_none() {
                continue;
            }
            if witness.life.is_none_or(|life| life.latest() <= since) {
                subject.returning.interrupted(subject.returning.bad_until());
                return;
            }
            heard += 1;
        }
        if heard == 0 || heard < subject.quorum() {
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

    /// Weighs everything that is known of one subject, and says what is new.
    fn evaluate(&mut self, id: MemberId, now: Instant) {
        let expired = now.before(REPORT_EXPIRY);
        let scale = Scale {
            profile: &self.profile,
            silence_from: expired.max(self.guard.late_at.unwrap_or_default()),
            now,
        };
        let Some(subject) = self.subjects.get_mut(&id) else {
            return;
        };
        let peers = &self.peers;
        let weighed = weigh(
            &subject.witnesses,
            subject.sign,
            |witness| witness.told.as_ref(),
            |observer| peers.get(&observer),
            &scale,
        );
        // Heard since: its word through the API is not needed any more, and must not cover a death.
        let said = subject.says_alive_until.before(SAYS_ALIVE);
        if weighed.sign.is_some_and(|sign| sign > said + self.profile.window) {
            subject.says_alive_until = Instant::default();
        }
        self.suspect(id, &weighed, now);
        self.condemn(id, &weighed, now);
        self.answer_look(id, now);
        self.tell(id, &weighed, now);
        self.ask(id, now);
    }

    /// Half the evidence: the storm guard counts it, and the remedy is warned once a silence.
    fn suspect(&mut self, id: MemberId, weighed: &Weighed, now: Instant) {
        let (Some(subject), Some(peer)) = (self.subjects.get_mut(&id), self.peers.get_mut(&id)) else {
            return;
        };
        let bar = Bar::suspected(subject.witnesses.len(), &self.profile);
        let sign = weighed.sign.unwrap_or_default();
        let holds = weighed.suspicion.reaches(&bar) && subject.boot != BootId(0);
        let before = subject.suspicion;
        let condemned = subject.condemnation.is_some();
        subject.suspicion = Suspicion::follow(before, holds, sign, condemned, now);
        let bar = Bar::quiet(subject.witnesses.len(), &self.profile);
        let is_quiet = weighed.quiet.reaches(&bar) && subject.boot != BootId(0);
        subject.quiet = Suspicion::follow(subject.quiet, is_quiet, sign, condemned, now);
        if let (Some(old), None) = (before, subject.suspicion)
            && sign > old.sign
        {
            subject.returning.survived(sign.since(old.sign), now);
            subject.warned = false;
        }
        if subject.suspicion.is_some() {
            subject.returning.interrupted(now);
        }
        peer.suspected = subject.suspicion.is_some();
        peer.parted = subject.is_parted(now);
        let quiet = subject.quiet.is_some() || peer.suspected;
        if peer.quiet != quiet {
            peer.quiet = quiet;
            self.guard.suspected = match quiet {
                _ if !peer.is_known() => self.guard.suspected,
                true => self.guard.suspected + 1,
                false => self.guard.suspected.saturating_sub(1),
            };
            self.tell_hold(now);
        }
        let Some(subject) = self.subjects.get_mut(&id) else {
            return;
        };
        if holds && !subject.warned && !subject.is_excused(now) {
            subject.warned = true;
            let incident = subject.label(self.own, sign);
            self.commands.push_back(Command::Judged(Judgement::EarlyWarning {
                subject: id,
                boot: subject.boot,
                incident,
                at: now,
            }));
        }
    }

    /// The whole evidence, or a sign of life after it.
    fn condemn(&mut self, id: MemberId, weighed: &Weighed, now: Instant) {
        let hold = self.guard.hold(now);
        let Some(subject) = self.subjects.get_mut(&id) else {
            return;
        };
        let observers = subject.witnesses.len();
        let bar = Bar::dead(observers, &self.profile);
        let reached = weighed.proof.reaches(&bar) && weighed.complete && weighed.sign.is_some();
        let sign = weighed.sign.unwrap_or_default();
        let excused = subject.is_excused(now);
        let held_back = subject.says_alive_until > now
            || excused
            || matches!(hold, Some(Hold::Storm | Hold::Minority | Hold::TooFewObservers));
        if !reached && subject.withheld.is_some_and(|silent_since| sign > silent_since) {
            subject.withheld = None;
        }
        if let Some(old) = &mut subject.condemnation {
            let silent_since = old.silent_since;
            let heard = sign > old.sign;
            // An older sign, told late: the silence after it is proof enough by itself.
            old.sign = old.sign.max(sign);
            if heard && !reached {
                subject.returning.survived(sign.since(silent_since), now);
                subject.condemnation = None;
            } else if held_back {
                subject.withheld = Some(sign);
                subject.condemnation = None;
            }
        } else if reached && observers < 2 {
            subject.withheld = Some(sign);
            subject.too_few_at = Some(now);
        } else if reached && held_back {
            subject.withheld = Some(sign);
        } else if reached && hold.is_none() {
            subject.withheld = None;
            subject.condemnation = Some(Condemnation {
                sign,
                silent_since: sign,
                evidence: subject.evidence(weighed, now),
            });
        }
        if subject.condemnation.is_some() {
            subject.returning.died(now);
        }
        if weighed.one_sided {
            subject.partial(now);
            subject.returning.interrupted(now);
        }
    }

    /// The look that is under way, if its answers suffice or its time is over.
    fn answer_look(&mut self, id: MemberId, now: Instant) {
        let hold = self.guard.hold(now);
        let scale = Scale {
            profile: &self.profile,
            silence_from: self.guard.late_at.unwrap_or_default(),
            now,
        };
        let Some(subject) = self.subjects.get_mut(&id) else {
            return;
        };
        let Some(look) = subject.look else { return };
        let peers = &self.peers;
        let weighed = weigh(
            &subject.witnesses,
            subject.sign,
            |witness| witness.answer.as_ref(),
            |observer| peers.get(&observer),
            &scale,
        );
        let bar = Bar::dead(subject.witnesses.len(), &self.profile);
        let reached = weighed.proof.reaches(&bar) && weighed.complete;
        let heard = weighed.sign.is_some_and(|sign| sign >= look.asked_at);
        if !reached && !heard && !look.is_over(&self.profile, now) {
            return;
        }
        // A verdict that does not stand is not confirmed.
        let dead = reached && hold.is_none() && subject.condemnation.is_some();
        subject.look = None;
        self.commands.push_back(Command::Judged(Judgement::Looked {
            subject: id,
            boot: subject.boot,
            nonce: look.nonce,
            dead,
            evidence: subject.evidence(&weighed, now),
            at: now,
        }));
    }

    /// The verdict, if it is another one than was told.
    fn tell(&mut self, id: MemberId, weighed: &Weighed, now: Instant) {
        let Some(subject) = self.subjects.get_mut(&id) else {
            return;
        };
        let held = subject.own_hold(now);
        if held != subject.held {
            subject.held = held;
            self.commands.push_back(Command::Judged(Judgement::Held {
                subject: Some(id),
                hold: held,
                at: now,
            }));
        }
        let verdict = subject.signs(now).verdict();
        let telling = Telling {
            boot: subject.boot,
            verdict,
            farewell: subject.farewell(now),
        };
        if subject.boot != BootId(0) && subject.told != Some(telling) {
            subject.told = Some(telling);
            let evidence = match &subject.condemnation {
                Some(condemnation) => condemnation.evidence.clone(),
                None => subject.evidence(weighed, now),
            };
            self.commands.push_back(Command::Judged(Judgement::Changed {
                subject: id,
                boot: subject.boot,
                incident: subject.incident,
                verdict,
                evidence,
                farewell: telling.farewell,
                longest_silence: subject.returning.longest_silence(now),
                at: now,
            }));
        }
        if subject.is_open(now) {
            self.open.insert(id);
            self.tick_at = self.tick_at.min(now + SLOT);
        } else if self.open.remove(&id) && subject.condemnation.is_none() {
            subject.close();
        }
    }

    /// What the observers of a subject are to be asked: the look, and round trips that its evidence needs.
    fn ask(&mut self, id: MemberId, now: Instant) {
        let Some(subject) = self.subjects.get_mut(&id) else {
            return;
        };
        if let Some(look) = &mut subject.look {
            let message = Message::Look(Look {
                subject: id,
                boot: subject.boot,
                nonce: look.nonce,
            });
            let to_ask = look.whom_to_ask(&subject.witnesses, &self.profile, now);
            self.commands.extend(to_ask.map(|to| Command::Send {
                to,
                message: message.clone(),
            }));
        }
        let undecided = subject.look.is_some()
            || now.since(subject.stirred_at) < REPORT_TAIL && subject.condemnation.is_none();
        if undecided {
            for place in 0..subject.witnesses.len() {
                let witness = self
                    .subjects
                    .get(&id)
                    .and_then(|subject| subject.witnesses.get(place));
                if let Some(observer) = witness.map(|witness| witness.observer) {
                    self.ping(observer, true, now);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
