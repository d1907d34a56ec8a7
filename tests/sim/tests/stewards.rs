//! Stewards and observers that die, stand still, or lose the API, while a node dies or seems to: the cluster is never
//! worse off than under stock Kubernetes.

use detector_sim::cluster::{Cluster, Fault, MS, Mishap, SECOND, Setup};
use detector_sim::scenario::{SETTLED, settled};
use detector_sim::seeds;

const VICTIM: u32 = 8;
const REPLICAS: usize = 18;

fn cluster(seed: u64, nodes: u32) -> Cluster {
    let mut setup = Setup::new(seed, nodes);
    setup.replicas = Some(REPLICAS);
    settled(setup, 0.0)
}

/// The same with the stewards on hosts of their own, so that what befalls those is no other node's death.
fn cluster_apart(seed: u64) -> Cluster {
    let mut setup = Setup::new(seed, 9);
    setup.stewards = vec![9, 10, 11];
    setup.replicas = Some(REPLICAS);
    settled(setup, 0.0)
}

/// The dead node's pods run elsewhere, no client is sent to it, nobody else lost anything.
fn is_replaced(cluster: &Cluster, what: &str) {
    assert_eq!(cluster.api().serving("web"), REPLICAS, "{what}");
    assert_eq!(cluster.api().endpoints("web"), (REPLICAS, 0), "{what}");
    let wrong = cluster.api().deletions().iter().find(|deletion| deletion.alive);
    assert!(wrong.is_none(), "{what}: {wrong:?}");
}

/// The node that came back carries nothing of ours, and all its pods serve.
fn is_undone(cluster: &Cluster, what: &str) {
    assert_eq!(cluster.api().deletions(), [], "{what}");
    is_replaced(cluster, what);
    let tainted = cluster
        .api()
        .nodes()
        .find(|object| !object.node.taints.is_empty());
    assert!(tainted.is_none(), "{what}: {tainted:?}");
}

#[test]
fn pods_are_replaced_in_time() {
    seeds::each(env!("CARGO_CRATE_NAME"), 3, |seed| {
        let mut cluster = cluster(seed, 9);
        cluster.at(SETTLED, Fault::Crash(VICTIM));
        cluster.run(SETTLED + 250 * MS);
        assert_eq!(
            cluster.api().endpoints("web").1,
            0,
            "no endpoint is ready on the dead node"
        );
        cluster.run(SETTLED + 2_300 * MS);
        is_replaced(&cluster, "after 2.3 s");
    });
}

#[test]
fn without_one_or_two_stewards() {
    seeds::each(env!("CARGO_CRATE_NAME"), 2, |seed| {
        for dead in [vec![0], vec![1], vec![0, 1], vec![0, 2]] {
            let mut cluster = cluster(seed, 9);
            for seat in &dead {
                cluster.at(SETTLED, Fault::KillSteward(*seat));
            }
            cluster.at(SETTLED + SECOND, Fault::Crash(VICTIM));
            cluster.run(SETTLED + 4 * SECOND);
            is_replaced(&cluster, &format!("without {dead:?}"));
        }
    });
}

#[test]
fn a_steward_on_the_dead_node() {
    seeds::each(env!("CARGO_CRATE_NAME"), 2, |seed| {
        for host in 0..3 {
            let mut cluster = cluster(seed, 9);
            cluster.at(SETTLED, Fault::Crash(host));
            cluster.run(SETTLED + 3 * SECOND);
            is_replaced(&cluster, &format!("n{host} carried a steward"));
        }
    });
}

#[test]
fn no_steward_is_stock() {
    seeds::each(env!("CARGO_CRATE_NAME"), 1, |seed| {
        let mut cluster = cluster(seed, 9);
        for seat in 0..3 {
            cluster.at(SETTLED, Fault::KillSteward(seat));
        }
        cluster.at(SETTLED + SECOND, Fault::Crash(VICTIM));
        cluster.run(SETTLED + 40 * SECOND);
        assert_eq!(cluster.api().endpoints("web"), (16, 2));
        cluster.run(SETTLED + 60 * SECOND);
        assert_eq!(cluster.api().endpoints("web"), (16, 0));
    });
}

#[test]
fn dead_observers_are_no_silence_and_no_obstacle() {
    seeds::each(env!("CARGO_CRATE_NAME"), 3, |seed| {
        let mut cluster = cluster(seed, 24);
        let observers = cluster.observers_of(VICTIM);
        let gone: Vec<u32> = observers.into_iter().filter(|host| *host > 2).take(3).collect();
        for host in &gone {
            cluster.at(SETTLED, Fault::KillAgent(*host));
        }
        cluster.run(SETTLED + 4 * SECOND);
        assert_eq!(cluster.record().deads(), 0);
        let died = cluster.world().now();
        cluster.at(died, Fault::Crash(VICTIM));
        cluster.run(died + SECOND);
        let found = cluster.record().dead_after(VICTIM, died);
        assert!(
            found.is_some_and(|after| after < 200),
            "found after {found:?} ms without {gone:?}"
        );
    });
}

