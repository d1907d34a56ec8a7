//! Who may not accuse: an observer that does not hear, is late, or does not know the subject.

use crate::message::{Ability, Hint};
use crate::profile::{LATE_TICK, PROBE_INTERVAL, REPORT_TAIL};
use crate::time::nanos;

use super::world::{World, id, ms};

fn abilities(world: &World, node: usize, subject: usize) -> Vec<Ability> {
    let reports = world.nodes[node]
        .reports
        .iter()
        .filter(|(_, report)| report.subject == id(subject));
    reports.map(|(_, report)| report.ability).collect()
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
