//! From all evidence on one subject to what is told and asked of it.

use crate::identity::{BootId, MemberId};
use crate::judgement::{Hold, Judgement};
use crate::message::{Look, Message};
use crate::profile::{ASK_HALF_WINDOWS, REPORT_EXPIRY, REPORT_TAIL, SAYS_ALIVE, SLOT};
use crate::time::Instant;

use super::evidence::{Scale, Told, Weighed, Witness, weigh};
use super::look::{Asker, LookRound};
use super::rule::Bar;
use super::subject::{Condemnation, Subject};
use super::suspicion::Suspicion;
use super::{Command, Judge};

impl Judge {
    /// Weighs everything that is known of one subject, and says what is new.
    pub(super) fn evaluate(&mut self, id: MemberId, now: Instant) {
        let Some(subject) = self.subjects.get(&id) else {
            return;
        };
        let weighed = self.weigh(
            subject,
            |witness| witness.told.as_ref(),
            now.before(REPORT_EXPIRY),
            now,
        );
        let Some(subject) = self.subjects.get_mut(&id) else {
            return;
        };
        // Heard since: its word through the API is not needed any more, and must not cover a death.
        let said = subject.says_alive_until.before(SAYS_ALIVE);
        if weighed.sign.is_some_and(|sign| sign > said + self.profile.window) {
            subject.says_alive_until = Instant::default();
        }
        self.suspect(id, &weighed, now);
        self.condemn(id, &weighed, now);
        self.inquire(id, &weighed, now);
        self.answer_look(id, now);
        self.tell(id, &weighed, now);
        self.ask(id, now);
    }

    /// What `said` picks of the witnesses' words, weighed: silence counts that was sealed at `silence_from` or later, and
    /// not before a late tick of this steward's own.
    fn weigh(
        &self,
        subject: &Subject,
        said: impl Fn(&Witness) -> Option<&Told>,
        silence_from: Instant,
        now: Instant,
    ) -> Weighed {
        let scale = Scale {
            profile: &self.profile,
            silence_from: silence_from.max(self.guard.late_at.unwrap_or_default()),
            asked_at: subject.look.map(|look| look.asked_at),
            listens_since: self.guard.listens_since,
            now,
        };
        let peer = |observer| self.peers.get(&observer);
        weigh(&subject.witnesses, subject.sign, said, peer, &scale)
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
        }
    }

    /// Looks, if the verdict lacks nothing but the word of an observer that is heard: it may hear the subject.
    fn inquire(&mut self, id: MemberId, weighed: &Weighed, now: Instant) {
        let hold = self.guard.hold(now);
        let Some(subject) = self.subjects.get_mut(&id) else {
            return;
        };
        let bar = Bar::dead(subject.witnesses.len(), &self.profile);
        let sign = weighed.sign.unwrap_or(now);
        let lacking = weighed.proof.reaches(&bar)
            && !weighed.complete
            && now.since(sign) >= self.profile.window * ASK_HALF_WINDOWS / 2
            && subject.condemnation.is_none()
            && hold.is_none();
        match subject.look {
            Some(look) if look.asker == Asker::Remedy => {}
            Some(look) if lacking && look.asked_at >= sign + self.profile.window => {}
            // While the rule is only short of its bar, for want of a report, the question stands.
            Some(_) if subject.suspicion.is_none() || subject.condemnation.is_some() || hold.is_some() => {
                subject.look = None;
            }
            _ if lacking => {
                self.looks += 1;
                subject.begin_look(LookRound::new(Asker::Judge, self.looks, now));
            }
            _ => {}
        }
    }

    /// The look of the remedy that is under way, if its answers suffice or its time is over.
    fn answer_look(&mut self, id: MemberId, now: Instant) {
        let Some(subject) = self.subjects.get(&id) else {
            return;
        };
        let Some(look) = subject.look.filter(|look| look.asker == Asker::Remedy) else {
            return;
        };
        // An answer is bound to its look, and does not expire.
        let weighed = self.weigh(
            subject,
            |witness| witness.answer.as_ref(),
            Instant::default(),
            now,
        );
        let hold = self.guard.hold(now);
        let Some(subject) = self.subjects.get_mut(&id) else {
            return;
        };
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
        let telling = subject.telling(now);
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
                verdict: telling.verdict,
                causes: telling.causes,
                evidence,
                farewell: telling.farewell,
                longest_silence: subject.longest_silence(now),
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
            let peers = &self.peers;
            // An agent that started again since knows nothing of its answer.
            let has_answered = |witness: &Witness| {
                let incarnation = peers.get(&witness.observer).map_or(0, |peer| peer.incarnation);
                witness
                    .answer
                    .as_ref()
                    .is_some_and(|answer| answer.is_by(incarnation))
            };
            let to_ask = look.whom_to_ask(&subject.witnesses, has_answered, &self.profile, now);
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
