//! The records of the maps: written by one side, read whole by the other.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::siphash::Key;
use crate::word::Word;

/// The version of the records' layout, and of what they mean. Programs of another one keep maps of their own: a newer
/// agent never reads words that an older program writes otherwise.
pub const LAYOUT: u32 = 1;

/// Members whose keys and states the maps hold at most: beyond the 5,000 nodes that Kubernetes supports.
pub const MAX_MEMBERS: u32 = 8_192;

/// Who this node is. Written by the agent, read for every packet.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Me {
    /// Own member id; 0: not known yet, nothing is answered.
    pub id: Word,
    /// Own boot id: a new value proves that everything that ran before is gone.
    pub boot: Word,
    /// Own incarnation (low 32 bits): the high part of every sequence this agent sends.
    pub incarnation: Word,
    /// The agent's last sign of life: monotonic nanoseconds, refreshed every 100 ms.
    pub agent_stamp: Word,
    /// Local health, see [`crate::packet::health`].
    pub health: Word,
}

impl Me {
    /// Words of a record.
    pub const WORDS: usize = 5;

    /// The record as it lies in the map.
    #[must_use]
    pub fn to_words(&self) -> [u64; Self::WORDS] {
        [
            self.id.get(),
            self.boot.get(),
            self.incarnation.get(),
            self.agent_stamp.get(),
            self.health.get(),
        ]
    }

    /// From the map.
    #[must_use]
    pub const fn from_words(words: [u64; Self::WORDS]) -> Self {
        let [id, boot, incarnation, agent_stamp, health] = words;
        Self {
            id: Word::new(id),
            boot: Word::new(boot),
            incarnation: Word::new(incarnation),
            agent_stamp: Word::new(agent_stamp),
            health: Word::new(health),
        }
    }
}

/// The pair's tag key. Written by the agent when the roster changes, never by the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PeerKey {
    /// First word of the SipHash key.
    pub k0: u64,
    /// Second word of the SipHash key.
    pub k1: u64,
    /// Names the key: low 16 bits, see [`crate::packet::Packet::key_id`].
    pub id: u64,
}

impl PeerKey {
    /// Words of a record.
    pub const WORDS: usize = 3;

    /// The record as it lies in the map.
    #[must_use]
    pub const fn to_words(self) -> [u64; Self::WORDS] {
        [self.k0, self.k1, self.id]
    }

    /// From the map.
    #[must_use]
    pub const fn from_words([k0, k1, id]: [u64; Self::WORDS]) -> Self {
        Self { k0, k1, id }
    }

    /// The SipHash key.
    #[inline(always)]
    #[must_use]
    pub const fn key(&self) -> Key {
        Key {
            k0: self.k0,
            k1: self.k1,
        }
    }
}

/// Arrival slots a peer: more than are outstanding at the densest probing (5 ms) within the longest retransmission
/// timeout of `lan` (30 ms), with room for a tick that comes 100 ms late.
pub const ARRIVALS: usize = 32;

/// What was heard of one peer. All zero at first: never heard. Times are the own monotonic clock in nanoseconds.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct PeerState {
    /// Arrival of anything that claims to be this peer, authentic or not: explains, decides nothing.
    pub seen_at: Word,
    /// Arrival of the newest authentic probe of this peer whose sequence was above all before.
    pub heard_at: Word,
    /// The highest sequence of this peer's probes.
    pub heard_sequence: Word,
    /// Token bucket of this peer's echoes, see [`crate::bucket`].
    pub bucket: Word,
    /// Arrival of the newest authentic echo of this peer.
    pub echoed_at: Word,
    /// The boot id in that echo.
    pub echoed_boot: Word,
    /// Subject's time less own time at that arrival (wrapping): where the subject's slots are.
    pub echoed_offset: Word,
    /// High 32 bits: age of the subject's agent stamp in ms; low 32 bits: its health.
    pub echoed_health: Word,
    /// The highest of the own sequences that the subject has seen: where a restarted observer must go on.
    pub echoed_highest: Word,
    /// Arrivals by sequence (modulo [`ARRIVALS`]), see [`Arrival`].
    pub arrivals: [Word; ARRIVALS],
}

