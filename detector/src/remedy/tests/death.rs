//! One death and one return, step by step.

use std::time::Duration;

use super::judge::{INCIDENT, changed};
use super::world::{World, id, kind, ms, steps};
use crate::identity::BootId;
use crate::incident::{Step, Write};
use crate::judgement::{Causes, Judgement, Verdict};
use crate::message::Farewell;
use crate::remedy::Mode;
use crate::remedy::command::{Answer, ApiEvent, Call, Outcome};
use crate::remedy::object::Taint;

/// From the verdict to the first write of this kind.
fn first(world: &World, wanted: &str, verdict: Duration) -> Duration {
    let found = world.writes.iter().find(|(.., call)| kind(call) == Some(wanted));
    found.unwrap_or_else(|| panic!("no {wanted}")).0 - verdict
}

#[test]
fn the_order_of_a_death_and_a_return() {
    let mut world = World::new(9, 1, Mode::Enforce);
    world.run(ms(100));
    world.kill_node("n0");
    let verdict = ms(160);
    world.run(ms(15_000));

    let ledger_first = [
        "ledger", "slice", "taint", "ledger", "mark", "mark", "mark", "ledger",
    ];
    let then = ["delete", "delete", "ledger", "ledger"];
    let wanted: Vec<&str> = ledger_first.into_iter().chain(then).collect();
    let mut kinds = world.kinds();
    // Taint and slice leave together, as do the marks and the ledger's next word.
    kinds[1..3].sort_unstable();
    kinds[3..8].sort_unstable();
    let mut sorted = wanted.clone();
    sorted[3..8].sort_unstable();
    assert_eq!(kinds, sorted);
    assert_eq!(world.terminating("n0"), ["n0-web-a", "n0-web-b"]);

    // Three round trips of 5 ms: ledger, taint, marks. Nothing is listed in between.
    assert!(first(&world, "taint", verdict) <= ms(8));
    assert!(first(&world, "slice", verdict) <= ms(8));
    assert!(first(&world, "mark", verdict) <= ms(13));
    let deleted = first(&world, "delete", verdict);
    assert!(ms(1_000) <= deleted && deleted <= ms(1_040), "{deleted:?}");

    // Return: not before enough good rounds, then the taint, then the ledger.
    world.verdict("n0", Verdict::Alive, None);
    world.good("n0", 49);
    world.run(ms(5_000));
    assert!(world.nodes["n0"].is_tainted());
    world.good("n0", 50);
    world.run(ms(20_000));
    assert!(!world.nodes["n0"].is_tainted());
    assert_eq!(world.entries(), []);
    assert_eq!(world.kinds()[kinds.len()..], ["ledger", "untaint", "ledger"]);
    let steps = steps(&world.stewards[0]);
    assert!(steps.contains(&Step::Returned));
    assert_eq!(
        steps.last(),
        Some(&Step::Closed),
        "{:#?}",
        &steps[steps.len() - 12..]
    );
}

#[test]
fn the_taint_is_a_whole_list_bound_to_uid_and_version_with_the_incident_in_it() {
    let mut world = World::new(9, 1, Mode::Enforce);
    world.run(ms(100));
    world.kill_node("n0");
    world.run(ms(100));
    let other = world.nodes["n1"].taints[0].clone();
    let taint = world.writes.iter().find(|(.., call)| kind(call) == Some("taint"));
    assert_eq!(
        taint.unwrap().2,
        Call::Taints {
            node: "n0".into(),
            uid: "uid-n0".into(),
            resource_version: "10".into(),
            taints: vec![
                other,
                Taint {
                    key: "node-failure-detector.io/dead".into(),
                    value: Some("000000000000001c".into()),
                    effect: "NoSchedule".into(),
                    time_added: None,
                }
            ],
        }
    );
}

#[test]
fn without_an_early_warning_the_list_comes_after_the_taint() {
    let mut world = World::new(9, 1, Mode::Enforce);
    world.run(ms(100));
    world.verdict("n0", Verdict::Dead, None);
    world.run(ms(9_000));
    assert!(first(&world, "taint", ms(100)) <= ms(8));
    assert_eq!(world.terminating("n0").len(), 2);
}

