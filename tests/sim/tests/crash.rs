//! Power off: everybody who dies is found, in time, and nobody else is condemned.

use detector::judgement::{Hold, Verdict};
use detector_sim::cluster::{Fault, MS, SECOND, Setup};
use detector_sim::rng::Rng;
use detector_sim::scenario::{SETTLED, deaths, settled};
use detector_sim::seeds;

/// design.md: simulated, death → verdict p50/p99 138/151 ms. Tolerance: what the judge's bounds on clocks cost (2 ms of
/// drift between pings, a ping that is lost), and less than one more probe on a clean link. On a lossy one the last of
/// eight observers is believed one or two reports later.
fn in_time(what: &str, nodes: u32, loss: f64, kills: usize, p50: f64, p99: f64) {
    let (median, tail) = if loss > 0.0 { (9.0, 14.0) } else { (6.0, 6.0) };
    seeds::each(env!("CARGO_CRATE_NAME"), 1, |seed| {
        let cluster = settled(Setup::new(seed, nodes), loss);
        let deaths = deaths(cluster, seed, kills, nodes);
        eprintln!(
            "{what}: first {} | last {}",
            deaths.first.line(),
            deaths.last.line()
        );
        assert_eq!(deaths.missed, 0);
        assert!(deaths.first.percentile_ms(0.5) <= p50 + median, "p50");
        assert!(deaths.first.percentile_ms(0.99) <= p99 + tail, "p99");
        assert!(deaths.first.percentile_ms(0.0) >= 120.0, "never before W is over");
    });
}

#[test]
fn nine_nodes_in_time() {
    in_time("N = 9", 9, 0.0, 150, 138.0, 151.0);
}

#[test]
fn twenty_four_nodes_in_time() {
    in_time("N = 24", 24, 0.0, 60, 138.0, 151.0);
}

#[test]
fn nine_nodes_at_thirty_percent_loss_each_way_in_time() {
    in_time("N = 9, loss 30 % each way", 9, 0.3, 40, 138.0, 151.0);
}

#[test]
fn three_nodes_in_time() {
    in_time("N = 3", 3, 0.0, 200, 138.0, 149.0);
}

#[test]
fn three_nodes_at_twenty_percent_loss_each_way_in_time() {
    in_time("N = 3, loss 20 % each way", 3, 0.2, 200, 139.0, 157.0);
}

/// Dead at once, all of them within the same slot.
fn share_dies(percent: u32, nodes: u32, usual: u64) {
    seeds::each(env!("CARGO_CRATE_NAME"), usual, |seed| {
        let mut cluster = settled(Setup::new(seed, nodes), 0.01);
        let mut rng = Rng::new(seed, 1);
        let count = (percent * nodes / 100) as usize;
        let victims = rng.choose(count, nodes);
        for victim in &victims {
            cluster.at(SETTLED + rng.below(20 * MS), Fault::Crash(*victim));
        }
        cluster.run(SETTLED + 2 * SECOND);
        for victim in &victims {
            let found = cluster.record().dead_after(*victim, SETTLED);
            assert!(
                found.is_some_and(|after| after < 400),
                "n{victim} found after {found:?} ms"
            );
        }
        let others = cluster
            .record()
            .of(Verdict::Dead)
            .find(|dead| !victims.contains(&dead.subject));
        assert!(others.is_none(), "{others:?}");
    });
}

#[test]
fn two_percent_at_once() {
    share_dies(2, 100, 3);
}

#[test]
fn ten_percent_at_once() {
    share_dies(10, 100, 3);
}

/// Whatever share it is, and although most observers of a silent host may be silent themselves. (Just above a third the
/// first verdict may come before the last silence is counted.)
#[test]
fn more_than_a_third_at_once_is_held() {
    for (nodes, dark) in [(9, 4), (30, 11), (30, 15), (60, 22), (100, 38), (30, 24)] {
        seeds::each(env!("CARGO_CRATE_NAME"), 2, |seed| {
            let mut cluster = settled(Setup::new(seed, nodes), 0.0);
            let mut rng = Rng::new(seed, 1);
            // The stewards are on the first three.
            let victims = rng.choose(dark, nodes - 3);
            for victim in victims.into_iter().map(|host| host + 3) {
                cluster.at(SETTLED, Fault::Dark(victim, true));
                cluster.at(SETTLED + 1_500 * MS, Fault::Dark(victim, false));
            }
            cluster.run(SETTLED + 4 * SECOND);
            let dead = cluster.record().of(Verdict::Dead).next();
            assert!(
                dead.is_none(),
                "{dark} of {nodes}: a storm is held, whoever it is about: {dead:?}"
            );
            let told = cluster
                .record()
                .holds
                .iter()
                .any(|(_, _, hold)| *hold == Some(Hold::Storm));
            assert!(told, "{dark} of {nodes}: and told");
        });
    }
}

#[test]
fn healthy_clusters_stay_alive() {
    seeds::each(env!("CARGO_CRATE_NAME"), 3, |seed| {
        for nodes in [2, 3, 5, 9, 40] {
            let mut cluster = settled(Setup::new(seed, nodes), 0.0);
            cluster.run(SETTLED + 10 * SECOND);
            let bad = cluster.record().sentences.iter().find(|sentence| {
                sentence.at > SETTLED && !matches!(sentence.verdict, Verdict::Alive | Verdict::Unknown)
            });
            assert!(bad.is_none(), "{nodes} nodes: {bad:?}");
        }
    });
}