impl PeerState {
    /// Words of a record.
    pub const WORDS: usize = HEAD + ARRIVALS;

    /// The record as it lies in the map.
    #[must_use]
    pub fn to_words(&self) -> [u64; Self::WORDS] {
        let mut words = [0; Self::WORDS];
        let fields = self.head().into_iter().chain(&self.arrivals);
        for (word, field) in words.iter_mut().zip(fields) {
            *word = field.get();
        }
        words
    }

    /// From the map.
    #[must_use]
    pub fn from_words(words: &[u64; Self::WORDS]) -> Self {
        let state = Self::default();
        let fields = state.head().into_iter().chain(&state.arrivals);
        for (field, word) in fields.zip(words) {
            field.set(*word);
        }
        state
    }

    fn head(&self) -> [&Word; HEAD] {
        [
            &self.seen_at,
            &self.heard_at,
            &self.heard_sequence,
            &self.bucket,
            &self.echoed_at,
            &self.echoed_boot,
            &self.echoed_offset,
            &self.echoed_health,
            &self.echoed_highest,
        ]
    }

    /// What two paths heard of the same peer (its packets take one of them at a time), as if it had been one: newest
    /// wins, arrivals slot by slot.
    pub fn absorb(&self, other: &Self) {
        let newest = |ours: &Word, theirs: &Word| ours.set(ours.get().max(theirs.get()));
        newest(&self.seen_at, &other.seen_at);
        // By sequence and not by time: a path that knows of fewer sequences (a socket opened just now) takes a replay for
        // a new probe.
        if other.heard_sequence.get() > self.heard_sequence.get() {
            self.heard_sequence.set(other.heard_sequence.get());
            self.heard_at.set(other.heard_at.get());
        }
        newest(&self.bucket, &other.bucket);
        newest(&self.echoed_highest, &other.echoed_highest);
        if other.echoed_at.get() > self.echoed_at.get() {
            self.echoed_at.set(other.echoed_at.get());
            self.echoed_boot.set(other.echoed_boot.get());
            self.echoed_offset.set(other.echoed_offset.get());
            self.echoed_health.set(other.echoed_health.get());
        }
        for (ours, theirs) in self.arrivals.iter().zip(&other.arrivals) {
            ours.set(Arrival(ours.get()).or(Arrival(theirs.get())).0);
        }
    }
}

/// Words of a [`PeerState`] before its arrivals.
const HEAD: usize = 9;

/// An echo's arrival in one word: high 16 bits the low bits of its sequence, low 48 bits of the time in nanoseconds
/// (78 hours).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival(pub u64);

const TIME_BITS: u32 = 48;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;

impl Arrival {
    /// The slot's index of this sequence.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "ARRIVALS divides what is cut off")]
    pub const fn slot(sequence: u64) -> usize {
        sequence as usize % ARRIVALS
    }

    /// The word of an echo to `sequence` that arrived at `now`.
    #[inline(always)]
    #[must_use]
    pub const fn pack(sequence: u64, now: u64) -> Self {
        Self((sequence << TIME_BITS) | (now & TIME_MASK))
    }

    /// Whether this word speaks of `sequence`.
    #[inline(always)]
    #[must_use]
    pub const fn is_of(self, sequence: u64) -> bool {
        self.0 != 0 && self.0 >> TIME_BITS == (sequence << TIME_BITS) >> TIME_BITS
    }

    /// Whether this word speaks of a later sequence than `sequence`, whose question left at `asked`: an echo to a later
    /// question arrived after that. What arrived before was of an earlier incarnation, whose sequences say nothing.
    #[inline(always)]
    #[must_use]
    pub const fn is_after(self, sequence: u64, asked: u64, now: u64) -> bool {
        const HALF: u64 = 1 << 63;
        let ahead = (self.0 & !TIME_MASK).wrapping_sub(sequence << TIME_BITS);
        self.0 != 0 && ahead != 0 && ahead < HALF && self.time(now) >= asked
    }

