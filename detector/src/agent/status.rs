//! What `detector status` shows of an agent: plain data.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::control::PeerStatus;
use crate::identity::{BootId, MemberId};
use crate::observer::{Arrivals, Counters, SubjectStatus};
use crate::time::Instant;

use super::Agent;

/// Everything an agent knows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AgentStatus {
    /// Own id.
    pub id: MemberId,
    /// Own boot.
    pub boot: BootId,
    /// High half of the own sequences.
    pub incarnation: u32,
    /// [`crate::roster::Roster::hash`]; 0: no roster yet.
    pub roster: u64,
    /// Members of the roster.
    pub members: usize,
    /// [`detector_common::packet::health`].
    pub health: u32,
    /// Since any of the own observers was heard to ask, in ms; None: never.
    pub asked_ms: Option<f64>,
    /// The subjects.
    pub subjects: Vec<SubjectStatus>,
    /// The stewards.
    pub stewards: Vec<PeerStatus>,
    /// What happened to the probes.
    pub observer: Counters,
    /// What happened to the sealed messages, by name, refusals by cause among them.
    pub control: BTreeMap<String, u64>,
}

impl Agent {
    /// A snapshot.
    #[must_use]
    pub fn status(&self, now: Instant, arrivals: &impl Arrivals) -> AgentStatus {
        AgentStatus {
            id: self.own,
            boot: self.boot,
            incarnation: self.observer.incarnation(),
            roster: self.roster,
            members: self.members,
            health: self.bits(),
            asked_ms: self.unheard.heard_ms(now, arrivals),
            subjects: self.observer.status(now),
            stewards: self
                .stewards
                .iter()
                .map(|steward| self.control.peer_status(steward.id, now))
                .collect(),
            observer: self.observer.counters(),
            control: self.control.counts().by_name(),
        }
    }
}
