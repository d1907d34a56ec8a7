//! Scenarios made for one rule each: without it, the healthy host in them is condemned, or loses pods.

use detector::judgement::Verdict;
use detector_sim::cluster::{Cluster, Fault, MS, SECOND, Setup};
use detector_sim::network::{End, Rule};
use detector_sim::scenario::{SETTLED, no_dead, settled};
use detector_sim::seeds;

const SUBJECT: u32 = 8;

const CUT: Rule = Rule { loss: 1.0, delay: 0 };

/// Nine nodes; the stewards on hosts of their own.
fn apart(seed: u64) -> Cluster {
    let mut setup = Setup::new(seed, 9);
    setup.stewards = vec![9, 10, 11];
    settled(setup, 0.0)
}

fn cut(cluster: &mut Cluster, one: u32, other: u32) {
    cluster.at(SETTLED, Fault::Rule(one, other, CUT));
    cluster.at(SETTLED, Fault::Rule(other, one, CUT));
}

/// Four observers are gone, the other four and the stewards are cut off from the subject: four are no quorum.
#[test]
fn a_quorum_must_be_silent() {
    seeds::each(env!("CARGO_CRATE_NAME"), 2, |seed| {
        let mut cluster = apart(seed);
        for gone in 0..4 {
            cluster.at(SETTLED, Fault::KillAgent(gone));
        }
        for other in [4, 5, 6, 7, 9, 10, 11] {
            cut(&mut cluster, other, SUBJECT);
        }
        cluster.run(SETTLED + 2 * SECOND);
        no_dead(&cluster);
    });
}

/// Six of eight observers and the stewards are cut off from the subject, two hear it.
#[test]
fn one_that_hears_outweighs_a_quorum_that_does_not() {
    seeds::each(env!("CARGO_CRATE_NAME"), 2, |seed| {
        let mut cluster = apart(seed);
        for other in [0, 1, 2, 3, 4, 5, 9, 10, 11] {
            cut(&mut cluster, other, SUBJECT);
        }
        cluster.run(SETTLED + 3 * SECOND);
        no_dead(&cluster);
        assert_eq!(cluster.record().last(0, SUBJECT), Some(Verdict::Partial));
    });
}

/// The same, and most of what those two tell is lost on its way to the stewards: no word of theirs is no silence.
#[test]
fn an_observer_that_says_nothing_is_waited_for() {
    seeds::each(env!("CARGO_CRATE_NAME"), 20, |seed| {
        let mut cluster = apart(seed);
        for other in [0, 1, 2, 3, 4, 5, 9, 10, 11] {
            cut(&mut cluster, other, SUBJECT);
        }
        for (hears, steward) in [(6, 9), (6, 10), (6, 11), (7, 9), (7, 10), (7, 11)] {
            let lossy = Rule { loss: 0.7, delay: 0 };
            cluster.at(SETTLED, Fault::Rule(hears, steward, lossy));
        }
        cluster.run(SETTLED + 4 * SECOND);
        no_dead(&cluster);
    });
}

/// The subject is dark twice, each time for less than W, and in between all observers stand still: nobody asked. (Its
/// agent is gone, so that its own probes are no sign of life.)
#[test]
fn losses_of_before_a_late_tick_are_forgotten() {
    seeds::each(env!("CARGO_CRATE_NAME"), 3, |seed| {
        let mut cluster = apart(seed);
        cluster.at(SETTLED, Fault::KillAgent(SUBJECT));
        let begins = SETTLED + SECOND;
        for (begin, end) in [(0, 70), (140, 240)] {
            cluster.at(begins + begin * MS, Fault::Dark(SUBJECT, true));
            cluster.at(begins + end * MS, Fault::Dark(SUBJECT, false));
        }
        for host in 0..SUBJECT {
            cluster.at(begins + 65 * MS, Fault::Stall(End::agent(host), 90 * MS));
        }
        cluster.run(begins + 2 * SECOND);
        no_dead(&cluster);
    });
}

/// Links that lose nearly everything, as observers know: losses there weigh little, however many. (The agent of one host
/// is gone: only its echoes tell of it.)
#[test]
fn losses_on_a_lossy_link_weigh_little() {
    seeds::each(env!("CARGO_CRATE_NAME"), 2, |seed| {
        let mut cluster = settled(Setup::new(seed, 3), 0.3);
        cluster.at(SETTLED, Fault::KillAgent(2));
        for (second, loss) in [(0, 0.5), (3, 0.65), (6, 0.75)] {
            cluster.at(SETTLED + second * SECOND, Fault::Loss(loss));
        }
        cluster.run(SETTLED + 14 * SECOND);
        no_dead(&cluster);
    });
}

/// The API is away from before the second look until the node is back: what waited to be written is not.
#[test]
fn the_verdict_is_asked_again_before_each_try() {
    seeds::each(env!("CARGO_CRATE_NAME"), 2, |seed| {
        let mut setup = Setup::new(seed, 9);
        setup.stewards = vec![9, 10, 11];
        setup.replicas = Some(18);
        let mut cluster = settled(setup, 0.0);
        cluster.at(SETTLED, Fault::Dark(SUBJECT, true));
        cluster.at(SETTLED + 1_152 * MS, Fault::Api(false));
        cluster.at(SETTLED + 2_000 * MS, Fault::Dark(SUBJECT, false));
        cluster.at(SETTLED + 2_200 * MS, Fault::Api(true));
        cluster.run(SETTLED + 20 * SECOND);
        let lost = cluster.api().deletions().iter().find(|deletion| deletion.alive);
        assert!(lost.is_none(), "{lost:?}");
    });
}
