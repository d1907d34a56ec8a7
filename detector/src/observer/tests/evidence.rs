//! What a dead host looks like: when it is asked, what is told, and in which numbers.

use crate::identity::IncidentId;
use crate::message::{Ability, Look};
use crate::profile::{LOSS_FLOOR, PROBE_INTERVAL, REPORT_INTERVAL, REPORT_TAIL, SLOT};
use crate::time::nanos;

use super::world::{World, id, ms, third};

/// A look by the steward 1000.
fn look(world: &mut World, node: usize, subject: usize, nonce: u64) {
    let now = world.clock(node);
    let look = Look {
        subject: id(subject),
        boot: world.boot(subject),
        nonce,
    };
    world.nodes[node]
        .observer
        .handle_look(&look, crate::identity::MemberId(1_000), now);
}

fn answer(world: &World, node: usize, nonce: u64) -> Option<(u64, &crate::message::Report)> {
    let mut reports = world.nodes[node].reports.iter();
    reports
        .find(|(_, report)| report.nonce == nonce)
        .map(|(at, report)| (*at, report))
}

#[test]
fn a_quiet_cluster_asks_each_subject_once_a_slot_and_reports_nothing() {
    let mut world = World::settled(9);
    world.run(ms(1_600));
    for subject in 0..9 {
        let mut sendings: Vec<u64> = Vec::new();
        for node in &world.nodes {
            assert!(node.reports.is_empty(), "{:?}", node.reports);
            sendings.extend(node.probes.get(&id(subject)).into_iter().flatten());
        }
        sendings.sort_unstable();
        assert!(
            (79..=81).contains(&sendings.len()),
            "{} probes in 80 slots",
            sendings.len()
        );
        for pair in sendings.windows(2) {
            // Half a round trip of 0.4 ms is known to be there.
            assert!(
                (pair[1] - pair[0]).abs_diff(nanos(SLOT)) < 10_000,
                "{}",
                pair[1] - pair[0]
            );
        }
    }
}

#[test]
fn the_newly_heard_boot_is_reported_five_times() {
    let mut world = World::new(3);
    world.run(ms(1_000));
    let about = |subject: usize| {
        let reports = world.nodes[0].reports.iter();
        reports
            .filter(move |(_, report)| report.subject == id(subject))
            .map(|(_, report)| report)
    };
    for subject in [1, 2] {
        assert!(
            (5..=7).contains(&about(subject).count()),
            "{}",
            about(subject).count()
        );
        assert!(about(subject).all(|report| report.boot == world.boot(subject) && report.losses.is_empty()));
    }
}

#[test]
fn a_dead_host_has_three_losses_at_each_observer_that_span_the_window() {
    let mut world = World::settled(9);
    world.kill(8);
    let dead = world.now;
    world.run(ms(165));
    for node in 0..8 {
        let report = world.last_report(node, 8).unwrap();
        assert_eq!(
            (report.ability, report.boot),
            (Ability::Able, world.boot(8)),
            "node {node}"
        );
        assert!(report.losses.len() >= 3, "node {node}: {:?}", report.losses);
        assert!(report.losses.is_sorted_by(|a, b| a > b), "oldest first");
        assert!((report.loss - LOSS_FLOOR).abs() < 0.02, "frozen: {}", report.loss);
        assert!(report.losses.iter().all(|loss| *loss < report.echo.unwrap()));
    }
    // The evidence of all, as a steward would have it: from the first loss to the last.
    let sent = |(at, report): &(u64, crate::message::Report)| {
        report
            .losses
            .iter()
            .map(|age| at - nanos(*age))
            .collect::<Vec<_>>()
    };
    let mut all: Vec<u64> = world.nodes[..8]
        .iter()
        .flat_map(|node| node.reports.iter().flat_map(sent))
        .collect();
    all.sort_unstable();
    assert!(all[0] >= dead && all[0] - dead < nanos(SLOT) + 1_000_000);
    assert!(all[all.len() - 1] - all[0] >= nanos(ms(120)));
    let labels: std::collections::BTreeSet<IncidentId> = (0..8)
        .map(|node| world.last_report(node, 8).unwrap().incident)
        .collect();
    assert_eq!(labels.len(), 1, "one suspicion, one label");
}

