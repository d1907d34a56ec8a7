//! What the agent asks, tells and answers.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that breaks its own premise may panic"
)]

mod scene;

use std::net::SocketAddr;

use detector_common::packet::health;

use super::{AgentCommand, Neighbours};
use crate::identity::{BootId, IncidentId, MemberId};
use crate::message::{Farewell, Goodbye, Hint, Look, Message};
use crate::profile::{GREETING, UNHEARD_REPEAT};
use crate::rings::Rings;
use crate::roster::Roster;

use scene::{BOOT, PORT, Scene, at, member, ms, pairs, roster, steward};
#[test]
fn every_steward_is_greeted_each_second_and_when_health_changes() {
    let mut scene = Scene::new(3, &[2, 3]);
    scene.got.clear();
    scene.run(GREETING * 3);
    for node in [2, 3] {
        assert_eq!(scene.greetings(steward(node).id), 3);
    }
    scene.got.clear();
    scene.agent.handle_health(health::KUBELET_DOWN, scene.now);
    while scene.pass() {}
    let greeted = scene.got.iter().filter_map(|(_, message)| match message {
        Message::Greeting(greeting) => Some((greeting.boot, greeting.health)),
        _ => None,
    });
    assert_eq!(greeted.collect::<Vec<_>>(), [(BOOT, health::KUBELET_DOWN); 2]);
    assert!(scene.told.contains(&AgentCommand::Health(health::KUBELET_DOWN)));
    scene.got.clear();
    scene.agent.handle_health(health::KUBELET_DOWN, scene.now);
    while scene.pass() {}
    assert!(scene.got.is_empty(), "nothing changed");
}

