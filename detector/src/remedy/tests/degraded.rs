//! The taint of a degraded node that can start no pod: when it comes and goes, and what holds it back.

use std::time::Duration;

use super::judge::{BOOT, changed};
use super::world::{Post, World, id, kind, ms, steps};
use crate::identity::BootId;
use crate::incident::{Step, Write};
use crate::judgement::{Cause, Causes, Hold, Verdict};
use crate::remedy::command::{ApiEvent, Call, Outcome};
use crate::remedy::object::{OwnTaint, Taint};
use crate::remedy::{Mode, marks};

const DOWN: &[Cause] = &[Cause::Kubelet];

/// A world at 0.1 s, with a node whose kubelet has just gone down.
fn world(nodes: usize, stewards: usize) -> World {
    let mut world = World::new(nodes, stewards, Mode::Enforce);
    world.run(ms(100));
    world.degrade("n0", DOWN);
    world
}

/// Writes of taints: when, by which steward, and of which kind.
fn taints(world: &World) -> Vec<(Duration, usize, &'static str)> {
    let writes = world.writes.iter();
    let of = writes.filter(|(.., call)| matches!(call, Call::Taints { .. }));
    of.filter_map(|(at, steward, call)| Some((*at, *steward, kind(call)?)))
        .collect()
}

fn is_tainted(world: &World) -> bool {
    world.tainted(OwnTaint::Degraded).contains(&"n0")
}

fn events(world: &World) -> Vec<&'static str> {
    let reason = |call: &Call| match call {
        Call::Event { reason, .. } => Some(*reason),
        _ => None,
    };
    world
        .writes
        .iter()
        .filter_map(|(.., call)| reason(call))
        .collect()
}

/// The Events of this reason say so, without their incident.
fn notes(world: &World, of: &str) -> Vec<String> {
    let note = |call: &Call| match call {
        Call::Event { reason, note, .. } if *reason == of => {
            let (words, _incident) = note.split_once(": incident ").unwrap_or((note, ""));
            Some(words.to_owned())
        }
        _ => None,
    };
    let writes = world.writes.iter();
    writes.filter_map(|(.., call)| note(call)).collect()
}

#[test]
fn five_seconds_without_a_kubelet_are_nothing() {
    let mut world = world(9, 3);
    world.run(ms(5_000));
    world.verdict("n0", Verdict::Alive, None);
    world.run(ms(30_000));
    assert_eq!(taints(&world), []);
}

#[test]
fn after_ten_it_is_tainted_and_when_it_is_back_for_ten_no_more() {
    let mut world = world(9, 3);
    world.run(ms(9_990));
    assert!(!is_tainted(&world));
    world.run(ms(20));
    assert!(is_tainted(&world));
    world.run(ms(60_000));
    world.verdict("n0", Verdict::Alive, None);
    world.run(ms(9_990));
    assert!(is_tainted(&world));
    world.run(ms(20));
    assert!(!is_tainted(&world));
    world.run(ms(60_000));
    let wanted = [
        (ms(10_100) + ms(2), 0, "degraded"),
        (ms(80_110) + ms(2), 0, "untaint"),
    ];
    for ((at, steward, kind), (no_sooner, by, wanted)) in taints(&world).iter().zip(wanted) {
        assert_eq!((*steward, *kind), (by, wanted));
        assert!(*at >= no_sooner && *at <= no_sooner + ms(1), "{at:?}");
    }
    assert_eq!(
        taints(&world).len(),
        2,
        "one steward writes, once: {:?}",
        taints(&world)
    );
    assert_eq!(
        notes(&world, "NodeTainted"),
        ["no pod can start there (the kubelet is down)"]
    );
    let told: Vec<_> = events(&world);
    assert_eq!(
        told,
        ["NodeDegraded", "NodeTainted", "NodeHeard", "NodeUntainted"]
    );
}

#[test]
fn the_taint_is_a_whole_list_bound_to_uid_and_version_with_the_incident_in_it() {
    let mut world = world(9, 1);
    world.watches = false;
    world.run(ms(10_100));
    let record = &world.stewards[0].records[0];
    assert_eq!(
        record.step,
        Step::Verdict {
            verdict: Verdict::Degraded,
            causes: Causes::NONE.with(Cause::Kubelet),
            evidence: crate::judgement::Evidence::default(),
        }
    );
    let written = world
        .writes
        .iter()
        .find(|(.., call)| kind(call) == Some("degraded"));
    assert_eq!(
        written.unwrap().2,
        Call::Taints {
            node: "n0".into(),
            uid: "uid-n0".into(),
            resource_version: "10".into(),
            taints: vec![
                world.nodes["n1"].taints[0].clone(),
                Taint {
                    key: "node-failure-detector.io/degraded".into(),
                    value: Some(record.incident.to_string()),
                    effect: "NoSchedule".into(),
                    time_added: None,
                }
            ],
        }
    );
}

