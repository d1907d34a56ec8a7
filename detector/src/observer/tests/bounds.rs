//! What no peer and no silence can exceed.

use crate::identity::{IncidentId, MemberId};
use crate::message::{Hint, Look, MAX_LOSSES};
use crate::profile::{DENSE_TIME, MAX_LOOKS, PROBE_INTERVAL_FEW};
use crate::time::nanos;

use super::world::{World, id, ms, third};

fn gaps(sendings: &[u64]) -> impl Iterator<Item = u64> {
    sendings.windows(2).map(|pair| pair[1] - pair[0])
}

#[test]
fn never_more_than_one_probe_in_five_ms_whatever_happens() {
    // Loss, hints and looks at every moment.
    let mut world = World::settled(4);
    world.lose = third;
    for step in 0..5_000_u64 {
        let now = world.clock(0);
        let subject = id(1 + (step % 3) as usize);
        let from = id(1 + ((step + 1) % 3) as usize);
        let boot = world.boot(1);
        let hint = Hint {
            subject,
            boot,
            incident: IncidentId(step + 1),
        };
        world.nodes[0].observer.handle_hint(&hint, from, now);
        let look = Look {
            subject,
            boot,
            nonce: step + 1,
        };
        world.nodes[0]
            .observer
            .handle_look(&look, MemberId(1_000 + step % 9), now);
        world.run(std::time::Duration::from_micros(700));
    }
    for (subject, sendings) in &world.nodes[0].probes {
        assert!(
            gaps(sendings).all(|gap| gap >= nanos(PROBE_INTERVAL_FEW)),
            "{subject}"
        );
    }
    assert!(world.nodes[0].observer.counters().hints_limited > 0);
}

#[test]
fn a_flood_of_hints_about_a_living_subject_costs_no_more_than_a_silence() {
    let mut world = World::settled(9);
    for step in 0..2_000_u64 {
        let now = world.clock(0);
        let hint = Hint {
            subject: id(8),
            boot: world.boot(8),
            incident: IncidentId(step + 1),
        };
        world.nodes[0].observer.handle_hint(&hint, id(1), now);
        world.run(std::time::Duration::from_micros(500));
    }
    let node = &world.nodes[0];
    assert!(
        node.probes[&id(8)].len() <= 101,
        "{} probes in 1 s",
        node.probes[&id(8)].len()
    );
    assert!(node.reports.len() <= 151, "{} reports in 1 s", node.reports.len());
    // And it ends with the flood.
    world.nodes[0].probes.clear();
    world.run(ms(200));
    world.nodes[0].probes.clear();
    world.nodes[0].reports.clear();
    world.run(ms(1_600));
    assert!(world.nodes[0].reports.is_empty());
    assert!((9..=11).contains(&world.nodes[0].probes[&id(8)].len()));
}

#[test]
fn a_silence_of_hours_is_not_paid_for_all_the_time() {
    let mut world = World::settled(9);
    world.kill(8);
    world.run(ms(5_000));
    assert_eq!(world.most_losses(0, 8), MAX_LOSSES);
    world.run(DENSE_TIME);
    for node in &mut world.nodes {
        node.probes.clear();
        node.reports.clear();
        node.hints.clear();
    }
    world.run(ms(60_000));
    let probes = world.nodes[0].probes[&id(8)].len();
    assert!(
        (1_000..2_000).contains(&probes),
        "{probes} in a minute; 6,000 without a rest"
    );
    let reports = world.nodes[0]
        .reports
        .iter()
        .filter(|(_, report)| report.subject == id(8))
        .count();
    assert!(reports < 2_000, "{reports} in a minute");
    assert!(reports > 200, "{reports}: what is held back must be judged again");
}

#[test]
fn after_a_rest_all_run_again_together_by_evidence_of_that_run_only() {
    let mut world = World::settled(9);
    world.kill(8);
    world.run(DENSE_TIME + ms(1_000));
    for node in &mut world.nodes {
        node.reports.clear();
    }
    world.run(ms(12_000));
    // Some moment at which five observers have fresh reports of three losses and a whole window each.
    let full = |at: u64| {
        let fresh = |node: &super::world::Node| {
            let mut reports = node.reports.iter().rev();
            let last = reports.find(|(told, report)| *told <= at && report.subject == id(8));
            last.is_some_and(|(told, report)| {
                let span = report
                    .losses
                    .first()
                    .zip(report.losses.last())
                    .map(|(a, b)| *a - *b);
                at - told <= nanos(ms(50)) && report.losses.len() >= 3 && span >= Some(ms(100))
            })
        };
        world.nodes[..8].iter().filter(|node| fresh(node)).count()
    };
    let moments: Vec<usize> = (0..1_200)
        .map(|step| full(world.now - nanos(ms(12_000 - step * 10))))
        .collect();
    assert!(moments.contains(&8), "never all together");
    let oldest = world.nodes[0]
        .reports
        .iter()
        .filter_map(|(_, report)| report.losses.first())
        .max()
        .unwrap();
    assert!(*oldest < ms(1_200), "{oldest:?}: from before the rest");
}

#[test]
fn new_stewards_hear_of_an_old_silence_at_once() {
    let mut world = World::settled(9);
    world.kill(8);
    world.run(DENSE_TIME + ms(1_000));
    for node in 0..8 {
        world.nodes[node].reports.clear();
        let now = world.clock(node);
        world.nodes[node].observer.handle_new_stewards(now);
    }
    world.run(ms(400));
    for node in 0..8 {
        assert!(
            world.last_report(node, 8).unwrap().losses.len() > 5,
            "node {node}"
        );
    }
}

#[test]
fn looks_that_wait_are_bounded() {
    let mut world = World::settled(3);
    world.kill(2);
    let now = world.clock(0);
    let boot = world.boot(2);
    for steward in 0..100 {
        let look = Look {
            subject: id(2),
            boot,
            nonce: steward + 1,
        };
        world.nodes[0]
            .observer
            .handle_look(&look, MemberId(1_000 + steward), now);
    }
    world.run(ms(500));
    let answers = world.nodes[0]
        .reports
        .iter()
        .filter(|(_, report)| report.nonce != 0)
        .count();
    assert_eq!(answers, MAX_LOOKS);
    assert_eq!(
        world.nodes[0].observer.counters().looks_dropped,
        100 - MAX_LOOKS as u64
    );
}
