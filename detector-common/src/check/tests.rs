//! The order of checks against tables in memory: each refusal, and what a packet may change.
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

use super::{Answer, ECHO_MAX_AGE_NS, Refusal, Tables, respond};
use crate::packet::{Be64, Packet, health, kind};
use crate::state::{Arrival, Me, PeerKey, PeerState};
use crate::word::Word;
use zerocopy::IntoBytes as _;

const OBSERVER: u64 = 0x0b;
const SUBJECT: u64 = 0x5b;
const KEY: PeerKey = PeerKey {
    k0: 11,
    k1: 22,
    id: 0x1234,
};
const NOW: u64 = 5_000_000_000;

struct Node {
    me: Me,
    peer: u64,
    state: PeerState,
}

impl Node {
    fn new(id: u64, peer: u64) -> Self {
        let me = Me {
            id: Word::new(id),
            boot: Word::new(0xb007),
            incarnation: Word::new(3),
            agent_stamp: Word::new(NOW - 250_000_000),
            health: Word::new(u64::from(health::KUBELET_DOWN)),
        };
        Self {
            me,
            peer,
            state: PeerState::default(),
        }
    }

    fn words(&self) -> [u64; 9] {
        let s = &self.state;
        [
            s.seen_at.get(),
            s.heard_at.get(),
            s.heard_sequence.get(),
            s.bucket.get(),
            s.echoed_at.get(),
            s.echoed_boot.get(),
            s.echoed_offset.get(),
            s.echoed_health.get(),
            s.echoed_highest.get(),
        ]
    }
}

impl Tables for Node {
    fn me(&self) -> Option<&Me> {
        Some(&self.me)
    }
    fn key(&self, peer: u64) -> Option<PeerKey> {
        (peer == self.peer).then_some(KEY)
    }
    fn state(&self, peer: u64) -> Option<&PeerState> {
        (peer == self.peer).then_some(&self.state)
    }
}

fn probe(sequence: u64) -> Packet {
    let mut packet = Packet::new(kind::PROBE, 0x1234);
    packet.observer = Be64::new(OBSERVER);
    packet.subject = Be64::new(SUBJECT);
    packet.sequence = Be64::new(sequence);
    packet.observer_time = Be64::new(NOW);
    packet.seal(KEY.key());
    packet
}

fn subject() -> Node {
    Node::new(SUBJECT, OBSERVER)
}

const FIRST: u64 = (3 << 32) | 1;

#[test]
fn a_probe_becomes_an_authentic_echo_that_the_observer_notes() {
    let (subject, observer) = (subject(), Node::new(OBSERVER, SUBJECT));
    let mut packet = probe(FIRST);
    assert_eq!(respond(&mut packet, NOW + 1, &subject), Ok(Answer::Echo));
    assert_eq!(
        (packet.kind(), packet.health(), packet.agent_age_ms()),
        (kind::ECHO, health::KUBELET_DOWN, 250)
    );
    assert_eq!(
        (packet.boot.get(), packet.subject_time.get(), packet.highest.get()),
        (0xb007, NOW + 1, FIRST)
    );
    assert_eq!(subject.state.heard_at.get(), NOW + 1);

    assert_eq!(respond(&mut packet, NOW + 9, &observer), Ok(Answer::Noted));
    let arrival = Arrival(observer.state.arrivals[Arrival::slot(FIRST)].get());
    assert!(arrival.is_of(FIRST));
    assert_eq!(arrival.time(NOW + 100), NOW + 9);
    assert_eq!(
        observer.state.echoed_offset.get(),
        (NOW + 1).wrapping_sub(NOW + 9)
    );
    assert_eq!(observer.state.echoed_health.get(), (250 << 32) | 1);
}