#[test]
fn one_incident_from_verdict_to_end() {
    let mut world = world(9, 2);
    world.run(ms(5_000));
    world.degrade("n0", &[Cause::Agent, Cause::Kubelet]);
    world.run(ms(5_100));
    world.verdict("n0", Verdict::Alive, None);
    world.run(ms(10_100));
    let records = world.stewards[0].records.iter();
    let incident = world.stewards[0].records[0].incident;
    let own = records.filter(|entry| entry.incident == incident && entry.boot == BOOT && entry.node == "n0");
    let words: Vec<String> = own
        .map(|entry| match &entry.step {
            Step::Decided { write, .. } => format!("decided {write:?}"),
            Step::Written { write, .. } => format!("written {write:?}"),
            step => format!("{step:?}")
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_owned(),
        })
        .filter(|word| !word.ends_with("Event"))
        .collect();
    assert_eq!(
        words,
        [
            "Verdict",
            "decided DegradedTaint",
            "written DegradedTaint",
            "decided DegradedUntaint",
            "written DegradedUntaint",
            "Closed"
        ]
    );
    let other = world.stewards[1]
        .records
        .iter()
        .rfind(|entry| entry.step == Step::Closed);
    assert_eq!(
        other.unwrap().incident,
        incident,
        "whoever taints gives the label"
    );
}

#[test]
fn a_break_begins_the_ten_seconds_anew() {
    type Break = fn(&mut World);
    let breaks: [Break; 4] = [
        |world| world.verdict("n0", Verdict::Alive, None),
        |world| world.verdict("n0", Verdict::Partial, None),
        |world| world.degrade("n0", &[]),
        // A new boot: what the one before it lacked is over.
        |world| {
            let causes = Causes::NONE.with(Cause::Kubelet);
            let later = changed("n0", BootId(7), Verdict::Degraded, causes, None, world.now);
            world.judge(&later);
            world.run(ms(1));
        },
    ];
    for interrupt in breaks {
        let mut world = world(9, 1);
        world.run(ms(8_000));
        interrupt(&mut world);
        world.run(ms(100));
        world.degrade("n0", DOWN);
        world.run(ms(9_900));
        assert_eq!(taints(&world), []);
        world.run(ms(200));
        assert!(is_tainted(&world));
        // And the other way round.
        world.verdict("n0", Verdict::Alive, None);
        world.run(ms(8_000));
        world.degrade("n0", DOWN);
        world.run(ms(100));
        world.verdict("n0", Verdict::Alive, None);
        world.run(ms(9_900));
        assert!(is_tainted(&world));
        world.run(ms(200));
        assert!(!is_tainted(&world));
    }
}

#[test]
fn only_a_node_that_can_start_no_pod_is_tainted_and_each_other_verdict_takes_it_off() {
    for (cause, note) in [
        (Cause::Agent, "Degraded, the agent is down"),
        (Cause::Key, "Degraded, the file of the host's key was gone"),
    ] {
        let mut told = World::new(9, 1, Mode::Enforce);
        told.run(ms(100));
        told.degrade("n0", &[cause]);
        told.run(ms(60_000));
        assert_eq!(taints(&told), []);
        assert_eq!(notes(&told, "NodeDegraded"), [note]);
    }

    type Change = fn(&mut World);
    let changes: [(Change, bool); 9] = [
        (|world| world.verdict("n0", Verdict::Alive, None), false),
        (|world| world.verdict("n0", Verdict::Away, None), false),
        (|world| world.verdict("n0", Verdict::Unknown, None), false),
        (|world| world.verdict("n0", Verdict::Partial, None), false),
        (|world| world.degrade("n0", &[Cause::Agent]), false),
        (|world| world.degrade("n0", &[Cause::Key]), false),
        // Nobody knows.
        (|world| world.degrade("n0", &[]), true),
        (|world| world.degrade("n0", &[Cause::Agent, Cause::Kubelet]), true),
        (|world| world.degrade("n0", &[Cause::Kubelet, Cause::Key]), true),
    ];
    for (n, (change, stays)) in changes.into_iter().enumerate() {
        let mut world = world(9, 1);
        world.run(ms(12_000));
        change(&mut world);
        world.run(ms(60_000));
        assert_eq!(is_tainted(&world), stays, "change {n}");
    }
}

