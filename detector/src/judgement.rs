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
    /// The kernel answers, and something else of the host is not as it should be: see [`Cause`].
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

/// What is wrong with a host whose kernel answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Its agent is down: the stamp is stale, or it has not come back from the restart that it announced.
    Agent,
    /// Its kubelet is down, by the word of its agent.
    Kubelet,
    /// The file of the host's key was gone when its agent looked last: nothing is lost yet, and an operator should know.
    Key,
}

impl Cause {
    const ALL: [Self; 3] = [Self::Agent, Self::Kubelet, Self::Key];

    const fn bit(self) -> u8 {
        match self {
            Self::Agent => 1,
            Self::Kubelet => 2,
            Self::Key => 4,
        }
    }

    /// Whether no pod can start on such a host.
    const fn starts_no_pod(self) -> bool {
        match self {
            Self::Agent | Self::Key => false,
            Self::Kubelet => true,
        }
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Agent => "the agent is down",
            Self::Kubelet => "the kubelet is down",
            Self::Key => "the file of the host's key was gone",
        })
    }
}

/// Why a host is `Degraded`: a set of [`Cause`]s. Written as a list.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<Cause>", from = "Vec<Cause>")]
pub struct Causes(u8);

impl Causes {
    /// No cause.
    pub const NONE: Self = Self(0);

    /// These and one more.
    #[must_use]
    pub const fn with(self, cause: Cause) -> Self {
        Self(self.0 | cause.bit())
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0 == 0
    }

    /// Each of them, in the order of [`Cause`].
    pub fn iter(self) -> impl Iterator<Item = Cause> {
        Cause::ALL
            .into_iter()
            .filter(move |cause| self.0 & cause.bit() != 0)
    }

    /// Whether no pod can start there.
    #[must_use]
    pub fn starts_no_pod(self) -> bool {
        self.iter().any(Cause::starts_no_pod)
    }
}

impl FromIterator<Cause> for Causes {
    fn from_iter<I: IntoIterator<Item = Cause>>(causes: I) -> Self {
        causes.into_iter().fold(Self::NONE, Self::with)
    }
}

impl From<Vec<Cause>> for Causes {
    fn from(causes: Vec<Cause>) -> Self {
        causes.into_iter().collect()
    }
}

impl From<Causes> for Vec<Cause> {
    fn from(causes: Causes) -> Self {
        causes.iter().collect()
    }
}

impl std::fmt::Debug for Causes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
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
    /// More than a third of the members suspected at once, or degraded.
    Storm,
    /// This steward hears less than half of the members.
    Minority,
    /// This steward's own tick was late.
    LateTick,
    /// One observer cannot condemn: two nodes.
    TooFewObservers,
    /// As many as allowed are in progress, or tainted: it waits for its turn.
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
        /// With `Degraded`: what is wrong. Empty where nobody has said so for [`crate::profile::AGENT_STALE`], and with
        /// every other verdict.
        causes: Causes,
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::{Cause, Causes};

    #[test]
    fn causes_are_written_as_a_list_of_words() {
        let both = Causes::NONE.with(Cause::Kubelet).with(Cause::Agent);
        let text = serde_json::to_string(&both).unwrap();
        assert_eq!(text, r#"["agent","kubelet"]"#);
        assert_eq!(serde_json::from_str::<Causes>(&text).unwrap(), both);
        assert!(serde_json::from_str::<Causes>(r#"["runtime"]"#).is_err());
        assert_eq!(serde_json::to_string(&Causes::NONE).unwrap(), "[]");
    }

    #[test]
    fn no_pod_starts_without_a_kubelet() {
        let starts_no_pod = |cause| Causes::NONE.with(cause).starts_no_pod();
        assert!(starts_no_pod(Cause::Kubelet) && !starts_no_pod(Cause::Agent));
        assert!(!Causes::NONE.starts_no_pod());
    }
}
