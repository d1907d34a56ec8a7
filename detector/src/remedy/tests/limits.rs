//! What holds it back.

use super::judge::INCIDENT;
use super::world::{World, id, kind, ms, steps};
use crate::incident::Step;
use crate::judgement::{Ask, Hold, Verdict};
use crate::remedy::command::{ApiEvent, Call, LedgerState, Outcome};
use crate::remedy::object::OwnTaint;
use crate::remedy::{Mode, marks};

fn held(world: &World) -> Vec<Hold> {
    let steps = steps(&world.stewards[0]);
    let holds = steps.iter().filter_map(|step| match step {
        Step::Held { hold } => Some(*hold),
        _ => None,
    });
    holds.collect()
}

#[test]
fn over_budget_waits_for_its_turn_and_gets_it() {
    let mut world = World::new(9, 3, Mode::Enforce);
    world.run(ms(100));
    world.kill_node("n0");
    world.kill_node("n1");
    world.run(ms(4_000));
    assert_eq!(
        (world.terminating("n0").len(), world.terminating("n1").len()),
        (2, 0)
    );
    assert!(!world.nodes["n1"].is_tainted());
    assert!(held(&world).contains(&Hold::Budget));
    world.run(ms(12_000));
    assert_eq!(
        world.terminating("n1").len(),
        2,
        "its turn came: nothing is latched"
    );
}

#[test]
fn a_tenth_of_a_large_cluster_is_condemned_in_few_words_of_the_ledger() {
    let mut world = World::new(60, 3, Mode::Enforce);
    world.run(ms(100));
    for n in 0..8 {
        world.verdict(&format!("n{n}"), Verdict::Dead, None);
    }
    world.run(ms(1_500));
    let tainted = world.nodes.values().filter(|node| node.is_tainted()).count();
    assert_eq!(tainted, 6, "a tenth of sixty");
    assert!(world.count("ledger") < 20, "{}", world.count("ledger"));
    world.run(ms(20_000));
    let tainted = world.nodes.values().filter(|node| node.is_tainted()).count();
    assert_eq!(tainted, 8);
}

#[test]
fn control_plane_opted_out_and_own_nodes_are_alarm_only() {
    type Change = fn(&mut World);
    let cases: [(&str, Change, Hold); 3] = [
        (
            "n0",
            |world| world.nodes.get_mut("n0").unwrap().control_plane = true,
            Hold::ControlPlane,
        ),
        (
            "n0",
            |world| world.nodes.get_mut("n0").unwrap().spared = Some("opted out"),
            Hold::OptedOut,
        ),
        ("n8", |_| (), Hold::OwnNode),
    ];
    for (name, change, hold) in cases {
        let mut world = World::new(9, 0, Mode::Enforce);
        change(&mut world);
        world.add_steward();
        world.run(ms(100));
        world.kill_node(name);
        world.run(ms(15_000));
        assert_eq!(world.kinds(), [""; 0], "{hold:?}");
        assert_eq!(held(&world), [hold]);
        let told = world
            .writes
            .iter()
            .any(|(.., call)| matches!(call, Call::Event { .. }));
        assert!(told, "{hold:?} is told");
    }
}

#[test]
fn a_ledger_that_is_not_understood_stops_everything_and_rings() {
    let mut world = World::new(9, 3, Mode::Enforce);
    world.ledger = LedgerState {
        resource_version: "2".into(),
        text: Some("{\"v\":99,\"entries\":[]}".into()),
    };
    world.run(ms(100));
    world.kill_node("n0");
    world.run(ms(10_000));
    assert_eq!(world.kinds(), [""; 0]);
    assert!(held(&world).contains(&Hold::Ledger));
    assert_eq!(
        world.stewards[0].alarms.len(),
        1,
        "{:?}",
        world.stewards[0].alarms
    );
    world.ledger = LedgerState {
        resource_version: "3".into(),
        text: None,
    };
    let mended = ApiEvent::Ledger(world.ledger.clone());
    world.show(&mended);
    world.run(ms(10_000));
    assert_eq!(world.terminating("n0").len(), 2, "mended: it goes on");
}

