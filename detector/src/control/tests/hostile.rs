//! What others can do with what they saw, or with a key: nothing.

use super::pair::{A, B, Pair, SECRET, address, hint, ms};
use crate::control::{Delivery, Refused};
use crate::seal::{HEADER, Header, MAX_DATAGRAM, seal};
use crate::time::Instant;

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
    // The hello and both messages.
    assert_eq!(pair.ends[1].counts().refused(Refused::Replay), 3);
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

/// A hello of B's life 200 under this counter, as whoever recorded it has it.
fn old_hello(counter: u64) -> Vec<u8> {
    sealed_by_b(200, 0, counter)
}

fn sealed_by_b(life: u64, ours: u64, counter: u64) -> Vec<u8> {
    let header = Header {
        sender: B,
        receiver: A,
        sender_incarnation: life,
        receiver_incarnation: ours,
        counter,
    };
    seal(&SECRET.sealing_key(B, life, ours), &header, &[0; 25]).unwrap()
}

/// Forged in B's name: nobody without the key can tell.
fn forged_by_b(life: u64, ours: u64, counter: u64) -> Vec<u8> {
    let mut datagram = sealed_by_b(life, ours, counter);
    *datagram.last_mut().unwrap() ^= 1;
    datagram
}

#[test]
fn a_flood_of_old_hellos_gets_few_answers_and_does_not_keep_a_new_life_out() {
    let mut pair = Pair::new();
    for counter in 1..=1_000 {
        pair.deliver(0, &old_hello(counter)).unwrap_err();
    }
    assert!(pair.transmits().len() <= 16);
    assert_eq!(pair.ends[0].counts().refused(Refused::Rate), 984);
    pair.restart(1, 201);
    pair.run(ms(50), || false);
    pair.assert_whole();
}

#[test]
fn a_hello_is_answered_once() {
    let mut pair = Pair::new();
    let hellos: Vec<Vec<u8>> = (1..=3).map(old_hello).collect();
    assert_eq!(pair.deliver(0, &hellos[1]), Err(Refused::Hello));
    for hello in &hellos[..2] {
        assert_eq!(pair.deliver(0, hello), Err(Refused::Replay));
    }
    assert_eq!(pair.deliver(0, &hellos[2]), Err(Refused::Hello));
    assert_eq!(pair.transmits().len(), 2);
    // A life is known by its hellos, not by their counters.
    assert_eq!(pair.deliver(0, &sealed_by_b(201, 0, 1)), Err(Refused::Hello));
}

/// What is forged costs a key and an opening: no more of them than a peer that is there could need. Each way is counted
/// by itself, and what an adopted life says is not counted at all.
#[test]
fn what_is_forged_in_a_members_name_is_opened_a_few_times_only() {
    for (life, ours) in [(200, 0), (200, 99), (201, 100)] {
        let mut pair = Pair::new();
        pair.assert_whole();
        let before = *pair.ends[0].counts();
        for counter in 1_000..2_000 {
            pair.deliver(0, &forged_by_b(life, ours, counter)).unwrap_err();
        }
        let refused = |cause| pair.ends[0].counts().refused(cause) - before.refused(cause);
        assert_eq!(
            (refused(Refused::Tag), refused(Refused::Rate)),
            (16, 984),
            "{life} → {ours}"
        );
        assert_eq!(pair.ends[0].counts().by_name()["refused_rate"], 984);
        // The life that is adopted speaks on, without any time having passed.
        pair.send(1, &hint(3), Delivery::Once);
        let (to, bytes) = pair.transmits().remove(0);
        pair.deliver(to, &bytes).unwrap();
        assert_eq!(pair.subjects(0).last(), Some(&3));
        // The other ways are open, and this one again after its interval.
        for (other_life, other_ours) in [(200, 0), (200, 99), (201, 100)] {
            let other = forged_by_b(other_life, other_ours, 5_000);
            let expected = if (other_life, other_ours) == (life, ours) {
                Refused::Rate
            } else {
                Refused::Tag
            };
            assert_eq!(pair.deliver(0, &other), Err(expected));
        }
        pair.now = pair.now + ms(21);
        assert_eq!(
            pair.deliver(0, &forged_by_b(life, ours, 6_000)),
            Err(Refused::Tag)
        );
    }
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
