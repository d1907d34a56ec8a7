//! The stewards' incident records, from the hosts' disks.

use anyhow::Result;
use detector::incident::Entry;

use crate::control::State;
use crate::incidents::Incidents;
use crate::lab::Lab;
use crate::moment::Moment;

/// Where a host keeps what its steward wrote.
const INCIDENTS: &str = "lib/node-failure-detector-steward/incidents.jsonl";

/// Everything that any steward recorded since a moment, by time: all hosts of a lab share the kernel's clock.
///
/// # Errors
/// When a record is not one.
pub fn incidents(lab: &Lab, state: &State, since: Moment) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for host in &state.hosts {
        let path = lab.layout().disk(&host.name).join(INCIDENTS);
        entries.extend(Incidents::new(path).poll()?);
    }
    entries.retain(|entry| entry.at_us >= since.monotonic_ns / 1_000);
    entries.sort_by_key(|entry| entry.at_us);
    Ok(entries)
}
