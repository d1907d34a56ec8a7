//! Hosts that stand still in part: userspace without CPU, late ticks, softirqs that starve, observers held by a
//! hypervisor. None of it is a death, and none of it makes others look dead.

use detector::judgement::Verdict;
use detector::message::Farewell;
use detector_sim::cluster::{Fault, MS, SECOND, Setup};
use detector_sim::network::End;
use detector_sim::rng::Rng;
use detector_sim::scenario::{SETTLED, no_dead, settled};
use detector_sim::seeds;
use detector_sim::world::Lateness;

#[test]
fn an_agent_that_stands_still_is_degraded_not_dead() {
    seeds::each(env!("CARGO_CRATE_NAME"), 3, |seed| {
        let mut cluster = settled(Setup::new(seed, 9), 0.0);
        cluster.at(SETTLED, Fault::Stall(End::agent(8), 8 * SECOND));
        cluster.run(SETTLED + 7 * SECOND);
        no_dead(&cluster);
        assert_eq!(cluster.record().last(0, 8), Some(Verdict::Degraded));
        cluster.run(SETTLED + 14 * SECOND);
        assert_eq!(cluster.record().last(0, 8), Some(Verdict::Alive));
    });
}

#[test]
fn an_agent_that_is_killed_is_degraded_not_dead() {
    seeds::each(env!("CARGO_CRATE_NAME"), 2, |seed| {
        let mut cluster = settled(Setup::new(seed, 9), 0.0);
        cluster.at(SETTLED, Fault::KillAgent(8));
        cluster.run(SETTLED + 7 * SECOND);
        no_dead(&cluster);
        assert_eq!(cluster.record().last(0, 8), Some(Verdict::Degraded));
        cluster.at(SETTLED + 7 * SECOND, Fault::StartAgent(8));
        cluster.run(SETTLED + 14 * SECOND);
        assert_eq!(cluster.record().last(0, 8), Some(Verdict::Alive));
    });
}

#[test]
fn a_goodbye_is_believed() {
    seeds::each(env!("CARGO_CRATE_NAME"), 2, |seed| {
        for (farewell, verdict) in [
            (Farewell::PowerOff, Verdict::Leaving),
            (Farewell::Left, Verdict::Away),
        ] {
            let mut cluster = settled(Setup::new(seed, 9), 0.0);
            cluster.at(SETTLED, Fault::Goodbye(8, farewell));
            cluster.run(SETTLED + 100 * MS);
            assert_eq!(cluster.record().last(0, 8), Some(verdict), "{farewell:?}");
            if verdict == Verdict::Leaving {
                cluster.at(SETTLED + 200 * MS, Fault::Crash(8));
                cluster.run(SETTLED + SECOND);
                assert_eq!(cluster.record().last(0, 8), Some(Verdict::Dead));
            }
        }
    });
}

/// Everybody's userspace is late now and then, on links that lose some: the kernel's stamps lose nothing, and who is
/// late abstains.
#[test]
fn late_ticks_condemn_nobody() {
    seeds::each(env!("CARGO_CRATE_NAME"), 1, |seed| {
        for (share, most, loss) in [(0.3, 50 * MS, 0.0), (0.05, 400 * MS, 0.2), (0.2, 150 * MS, 0.3)] {
            for nodes in [3, 9] {
                let mut cluster = settled(Setup::new(seed, nodes), loss);
                for host in 0..nodes {
                    cluster.at(SETTLED, Fault::Lateness(host, Lateness { share, most }));
                }
                cluster.run(SETTLED + 8 * SECOND);
                no_dead(&cluster);
            }
        }
    });
}

#[test]
fn a_death_is_found_also_where_ticks_are_late() {
    seeds::each(env!("CARGO_CRATE_NAME"), 3, |seed| {
        let mut cluster = settled(Setup::new(seed, 9), 0.0);
        for host in 0..9 {
            let lateness = Lateness {
                share: 0.02,
                most: 60 * MS,
            };
            cluster.at(SETTLED, Fault::Lateness(host, lateness));
        }
        cluster.at(SETTLED + SECOND, Fault::Crash(8));
        cluster.run(SETTLED + 4 * SECOND);
        assert!(cluster.record().first_dead(8, SETTLED).is_some());
    });
}

