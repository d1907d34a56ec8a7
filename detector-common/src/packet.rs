//! The packet of probe and echo: 96 bytes, network byte order, the same size in both directions so that a reply is
//! never longer than its question.
//!
//! ```text
//!  0  version u8 · kind u8 · key id u16 · health bits u32      48  acknowledged sequence
//!  8  observer                                                 56  subject's time          (echo)
//! 16  subject                                                  64  subject's boot id       (echo)
//! 24  subject's boot id as last heard                          72  age of agent's stamp ms (echo) u32 · zero u32
//! 32  sequence                                                 80  highest sequence seen   (echo)
//! 40  observer's time                                          88  tag: SipHash-2-4 of bytes 0..88
//! ```

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::siphash::{Key, siphash24};

/// The version of this layout. Another one is refused, not guessed at.
pub const VERSION: u8 = 1;

/// Bytes of a packet, of either kind.
pub const SIZE: usize = 96;

/// `kind` of a probe, an echo, and a sealed control message (which shares the port and these first two bytes only).
pub mod kind {
    /// An observer's question.
    pub const PROBE: u8 = 1;
    /// The answer of the subject's kernel.
    pub const ECHO: u8 = 2;
    /// A sealed control message: passed to the agent's socket as it is.
    pub const SEALED: u8 = 3;
}

/// Bits of local health that every echo carries.
pub mod health {
    /// The kubelet's healthz did not answer, or its process is gone.
    pub const KUBELET_DOWN: u32 = 1;
    /// The agent said goodbye: the node is shutting down.
    pub const LEAVING: u32 = 2;
    /// Answered by the agent's own socket, not by the kernel.
    pub const USER_ECHO: u32 = 4;
    /// The host's key was not in its file when the agent looked last: an operator should know why.
    pub const KEY_LOST: u32 = 8;
}

/// A big-endian `u64` at its natural alignment, so that it is read with one load.
#[derive(Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Be64(u64);

impl Be64 {
    /// From the value in the machine's order.
    #[inline(always)]
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(value.to_be())
    }

    /// The value in the machine's order.
    #[inline(always)]
    #[must_use]
    pub const fn get(self) -> u64 {
        u64::from_be(self.0)
    }

    /// The eight bytes as they lie in memory, as a little-endian word: what SipHash absorbs.
    #[inline(always)]
    const fn word(self) -> u64 {
        u64::from_le(self.0)
    }
}

impl core::fmt::Debug for Be64 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:#x}", self.get())
    }
}

/// Probe or echo. Fields are documented by the table at the head of this file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Packet {
    head: Be64,
    /// Member id of the one who asks.
    pub observer: Be64,
    /// Member id of the one who answers.
    pub subject: Be64,
    /// The subject's boot id as the observer last heard it; 0: never.
    pub heard_boot: Be64,
    /// High 32 bits: the observer's incarnation; low 32 bits: a counter.
    pub sequence: Be64,
    /// The observer's monotonic time at sending, in nanoseconds.
    pub observer_time: Be64,
    /// The newest sequence of which the observer has seen the echo.
    pub acknowledged: Be64,
    /// Echo: the subject's monotonic time at answering, in nanoseconds.
    pub subject_time: Be64,
    /// Echo: the subject's boot id.
    pub boot: Be64,
    age: Be64,
    /// Echo: the highest sequence the subject has seen from this observer, this one included.
    pub highest: Be64,
    /// SipHash-2-4 of all before it under the pair's tag key.
    pub tag: Be64,
}

impl Packet {
    /// A packet of this kind with everything else zero.
    #[inline(always)]
    #[must_use]
    pub fn new(kind: u8, key_id: u16) -> Self {
        let head = ((VERSION as u64) << 56) | ((kind as u64) << 48) | ((key_id as u64) << 32);
        Self {
            head: Be64::new(head),
            ..Self::default()
        }
    }

    /// The layout's version.
    #[inline(always)]
    #[must_use]
    pub fn version(&self) -> u8 {
        (self.head.get() >> 56) as u8
    }

    /// See [`kind`].
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the second byte of the word")]
    pub fn kind(&self) -> u8 {
        (self.head.get() >> 48) as u8
    }

    /// Names the pair's key, so that a wrong key is told apart from a forged tag.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the second 16 bits of the word")]
    pub fn key_id(&self) -> u16 {
        (self.head.get() >> 32) as u16
    }

    /// Echo: see [`health`].
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the low half of the word")]
    pub fn health(&self) -> u32 {
        self.head.get() as u32
    }

    /// Echo: how long ago the subject's agent last gave a sign, in milliseconds, saturating.
    #[inline(always)]
    #[must_use]
    pub fn agent_age_ms(&self) -> u32 {
        (self.age.get() >> 32) as u32
    }

    /// Turns a probe into the echo's kind with this health; the other fields are set one by one.
    #[inline(always)]
    pub fn set_echo(&mut self, health: u32, agent_age_ms: u32) {
        let key_id = (self.key_id() as u64) << 32;
        self.head =
            Be64::new(((VERSION as u64) << 56) | ((kind::ECHO as u64) << 48) | key_id | health as u64);
        self.age = Be64::new((agent_age_ms as u64) << 32);
    }

    /// The tag that these bytes must carry under `key`.
    #[inline(always)]
    #[must_use]
    pub fn expected_tag(&self, key: Key) -> u64 {
        siphash24(
            key,
            &[
                self.head.word(),
                self.observer.word(),
                self.subject.word(),
                self.heard_boot.word(),
                self.sequence.word(),
                self.observer_time.word(),
                self.acknowledged.word(),
                self.subject_time.word(),
                self.boot.word(),
                self.age.word(),
                self.highest.word(),
            ],
        )
    }

    /// Writes the tag over the bytes as they are now.
    #[inline(always)]
    pub fn seal(&mut self, key: Key) {
        self.tag = Be64::new(self.expected_tag(key));
    }
}

const _: () = {
    assert!(size_of::<Packet>() == SIZE && align_of::<Packet>() == 8);
    assert!(core::mem::offset_of!(Packet, observer) == 8);
    assert!(core::mem::offset_of!(Packet, subject) == 16);
    assert!(core::mem::offset_of!(Packet, heard_boot) == 24);
    assert!(core::mem::offset_of!(Packet, sequence) == 32);
    assert!(core::mem::offset_of!(Packet, observer_time) == 40);
    assert!(core::mem::offset_of!(Packet, acknowledged) == 48);
    assert!(core::mem::offset_of!(Packet, subject_time) == 56);
    assert!(core::mem::offset_of!(Packet, boot) == 64);
    assert!(core::mem::offset_of!(Packet, age) == 72);
    assert!(core::mem::offset_of!(Packet, highest) == 80);
    assert!(core::mem::offset_of!(Packet, tag) == 88);
};
