//! The condemned, step by step: who claims, who works, and who goes on where somebody stopped.

use std::time::Duration;

use crate::identity::MemberId;
use crate::judgement::Hold;
use crate::message::Farewell;
use crate::remedy::book::Change;
use crate::remedy::case::{Case, Work};
use crate::remedy::endpoints::slices_due;
use crate::remedy::ledger::{Entry, Progress};
use crate::remedy::round::{Round, Stage};
use crate::remedy::{Remedy, budget, order, second_look};
use crate::time::Instant;

/// An entry of the ledger about a subject of whom this steward's judge has said nothing for so long.
const ABANDONED: Duration = Duration::from_secs(60);

impl Remedy {
    /// One move of one case; whether there may be another.
    pub(super) fn step(&mut self, subject: MemberId, case: &mut Case, now: Instant) -> bool {
        self.see_entry(subject, case, now);
        self.see_taint(subject, case, now);
        if !case.is_condemned() || self.is_gone(subject) {
            if case.verdict.is_none() {
                self.abandon(subject, case, ABANDONED, now);
                return false;
            }
            return self.step_back(subject, case, now);
        }
        let hold = self.holds(subject);
        if hold.is_some() || !self.nodes.contains_key(&subject) {
            self.set_hold(subject, case, hold, now);
            // What keeps every steward away, not this one alone.
            if matches!(hold, Some(Hold::OptedOut | Hold::ControlPlane)) {
                self.abandon(subject, case, Duration::ZERO, now);
            }
            return false;
        }
        let entry = self.book.get(subject);
        let entry = entry.filter(|entry| entry.boot == case.boot && entry.progress != Progress::Revoked);
        match entry.cloned() {
            Some(entry) if entry.steward != self.config.own => self.follow(subject, case, entry, now),
            Some(entry) if case.claimed => self.work(subject, case, &entry, now),
            _ => self.claim(subject, case, now),
        }
    }

    /// Notes when the ledger's entry changed.
    fn see_entry(&self, subject: MemberId, case: &mut Case, now: Instant) {
        let entry = self.book.get(subject);
        if entry != case.moved.as_ref().map(|(entry, _)| entry) {
            case.moved = entry.map(|entry| (entry.clone(), now));
        }
        if entry.is_some_and(|entry| entry.reboot && entry.boot == case.boot) && case.goodbye.is_none() {
            case.goodbye = Some((Farewell::Reboot, now));
        }
    }

    /// An entry that nobody will go on with keeps no budget: in the course of things somebody has opted it out, or no
    /// judge has spoken about it for a long time.
    fn abandon(&mut self, subject: MemberId, case: &Case, after: Duration, now: Instant) {
        let Some((entry, since)) = &case.moved else {
            return;
        };
        if budget::counts(entry) && !self.book.is_busy(subject) && now >= self.abandon_turn(*since, after) {
            let mut entry = entry.clone();
            entry.progress = Progress::Done;
            self.book.want(subject, Change::Put(entry));
        }
    }

    fn abandon_turn(&self, since: Instant, after: Duration) -> Instant {
        order::turn(since + after, self.rank)
    }

    /// Step 0.
    fn claim(&mut self, subject: MemberId, case: &mut Case, now: Instant) -> bool {
        case.work = Work::Watching;
        if now < self.claim_turn(case) || now < case.retry || self.book.is_busy(subject) {
            return false;
        }
        if !self.book.is_readable() {
            self.set_hold(subject, case, Some(Hold::Ledger), now);
            return false;
        }
        let Some(node) = self.nodes.get(&subject) else {
            return false;
        };
        let zone = self.members.get(&subject).map(|member| member.zone.clone());
        let entry = Entry {
            subject,
            node: node.name.clone(),
            uid: node.uid.clone(),
            zone: zone.unwrap_or_default(),
            boot: case.boot,
            incident: case.incident,
            steward: self.config.own,
            progress: if case.is_dead() {
                Progress::Condemned
            } else {
                Progress::Leaving
            },
            reboot: second_look::grace(case.goodbye).is_some(),
            waits: false,
            verdict_ms: case.at_ms,
        };
        self.put(subject, case, entry, now);
        false
    }

    /// Wants an entry written, if the budget has room.
    fn put(&mut self, subject: MemberId, case: &mut Case, entry: Entry, now: Instant) {
        if !self.budget_allows(&entry) {
            self.set_hold(subject, case, Some(Hold::Budget), now);
            return;
        }
        self.set_hold(subject, case, None, now);
        self.book.want(subject, Change::Put(entry));
    }

