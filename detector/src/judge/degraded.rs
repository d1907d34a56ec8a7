//! How a host is whose kernel answers: what its agent says of it, what its echoes say, and whether there is an agent.

use detector_common::packet::health;

use crate::judge::goodbye::{Parting, Standing};
use crate::judge::subject::Subject;
use crate::judgement::{Cause, Causes};
use crate::profile::AGENT_STALE;
use crate::time::Instant;

impl Subject {
    /// Its own word on its health.
    pub(super) fn says_health(&mut self, at: Instant, bits: u32) {
        self.said = Some((at, bits));
    }

    /// The newest word on its health, and when that was: its own, or what later echoes say to a quorum. One observer
    /// speaks for nobody.
    fn word(&self) -> Option<(Instant, u32)> {
        let seen = self.witnesses.iter().filter_map(|witness| witness.seen);
        let later = || {
            let said = self.said.map(|(at, _)| at);
            seen.clone()
                .filter(move |seen| said.is_none_or(|at| seen.at > at))
        };
        let quorum = self.quorum();
        if self.witnesses.is_empty() || later().count() < quorum {
            return self.said;
        }
        let any = later().fold(0, |bits, seen| bits | seen.health);
        let agreed =
            |bit: &u32| any & bit != 0 && later().filter(|seen| seen.health & bit != 0).count() >= quorum;
        let bits = (0..u32::BITS).map(|bit| 1 << bit).filter(agreed).sum();
        later().map(|seen| (seen.at, bits)).max()
    }

    /// See [`health`].
    pub(super) fn health(&self) -> u32 {
        self.word().map_or(0, |(_, bits)| bits)
    }

    /// Whether its echoes end with its agent.
    #[must_use]
    pub(super) fn echoes_by_socket(&self) -> bool {
        self.health() & health::USER_ECHO != 0
    }

    /// Its agent has not come back from a restart, or its stamp is stale.
    fn is_agent_down(&self, now: Instant) -> bool {
        let overdue = |parting: &Parting| parting.standing(now) == Standing::Overdue;
        let mut seen = self.witnesses.iter().filter_map(|witness| witness.seen);
        let greeting_stale = self
            .greeted
            .is_none_or(|greeted| now.since(greeted.at) >= AGENT_STALE);
        // A stamp that is fresh beside a stale greeting: the way from the agent to this steward, not the agent.
        let stamp_stale = seen.any(|seen| now.since(seen.at) < AGENT_STALE && seen.agent >= AGENT_STALE);
        self.parting.as_ref().is_some_and(overdue) || greeting_stale && stamp_stale
    }

    /// The kernel answers, and something else of the host is not as it should be.
    pub(super) fn is_degraded(&self, now: Instant) -> bool {
        self.health() & (health::KUBELET_DOWN | health::KEY_LOST) != 0 || self.is_agent_down(now)
    }

    /// What is known to be wrong now. Its agent alone knows of its kubelet and key: an old word, or that of an agent which
    /// is down itself, is none.
    pub(super) fn causes(&self, now: Instant) -> Causes {
        if self.is_agent_down(now) {
            return Causes::NONE.with(Cause::Agent);
        }
        let word = self.word().filter(|(at, _)| now.since(*at) < AGENT_STALE);
        let bits = word.map_or(0, |(_, bits)| bits);
        let told = [
            (health::KUBELET_DOWN, Cause::Kubelet),
            (health::KEY_LOST, Cause::Key),
        ];
        let told = told.into_iter().filter(|(bit, _)| bits & bit != 0);
        told.map(|(_, cause)| cause).collect()
    }
}
