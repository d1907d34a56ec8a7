//! The numbers of the protocol: each once, with its reason.
//!
//! W (the window) sets safety and speed; the rate of probes sets only the cost. What differs between networks is in
//! [`Profile`]; what does not is a constant.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Observers of each subject where there are enough members: five of eight outvote three bad ones, and the loss of
/// one rack under the domain cap.
pub const OBSERVERS: usize = 8;

/// Every subject is asked once in this time, by one of its observers in turn.
pub const SLOT: Duration = ms(20);

/// From the first loss until an echo, an observer asks this often: twelve losses in W of `lan`.
pub const PROBE_INTERVAL: Duration = ms(10);

/// The same where there are at most [`FEW_OBSERVERS`]: fewer voices must speak more often to reach [`EVIDENCE`] in
/// time on a lossy link.
pub const PROBE_INTERVAL_FEW: Duration = ms(5);

/// See [`PROBE_INTERVAL_FEW`].
pub const FEW_OBSERVERS: usize = 4;

/// The shortest retransmission timeout: kernel echoes stay below 1 ms also under load, and 5 ms leaves room for one
/// queue on the way.
pub const TIMEOUT_FLOOR: Duration = ms(5);

/// The longest is this part of W: a slower answer could not be told from loss within the window.
pub const TIMEOUT_CAP_DIVISOR: u32 = 4;

/// Losses in a row after which the other observers and the stewards are told: one is noise, the second is worth
/// eight packets.
pub const HINT_LOSSES: u32 = 2;

/// A hint is repeated this often while losses go on: it may be lost like everything else.
pub const HINT_INTERVAL: Duration = ms(20);

/// An observer that was hinted, or has a loss, reports at least this often.
pub const REPORT_INTERVAL: Duration = ms(20);

/// An observer goes on reporting this long after its last loss or hint: the stewards hear of the recovery five times.
pub const REPORT_TAIL: Duration = ms(100);

/// Unbroken dense probing, reports and hints of one suspicion last this long: past the second look and the looks after
/// the deletes.
pub const DENSE_TIME: Duration = ms(30_000);

/// Then an observer rests from it this long at a time, and asks at its slots only, lest a machine that was switched
/// off for a week costs its observers more than all their other subjects.
pub const DENSE_REST: Duration = ms(5_000);

/// Between two rests the suspicion runs again from nothing for this time: eight windows of `lan`. So what was held
/// back is judged again, by fresh evidence only.
pub const DENSE_AGAIN: Duration = ms(1_000);

/// Looks at one subject that wait for their probe's fate: one of each steward, and one to spare. The oldest gives way.
pub const MAX_LOOKS: usize = 4;

/// Silence in a report expires after this time without a fresh one: two reports may be lost. What was heard never
/// expires.
pub const REPORT_EXPIRY: Duration = ms(50);

/// Losses that each of the H observers must have itself: two are an accident of one queue.
pub const MIN_LOSSES: usize = 3;

/// Σ losses·ln(1/q̂) of the evidence: e^−35 is below 1e-15 for one window, below 1e-9 a node-hour for every window
/// that can start.
pub const EVIDENCE: f64 = 35.0;

/// Estimated loss of a perfect link: what was not seen in 2 s may still be there.
pub const LOSS_FLOOR: f64 = 0.02;

/// Estimated loss of a link that was never measured: doubt makes a verdict slower, never faster.
pub const LOSS_UNKNOWN: f64 = 0.5;

/// Losses later than this after the newest echo are an outage's, and say nothing of the link: else a short return from it
/// would leave a link on which no silence weighs enough.
pub const OUTAGE: Duration = ms(500);

/// The loss estimate is the mean over this time, frozen at the first loss of a suspicion.
pub const LOSS_MEMORY: Duration = ms(2_000);

/// An observer whose own tick came later than this is not able, and forgets its losses: it may be the one that stood
/// still.
pub const LATE_TICK: Duration = SLOT;

/// Each agent greets every steward this often, and stewards greet each other.
pub const GREETING: Duration = ms(1_000);

/// A steward that has heard less than half of the known members in this time is itself the minority.
pub const MAJORITY_WINDOW: Duration = ms(2_000);

