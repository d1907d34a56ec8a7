#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may end at once"
)]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{COMPLETE, DOMAIN_CAP, Rings};
use crate::identity::MemberId;
use crate::profile::OBSERVERS;
use crate::roster::{Member, PublicKey, Roster};

fn member(uid: u64, zone: usize) -> (MemberId, Member) {
    let uid = format!("uid-{uid}");
    let member = Member {
        name: uid.clone(),
        addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        zone: format!("zone-{zone}"),
        key: Some(PublicKey([1; 32])),
        control_plane: false,
        leaving: false,
        uid: uid.clone(),
    };
    (MemberId::of_node(&uid), member)
}

/// Members `seed·10⁶ …`, dealt to zones in proportion to `shares`, in a shuffled order.
fn roster(members: u64, seed: u64, shares: &[u64]) -> Roster {
    let all: u64 = shares.iter().sum();
    let zone = |number: u64| {
        let mut left = MemberId::of_node(&format!("zone of {seed} {number}")).0 % all;
        shares
            .iter()
            .position(|share| {
                let here = left < *share;
                left = left.saturating_sub(*share);
                here
            })
            .unwrap()
    };
    Roster {
        members: (0..members)
            .map(|number| member(seed * 1_000_000 + number, zone(number)))
            .collect(),
        stewards: Vec::new(),
    }
}

fn pairs(rings: &Rings) -> BTreeSet<(MemberId, MemberId)> {
    rings
        .iter()
        .flat_map(|(subject, observers)| observers.iter().map(move |observer| (*observer, subject)))
        .collect()
}

/// Pairs that begin and pairs that end between two graphs.
fn changes(before: &Rings, after: &Rings) -> (usize, usize) {
    let (before, after) = (pairs(before), pairs(after));
    (
        after.difference(&before).count(),
        before.difference(&after).count(),
    )
}

fn most_in_one_zone(roster: &Roster, observers: &[MemberId]) -> usize {
    let mut zones = BTreeMap::<&str, usize>::new();
    for observer in observers {
        *zones.entry(&roster.members[observer].zone).or_default() += 1;
    }
    zones.into_values().max().unwrap_or(0)
}

fn shares() -> impl Strategy<Value = Vec<u64>> {
    prop_oneof![
        Just(vec![1]),
        Just(vec![1, 1]),
        Just(vec![1, 1, 1]),
        proptest::collection::vec(1_u64..30, 1..8),
    ]
}

fn sizes() -> impl Strategy<Value = u64> {
    prop_oneof![2_u64..12, 10_u64..200, 200_u64..5_001]
}

/// Each property on `cases` rosters: the same ones on every run.
fn check(cases: u32, property: impl Fn(u64, u64, &[u64]) -> Result<(), TestCaseError>) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = proptest::test_runner::TestRng::deterministic_rng(config.rng_algorithm);
    TestRunner::new_with_rng(config, rng)
        .run(&(sizes(), 0_u64..1_000, shares()), |(members, seed, shares)| {
            property(members, seed, &shares)
        })
        .unwrap();
}

#[test]
fn exactly_k_distinct_observers_and_never_oneself() {
    check(100, |members, seed, shares| {
        let roster = roster(members, seed, shares);
        let rings = Rings::new(&roster);
        let wanted = OBSERVERS.min(roster.members.len() - 1);
        prop_assert_eq!(rings.iter().count(), roster.members.len());
        for (subject, observers) in rings.iter() {
            prop_assert_eq!(observers.len(), wanted);
            prop_assert!(observers.is_sorted_by(|a, b| a < b) && !observers.contains(&subject));
            for observer in observers {
                prop_assert!(rings.subjects(*observer).contains(&subject));
            }
        }
        let watched: usize = roster.members.keys().map(|id| rings.subjects(*id).len()).sum();
        prop_assert_eq!(watched, wanted * roster.members.len());
        Ok(())
    });
}

/// What one join of each of some newcomers changes; read the other way round, their leaves.
#[derive(Clone, Copy, Debug, Default)]
struct Worst {
    /// Pairs that begin; of those that end, one less for each observer of the newcomer.
    pairs: usize,
    /// Pairs that begin and pairs that end together.
    both: usize,
    /// Subjects of one newcomer.
    load: usize,
}

impl Worst {
    fn join(&mut self, roster: &Roster, before: &Rings, newcomer: (MemberId, Member)) {
        let mut joined = roster.clone();
        let id = newcomer.0;
        joined.members.insert(id, newcomer.1);
        let after = Rings::new(&joined);
        let (begun, ended) = changes(before, &after);
        self.pairs = self.pairs.max(begun.max(ended));
        self.both = self.both.max(begun + ended);
        self.load = self.load.max(after.subjects(id).len());
    }
}

