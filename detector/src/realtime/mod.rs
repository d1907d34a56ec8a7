//! IO: what runs on the SCHED_FIFO thread: probes, reports and verdicts, with no lock shared with tokio.

pub mod mailbox;
pub mod socket;
pub mod thread;
pub mod wait;
