//! The ways to call a healthy host silent, each closed.

use detector_common::state::{ARRIVALS, Arrival};

use crate::message::{Ability, Hint};
use crate::profile::{LATE_TICK, PROBE_INTERVAL, REPORT_TAIL};
use crate::time::nanos;

use super::world::{World, id, ms};

/// Runs until `node` has just sent a probe to `subject`.
fn until_probe(world: &mut World, node: usize, subject: usize) {
    let sent = |world: &World| world.nodes[node].probes.get(&id(subject)).map_or(0, Vec::len);
    let before = sent(world);
    while sent(world) == before {
        assert!(world.step(u64::MAX));
    }
}

fn abilities(world: &World, node: usize, subject: usize) -> Vec<Ability> {
    let reports = world.nodes[node]
        .reports
        .iter()
        .filter(|(_, report)| report.subject == id(subject));
    reports.map(|(_, report)| report.ability).collect()
}

#[test]
fn an_echo_that_came_before_a_late_tick_is_no_loss() {
    // A tick after the timeout, though the kernel has had the echo in time: the agent waited for a CPU.
    let mut world = World::settled(3);
    for _ in 0..20 {
        until_probe(&mut world, 0, 1);
        world.nodes[0].frozen_until = world.now + nanos(ms(18));
        world.run(ms(100));
    }
    assert_eq!(
        world.nodes[0].observer.counters().late_ticks,
        0,
        "the test wants ticks below that limit"
    );
    assert!(world.nodes[0].reports.is_empty(), "{:?}", world.nodes[0].reports);
}

#[test]
fn an_echo_after_its_timeout_but_before_the_tick_is_no_loss() {
    let mut world = World::settled(3);
    until_probe(&mut world, 0, 1);
    // The echo comes 12 ms after the probe, the tick 15 ms after it.
    world.delay = ms(12);
    world.nodes[0].frozen_until = world.now + nanos(ms(15));
    world.run(ms(16));
    let now = world.clock(0);
    let status = &world.nodes[0].observer.status(now)[0];
    assert!(status.echo_ms < Some(20.0), "the tick has seen the echo");
    assert_eq!(status.losses + status.unproven, 0);
}

#[test]
fn an_echo_that_comes_after_all_takes_its_loss_back() {
    let mut world = World::settled(3);
    until_probe(&mut world, 0, 1);
    let sent = world.clock(0);
    world.delay = ms(18);
    world.run(ms(17));
    let now = world.clock(0);
    let status = &world.nodes[0].observer.status(now)[0];
    assert_eq!(status.losses + status.unproven, 3, "lost at their timeouts");
    world.run(ms(8));
    let now = world.clock(0);
    let status = &world.nodes[0].observer.status(now)[0];
    let echoed = now.before(std::time::Duration::from_secs_f64(status.echo_ms.unwrap() / 1e3));
    assert!(
        echoed.0.abs_diff(sent.0) < 1_000 || echoed > sent,
        "{echoed:?} {sent:?}"
    );
    let report = world.last_report(0, 1).unwrap();
    assert!(report.losses.iter().all(|age| now - sent > *age), "taken back");
}

#[test]
fn a_probe_that_could_not_be_sent_is_no_loss() {
    let mut world = World::settled(3);
    world.unsendable.insert(0);
    world.run(ms(2_000));
    assert!(world.nodes[0].observer.counters().unsent > 40);
    assert!(world.nodes[0].reports.is_empty(), "{:?}", world.nodes[0].reports);
}

#[test]
fn a_deaf_observer_accuses_nobody() {
    // Its probes and messages leave, nothing arrives: its own receive path is starved.
    let mut world = World::settled(3);
    world.cut.extend([(1, 0), (2, 0)]);
    world.run(ms(2_000));
    let now = world.clock(0);
    assert!(
        world.nodes[0]
            .observer
            .status(now)
            .iter()
            .all(|subject| subject.unproven > 10)
    );
    assert_eq!(world.most_losses(0, 1) + world.most_losses(0, 2), 0);
    // It may ask others for once, but does not go on.
    assert!(world.nodes[0].hints.len() <= 2, "{}", world.nodes[0].hints.len());
}