/// Kills the steward that acts after each of its writes in turn.
#[test]
fn a_steward_killed_after_any_write_of_a_remediation() {
    seeds::each(env!("CARGO_CRATE_NAME"), 1, |seed| {
        for mishap in [Mishap::Kill, Mishap::Stall(3 * SECOND), Mishap::Pause(3 * SECOND)] {
            for nth in 1.. {
                let mut cluster = cluster_apart(seed);
                cluster.after_write(0, nth, mishap);
                cluster.at(SETTLED, Fault::Crash(VICTIM));
                cluster.run(SETTLED + 9 * SECOND);
                is_replaced(&cluster, &format!("{mishap:?} after write {nth}"));
                if cluster.awaits_mishap(0) {
                    assert!(nth > 5, "{nth} writes are no remediation");
                    break;
                }
            }
        }
    });
}

/// The same, for a node that was only cut for a while: taint, slices, marks are all taken back by whoever is left.
#[test]
fn a_steward_lost_after_any_write_about_a_node_that_returns() {
    seeds::each(env!("CARGO_CRATE_NAME"), 1, |seed| {
        for mishap in [Mishap::Kill, Mishap::Stall(3 * SECOND), Mishap::Pause(3 * SECOND)] {
            for nth in 1.. {
                let mut cluster = cluster_apart(seed);
                cluster.after_write(0, nth, mishap);
                cluster.at(SETTLED, Fault::Dark(VICTIM, true));
                cluster.at(SETTLED + 700 * MS, Fault::Dark(VICTIM, false));
                cluster.run(SETTLED + 16 * SECOND);
                is_undone(&cluster, &format!("{mishap:?} after write {nth}"));
                if cluster.awaits_mishap(0) {
                    assert!(nth > 5, "{nth} writes are no remediation");
                    break;
                }
            }
        }
    });
}

/// All stewards die at once after a write, and new ones come 5 s later: they find the ledger and the marks.
#[test]
fn all_stewards_killed_after_any_write_and_started_again() {
    seeds::each(env!("CARGO_CRATE_NAME"), 1, |seed| {
        for returns in [false, true] {
            for nth in 1..=12 {
                let mut cluster = cluster(seed, 9);
                cluster.after_write(0, nth, Mishap::KillAll);
                cluster.at(SETTLED, Fault::Dark(VICTIM, true));
                if returns {
                    cluster.at(SETTLED + 600 * MS, Fault::Dark(VICTIM, false));
                }
                for seat in 0..3 {
                    cluster.at(SETTLED + 5 * SECOND, Fault::StartSteward(seat));
                }
                cluster.run(SETTLED + 35 * SECOND);
                let what = format!("all killed after write {nth}, returns: {returns}");
                if returns {
                    is_undone(&cluster, &what);
                } else {
                    is_replaced(&cluster, &what);
                }
            }
        }
    });
}

/// All stewards die after a write and nobody starts them: stock Kubernetes goes on as if we had never been there.
#[test]
fn no_worse_than_stock_when_all_are_killed_for_good() {
    seeds::each(env!("CARGO_CRATE_NAME"), 1, |seed| {
        for nth in [1, 2, 3, 4, 6, 8] {
            let mut cluster = cluster(seed, 9);
            cluster.after_write(0, nth, Mishap::KillAll);
            cluster.at(SETTLED, Fault::Crash(VICTIM));
            cluster.run(SETTLED + 50 * SECOND);
            assert_eq!(cluster.api().endpoints("web").1, 0, "as stock after 50 s");
            assert!(cluster.api().serving("web") >= 16);
            cluster.run_kubernetes_alone(SETTLED + 352 * SECOND);
            is_replaced(
                &cluster,
                &format!("as stock after 350 s, killed after write {nth}"),
            );
        }
    });
}

#[test]
fn an_api_outage_delays_and_breaks_nothing() {
    seeds::each(env!("CARGO_CRATE_NAME"), 2, |seed| {
        for (begin, length) in [(0, 3), (0, 20), (1, 5)] {
            let mut cluster = cluster(seed, 9);
            let outage = SETTLED + begin * 180 * MS;
            cluster.at(outage, Fault::Api(false));
            cluster.at(outage + length * SECOND, Fault::Api(true));
            cluster.at(SETTLED, Fault::Crash(VICTIM));
            cluster.run(outage + length * SECOND + 10 * SECOND);
            is_replaced(&cluster, &format!("outage of {length} s"));
        }
    });
}

/// The API is away while a healthy node is cut for a moment: nothing is written late.
#[test]
fn an_outage_over_a_mistake_writes_nothing_late() {
    seeds::each(env!("CARGO_CRATE_NAME"), 2, |seed| {
        let mut cluster = cluster(seed, 9);
        cluster.at(SETTLED + 100 * MS, Fault::Api(false));
        cluster.at(SETTLED, Fault::Dark(VICTIM, true));
        cluster.at(SETTLED + 1_500 * MS, Fault::Dark(VICTIM, false));
        cluster.at(SETTLED + 3_000 * MS, Fault::Api(true));
        cluster.run(SETTLED + 25 * SECOND);
        is_undone(&cluster, "outage");
    });
}

/// Four of twenty die at once: two at a time, and in the end all of them.
#[test]
fn more_than_the_budget_waits_for_its_turn() {
    seeds::each(env!("CARGO_CRATE_NAME"), 2, |seed| {
        let mut cluster = cluster(seed, 20);
        for victim in [6, 9, 13, 17] {
            cluster.at(SETTLED, Fault::Crash(victim));
        }
        cluster.run(SETTLED + 40 * SECOND);
        is_replaced(&cluster, "four of twenty");
    });
}
