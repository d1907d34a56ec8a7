//! What the judge tells the remedy: verdicts and their evidence, across the channel between the real-time thread and
//! tokio.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::identity::{BootId, IncidentId, MemberId};
use crate::message::Farewell;
use crate::time::Instant;

/// The verdicts of the design. The order is their precedence where two hold at once: the later one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Verdict {
    /// H observers have not (yet) heard this boot.
    Unknown,
    /// Echoes.
    Alive,
    /// The kernel answers; agent, kubelet or runtime do not.
    Degraded,
    /// The agent is gone by its own word.
    Away,
    /// Some hear it, some do not, or it says through the API that it lives.
    Partial,
    /// The host shuts down by its own word.
    Leaving,
    /// Silence, by the rule.
    Dead,
}

/// What a verdict of `Dead` or `Partial` rests on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Observers of the subject.
    pub observers: usize,
    /// H.
    pub quorum: usize,
    /// Able observers that were silent, each with at least [`crate::profile::MIN_LOSSES`].
    pub silent: usize,
    /// Observers that are not able.
    pub unable: usize,
    /// Losses counted after the newest echo of anybody.
    pub losses: usize,
    /// From the first of them to the last, in µs.
    pub span_us: u64,
    /// Σ losses·ln(1/q̂).
    pub weight: f64,
    /// Sending of the newest probe that anybody saw echoed, before the judgement, in µs; None: never heard.
    pub last_echo_us: Option<u64>,
    /// Sending of the first counted loss, before the judgement, in µs.
    pub first_loss_us: Option<u64>,
}

/// Why a verdict that the evidence would allow is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// More than a third of the members suspected at once.
    Storm,
    /// This steward hears less than half of the members.
    Minority,
    /// This steward's own tick was late.
    LateTick,
    /// One observer cannot condemn: two nodes.
    TooFewObservers,
    /// As many as allowed are in progress: it waits for its turn.
    Budget,
    /// Control plane: alarm only.
    ControlPlane,
    /// It opted out, or somebody else is at work on it.
    OptedOut,
    /// It carries the steward that would act.
    OwnNode,
    /// The ledger cannot be read.
    Ledger,
}

/// One subject's judgement.
#[derive(Clone, Debug, PartialEq)]
pub enum Judgement {
    /// Suspected (W/2 and half the evidence): fetch what a remediation needs.
    EarlyWarning {
        /// Who.
        subject: MemberId,
        /// Which boot.
        boot: BootId,
        /// Label.
        incident: IncidentId,
        /// When, by this steward's clock.
        at: Instant,
    },
    /// The verdict changed.
    Changed {
        /// About whom.
        subject: MemberId,
        /// About which boot; a new boot id is a verdict of its own, and proves that the old pods died.
        boot: BootId,
        /// Label; None where there is no suspicion.
        incident: Option<IncidentId>,
        /// What holds now.
        verdict: Verdict,
        /// Why.
        evidence: Evidence,
        /// By its own word, with `Leaving` and `Away`.
        farewell: Option<Farewell>,
        /// The longest silence from which this boot came back in [`crate::profile::FLAP_MEMORY`].
        longest_silence: Duration,
        /// When, by this steward's clock.
        at: Instant,
    },
    /// A verdict of `Dead` is held back, or a hold ended (`None`).
    Held {
        /// About whom; None: about all.
        subject: Option<MemberId>,
        /// Why.
        hold: Option<Hold>,
        /// When.
        at: Instant,
    },
    /// The answer to [`Ask::Look`].
    Looked {
        /// At whom.
        subject: MemberId,
        /// The boot looked at.
        boot: BootId,
        /// Of which look.
        nonce: u64,
        /// Whether H able observers, each asked with this nonce, still find it silent by the rule.
        dead: bool,
        /// What they said.
        evidence: Evidence,
        /// When the last needed answer came.
        at: Instant,
    },
    /// All observers have heard the subject for one more round of [`crate::profile::RETURN_ROUNDS`].
    Good {
        /// Who.
        subject: MemberId,
        /// Which boot.
        boot: BootId,
        /// Consecutive good rounds (one a slot period of all observers).
        rounds: u32,
        /// When.
        at: Instant,
    },
}

/// What the remedy asks of the judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A new, nonced round of reports.
    Look {
        /// At whom.
        subject: MemberId,
        /// The condemned boot.
        boot: BootId,
        /// Random, never 0.
        nonce: u64,
    },
    /// The ledger's condemned members: left out of both counts of the storm guard.
    Condemned(Vec<MemberId>),
    /// The subject says through the API that this boot lives: at most `Partial` for the time given.
    SaysAlive {
        /// Who.
        subject: MemberId,
        /// Which boot.
        boot: BootId,
    },
}
