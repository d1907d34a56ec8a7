//! What is sealed: when it was made, what was seen of the receiver, and a message or none.
//!
//! ```text
//!  0  sender's time u64          24  content u8
//!  8  highest, seen u64 u64      25  the encoded message
//! ```

use super::window::Ack;
use crate::time::Instant;

/// Bytes before the message.
const FIXED: usize = 8 + 16 + 1;

/// What follows time and acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Content {
    /// Nothing.
    Empty = 0,
    /// Nothing, as the answer to a hello: is answered with anything.
    Answer = 1,
    /// A message.
    Once = 2,
    /// A message that waits for its acknowledgement.
    Reliable = 3,
}

impl Content {
    const fn has_message(self) -> bool {
        matches!(self, Self::Once | Self::Reliable)
    }

    const fn decode(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Empty,
            1 => Self::Answer,
            2 => Self::Once,
            3 => Self::Reliable,
            _ => return None,
        })
    }
}

pub(super) struct Plaintext<'a> {
    pub(super) time: Instant,
    pub(super) ack: Ack,
    pub(super) content: Content,
    /// Encoded; empty where the content is none.
    pub(super) message: &'a [u8],
}

impl<'a> Plaintext<'a> {
    pub(super) const fn without_message(time: Instant, ack: Ack, content: Content) -> Self {
        Self {
            time,
            ack,
            content,
            message: &[],
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED + self.message.len());
        for word in [self.time.0, self.ack.highest, self.ack.seen] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.push(self.content as u8);
        bytes.extend(self.message);
        bytes
    }

    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (words, rest) = bytes.split_first_chunk::<24>()?;
        let [time, highest, seen] = words.as_chunks::<8>().0 else {
            return None;
        };
        let (content, message) = rest.split_first()?;
        let content = Content::decode(*content)?;
        (content.has_message() || message.is_empty()).then_some(Self {
            time: Instant(u64::from_be_bytes(*time)),
            ack: Ack {
                highest: u64::from_be_bytes(*highest),
                seen: u64::from_be_bytes(*seen),
            },
            content,
            message,
        })
    }

    /// The encoded message; None: it is about the channel itself.
    pub(super) fn into_message(self) -> Option<Vec<u8>> {
        self.content.has_message().then(|| self.message.to_vec())
    }
}