#[test]
fn a_missing_ledger_stops_everything_and_rings() {
    let mut world = World::new(9, 1, Mode::Enforce);
    world.fault = |call, _| match call {
        Call::ReadLedger | Call::Ledger { .. } => Some(Outcome::Missing),
        _ => None,
    };
    world.run(ms(100));
    world.kill_node("n0");
    world.run(ms(10_000));
    assert_eq!(world.kinds(), [""; 0]);
    assert!(!world.stewards[0].alarms.is_empty());
}

#[test]
fn the_switch_stops_writes_at_any_step_and_lets_them_begin_anew() {
    for after in [0, 3, 8, 20, 500, 1_010, 1_030, 3_000] {
        let mut world = World::new(9, 1, Mode::Enforce);
        world.run(ms(100));
        world.kill_node("n0");
        world.run(ms(after));
        world.show(&ApiEvent::Paused(Some("true".into())));
        world.run(ms(1));
        // What has left already has left: 5 ms.
        world.run(ms(6));
        let before = world.writes.len();
        world.run(ms(30_000));
        assert_eq!(world.writes.len(), before, "paused after {after} ms");
        world.show(&ApiEvent::Paused(Some("false".into())));
        world.run(ms(15_000));
        assert_eq!(world.terminating("n0").len(), 2, "goes on after {after} ms");
        assert!(world.nodes["n0"].is_tainted());
    }
}

#[test]
fn nothing_is_written_before_the_switch_was_read() {
    let mut world = World::new(9, 1, Mode::Enforce);
    world.switch_fails = true;
    world.run(ms(100));
    world.kill_node("n0");
    world.run(ms(3_000));
    assert_eq!(world.kinds(), Vec::<&str>::new());
    world.switch_fails = false;
    world.show(&ApiEvent::Paused(None));
    world.run(ms(15_000));
    assert_eq!(world.terminating("n0").len(), 2);
}

#[test]
fn what_opted_out_is_not_even_marked_and_its_endpoint_stays() {
    let mut world = World::new(9, 1, Mode::Enforce);
    world.pods.get_mut("uid-n0-web-a").unwrap().1.opted_out = true;
    let quiet = &mut world.pods.get_mut("uid-n0-agent").unwrap().1;
    quiet.id.namespace = "quiet".into();
    world.run(ms(100));
    world.kill_node("n0");
    world.run(ms(10_000));
    assert_eq!(world.terminating("n0"), ["n0-web-b"]);
    assert!(!world.pods["uid-n0-web-a"].1.marked);
    assert!(!world.pods["uid-n0-agent"].1.marked);
    let ready: Vec<bool> = world.slices["web-n0"]
        .endpoints
        .iter()
        .flatten()
        .map(|endpoint| endpoint.ready)
        .collect();
    assert_eq!(ready, [true, false]);
}

#[test]
fn a_claim_spares_unless_it_is_shared() {
    let mut world = World::new(9, 1, Mode::Enforce);
    world.pods.get_mut("uid-n0-web-a").unwrap().1.claims = vec!["shared".into()];
    world.pods.get_mut("uid-n0-web-b").unwrap().1.claims = vec!["shared".into(), "mine".into()];
    world.run(ms(100));
    world.kill_node("n0");
    world.run(ms(10_000));
    assert_eq!(world.terminating("n0"), ["n0-web-a"]);
}