    /// Of two words of one slot the one to keep: the newer sequence's, or the first arrival of the same. (Both lie within
    /// 39 hours, and a slot's sequences are given in order.)
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        if other.0 == 0 {
            return self;
        }
        if self.0 == 0 {
            return other;
        }
        let other_is_later = (other.0.wrapping_sub(self.0) & TIME_MASK) <= TIME_MASK / 2;
        let same_sequence = self.0 >> TIME_BITS == other.0 >> TIME_BITS;
        if other_is_later != same_sequence {
            other
        } else {
            self
        }
    }

    /// The arrival in full, given a `now` at or after it by less than 78 hours.
    #[inline(always)]
    #[must_use]
    pub const fn time(self, now: u64) -> u64 {
        now.wrapping_sub(now.wrapping_sub(self.0) & TIME_MASK)
    }
}

const _: () = {
    assert!(size_of::<Me>() == Me::WORDS * 8);
    assert!(size_of::<PeerKey>() == PeerKey::WORDS * 8);
    assert!(size_of::<PeerState>() == PeerState::WORDS * 8 && align_of::<PeerState>() == 8);
    assert!(core::mem::offset_of!(PeerState, arrivals) == HEAD * 8);
    assert!(ARRIVALS.is_power_of_two());
};

#[cfg(test)]
mod tests {
    use super::{ARRIVALS, Arrival, PeerState};

    #[test]
    fn an_arrival_survives_the_wrap_of_its_clock() {
        let sequence = (7_u64 << 32) | 0x0001_ffff;
        for at in [1_u64, (1 << 48) - 5, (1 << 48) + 5, 3 << 50] {
            let word = Arrival::pack(sequence, at);
            assert!(word.is_of(sequence));
            assert!(!word.is_of(sequence + 1));
            assert_eq!(word.time(at + 1_000_000), at);
        }
    }

    #[test]
    fn an_empty_slot_is_of_no_sequence() {
        assert!(!Arrival(0).is_of(0));
    }

    #[test]
    fn a_state_survives_the_map() {
        let words = core::array::from_fn(|n| 1_000 + n as u64);
        let state = PeerState::from_words(&words);
        assert_eq!(state.to_words(), words);
        assert_eq!((state.seen_at.get(), state.echoed_highest.get()), (1_000, 1_008));
        assert_eq!(
            state.arrivals.last().map(super::Word::get),
            Some(1_008 + ARRIVALS as u64)
        );
    }

    #[test]
    fn two_paths_give_what_one_would_have_heard() {
        let (kernel, socket) = (PeerState::default(), PeerState::default());
        kernel.echoed_at.set(70);
        kernel.echoed_boot.set(7);
        socket.echoed_at.set(90);
        socket.echoed_boot.set(9);
        kernel.heard_at.set(80);
        kernel.heard_sequence.set(5);
        socket.heard_at.set(99); // a replay, to a socket that knew of nothing
        socket.heard_sequence.set(4);
        for (slot, (ours, theirs, kept)) in [
            (Arrival::pack(1, 50), Arrival(0), Arrival::pack(1, 50)),
            (Arrival(0), Arrival::pack(2, 60), Arrival::pack(2, 60)),
            (
                Arrival::pack(35, 100),
                Arrival::pack(3, 20),
                Arrival::pack(35, 100),
            ),
            (
                Arrival::pack(4, 20),
                Arrival::pack(36, 100),
                Arrival::pack(36, 100),
            ),
            (Arrival::pack(5, 30), Arrival::pack(5, 20), Arrival::pack(5, 20)),
            (Arrival::pack(6, 20), Arrival::pack(6, 30), Arrival::pack(6, 20)),
            (
                Arrival::pack(7, (1 << 48) - 9),
                Arrival::pack(39, (1 << 48) + 9),
                Arrival::pack(39, (1 << 48) + 9),
            ),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(ours.or(theirs), kept, "slot {slot}");
        }
        kernel.absorb(&socket);
        assert_eq!(
            (
                kernel.echoed_at.get(),
                kernel.echoed_boot.get(),
                kernel.heard_at.get()
            ),
            (90, 9, 80)
        );
    }
}
