//! What was lost under another boot of the subject, or another incarnation of the observer, counts no more.

use crate::time::nanos;

use super::world::{World, id, ms};

#[test]
fn a_new_boot_voids_all_evidence_on_the_old_one() {
    let mut world = World::settled(4);
    world.kill(3);
    world.run(ms(300));
    let old = world.last_report(0, 3).unwrap().clone();
    assert!(old.losses.len() > 10);
    world.nodes[3].kernel.me.boot.set(999);
    world.cut.clear();
    world.nodes[0].reports.clear();
    world.run(ms(30));
    let new = world.last_report(0, 3).unwrap();
    assert_eq!(new.boot, world.boot(3));
    assert!(new.losses.is_empty() && new.echo.unwrap() < ms(40));
    assert_ne!(new.incident, old.incident, "a suspicion of its own");
    assert!(
        (new.loss - 0.1).abs() > 0.1,
        "the reboot's silence says nothing about the link: {}",
        new.loss
    );
}

#[test]
fn a_new_boot_that_dies_at_once_is_not_accused_with_the_old_ones_losses() {
    let mut world = World::settled(4);
    world.kill(3);
    world.run(ms(300));
    world.nodes[3].kernel.me.boot.set(999);
    world.cut.clear();
    world.run(ms(15));
    let born = world.now;
    world.kill(3);
    world.run(ms(100));
    let (at, report) = world.nodes[0]
        .reports
        .iter()
        .rfind(|(_, report)| report.subject == id(3))
        .unwrap();
    assert_eq!(report.boot, world.boot(3));
    assert!(
        report
            .losses
            .iter()
            .all(|age| at - nanos(*age) >= born - nanos(ms(15))),
        "{:?}",
        report.losses
    );
}

#[test]
fn losses_between_a_new_boots_first_probe_and_its_echo_are_void() {
    // Sent after the probe whose echo tells of the new boot, and lost before that echo came: while it booted.
    let mut world = World::settled(4);
    world.until_probe(0, 3);
    world.cut.insert((0, 3));
    world.nodes[3].kernel.me.boot.set(999);
    world.delay = ms(18);
    world.run(ms(17));
    let silent = |world: &World| {
        let status = &world.nodes[0].observer.status(world.clock(0))[2];
        (status.boot, status.losses + status.unproven)
    };
    assert!(silent(&world).1 >= 2);
    world.run(ms(4));
    assert_eq!(silent(&world), (world.boot(3), 0));
}

#[test]
fn a_stragglers_echo_does_not_bring_an_old_boot_back() {
    let mut world = World::settled(3);
    let old = world.boot(2);
    world.nodes[2].kernel.me.boot.set(999);
    world.run(ms(200));
    // The next echo claims the boot that ended.
    world.until_probe(0, 2);
    world.nodes[2].kernel.me.boot.set(old.0);
    world.run(ms(3));
    world.nodes[2].kernel.me.boot.set(999);
    world.run(ms(10));
    let now = world.clock(0);
    let status = &world.nodes[0].observer.status(now)[1];
    assert_eq!((status.boot.0, status.losses + status.unproven), (999, 0));
}

#[test]
fn a_restarted_observer_goes_on_above_its_old_sequence() {
    // With sequences below the old ones its probes look like replays, and the subject believes itself unheard.
    let mut world = World::settled(3);
    world.restart(0, 0);
    world.run(ms(300));
    assert_eq!(world.nodes[0].observer.incarnation(), 2);
    let heard = |world: &World, node: usize| world.nodes[node].kernel.states[&id(0).0].heard_at.get();
    for other in [1, 2] {
        let age = world.clock(other).0 - heard(&world, other);
        assert!(
            age < nanos(ms(45)),
            "node {other} has not heard a new probe for {age} ns"
        );
    }
    world.run(ms(1_000));
    assert_eq!(world.nodes[0].observer.counters().raised, 1);
}

#[test]
fn probes_under_way_when_the_incarnation_changes_are_no_losses() {
    // Their echoes are refused, as they belong to the incarnation before.
    let pairs = (0..5).flat_map(|node| (0..5).map(move |subject| (node, subject)));
    for (node, subject) in pairs.filter(|(node, subject)| node != subject) {
        let mut world = World::new(5);
        world.delay = ms(9);
        world.run(ms(2_000));
        world.nodes[node].reports.clear();
        world.nodes[node].kernel.states[&id(subject).0]
            .echoed_highest
            .set(9 << 32);
        world.run(ms(300));
        assert_eq!(world.nodes[node].observer.incarnation(), 10);
        let reports = &world.nodes[node].reports;
        assert!(reports.is_empty(), "{node} {subject}: {reports:?}");
    }
}

#[test]
fn a_subject_can_raise_the_incarnation_only_once() {
    // Each change costs the evidence on all subjects: a liar must not blind its observers.
    let mut world = World::settled(3);
    for lie in [9_u64, 20, 40] {
        world.nodes[0].kernel.states[&id(1).0]
            .echoed_highest
            .set(lie << 32);
        world.run(ms(300));
    }
    assert_eq!(world.nodes[0].observer.incarnation(), 10);
    // The greatest lie leaves a way on for all others.
    world.nodes[0].kernel.states[&id(2).0]
        .echoed_highest
        .set(u64::MAX);
    world.run(ms(1_000));
    assert_eq!(world.nodes[0].observer.incarnation(), u32::MAX);
    let age = world.clock(1).0 - world.nodes[1].kernel.states[&id(0).0].heard_at.get();
    assert!(age < nanos(ms(45)), "{age}");
}