#[test]
fn observe_decides_the_same_to_the_letter_and_writes_nothing() {
    let run = |mode| {
        let mut world = World::new(9, 1, mode);
        // Answers at once and with the same versions: what is pretended cannot know others.
        world.latency = ms(0);
        world.run(ms(100));
        world.kill_node("n0");
        world.run(ms(15_000));
        world.verdict("n0", Verdict::Alive, None);
        world.good("n0", 50);
        world.run(ms(20_000));
        world
    };
    let plain = |call: &Call| {
        let mut call = call.clone();
        match &mut call {
            Call::Ledger { resource_version, .. }
            | Call::Taints { resource_version, .. }
            | Call::Delete { resource_version, .. } => resource_version.clear(),
            _ => {}
        }
        call
    };
    let (observed, enforced) = (run(Mode::Observe), run(Mode::Enforce));
    let key = |call: &Call| format!("{:?}", plain(call));
    let mut withheld: Vec<String> = observed.stewards[0]
        .withheld
        .iter()
        .map(|(_, call)| key(call))
        .collect();
    let mut written: Vec<String> = enforced.writes.iter().map(|(.., call)| key(call)).collect();
    assert_eq!(observed.writes.len(), 0);
    // In one instant the order of the ledger's words among the others differs.
    withheld.sort_unstable();
    written.sort_unstable();
    let taints = |calls: &[String]| calls.iter().filter(|call| call.contains("Taints")).count();
    assert_eq!(taints(&withheld), 2);
    let essential = |calls: &[String]| -> Vec<String> {
        calls
            .iter()
            .filter(|call| !call.starts_with("Ledger"))
            .map(|call| strip_wall(call))
            .collect()
    };
    assert_eq!(essential(&withheld), essential(&written));
    let decided = steps(&observed.stewards[0]);
    assert!(decided.iter().any(|step| matches!(
        step,
        Step::Decided {
            write: Write::Delete,
            enforced: false,
            ..
        }
    )));
    assert!(
        !decided
            .iter()
            .any(|step| matches!(step, Step::Decided { enforced: true, .. }))
    );
}

/// Wall-clock milliseconds differ where answers take no time at all.
fn strip_wall(call: &str) -> String {
    call.split("at_ms").next().unwrap_or_default().to_owned()
}

#[test]
fn pods_bound_late_are_found_by_the_later_lists() {
    for (after, found) in [(ms(900), true), (ms(4_000), true), (ms(8_000), false)] {
        let mut world = World::new(9, 1, Mode::Enforce);
        world.run(ms(100));
        world.kill_node("n0");
        world.run(ms(1_100));
        world.run(after);
        world.add_pod("n0", "late", "ReplicaSet");
        world.run(ms(15_000));
        assert_eq!(world.terminating("n0").contains(&"n0-late"), found, "{after:?}");
    }
}

#[test]
fn slices_that_are_ready_again_are_patched_again_three_times() {
    let mut world = World::new(9, 1, Mode::Enforce);
    world.run(ms(100));
    world.kill_node("n0");
    let mut patches = vec![];
    for _ in 0..12 {
        world.run(ms(250));
        patches.push(world.count("slice"));
        let slice = world.slices.get_mut("web-n0").unwrap();
        slice
            .endpoints
            .iter_mut()
            .flatten()
            .for_each(|endpoint| endpoint.ready = true);
        let slice = slice.clone();
        world.show(&ApiEvent::Slice(slice));
    }
    assert_eq!(patches, [1, 2, 2, 3, 3, 3, 3, 3, 4, 4, 4, 4]);
}

#[test]
fn a_goodbye_takes_endpoints_and_a_reboot_has_its_grace() {
    let mut world = World::new(9, 1, Mode::Enforce);
    world.run(ms(100));
    world.verdict("n0", Verdict::Leaving, Some(Farewell::Reboot));
    world.run(ms(5_000));
    assert_eq!((world.count("taint"), world.count("slice")), (1, 1));
    assert_eq!(world.count("mark"), 0);
    world.verdict("n0", Verdict::Dead, None);
    world.run(ms(100_000));
    assert_eq!(
        (world.count("mark"), world.count("delete")),
        (3, 0),
        "marked, and waited for"
    );
    // Nor does it keep the budget from another one meanwhile.
    world.kill_node("n1");
    world.run(ms(10_000));
    assert_eq!(world.terminating("n1").len(), 2);
    world.run(ms(20_000));
    assert_eq!(world.terminating("n0").len(), 2, "the grace is over");
}

#[test]
fn a_refused_taint_ends_it_before_any_pod_is_touched() {
    let mut world = World::new(9, 1, Mode::Enforce);
    world.fault = |call, _| match call {
        Call::Taints { .. } => Some(Outcome::Refused("policy".into())),
        _ => None,
    };
    world.run(ms(100));
    world.kill_node("n0");
    world.run(ms(20_000));
    assert_eq!((world.count("mark"), world.count("delete")), (0, 0));
    assert!(!world.stewards[0].alarms.is_empty());
}

