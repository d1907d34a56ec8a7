//! Who watches whom: k hash rings, an expander as in Rapid (Suresh et al., 2018).
//!
//! On ring i all members stand in the order of a hash of i and their id, so every node with the same roster comes to
//! the same answer. A subject's candidates are its successors, nearest first and ring by ring; it takes the first k
//! distinct ones of which at most k−H are in one failure domain, so that the loss of a domain leaves a quorum.
//! Where too few domains are near, the cap goes up by one, and again: half with two domains, none with one. There is
//! no threshold in the number or the sizes of the domains at which all would change at once.
//!
//! Where a domain is so small that its few members would have to watch everybody, the cap yields instead: the cost of
//! a member must not grow with the cluster, nor may one join or leave move hundreds of pairs.

use std::collections::{BTreeMap, BTreeSet};

use detector_common::siphash::{Key, siphash24};

use crate::identity::MemberId;
use crate::profile::{OBSERVERS, quorum};
use crate::roster::Roster;

/// With this many members everybody observes everybody.
const COMPLETE: usize = OBSERVERS + 1;

/// Members of one domain among a subject's observers, at first: the others are then a quorum by themselves.
const DOMAIN_CAP: usize = OBSERVERS - quorum(OBSERVERS);

/// How far on each ring a cap makes the walk go on: 48 candidates leave three equal domains without two of each with
/// a probability below 1e-7.
const REACH: usize = 6;

/// A domain with at least one part in this many of the members is walked to as far as [`REACH`]; a smaller one less
/// far, in proportion, so that its members watch at most about 3k subjects.
const FULL_SHARE: usize = 3;

/// The reach of a member is counted in these parts, so that it grows for one member of a domain after the other and
/// not for all at once.
const PARTS: usize = 256;

/// Any constant will do, as nobody gains by a place on a ring; another one would be another graph on every node.
const RING_KEY: Key = Key {
    k0: 0x6e6f_6465_2d66_6169,
    k1: 0x6c75_7265_2d64_6574,
};

/// The graph of one roster: its members with a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rings {
    observers: BTreeMap<MemberId, Vec<MemberId>>,
    subjects: BTreeMap<MemberId, Vec<MemberId>>,
}

impl Rings {
    /// The graph of `roster`. Members without a key are neither subjects nor observers: nobody could ask them.
    #[must_use]
    pub fn new(roster: &Roster) -> Self {
        let members = Keyed::of(roster);
        let observers: BTreeMap<_, _> = if members.ids.len() <= COMPLETE {
            let others = |own: MemberId| members.ids.iter().copied().filter(move |id| *id != own).collect();
            members.ids.iter().map(|id| (*id, others(*id))).collect()
        } else {
            members.walk()
        };
        let mut subjects: BTreeMap<_, Vec<_>> = members.ids.iter().map(|id| (*id, Vec::new())).collect();
        for (subject, watching) in &observers {
            for observer in watching {
                subjects.entry(*observer).or_default().push(*subject);
            }
        }
        Self { observers, subjects }
    }

    /// Who watches `subject`: exactly min(k, N−1) distinct members, sorted; none if it is no member with a key.
    #[must_use]
    pub fn observers(&self, subject: MemberId) -> &[MemberId] {
        self.observers.get(&subject).map_or(&[], Vec::as_slice)
    }

    /// Whom `observer` watches, sorted: k in the mean.
    #[must_use]
    pub fn subjects(&self, observer: MemberId) -> &[MemberId] {
        self.subjects.get(&observer).map_or(&[], Vec::as_slice)
    }

    /// Every subject with its observers, both sorted.
    pub fn iter(&self) -> impl Iterator<Item = (MemberId, &[MemberId])> {
        self.observers
            .iter()
            .map(|(subject, observers)| (*subject, observers.as_slice()))
    }
}

/// The members that can be asked, by id, and the domain of each as a small number.
struct Keyed {
    ids: Vec<MemberId>,
    zones: Vec<usize>,
    zone_sizes: Vec<usize>,
}

/// One member on one ring.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    hash: u64,
    member: usize,
}