#[test]
fn the_kernel_gets_the_keys_of_all_members_and_of_nobody_else_once() {
    let mut scene = Scene::new(12, &[2]);
    let keys = |scene: &Scene| {
        let peers = scene.told.iter().filter_map(|command| match command {
            AgentCommand::Peers(keys) => Some(keys.clone()),
            _ => None,
        });
        peers.collect::<Vec<_>>()
    };
    let expected: Vec<u64> = {
        let mut ids: Vec<u64> = (2..=12).map(|node| member(node).0).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(keys(&scene).len(), 1);
    assert_eq!(keys(&scene)[0].keys().copied().collect::<Vec<_>>(), expected);
    let same = roster(12, &[2]);
    scene
        .agent
        .handle_roster(&same, &pairs(member(1), &same), scene.now);
    while scene.pass() {}
    assert_eq!(keys(&scene).len(), 1, "an unchanged roster changes nothing");
    let fewer = roster(11, &[2]);
    scene
        .agent
        .handle_roster(&fewer, &pairs(member(1), &fewer), scene.now);
    while scene.pass() {}
    assert_eq!(keys(&scene)[1].len(), 10);
}

#[test]
fn stewards_alone_may_look_and_ping_and_members_alone_may_hint() {
    let mut scene = Scene::new(3, &[2]);
    let look = Message::Look(Look {
        subject: MemberId(99),
        boot: BOOT,
        nonce: 4,
    });
    let hint = Message::Hint(Hint {
        subject: member(3),
        boot: BootId(3),
        incident: IncidentId(1),
    });
    scene.got.clear();
    scene.say(at(2), &look);
    scene.say(at(2), &Message::Ping(6));
    scene.say(steward(2).address, &hint);
    assert_eq!(
        scene.agent.status(scene.now, &scene.tables).control["misdirected"],
        3
    );
    assert_eq!(scene.got, []);
    scene.say(steward(2).address, &look);
    scene.say(steward(2).address, &Message::Ping(7));
    let answers: Vec<_> = scene.got.drain(..).collect();
    assert!(matches!(&answers[0], (_, Message::Report(report)) if report.nonce == 4));
    assert_eq!(answers[1], (steward(2).id, Message::Pong(7)));
    scene.say(at(2), &hint);
    scene.run(ms(50));
    let reports = scene
        .got
        .iter()
        .filter(|(_, message)| matches!(message, Message::Report(_)));
    assert!(reports.count() >= 2, "a hint is answered by reports");
}

#[test]
fn a_farewell_is_repeated_until_it_is_known_and_no_greeting_takes_it_back() {
    let mut scene = Scene::new(3, &[2, 3]);
    scene.got.clear();
    scene.agent.handle_farewell(Farewell::Reboot, scene.now);
    assert!(scene.agent.is_saying_goodbye());
    // The first datagrams are lost.
    while scene.agent.poll_command().is_some() {}
    scene.run(ms(40));
    assert!(!scene.agent.is_saying_goodbye(), "acknowledged");
    let goodbye = Message::Goodbye(Goodbye {
        boot: BOOT,
        farewell: Farewell::Reboot,
    });
    for node in [2, 3] {
        assert!(scene.got.contains(&(steward(node).id, goodbye.clone())));
    }
    scene.got.clear();
    scene.agent.handle_health(health::KUBELET_DOWN, scene.now);
    scene.run(GREETING * 2);
    assert_eq!(scene.greetings(steward(2).id), 0);
    assert!(
        scene
            .told
            .contains(&AgentCommand::Health(health::KUBELET_DOWN | health::LEAVING))
    );
}

#[test]
fn only_a_shutdown_is_told_by_the_kernel() {
    let mut scene = Scene::new(3, &[2]);
    scene
        .agent
        .handle_farewell(Farewell::Restart { ttl: ms(30_000) }, scene.now);
    scene.agent.handle_farewell(Farewell::Left, scene.now);
    while scene.pass() {}
    let told = |command: &&AgentCommand| matches!(command, AgentCommand::Health(_));
    assert_eq!(scene.told.iter().filter(told).count(), 0);
}

#[test]
fn nobody_asks_any_more_is_told_at_a_limited_rate_and_again_after_somebody_asked() {
    let mut scene = Scene::new(5, &[2]);
    scene.run(ms(500));
    assert_eq!(scene.unheard(), 0, "nobody ever asked");
    for node in [2, 3] {
        scene.heard_from(node);
    }
    scene.run(ms(500));
    assert_eq!(scene.unheard(), 0, "two of four are no quorum");
    scene.heard_from(4);
    scene.run(ms(75));
    assert_eq!(scene.unheard(), 0, "not before four slots");
    scene.run(ms(10));
    assert_eq!(scene.unheard(), 1);
    scene.run(UNHEARD_REPEAT - ms(100));
    assert_eq!(scene.unheard(), 1, "limited");
    scene.run(ms(200));
    assert_eq!(
        scene.unheard(),
        2,
        "and repeated, or it would not be believed any more"
    );
    scene.heard_from(5);
    scene.run(ms(150));
    assert_eq!(scene.unheard(), 3, "a new silence is told at once");
}

#[test]
fn a_steward_on_this_host_proves_nothing_about_its_receive_path() {
    let own = member(1);
    let hosts = |roster: &Roster| {
        let neighbours = Neighbours::new(own, PORT, roster, &Rings::new(roster), &pairs(own, roster));
        neighbours
            .stewards
            .iter()
            .map(|steward| steward.host)
            .collect::<Vec<_>>()
    };
    let mut roster = roster(3, &[1, 2]);
    assert_eq!(hosts(&roster), [None, Some(member(2))]);
    // A wrong name, but an address that tells; a loopback; an address of nobody.
    roster.stewards[0].node = "elsewhere".to_owned();
    roster.stewards[1].node = "elsewhere".to_owned();
    assert_eq!(hosts(&roster), [None, Some(member(2))]);
    roster.stewards[0].address = SocketAddr::from(([127, 0, 0, 1], 1));
    roster.stewards[1].address = SocketAddr::from(([10, 9, 9, 9], 1));
    assert_eq!(hosts(&roster), [None, Some(roster.stewards[1].id)]);
}

#[test]
fn channels_reach_stewards_and_fellow_observers_only() {
    let own = member(1);
    let roster = roster(60, &[2, 3]);
    let rings = Rings::new(&roster);
    let neighbours = Neighbours::new(own, PORT, &roster, &rings, &pairs(own, &roster));
    let fellows: std::collections::BTreeSet<MemberId> = rings
        .subjects(own)
        .iter()
        .flat_map(|subject| rings.observers(*subject))
        .copied()
        .filter(|id| *id != own)
        .chain([steward(2).id, steward(3).id])
        .collect();
    assert_eq!(
        neighbours
            .channels
            .keys()
            .copied()
            .collect::<std::collections::BTreeSet<_>>(),
        fellows
    );
    assert_eq!(neighbours.keys.len(), 59);
    assert_eq!(neighbours.watchers, rings.observers(own));
}

#[test]
fn the_status_is_one_document() {
    let mut scene = Scene::new(3, &[2]);
    scene.say(steward(2).address, &Message::Ping(1));
    let status = serde_json::to_value(scene.agent.status(scene.now, &scene.tables)).unwrap();
    assert_eq!(status["boot"], "000000000000004d");
    assert_eq!(status["subjects"].as_array().unwrap().len(), 2);
    assert_eq!(status["subjects"][0]["ability"], "never_heard");
    assert_eq!(status["stewards"][0]["connected"], true);
    assert_eq!(status["stewards"][0]["heard_ms"], 0.0);
    assert_eq!(status["control"]["refused_tag"], 0);
}
