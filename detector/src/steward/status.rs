//! What `detector status` shows of a steward: plain data.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::control::{Counts, Refused};
use crate::identity::MemberId;
use crate::judge::{Counters, SubjectStatus};
use crate::judgement::Hold;
use crate::time::Instant;

use super::Steward;

/// Everything a steward knows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StewardStatus {
    /// Own id.
    pub id: MemberId,
    /// [`crate::roster::Roster::hash`]; 0: no roster yet.
    pub roster: u64,
    /// Why all verdicts are held back.
    pub hold: Option<Hold>,
    /// The members.
    pub subjects: Vec<SubjectStatus>,
    /// The other stewards.
    pub fellows: Vec<FellowStatus>,
    /// What was not counted.
    pub judge: Counters,
    /// What happened to the sealed messages, by name, refusals by cause among them.
    pub control: BTreeMap<String, u64>,
}

/// Another steward.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FellowStatus {
    /// Who.
    pub id: MemberId,
    /// Whether there is a sealed channel to it.
    pub connected: bool,
    /// Since its last message, in ms; None: none came.
    pub heard_ms: Option<f64>,
}

impl Steward {
    /// A snapshot.
    #[must_use]
    pub fn status(&self, now: Instant) -> StewardStatus {
        let fellow = |(id, heard): (&MemberId, &Option<Instant>)| FellowStatus {
            id: *id,
            connected: self.control.peer_incarnation(*id).is_some(),
            heard_ms: heard.map(|at| (now - at).as_secs_f64() * 1e3),
        };
        StewardStatus {
            id: self.own,
            roster: self.roster,
            hold: self.judge.hold(now),
            subjects: self.judge.status(now).collect(),
            fellows: self.fellows.iter().map(fellow).collect(),
            judge: self.judge.counters(),
            control: named(self.control.counts(), self.misdirected),
        }
    }
}

fn named(counts: &Counts, misdirected: u64) -> BTreeMap<String, u64> {
    let refused = Refused::ALL.map(|cause| (format!("refused_{cause}"), counts.refused(cause)));
    [
        ("received", counts.received),
        ("sent", counts.sent),
        ("repeated", counts.repeated),
        ("hellos", counts.hellos),
        ("replaced", counts.replaced),
        ("given_up", counts.given_up),
        ("dropped", counts.dropped),
        ("misdirected", misdirected),
    ]
    .map(|(name, count)| (name.to_owned(), count))
    .into_iter()
    .chain(refused)
    .collect()
}
