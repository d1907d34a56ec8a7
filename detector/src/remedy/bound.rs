//! How many nodes may bear our taint of the degraded at once.
//!
//! Where one kubelet is down, the taint spares new pods the 40 s until stock Kubernetes notices. Where many are down at
//! once, what they have in common is likelier broken than they are: a release, or the address at which agents ask them
//! all. A taint on each would then make of it a cluster in which nothing can be scheduled, and nothing at all but our own
//! mistake might be wrong with it. So beyond a third nobody is tainted any more, as no verdict is given in a storm; and
//! below it a tenth of the nodes bears the taint, and a tenth of each zone, one at least of either. Whoever is over that
//! has what stock Kubernetes does.
//!
//! What is counted stands on the Nodes, as the watch shows them: no entry of the ledger. The taint costs no pod, any
//! steward takes it off again, and they write it in turns of two seconds. Three stewards whose watches stand still, each
//! counting but its own, put it on three tenths at most, and never beyond the third.

use std::collections::BTreeMap;

use crate::judgement::Hold;
use crate::profile::STORM_DIVISOR;
use crate::remedy::budget::limit;

/// The counts. Nodes of the control plane are in none of them, as no pod waits for those; nor are the dead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    nodes: usize,
    zones: BTreeMap<String, usize>,
    degraded: usize,
    tainted: usize,
    tainted_in: BTreeMap<String, usize>,
}

impl Bound {
    /// One more node, in this zone.
    pub fn add_node(&mut self, zone: &str) {
        self.nodes += 1;
        *self.zones.entry(zone.to_owned()).or_default() += 1;
    }

    /// It can start no pod, or bears the taint.
    pub const fn add_degraded(&mut self) {
        self.degraded += 1;
    }

    /// It bears the taint, or is about to.
    pub fn add_tainted(&mut self, zone: &str) {
        self.tainted += 1;
        *self.tainted_in.entry(zone.to_owned()).or_default() += 1;
    }

    /// What keeps one more of the degraded, in this zone, from the taint.
    #[must_use]
    pub fn hold(&self, zone: &str) -> Option<Hold> {
        let in_zone = |counts: &BTreeMap<String, usize>| counts.get(zone).copied().unwrap_or(0);
        if self.degraded * STORM_DIVISOR > self.nodes {
            Some(Hold::Storm)
        } else if self.tainted >= limit(self.nodes)
            || in_zone(&self.tainted_in) >= limit(in_zone(&self.zones))
        {
            Some(Hold::Budget)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(zones: &[(&str, usize)], degraded: usize, tainted: &[&str]) -> Bound {
        let mut bound = Bound::default();
        for &(zone, nodes) in zones {
            (0..nodes).for_each(|_| bound.add_node(zone));
        }
        (0..degraded).for_each(|_| bound.add_degraded());
        tainted.iter().for_each(|zone| bound.add_tainted(zone));
        bound
    }

    #[test]
    fn a_tenth_but_one_at_least() {
        assert_eq!(bound(&[("", 9)], 1, &[]).hold(""), None);
        assert_eq!(bound(&[("", 9)], 2, &[""]).hold(""), Some(Hold::Budget));
        assert_eq!(bound(&[("", 30)], 3, &["", ""]).hold(""), None);
        assert_eq!(bound(&[("", 30)], 4, &["", "", ""]).hold(""), Some(Hold::Budget));
    }

    #[test]
    fn nobody_beyond_a_third() {
        assert_eq!(bound(&[("", 9)], 3, &[]).hold(""), None);
        assert_eq!(bound(&[("", 9)], 4, &[]).hold(""), Some(Hold::Storm));
        assert_eq!(bound(&[("", 3)], 1, &[]).hold(""), None);
        assert_eq!(
            bound(&[("", 2)], 1, &[]).hold(""),
            Some(Hold::Storm),
            "half of all"
        );
        assert_eq!(bound(&[("", 1)], 1, &[]).hold(""), Some(Hold::Storm));
    }

    #[test]
    fn a_zone_may_not_use_the_whole_of_it() {
        let zones = [("a", 10), ("b", 20)];
        let one = bound(&zones, 4, &["a"]);
        assert_eq!(one.hold("a"), Some(Hold::Budget), "one of ten is the share of a");
        assert_eq!(one.hold("b"), None);
        let small = [("a", 3), ("b", 3), ("c", 3)];
        assert_eq!(
            bound(&small, 2, &["a"]).hold("b"),
            Some(Hold::Budget),
            "nor all zones more"
        );
    }
}
