#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may end at once"
)]

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::{Control, Delivery, Received, Refused, Transmit};
use crate::identity::{BootId, IncidentId, MemberId};
use crate::keys::PairSecret;
use crate::message::{Farewell, Goodbye, Hint, Message};
use crate::seal::{HEADER, Header, MAX_DATAGRAM, seal};
use crate::time::Instant;

const A: MemberId = MemberId(10);
const B: MemberId = MemberId(20);
const SECRET: PairSecret = PairSecret([9; 32]);

fn address(member: MemberId) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(member.0).unwrap()], 930))
}

fn control(own: MemberId, peer: MemberId, incarnation: u64) -> Control {
    let mut control = Control::new(own, incarnation);
    control.set_peer(peer, address(peer), SECRET);
    control
}

fn hint(subject: u64) -> Message {
    Message::Hint(Hint {
        subject: MemberId(subject),
        boot: BootId(1),
        incident: IncidentId(1),
    })
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Two ends, and a wire that keeps a copy of all that went over it.
struct Pair {
    ends: [Control; 2],
    now: Instant,
    /// To whom, and what.
    tape: Vec<(usize, Vec<u8>)>,
    got: [Vec<Received>; 2],
}

impl Pair {
    fn new() -> Self {
        Self {
            ends: [control(A, B, 100), control(B, A, 200)],
            now: Instant(1_000_000_000),
            tape: Vec::new(),
            got: [Vec::new(), Vec::new()],
        }
    }

    fn send(&mut self, end: usize, message: &Message, delivery: Delivery) {
        let peer = [B, A][end];
        self.ends[end].send(peer, message, delivery, self.now);
    }

    /// What an end has to send now, with the end that it is for.
    fn transmits(&mut self) -> Vec<(usize, Vec<u8>)> {
        let mut all = Vec::new();
        for (end, control) in self.ends.iter_mut().enumerate() {
            while let Some(Transmit { to, bytes }) = control.poll_transmit() {
                assert_eq!(to, address([B, A][end]));
                assert!(bytes.len() <= MAX_DATAGRAM);
                all.push((1 - end, bytes));
            }
        }
        self.tape.extend(all.iter().cloned());
        all
    }

    fn deliver(&mut self, end: usize, bytes: &[u8]) -> Result<(), Refused> {
        let received = self.ends[end].handle_datagram(bytes, self.now)?;
        self.got[end].extend(received);
        Ok(())
    }

    /// Passes the time, and every datagram that `lost` does not take.
    fn run(&mut self, time: Duration, mut lost: impl FnMut() -> bool) {
        let end = self.now + time;
        loop {
            for (to, bytes) in self.transmits() {
                if !lost() {
                    let _refused = self.deliver(to, &bytes);
                }
            }
            if self.ends.iter().all(|control| control.transmits.is_empty()) {
                let next = self.ends.iter().map(Control::poll_timeout).min().unwrap();
                if next > end {
                    break;
                }
                self.now = self.now.max(next);
                for control in &mut self.ends {
                    control.handle_timeout(self.now);
                }
            }
        }
        self.now = end;
    }

    fn settle(&mut self) {
        self.run(ms(300), || false);
    }

    fn restart(&mut self, end: usize, incarnation: u64) {
        let (own, peer) = [(A, B), (B, A)][end];
        self.ends[end] = control(own, peer, incarnation);
    }

    fn subjects(&self, end: usize) -> Vec<u64> {
        self.got[end]
            .iter()
            .map(|received| match &received.message {
                Message::Hint(hint) => hint.subject.0,
                other => panic!("{other:?} was never sent"),
            })
            .collect()
    }

    /// Both ends speak to the other's life of today.
    fn assert_whole(&mut self) {
        let before = [self.got[0].len(), self.got[1].len()];
        self.send(0, &hint(7_001), Delivery::Reliable);
        self.send(1, &hint(7_002), Delivery::Reliable);
        self.settle();
        assert!(self.subjects(1)[before[1]..].contains(&7_001));
        assert!(self.subjects(0)[before[0]..].contains(&7_002));
        assert_eq!(self.ends[0].pending(B) + self.ends[1].pending(A), 0);
    }
}

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

/// Fails when the replay window is taken away.
#[test]
fn no_datagram_is_accepted_twice() {
    let mut pair = Pair::new();
    pair.send(0, &hint(1), Delivery::Once);
    pair.send(0, &hint(2), Delivery::Reliable);
    pair.settle();
    let before = pair.got.clone();
    let counters: Vec<Refused> = pair
        .tape
        .clone()
        .iter()
        .filter_map(|(to, bytes)| pair.deliver(*to, bytes).err())
        .collect();
    assert_eq!(counters.len(), pair.tape.len());
    assert!(
        counters
            .iter()
            .filter(|refused| **refused == Refused::Replay)
            .count()
            >= 3
    );
    assert_eq!(pair.got, before);
    assert_eq!(pair.ends[1].counts().refused(Refused::Replay), 2);
    pair.assert_whole();
}

#[test]
fn nothing_of_an_earlier_life_is_accepted_by_a_later_one() {
    let mut pair = Pair::new();
    pair.assert_whole();
    let old = pair.tape.clone();
    for (end, incarnation) in [(0, 101), (1, 201)] {
        pair.restart(end, incarnation);
        pair.assert_whole();
        let before = pair.got.clone();
        let lives = [pair.ends[0].peer_incarnation(B), pair.ends[1].peer_incarnation(A)];
        for (to, bytes) in &old {
            pair.deliver(*to, bytes).unwrap_err();
        }
        pair.settle();
        assert_eq!(pair.got, before);
        assert_eq!(
            lives,
            [pair.ends[0].peer_incarnation(B), pair.ends[1].peer_incarnation(A)]
        );
        pair.assert_whole();
    }
}

/// Sealed to the life of A that still is, by a life of B that is over, and never delivered: the replay window cannot
/// know it.
#[test]
fn what_a_dead_life_sealed_comes_too_late() {
    let mut pair = Pair::new();
    pair.assert_whole();
    pair.send(1, &hint(66), Delivery::Once);
    let held: Vec<_> = pair.transmits();
    pair.restart(1, 201);
    pair.assert_whole();
    assert_eq!(held.len(), 1);
    assert_eq!(pair.deliver(0, &held[0].1), Err(Refused::Retired));
    assert_eq!(pair.ends[0].peer_incarnation(B), Some(201));
    assert!(!pair.subjects(0).contains(&66));
    pair.assert_whole();
}

/// Fails when incarnations are adopted from hellos.
#[test]
fn a_replayed_hello_changes_nothing() {
    let mut pair = Pair::new();
    let now = pair.now;
    pair.ends[1].connect(A, now);
    let hello = pair.transmits().remove(0).1;
    pair.restart(1, 201);
    pair.assert_whole();
    assert_eq!(pair.deliver(0, &hello), Err(Refused::Hello));
    assert_eq!(pair.ends[0].peer_incarnation(B), Some(201));
    // It costs one answer, no longer than the question, to the address of the roster.
    let answers = pair.transmits();
    assert_eq!(answers.len(), 1);
    assert!(answers[0].1.len() <= hello.len());
    // The next message still is for the life that lives.
    pair.send(0, &hint(3), Delivery::Once);
    let (to, bytes) = pair.transmits().remove(0);
    pair.deliver(to, &bytes).unwrap();
    assert_eq!(pair.subjects(1).last(), Some(&3));
}

#[test]
fn a_flood_of_old_hellos_gets_few_answers_and_does_not_keep_a_new_life_out() {
    let mut pair = Pair::new();
    let now = pair.now;
    pair.ends[1].connect(A, now);
    let hello = pair.transmits().remove(0).1;
    for _ in 0..1_000 {
        pair.deliver(0, &hello).unwrap_err();
    }
    assert!(pair.transmits().len() <= 201);
    assert!(pair.ends[0].counts().refused(Refused::Rate) >= 799);
    pair.restart(1, 201);
    pair.run(ms(50), || false);
    pair.assert_whole();
}

#[test]
fn reflected_datagrams_are_refused() {
    let mut pair = Pair::new();
    pair.assert_whole();
    pair.send(0, &hint(4), Delivery::Once);
    let (_, bytes) = pair.transmits().remove(0);
    assert_eq!(pair.deliver(0, &bytes), Err(Refused::NotForMe));
    let (header, sealed) = Header::decode(&bytes).unwrap();
    let turned = Header {
        sender: header.receiver,
        receiver: header.sender,
        sender_incarnation: header.receiver_incarnation,
        receiver_incarnation: header.sender_incarnation,
        ..header
    };
    let mut reflected = turned.encode().to_vec();
    reflected.extend(sealed);
    assert_eq!(pair.deliver(0, &reflected), Err(Refused::Tag));
}

#[test]
fn forged_and_cut_datagrams_are_refused_and_change_nothing() {
    let mut pair = Pair::new();
    pair.assert_whole();
    pair.send(0, &hint(4), Delivery::Once);
    let (_, bytes) = pair.transmits().remove(0);
    for at in 0..bytes.len() {
        let mut forged = bytes.clone();
        forged[at] ^= 0x80;
        pair.deliver(1, &forged).unwrap_err();
        pair.deliver(1, &bytes[..at]).unwrap_err();
    }
    pair.deliver(1, &[0xff; MAX_DATAGRAM]).unwrap_err();
    pair.deliver(1, &[0xff; 65_507]).unwrap_err();
    let mut stranger = bytes.clone();
    stranger[4..12].copy_from_slice(&77_u64.to_be_bytes());
    assert_eq!(pair.deliver(1, &stranger), Err(Refused::UnknownPeer));
    assert!(pair.transmits().is_empty());
    pair.deliver(1, &bytes).unwrap();
    assert_eq!(pair.subjects(1).last(), Some(&4));
}

/// A peer that has the key may still be hostile.
#[test]
fn authentic_nonsense_is_refused() {
    let mut pair = Pair::new();
    pair.assert_whole();
    let key = SECRET.sealing_key(A, 100, 200);
    let header = |counter| Header {
        sender: A,
        receiver: B,
        sender_incarnation: 100,
        receiver_incarnation: 200,
        counter,
    };
    let before = pair.got[1].len();
    let all_ones = [0xff; 25];
    let unknown_message = [vec![0; 24], vec![2, 200]].concat();
    let padded_nothing = [vec![0; 24], vec![0, 0]].concat();
    for (counter, plaintext) in [&[][..], &[0; 24], &all_ones, &unknown_message, &padded_nothing]
        .iter()
        .enumerate()
    {
        let datagram = seal(&key, &header(1_000 + counter as u64), plaintext).unwrap();
        assert_eq!(pair.deliver(1, &datagram), Err(Refused::Content), "{plaintext:?}");
    }
    let last = seal(&key, &header(u64::MAX), &[0; 25]).unwrap();
    pair.deliver(1, &last).unwrap();
    assert_eq!(pair.got[1].len(), before);
    assert!(HEADER < last.len());
}

#[test]
fn a_peer_that_was_removed_meets_another_life_when_it_comes_back() {
    let mut pair = Pair::new();
    pair.assert_whole();
    pair.send(1, &hint(8), Delivery::Once);
    let held = pair.transmits().remove(0).1;
    pair.ends[0].remove_peer(B);
    assert_eq!(pair.deliver(0, &held), Err(Refused::UnknownPeer));
    assert_eq!(pair.ends[0].poll_timeout(), Instant::NEVER);
    pair.ends[0].set_peer(B, address(B), SECRET);
    assert_eq!(pair.deliver(0, &held), Err(Refused::Incarnation));
    pair.settle();
    pair.assert_whole();
    let counter = |(_, bytes): &(usize, Vec<u8>)| bytes[..HEADER].to_vec();
    let mut headers: Vec<_> = pair.tape.iter().map(counter).collect();
    headers.sort();
    let all = headers.len();
    headers.dedup();
    assert_eq!(headers.len(), all, "a nonce was used twice under one key");
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

#[derive(Clone, Debug)]
enum Op {
    Send(usize, u64, bool),
    /// Loses this many of 16 datagrams for a while.
    Wire(u64, u32),
    /// Delivers an old datagram again.
    Replay(prop::sample::Index),
    Restart(usize),
    Forget(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0_usize..2, 1_u64..50, any::<bool>()).prop_map(|(end, subject, reliable)| Op::Send(end, subject, reliable)),
        3 => (1_u64..400, 0_u32..17).prop_map(|(time, lost)| Op::Wire(time, lost)),
        3 => any::<prop::sample::Index>().prop_map(Op::Replay),
        1 => (0_usize..2).prop_map(Op::Restart),
        1 => (0_usize..2).prop_map(Op::Forget),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happened, the two lives of today come together when the wire is whole again; nothing arrives that was
    /// not sent, and what is sent once arrives at most once.
    #[test]
    fn two_ends_always_find_each_other_again(ops in proptest::collection::vec(op(), 1..60), mut dice: u32) {
        let mut pair = Pair::new();
        let mut sent = [Vec::new(), Vec::new()];
        let mut next = 1_000;
        for op in ops {
            match op {
                Op::Send(end, subject, reliable) => {
                    let delivery = if reliable { Delivery::Reliable } else { Delivery::Once };
                    next += 1;
                    let label = subject + 100 * next;
                    sent[1 - end].push((label, reliable));
                    pair.send(end, &hint(label), delivery);
                }
                Op::Wire(time, share) => pair.run(ms(time), || {
                    dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    dice >> 24 & 15 < share
                }),
                Op::Replay(index) if !pair.tape.is_empty() => {
                    let (to, bytes) = index.get(&pair.tape).clone();
                    let _refused = pair.deliver(to, &bytes);
                }
                Op::Replay(_) => {}
                Op::Restart(end) => {
                    next += 1;
                    pair.restart(end, next * 1_000_000);
                }
                Op::Forget(end) => {
                    let peer = [B, A][end];
                    pair.ends[end].remove_peer(peer);
                    pair.ends[end].set_peer(peer, address(peer), SECRET);
                }
            }
        }
        for (end, sent) in sent.iter().enumerate() {
            let got = pair.subjects(end);
            for label in &got {
                let times = got.iter().filter(|other| *other == label).count();
                let (_, reliable) = sent.iter().find(|(other, _)| other == label).unwrap();
                prop_assert!(*reliable || times == 1, "{label} came {times} times");
            }
        }
        pair.assert_whole();
    }
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