#[test]
fn what_the_subject_itself_sends_does_not_prove_the_receive_path() {
    // Of two peers one died; the other's probes arrive, but its echoes do not.
    let mut world = World::settled(3);
    world.kill(2);
    world.run(ms(500));
    world.nodes[0].reports.clear();
    // From here on only node 1 sends to node 0, and does not hear it.
    world.cut.insert((0, 1));
    world.run(ms(1_000));
    assert_eq!(world.most_losses(0, 1), 0, "nothing but node 1 was heard");
    assert!(
        world.most_losses(0, 2) > 3,
        "node 1 was heard, so node 2 is silent"
    );
}

#[test]
fn messages_of_another_host_prove_the_receive_path_as_of_the_tick_before() {
    let mut world = World::settled(2);
    world.kill(1);
    world.run(ms(500));
    assert_eq!(world.most_losses(0, 1), 0, "two nodes: nobody else was heard");
    let stranger = crate::identity::MemberId(500);
    for from in [id(1), id(0)] {
        let now = world.clock(0);
        world.nodes[0].observer.handle_alive(from, now);
        world.run(ms(50));
        assert_eq!(world.most_losses(0, 1), 0, "neither the subject nor this host");
    }
    let now = world.clock(0);
    world.nodes[0].observer.handle_alive(stranger, now);
    world.run(ms(50));
    assert!(world.most_losses(0, 1) > 3);

    // One that waited in the socket while the agent did not run may have come before the deadlines it would prove.
    let froze = world.now;
    world.nodes[0].frozen_until = froze + nanos(ms(15));
    world.run(ms(14));
    let now = world.clock(0);
    world.nodes[0].observer.handle_alive(stranger, now);
    world.run(ms(2));
    let (at, report) = world.nodes[0].reports.last().unwrap();
    assert!(*at > froze, "it proves what came before");
    let newest = at - nanos(*report.losses.last().unwrap());
    assert!(newest + nanos(ms(5)) <= froze, "but not what was lost meanwhile");
}

#[test]
fn a_late_tick_forgets_and_abstains_for_a_window() {
    let mut world = World::settled(3);
    world.kill(2);
    world.run(ms(300));
    assert!(world.last_report(0, 2).unwrap().losses.len() > 10);
    world.nodes[0].reports.clear();
    world.nodes[0].frozen_until = world.now + nanos(LATE_TICK + ms(10));
    let woke = world.nodes[0].frozen_until;
    world.run(ms(400));
    let reports = &world.nodes[0].reports;
    assert_eq!(reports[0].0, woke, "told at once");
    assert!(
        reports[0].1.losses.is_empty(),
        "what was lost while nobody looked is not known"
    );
    for (at, report) in reports.iter().filter(|(_, report)| report.subject == id(2)) {
        let expected = if *at < woke + nanos(ms(120)) {
            Ability::LateTick
        } else {
            Ability::Able
        };
        assert_eq!(report.ability, expected, "{} ms after", (at - woke) / 1_000_000);
        assert!(report.losses.iter().all(|age| at - nanos(*age) >= woke));
    }
    assert!(
        world.last_report(0, 2).unwrap().losses.len() > 10,
        "and it counts again"
    );
}

#[test]
fn a_hint_does_not_hide_a_late_tick() {
    let mut world = World::settled(3);
    world.nodes[0].frozen_until = u64::MAX;
    world.run(ms(200));
    let now = world.clock(0);
    let hint = Hint {
        subject: id(2),
        boot: world.boot(2),
        incident: crate::identity::IncidentId(9),
    };
    world.nodes[0].observer.handle_hint(&hint, id(1), now);
    world.nodes[0].frozen_until = 0;
    world.run(ms(1));
    assert_eq!(world.nodes[0].observer.counters().late_ticks, 1);
}

#[test]
fn an_observer_for_whom_most_are_silent_abstains() {
    let mut world = World::settled(5);
    for other in [1, 2, 3] {
        world.cut.insert((other, 0));
    }
    world.run(ms(400));
    for other in [1, 2, 3] {
        let report = world.last_report(0, other).unwrap();
        assert_eq!(report.ability, Ability::MostSilent);
        assert!(
            report.losses.len() > 3,
            "node 4 proves the receive path; that alone is not enough"
        );
    }
    let mut world = World::settled(5);
    for other in [1, 2] {
        world.cut.insert((other, 0));
    }
    world.run(ms(400));
    assert_eq!(
        world.last_report(0, 1).unwrap().ability,
        Ability::Able,
        "half is not most"
    );
}

