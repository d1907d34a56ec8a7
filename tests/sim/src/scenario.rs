//! What many scenarios have in common: a settled cluster, and deaths measured one after the other.

use detector::judgement::Verdict;

use crate::cluster::{Cluster, Fault, MS, SECOND, Setup};
use crate::rng::Rng;
use crate::stats::Series;

/// From here on everybody has heard everybody, and loss estimates hold their two seconds.
pub const SETTLED: u64 = 6 * SECOND;

/// A cluster in which nothing has gone wrong yet but this loss, each way.
#[must_use]
pub fn settled(setup: Setup, loss: f64) -> Cluster {
    let mut cluster = Cluster::new(setup);
    cluster.at(0, Fault::Loss(loss));
    cluster.run(SETTLED);
    cluster
}

/// Panics when anybody was found dead.
#[track_caller]
pub fn no_dead(cluster: &Cluster) {
    let dead = cluster.record().of(Verdict::Dead).next();
    assert!(dead.is_none(), "{dead:?}");
}

/// From deaths to verdicts.
#[derive(Clone, Debug, Default)]
pub struct Deaths {
    /// To the first steward's `Dead`.
    pub first: Series,
    /// To the last one's.
    pub last: Series,
    /// Not judged within 0.4 s.
    pub missed: usize,
}

/// Kills hosts one after the other at random moments, and starts each again.
#[must_use]
pub fn deaths(mut cluster: Cluster, seed: u64, kills: usize, nodes: u32) -> Deaths {
    let mut rng = Rng::new(seed, 0x6b69_6c6c);
    let mut deaths = Deaths::default();
    for _ in 0..kills {
        let victim = rng.below(u64::from(nodes)) as u32;
        let died = cluster.world().now() + rng.below(SECOND);
        cluster.at(died, Fault::Crash(victim));
        cluster.run(died + 400 * MS);
        let verdicts: Vec<u64> = (0..cluster.seats().len())
            .filter_map(|seat| {
                let of_seat = cluster
                    .record()
                    .of(Verdict::Dead)
                    .filter(|sentence| sentence.seat == seat);
                of_seat
                    .filter(|sentence| sentence.subject == victim && sentence.at >= died)
                    .map(|sentence| sentence.at - died)
                    .next()
            })
            .collect();
        match (verdicts.iter().min(), verdicts.iter().max()) {
            (Some(first), Some(last)) => {
                deaths.first.push(*first);
                deaths.last.push(*last);
            }
            _ => deaths.missed += 1,
        }
        let back = cluster.world().now() + MS;
        cluster.at(back, Fault::Boot(victim));
        for seat in 0..cluster.seats().len() {
            if cluster.seats()[seat].host == victim {
                cluster.at(back + 500 * MS, Fault::StartSteward(seat));
            }
        }
        cluster.run(back + 4 * SECOND);
    }
    deaths
}
