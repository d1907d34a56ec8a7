//! What `detector status` shows of an observer: plain data.

use serde::Serialize;

use crate::identity::{BootId, IncidentId, MemberId};
use crate::message::Ability;
use crate::time::Instant;

use super::Observer;
use super::ability::Silence;

/// What happened since the start, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Own ticks that came a slot too late: all losses were forgotten.
    pub late_ticks: u64,
    /// Probes that could not be sent.
    pub unsent: u64,
    /// Hints about others than the own subjects, or from others than their observers.
    pub hints_refused: u64,
    /// Hints that came faster than they may start a probe.
    pub hints_limited: u64,
    /// Looks that gave way to newer ones.
    pub looks_dropped: u64,
    /// Times that the own sequence had to go on above one of an earlier process.
    pub raised: u64,
}

/// One subject, as this observer sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SubjectStatus {
    /// Who.
    pub subject: MemberId,
    /// As last heard; 0: never.
    pub boot: BootId,
    /// Since the newest authentic sign, in ms; None: never.
    pub heard_ms: Option<f64>,
    /// Since the sending of the newest echoed probe, in ms; None: never.
    pub echo_ms: Option<f64>,
    /// Smoothed round trip in ms; None: never measured.
    pub rtt_ms: Option<f64>,
    /// q̂.
    pub loss: f64,
    /// Losses since the newest echo that count.
    pub losses: usize,
    /// Losses that wait until somebody else is heard.
    pub unproven: usize,
    /// Whether this observer's silence would count, or why not.
    pub ability: Ability,
    /// The suspicion that is open.
    pub incident: Option<IncidentId>,
}

impl Observer {
    /// Every subject.
    #[must_use]
    pub fn status(&self, now: Instant) -> Vec<SubjectStatus> {
        let ms = |since: Instant| (now - since).as_secs_f64() * 1e3;
        let all = Silence::of(&self.subjects);
        let of = |subject: &super::subject::Subject| SubjectStatus {
            subject: subject.id,
            boot: subject.boot,
            heard_ms: (subject.sign != Instant(0)).then(|| ms(subject.sign)),
            echo_ms: subject.echoed.map(ms),
            rtt_ms: subject.rtt.smoothed().map(|rtt| rtt.as_secs_f64() * 1e3),
            loss: subject.loss.estimate(),
            losses: subject.losses.counted(),
            unproven: subject.losses.len() - subject.losses.counted(),
            ability: self.doubts.ability(subject, &all, now),
            incident: subject.suspicion.as_ref().map(|open| open.incident),
        };
        self.subjects.iter().map(of).collect()
    }

    /// What happened since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The high half of the own sequences.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }
}