#[test]
fn observe_and_the_switch_decide_the_same_and_write_nothing() {
    let mut observed = World::new(9, 1, Mode::Observe);
    observed.run(ms(100));
    observed.degrade("n0", DOWN);
    observed.run(ms(15_000));
    observed.verdict("n0", Verdict::Alive, None);
    observed.run(ms(15_000));
    assert_eq!(observed.writes, []);
    let withheld = observed.stewards[0].withheld.iter();
    let kinds: Vec<_> = withheld
        .filter_map(|(at, call)| Some((at.as_millis(), kind(call)?)))
        .collect();
    assert_eq!(kinds, [(10_100, "degraded"), (25_100, "untaint")]);

    let mut paused = world(9, 1);
    paused.show(&ApiEvent::Paused(Some("true".into())));
    paused.run(ms(15_000));
    assert_eq!(taints(&paused), []);
    paused.show(&ApiEvent::Paused(None));
    paused.run(ms(9_000));
    assert_eq!(taints(&paused), [], "its time begins anew");
    paused.run(ms(2_000));
    assert!(is_tainted(&paused));
}

/// From `enforce` to `observe`.
#[test]
fn a_real_taint_that_observe_leaves_on_a_node_that_is_back_rings() {
    let mut world = World::new(9, 0, Mode::Observe);
    let node = world.nodes.get_mut("n0").unwrap();
    node.taints = marks::with_taint(&node.taints, OwnTaint::Degraded, super::judge::INCIDENT);
    world.add_steward();
    world.run(ms(100));
    world.verdict("n0", Verdict::Alive, None);
    world.run(ms(60_000));
    let alarms = &world.stewards[0].alarms;
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    assert!(
        alarms[0].contains("kubectl taint node n0 node-failure-detector.io/degraded-"),
        "{alarms:?}"
    );
}

#[test]
fn observe_keeps_the_two_taints_apart() {
    let mut world = World::new(9, 1, Mode::Observe);
    world.run(ms(100));
    world.degrade("n0", DOWN);
    world.run(ms(12_000));
    world.kill_node("n0");
    world.run(ms(12_000));
    world.verdict("n0", Verdict::Alive, None);
    world.good("n0", 50);
    world.run(ms(30_000));
    let own = |write: Write| {
        let decided = steps(&world.stewards[0]).into_iter();
        decided
            .filter(|step| matches!(step, Step::Decided { write: kind, .. } if *kind == write))
            .count()
    };
    for write in [
        Write::Taint,
        Write::Untaint,
        Write::DegradedTaint,
        Write::DegradedUntaint,
    ] {
        assert_eq!(own(write), 1, "{write:?}");
    }
}

#[test]
fn control_plane_and_opted_out_nodes_are_left_and_told() {
    type Change = fn(&mut World);
    let cases: [(Change, Hold); 2] = [
        (
            |world| world.nodes.get_mut("n0").unwrap().control_plane = true,
            Hold::ControlPlane,
        ),
        (
            |world| world.nodes.get_mut("n0").unwrap().spared = Some("opted out"),
            Hold::OptedOut,
        ),
    ];
    for (change, hold) in cases {
        let mut world = World::new(9, 0, Mode::Enforce);
        change(&mut world);
        world.add_steward();
        world.run(ms(100));
        world.degrade("n0", DOWN);
        world.run(ms(60_000));
        assert_eq!(taints(&world), []);
        let held = steps(&world.stewards[0]);
        assert_eq!(
            held.iter().filter(|step| **step == Step::Held { hold }).count(),
            1
        );
        assert!(events(&world).contains(&"RemediationHeld"));
    }
}

#[test]
fn the_own_node_is_another_stewards() {
    let mut world = World::new(9, 2, Mode::Enforce);
    world.run(ms(100));
    world.degrade("n8", DOWN);
    world.run(ms(20_000));
    let wrote = taints(&world);
    assert_eq!(
        (wrote.len(), wrote[0].1),
        (1, 1),
        "n8 carries the first: {wrote:?}"
    );
}

