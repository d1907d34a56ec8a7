//! How much may be condemned at once: never latched, counted anew from the ledger each time.

use std::collections::BTreeMap;

use crate::remedy::ledger::{Entry, Progress};

/// One node in this many in progress at once.
const SHARE: usize = 10;

/// The nodes that shares are taken of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Known members.
    pub members: usize,
    /// Of them in each failure domain.
    pub zones: BTreeMap<String, usize>,
}

/// max(1, 10 %).
#[must_use]
pub const fn limit(nodes: usize) -> usize {
    let share = nodes / SHARE;
    if share == 0 { 1 } else { share }
}

/// Whether an entry uses the budget: until the looks after the deletes are done. One that only leaves has lost
/// nothing yet, and one that waits for an announced reboot must not keep the budget from a real death for minutes.
#[must_use]
pub fn counts(entry: &Entry) -> bool {
    !entry.waits
        && match entry.progress {
            Progress::Leaving | Progress::Done | Progress::Revoked => false,
            Progress::Condemned | Progress::Tainted | Progress::Marked | Progress::Deleted => true,
        }
}

/// Whether one more in this zone is within the budget of all and of the zone. `entries`: without the one in question.
#[must_use]
pub fn allows<'a>(size: &Size, zone: &str, entries: impl Iterator<Item = &'a Entry>) -> bool {
    let (mut all, mut in_zone) = (0, 0);
    for entry in entries.filter(|entry| counts(entry)) {
        all += 1;
        in_zone += usize::from(entry.zone == zone);
    }
    let nodes_in_zone = size.zones.get(zone).copied().unwrap_or(0);
    all < limit(size.members) && in_zone < limit(nodes_in_zone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{BootId, IncidentId, MemberId};

    fn entry(subject: u64, zone: &str, progress: Progress) -> Entry {
        Entry {
            subject: MemberId(subject),
            node: String::new(),
            uid: String::new(),
            zone: zone.into(),
            boot: BootId(1),
            incident: IncidentId(1),
            steward: MemberId(9),
            progress,
            reboot: false,
            waits: false,
            verdict_ms: 0,
        }
    }

    fn size(zones: &[(&str, usize)]) -> Size {
        Size {
            members: zones.iter().map(|(_, nodes)| nodes).sum(),
            zones: zones
                .iter()
                .map(|&(zone, nodes)| (zone.to_owned(), nodes))
                .collect(),
        }
    }

    #[test]
    fn a_tenth_but_one_at_least() {
        assert_eq!([0, 1, 9, 10, 19, 20, 5_000].map(limit), [1, 1, 1, 1, 1, 2, 500]);
    }

    #[test]
    fn one_at_a_time_in_a_small_cluster() {
        let size = size(&[("", 9)]);
        assert!(allows(&size, "", [].iter()));
        for (progress, allowed) in [
            (Progress::Leaving, true),
            (Progress::Condemned, false),
            (Progress::Tainted, false),
            (Progress::Marked, false),
            (Progress::Deleted, false),
            (Progress::Done, true),
            (Progress::Revoked, true),
        ] {
            assert_eq!(
                allows(&size, "", [entry(1, "", progress)].iter()),
                allowed,
                "{progress:?}"
            );
        }
        let mut waits = entry(1, "", Progress::Marked);
        waits.waits = true;
        assert!(
            allows(&size, "", [waits].iter()),
            "an announced reboot holds nobody up"
        );
    }

    #[test]
    fn a_zone_may_not_use_the_whole_budget() {
        let size = size(&[("a", 20), ("b", 40)]);
        let two = [entry(1, "a", Progress::Tainted), entry(2, "a", Progress::Marked)];
        assert!(
            !allows(&size, "a", two.iter()),
            "two of twenty are the share of a"
        );
        assert!(allows(&size, "b", two.iter()), "b has its own");
        let six: Vec<Entry> = (0..6).map(|i| entry(i, "b", Progress::Condemned)).collect();
        assert!(!allows(&size, "a", six.iter()), "six of sixty are everybody's");
    }
}