/// It repeats that as long as nobody asks: twice in the time for which it is believed.
pub const UNHEARD_REPEAT: Duration = ms(2_000);

/// The agent's stamp in the kernel's map is refreshed this often: the echoes carry its age.
pub const STAMP_INTERVAL: Duration = ms(100);

/// A subject that no observer's probe has reached for this part of W tells the API that it lives; but not before the
/// turns of as many observers as may be gone are over.
pub const UNHEARD_DIVISOR: u32 = 2;

/// ...but never after less than this: where one observer is dead, two slots without a probe are as it should be, and the
/// next observer's tick may be late by two more.
pub const UNHEARD_MIN: Duration = SLOT.saturating_mul(4);

/// The next steward acts when the ledger has made no progress for this time past a step's due time.
pub const TAKEOVER: Duration = ms(40);

/// More than one member in this many silent at once, each to two observers or more: a fault of the network or of
/// ourselves.
pub const STORM_DIVISOR: usize = 3;

/// Rounds of all observers hearing the subject before it counts as returned, the first time.
pub const RETURN_ROUNDS: u32 = 50;

/// The return hold doubles with each flap within half an hour, up to this factor.
pub const RETURN_HOLD_MAX_FACTOR: u32 = 64;

/// How long the longest silence of a boot is remembered for the second look, and flaps for the return hold.
pub const FLAP_MEMORY: Duration = ms(30 * 60 * 1_000);

/// The second look waits this many times the longest remembered silence...
pub const SECOND_LOOK_FACTOR: u32 = 5;

/// ...but never longer than this.
pub const SECOND_LOOK_MAX: Duration = ms(10_000);

/// A delete leaves within this time of a fresh look, or another look is taken.
pub const FRESH_LOOK: Duration = ms(250);

/// After a goodbye that announced a reboot the deletes wait this long from the goodbye.
pub const REBOOT_GRACE: Duration = ms(120_000);

/// When the slices, as their watch shows them, are looked at again after they were patched. The EndpointSlice controller
/// recomputes a slice at the first mark, from pods that have none yet: close looks until all are marked. It does so again
/// 1 s after somebody else changed it.
pub const SLICE_LOOKS: [Duration; 6] = [ms(40), ms(80), ms(150), ms(300), ms(900), ms(2_000)];

/// When the pods are listed again after the deletes: some are bound late.
pub const LATE_PODS: [Duration; 2] = [ms(1_000), ms(5_000)];

/// One try of a write. An API server behind the service address may have died with the node.
pub const WRITE_TIMEOUT: Duration = ms(500);

/// How long the least delay of a peer's messages is remembered: longer than any queue of ours, shorter than what
/// drift makes of it.
pub const OFFSET_WINDOW: Duration = ms(10_000);

/// Two clocks drift apart by at most this: NTP slews each by 500 ppm.
pub const CLOCK_DRIFT_PPM: u64 = 1_000;

/// The bound that a round trip puts on a peer's clock is renewed after this time: drift has made 2 ms of it.
pub const ROUND_TRIP_RENEWAL: Duration = ms(2_000);

/// An unanswered ping is repeated this often while a verdict may wait for it: at 30 % loss each way all of ten
/// observers have answered within ten.
pub const PING_INTERVAL: Duration = ms(10);

/// Otherwise each member is pinged this often, so that a suspicion finds a bound that drift has widened by 10 ms at
/// most.
pub const PING_IDLE: Duration = ms(10_000);

/// A look asks again, whoever has not answered, after this part of W: an answer takes the fate of one probe, and a dozen
/// questions reach everybody who loses half of them or of their answers.
pub const LOOK_REPEAT_DIVISOR: u32 = 4;

/// A look without the answers it needs ends after so many W, with "not dead": an observer that gave the subject a rest
/// needs one to answer, and gives up after two.
pub const LOOK_WINDOWS: u32 = 3;

/// A verdict that lacks nothing but an observer's word waits for it as long as that observer is heard at all: it may hear
/// the subject, and its reports may be what is lost. After a silence of so many half W it is asked; by then the reports
/// of all who ask by themselves are there.
pub const ASK_HALF_WINDOWS: u32 = 3;

