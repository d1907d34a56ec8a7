//! What `detector status` and metrics show of the judge: plain data.

use serde::{Deserialize, Serialize};

use crate::identity::{BootId, IncidentId, MemberId};
use crate::judge::Judge;
use crate::judgement::{Causes, Hold, Verdict};
use crate::time::{Instant, nanos};

/// What was not counted, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Messages of no member of the own roster (another steward's greeting is one).
    pub strangers: u64,
    /// Words about no member of the own roster.
    pub unknown_subjects: u64,
    /// Words about a boot that is over, or not known yet.
    pub other_boot: u64,
    /// Reports by other numbers.
    pub other_config: u64,
    /// Greetings and farewells that a later one overtook.
    pub outdated: u64,
    /// Messages that only a steward may send.
    pub misdirected: u64,
    /// Own late ticks.
    pub late_ticks: u64,
}

/// One subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectStatus {
    /// Who.
    pub subject: MemberId,
    /// Its boot; 0: never heard.
    pub boot: BootId,
    /// What holds.
    pub verdict: Verdict,
    /// With `Degraded`: what is wrong.
    #[serde(default)]
    pub causes: Causes,
    /// Half the evidence.
    pub suspected: bool,
    /// Why a verdict is held back.
    pub hold: Option<Hold>,
    /// The suspicion's label.
    pub incident: Option<IncidentId>,
    /// Observers that have heard this boot.
    pub heard_by: usize,
    /// Observers by the own roster.
    pub observers: usize,
    /// Since its last message to this steward, in ms.
    pub message_ms: Option<u64>,
}

impl Judge {
    /// What was not counted.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// What holds all verdicts back.
    #[must_use]
    pub fn hold(&self, now: Instant) -> Option<Hold> {
        self.guard.hold(now)
    }

    /// Whether this member is suspected: a steward on its node acts last.
    #[must_use]
    pub fn is_suspected(&self, member: MemberId) -> bool {
        self.peers.get(&member).is_some_and(|peer| peer.suspected)
    }

    /// Everybody, by id.
    pub fn status(&self, now: Instant) -> impl Iterator<Item = SubjectStatus> {
        self.subjects.iter().map(move |(id, subject)| {
            let heard_at = self.peers.get(id).and_then(|peer| peer.heard_at);
            let telling = subject.telling(now);
            SubjectStatus {
                subject: *id,
                boot: subject.boot,
                verdict: telling.verdict,
                causes: telling.causes,
                suspected: subject.suspicion.is_some(),
                hold: subject.held,
                incident: subject.incident,
                heard_by: subject
                    .witnesses
                    .iter()
                    .filter(|witness| witness.life.is_some())
                    .count(),
                observers: subject.witnesses.len(),
                message_ms: heard_at.map(|at| nanos(now.since(at)) / 1_000_000),
            }
        })
    }
}
