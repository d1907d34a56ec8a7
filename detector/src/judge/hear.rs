//! What each message of an agent changes.

use crate::identity::{BootId, MemberId};
use crate::message::{Goodbye, Greeting, Hint, Report, Sighting};
use crate::time::Instant;

use super::Judge;
use super::evidence::{Life, Origin, Told};
use super::goodbye::Parting;
use super::subject::Greeted;

impl Judge {
    /// A message of the agent whose boot is known is a sign of life of that boot; those that name theirs speak for
    /// themselves.
    pub(super) fn sender_lives(&mut self, from: MemberId, origin: &Origin) {
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

    pub(super) fn greeted(&mut self, from: MemberId, origin: &Origin, greeting: Greeting) {
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
        subject.says_health(now, greeting.health);
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.other_config = greeting.config != self.config;
        }
        self.evaluate(from, now);
    }

    pub(super) fn parted(&mut self, from: MemberId, origin: &Origin, goodbye: Goodbye) {
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

    pub(super) fn hinted(&mut self, hint: Hint, now: Instant) {
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

    pub(super) fn reported(&mut self, from: MemberId, origin: &Origin, report: &Report) {
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
        let life = heard.map(|age| Life::told(origin, age));
        let answers = subject.look.is_some_and(|look| look.nonce == report.nonce);
        if report.boot != subject.boot || report.boot == BootId(0) {
            self.counters.other_boot += 1;
            if let Some(witness) = subject.witness(from).filter(|_| answers) {
                witness.answers(Told::of_other_boot(*origin, life));
                self.evaluate(report.subject, now);
            }
            return;
        }
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
                if answers {
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

    pub(super) fn sighted(&mut self, from: MemberId, origin: &Origin, sightings: &[Sighting]) {
        for sighting in sightings {
            let Some(subject) = self.subjects.get_mut(&sighting.subject) else {
                self.counters.unknown_subjects += 1;
                continue;
            };
            let now = origin.arrived;
            let boot = subject.boot;
            let (was_known, health) = (subject.is_known(), subject.health());
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
            changed |= subject.health() != health;
            changed |= subject.is_known() != was_known;
            if changed || subject.condemnation.is_some() || self.open.contains(&sighting.subject) {
                self.evaluate(sighting.subject, now);
            }
        }
    }
}
