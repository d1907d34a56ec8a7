//! Restarts, reboots, and rosters that differ: a healthy host never falls silent by them, and a dead one is found.

use detector::judgement::Verdict;
use detector_sim::cluster::{Cluster, Fault, MS, SECOND, Setup};
use detector_sim::rng::Rng;
use detector_sim::scenario::{SETTLED, no_dead, settled};
use detector_sim::seeds;

/// New agents count from a random incarnation, above or below the old one: their probes look like replays.
#[test]
fn restarted_observers_are_answered_and_find_a_death() {
    seeds::each(env!("CARGO_CRATE_NAME"), 4, |seed| {
        let mut cluster = settled(Setup::new(seed, 9), 0.0);
        for host in 0..8 {
            cluster.at(SETTLED, Fault::KillAgent(host));
            cluster.at(SETTLED + 500 * MS, Fault::StartAgent(host));
        }
        cluster.run(SETTLED + 5 * SECOND);
        no_dead(&cluster);
        let died = cluster.world().now() + 1;
        cluster.at(died, Fault::Crash(8));
        cluster.run(died + SECOND);
        let found = cluster.record().dead_after(8, died);
        assert!(found.is_some_and(|after| after < 170), "found after {found:?} ms");
    });
}

#[test]
fn agents_restarted_one_after_the_other_condemn_nobody() {
    seeds::each(env!("CARGO_CRATE_NAME"), 2, |seed| {
        let mut cluster = settled(Setup::new(seed, 9), 0.02);
        for host in 0..9 {
            let at = SETTLED + u64::from(host) * SECOND;
            cluster.at(at, Fault::KillAgent(host));
            cluster.at(at + 700 * MS, Fault::StartAgent(host));
        }
        cluster.run(SETTLED + 14 * SECOND);
        no_dead(&cluster);
        for host in 0..9 {
            assert_eq!(cluster.record().last(0, host), Some(Verdict::Alive));
        }
    });
}

/// The subject's roster stands still while new members join, who are then its observers.
#[test]
fn a_frozen_roster_at_the_subject_silences_it_to_nobody_it_knows() {
    seeds::each(env!("CARGO_CRATE_NAME"), 3, |seed| {
        for known in [9, 6, 2] {
            let mut cluster = settled(Setup::new(seed, 14), 0.0);
            let subject = 8;
            let mut hosts: Vec<u32> = cluster.observers_of(subject).into_iter().take(known).collect();
            hosts.push(subject);
            cluster.at(SETTLED, Fault::Roster(subject, hosts));
            cluster.run(SETTLED + 4 * SECOND);
            no_dead(&cluster);
        }
    });
}

/// Half of the hosts have not yet heard of the newest members.
#[test]
fn skewed_rosters_condemn_nobody_and_find_a_death() {
    seeds::each(env!("CARGO_CRATE_NAME"), 3, |seed| {
        let nodes = 20;
        let mut cluster = settled(Setup::new(seed, nodes), 0.0);
        let mut rng = Rng::new(seed, 1);
        for host in rng.choose(10, nodes) {
            cluster.at(SETTLED, Fault::Roster(host, (0..17).collect()));
        }
        cluster.run(SETTLED + 4 * SECOND);
        no_dead(&cluster);
        let died = cluster.world().now();
        cluster.at(died, Fault::TrueRoster);
        cluster.at(died + 3 * SECOND, Fault::Crash(9));
        cluster.run(died + 4 * SECOND);
        assert!(cluster.record().first_dead(9, died).is_some());
        assert!(cluster.record().of(Verdict::Dead).all(|dead| dead.subject == 9));
    });
}

#[test]
fn a_node_that_was_never_heard_is_unknown() {
    seeds::each(env!("CARGO_CRATE_NAME"), 2, |seed| {
        let mut cluster = Cluster::new(Setup::new(seed, 10));
        cluster.at(0, Fault::Crash(9));
        cluster.run(SETTLED + 10 * SECOND);
        no_dead(&cluster);
        let told = cluster.record().last(0, 9);
        assert!(told.is_none() || told == Some(Verdict::Unknown), "{told:?}");
    });
}

/// A power cycle: the old boot is dead, the new one never was.
#[test]
fn a_new_boot_is_not_condemned_for_the_old_one() {
    seeds::each(env!("CARGO_CRATE_NAME"), 4, |seed| {
        for off in [10, 200, 2_000] {
            let mut cluster = settled(Setup::new(seed, 9), 0.0);
            let old = cluster.world().host(8).boot;
            cluster.at(SETTLED, Fault::Crash(8));
            cluster.at(SETTLED + off * MS, Fault::Boot(8));
            cluster.run(SETTLED + 10 * SECOND);
            assert!(cluster.record().of(Verdict::Dead).all(|dead| dead.boot == old));
            for seat in 0..3 {
                assert_eq!(
                    cluster.record().last(seat, 8),
                    Some(Verdict::Alive),
                    "off for {off} ms"
                );
            }
        }
    });
}

/// The second death within a minute is found like the first.
#[test]
fn a_rebooted_host_is_found_again() {
    seeds::each(env!("CARGO_CRATE_NAME"), 2, |seed| {
        let mut cluster = settled(Setup::new(seed, 9), 0.0);
        cluster.at(SETTLED, Fault::Crash(8));
        cluster.at(SETTLED + SECOND, Fault::Boot(8));
        let again = SETTLED + 6 * SECOND;
        cluster.at(again, Fault::Crash(8));
        cluster.run(again + SECOND);
        let found = cluster.record().dead_after(8, again);
        assert!(found.is_some_and(|after| after < 170), "found after {found:?} ms");
    });
}
