//! Partitions: the smaller side does nothing, and neither side of an even one evicts the other.

use detector::judgement::Verdict;
use detector_sim::cluster::{Cluster, Fault, SECOND, Setup};
use detector_sim::scenario::{SETTLED, settled};
use detector_sim::seeds;

fn split(seed: u64, nodes: u32, stewards: Vec<u32>, far: Vec<u32>) -> Cluster {
    let mut setup = Setup::new(seed, nodes);
    setup.stewards = stewards;
    setup.replicas = Some(nodes as usize * 2);
    let mut cluster = settled(setup, 0.0);
    cluster.at(SETTLED, Fault::Side(far.clone(), 1));
    cluster.at(SETTLED + 5 * SECOND, Fault::Side(far, 0));
    cluster.run(SETTLED + 25 * SECOND);
    cluster
}

fn nothing_was_deleted(cluster: &Cluster, nodes: u32) {
    assert_eq!(cluster.api().deletions(), []);
    assert!(cluster.api().nodes().all(|object| object.node.taints.is_empty()));
    assert_eq!(cluster.api().endpoints("web"), (nodes as usize * 2, 0));
}

#[test]
fn an_even_partition_condemns_nobody() {
    seeds::each(env!("CARGO_CRATE_NAME"), 3, |seed| {
        let cluster = split(seed, 12, vec![0, 1, 6], (6..12).collect());
        assert_eq!(cluster.record().deads(), 0);
        nothing_was_deleted(&cluster, 12);
    });
}

#[test]
fn the_smaller_side_condemns_nobody() {
    seeds::each(env!("CARGO_CRATE_NAME"), 3, |seed| {
        let cluster = split(seed, 12, vec![0, 1, 2], vec![0, 1, 2, 3]);
        assert_eq!(cluster.record().deads(), 0, "all stewards are in the minority");
        nothing_was_deleted(&cluster, 12);
    });
}

/// Two of twelve: the larger side may condemn them, mistaken, within the budget; one at a time.
#[test]
fn the_larger_side_condemns_a_few_and_takes_it_back() {
    seeds::each(env!("CARGO_CRATE_NAME"), 3, |seed| {
        let mut setup = Setup::new(seed, 12);
        setup.stewards = vec![0, 1, 2];
        setup.replicas = Some(24);
        let mut cluster = settled(setup, 0.0);
        cluster.at(SETTLED, Fault::Side(vec![10, 11], 1));
        cluster.at(SETTLED + SECOND, Fault::Side(vec![10, 11], 0));
        cluster.run(SETTLED + 25 * SECOND);
        assert_eq!(cluster.record().mistaken(), cluster.record().deads());
        assert!(cluster.record().of(Verdict::Dead).all(|dead| dead.subject >= 10));
        nothing_was_deleted(&cluster, 12);
    });
}

#[test]
fn a_steward_alone_on_its_side_is_the_minority() {
    seeds::each(env!("CARGO_CRATE_NAME"), 3, |seed| {
        let cluster = split(seed, 9, vec![0, 1, 2], vec![2]);
        let by_the_lonely = cluster
            .record()
            .of(Verdict::Dead)
            .filter(|dead| dead.seat == 2)
            .count();
        assert_eq!(by_the_lonely, 0);
    });
}
