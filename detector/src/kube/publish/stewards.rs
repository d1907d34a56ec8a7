//! The list of stewards, of which each keeps itself in and takes the silent out.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::identity::MemberId;
use crate::names;
use crate::roster::shard::{self, Shards};
use crate::roster::{MAX_STEWARDS, Roster, StewardEntry};
use crate::time::Instant;

/// A steward that was heard, and then not for this time, is taken out of the roster.
pub(super) const FORGOTTEN: Duration = Duration::from_secs(60);

/// One that was never heard, for this time since it was first seen in the list: whoever heard it last is gone too, as
/// after an update of all. Longer, as it may be that its greetings do not arrive here yet.
pub(super) const NEVER_HEARD: Duration = Duration::from_secs(300);

/// The list as it stands in its ConfigMap, and who of it is heard.
#[derive(Debug)]
pub(super) struct Stewards {
    own: StewardEntry,
    entries: Vec<StewardEntry>,
    heard: BTreeMap<MemberId, Instant>,
    /// When those in the list were first seen there.
    listed: BTreeMap<MemberId, Instant>,
}

impl Stewards {
    /// Nothing is known.
    pub(super) const fn new(own: StewardEntry) -> Self {
        Self {
            own,
            entries: Vec::new(),
            heard: BTreeMap::new(),
            listed: BTreeMap::new(),
        }
    }

    /// In the order in which they act.
    pub(super) fn entries(&self) -> &[StewardEntry] {
        &self.entries
    }

    /// The list's text; None: there is none. Whether the list changed.
    pub(super) fn handle_text(&mut self, text: Option<&str>, now: Instant) -> bool {
        let entries = text.map(stewards_of).unwrap_or_default();
        if entries == self.entries {
            return false;
        }
        self.entries = entries;
        let before = std::mem::take(&mut self.listed);
        let of = |entry: &StewardEntry| (entry.id, before.get(&entry.id).copied().unwrap_or(now));
        self.listed = self.entries.iter().map(of).collect();
        true
    }

    /// Another steward greeted.
    pub(super) fn handle_heard(&mut self, steward: MemberId, now: Instant) {
        self.heard.insert(steward, now);
    }

    /// The own place in the order; after all others where this one is not listed.
    pub(super) fn rank(&self) -> u32 {
        let place = self.entries.iter().position(|entry| entry.id == self.own.id);
        u32::try_from(place.unwrap_or(self.entries.len())).unwrap_or(u32::MAX)
    }

    /// Whether this one stands there as it is.
    pub(super) fn lists_own(&self) -> bool {
        self.entries.contains(&self.own)
    }

    /// When the next of the others counts as silent.
    pub(super) fn next_silence(&self, now: Instant) -> Option<Instant> {
        let others = self.entries.iter().filter(|entry| **entry != self.own);
        let silent = others.map(|entry| self.silent_from(entry.id));
        silent.filter(|&at| at > now).min()
    }

    /// From when on a steward counts as silent, if it is not heard until then.
    fn silent_from(&self, steward: MemberId) -> Instant {
        let listed = self.listed.get(&steward).map(|&listed| listed + NEVER_HEARD);
        let heard = self.heard.get(&steward).map(|&heard| heard + FORGOTTEN);
        heard.or(listed).unwrap_or(Instant::NEVER)
    }

    /// The stewards without those that this one has replaced or that have fallen silent, and with oneself.
    pub(super) fn wanted(&self, now: Instant) -> Vec<StewardEntry> {
        let silent = |entry: &StewardEntry| now >= self.silent_from(entry.id);
        let stays = |entry: &&StewardEntry| {
            **entry == self.own
                || (entry.id != self.own.id && entry.address != self.own.address && !silent(entry))
        };
        let mut wanted: Vec<StewardEntry> = self.entries.iter().filter(stays).cloned().collect();
        if !wanted.contains(&self.own) {
            // The oldest strangers make room.
            while wanted.len() >= MAX_STEWARDS {
                wanted.remove(0);
            }
            wanted.push(self.own.clone());
        }
        wanted
    }
}

/// The stewards in a text; none where it is not understood: they will enter themselves again.
pub(super) fn stewards_of(text: &str) -> Vec<StewardEntry> {
    let mut shards = Shards::default();
    let nobody = shard::encode_members(&Roster::default(), 1);
    let read = shards
        .handle_stewards(text)
        .and_then(|()| nobody.iter().try_for_each(|text| shards.handle_members(text)));
    if let Err(error) = read {
        tracing::error!(%error, map = names::STEWARDS, "the list of stewards is not understood and written anew");
    }
    shards.roster().map(|roster| roster.stewards).unwrap_or_default()
}
