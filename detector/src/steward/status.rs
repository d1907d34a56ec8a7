//! What `detector status` shows of a steward: plain data.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::control::PeerStatus;
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
    pub fellows: Vec<PeerStatus>,
    /// What was not counted.
    pub judge: Counters,
    /// What happened to the sealed messages, by name, refusals by cause among them.
    pub control: BTreeMap<String, u64>,
}

impl Steward {
    /// A snapshot.
    #[must_use]
    pub fn status(&self, now: Instant) -> StewardStatus {
        StewardStatus {
            id: self.own,
            roster: self.roster,
            hold: self.judge.hold(now),
            subjects: self.judge.status(now).collect(),
            fellows: self
                .fellows
                .iter()
                .map(|fellow| self.control.peer_status(*fellow, now))
                .collect(),
            judge: self.judge.counters(),
            control: self.control.counts().by_name(),
        }
    }
}
