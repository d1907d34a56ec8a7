//! Signs that it lives, or that something else is not as it was: nothing is deleted upon them.

use super::judge::BOOT;
use super::world::{World, id, ms, steps};
use crate::incident::Step;
use crate::judgement::{Evidence, Judgement};
use crate::profile::UNHEARD_REPEAT;
use crate::remedy::Mode;
use crate::remedy::command::{ApiEvent, Call, Outcome};
use crate::remedy::object::Node;

#[test]
fn a_word_through_the_api_stops_everything_that_is_not_yet_written() {
    let mut world = World::new(9, 1, Mode::Enforce);
    world.run(ms(100));
    world.kill_node("n0");
    world.run(ms(200));
    assert_eq!(world.count("mark"), 3);
    let mut node = world.nodes["n0"].clone();
    node.alive = Some("000000000000b007 1".into());
    node.resource_version = world.next_version();
    world.nodes.insert("n0".into(), node.clone());
    world.show(&ApiEvent::Node(node));
    world.run(ms(10_000));
    assert_eq!(world.terminating("n0"), [""; 0]);
    assert!(steps(&world.stewards[0]).contains(&Step::Revoked));
}

#[test]
fn a_conflict_of_the_taint_is_looked_at_before_it_is_tried_again() {
    let run = |alive: Option<&str>| {
        let mut world = World::new(9, 1, Mode::Enforce);
        world.run(ms(100));
        world.kill_node("n0");
        // Changed behind the watch's back.
        let version = world.next_version();
        let node = world.nodes.get_mut("n0").unwrap();
        node.resource_version = version;
        node.alive = alive.map(str::to_owned);
        world.run(ms(10_000));
        world
    };
    let dead = run(None);
    assert!(dead.nodes["n0"].is_tainted());
    assert_eq!(dead.terminating("n0").len(), 2);
    let alive = run(Some("000000000000b007 1"));
    assert!(!alive.nodes["n0"].is_tainted(), "it said that it lives");
    assert_eq!((alive.count("mark"), alive.count("delete")), (0, 0));
    let earlier = run(Some("00000000000000aa 1"));
    assert!(
        earlier.nodes["n0"].is_tainted(),
        "another boot's word says nothing"
    );
}

#[test]
fn an_old_word_is_no_sign_of_life() {
    let mut world = World::new(9, 0, Mode::Enforce);
    world.nodes.get_mut("n0").unwrap().alive = Some("000000000000b007 1".into());
    world.add_steward();
    world.run(ms(100));
    world.kill_node("n0");
    world.run(ms(10_000));
    assert_eq!(world.terminating("n0").len(), 2);
}

#[test]
fn a_second_look_that_hears_it_costs_no_pod() {
    let mut world = World::new(9, 1, Mode::Enforce);
    world.run(ms(100));
    world.kill_node("n0");
    world.run(ms(500));
    // The judge has not spoken yet, but a look would hear it.
    world.silent.clear();
    world.run(ms(10_000));
    assert_eq!((world.count("mark"), world.count("delete")), (3, 0));
}

#[test]
fn a_delete_that_comes_late_takes_another_look() {
    let mut world = World::new(9, 1, Mode::Enforce);
    world.run(ms(100));
    world.kill_node("n0");
    world.run(ms(500));
    // Calls now arrive later than a look is fresh, as with a steward that stood still.
    world.latency = ms(600);
    world.run(ms(3_000));
    assert_eq!(world.count("delete"), 0);
    world.latency = ms(5);
    world.run(ms(3_000));
    assert_eq!(world.terminating("n0").len(), 2);
}

#[test]
fn a_pod_that_changed_after_its_mark_is_not_deleted() {
    let mut world = World::new(9, 1, Mode::Enforce);
    world.run(ms(100));
    world.kill_node("n0");
    world.run(ms(500));
    // Its kubelet is back and has written its status.
    let (_, pod) = world.pods.get_mut("uid-n0-web-a").unwrap();
    (pod.ready, pod.resource_version) = (true, "7000".into());
    world.run(ms(10_000));
    assert_eq!(world.terminating("n0"), ["n0-web-b"]);
}