#[test]
fn what_the_api_gave_up_on_is_tried_again() {
    let mut world = World::new(9, 1, Mode::Enforce);
    world.run(ms(100));
    world.fault = |call, _| match call {
        Call::Ledger { .. } | Call::Taints { .. } => Some(Outcome::GaveUp("time".into())),
        _ => None,
    };
    world.kill_node("n0");
    world.run(ms(10_000));
    assert_eq!(world.count("taint"), 0);
    world.fault = |_, _| None;
    world.run(ms(10_000));
    assert_eq!(world.terminating("n0").len(), 2);
}

#[test]
fn a_node_that_flaps_is_condemned_anew_and_returns_later() {
    let mut world = World::new(9, 1, Mode::Enforce);
    world.run(ms(100));
    world.kill_node("n0");
    world.run(ms(300));
    world.verdict("n0", Verdict::Alive, None);
    world.run(ms(300));
    assert_eq!(
        world.entries()[0].progress,
        crate::remedy::ledger::Progress::Revoked
    );
    world.kill_node("n0");
    world.run(ms(15_000));
    assert_eq!(world.terminating("n0").len(), 2);
    world.verdict("n0", Verdict::Alive, None);
    world.good("n0", 99);
    world.run(ms(1_000));
    assert!(world.nodes["n0"].is_tainted());
    world.good("n0", 100);
    world.run(ms(1_000));
    assert!(!world.nodes["n0"].is_tainted());
}

#[test]
fn a_suspicion_on_the_way_back_does_not_keep_the_taint() {
    let mut world = World::new(9, 1, Mode::Enforce);
    world.run(ms(100));
    world.kill_node("n0");
    world.run(ms(3_000));
    let rebooted = BootId(0xb008);
    world.judge(&changed(
        "n0",
        rebooted,
        Verdict::Alive,
        Causes::NONE,
        None,
        world.now,
    ));
    world.run(ms(100));
    // It ends by itself: no other verdict follows.
    world.judge(&Judgement::EarlyWarning {
        subject: id("n0"),
        boot: rebooted,
        incident: INCIDENT,
        at: world.now,
    });
    world.run(ms(100));
    world.judge(&Judgement::Good {
        subject: id("n0"),
        boot: rebooted,
        rounds: 50,
        at: world.now,
    });
    world.run(ms(10_000));
    assert!(!world.nodes["n0"].is_tainted());
    assert_eq!(world.entries(), []);
}

#[test]
fn a_spared_pod_is_marked_and_told() {
    let mut world = World::new(9, 1, Mode::Enforce);
    world.run(ms(100));
    world.kill_node("n0");
    world.run(ms(10_000));
    let spared: Vec<_> = steps(&world.stewards[0])
        .into_iter()
        .filter_map(|step| match step {
            Step::Spared { pod, .. } => Some(pod),
            _ => None,
        })
        .collect();
    assert_eq!(spared, ["shop/n0-agent"]);
    assert!(world.pods["uid-n0-agent"].1.marked);
}

#[test]
fn the_condition_is_written_on_transitions_and_events_follow() {
    let mut world = World::new(9, 3, Mode::Enforce);
    world.run(ms(100));
    world.kill_node("n0");
    world.run(ms(20_000));
    world.verdict("n0", Verdict::Alive, None);
    world.run(ms(20_000));
    let conditions: Vec<Verdict> = world
        .writes
        .iter()
        .filter_map(|(.., call)| match call {
            Call::Condition { verdict, .. } => Some(*verdict),
            _ => None,
        })
        .collect();
    assert_eq!(conditions, [Verdict::Dead, Verdict::Alive]);
    let events: Vec<&str> = world
        .writes
        .iter()
        .filter_map(|(.., call)| match call {
            Call::Event { reason, .. } => Some(*reason),
            _ => None,
        })
        .collect();
    assert_eq!(events, ["NodeDead", "PodsDeleted", "NodeHeard"]);
}

#[test]
fn answers_to_nobodys_question_are_dropped() {
    let mut world = World::new(9, 1, Mode::Enforce);
    world.run(ms(100));
    for id in [0, 7, u64::MAX] {
        world.show(&ApiEvent::Answered {
            id: crate::remedy::command::RequestId(id),
            tries: 1,
            outcome: Outcome::Done(Answer::Nothing),
        });
    }
    world.run(ms(100));
    assert_eq!(world.writes.len(), 0);
    assert!(
        !world.stewards[0]
            .asks
            .iter()
            .any(|ask| format!("{ask:?}").contains(&id("n0").to_string()))
    );
}