#[test]
fn silences_of_old_do_not_make_an_observer_unable_forever() {
    // Four nodes, one of them switched off a minute ago, one dies now: two of three subjects are silent.
    let mut world = World::settled(4);
    world.kill(3);
    world.run(ms(60_000));
    world.kill(2);
    world.run(ms(200));
    assert_eq!(world.last_report(0, 2).unwrap().ability, Ability::Able);
}

#[test]
fn who_never_heard_a_subject_has_nothing_to_say_about_its_silence() {
    let mut world = World::new(4);
    world.kill(3);
    world.run(ms(1_000));
    assert_eq!(world.last_report(0, 3), None, "nothing is told");
    let dense = ms(1_000).as_millis() / PROBE_INTERVAL.as_millis();
    assert!(
        world.nodes[0].probes[&id(3)].len() < dense as usize / 4,
        "and nothing is hurried"
    );
    // Not even when an observer that did hear it asks.
    let now = world.clock(0);
    let hint = Hint {
        subject: id(3),
        boot: world.boot(3),
        incident: crate::identity::IncidentId(9),
    };
    world.nodes[0].observer.handle_hint(&hint, id(1), now);
    world.run(ms(400));
    let abilities = abilities(&world, 0, 3);
    assert!(!abilities.is_empty() && abilities.iter().all(|ability| *ability == Ability::NeverHeard));
    assert_eq!(world.most_losses(0, 3), 0);
}

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
    until_probe(&mut world, 0, 3);
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
    until_probe(&mut world, 0, 2);
    world.nodes[2].kernel.me.boot.set(old.0);
    world.run(ms(3));
    world.nodes[2].kernel.me.boot.set(999);
    world.run(ms(10));
    let now = world.clock(0);
    let status = &world.nodes[0].observer.status(now)[1];
    assert_eq!((status.boot.0, status.losses + status.unproven), (999, 0));
}

#[test]
fn only_observers_of_the_subject_are_believed() {
    let mut world = World::settled(3);
    let hint = Hint {
        subject: id(2),
        boot: world.boot(2),
        incident: crate::identity::IncidentId(9),
    };
    let strangers = [id(0), id(2), crate::identity::MemberId(77)];
    for from in strangers {
        let now = world.clock(0);
        world.nodes[0].observer.handle_hint(&hint, from, now);
    }
    world.run(ms(100));
    assert_eq!(world.nodes[0].observer.counters().hints_refused, 3);
    assert!(world.nodes[0].reports.is_empty());
    let now = world.clock(0);
    world.nodes[0].observer.handle_hint(&hint, id(1), now);
    world.run(REPORT_TAIL);
    assert!(!world.nodes[0].reports.is_empty());
}

#[test]
fn a_link_without_carrier_accuses_nobody() {
    let mut world = World::settled(3);
    world.kill(2);
    world.run(ms(300));
    let now = world.clock(0);
    world.nodes[0].observer.handle_link(false, now);
    world.nodes[0].reports.clear();
    world.run(ms(200));
    assert!(
        abilities(&world, 0, 2)
            .iter()
            .all(|ability| *ability == Ability::LinkDown)
    );
    let now = world.clock(0);
    world.nodes[0].observer.handle_link(true, now);
    world.run(ms(100));
    assert_eq!(
        world.last_report(0, 2).unwrap().ability,
        Ability::LinkDown,
        "not for a window after it"
    );
    world.run(ms(100));
    assert_eq!(world.last_report(0, 2).unwrap().ability, Ability::Able);
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

#[test]
fn an_old_echo_that_took_the_place_of_a_young_one_makes_no_loss_of_it() {
    // Recorded and replayed, or very late: the young one's own arrival may have been noted before it.
    let mut world = World::settled(3);
    let sequence = world.nodes[2].kernel.states[&id(0).0].heard_sequence.get() + 1;
    world.kill(2);
    until_probe(&mut world, 0, 2);
    let at = world.clock(0).0 + 1_000;
    let state = &world.nodes[0].kernel.states[&id(2).0];
    state.arrivals[Arrival::slot(sequence)].set(Arrival::pack(sequence - ARRIVALS as u64, at).0);
    state.echoed_at.set(at);
    world.run(ms(15));
    let now = world.clock(0);
    let status = &world.nodes[0].observer.status(now)[1];
    assert_eq!(status.losses + status.unproven, 0);
}
