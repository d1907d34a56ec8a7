//! This steward's view of the ledger, and its writes: one at a time, each holding all that changed meanwhile.

use std::collections::BTreeMap;

use crate::identity::MemberId;
use crate::incident::{Step, Write};
use crate::judgement::Hold;
use crate::remedy::calls::{Purpose, Whom};
use crate::remedy::command::{Answer, Call, LedgerState, Outcome};
use crate::remedy::ledger::{Corrupt, Entry, Ledger};
use crate::remedy::{Mode, RETRY, Remedy, budget};
use crate::time::Instant;

/// One change of the ledger.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    /// An entry, new or in the place of its subject's.
    Put(Entry),
    /// A subject's entry goes.
    Remove,
}

/// The view.
#[derive(Debug, Default)]
pub(super) struct Book {
    version: String,
    /// None: not read yet.
    read: Option<Result<Ledger, Corrupt>>,
    /// What would stand there, where nothing is written.
    pretended: BTreeMap<MemberId, Change>,
    wanted: BTreeMap<MemberId, Change>,
    flight: BTreeMap<MemberId, Change>,
    /// Somebody else has changed it, or nobody knows: it is read again before it is written.
    stale: bool,
    reading: bool,
    missed: u32,
    retry: Instant,
}

/// Whether one resourceVersion is older than another: numbers in etcd's order, as Kubernetes promises since 1.35;
/// others are taken as they come.
pub(super) fn is_older(this: &str, that: &str) -> bool {
    match (this.parse::<u64>(), that.parse::<u64>()) {
        (Ok(this), Ok(that)) => this < that,
        _ => false,
    }
}

impl Book {
    /// The ledger with what is pretended; None: not read, or not understood.
    pub(super) fn ledger(&self) -> Option<Ledger> {
        let mut ledger = self.read.as_ref()?.as_ref().ok()?.clone();
        for (&subject, change) in &self.pretended {
            match change {
                Change::Put(entry) => {
                    ledger.put(entry.clone());
                }
                Change::Remove => ledger.remove(subject),
            }
        }
        Some(ledger)
    }

    /// Its entries.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        let read = self.read.as_ref().and_then(|read| read.as_ref().ok());
        let read = read.into_iter().flat_map(|ledger| &ledger.entries);
        let pretended = self.pretended.values().filter_map(|change| match change {
            Change::Put(entry) => Some(entry),
            Change::Remove => None,
        });
        read.filter(|entry| !self.pretended.contains_key(&entry.subject))
            .chain(pretended)
    }

    /// The entry of a subject.
    pub(super) fn get(&self, subject: MemberId) -> Option<&Entry> {
        match self.pretended.get(&subject) {
            Some(Change::Put(entry)) => Some(entry),
            Some(Change::Remove) => None,
            None => self.read.as_ref()?.as_ref().ok()?.get(subject),
        }
    }

    /// Whether it can be written at all.
    pub(super) const fn is_readable(&self) -> bool {
        matches!(self.read, Some(Ok(_))) && !self.stale
    }

    /// Whether a change of this subject's entry is wanted or on its way.
    pub(super) fn is_busy(&self, subject: MemberId) -> bool {
        self.wanted.contains_key(&subject) || self.flight.contains_key(&subject)
    }

    /// Wants a change.
    pub(super) fn want(&mut self, subject: MemberId, change: Change) {
        self.wanted.insert(subject, change);
    }

    /// What was pretended is not so.
    pub(super) fn forget_pretended(&mut self) {
        self.pretended.clear();
        self.wanted.clear();
    }

    pub(super) fn deadline(&self) -> Instant {
        let waits = (!self.wanted.is_empty() && self.flight.is_empty()) || self.needs_reading();
        if waits { self.retry } else { Instant::NEVER }
    }

    const fn needs_reading(&self) -> bool {
        (self.read.is_none() || self.stale) && !self.reading
    }
}

/// A ledger that is missing so often in a row is not just being made.
const MISSES: u32 = 3;

/// Nobody's: the ledger is everybody's.
const NOBODY: MemberId = MemberId(0);

impl Remedy {
    /// The ledger is read once at the start, and after each conflict; the watch does the rest.
    pub(super) fn read_ledger(&mut self, now: Instant) {
        if self.book.needs_reading() && now >= self.book.retry {
            self.book.reading = true;
            self.call(&Whom::nobody(), None, Call::ReadLedger, Purpose::ReadLedger, now);
        }
    }

    /// The ledger as it is now.
    pub(super) fn ledger_seen(&mut self, state: &LedgerState, now: Instant) {
        if self.book.read.is_some() && is_older(&state.resource_version, &self.book.version) {
            return;
        }
        let read = Ledger::parse(state.text.as_deref());
        if let Err(corrupt) = &read
            && self.book.read.as_ref() != Some(&read)
        {
            self.alarm(format!(
                "ledger: {corrupt}; nothing is remedied until it is mended"
            ));
        }
        self.book.version.clone_from(&state.resource_version);
        self.book.read = Some(read);
        self.book.stale = false;
        self.book.missed = 0;
        // What was wanted is decided anew from what stands there now.
        self.book.wanted.clear();
        self.find_entries(now);
        self.touch_all();
    }