impl Keyed {
    fn of(roster: &Roster) -> Self {
        let members = || roster.members.iter().filter(|(_, member)| member.key.is_some());
        let names: BTreeSet<&str> = members().map(|(_, member)| member.zone.as_str()).collect();
        let numbers: BTreeMap<&str, usize> = names.into_iter().zip(0..).collect();
        let zones: Vec<usize> = members()
            .filter_map(|(_, member)| numbers.get(member.zone.as_str()).copied())
            .collect();
        let zone_sizes = (0..numbers.len())
            .map(|zone| zones.iter().filter(|of| **of == zone).count())
            .collect();
        Self {
            ids: members().map(|(id, _)| *id).collect(),
            zones,
            zone_sizes,
        }
    }

    fn zone(&self, member: usize) -> usize {
        self.zones.get(member).copied().unwrap_or_default()
    }

    fn ring(&self, number: usize) -> Vec<Place> {
        let hash = |id: &MemberId| siphash24(RING_KEY, &[number as u64, id.0]);
        let mut ring: Vec<Place> = self
            .ids
            .iter()
            .zip(0..)
            .map(|(id, member)| Place {
                hash: hash(id),
                member,
            })
            .collect();
        ring.sort_unstable();
        ring
    }

    /// How many steps a walk for the sake of a cap may take to the member at `place`: 1 to [`REACH`].
    fn reach(&self, place: Place) -> usize {
        let size = self.zone_sizes.get(self.zone(place.member)).copied().unwrap_or(0);
        let share = (PARTS * FULL_SHARE * size / self.ids.len()).min(PARTS);
        (PARTS + (REACH - 1) * share + usize::from(place.hash.to_le_bytes()[0])) / PARTS
    }

    fn walk(&self) -> BTreeMap<MemberId, Vec<MemberId>> {
        let rings: Vec<Vec<Place>> = (0..OBSERVERS).map(|number| self.ring(number)).collect();
        let reaches: Vec<Vec<usize>> = rings
            .iter()
            .map(|ring| ring.iter().map(|place| self.reach(*place)).collect())
            .collect();
        let mut own_places = vec![[0; OBSERVERS]; self.ids.len()];
        for (number, ring) in rings.iter().enumerate() {
            for (index, place) in ring.iter().enumerate() {
                if let Some(own) = own_places
                    .get_mut(place.member)
                    .and_then(|own| own.get_mut(number))
                {
                    *own = index;
                }
            }
        }
        let at = |index: usize| self.ids.get(index).copied();
        own_places
            .iter()
            .enumerate()
            .filter_map(|(subject, places)| {
                let chosen = self.choose(subject, places, &rings, &reaches);
                let mut observers: Vec<MemberId> = chosen.into_iter().filter_map(at).collect();
                observers.sort_unstable();
                Some((at(subject)?, observers))
            })
            .collect()
    }

    /// The observers of `subject`, which stands at these `places` of the rings.
    fn choose(
        &self,
        subject: usize,
        places: &[usize; OBSERVERS],
        rings: &[Vec<Place>],
        reaches: &[Vec<usize>],
    ) -> Vec<usize> {
        let members = self.ids.len();
        let mut chosen: Vec<usize> = Vec::with_capacity(OBSERVERS);
        // The last round has no cap and no reach: exactly k, whatever the rings look like.
        for cap in DOMAIN_CAP..=OBSERVERS + 1 {
            let anybody = cap > OBSERVERS;
            let steps = if anybody { members } else { REACH + 1 };
            for step in 1..steps.min(members) {
                for ((ring, reaches), own) in rings.iter().zip(reaches).zip(places) {
                    let index = (own + step) % members;
                    let (Some(place), Some(reach)) = (ring.get(index), reaches.get(index)) else {
                        continue;
                    };
                    let zone = self.zone(place.member);
                    let in_zone = || chosen.iter().filter(|other| self.zone(**other) == zone).count();
                    let near = anybody || step <= *reach;
                    if near && place.member != subject && !chosen.contains(&place.member) && in_zone() < cap {
                        chosen.push(place.member);
                        if chosen.len() == OBSERVERS {
                            return chosen;
                        }
                    }
                }
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests;
