//! What `detector status` shows of an agent: plain data.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::control::{Counts, Refused};
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
    pub stewards: Vec<StewardStatus>,
    /// What happened to the probes.
    pub observer: Counters,
    /// What happened to the sealed messages, by name, refusals by cause among them.
    pub control: BTreeMap<String, u64>,
}

/// One steward, as an agent sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StewardStatus {
    /// Who.
    pub id: MemberId,
    /// Whether there is a sealed channel to it.
    pub connected: bool,
    /// Since its last message, in ms; None: none came.
    pub heard_ms: Option<f64>,
}

impl Agent {
    /// A snapshot.
    #[must_use]
    pub fn status(&self, now: Instant, arrivals: &impl Arrivals) -> AgentStatus {
        let steward = |id: MemberId| StewardStatus {
            id,
            connected: self.control.peer_incarnation(id).is_some(),
            heard_ms: self
                .steward_heard
                .get(&id)
                .map(|at| (now - *at).as_secs_f64() * 1e3),
        };
        AgentStatus {
            id: self.own,
            boot: self.boot,
            incarnation: self.observer.incarnation(),
            roster: self.roster,
            members: self.members,
            health: self.bits(),
            asked_ms: self.unheard.heard_ms(now, arrivals),
            subjects: self.observer.status(now),
            stewards: self.stewards.iter().map(|known| steward(known.id)).collect(),
            observer: self.observer.counters(),
            control: named(self.control.counts(), self.misdirected),
        }
    }
}

fn named(counts: &Counts, misdirected: u64) -> BTreeMap<String, u64> {
    let counts_by_name = [
        ("received", counts.received),
        ("sent", counts.sent),
        ("repeated", counts.repeated),
        ("hellos", counts.hellos),
        ("replaced", counts.replaced),
        ("given_up", counts.given_up),
        ("dropped", counts.dropped),
        ("misdirected", misdirected),
    ];
    let refused = Refused::ALL.map(|cause| (format!("refused_{cause}"), counts.refused(cause)));
    counts_by_name
        .map(|(name, count)| (name.to_owned(), count))
        .into_iter()
        .chain(refused)
        .collect()
}
