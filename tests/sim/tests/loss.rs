//! Loss: at a rate, one way, in bursts. What is independent condemns nobody; what lasts longer than W may, and is undone.

use detector::judgement::Verdict;
use detector_sim::cluster::{Fault, MS, SECOND, Setup};
use detector_sim::network::{Bursts, Rule};
use detector_sim::scenario::{SETTLED, no_dead, settled};
use detector_sim::seeds;

#[test]
fn independent_loss_of_any_rate_condemns_nobody() {
    for loss in [0.01, 0.05, 0.2, 0.3, 0.5] {
        seeds::each(env!("CARGO_CRATE_NAME"), 1, |seed| {
            for (nodes, seconds) in [(3, 20), (9, 5)] {
                let mut cluster = settled(Setup::new(seed, nodes), loss);
                cluster.run(SETTLED + seconds * SECOND);
                no_dead(&cluster);
            }
        });
    }
}

#[test]
fn a_rate_that_jumps_condemns_nobody() {
    seeds::each(env!("CARGO_CRATE_NAME"), 1, |seed| {
        for nodes in [3, 9] {
            let mut cluster = settled(Setup::new(seed, nodes), 0.0);
            for (second, loss) in [(0, 0.5), (1, 0.0), (2, 0.6), (3, 0.05), (5, 0.3)] {
                cluster.at(SETTLED + second * SECOND, Fault::Loss(loss));
            }
            cluster.run(SETTLED + 6 * SECOND);
            no_dead(&cluster);
        }
    });
}

/// One host neither hears nor is heard by half of the others, in one direction only.
#[test]
fn one_way_loss_of_some_links_is_partial() {
    seeds::each(env!("CARGO_CRATE_NAME"), 3, |seed| {
        for towards in [true, false] {
            let mut cluster = settled(Setup::new(seed, 9), 0.0);
            for other in 4..8 {
                let (from, to) = if towards { (other, 8) } else { (8, other) };
                cluster.at(SETTLED, Fault::Rule(from, to, Rule { loss: 1.0, delay: 0 }));
            }
            cluster.run(SETTLED + 4 * SECOND);
            no_dead(&cluster);
            let partial = cluster
                .record()
                .of(Verdict::Partial)
                .any(|sentence| sentence.subject == 8);
            assert!(partial, "told as Partial");
        }
    });
}

/// All it sends is lost: no echo returns, nor does its own word. That is silence to everybody, and mistaken.
#[test]
fn one_way_loss_of_everything_is_silence() {
    seeds::each(env!("CARGO_CRATE_NAME"), 2, |seed| {
        let mut cluster = settled(Setup::new(seed, 9), 0.0);
        cluster.at(SETTLED, Fault::HostLoss(8, 1.0, 0.0));
        cluster.at(SETTLED + 3 * SECOND, Fault::HostLoss(8, 0.0, 0.0));
        cluster.run(SETTLED + 14 * SECOND);
        assert!(cluster.record().first_dead(8, SETTLED).is_some());
        assert_eq!(cluster.record().mistaken(), cluster.record().deads());
        for seat in 0..3 {
            assert_eq!(cluster.record().last(seat, 8), Some(Verdict::Alive), "undone");
        }
    });
}

/// It hears nothing, but its own probes and greetings come through: signs of life.
#[test]
fn a_host_that_is_only_deaf_is_not_dead() {
    seeds::each(env!("CARGO_CRATE_NAME"), 3, |seed| {
        let mut cluster = settled(Setup::new(seed, 9), 0.0);
        cluster.at(SETTLED, Fault::HostLoss(8, 0.0, 1.0));
        cluster.run(SETTLED + 4 * SECOND);
        no_dead(&cluster);
    });
}

/// Outages of mean length B, ten a minute and host: about e^(−W/B) of them outlast W. Each such verdict is mistaken,
/// none is false, and each is undone.
fn bursts(mean: u64, most_mistaken_share: f64) {
    seeds::each(env!("CARGO_CRATE_NAME"), 1, |seed| {
        let nodes = 12;
        let mut cluster = settled(Setup::new(seed, nodes), 0.01);
        for host in 0..nodes {
            let bursts = Bursts {
                good: 6 * SECOND,
                bad: mean * MS,
                loss: 1.0,
            };
            cluster.at(SETTLED, Fault::Bursts(host, Some(bursts)));
            cluster.at(SETTLED + 60 * SECOND, Fault::Bursts(host, None));
        }
        cluster.run(SETTLED + 75 * SECOND);
        let outages = f64::from(nodes) * 10.0;
        let condemned = (0..nodes)
            .map(|host| {
                let of_seat_0 = cluster.record().of(Verdict::Dead).filter(|dead| dead.seat == 0);
                of_seat_0.filter(|dead| dead.subject == host).count()
            })
            .sum::<usize>() as f64;
        eprintln!("bursts of {mean} ms: {condemned} verdicts of about {outages} outages");
        assert_eq!(cluster.record().mistaken(), cluster.record().deads());
        assert!(
            condemned <= outages * most_mistaken_share + 2.0,
            "{condemned} of {outages}"
        );
        for host in 0..nodes {
            for seat in 0..3 {
                let last = cluster.record().last(seat, host);
                assert_eq!(last, Some(Verdict::Alive), "n{host} by steward {seat}");
            }
        }
    });
}

#[test]
fn bursts_of_5_ms() {
    bursts(5, 0.0);
}

#[test]
fn bursts_of_20_ms() {
    bursts(20, 0.01);
}

#[test]
fn bursts_of_100_ms() {
    bursts(100, 0.35);
}
