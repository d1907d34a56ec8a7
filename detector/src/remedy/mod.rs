//! From a verdict to the writes that move its pods: what is irreversible comes last.
//!
//! ```text
//!  judge ──judgements──▶ Remedy ──calls, each with its guard──▶ writer ──▶ Kubernetes
//!    ▲                    ▲  │                                    │
//!    └──asks (looks)──────│──┘◀────────────────answers────────────┘
//!                         └──watches: Nodes, slices, ledger, pause switch
//! ```
//!
//! Step 0: the ledger's entry, by compare-and-swap ([`ledger`], [`budget`], [`order`]). 1: taint, and slices at once.
//! 2: marks. 3: the second look ([`second_look`]), then deletes. 4: return. A steward that is killed after any single
//! write leaves no worse than stock Kubernetes: all writes are idempotent and bound to UIDs, the next steward goes on
//! where the ledger stands still, and a taint that nobody remembers is found on its Node.
//!
//! Beside it, and without the ledger: the taint of a degraded node that can start no pod ([`degraded`]).
//!
//! In `observe` the same requests come out as [`Command::Withheld`], and the machine goes on as if each had been
//! answered at once.

mod book;
mod calls;
mod case;
mod comeback;
mod degraded;
mod endpoints;
mod found;
mod hold;
mod index;
mod judged;
mod looks;
mod pods;
mod pretended;
mod reads;
mod round;
mod steps;
mod taint;
mod tell;

pub mod bound;
pub mod budget;
pub mod command;
pub mod ledger;
pub mod marks;
pub mod object;
pub mod order;
pub mod pause;
pub mod policy;
pub mod request;
pub mod second_look;
pub mod verdicts;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::identity::{BootId, IncidentId, MemberId};
use crate::incident::{Entry, SCHEMA, Step};
use crate::judgement::{Ask, Judgement, Verdict};
use crate::profile::Profile;
use crate::remedy::book::Book;
use crate::remedy::calls::Calls;
use crate::remedy::case::Case;
use crate::remedy::command::{ApiEvent, Command};
use crate::remedy::degraded::Degraded;
use crate::remedy::index::SliceIndex;
use crate::remedy::object::Node;
use crate::remedy::pretended::Pretended;
use crate::remedy::tell::Tell;
use crate::remedy::verdicts::Verdicts;
use crate::roster::{Member, Roster, StewardEntry};
use crate::time::{Instant, Wall};

/// After a write that failed, the next try of the machine (the writer has made its own) waits this long.
const RETRY: Duration = Duration::from_millis(1_000);

/// A step never takes more turns than this without an answer from outside.
const MAX_TURNS: usize = 32;

/// Whether what is decided is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All is decided and recorded, nothing is written.
    Observe,
    /// All is written.
    Enforce,
}

/// What does not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This steward.
    pub own: MemberId,
    /// The node that carries it: never acted on from here, as whoever asks lives.
    pub own_node: String,
    /// Whether what is decided is written.
    pub mode: Mode,
    /// When the second look is.
    pub profile: Profile,
    /// Random: nonces come from it.
    pub seed: u64,
}

/// The machine.
pub struct Remedy {
    config: Config,
    wall: Wall,
    members: BTreeMap<MemberId, Member>,
    size: budget::Size,
    stewards: Vec<StewardEntry>,
    verdicts: Verdicts,
    nodes: BTreeMap<MemberId, Node>,
    pretended: BTreeMap<MemberId, Pretended>,
    slices: SliceIndex,
    book: Book,
    /// Until the switch was read.
    paused: bool,
    cases: BTreeMap<MemberId, Case>,
    flaps: BTreeMap<MemberId, Vec<Instant>>,
    tells: BTreeMap<MemberId, Tell>,
    degraded: BTreeMap<MemberId, Degraded>,
    calls: Calls,
    told_condemned: Option<Vec<MemberId>>,
    counted: bool,
    dirty: BTreeSet<MemberId>,
    rank: u32,
    draws: u64,
    commands: VecDeque<Command>,
}