/// One observer's own silence is told as `Partial` from so many W on: after one W the verdict may still be `Dead`.
pub const PARTIAL_WINDOWS: u32 = 2;

/// `Partial` goes this long after its last cause: no flapping while an observer rests from a long silence, or its
/// reports are lost.
pub const PARTIAL_LINGER: Duration = ms(8_000);

/// A steward that has just begun waits this long for the word of observers that it never heard, and a verdict for one
/// that never spoke of the subject: agents learn of a new steward by a watch, and greet it within seconds.
pub const ACQUAINTANCE: Duration = ms(10_000);

/// An agent whose socket echoes is silent so long while it starts again after a crash: the second look, five times as
/// long after the verdict, sees it back.
pub const SOCKET_RESTART: Duration = ms(2_000);

/// What the subject says through the API holds this long; it says so again while it is unheard. It ends W after, if the
/// subject was heard by then.
pub const SAYS_ALIVE: Duration = ms(5_000);

/// The agent stamp (refreshed each 100 ms), or the greeting (each second), is stale after this time: two greetings may
/// be lost, and a busy node's agent may wait.
pub const AGENT_STALE: Duration = ms(3_000);

/// A degraded host that can start no pod is kept from new ones after this time without a break: a kubelet is back from a
/// restart or an upgrade by then, and stock Kubernetes notices that it is gone after 40 s.
pub const DEGRADED_TAINT_AFTER: Duration = ms(10_000);

/// And let have them again after this time: a kubelet that crashes in a loop answers for some seconds each time, and a
/// moment of `Partial` says nothing of it ([`PARTIAL_LINGER`]). Two stewards that differ write no more often either.
pub const DEGRADED_UNTAINT_AFTER: Duration = ms(10_000);

/// How often the steward looks at itself (does it hear the majority?) and at a tenth of the members (is anything
/// stale?).
pub const SWEEP: Duration = ms(100);

/// Sweeps until each member was looked at.
pub const SWEEP_PARTS: usize = 10;

/// How fast a silence is believed, and how long the irreversible waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// W: the losses of all observers span at least this, from first to last.
    pub window: Duration,
    /// From the verdict to the second look, at least.
    pub delete_after: Duration,
}

impl Profile {
    /// One data centre: bursts of loss up to 20 ms are rare, pauses of 100 ms are seen once a day.
    pub const LAN: Self = Self {
        window: ms(120),
        delete_after: ms(1_000),
    };

    /// Machines and switches of one's own, without live migration.
    pub const FAST: Self = Self {
        window: ms(60),
        delete_after: ms(300),
    };

    /// By its name in configuration.
    ///
    /// # Errors
    /// Names the value and what is allowed.
    pub fn named(name: &str) -> Result<Self, String> {
        match name {
            "lan" => Ok(Self::LAN),
            "fast" => Ok(Self::FAST),
            _ => Err(format!("profile: {name:?} is unknown; allowed: lan, fast")),
        }
    }

    /// The longest retransmission timeout.
    #[must_use]
    pub fn timeout_cap(&self) -> Duration {
        self.window / TIMEOUT_CAP_DIVISOR
    }

    /// Bound into every report: an observer with other numbers is not counted.
    #[must_use]
    pub fn config_hash(&self) -> u64 {
        let digest = Sha256::new()
            .chain_update("node-failure-detector profile 1")
            .chain_update(self.window.as_nanos().to_be_bytes())
            .chain_update(SLOT.as_nanos().to_be_bytes())
            .finalize();
        digest
            .iter()
            .take(8)
            .fold(0, |word, byte| (word << 8) | u64::from(*byte))
    }
}

/// The quorum among `k` observers: more than half.
#[must_use]
pub const fn quorum(k: usize) -> usize {
    k / 2 + 1
}

/// How often an observer of a subject with `k` observers asks from the first loss on.
#[must_use]
pub const fn probe_interval(k: usize) -> Duration {
    if k <= FEW_OBSERVERS {
        PROBE_INTERVAL_FEW
    } else {
        PROBE_INTERVAL
    }
}