#[test]
fn the_judge_is_told_who_is_condemned() {
    let mut world = World::new(9, 1, Mode::Enforce);
    world.run(ms(100));
    world.kill_node("n0");
    world.run(ms(1_000));
    let told: Vec<_> = world.stewards[0]
        .asks
        .iter()
        .filter_map(|ask| match ask {
            Ask::Condemned(members) => Some(members.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(told.first(), Some(&vec![]));
    assert_eq!(told.last(), Some(&vec![id("n0")]));
}

#[test]
fn a_storm_of_early_warnings_does_not_list_the_whole_cluster() {
    let mut world = World::new(60, 1, Mode::Enforce);
    world.run(ms(100));
    for n in 0..50 {
        world.judge(&crate::judgement::Judgement::EarlyWarning {
            subject: id(&format!("n{n}")),
            boot: super::judge::BOOT,
            incident: INCIDENT,
            at: world.now,
        });
    }
    // All at once, before the first answer.
    world.latency = ms(10_000);
    world.run(ms(5));
    let busy = world.stewards[0]
        .remedy
        .cases
        .values()
        .filter(|case| case.reads.listing)
        .count();
    assert!(busy <= 7, "{busy}");
}

#[test]
fn a_node_that_opts_out_half_way_keeps_no_budget() {
    let mut world = World::new(9, 3, Mode::Enforce);
    world.run(ms(100));
    world.kill_node("n0");
    world.run(ms(300));
    let version = world.next_version();
    let node = world.nodes.get_mut("n0").unwrap();
    (node.spared, node.resource_version) = (Some("opted out"), version);
    let node = node.clone();
    world.show(&ApiEvent::Node(node));
    world.run(ms(10_000));
    assert_eq!((world.count("mark"), world.count("delete")), (3, 0));
    world.kill_node("n1");
    world.run(ms(10_000));
    assert_eq!(world.terminating("n1").len(), 2);
}

#[test]
fn an_entry_that_no_judge_speaks_about_keeps_no_budget() {
    let mut world = World::new(9, 1, Mode::Enforce);
    world.run(ms(100));
    world.kill_node("n0");
    world.run(ms(300));
    world.stewards[0].alive = false;
    world.add_steward();
    world.run(ms(70_000));
    world.kill_node("n1");
    world.run(ms(10_000));
    assert_eq!(world.terminating("n1").len(), 2);
    // And when one speaks, it goes on.
    world.verdict("n0", Verdict::Dead, None);
    world.run(ms(15_000));
    assert!(world.nodes["n0"].is_tainted());
    world.verdict("n0", Verdict::Alive, None);
    world.good("n0", 50);
    world.run(ms(15_000));
    assert!(!world.nodes["n0"].is_tainted());
}

#[test]
fn a_list_that_grew_old_while_the_budget_was_full_is_made_anew() {
    let mut world = World::new(9, 1, Mode::Enforce);
    world.run(ms(100));
    world.kill_node("n0");
    world.kill_node("n1");
    world.run(ms(3_000));
    assert!(!world.nodes["n1"].is_tainted());
    world.add_pod("n1", "meanwhile", "ReplicaSet");
    world.run(ms(3_500));
    assert!(
        world.pods["uid-n1-meanwhile"].1.marked,
        "with the first burst, not with a later one"
    );
}

#[test]
fn five_thousand_nodes_are_taken_in_and_their_heartbeats_cost_nothing() {
    let mut world = World::new(1, 0, Mode::Enforce);
    world.add_steward();
    let steward = &mut world.stewards[0].remedy;
    let node = |n: usize, version: usize| {
        ApiEvent::Node(crate::remedy::object::Node {
            name: format!("n{n}"),
            uid: format!("uid-n{n}"),
            resource_version: version.to_string(),
            ..Default::default()
        })
    };
    for version in [1, 2] {
        for n in 0..5_000 {
            steward.handle_api(node(n, version), super::world::START);
        }
    }
    let mut commands = 0;
    while steward.poll_command().is_some() {
        commands += 1;
    }
    assert!(
        commands <= 2,
        "the judge is told once, the ledger read once: {commands}"
    );
}

#[test]
fn observe_needs_no_ledger() {
    let mut world = World::new(9, 1, Mode::Observe);
    world.fault = |call, _| match call {
        Call::ReadLedger => Some(Outcome::Missing),
        _ => None,
    };
    world.run(ms(5_000));
    world.kill_node("n0");
    world.run(ms(10_000));
    let steward = &world.stewards[0];
    assert_eq!(steward.alarms, [""; 0]);
    let deletes = steward
        .withheld
        .iter()
        .filter(|(_, call)| kind(call) == Some("delete"));
    assert_eq!(deletes.count(), 2);
}

/// From `enforce` to `observe`: nobody takes it off, and the node would be without new pods for ever, silently.
#[test]
fn a_real_taint_that_observe_leaves_on_a_node_that_is_back_rings() {
    let run = |tainted: bool| {
        let mut world = World::new(9, 0, Mode::Observe);
        if tainted {
            let node = world.nodes.get_mut("n0").unwrap();
            node.taints = marks::with_taint(&node.taints, OwnTaint::Dead, INCIDENT);
        }
        world.add_steward();
        world.run(ms(100));
        world.kill_node("n0");
        world.run(ms(3_000));
        world.verdict("n0", Verdict::Alive, None);
        world.good("n0", 50);
        world.run(ms(5_000));
        world.stewards[0].alarms.clone()
    };
    assert_eq!(run(false), [""; 0]);
    let alarms = run(true);
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    assert!(
        alarms[0].contains("kubectl taint node n0 node-failure-detector.io/dead-"),
        "{alarms:?}"
    );
}

/// What is pretended to be off stays on the Node, and shows each time that the Node does: that is nothing new.
#[test]
fn a_real_taint_that_observe_leaves_is_one_incident_that_ends_once() {
    let mut world = World::new(9, 0, Mode::Observe);
    let node = world.nodes.get_mut("n0").unwrap();
    node.taints = marks::with_taint(&node.taints, OwnTaint::Dead, INCIDENT);
    world.add_steward();
    world.run(ms(100));
    world.verdict("n0", Verdict::Alive, None);
    world.good("n0", 50);
    world.run(ms(20_000));
    for _ in 0..5 {
        world.show(&ApiEvent::Node(world.nodes["n0"].clone()));
        world.run(ms(10_000));
    }
    assert!(world.nodes["n0"].is_tainted());
    let ends = steps(&world.stewards[0]).into_iter();
    assert_eq!(ends.filter(|step| *step == Step::Closed).count(), 1);
    assert_eq!(world.stewards[0].alarms.len(), 1);
}

/// Taints came off and a condition was told in pretence alone, and no Node changes afterwards.
#[test]
fn what_a_pause_left_on_nodes_is_mended_when_it_ends() {
    let mut world = World::new(9, 0, Mode::Enforce);
    for (name, own) in [("n0", OwnTaint::Dead), ("n1", OwnTaint::Degraded)] {
        let node = world.nodes.get_mut(name).unwrap();
        node.taints = marks::with_taint(&node.taints, own, INCIDENT);
    }
    world.add_steward();
    world.show(&ApiEvent::Paused(Some("upgrade".into())));
    world.run(ms(100));
    for name in ["n0", "n1"] {
        world.verdict(name, Verdict::Alive, None);
        world.good(name, 50);
    }
    world.verdict("n2", Verdict::Partial, None);
    world.run(ms(60_000));
    assert_eq!(world.writes, []);
    assert_eq!(
        world.stewards[0].alarms.len(),
        2,
        "{:?}",
        world.stewards[0].alarms
    );
    world.show(&ApiEvent::Paused(None));
    world.run(ms(100));
    world.good("n0", 50);
    world.run(ms(20_000));
    for own in [OwnTaint::Dead, OwnTaint::Degraded] {
        assert_eq!(world.tainted(own), [""; 0]);
    }
    assert_eq!(world.nodes["n2"].reachable.as_deref(), Some("PartlyHeard"));
}
