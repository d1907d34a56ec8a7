//! A firewall closes the mesh port of a healthy host, while its way to the API is open: it says so itself.

use detector_sim::cluster::{Cluster, Fault, SECOND, Setup};
use detector_sim::scenario::{SETTLED, settled};
use detector_sim::seeds;

fn cluster(seed: u64, loss: f64) -> Cluster {
    let setup = Setup {
        replicas: Some(18),
        ..Setup::new(seed, 9)
    };
    settled(setup, loss)
}

/// Signs through the API.
fn said(cluster: &Cluster, since: u64) -> usize {
    cluster
        .record()
        .unheard
        .iter()
        .filter(|(at, _)| *at > since)
        .count()
}

#[test]
fn a_host_that_speaks_through_the_api_loses_nothing() {
    seeds::each(env!("CARGO_CRATE_NAME"), 3, |seed| {
        let mut cluster = cluster(seed, 0.0);
        cluster.at(SETTLED, Fault::MeshClosed(8, true));
        cluster.run(SETTLED + 30 * SECOND);
        assert!(
            cluster.record().unheard.iter().any(|(_, host)| *host == 8),
            "it says that it lives"
        );
        assert_eq!(cluster.api().deletions(), []);
        assert_eq!(cluster.api().endpoints("web"), (18, 0));
        assert!(cluster.api().node("n8").expect("a Node").node.taints.is_empty());
        assert_eq!(cluster.record().mistaken(), cluster.record().deads());
    });
}

/// Its first words meet no API; when that is back, the stewards' writes meet one at once.
#[test]
fn a_host_that_could_not_speak_during_an_outage_loses_nothing() {
    seeds::each(env!("CARGO_CRATE_NAME"), 3, |seed| {
        let mut cluster = cluster(seed, 0.0);
        cluster.at(SETTLED, Fault::Api(false));
        cluster.at(SETTLED + SECOND, Fault::MeshClosed(8, true));
        cluster.at(SETTLED + 7 * SECOND / 2, Fault::Api(true));
        cluster.run(SETTLED + 30 * SECOND);
        assert!(cluster.record().deads() > 0, "it is condemned meanwhile");
        assert_eq!(cluster.api().deletions(), []);
    });
}

#[test]
fn nobody_else_says_so() {
    seeds::each(env!("CARGO_CRATE_NAME"), 2, |seed| {
        let mut cluster = cluster(seed, 0.05);
        cluster.at(SETTLED, Fault::Crash(8));
        cluster.run(SETTLED + 10 * SECOND);
        assert_eq!(said(&cluster, SETTLED), 0);
    });
}

/// Observers that are gone leave gaps between the turns of those that are left: that is no closed mesh.
#[test]
fn gone_observers_are_no_closed_mesh() {
    seeds::each(env!("CARGO_CRATE_NAME"), 2, |seed| {
        let mut cluster = cluster(seed, 0.0);
        for host in 6..9 {
            cluster.at(SETTLED, Fault::KillAgent(host));
        }
        cluster.run(SETTLED + 10 * SECOND);
        assert_eq!(said(&cluster, SETTLED), 0);
    });
}

/// What it said holds until it is heard again, and does not cover its death.
#[test]
fn a_death_after_a_word_through_the_api_is_found() {
    seeds::each(env!("CARGO_CRATE_NAME"), 2, |seed| {
        let mut cluster = cluster(seed, 0.0);
        cluster.at(SETTLED, Fault::MeshClosed(8, true));
        cluster.at(SETTLED + SECOND, Fault::MeshClosed(8, false));
        let died = SETTLED + 2 * SECOND;
        cluster.at(died, Fault::Crash(8));
        cluster.run(died + SECOND);
        assert!(said(&cluster, SETTLED) > 0);
        let found = cluster.record().dead_after(8, died);
        assert!(found.is_some_and(|after| after < 170), "found after {found:?} ms");
    });
}