/// The receive path of some or all observers starves: their probes are answered, and the answers wait.
#[test]
fn starved_receive_paths_condemn_nobody() {
    seeds::each(env!("CARGO_CRATE_NAME"), 3, |seed| {
        for (nodes, starved) in [(3, 2), (9, 5), (9, 8), (9, 9), (24, 20)] {
            let mut cluster = settled(Setup::new(seed, nodes), 0.0);
            let mut rng = Rng::new(seed, 1);
            for host in rng.choose(starved, nodes) {
                let begin = SETTLED + rng.below(20 * MS);
                cluster.at(begin, Fault::Starve(host, 150 * MS + rng.below(2 * SECOND)));
            }
            cluster.run(SETTLED + 5 * SECOND);
            no_dead(&cluster);
        }
    });
}

/// The same in short turns, again and again: softirqs that get a moment now and then.
#[test]
fn receive_paths_that_starve_in_turns_condemn_nobody() {
    seeds::each(env!("CARGO_CRATE_NAME"), 3, |seed| {
        let mut cluster = settled(Setup::new(seed, 9), 0.0);
        let mut rng = Rng::new(seed, 1);
        for host in 0..9 {
            let mut at = SETTLED;
            while at < SETTLED + 5 * SECOND {
                let length = 20 * MS + rng.below(300 * MS);
                cluster.at(at, Fault::Starve(host, length));
                at += length + rng.below(30 * MS);
            }
        }
        cluster.run(SETTLED + 8 * SECOND);
        no_dead(&cluster);
    });
}

/// A hypervisor holds observers, not the subject: they miss what came, and must not count it.
#[test]
fn observers_that_were_held_condemn_nobody() {
    seeds::each(env!("CARGO_CRATE_NAME"), 3, |seed| {
        for (nodes, loss) in [(3, 0.2), (9, 0.3)] {
            let mut cluster = settled(Setup::new(seed, nodes), loss);
            let mut rng = Rng::new(seed, 1);
            for host in 1..nodes {
                for second in 0..10 {
                    let begin = SETTLED + second * SECOND + rng.below(SECOND / 4);
                    cluster.at(begin, Fault::Pause(host, 100 * MS));
                }
            }
            cluster.run(SETTLED + 12 * SECOND);
            assert_eq!(cluster.record().mistaken(), cluster.record().deads());
        }
    });
}

/// The stewards' real-time halves stand still while hosts are cut for a moment.
#[test]
fn stewards_that_stood_still_judge_nothing_old() {
    seeds::each(env!("CARGO_CRATE_NAME"), 4, |seed| {
        let mut cluster = settled(Setup::new(seed, 9), 0.0);
        let mut rng = Rng::new(seed, 1);
        for round in 0..8 {
            let begin = SETTLED + round * SECOND;
            cluster.at(begin, Fault::Dark(8, true));
            cluster.at(begin + 110 * MS, Fault::Dark(8, false));
            for host in 0..3 {
                let steward = End::steward(host);
                let late = begin + rng.below(120 * MS);
                cluster.at(late, Fault::Stall(steward, 50 * MS + rng.below(300 * MS)));
            }
        }
        cluster.run(SETTLED + 12 * SECOND);
        no_dead(&cluster);
    });
}

/// Stewards held by their hypervisor: their clock stands still, and reports of before the pause look fresh.
#[test]
fn stewards_that_were_held_judge_nothing_old() {
    seeds::each(env!("CARGO_CRATE_NAME"), 4, |seed| {
        let mut setup = Setup::new(seed, 9);
        setup.stewards = vec![9, 10, 11];
        let mut cluster = settled(setup, 0.0);
        let mut rng = Rng::new(seed, 1);
        for round in 0..8 {
            let begin = SETTLED + round * SECOND;
            cluster.at(begin, Fault::Dark(8, true));
            cluster.at(begin + 110 * MS, Fault::Dark(8, false));
            for host in 9..12 {
                let late = begin + rng.below(120 * MS);
                cluster.at(late, Fault::Pause(host, 20 * MS + rng.below(300 * MS)));
            }
        }
        cluster.run(SETTLED + 12 * SECOND);
        no_dead(&cluster);
    });
}
