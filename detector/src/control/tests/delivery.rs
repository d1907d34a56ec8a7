//! What is sent arrives, or is given up; what it costs.

use std::net::SocketAddr;

use super::pair::{A, B, Pair, SECRET, address, hint, ms};
use crate::control::{Delivery, Received, Refused};
use crate::identity::BootId;
use crate::keys::PairSecret;
use crate::message::{Farewell, Goodbye, Message};

#[test]
fn a_message_of_either_kind_arrives_once_and_says_when_it_was_made() {
    for delivery in [Delivery::Once, Delivery::Reliable] {
        let mut pair = Pair::new();
        let made = pair.now;
        pair.send(0, &hint(1), delivery);
        pair.settle();
        let received = Received {
            from: A,
            incarnation: 100,
            sender_time: made,
            message: hint(1),
        };
        assert_eq!(pair.got[1], [received]);
        assert_eq!(pair.ends[0].pending(B), 0);
        // Hello, answer, message; and one acknowledgement.
        assert_eq!(pair.tape.len(), if delivery == Delivery::Once { 3 } else { 4 });
    }
}

#[test]
fn an_idle_channel_says_nothing_and_a_wished_one_is_opened_beforehand() {
    let mut pair = Pair::new();
    pair.run(ms(10_000), || false);
    assert_eq!(pair.tape, []);
    let now = pair.now;
    pair.ends[0].connect(B, now);
    pair.settle();
    assert_eq!(pair.ends[0].peer_incarnation(B), Some(200));
    assert_eq!(pair.ends[1].peer_incarnation(A), Some(100));
    let opened = pair.tape.len();
    pair.send(1, &hint(1), Delivery::Once);
    assert_eq!(pair.transmits().len(), 1);
    pair.run(ms(10_000), || false);
    assert_eq!(pair.tape.len(), opened + 1);
}

#[test]
fn reliable_messages_pass_a_wire_that_loses_most() {
    let mut pair = Pair::new();
    let mut dice = 7_u32;
    for subject in 1..=40 {
        pair.send(0, &hint(subject), Delivery::Reliable);
    }
    pair.run(ms(4_500), || {
        dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        dice >> 16 & 15 < 10
    });
    let mut subjects = pair.subjects(1);
    subjects.sort_unstable();
    subjects.dedup();
    assert_eq!(subjects, (1..=40).collect::<Vec<_>>());
    assert!(pair.ends[0].counts().repeated > 40);
}

#[test]
fn a_dead_peer_costs_little_and_is_given_up() {
    let mut pair = Pair::new();
    pair.send(0, &hint(1), Delivery::Reliable);
    pair.run(ms(5_500), || true);
    assert_eq!(pair.ends[0].pending(B), 0);
    assert_eq!(pair.ends[0].counts().given_up, 1);
    assert!(
        (20..=32).contains(&pair.tape.len()),
        "{} datagrams in 5 s",
        pair.tape.len()
    );
    let before = pair.tape.len();
    pair.run(ms(10_000), || true);
    assert_eq!(pair.tape.len(), before);
}

#[test]
fn queues_are_bounded_and_a_newer_message_replaces_an_older_one() {
    let mut pair = Pair::new();
    for subject in 1..=70 {
        pair.send(0, &hint(subject), Delivery::Reliable);
        pair.send(0, &hint(subject), Delivery::Reliable);
    }
    assert_eq!(pair.ends[0].pending(B), 64);
    assert_eq!(pair.ends[0].counts().dropped, 6);
    assert_eq!(pair.ends[0].counts().replaced, 70);
    pair.settle();
    assert_eq!(pair.subjects(1), (7..=70).collect::<Vec<_>>());
}

#[test]
fn what_waits_for_a_peer_reaches_its_next_life_although_that_has_nothing_to_say() {
    let mut pair = Pair::new();
    pair.assert_whole();
    pair.restart(1, 201);
    pair.send(0, &hint(5), Delivery::Reliable);
    pair.settle();
    assert_eq!(pair.subjects(1).last(), Some(&5));
    assert_eq!(pair.ends[0].peer_incarnation(B), Some(201));
}

#[test]
fn a_goodbye_leaves_before_anything_else_happens() {
    let mut pair = Pair::new();
    pair.assert_whole();
    let goodbye = Message::Goodbye(Goodbye {
        boot: BootId(1),
        farewell: Farewell::Reboot,
    });
    pair.send(0, &goodbye, Delivery::Reliable);
    let (to, bytes) = pair.transmits().remove(0);
    pair.deliver(to, &bytes).unwrap();
    assert_eq!(pair.got[1].last().unwrap().message, goodbye);
}

#[test]
fn another_secret_or_address_takes_effect() {
    let mut pair = Pair::new();
    pair.assert_whole();
    let now = pair.now;
    pair.ends[0].set_peer(B, SocketAddr::from(([10, 0, 0, 99], 930)), SECRET);
    pair.ends[0].send(B, &hint(1), Delivery::Once, now);
    assert_eq!(
        pair.ends[0].poll_transmit().unwrap().to,
        SocketAddr::from(([10, 0, 0, 99], 930))
    );
    assert_eq!(pair.ends[0].peer_incarnation(B), Some(200));
    pair.ends[0].set_peer(B, address(B), PairSecret([8; 32]));
    assert_eq!(pair.ends[0].peer_incarnation(B), None);
    pair.send(0, &hint(2), Delivery::Once);
    let hello = pair.transmits().remove(0).1;
    assert_eq!(pair.deliver(1, &hello), Err(Refused::Tag));
}