#[test]
fn the_next_steward_goes_on_two_seconds_later() {
    let mut world = world(9, 3);
    world.stewards[0].alive = false;
    world.run(ms(30_000));
    world.stewards[1].alive = false;
    world.verdict("n0", Verdict::Alive, None);
    world.run(ms(30_000));
    let wrote = taints(&world);
    assert_eq!((wrote[0].1, wrote[1].1, wrote.len()), (1, 2, 2));
    assert!(wrote[0].0 >= ms(12_100) && wrote[0].0 < ms(12_200), "{wrote:?}");
    assert!(wrote[1].0 >= ms(44_100) && wrote[1].0 < ms(44_200), "{wrote:?}");
}

#[test]
fn a_steward_that_starts_finds_the_taint_and_takes_it_off() {
    let mut world = World::new(9, 0, Mode::Enforce);
    let label = super::judge::INCIDENT;
    let node = world.nodes.get_mut("n0").unwrap();
    node.taints = marks::with_taint(&node.taints, OwnTaint::Degraded, label);
    world.add_steward();
    world.run(ms(60_000));
    assert!(is_tainted(&world), "no judge has said anything of it");
    world.degrade("n0", DOWN);
    world.run(ms(60_000));
    assert_eq!(taints(&world), [], "it stands there already");
    world.verdict("n0", Verdict::Alive, None);
    world.run(ms(10_100));
    assert!(!is_tainted(&world));
    let closed = world.stewards[0]
        .records
        .iter()
        .rfind(|entry| entry.step == Step::Closed);
    assert_eq!(closed.unwrap().incident, label);
}

#[test]
fn a_tenth_bears_it_and_the_next_gets_its_turn() {
    let mut world = World::new(9, 3, Mode::Enforce);
    world.run(ms(100));
    for name in ["n0", "n1", "n2"] {
        world.degrade(name, DOWN);
        world.run(ms(10));
    }
    world.run(ms(60_000));
    assert_eq!(world.tainted(OwnTaint::Degraded), ["n0"]);
    let held = steps(&world.stewards[0]);
    let budget = Step::Held { hold: Hold::Budget };
    assert_eq!(held.iter().filter(|step| **step == budget).count(), 2);
    let told = events(&world);
    let told = told.iter().filter(|reason| **reason == "RemediationHeld");
    assert_eq!(told.count(), 2, "by one steward");
    world.verdict("n0", Verdict::Alive, None);
    world.run(ms(13_000));
    assert_eq!(world.tainted(OwnTaint::Degraded), ["n1"], "nothing is latched");

    let mut large = World::new(40, 3, Mode::Enforce);
    large.run(ms(100));
    for n in 0..10 {
        large.degrade(&format!("n{n}"), DOWN);
    }
    large.run(ms(60_000));
    assert_eq!(large.tainted(OwnTaint::Degraded).len(), 4);
}

#[test]
fn beyond_a_third_nobody_is_tainted() {
    let mut world = World::new(9, 3, Mode::Enforce);
    world.run(ms(100));
    for name in ["n0", "n1", "n2", "n3"] {
        world.degrade(name, DOWN);
    }
    world.run(ms(60_000));
    assert_eq!(taints(&world), []);
    let held = steps(&world.stewards[0]);
    assert_eq!(
        held.iter()
            .filter(|step| **step == Step::Held { hold: Hold::Storm })
            .count(),
        4
    );
    // One of them is dead: it is none of the nodes that could start pods, and three of eight are still too many.
    world.kill_node("n3");
    world.run(ms(10_000));
    assert_eq!(world.tainted(OwnTaint::Degraded), [""; 0]);
    world.verdict("n2", Verdict::Alive, None);
    world.run(ms(2_000));
    assert_eq!(world.tainted(OwnTaint::Degraded).len(), 1);
}

#[test]
fn nodes_of_the_control_plane_are_not_what_a_third_is_of() {
    let mut world = World::new(4, 0, Mode::Enforce);
    for member in &mut world.members[1..3] {
        member.control_plane = true;
    }
    world.add_steward();
    world.run(ms(100));
    world.degrade("n0", DOWN);
    world.run(ms(20_000));
    assert_eq!(taints(&world), [], "one of two");
}

