//! The incident record: one JSON line an entry, one schema for bench, demo, `observe`, Events and `explain`.

use serde::{Deserialize, Serialize};

use crate::identity::{BootId, IncidentId};
use crate::judgement::{Causes, Evidence, Hold, Verdict};

/// The version of the schema; a reader refuses another one.
pub const SCHEMA: u32 = 2;

/// One line: something that happened in one incident, seen by one steward.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// [`SCHEMA`].
    pub v: u32,
    /// The suspicion's label.
    pub incident: IncidentId,
    /// The node's name.
    pub node: String,
    /// The boot in question.
    pub boot: BootId,
    /// The node that carries the steward who writes this.
    pub steward: String,
    /// Monotonic time of the steward's host, in µs: what differences are made of.
    pub at_us: u64,
    /// Wall clock in milliseconds since the epoch: to find the entry in other logs, never compared between hosts.
    pub wall_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub step: Step,
}

/// What happened. Writes are told twice: when they were decided (`observe` stops there), and when the API answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Half the evidence.
    Suspected,
    /// A verdict.
    Verdict {
        /// Which.
        verdict: Verdict,
        /// With `Degraded`: what is wrong.
        #[serde(default, skip_serializing_if = "Causes::is_empty")]
        causes: Causes,
        /// On what.
        evidence: Evidence,
    },
    /// Held back.
    Held {
        /// Why.
        hold: Hold,
    },
    /// A write was decided.
    Decided {
        /// Which.
        write: Write,
        /// The object written.
        object: String,
        /// Whether it is carried out (`enforce`), or only recorded (`observe`).
        enforced: bool,
    },
    /// The API answered.
    Written {
        /// Which.
        write: Write,
        /// The object written.
        object: String,
        /// Tries it took.
        tries: u32,
    },
    /// A write failed for good, or was given up.
    Failed {
        /// Which.
        write: Write,
        /// The object.
        object: String,
        /// Why, as the API or the writer says.
        reason: String,
    },
    /// The second look, or a later one.
    Looked {
        /// Whether it still is dead.
        dead: bool,
        /// On what.
        evidence: Evidence,
    },
    /// A pod that is marked but not deleted.
    Spared {
        /// namespace/name.
        pod: String,
        /// Why.
        reason: String,
    },
    /// The subject was heard again: what is not written yet is dropped.
    Revoked,
    /// The subject has returned and its marks are off.
    Returned,
    /// Ended without more to do.
    Closed,
}

/// The kinds of writes, in the order of the remediation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Write {
    /// The ledger's entry, by compare-and-swap.
    Ledger,
    /// The own taint.
    Taint,
    /// One EndpointSlice.
    Slice,
    /// One pod's status.
    Mark,
    /// One pod's graceful deletion.
    Delete,
    /// The own taint off.
    Untaint,
    /// The own taint of a degraded node.
    DegradedTaint,
    /// That taint off.
    DegradedUntaint,
    /// The Node's own condition.
    Condition,
    /// An Event.
    Event,
}
