//! The order of checks, from bytes on the wire to a changed state: one function for kernel, user mode and simulation.
//!
//! Cheap before dear, authentic before believed, and nothing but [`PeerState::seen_at`] changes before the tag is
//! proven. An authentic probe is always answered (within the peer's bucket): whether the sender is an observer now,
//! and whether its sequence is new, gate state only, so that a restarted observer or an old roster never makes a
//! healthy node silent.

use crate::bucket;
use crate::packet::{Be64, Packet, VERSION, kind};
use crate::state::{Arrival, Me, PeerKey, PeerState};

/// How old the question of an echo may be, in nanoseconds: far above any retransmission timeout, far below the 11
/// minutes in which the 16 bits of an arrival slot come round again.
pub const ECHO_MAX_AGE_NS: u64 = 2_000_000_000;

/// Whether a datagram that begins with these two bytes is a sealed control message of our version: whatever its length,
/// it is for the agent's socket.
#[inline(always)]
#[must_use]
pub const fn is_sealed(head: [u8; 2]) -> bool {
    head[0] == VERSION && head[1] == kind::SEALED
}

/// What the checks look up. The kernel's maps, the agent's memory, or the simulation's.
pub trait Tables {
    /// Who this node is.
    fn me(&self) -> Option<&Me>;
    /// The pair's key, for members only.
    fn key(&self, peer: u64) -> Option<PeerKey>;
    /// What was heard of this member.
    fn state(&self, peer: u64) -> Option<&PeerState>;
}

/// Why a packet for this port had no effect. The discriminant is the index of its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Refusal {
    /// Not [`crate::packet::SIZE`] bytes.
    Length = 0,
    /// Another version of the layout.
    Version = 1,
    /// Neither probe nor echo.
    Kind = 2,
    /// The own id is not known yet.
    NoIdentity = 3,
    /// A probe for another subject, or an echo for another observer.
    NotForMe = 4,
    /// No member of the roster.
    UnknownPeer = 5,
    /// A member, but under a key that is not the pair's.
    KeyId = 6,
    /// The tag is not that of the bytes.
    Tag = 7,
    /// Authentic, but beyond the peer's bucket.
    Rate = 8,
    /// An authentic echo to a question of another incarnation, or older than [`ECHO_MAX_AGE_NS`], or so far behind that
    /// its arrival slot is a later question's.
    Stale = 9,
}

impl Refusal {
    /// All causes, in the order of their counters.
    pub const ALL: [Self; 10] = [
        Self::Length,
        Self::Version,
        Self::Kind,
        Self::NoIdentity,
        Self::NotForMe,
        Self::UnknownPeer,
        Self::KeyId,
        Self::Tag,
        Self::Rate,
        Self::Stale,
    ];

    /// The cause's name in status and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Version => "version",
            Self::Kind => "kind",
            Self::NoIdentity => "no_identity",
            Self::NotForMe => "not_for_me",
            Self::UnknownPeer => "unknown_peer",
            Self::KeyId => "key_id",
            Self::Tag => "tag",
            Self::Rate => "rate",
            Self::Stale => "stale",
        }
    }
}

/// What to do with an accepted packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The packet is now the echo: send it back where the probe came from.
    Echo,
    /// It was an echo, and its arrival is noted: drop it.
    Noted,
}

/// Checks `packet`, which arrived at `now` (own monotonic clock, nanoseconds), and turns a probe into its echo in
/// place.
///
/// # Errors
/// The first check that failed. The packet is then unchanged, and so is all state but `seen_at`.
#[inline(always)]
pub fn respond<T: Tables>(packet: &mut Packet, now: u64, tables: &T) -> Result<Answer, Refusal> {
    if packet.version() != VERSION {
        return Err(Refusal::Version);
    }
    let me = tables.me().ok_or(Refusal::NoIdentity)?;
    let own = me.id.get();
    if own == 0 {
        return Err(Refusal::NoIdentity);
    }
    let (target, peer) = match packet.kind() {
        kind::PROBE => (packet.subject.get(), packet.observer.get()),
        kind::ECHO => (packet.observer.get(), packet.subject.get()),
        _ => return Err(Refusal::Kind),
    };
    if target != own {
        return Err(Refusal::NotForMe);
    }
    let key = tables.key(peer).ok_or(Refusal::UnknownPeer)?;
    let state = tables.state(peer).ok_or(Refusal::UnknownPeer)?;
    state.seen_at.set(now);
    if u64::from(packet.key_id()) != key.id {
        return Err(Refusal::KeyId);
    }
    if packet.tag.get() != packet.expected_tag(key.key()) {
        return Err(Refusal::Tag);
    }
    if packet.kind() == kind::PROBE {
        answer(packet, now, me, state, &key)
    } else {
        note(packet, now, me, state)
    }
}

#[inline(always)]
fn answer(
    packet: &mut Packet,
    now: u64,
    me: &Me,
    state: &PeerState,
    key: &PeerKey,
) -> Result<Answer, Refusal> {
    let sequence = packet.sequence.get();
    let highest = state.heard_sequence.get();
    let replay = sequence <= highest;
    if !bucket::take(&state.bucket, now, replay) {
        return Err(Refusal::Rate);
    }
    if !replay {
        state.heard_sequence.set(sequence);
        state.heard_at.set(now);
    }
    let age_ms = now.saturating_sub(me.agent_stamp.get()) / 1_000_000;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "health is 32 bits in a 64-bit word; the age is capped first"
    )]
    packet.set_echo(me.health.get() as u32, age_ms.min(u64::from(u32::MAX)) as u32);
    packet.subject_time = Be64::new(now);
    packet.boot = Be64::new(me.boot.get());
    packet.highest = Be64::new(highest.max(sequence));
    packet.seal(key.key());
    Ok(Answer::Echo)
}

#[inline(always)]
#[expect(
    clippy::indexing_slicing,
    reason = "a slot is below the array's length, as verifiers see too"
)]
fn note(packet: &Packet, now: u64, me: &Me, state: &PeerState) -> Result<Answer, Refusal> {
    let sequence = packet.sequence.get();
    let asked = packet.observer_time.get();
    // Whatever the incarnation: it is what tells a restarted observer where its sequence must go on.
    state
        .echoed_highest
        .set(state.echoed_highest.get().max(packet.highest.get()));
    if sequence >> 32 != me.incarnation.get() || asked > now || now - asked > ECHO_MAX_AGE_NS {
        return Err(Refusal::Stale);
    }
    let slot = &state.arrivals[Arrival::slot(sequence)];
    if Arrival(slot.get()).is_of(sequence) {
        return Ok(Answer::Noted);
    }
    // A replay: its first arrival is forgotten, and what it says of boot and health is of then.
    if Arrival(slot.get()).is_after(sequence, asked, now) {
        return Err(Refusal::Stale);
    }
    slot.set(Arrival::pack(sequence, now).0);
    state.echoed_boot.set(packet.boot.get());
    state
        .echoed_offset
        .set(packet.subject_time.get().wrapping_sub(now));
    state
        .echoed_health
        .set((u64::from(packet.agent_age_ms()) << 32) | u64::from(packet.health()));
    state.echoed_at.set(now);
    Ok(Answer::Noted)
}

#[cfg(test)]
mod tests;
