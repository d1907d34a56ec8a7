//! The ledger of open condemnations: one API object, written by compare-and-swap before anything else is written.
//! Budget, uniqueness and the order of stewards are decided there, whatever rosters they have.

use serde::{Deserialize, Serialize};

use crate::identity::{BootId, IncidentId, MemberId};

/// The data key of the ConfigMap [`crate::names::LEDGER`].
pub const KEY: &str = "ledger";

/// The version of the text; another one is not understood.
pub const SCHEMA: u32 = 1;

/// Entries at most: a tenth of 5,000 nodes in progress and as many not yet back. About 300 kB, a third of what a
/// ConfigMap holds.
pub const MAX_ENTRIES: usize = 1_024;

/// How far a condemnation has come. The order is the order of the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Leaves by its own word: to be tainted, its endpoints not ready; no more before it is `Dead`.
    Leaving,
    /// To be tainted.
    Condemned,
    /// Tainted: to be marked.
    Tainted,
    /// Its pods are marked: to be looked at again, then deleted.
    Marked,
    /// Deletes are out: late pods are looked for.
    Deleted,
    /// Nothing left but the return.
    Done,
    /// Heard again before or after that: nothing left but the return, and a new death begins anew.
    Revoked,
}

/// One open condemnation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Member.
    pub subject: MemberId,
    /// Node's name.
    pub node: String,
    /// Node's UID.
    pub uid: String,
    /// Failure domain.
    #[serde(default)]
    pub zone: String,
    /// The condemned boot.
    pub boot: BootId,
    /// The suspicion.
    pub incident: IncidentId,
    /// Who works on it.
    pub steward: MemberId,
    /// How far.
    pub progress: Progress,
    /// It announced a reboot: also a steward that did not hear the goodbye keeps the grace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reboot: bool,
    /// Waits for the end of that grace: not in progress.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits: bool,
    /// Wall clock of the verdict, in ms since the epoch, for humans: never compared between hosts.
    pub verdict_ms: u64,
}

/// All of them, by subject: at most one each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// [`SCHEMA`].
    pub v: u32,
    /// Sorted by subject.
    pub entries: Vec<Entry>,
}

/// Why a ledger's text is not understood: then nothing is done until a human has looked at it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    /// Not what we write.
    #[error("data key {KEY:?} is not a ledger: {0}")]
    Text(String),
    /// Of another version of this program.
    #[error("data key {KEY:?} has version {0}; this program writes {SCHEMA}")]
    Version(u32),
    /// More than anybody would have written.
    #[error("data key {KEY:?} has {0} entries; at most {MAX_ENTRIES} are written")]
    TooMany(usize),
    /// Two entries of one subject, or out of order.
    #[error("data key {KEY:?} is not sorted by subject, each once: {0}")]
    Order(MemberId),
}

impl Ledger {
    /// Of nothing.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            v: SCHEMA,
            entries: Vec::new(),
        }
    }

    /// Reads the text of the ConfigMap; never written means empty.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: Option<&str>) -> Result<Self, Corrupt> {
        let Some(text) = text else {
            return Ok(Self::empty());
        };
        let ledger: Self = serde_json::from_str(text).map_err(|error| Corrupt::Text(error.to_string()))?;
        if ledger.v != SCHEMA {
            return Err(Corrupt::Version(ledger.v));
        }
        if ledger.entries.len() > MAX_ENTRIES {
            return Err(Corrupt::TooMany(ledger.entries.len()));
        }
        let mut last = None;
        for entry in &ledger.entries {
            if last >= Some(entry.subject) {
                return Err(Corrupt::Order(entry.subject));
            }
            last = Some(entry.subject);
        }
        Ok(ledger)
    }

    /// What is written.
    #[must_use]
    pub fn text(&self) -> String {
        // Plain data without maps or floats: it always serializes.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The entry of a subject.
    #[must_use]
    pub fn get(&self, subject: MemberId) -> Option<&Entry> {
        let at = self.entries.binary_search_by_key(&subject, |entry| entry.subject);
        at.ok().and_then(|at| self.entries.get(at))
    }

    /// Puts an entry in the place of its subject's. False, and nothing is changed: there is no room.
    pub fn put(&mut self, entry: Entry) -> bool {
        match self
            .entries
            .binary_search_by_key(&entry.subject, |entry| entry.subject)
        {
            Ok(at) => {
                if let Some(old) = self.entries.get_mut(at) {
                    *old = entry;
                }
                true
            }
            Err(at) if self.entries.len() < MAX_ENTRIES => {
                self.entries.insert(at, entry);
                true
            }
            Err(_) => false,
        }
    }

    /// Takes a subject's entry out.
    pub fn remove(&mut self, subject: MemberId) {
        self.entries.retain(|entry| entry.subject != subject);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(subject: u64) -> Entry {
        Entry {
            subject: MemberId(subject),
            node: format!("n{subject}"),
            uid: "u".into(),
            zone: String::new(),
            boot: BootId(1),
            incident: IncidentId(2),
            steward: MemberId(3),
            progress: Progress::Condemned,
            reboot: false,
            waits: false,
            verdict_ms: 4,
        }
    }

    #[test]
    fn text_and_back() {
        let mut ledger = Ledger::empty();
        for subject in [5, 1, 3, 1] {
            assert!(ledger.put(entry(subject)));
        }
        assert_eq!(ledger.entries.len(), 3);
        assert_eq!(Ledger::parse(Some(&ledger.text())), Ok(ledger.clone()));
        ledger.remove(MemberId(3));
        assert!(ledger.get(MemberId(3)).is_none() && ledger.get(MemberId(5)).is_some());
        assert_eq!(Ledger::parse(None), Ok(Ledger::empty()));
    }

    #[test]
    fn what_is_not_understood_is_refused_whole() {
        let doubled = Ledger {
            v: SCHEMA,
            entries: vec![entry(1), entry(1)],
        };
        let other = Ledger {
            v: SCHEMA + 1,
            entries: vec![],
        };
        let many = Ledger {
            v: SCHEMA,
            entries: (0..=MAX_ENTRIES as u64).map(entry).collect(),
        };
        assert_eq!(
            Ledger::parse(Some(&doubled.text())),
            Err(Corrupt::Order(MemberId(1)))
        );
        assert_eq!(
            Ledger::parse(Some(&other.text())),
            Err(Corrupt::Version(SCHEMA + 1))
        );
        assert_eq!(
            Ledger::parse(Some(&many.text())),
            Err(Corrupt::TooMany(MAX_ENTRIES + 1))
        );
        let text = Ledger {
            v: SCHEMA,
            entries: vec![entry(1)],
        }
        .text();
        for cut in 0..text.len() {
            assert!(
                matches!(Ledger::parse(text.get(..cut)), Err(Corrupt::Text(_))),
                "{cut}"
            );
        }
        for text in ["[]", "null", "{\"v\":1}", "{\"v\":1,\"entries\":[],\"x\":1}"] {
            assert!(Ledger::parse(Some(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn it_is_bounded_and_the_longest_fits_into_a_config_map() {
        let mut ledger = Ledger::empty();
        for subject in 0..MAX_ENTRIES as u64 {
            let mut long = entry(subject);
            long.node = "n".repeat(253);
            long.zone = "z".repeat(63);
            assert!(ledger.put(long));
        }
        assert!(!ledger.put(entry(u64::MAX)), "no room for another one");
        assert!(ledger.put(entry(7)), "but for a change");
        assert!(ledger.text().len() < 1_000_000, "{}", ledger.text().len());
    }
}