#[test]
fn a_pod_whose_mark_failed_is_not_deleted() {
    for outcome in [
        Outcome::Refused("policy".into()),
        Outcome::GaveUp("time".into()),
        Outcome::Conflict,
    ] {
        let mut world = World::new(9, 1, Mode::Enforce);
        world.answer_marks_of = Some(("n0-web-a".into(), outcome));
        world.run(ms(100));
        world.kill_node("n0");
        world.run(ms(15_000));
        assert_eq!(world.terminating("n0"), ["n0-web-b"]);
    }
}

#[test]
fn the_answer_to_another_look_authorises_nothing() {
    let mut world = World::new(9, 1, Mode::Enforce);
    world.run(ms(100));
    world.kill_node("n0");
    // The judge answers other looks than were asked.
    world.answers_looks = false;
    for nonce in [0, 1, 7, u64::MAX] {
        world.run(ms(1_010));
        world.judge(&Judgement::Looked {
            subject: id("n0"),
            boot: BOOT,
            nonce,
            dead: true,
            evidence: Evidence::default(),
            at: world.now,
        });
    }
    world.run(ms(1_000));
    assert_eq!((world.count("mark"), world.count("delete")), (3, 0));
    world.answers_looks = true;
    world.run(ms(1_000));
    assert_eq!(world.terminating("n0").len(), 2);
}

/// Its mesh alone is closed, and the API was away when it first said so: its next word is to come first.
#[test]
fn after_an_outage_of_the_api_a_node_has_time_for_its_word() {
    let run = |outage, word| {
        let mut world = World::new(9, 3, Mode::Enforce);
        world.run(ms(100));
        world.fault = |_, _| Some(Outcome::GaveUp("away".into()));
        world.kill_node("n0");
        world.run(outage);
        world.fault = |_, _| None;
        world.run(ms(1_000));
        assert!(world.nodes["n0"].is_tainted());
        world.run(word);
        let mut node = world.nodes["n0"].clone();
        node.alive = Some("000000000000b007 1".into());
        node.resource_version = world.next_version();
        world.nodes.insert("n0".into(), node.clone());
        world.show(&ApiEvent::Node(node));
        world.run(ms(20_000));
        world.count("delete")
    };
    // Whenever within the second of the retry it was tainted.
    let repeat = UNHEARD_REPEAT - ms(1_000);
    assert_eq!(run(ms(2_000), repeat), 0);
    assert_eq!(
        run(ms(2_000), repeat + ms(3_000)),
        2,
        "nor is it waited for for ever"
    );
}

/// Its API server died with the node: the watch says nothing more, and the API knows better.
#[test]
fn what_no_watch_shows_is_read_before_the_deletes() {
    let run = |latency, change: fn(&mut Node)| {
        let mut world = World::new(9, 1, Mode::Enforce);
        world.run(ms(100));
        world.kill_node("n0");
        world.run(ms(500));
        assert_eq!(world.count("mark"), 3);
        world.watches = false;
        world.latency = ms(latency);
        let version = world.next_version();
        let node = world.nodes.get_mut("n0").unwrap();
        node.resource_version = version;
        change(node);
        world.run(ms(10_000));
        world.count("delete")
    };
    // The look is answered after 20 ms: the read comes before it, or after.
    for latency in [5, 100] {
        assert_eq!(run(latency, |_| {}), 2);
        let alive: fn(&mut Node) = |node| node.alive = Some("000000000000b007 1".into());
        assert_eq!(run(latency, alive), 0);
        assert_eq!(run(latency, |node| node.spared = Some("opted out")), 0);
        assert_eq!(run(latency, |node| node.uid = "uid-other".into()), 0);
    }
}

#[test]
fn without_the_read_nothing_is_deleted_and_a_slow_one_is_waited_for() {
    let mut world = World::new(9, 1, Mode::Enforce);
    world.run(ms(100));
    world.kill_node("n0");
    world.run(ms(500));
    world.fault = |call, _| match call {
        Call::ReadNode { .. } => Some(Outcome::GaveUp("time".into())),
        _ => None,
    };
    world.run(ms(3_000));
    assert_eq!(world.count("delete"), 0);
    world.fault = |_, _| None;
    // Longer than a look is fresh; the deletes, on their way for half of it, are not.
    world.latency = ms(300);
    world.run(ms(3_000));
    assert_eq!(world.terminating("n0").len(), 2);
}