#[test]
fn a_loss_is_judged_at_its_timeout_and_not_at_the_next_turn() {
    let mut world = World::settled(9);
    world.kill(8);
    world.run(ms(400));
    for node in 0..8 {
        let probes = &world.nodes[node].probes[&id(8)];
        // The first lost probe is followed after its timeout of 5 ms, and no earlier than the dense interval.
        let gaps: Vec<u64> = probes.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(
            gaps.iter().all(|gap| *gap == nanos(PROBE_INTERVAL)),
            "node {node}: {gaps:?}"
        );
        let reports = &world.nodes[node].reports;
        let counted = reports
            .iter()
            .find(|(_, report)| !report.losses.is_empty())
            .unwrap()
            .0;
        assert!(
            counted - probes[0] < nanos(ms(35)),
            "node {node}: {}",
            counted - probes[0]
        );
    }
}

#[test]
fn the_second_loss_is_told_and_told_again() {
    let mut world = World::settled(9);
    world.kill(8);
    let dead = world.now;
    world.run(ms(300));
    let first = world
        .nodes
        .iter()
        .filter_map(|node| node.hints.first())
        .map(|(at, _)| *at)
        .min()
        .unwrap();
    // A slot, the second probe after 10 ms, and its timeout.
    assert!(first - dead <= nanos(ms(20 + 10 + 5 + 1)), "{}", first - dead);
    for node in &world.nodes[..8] {
        let gaps: Vec<u64> = node.hints.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(
            !gaps.is_empty() && gaps.iter().all(|gap| *gap >= nanos(ms(20))),
            "{gaps:?}"
        );
        assert!(gaps.iter().all(|gap| *gap <= nanos(ms(25))), "{gaps:?}");
    }
}

#[test]
fn an_observer_that_hears_reports_it_as_long_as_others_do_not() {
    // Five of eight cannot hear a living host: only fresh words of the other three save it.
    let mut world = World::settled(9);
    for node in 0..5 {
        world.cut.extend([(node, 8), (8, node)]);
    }
    world.run(ms(1_000));
    for node in 5..8 {
        let reports: Vec<_> = world.nodes[node]
            .reports
            .iter()
            .filter(|(_, report)| report.subject == id(8))
            .collect();
        let late = reports.iter().filter(|(at, _)| *at > world.now - nanos(ms(800)));
        let mut last = world.now - nanos(ms(800));
        for (at, report) in late {
            assert!(
                at - last <= nanos(REPORT_INTERVAL) + 1_000_000,
                "node {node}: {} ns without a word",
                at - last
            );
            assert!(
                report.echo.unwrap() < ms(40),
                "node {node}: stale: {:?}",
                report.echo
            );
            assert!(report.losses.is_empty());
            last = *at;
        }
        assert!(world.now - last <= nanos(REPORT_INTERVAL) + 1_000_000);
    }
}

#[test]
fn recovery_is_reported_at_once_and_five_times() {
    let mut world = World::settled(3);
    world.kill(2);
    world.run(ms(200));
    assert!(world.last_report(0, 2).unwrap().losses.len() >= 3);
    world.cut.clear();
    let healed = world.now;
    world.nodes[0].reports.clear();
    world.run(ms(1_000));
    let good: Vec<_> = world.nodes[0]
        .reports
        .iter()
        .filter(|(_, report)| report.losses.is_empty())
        .collect();
    assert!(good[0].0 - healed < nanos(ms(12)), "{}", good[0].0 - healed);
    assert!(good.len() >= 5, "{}", good.len());
    let tail = good[good.len() - 1].0 - good[0].0;
    assert!(tail <= nanos(REPORT_TAIL + REPORT_INTERVAL), "{tail}");
}

