//! What our ConfigMaps should hold, against what they hold: pure. Any steward writes it, the first in order at once, the
//! next ones later: level by level, so that a steward that dies half-way is made up for.

mod stewards;
mod write;

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use crate::identity::MemberId;
use crate::names;
use crate::remedy::Mode;
use crate::roster::{MAX_MEMBERS, Member, Roster, StewardEntry, shard};
use crate::time::Instant;

pub use write::{MapState, Publish};

use stewards::Stewards;

/// Changes of Nodes are collected for this time: a rollout changes many.
const BATCH: Duration = Duration::from_millis(200);

/// A steward further back writes so much later.
const TURN: Duration = Duration::from_secs(2);

/// The next try after a write that failed.
const RETRY: Duration = Duration::from_secs(1);

/// The machine.
#[derive(Debug)]
pub struct Publisher {
    mode: Mode,
    members: BTreeMap<MemberId, Member>,
    synced: bool,
    /// The members' text, made when it is first wanted after a change: thousands of them are hundreds of kilobytes.
    text: OnceLock<Option<String>>,
    /// None inside: the watch says that there is no such object.
    maps: BTreeMap<&'static str, Option<MapState>>,
    stewards: Stewards,
    /// When what is wanted last changed.
    since: Instant,
    flight: Option<&'static str>,
    retry: Instant,
    changed: bool,
}

impl Publisher {
    /// A steward that has seen nothing yet. In `observe` it makes no ledger: nothing is written there.
    #[must_use]
    pub const fn new(own: StewardEntry, mode: Mode) -> Self {
        Self {
            mode,
            members: BTreeMap::new(),
            synced: false,
            text: OnceLock::new(),
            maps: BTreeMap::new(),
            stewards: Stewards::new(own),
            since: Instant(0),
            flight: None,
            retry: Instant(0),
            changed: false,
        }
    }

    /// A Node, new or changed.
    pub fn handle_member(&mut self, member: Member, now: Instant) {
        let id = MemberId::of_node(&member.uid);
        if self.members.get(&id) == Some(&member) || self.members.len() >= MAX_MEMBERS {
            return;
        }
        // A Node that was made again under its name before its end was seen.
        self.members.retain(|_, other| other.name != member.name);
        self.members.insert(id, member);
        self.touch(now);
    }

    /// A Node is gone.
    pub fn handle_member_gone(&mut self, uid: &str, now: Instant) {
        if self.members.remove(&MemberId::of_node(uid)).is_some() {
            self.touch(now);
        }
    }

    /// All Nodes have been seen once.
    pub fn handle_synced(&mut self, now: Instant) {
        if !self.synced {
            self.synced = true;
            self.touch(now);
        }
    }

    /// One of our ConfigMaps.
    pub fn handle_map(&mut self, name: &'static str, state: Option<MapState>, now: Instant) {
        if name == names::STEWARDS {
            let text = state.as_ref().and_then(|state| state.text.as_deref());
            self.changed |= self.stewards.handle_text(text, now);
        }
        if self.maps.get(name) != Some(&state) {
            self.maps.insert(name, state);
            self.since = self.since.max(now);
        }
    }

    /// Another steward greeted.
    pub fn handle_heard(&mut self, steward: MemberId, now: Instant) {
        self.stewards.handle_heard(steward, now);
    }

    /// A write ended.
    pub fn handle_written(&mut self, name: &'static str, done: bool, now: Instant) {
        if self.flight == Some(name) {
            self.flight = None;
        }
        // Until the watch shows it: what is written again has an old version, and is refused.
        self.retry = now + if done { BATCH } else { RETRY };
    }

    fn touch(&mut self, now: Instant) {
        self.since = now;
        self.changed = true;
        self.text = OnceLock::new();
    }

    /// Members and stewards as this steward sees them, if it has seen all and they changed since the last call.
    pub fn take_roster(&mut self) -> Option<Roster> {
        (self.synced && std::mem::take(&mut self.changed)).then(|| self.roster())
    }

    fn roster(&self) -> Roster {
        Roster::new(self.members.values().cloned(), self.stewards.entries().to_vec())
    }

    fn members_text(&self) -> Option<&str> {
        let make = || shard::encode_members(&self.roster(), 1).into_iter().next();
        self.text.get_or_init(make).as_deref()
    }

    /// The next write, if its turn has come.
    pub fn poll(&mut self, now: Instant) -> Option<Publish> {
        if self.flight.is_some() || now < self.retry {
            return None;
        }
        let publish = self
            .wanted(now)
            .filter(|(at, _)| now >= *at)
            .map(|(_, publish)| publish)?;
        self.flight = Some(publish.name);
        Some(publish)
    }

    /// When [`Self::poll`] is wanted.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> Instant {
        if self.flight.is_some() {
            return Instant::NEVER;
        }
        let wanted = self.wanted(now).map(|(at, _)| at.max(self.retry));
        let silence = self.stewards.next_silence(now);
        silence.into_iter().chain(wanted).min().unwrap_or(Instant::NEVER)
    }

    /// What should be written, and from when on by this steward.
    fn wanted(&self, now: Instant) -> Option<(Instant, Publish)> {
        let turn = self.since + TURN * self.stewards.rank();
        // Oneself: at once.
        if let Some(state) = self.maps.get(names::STEWARDS) {
            let wanted = self.stewards.wanted(now);
            if wanted != self.stewards.entries() || state.as_ref().is_none_or(|state| state.text.is_none()) {
                let text = shard::encode_stewards(&Roster::new([], wanted));
                let at = if self.stewards.lists_own() { turn } else { now };
                return Some((
                    at,
                    Publish::of(names::STEWARDS, state.as_ref(), Some((shard::STEWARDS, text))),
                ));
            }
        }
        if self.mode == Mode::Enforce
            && let Some(None) = self.maps.get(names::LEDGER)
        {
            return Some((turn, Publish::of(names::LEDGER, None, None)));
        }
        let state = self.maps.get(names::ROSTER).filter(|_| self.synced)?;
        let text = self.members_text()?;
        let held = state.as_ref().and_then(|state| state.text.as_deref());
        if held == Some(text) || text.len() > shard::MAX_SHARD {
            return None;
        }
        Some((
            turn + BATCH,
            Publish::of(
                names::ROSTER,
                state.as_ref(),
                Some((shard::MEMBERS, text.to_owned())),
            ),
        ))
    }
}

#[cfg(test)]
mod tests;
