//! IO: what runs on the SCHED_FIFO thread: probes, reports and verdicts, with no lock shared with tokio.

pub mod agent;
pub mod mailbox;
pub mod socket;
pub mod steward;
pub mod thread;
pub mod wait;

/// Datagrams handled before the machine gets its turn again: a flood delays a probe by less than a millisecond.
const BATCH: usize = 64;

/// The largest datagram that is looked at: a control message has at most 1,200 bytes.
const MAX_DATAGRAM: usize = 2_048;