#[test]
fn a_node_that_dies_with_it_is_remedied_as_any_other_and_loses_both() {
    let mut world = world(9, 1);
    world.run(ms(12_000));
    world.kill_node("n0");
    world.run(ms(15_000));
    assert_eq!(world.terminating("n0").len(), 2);
    assert!(world.nodes["n0"].is_tainted() && is_tainted(&world));
    world.run(ms(60_000));
    assert!(is_tainted(&world), "the dead have other cares");
    world.verdict("n0", Verdict::Alive, None);
    world.good("n0", 50);
    world.run(ms(30_000));
    assert_eq!(world.nodes["n0"].taints.len(), 1);
}

#[test]
fn the_verdict_is_asked_again_when_the_write_leaves() {
    type Change = fn(&mut World);
    let changes: [Change; 2] = [
        |world| world.verdict("n0", Verdict::Alive, None),
        |world| world.degrade("n0", &[Cause::Agent]),
    ];
    for change in changes {
        let mut world = world(9, 1);
        world.run(ms(10_001));
        // Decided, and on its way.
        change(&mut world);
        world.run(ms(60_000));
        assert_eq!(taints(&world), []);
    }

    let mut world = world(9, 1);
    world.run(ms(20_000));
    world.verdict("n0", Verdict::Alive, None);
    world.run(ms(10_001));
    world.degrade("n0", DOWN);
    world.run(ms(60_000));
    assert_eq!(taints(&world).len(), 1);
}

#[test]
fn a_conflict_is_tried_again_and_a_refusal_not_soon() {
    let mut world = world(9, 1);
    world.fault = |call, _| matches!(call, Call::Taints { .. }).then_some(Outcome::Conflict);
    world.run(ms(11_000));
    assert!(!is_tainted(&world));
    world.fault = |_, _| None;
    world.run(ms(1_100));
    assert!(is_tainted(&world));

    let mut refused = self::world(9, 1);
    refused.fault = |call, _| matches!(call, Call::Taints { .. }).then(|| Outcome::Refused("no".into()));
    refused.run(ms(60_000));
    assert_eq!(
        refused.stewards[0].alarms.len(),
        1,
        "{:?}",
        refused.stewards[0].alarms
    );
    refused.fault = |_, _| None;
    refused.run(ms(30_000));
    assert!(is_tainted(&refused));
}

#[test]
fn stewards_that_differ_write_no_more_than_once_in_ten_seconds() {
    let mut world = World::new(9, 2, Mode::Enforce);
    world.run(ms(100));
    let kubelet = Causes::NONE.with(Cause::Kubelet);
    for (n, verdict, causes) in [(0, Verdict::Alive, Causes::NONE), (1, Verdict::Degraded, kubelet)] {
        let said = changed("n0", BOOT, verdict, causes, None, world.now);
        world.post(n, ms(0), Post::Judgement(said));
    }
    world.run(ms(100_000));
    let wrote = taints(&world);
    assert!(wrote.len() > 4 && wrote.len() <= 10, "{wrote:?}");
}

#[test]
fn a_taint_that_was_seen_before_the_roster_is_found() {
    let mut world = World::new(9, 0, Mode::Enforce);
    let node = world.nodes.get_mut("n0").unwrap();
    node.taints = marks::with_taint(&node.taints, OwnTaint::Degraded, super::judge::INCIDENT);
    let members = std::mem::take(&mut world.members);
    world.add_steward();
    world.run(ms(100));
    world.verdict("n0", Verdict::Alive, None);
    world.run(ms(60_000));
    assert!(is_tainted(&world), "not a member");
    world.members = members;
    let (roster, now) = (world.roster(), world.now);
    world.stewards[0].remedy.set_roster(&roster, now);
    world.run(ms(10_100));
    assert!(!is_tainted(&world));
}

#[test]
fn a_member_that_is_gone_is_forgotten() {
    let mut world = world(9, 1);
    world.run(ms(5_000));
    world.members.remove(0);
    let (roster, now) = (world.roster(), world.now);
    world.stewards[0].remedy.set_roster(&roster, now);
    world.run(ms(60_000));
    assert_eq!(taints(&world), []);
}

#[test]
fn a_node_that_is_gone_is_forgotten() {
    let mut world = world(9, 1);
    world.run(ms(5_000));
    world.nodes.remove("n0");
    world.show(&ApiEvent::NodeGone {
        uid: super::world::uid("n0"),
    });
    world.run(ms(60_000));
    assert_eq!(taints(&world), []);
    assert!(!world.stewards[0].remedy.degraded.contains_key(&id("n0")));
}
