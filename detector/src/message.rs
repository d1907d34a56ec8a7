//! What agents and stewards tell each other inside sealed datagrams: plain data. Times are ages against the sender's
//! clock at sealing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::identity::{BootId, IncidentId, MemberId};

mod codec;

pub use codec::{Malformed, Slot};

/// The losses that one report carries at most: what 640 ms of the usual probing brings, five windows of `lan`.
/// Beyond that the middle is thinned, which can only understate.
pub const MAX_LOSSES: usize = 64;

/// The subjects that one [`Message::Heard`] carries at most: an observer has eight in the mean, and sends as many
/// messages as it takes.
pub const MAX_SIGHTINGS: usize = 16;

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Agent → stewards, steward → stewards, each second and when something changed.
    Greeting(Greeting),
    /// Observer → the subject's other observers and the stewards: two probes were lost.
    Hint(Hint),
    /// Observer → stewards.
    Report(Report),
    /// Observer → stewards, each second: whom it hears.
    Heard(Vec<Sighting>),
    /// Steward → observers: report now, with this nonce.
    Look(Look),
    /// Steward → agent: answer at once, with the same number ([`Message::Pong`]). A round trip alone bounds how late
    /// that agent's messages are, and so what its silence proves ([`crate::offset`]).
    Ping(u64),
    /// Agent → steward that asked, once, and nothing else: the number of the [`Message::Ping`].
    Pong(u64),
    /// Agent → stewards.
    Goodbye(Goodbye),
}

/// I am here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The sender's boot; 0 from a steward.
    pub boot: BootId,
    /// [`crate::profile::Profile::config_hash`].
    pub config: u64,
    /// Hash of the roster the sender works with.
    pub roster: u64,
    /// [`detector_common::packet::health`].
    pub health: u32,
}

/// A suspicion begins, or goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Who is silent.
    pub subject: MemberId,
    /// The boot that was last heard.
    pub boot: BootId,
    /// The suspicion's label; of two the smaller one is kept.
    pub incident: IncidentId,
}

/// Why an observer's silence counts, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Ability {
    /// It counts.
    Able = 0,
    /// Its own tick was late by a slot within the window.
    LateTick = 1,
    /// The link that its probes leave through is down.
    LinkDown = 2,
    /// It never heard this boot of the subject.
    NeverHeard = 3,
    /// More than half of its own subjects are silent.
    MostSilent = 4,
    /// It does not watch this subject by its roster.
    NotObserver = 5,
}

/// Numbers, not an opinion.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Who is asked.
    pub subject: MemberId,
    /// The boot that this speaks of: as last heard.
    pub boot: BootId,
    /// The suspicion's label.
    pub incident: IncidentId,
    /// [`crate::profile::Profile::config_hash`].
    pub config: u64,
    /// The look that this answers; 0: none.
    pub nonce: u64,
    /// Whether its silence counts.
    pub ability: Ability,
    /// Since the sending of the newest probe whose echo came with this boot; None: never.
    pub echo: Option<Duration>,
    /// Since the newest authentic sign of any kind (its probes, its messages); None: never.
    pub sign: Option<Duration>,
    /// Loss estimate of the slot probes, 0 to 1.
    pub loss: f64,
    /// Sendings of the lost probes since that echo that count, oldest first: ages.
    pub losses: Vec<Duration>,
}

/// One subject whose echoes come. Without it the stewards could not tell `Alive` from `Unknown`, as a healthy
/// subject is in no report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Who answers.
    pub subject: MemberId,
    /// The boot in the newest echo.
    pub boot: BootId,
    /// Since the sending of the newest echoed probe.
    pub echo: Duration,
    /// The age of its agent's stamp in that echo.
    pub agent: Duration,
    /// [`detector_common::packet::health`] in that echo.
    pub health: u32,
}

/// A fresh look. The answer is a [`Report`] with this nonce to this steward alone, as soon as the fate of a probe sent
/// after the question is known. Nonces are kept a steward: three may ask at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// At whom.
    pub subject: MemberId,
    /// The boot that is asked about; another one is answered with what is known of that.
    pub boot: BootId,
    /// Random, never 0: proves that the answer is younger than the question.
    pub nonce: u64,
}

/// Why an agent goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// The host powers off or halts.
    PowerOff,
    /// The host reboots (also by kexec).
    Reboot,
    /// Only the agent restarts: another one within this time.
    Restart {
        /// After it, without a greeting, the node is `Degraded`.
        ttl: Duration,
    },
    /// The agent was removed from this node.
    Left,
}

/// A sealed farewell: the last words of an agent, never of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goodbye {
    /// The boot that ends, or loses its agent.
    pub boot: BootId,
    /// Why.
    pub farewell: Farewell,
}