#[test]
fn each_refusal_changes_nothing_but_the_last_seen_stamp() {
    type Spoil = fn(&mut Packet);
    let cases: [(Refusal, bool, Spoil); 7] = [
        (Refusal::Version, false, |p| p.as_mut_bytes()[0] = 9),
        (Refusal::Kind, false, |p| p.as_mut_bytes()[1] = kind::SEALED),
        (Refusal::NotForMe, false, |p| p.subject = Be64::new(1)),
        (Refusal::UnknownPeer, false, |p| p.observer = Be64::new(1)),
        (Refusal::KeyId, true, |p| p.as_mut_bytes()[3] ^= 1),
        (Refusal::Tag, true, |p| p.acknowledged = Be64::new(77)),
        (Refusal::Tag, true, |p| p.tag = Be64::new(p.tag.get() ^ 1)),
    ];
    for (cause, seen, spoil) in cases {
        let subject = subject();
        let mut packet = probe(FIRST);
        spoil(&mut packet);
        let sent = packet;
        assert_eq!(respond(&mut packet, NOW, &subject), Err(cause));
        assert_eq!(packet, sent, "{cause:?} changed the packet");
        let mut expected = [0; 9];
        expected[0] = if seen { NOW } else { 0 };
        assert_eq!(subject.words(), expected, "{cause:?}");
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    for bit in 0..crate::packet::SIZE * 8 {
        let subject = subject();
        let mut packet = probe(FIRST);
        packet.as_mut_bytes()[bit / 8] ^= 1 << (bit % 8);
        assert!(respond(&mut packet, NOW, &subject).is_err(), "bit {bit}");
        assert_eq!(subject.state.heard_at.get(), 0, "bit {bit}");
    }
}

#[test]
fn a_replayed_probe_is_answered_and_changes_no_heard_state() {
    let subject = subject();
    assert_eq!(respond(&mut probe(FIRST + 5), NOW, &subject), Ok(Answer::Echo));
    let mut replay = probe(FIRST);
    assert_eq!(respond(&mut replay, NOW + 10, &subject), Ok(Answer::Echo));
    assert_eq!(
        replay.highest.get(),
        FIRST + 5,
        "a restarted observer learns where to go on"
    );
    assert_eq!(
        (subject.state.heard_at.get(), subject.state.heard_sequence.get()),
        (NOW, FIRST + 5)
    );
}

#[test]
fn beyond_its_bucket_a_peer_is_refused() {
    let subject = subject();
    let refused = (0..1_000).find(|n| respond(&mut probe(FIRST + n), NOW, &subject) == Err(Refusal::Rate));
    assert_eq!(refused, Some(201));
}

#[test]
fn an_echo_of_another_incarnation_or_of_old_is_stale() {
    for (sequence, arrives) in [
        ((2 << 32) | 1, NOW + 2),
        (FIRST, NOW + ECHO_MAX_AGE_NS + 1),
        (FIRST, NOW - 1),
    ] {
        let observer = Node::new(OBSERVER, SUBJECT);
        let mut packet = probe(sequence);
        assert_eq!(respond(&mut packet, NOW + 1, &subject()), Ok(Answer::Echo));
        assert_eq!(respond(&mut packet, arrives, &observer), Err(Refusal::Stale));
        assert_eq!(observer.state.echoed_at.get(), 0);
        assert_eq!(
            observer.state.echoed_highest.get(),
            sequence,
            "learned all the same"
        );
    }
}

#[test]
fn a_repeated_echo_keeps_its_first_arrival() {
    let observer = Node::new(OBSERVER, SUBJECT);
    let mut packet = probe(FIRST);
    assert_eq!(respond(&mut packet, NOW + 1, &subject()), Ok(Answer::Echo));
    for later in [2, 500_000_000] {
        assert_eq!(
            respond(&mut { packet }, NOW + later, &observer),
            Ok(Answer::Noted)
        );
    }
    assert_eq!(observer.state.echoed_at.get(), NOW + 2);
}

/// Sequence by sequence the subject's answers; NOW is when each was asked.
fn echo(sequence: u64) -> Packet {
    let mut packet = probe(sequence);
    assert_eq!(respond(&mut packet, NOW + 1, &subject()), Ok(Answer::Echo));
    packet
}

#[test]
fn an_echo_whose_slot_is_a_later_ones_changes_nothing() {
    // The low 16 bits of the later sequence begin anew.
    for first in [FIRST, (3 << 32) | 0xfff0] {
        let observer = Node::new(OBSERVER, SUBJECT);
        let later = first + crate::state::ARRIVALS as u64;
        assert_eq!(respond(&mut echo(first), NOW + 2, &observer), Ok(Answer::Noted));
        assert_eq!(respond(&mut echo(later), NOW + 3, &observer), Ok(Answer::Noted));
        let before = observer.state.to_words();
        assert_eq!(respond(&mut echo(first), NOW + 9, &observer), Err(Refusal::Stale));
        // All but `seen_at`.
        assert_eq!(observer.state.to_words()[1..], before[1..]);
    }
}

#[test]
fn what_an_earlier_incarnation_left_in_a_slot_refuses_no_echo() {
    let observer = Node::new(OBSERVER, SUBJECT);
    let left = Arrival::pack(FIRST + 320, NOW - 1);
    observer.state.arrivals[Arrival::slot(FIRST)].set(left.0);
    assert_eq!(respond(&mut echo(FIRST), NOW + 2, &observer), Ok(Answer::Noted));
    assert_eq!(observer.state.echoed_at.get(), NOW + 2);
}

#[test]
fn a_probe_reflected_to_its_sender_is_refused() {
    let observer = Node::new(OBSERVER, SUBJECT);
    assert_eq!(respond(&mut probe(FIRST), NOW, &observer), Err(Refusal::NotForMe));
}

#[test]
fn nothing_is_answered_before_the_own_id_is_known() {
    let subject = subject();
    subject.me.id.set(0);
    assert_eq!(
        respond(&mut probe(FIRST), NOW, &subject),
        Err(Refusal::NoIdentity)
    );
}

#[test]
fn refusals_are_counted_at_their_own_index() {
    for (index, cause) in Refusal::ALL.into_iter().enumerate() {
        assert_eq!(cause as usize, index);
    }
}