impl Remedy {
    /// A steward that knows nothing yet.
    #[must_use]
    pub fn new(config: Config, wall: Wall) -> Self {
        Self {
            config,
            wall,
            members: BTreeMap::new(),
            size: budget::Size::default(),
            stewards: Vec::new(),
            verdicts: Verdicts::default(),
            nodes: BTreeMap::new(),
            pretended: BTreeMap::new(),
            slices: SliceIndex::default(),
            book: Book::default(),
            paused: true,
            cases: BTreeMap::new(),
            flaps: BTreeMap::new(),
            tells: BTreeMap::new(),
            degraded: BTreeMap::new(),
            calls: Calls::default(),
            told_condemned: None,
            counted: false,
            dirty: BTreeSet::new(),
            rank: u32::MAX,
            draws: 0,
            commands: VecDeque::new(),
        }
    }

    /// The clocks again: the wall clock may have been set.
    pub const fn set_wall(&mut self, wall: Wall) {
        self.wall = wall;
    }

    /// Members and stewards changed.
    pub fn set_roster(&mut self, roster: &Roster, now: Instant) {
        self.members.clone_from(&roster.members);
        self.stewards.clone_from(&roster.stewards);
        self.size = budget::Size {
            members: roster.members.len(),
            zones: BTreeMap::new(),
        };
        for member in roster.members.values() {
            *self.size.zones.entry(member.zone.clone()).or_default() += 1;
        }
        let members = &self.members;
        self.verdicts.keep(|subject| members.contains_key(&subject));
        self.flaps.retain(|subject, _| members.contains_key(subject));
        self.tells.retain(|subject, _| members.contains_key(subject));
        self.degraded.retain(|subject, _| members.contains_key(subject));
        for subject in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.look_at_degraded(subject, now);
        }
        self.touch_all();
        self.settle(now);
    }

    /// The judge spoke.
    pub fn handle_judgement(&mut self, judgement: &Judgement, now: Instant) {
        self.verdicts.note(judgement);
        if let Judgement::EarlyWarning { subject, .. }
        | Judgement::Changed { subject, .. }
        | Judgement::Looked { subject, .. }
        | Judgement::Good { subject, .. } = judgement
        {
            self.dirty.insert(*subject);
        }
        match judgement {
            Judgement::EarlyWarning {
                subject,
                boot,
                incident,
                at,
            } => self.warned(*subject, *boot, *incident, *at, now),
            Judgement::Changed { subject, .. } => {
                self.changed(*subject, judgement, now);
                self.degraded_judged(*subject, judgement, now);
            }
            Judgement::Held { subject, hold, at } => {
                if let Some(hold) = *hold {
                    let step = Step::Held { hold };
                    match subject {
                        Some(subject) => self.record(*subject, step, *at),
                        None => self.record_for(IncidentId(0), BootId(0), "", step, *at),
                    }
                }
            }
            Judgement::Looked {
                subject,
                boot,
                nonce,
                dead,
                evidence,
                at,
            } => {
                let step = Step::Looked {
                    dead: *dead,
                    evidence: evidence.clone(),
                };
                self.record(*subject, step, *at);
                self.looked(*subject, *boot, *nonce, *dead, *at, now);
            }
            Judgement::Good {
                subject, rounds, at, ..
            } => self.good(*subject, *rounds, *at),
        }
        self.settle(now);
    }

    /// The API showed something.
    pub fn handle_api(&mut self, event: ApiEvent, now: Instant) {
        match event {
            ApiEvent::Node(node) => self.node_seen(node, now),
            ApiEvent::NodeGone { uid } => self.node_gone(&uid),
            ApiEvent::Slice(slice) => self.slices.insert(slice),
            ApiEvent::SliceGone { namespace, name } => self.slices.remove(&namespace, &name),
            ApiEvent::Ledger(state) => self.ledger_seen(&state, now),
            ApiEvent::Paused(value) => self.pause(pause::is_paused(value.as_deref()), now),
            ApiEvent::Answered { id, tries, outcome } => self.answered(id, tries, outcome, now),
        }
        self.settle(now);
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due = self.cases.iter().filter(|(_, case)| case.deadline <= now);
        self.dirty.extend(due.map(|(&subject, _)| subject));
        self.settle(now);
    }

    /// When [`Self::handle_timeout`] is wanted.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        let cases = self.cases.values().map(|case| case.deadline);
        let tells = self.tells.values().map(|tell| self.tell_due(tell));
        let degraded = self.degraded.values().map(|degraded| degraded.due(self.rank));
        let all = cases.chain(tells).chain(degraded);
        let all = all.min().unwrap_or(Instant::NEVER);
        all.min(self.book.deadline())
    }

    /// What is to be done next.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// What holds of each subject: what guards are asked against.
    #[must_use]
    pub const fn verdicts(&self) -> &Verdicts {
        &self.verdicts
    }

    /// Whether writes are withheld.
    const fn withholds(&self) -> bool {
        matches!(self.config.mode, Mode::Observe) || self.paused
    }

    /// Goes on with everything until nothing moves without an answer from outside.
    fn settle(&mut self, now: Instant) {
        self.rank = self.place();
        for _ in 0..MAX_TURNS {
            self.read_ledger(now);
            for subject in std::mem::take(&mut self.dirty) {
                self.advance(subject, now);
            }
            self.tell(now);
            self.tend_degraded(now);
            self.flush_ledger(now);
            if !self.answer_withheld(now) && self.dirty.is_empty() {
                break;
            }
        }
        self.tell_condemned();
    }

    /// All cases are looked at again.
    fn touch_all(&mut self) {
        self.dirty.extend(self.cases.keys());
        self.counted = false;
    }

    /// Moves one case as far as it goes.
    fn advance(&mut self, subject: MemberId, now: Instant) {
        let Some(mut case) = self.cases.remove(&subject) else {
            return;
        };
        for _ in 0..MAX_TURNS {
            if !self.step(subject, &mut case, now) {
                break;
            }
        }
        if !self.is_over(subject, &case, now) {
            case.deadline = self.deadline(subject, &case, now);
            self.cases.insert(subject, case);
        }
    }

    /// The switch was turned.
    fn pause(&mut self, paused: bool, now: Instant) {
        if self.paused == paused {
            return;
        }
        self.paused = paused;
        self.verdicts.pause(paused);
        self.touch_all();
        if paused || self.config.mode == Mode::Observe {
            return;
        }
        // What was only pretended is done again from the beginning, with new timers.
        self.pretended.clear();
        self.book.forget_pretended();
        self.slices.forget_pretended();
        for case in self.cases.values_mut() {
            case.restart(now, self.calls.generation());
        }
        for subject in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.look_at_node(subject, now);
        }
    }

    /// The judge's storm guard leaves out what is condemned already, and counts good rounds of it.
    fn tell_condemned(&mut self) {
        if std::mem::replace(&mut self.counted, true) {
            return;
        }
        let mut condemned: BTreeSet<MemberId> = self.book.entries().map(|entry| entry.subject).collect();
        let nodes = self.nodes.keys().copied();
        condemned.extend(nodes.filter(|&subject| self.is_tainted(subject)));
        let condemned: Vec<MemberId> = condemned.into_iter().collect();
        if self.told_condemned.as_ref() != Some(&condemned) {
            self.told_condemned = Some(condemned.clone());
            self.commands.push_back(Command::Ask(Ask::Condemned(condemned)));
        }
    }

    /// This steward's place in the order.
    fn place(&self) -> u32 {
        let suspected = self
            .cases
            .iter()
            .filter(|(_, case)| case.verdict.is_none_or(|verdict| verdict >= Verdict::Partial))
            .filter_map(|(subject, _)| self.members.get(subject))
            .map(|member| member.name.as_str())
            .collect();
        order::rank(self.config.own, &self.stewards, &suspected)
    }

    /// Random, never 0, never twice.
    fn nonce(&mut self) -> u64 {
        self.draws += 1;
        // SplitMix64: a different word for each draw of one seed.
        let mut word = (self.config.seed).wrapping_add(self.draws.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)).max(1)
    }

    fn record(&mut self, subject: MemberId, step: Step, at: Instant) {
        let case = self.cases.get(&subject);
        let (incident, boot) = case.map(|case| (case.incident, case.boot)).unwrap_or_default();
        let member = self.members.get(&subject);
        let name = member.map(|member| member.name.clone()).unwrap_or_default();
        self.record_for(incident, boot, &name, step, at);
    }

    fn record_for(&mut self, incident: IncidentId, boot: BootId, node: &str, step: Step, at: Instant) {
        self.commands.push_back(Command::Record(Entry {
            v: SCHEMA,
            incident,
            node: node.to_owned(),
            boot,
            steward: self.config.own_node.clone(),
            at_us: at.0 / 1_000,
            wall_ms: self.wall.ms_of(at),
            step,
        }));
    }

    fn alarm(&mut self, text: String) {
        self.commands.push_back(Command::Alarm(text));
    }
}
