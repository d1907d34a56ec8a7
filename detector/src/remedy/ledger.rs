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
    /// Waits for a reboot that was announced: not in progress.
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
