//! What happens to a cluster, and when.

use detector::message::Farewell;

use crate::network::{Bursts, End, Rule};
use crate::world::Lateness;

/// One thing that goes wrong, or right again. Hosts by index, times in nanoseconds.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Power off.
    Crash(u32),
    /// Power on: a new boot with a new agent.
    Boot(u32),
    /// The agent says this, and ends when its words are out.
    Goodbye(u32, Farewell),
    /// kill −9 of the agent; the kernel program stays.
    KillAgent(u32),
    /// A new agent on the running kernel, with a new random incarnation.
    StartAgent(u32),
    /// The hypervisor holds the host for this long.
    Pause(u32, u64),
    /// Its softirqs do not run for this long.
    Starve(u32, u64),
    /// A process gets no CPU for this long.
    Stall(End, u64),
    /// From now on its userspace is late like this.
    Lateness(u32, Lateness),
    /// Everything is lost with this probability, each way.
    Loss(f64),
    /// What this host sends, and what is sent to it, is lost with these probabilities.
    HostLoss(u32, f64, f64),
    /// Its uplink fails in bursts; None: no more.
    Bursts(u32, Option<Bursts>),
    /// Its uplink is cut (true) or mended: mesh and API.
    Dark(u32, bool),
    /// A firewall drops what is from or for its mesh port; the API is open.
    MeshClosed(u32, bool),
    /// These hosts are on this side of a partition. The API is on side 0.
    Side(Vec<u32>, u32),
    /// A rule for one direction.
    Rule(u32, u32, Rule),
    /// The API server answers nobody (false), or all again.
    Api(bool),
    /// kill −9 of the steward in this seat.
    KillSteward(usize),
    /// A new steward in this seat, under a new id; everybody learns the roster.
    StartSteward(usize),
    /// What this host's agent takes for the roster: the members on these hosts only.
    Roster(u32, Vec<u32>),
    /// The true roster for everybody.
    TrueRoster,
    /// The kubelet's healthz on this host answers (true) or not.
    Kubelet(u32, bool),
}

/// What befalls a steward right after one of its writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// It is killed.
    Kill,
    /// All stewards are killed.
    KillAll,
    /// Its process gets no CPU for this long.
    Stall(u64),
    /// Its host is held by the hypervisor for this long.
    Pause(u64),
}