#[test]
fn the_estimate_is_the_links_and_not_the_silences() {
    // Every third packet is lost: 1 − (2/3)² = 5/9 of the round trips fail.
    let mut world = World::new(5);
    world.lose = third;
    world.run(ms(10_000));
    let losses = |world: &World| {
        let of = |node: usize| world.nodes[node].observer.status(world.clock(node));
        (0..5)
            .flat_map(of)
            .filter(|status| status.subject == id(4))
            .map(|status| status.loss)
            .collect::<Vec<_>>()
    };
    let all = (0..5).flat_map(|node| world.nodes[node].observer.status(world.clock(node)));
    let mean = all.map(|status| status.loss).sum::<f64>() / 20.0;
    assert!((mean - 5.0 / 9.0).abs() < 0.05, "{mean}");
    world.kill(4);
    let before = losses(&world);
    world.run(ms(5_000));
    for (before, after) in before.iter().zip(losses(&world)) {
        assert!(
            (before - after).abs() < 0.1,
            "{before} became {after}: a death is no property of the link"
        );
    }
}

#[test]
fn a_burst_of_loss_weighs_no_more_than_its_time() {
    // A tenth of the time nothing passes. The dense probes in it must not make that a half.
    let mut world = World::settled(3);
    for _ in 0..10 {
        world.kill(2);
        world.run(ms(100));
        world.cut.clear();
        world.run(ms(900));
    }
    let of = |node: usize| world.nodes[node].observer.status(world.clock(node))[1].loss;
    let mean = (of(0) + of(1)) / 2.0;
    assert!((0.02..0.2).contains(&mean), "{mean}");
}

#[test]
fn a_look_at_a_living_host_is_answered_by_a_younger_echo() {
    let mut world = World::settled(9);
    let asked = world.now;
    look(&mut world, 0, 8, 42);
    world.run(ms(20));
    let (at, report) = answer(&world, 0, 42).unwrap();
    assert!(
        at - nanos(report.echo.unwrap()) >= asked,
        "evidence from before the question"
    );
    assert!(at - asked <= nanos(ms(11)), "{}", at - asked);
}

#[test]
fn a_look_at_a_dead_host_is_answered_by_a_younger_loss_in_a_whole_window() {
    let mut world = World::settled(9);
    world.kill(8);
    world.run(ms(1_000));
    let asked = world.now;
    look(&mut world, 0, 8, 43);
    world.run(ms(60));
    let (at, report) = answer(&world, 0, 43).unwrap();
    assert!(
        at - nanos(*report.losses.last().unwrap()) >= asked,
        "evidence from before the question"
    );
    assert!(report.losses[0] - *report.losses.last().unwrap() >= ms(120));

    // One that dies as it is looked at: the answer waits for a whole window.
    let mut world = World::settled(9);
    world.kill(8);
    look(&mut world, 0, 8, 44);
    world.run(ms(110));
    assert!(answer(&world, 0, 44).is_none());
    world.run(ms(60));
    assert!(answer(&world, 0, 44).is_some());
}

#[test]
fn a_look_at_somebody_elses_subject_says_so() {
    let mut world = World::settled(3);
    let now = world.clock(0);
    let stranger = Look {
        subject: crate::identity::MemberId(77),
        boot: world.boot(1),
        nonce: 5,
    };
    world.nodes[0]
        .observer
        .handle_look(&stranger, crate::identity::MemberId(1_000), now);
    world.drain(0);
    let (_, report) = answer(&world, 0, 5).unwrap();
    assert_eq!((report.ability, report.losses.len()), (Ability::NotObserver, 0));
}

#[test]
fn an_outage_is_no_loss_rate() {
    // Three nodes: the second outage follows a return that is too short to measure anything.
    let mut world = World::settled(3);
    world.kill(2);
    world.run(ms(10_000));
    world.cut.clear();
    world.run(ms(200));
    world.kill(2);
    world.run(ms(300));
    for node in 0..2 {
        let report = world.last_report(node, 2).unwrap();
        assert!(report.losses.len() >= 12, "{}", report.losses.len());
        assert!(report.loss < 0.35, "node {node}: {}", report.loss);
    }
}
