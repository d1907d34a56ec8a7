//! Kubelets that are down on hosts that live: a taint that keeps new pods away, on few nodes at once, and nothing else.

use detector::incident::Step;
use detector::judgement::{Hold, Verdict};
use detector::remedy::object::OwnTaint;
use detector_sim::cluster::{Cluster, Fault, MS, Mishap, SECOND, Setup};
use detector_sim::network::Rule;
use detector_sim::scenario::{SETTLED, settled};
use detector_sim::seeds;

const VICTIM: u32 = 8;
const REPLICAS: usize = 18;

/// The stewards on hosts of their own.
fn cluster(seed: u64, nodes: u32) -> Cluster {
    let mut setup = Setup::new(seed, nodes);
    setup.stewards = vec![nodes, nodes + 1, nodes + 2];
    setup.replicas = Some(REPLICAS);
    settled(setup, 0.0)
}

/// The nodes that bear one of our taints.
fn tainted(cluster: &Cluster, own: OwnTaint) -> Vec<String> {
    let nodes = cluster.api().nodes();
    let bear = nodes.filter(|object| object.node.own_taint(own).is_some());
    bear.map(|object| object.node.name.clone()).collect()
}

/// Until one of our taints comes, or goes, in ms from `since`; looked at each 10 ms for a minute.
fn until(cluster: &mut Cluster, since: u64, wanted: bool) -> Option<u64> {
    for _ in 0..6_000 {
        let now = cluster.world().now();
        if tainted(cluster, OwnTaint::Degraded).is_empty() != wanted {
            return Some((now - since) / MS);
        }
        cluster.run(now + 10 * MS);
    }
    None
}

/// No pod was touched, and no node condemned.
fn nothing_else(cluster: &Cluster) {
    assert_eq!(cluster.api().deletions(), []);
    assert_eq!(cluster.api().endpoints("web"), (REPLICAS, 0));
    assert_eq!(cluster.record().deads(), 0);
    assert_eq!(tainted(cluster, OwnTaint::Dead), [""; 0]);
}

#[test]
fn a_kubelet_that_is_down_for_five_seconds_is_nothing() {
    seeds::each(env!("CARGO_CRATE_NAME"), 3, |seed| {
        let mut cluster = cluster(seed, 9);
        cluster.at(SETTLED, Fault::Kubelet(VICTIM, false));
        cluster.at(SETTLED + 5 * SECOND, Fault::Kubelet(VICTIM, true));
        cluster.run(SETTLED + 3 * SECOND);
        assert_eq!(cluster.record().last(0, VICTIM), Some(Verdict::Degraded));
        assert_eq!(until(&mut cluster, SETTLED, true), None);
        nothing_else(&cluster);
    });
}

#[test]
fn one_that_is_down_for_fifteen_keeps_new_pods_away_until_it_is_back() {
    seeds::each(env!("CARGO_CRATE_NAME"), 3, |seed| {
        let mut cluster = cluster(seed, 9);
        let back = SETTLED + 15 * SECOND;
        cluster.at(SETTLED, Fault::Kubelet(VICTIM, false));
        cluster.at(back, Fault::Kubelet(VICTIM, true));
        let on = until(&mut cluster, SETTLED, true);
        assert!(on.is_some_and(|on| (10_000..10_100).contains(&on)), "{on:?}");
        assert_eq!(tainted(&cluster, OwnTaint::Degraded), [format!("n{VICTIM}")]);
        let off = until(&mut cluster, back, false);
        assert!(off.is_some_and(|off| (10_000..10_100).contains(&off)), "{off:?}");
        cluster.run(back + 30 * SECOND);
        assert_eq!(tainted(&cluster, OwnTaint::Degraded), [""; 0]);
        nothing_else(&cluster);
    });
}

/// A third at once: a tenth bears the taint. One more, and nobody does.
#[test]
fn a_fault_that_all_kubelets_share_stops_no_scheduling() {
    seeds::each(env!("CARGO_CRATE_NAME"), 1, |seed| {
        for (down, wanted, hold) in [(10, 3, Hold::Budget), (11, 0, Hold::Storm)] {
            let mut cluster = cluster(seed, 30);
            for host in 0..down {
                cluster.at(SETTLED, Fault::Kubelet(host, false));
            }
            cluster.run(SETTLED + 20 * SECOND);
            assert_eq!(tainted(&cluster, OwnTaint::Degraded).len(), wanted, "{down} down");
            let held = cluster.record().entries.iter();
            let held = held.filter(|(.., entry)| entry.step == Step::Held { hold });
            assert!(held.count() >= down as usize - wanted, "{down} down");
            nothing_else(&cluster);
        }
    });
}

