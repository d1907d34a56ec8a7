//! Which steward acts, without an election: all know the same order, and the next one goes on where the ledger stands
//! still.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::identity::MemberId;
use crate::profile::{LATE_PODS, TAKEOVER, WRITE_TIMEOUT};
use crate::remedy::ledger::Progress;
use crate::roster::StewardEntry;
use crate::time::Instant;

/// The place of `own` in the order: the roster's, those on suspected nodes last. A steward that the roster does not
/// know is behind everybody.
#[must_use]
pub fn rank(own: MemberId, stewards: &[StewardEntry], suspected: &BTreeSet<&str>) -> u32 {
    let place = |entry: &&StewardEntry| suspected.contains(entry.node.as_str());
    let (last, first): (Vec<_>, Vec<_>) = stewards.iter().partition(place);
    let rank = first.iter().chain(&last).position(|entry| entry.id == own);
    u32::try_from(rank.unwrap_or(stewards.len())).unwrap_or(u32::MAX)
}

/// When a steward of this rank goes on with what was due at `due`.
#[must_use]
pub fn turn(due: Instant, rank: u32) -> Instant {
    due + TAKEOVER * rank
}

/// When the step after `progress` should be done, where the ledger last moved at `since` and the deletes may begin at
/// `deletes`. A takeover too many is harmless, as every write is idempotent, but doubles the load of a slow API: so
/// each step has the time that it takes on a machine with two cores.
#[must_use]
pub fn due(progress: Progress, since: Instant, deletes: Instant) -> Instant {
    match progress {
        // One write, and the ledger's: 15 ms.
        Progress::Leaving | Progress::Condemned => since + TAKEOVER,
        // A hundred marks, sixteen at a time: 250 ms; the slices are not ready since the step before.
        Progress::Tainted => since + WRITE_TIMEOUT,
        // A look and a hundred deletes.
        Progress::Marked => since.max(deletes) + WRITE_TIMEOUT,
        // The last list, and what it finds.
        Progress::Deleted => since + last_look() + WRITE_TIMEOUT * 4,
        Progress::Done | Progress::Revoked => Instant::NEVER,
    }
}

fn last_look() -> Duration {
    LATE_PODS.into_iter().max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::PublicKey;

    fn stewards() -> Vec<StewardEntry> {
        [(1, "a"), (2, "b"), (3, "c")]
            .into_iter()
            .map(|(id, node)| StewardEntry {
                id: MemberId(id),
                node: node.into(),
                address: ([127, 0, 0, 1], 1).into(),
                key: PublicKey([0; 32]),
            })
            .collect()
    }

    fn ranks(suspected: &[&str]) -> [u32; 4] {
        let suspected = suspected.iter().copied().collect();
        [1, 2, 3, 4].map(|id| rank(MemberId(id), &stewards(), &suspected))
    }

    #[test]
    fn the_rosters_order_suspected_ones_last_strangers_behind() {
        assert_eq!(ranks(&[]), [0, 1, 2, 3]);
        assert_eq!(ranks(&["a"]), [2, 0, 1, 3]);
        assert_eq!(ranks(&["a", "b"]), [1, 2, 0, 3]);
        assert_eq!(ranks(&["a", "b", "c"]), [0, 1, 2, 3]);
    }

    #[test]
    fn turns_are_forty_milliseconds_apart() {
        let due = Instant(1_000_000_000);
        assert_eq!(turn(due, 0), due);
        assert_eq!(turn(due, 2) - turn(due, 1), Duration::from_millis(40));
    }

    #[test]
    fn deletes_are_not_due_before_the_second_look() {
        let (since, deletes) = (Instant(1_000), Instant(1_000_000_000));
        assert!(due(Progress::Marked, since, deletes) > deletes);
        assert!(due(Progress::Tainted, since, deletes) < deletes);
        assert_eq!(due(Progress::Done, since, deletes), Instant::NEVER);
    }
}