/// The worst join of four newcomers to each domain, on `cases` rosters.
fn worst_join(cases: u32, comparable: bool) -> Worst {
    let worst = Cell::new(Worst::default());
    check(cases, |members, seed, shares| {
        let most = shares.iter().max().unwrap_or(&1);
        let shares: Vec<u64> = if comparable {
            shares.iter().map(|share| *share.max(&most.div_ceil(2))).collect()
        } else {
            shares.to_vec()
        };
        let roster = roster(members, seed, &shares);
        let before = Rings::new(&roster);
        for (uid, zone) in (seed * 1_000_000 + 900_000..).zip(0..4) {
            let newcomer = member(uid, zone % shares.len());
            let mut all = worst.get();
            all.join(&roster, &before, newcomer);
            worst.set(all);
        }
        Ok(())
    });
    worst.get()
}

#[test]
fn one_join_or_leave_changes_few_pairs() {
    let worst = worst_join(120, true);
    eprintln!("comparable domains: {worst:?}");
    assert!(worst.pairs <= 4 * OBSERVERS, "{worst:?}");
    assert!(worst.load <= 3 * OBSERVERS, "{worst:?}");
}

#[test]
fn a_join_to_a_small_domain_changes_some_more() {
    let worst = worst_join(120, false);
    eprintln!("domains of any sizes: {worst:?}");
    assert!(worst.pairs <= 6 * OBSERVERS, "{worst:?}");
    assert!(worst.load <= 4 * OBSERVERS, "{worst:?}");
}

#[test]
fn without_domains_a_join_changes_hardly_more_than_it_must() {
    let mut worst = Worst::default();
    for members in [2, 8, 9, 10, 11, 20, 50, 200, 1_000, 5_000] {
        let roster = roster(members, 11, &[1]);
        let before = Rings::new(&roster);
        for newcomer in 0..4 {
            worst.join(&roster, &before, member(99_000_000 + newcomer, 0));
        }
    }
    eprintln!("one domain: {worst:?}");
    assert!(worst.both <= 4 * OBSERVERS, "{worst:?}");
}

#[test]
fn the_domain_caps_hold_where_domains_are_comparable() {
    for (shares, cap) in [
        (vec![1, 1], OBSERVERS / 2),
        (vec![1, 1, 1], DOMAIN_CAP),
        (vec![3, 4, 5], DOMAIN_CAP),
        (vec![1, 1, 1, 1, 1, 1], DOMAIN_CAP),
    ] {
        for members in [40, 100, 1_000, 5_000] {
            let roster = roster(members, 7, &shares);
            for (subject, observers) in Rings::new(&roster).iter() {
                let most = most_in_one_zone(&roster, observers);
                assert!(
                    most <= cap,
                    "{subject} of {members} in {shares:?}: {most} in one domain"
                );
            }
        }
    }
}

#[test]
fn the_members_of_a_small_domain_are_not_overloaded() {
    for shares in [[1, 4, 4], [1, 10, 10], [1, 100, 100]] {
        let roster = roster(3_000, 3, &shares);
        let rings = Rings::new(&roster);
        let most = roster
            .members
            .keys()
            .map(|id| rings.subjects(*id).len())
            .max()
            .unwrap();
        eprintln!("domains {shares:?}: at most {most} subjects");
        assert!(most <= 4 * OBSERVERS, "{most} subjects in {shares:?}");
    }
}

#[test]
fn up_to_nine_everybody_observes_everybody() {
    for members in 2..=COMPLETE as u64 {
        let roster = roster(members, 1, &[1, 1]);
        for (subject, observers) in Rings::new(&roster).iter() {
            let others: Vec<_> = roster
                .members
                .keys()
                .copied()
                .filter(|id| *id != subject)
                .collect();
            assert_eq!(observers, others);
        }
    }
    let ten = roster(10, 1, &[1, 1]);
    assert!(
        Rings::new(&ten)
            .iter()
            .all(|(_, observers)| observers.len() == OBSERVERS)
    );
}

#[test]
fn a_member_without_a_key_neither_watches_nor_is_watched() {
    let mut roster = roster(30, 5, &[1, 1, 1]);
    let without = *roster.members.keys().nth(11).unwrap();
    let mut smaller = roster.clone();
    smaller.members.remove(&without);
    roster.members.get_mut(&without).unwrap().key = None;
    assert_eq!(Rings::new(&roster), Rings::new(&smaller));
    assert!(Rings::new(&roster).observers(without).is_empty());
}

/// Pinned: nodes of two versions must agree on the graph, or their reports do not add up.
#[test]
fn the_graph_is_the_same_in_every_version() {
    let graph = Rings::new(&roster(200, 9, &[1, 1, 1]));
    let text: String = graph
        .iter()
        .map(|(subject, observers)| format!("{subject} {observers:?}\n"))
        .collect();
    assert_eq!(MemberId::of_node(&text).to_string(), "0001d32954446473");
}