    fn claim_turn(&self, case: &Case) -> Instant {
        order::turn(case.at, self.rank)
    }

    /// Another steward works on it: take over where the ledger stands still.
    fn follow(&mut self, subject: MemberId, case: &mut Case, entry: Entry, now: Instant) -> bool {
        if case.work != Work::Watching {
            // It was taken over from us.
            case.restart(case.at, self.calls.generation());
        }
        self.set_hold(subject, case, None, now);
        if now < self.follow_turn(subject, case, &entry) || now < case.retry || self.book.is_busy(subject) {
            return false;
        }
        // What was fetched at the early warning may be old by now.
        case.reads.pods = None;
        let mut entry = entry;
        entry.steward = self.config.own;
        self.put(subject, case, entry, now);
        false
    }

    fn follow_turn(&self, subject: MemberId, case: &Case, entry: &Entry) -> Instant {
        let since = case
            .moved
            .as_ref()
            .map_or(case.at, |(_, since)| *since)
            .max(case.at);
        if !case.is_dead() && self.is_tainted(subject) {
            return Instant::NEVER;
        }
        order::turn(
            order::due(entry.progress, since, self.deletes_due(case)),
            self.rank,
        )
    }

    pub(super) fn deletes_due(&self, case: &Case) -> Instant {
        let profile = &self.config.profile;
        second_look::due(profile, case.at, case.tainted, case.longest_silence, case.goodbye)
    }

    /// The ledger names us: the next step.
    fn work(&mut self, subject: MemberId, case: &mut Case, entry: &Entry, now: Instant) -> bool {
        self.look_at_slices(subject, case, now);
        self.keep_book(subject, case, entry, now);
        match &case.work {
            Work::Watching => {
                case.work = Work::Tainting;
                case.slices = Some((now, 0));
                self.patch_slices(subject, case, now);
                true
            }
            Work::Tainting => self.taint(subject, case, now),
            Work::Tainted => {
                let goes_on = case.is_dead() && budget::counts(entry);
                if goes_on {
                    case.progress = case.progress.max(Progress::Tainted);
                    case.work = Work::Round(Round::new(0, now));
                }
                goes_on
            }
            Work::Round(_) => self.round(subject, case, entry, now),
            Work::Between { since, next } => {
                let (since, next) = (*since, *next);
                self.list_late(case, since, next, now)
            }
            Work::Finished => false,
        }
    }

    /// The ledger follows what is done: it is what the next steward starts from.
    fn keep_book(&mut self, subject: MemberId, case: &mut Case, entry: &Entry, now: Instant) {
        if self.book.is_busy(subject) || now < case.retry {
            return;
        }
        let mut next = entry.clone();
        if case.is_dead() {
            next.progress = next.progress.max(Progress::Condemned).max(case.progress);
        }
        let waiting = matches!(&case.work, Work::Round(round) if matches!(round.stage, Stage::Waiting(_)));
        let grace = second_look::grace(case.goodbye);
        next.waits = waiting && grace.is_some_and(|grace| now < grace);
        next.reboot |= grace.is_some();
        if next != *entry {
            self.put(subject, case, next, now);
        }
    }

    /// When this case wants to be looked at again.
    pub(super) fn deadline(&self, subject: MemberId, case: &Case, now: Instant) -> Instant {
        let later = |at: Instant| if at > now { at } else { Instant::NEVER };
        let mut at = later(case.retry).min(later(slices_due(case)));
        if let Some((_, since)) = case.moved {
            let after = if case.verdict.is_none() {
                ABANDONED
            } else {
                Duration::ZERO
            };
            at = at.min(later(self.abandon_turn(since, after)));
        }
        if !case.is_condemned() {
            return at.min(self.back_deadline(subject, case, now));
        }
        if !case.claimed {
            at = at.min(later(self.claim_turn(case)));
        }
        if let Some(entry) = self.book.get(subject)
            && entry.steward != self.config.own
        {
            at = at.min(later(self.follow_turn(subject, case, entry)));
        }
        at = at.min(second_look::grace(case.goodbye).map_or(Instant::NEVER, later));
        match &case.work {
            Work::Round(round) => match round.stage {
                Stage::Waiting(until) => at.min(later(until)),
                Stage::Looking { overdue, .. } => at.min(later(overdue)),
                Stage::Reading | Stage::Marking(_) | Stage::Deleting(_) => at,
            },
            Work::Between { since, next } => at.min(later(crate::remedy::pods::late_due(*since, *next))),
            Work::Watching | Work::Tainting | Work::Tainted | Work::Finished => at,
        }
    }
}