    /// Whether one more entry like this is within the budget.
    pub(super) fn budget_allows(&self, entry: &Entry) -> bool {
        let counted = self.book.get(entry.subject).is_some_and(budget::counts);
        let others = self.book.entries().filter(|other| other.subject != entry.subject);
        counted || !budget::counts(entry) || budget::allows(&self.size, &entry.zone, others)
    }

    /// Writes what is wanted, if nothing is on its way.
    pub(super) fn flush_ledger(&mut self, now: Instant) {
        if self.book.wanted.is_empty() || !self.book.flight.is_empty() || now < self.book.retry {
            return;
        }
        let Some(mut ledger) = self.book.ledger().filter(|_| self.book.is_readable()) else {
            self.book.wanted.clear();
            return;
        };
        let mut made = BTreeMap::new();
        for (subject, change) in std::mem::take(&mut self.book.wanted) {
            let is_made = match &change {
                Change::Put(entry) => {
                    let counted = ledger.get(subject).is_some_and(budget::counts);
                    let others = ledger.entries.iter().filter(|other| other.subject != subject);
                    let allowed =
                        counted || !budget::counts(entry) || budget::allows(&self.size, &entry.zone, others);
                    allowed && ledger.put(entry.clone())
                }
                Change::Remove => {
                    ledger.remove(subject);
                    true
                }
            };
            if is_made {
                made.insert(subject, change);
            } else if let Some(mut case) = self.cases.remove(&subject) {
                self.set_hold(subject, &mut case, Some(Hold::Budget), now);
                self.cases.insert(subject, case);
            }
        }
        if made.is_empty() {
            return;
        }
        for &subject in made.keys() {
            let step = Step::Decided {
                write: Write::Ledger,
                object: String::from("ledger"),
                enforced: !self.withholds(),
            };
            self.record(subject, step, now);
        }
        self.book.flight = made;
        let call = Call::Ledger {
            resource_version: self.book.version.clone(),
            ledger,
        };
        self.call(&Whom::nobody(), None, call, Purpose::Ledger, now);
    }

    /// A write of the ledger was withheld: it is as if it stood there.
    pub(super) fn ledger_pretended(&mut self) {
        let made = std::mem::take(&mut self.book.flight);
        self.claimed(&made);
        self.book.pretended.extend(made);
        self.touch_all();
    }

    /// A read or a write of the ledger ended.
    pub(super) fn ledger_answered(&mut self, purpose: &Purpose, tries: u32, outcome: Outcome, now: Instant) {
        let made = if *purpose == Purpose::Ledger {
            std::mem::take(&mut self.book.flight)
        } else {
            self.book.reading = false;
            BTreeMap::new()
        };
        let reason = match outcome {
            Outcome::Done(Answer::Ledger(state)) => {
                for &subject in made.keys() {
                    let (write, object) = (Write::Ledger, String::from("ledger"));
                    self.record(subject, Step::Written { write, object, tries }, now);
                }
                self.ledger_seen(&state, now);
                self.claimed(&made);
                return;
            }
            Outcome::Conflict => {
                // Somebody was first.
                self.book.stale = true;
                return;
            }
            Outcome::Missing if self.config.mode == Mode::Observe => {
                // Nobody who only observes makes it: it is as if it were empty.
                self.ledger_seen(&LedgerState::default(), now);
                return;
            }
            Outcome::Missing => {
                self.book.missed = self.book.missed.saturating_add(1);
                if self.book.missed == MISSES {
                    self.alarm(format!(
                        "ledger: ConfigMap {}/{} is missing; nothing is remedied without it",
                        crate::names::NAMESPACE,
                        crate::names::LEDGER
                    ));
                }
                String::from("missing")
            }
            Outcome::Refused(reason) => {
                self.alarm(format!("ledger: the API server refuses: {reason}"));
                reason
            }
            Outcome::GaveUp(reason) => reason,
            Outcome::Stale => String::from("stale"),
            Outcome::Done(_) => String::from("an answer to another question"),
        };
        for &subject in made.keys() {
            let (write, object) = (Write::Ledger, String::from("ledger"));
            let reason = reason.clone();
            self.record(
                subject,
                Step::Failed {
                    write,
                    object,
                    reason,
                },
                now,
            );
        }
        self.book.stale = true;
        self.book.retry = now + RETRY;
    }

    /// These entries stand in the ledger, by this steward's hand.
    fn claimed(&mut self, made: &BTreeMap<MemberId, Change>) {
        for (&subject, change) in made {
            if let Change::Put(entry) = change
                && let Some(case) = self.cases.get_mut(&subject)
                && entry.boot == case.boot
                && entry.steward == self.config.own
            {
                case.claimed = true;
            }
        }
    }
}

/// Used where no subject is meant.
pub(super) const fn nobody() -> MemberId {
    NOBODY
}