/// The steward whose turn it is hears nobody any more, but reaches the API: what it heard last is not what is.
#[test]
fn a_steward_that_hears_nobody_taints_nobody() {
    seeds::each(env!("CARGO_CRATE_NAME"), 2, |seed| {
        let mut cluster = cluster(seed, 9);
        cluster.at(SETTLED, Fault::Kubelet(VICTIM, false));
        let cut = Rule { loss: 1.0, delay: 0 };
        for other in (0..9).chain([10, 11]) {
            cluster.at(SETTLED + 2 * SECOND, Fault::Rule(9, other, cut));
            cluster.at(SETTLED + 2 * SECOND, Fault::Rule(other, 9, cut));
        }
        cluster.at(SETTLED + 5 * SECOND, Fault::Kubelet(VICTIM, true));
        assert_eq!(until(&mut cluster, SETTLED, true), None);
        nothing_else(&cluster);
    });
}

/// A steward that is lost after its write of the taint, or of its end, leaves the rest to the next.
#[test]
fn a_steward_lost_after_any_write() {
    seeds::each(env!("CARGO_CRATE_NAME"), 1, |seed| {
        for mishap in [Mishap::Kill, Mishap::Stall(3 * SECOND), Mishap::Pause(3 * SECOND)] {
            for nth in 1.. {
                let mut cluster = cluster(seed, 9);
                let back = SETTLED + 14 * SECOND;
                cluster.after_write(0, nth, mishap);
                cluster.at(SETTLED, Fault::Kubelet(VICTIM, false));
                cluster.at(back, Fault::Kubelet(VICTIM, true));
                cluster.run(back);
                let what = format!("{mishap:?} after write {nth}");
                assert_eq!(tainted(&cluster, OwnTaint::Degraded).len(), 1, "{what}");
                cluster.run(back + 15 * SECOND);
                assert_eq!(tainted(&cluster, OwnTaint::Degraded), [""; 0], "{what}");
                nothing_else(&cluster);
                if cluster.awaits_mishap(0) {
                    assert!(nth > 4, "{nth} writes are too few");
                    break;
                }
            }
        }
    });
}

/// Nobody is left who knows of the taint: those who come find it.
#[test]
fn stewards_that_start_find_it() {
    seeds::each(env!("CARGO_CRATE_NAME"), 1, |seed| {
        let mut cluster = cluster(seed, 9);
        cluster.at(SETTLED, Fault::Kubelet(VICTIM, false));
        let killed = SETTLED + 12 * SECOND;
        for seat in 0..3 {
            cluster.at(killed, Fault::KillSteward(seat));
            cluster.at(killed + 5 * SECOND, Fault::StartSteward(seat));
        }
        cluster.at(killed + SECOND, Fault::Kubelet(VICTIM, true));
        cluster.run(killed + 5 * SECOND);
        assert_eq!(tainted(&cluster, OwnTaint::Degraded).len(), 1);
        cluster.run(killed + 22 * SECOND);
        assert_eq!(tainted(&cluster, OwnTaint::Degraded), [""; 0]);
        nothing_else(&cluster);
    });
}

/// It dies while it bears the taint: its pods are replaced as any other's, and when it is back it bears neither.
#[test]
fn a_degraded_node_that_dies_is_remedied_as_any_other() {
    seeds::each(env!("CARGO_CRATE_NAME"), 2, |seed| {
        let mut cluster = cluster(seed, 9);
        let died = SETTLED + 12 * SECOND;
        cluster.at(SETTLED, Fault::Kubelet(VICTIM, false));
        cluster.at(died, Fault::Crash(VICTIM));
        cluster.run(died);
        assert_eq!(tainted(&cluster, OwnTaint::Degraded).len(), 1);
        cluster.run(died + 2_300 * MS);
        assert_eq!(cluster.api().serving("web"), REPLICAS);
        assert_eq!(tainted(&cluster, OwnTaint::Dead).len(), 1);
        let back = died + 10 * SECOND;
        cluster.at(back, Fault::Boot(VICTIM));
        cluster.run(back + 30 * SECOND);
        assert_eq!(tainted(&cluster, OwnTaint::Dead), [""; 0]);
        assert_eq!(tainted(&cluster, OwnTaint::Degraded), [""; 0]);
    });
}
