//! A healthy host that nobody hears for a while: mistaken at worst, undone on its return, and no pod is lost below the
//! second look.

use detector::judgement::Verdict;
use detector_sim::cluster::{Cluster, Fault, MS, SECOND, Setup};
use detector_sim::scenario::{SETTLED, settled};
use detector_sim::seeds;

const VICTIM: u32 = 7;

fn serving(seed: u64) -> Cluster {
    let setup = Setup {
        replicas: Some(18),
        ..Setup::new(seed, 9)
    };
    settled(setup, 0.0)
}

fn blackout(seed: u64, length: u64, begin: impl Fn(&mut Cluster, u64)) -> Cluster {
    let mut cluster = serving(seed);
    begin(&mut cluster, length);
    cluster.run(SETTLED + length + 20 * SECOND);
    cluster
}

fn cut(cluster: &mut Cluster, length: u64) {
    cluster.at(SETTLED, Fault::Dark(VICTIM, true));
    cluster.at(SETTLED + length, Fault::Dark(VICTIM, false));
}

fn is_undone(cluster: &Cluster, length: u64) {
    let what = format!("after {} ms", length / MS);
    assert_eq!(cluster.record().mistaken(), cluster.record().deads(), "{what}");
    for seat in 0..3 {
        let last = cluster.record().last(seat, VICTIM);
        assert_eq!(last, Some(Verdict::Alive), "{what}, steward {seat}");
    }
    let node = &cluster.api().node("n7").expect("a Node").node;
    assert!(node.taints.is_empty(), "{what}: {:?}", node.taints);
    assert_eq!(cluster.api().endpoints("web"), (18, 0), "{what}");
    assert_eq!(cluster.api().serving("web"), 18, "{what}");
}

#[test]
fn a_cut_is_undone_and_loses_no_pod_below_the_second_look() {
    seeds::each(env!("CARGO_CRATE_NAME"), 2, |seed| {
        for length in [100, 130, 150, 200, 300, 500, 800, 1_000, 1_100] {
            let length = length * MS;
            let cluster = blackout(seed, length, cut);
            is_undone(&cluster, length);
            assert_eq!(cluster.api().deletions(), [], "after {} ms", length / MS);
            let seen: Vec<_> = cluster
                .record()
                .sentences
                .iter()
                .filter(|told| told.at > SETTLED)
                .collect();
            assert!(
                length < 200 * MS || cluster.record().deads() > 0,
                "{} ms: {seen:?}",
                length / MS
            );
        }
    });
}

#[test]
fn a_longer_one_may_lose_pods_but_nothing_else() {
    seeds::each(env!("CARGO_CRATE_NAME"), 2, |seed| {
        for length in [1_500, 2_000, 3_000] {
            let length = length * MS;
            let cluster = blackout(seed, length, cut);
            is_undone(&cluster, length);
            assert!(
                cluster
                    .api()
                    .deletions()
                    .iter()
                    .all(|deletion| deletion.node == "n7")
            );
        }
    });
}

#[test]
fn a_pause_by_the_hypervisor_is_undone() {
    seeds::each(env!("CARGO_CRATE_NAME"), 2, |seed| {
        for length in [100, 150, 300, 700, 1_000] {
            let length = length * MS;
            let cluster = blackout(seed, length, |cluster, length| {
                cluster.at(SETTLED, Fault::Pause(VICTIM, length));
            });
            is_undone(&cluster, length);
            assert_eq!(cluster.api().deletions(), [], "after {} ms", length / MS);
        }
    });
}

/// What came back once after a silence is given five times that before anything irreversible.
#[test]
fn the_second_look_remembers_the_longest_silence() {
    seeds::each(env!("CARGO_CRATE_NAME"), 2, |seed| {
        let mut cluster = serving(seed);
        let second = SETTLED + 12 * SECOND;
        for (begin, length) in [(SETTLED, 900 * MS), (second, 3 * SECOND)] {
            cluster.at(begin, Fault::Dark(VICTIM, true));
            cluster.at(begin + length, Fault::Dark(VICTIM, false));
        }
        cluster.run(second + 23 * SECOND);
        assert_eq!(cluster.api().deletions(), []);
        is_undone(&cluster, 3 * SECOND);
    });
}
