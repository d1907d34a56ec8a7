//! A message that waits: for the handshake, to be repeated, for its acknowledgement.

use std::time::Duration;

use super::Delivery;
use super::plaintext::Content;
use super::window::Ack;
use crate::message::{Message, Slot};
use crate::time::Instant;

/// An unacknowledged message is repeated after this time, then after twice as much each time...
pub(super) const REPEAT: Duration = Duration::from_millis(20);

/// ...but at least this often: a link that comes back is used within two windows of `lan`.
pub(super) const REPEAT_MAX: Duration = Duration::from_millis(200);

/// What was not acknowledged for this long speaks of another time.
const GIVE_UP: Duration = Duration::from_secs(5);

/// A message that is sent once waits this long for the handshake: a greeting's period.
const ONCE: Duration = Duration::from_secs(1);

/// Counters remembered of one message: a repeat every 200 ms for [`GIVE_UP`], and the first four.
const MAX_TRIES: usize = 32;

pub(super) struct Pending {
    pub(super) slot: Slot,
    pub(super) encoded: Vec<u8>,
    pub(super) delivery: Delivery,
    /// When it was given to us: the ages in it count from here, however often it is repeated.
    pub(super) since: Instant,
    pub(super) due: Instant,
    interval: Duration,
    /// Under which it was sent.
    counters: Vec<u64>,
}

impl Pending {
    pub(super) fn new(message: &Message, delivery: Delivery, now: Instant) -> Self {
        let mut encoded = Vec::new();
        message.encode(&mut encoded);
        Self {
            slot: message.slot(),
            encoded,
            delivery,
            since: now,
            due: now,
            interval: REPEAT,
            counters: Vec::new(),
        }
    }

    pub(super) fn content(&self) -> Content {
        match self.delivery {
            Delivery::Once => Content::Once,
            Delivery::Reliable => Content::Reliable,
        }
    }

    /// From here on it says nothing any more.
    pub(super) fn expiry(&self) -> Instant {
        self.since
            + match self.delivery {
                Delivery::Once => ONCE,
                Delivery::Reliable => GIVE_UP,
            }
    }

    pub(super) fn was_sent(&self) -> bool {
        !self.counters.is_empty()
    }

    /// It was sent under this counter.
    pub(super) fn sent(&mut self, counter: u64, now: Instant) {
        self.due = now + self.interval;
        self.interval = (self.interval * 2).min(REPEAT_MAX);
        if self.counters.len() == MAX_TRIES {
            self.counters.remove(0);
        }
        self.counters.push(counter);
    }

    pub(super) fn is_acknowledged(&self, ack: Ack) -> bool {
        self.counters.iter().any(|counter| ack.covers(*counter))
    }
}
