//! One peer: its handshake, what waits for its acknowledgement, and when something is due.
//!
//! ```text
//!   A (a)                                   B (b)
//!    ├── hello: a → 0, counter 7 ──────────▶│   proves nothing: it may be old
//!    │◀─ answer: b → a, acknowledges 7 ─────┤   proves to A that b lives now
//!    ├── anything: a → b, acknowledges it ──▶   proves to B that a lives now
//! ```
//! A life of the peer is adopted only from a message that is sealed to our own life *and* acknowledges something
//! that we sent after the last adoption. What a dead life ever sealed acknowledges only older things, so no replay
//! brings it back; and the living one can always prove itself anew.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::limit::{Attempt, Limit};
use super::pending::{Pending, REPEAT, REPEAT_MAX};
use super::plaintext::{Content, Plaintext};
use super::window::{Ack, Window};
use super::{Counts, Delivery, Refused, Transmit};
use crate::identity::MemberId;
use crate::keys::{PairSecret, SealingKey};
use crate::message::Message;
use crate::seal::{Header, open, seal};
use crate::time::Instant;

/// Hellos for which no reliable message waits are repeated at least this often.
const HELLO_MAX: Duration = Duration::from_secs(1);

/// An acknowledgement waits this long for a message that it can go with: well below [`REPEAT`].
const ACK_DELAY: Duration = Duration::from_millis(5);

/// Messages that wait for one peer: one a slot, so a steward that asks about 64 subjects at once fits.
const MAX_PENDING: usize = 64;

/// The peer's side, once adopted.
struct Life {
    incarnation: u64,
    /// What we seal for it.
    sealing: SealingKey,
    /// What it seals for us.
    opening: SealingKey,
    window: Window,
}

/// What a datagram brought.
pub(super) struct Opened {
    pub(super) incarnation: u64,
    pub(super) sender_time: Instant,
    /// The encoded message; None: it was about the channel itself.
    pub(super) message: Option<Vec<u8>>,
}

pub(super) struct Channel {
    own: MemberId,
    peer: MemberId,
    pub(super) address: SocketAddr,
    /// When its last message came.
    pub(super) heard: Option<Instant>,
    secret: PairSecret,
    /// Our own life, as this peer sees it.
    incarnation: u64,
    /// The last counter used, for whatever key.
    counter: u64,
    life: Option<Life>,
    /// Our counter when `life` was adopted: another one must acknowledge something later.
    adopted_at: u64,
    pending: VecDeque<Pending>,
    /// Open it although nothing waits.
    wished: bool,
    hello_due: Instant,
    hello_interval: Duration,
    limit: Limit,
    /// The newest hello that was answered: its sender's life, and its counter.
    answered: Option<(u64, u64)>,
    ack_due: Instant,
}

impl Channel {
    pub(super) fn new(
        own: MemberId,
        incarnation: u64,
        peer: MemberId,
        address: SocketAddr,
        secret: PairSecret,
    ) -> Self {
        Self {
            own,
            peer,
            address,
            heard: None,
            secret,
            incarnation,
            counter: 0,
            life: None,
            adopted_at: 0,
            pending: VecDeque::new(),
            wished: false,
            hello_due: Instant(0),
            hello_interval: REPEAT,
            limit: Limit::default(),
            answered: None,
            ack_due: Instant::NEVER,
        }
    }

    pub(super) fn has_secret(&self, secret: &PairSecret) -> bool {
        self.secret == *secret
    }

    /// The life of the peer that was adopted last.
    pub(super) fn peer_incarnation(&self) -> Option<u64> {
        self.life.as_ref().map(|life| life.incarnation)
    }

    pub(super) fn wish(&mut self) {
        self.wished = true;
    }

    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn push(&mut self, message: &Message, delivery: Delivery, now: Instant, counts: &mut Counts) {
        if delivery == Delivery::Reliable && !self.is_urgent() {
            self.hello_interval = REPEAT;
            self.hello_due = self.hello_due.min(now + REPEAT);
        }
        let slot = message.slot();
        let before = self.pending.len();
        self.pending.retain(|pending| pending.slot != slot);
        counts.replaced += (before - self.pending.len()) as u64;
        if self.pending.len() == MAX_PENDING {
            self.pending.pop_front();
            counts.dropped += 1;
        }
        self.pending.push_back(Pending::new(message, delivery, now));
    }

    /// Checks and opens a datagram with this peer as its sender.
    pub(super) fn receive(
        &mut self,
        header: &Header,
        sealed: &[u8],
        now: Instant,
        out: &mut Vec<Transmit>,
    ) -> Result<Opened, Refused> {
        if header.receiver_incarnation != self.incarnation {
            return Err(self.receive_stranger(header, sealed, now, out));
        }
        let known = self
            .life
            .as_ref()
            .filter(|life| life.incarnation == header.sender_incarnation);
        let derived;
        let key = if let Some(life) = known {
            &life.opening
        } else {
            if !self.limit.allows(Attempt::NewLife, now) {
                return Err(Refused::Rate);
            }
            derived = self.opening_key(header.sender_incarnation, self.incarnation);
            &derived
        };
        let opened = open(key, header, sealed).ok_or(Refused::Tag)?;
        let plaintext = Plaintext::decode(&opened).ok_or(Refused::Content)?;
        if known.is_none() {
            if plaintext.ack.highest <= self.adopted_at {
                return Err(Refused::Retired);
            }
            self.adopt(header.sender_incarnation, now);
        }
        let window = self.life.as_mut().map(|life| &mut life.window);
        if !window.is_some_and(|window| window.admit(header.counter)) {
            return Err(Refused::Replay);
        }
        self.pending
            .retain(|pending| !pending.is_acknowledged(plaintext.ack));
        match plaintext.content {
            Content::Answer => self.ack_due = now,
            Content::Reliable => self.ack_due = self.ack_due.min(now + ACK_DELAY),
            Content::Empty | Content::Once => {}
        }
        Ok(Opened {
            incarnation: header.sender_incarnation,
            sender_time: plaintext.time,
            message: plaintext.into_message(),
        })
    }

    /// A hello, or what is sealed to a life of ours that is over: the sender does not know this one. It is told, and
    /// nothing else happens.
    fn receive_stranger(
        &mut self,
        header: &Header,
        sealed: &[u8],
        now: Instant,
        out: &mut Vec<Transmit>,
    ) -> Refused {
        let hello = header.receiver_incarnation == 0;
        let (attempt, refused) = if hello {
            (Attempt::Hello, Refused::Hello)
        } else {
            (Attempt::OldLife, Refused::Incarnation)
        };
        // A repeated hello has a counter of its own: what is no newer is a copy, and costs nothing.
        let answered = |(life, counter)| life == header.sender_incarnation && header.counter <= counter;
        if hello && self.answered.is_some_and(answered) {
            return Refused::Replay;
        }
        if !self.limit.allows(attempt, now) {
            return Refused::Rate;
        }
        let key = self.opening_key(header.sender_incarnation, header.receiver_incarnation);
        if open(&key, header, sealed).is_none() {
            return Refused::Tag;
        }
        if hello {
            self.answered = Some((header.sender_incarnation, header.counter));
            let key = self.sealing_key(header.sender_incarnation);
            let ack = Ack {
                highest: header.counter,
                seen: 1,
            };
            out.extend(self.seal(
                &key,
                header.sender_incarnation,
                &Plaintext::without_message(now, ack, Content::Answer),
            ));
        } else if self.peer_incarnation() == Some(header.sender_incarnation) {
            self.ack_due = now;
        } else {
            out.extend(self.hello(now));
        }
        refused
    }

    fn adopt(&mut self, incarnation: u64, now: Instant) {
        self.life = Some(Life {
            incarnation,
            sealing: self.sealing_key(incarnation),
            opening: self.opening_key(incarnation, self.incarnation),
            window: Window::default(),
        });
        self.adopted_at = self.counter;
        self.hello_interval = REPEAT;
        for pending in &mut self.pending {
            pending.due = now;
        }
    }

    /// Sends what is due, forgets what is over.
    pub(super) fn handle_timeout(&mut self, now: Instant, counts: &mut Counts, out: &mut Vec<Transmit>) {
        let before = self.pending.len();
        self.pending.retain(|pending| now < pending.expiry());
        counts.given_up += (before - self.pending.len()) as u64;
        if self.life.is_none() {
            if self.wants_hello() && self.hello_due <= now {
                let longest = if self.is_urgent() { REPEAT_MAX } else { HELLO_MAX };
                self.hello_due = now + self.hello_interval;
                self.hello_interval = (self.hello_interval * 2).min(longest);
                out.extend(self.hello(now));
                counts.hellos += 1;
            }
            return;
        }
        for mut pending in std::mem::take(&mut self.pending) {
            if pending.due <= now {
                counts.repeated += u64::from(pending.was_sent());
                out.extend(self.seal_to_life(pending.since, pending.content(), &pending.encoded));
                pending.sent(self.counter, now);
                if pending.delivery == Delivery::Once {
                    continue;
                }
            }
            self.pending.push_back(pending);
        }
        if self.ack_due <= now {
            out.extend(self.seal_to_life(now, Content::Empty, &[]));
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub(super) fn poll_timeout(&self) -> Instant {
        let expiry = self.pending.iter().map(Pending::expiry).min();
        let due = if self.life.is_some() {
            self.pending.iter().map(|pending| pending.due).min()
        } else {
            self.wants_hello().then_some(self.hello_due)
        };
        let ack = self.life.is_some().then_some(self.ack_due);
        [expiry, due, ack]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(Instant::NEVER)
    }

    fn wants_hello(&self) -> bool {
        self.wished || !self.pending.is_empty()
    }

    fn is_urgent(&self) -> bool {
        let mut pending = self.pending.iter();
        pending.any(|pending| pending.delivery == Delivery::Reliable)
    }

    fn hello(&mut self, now: Instant) -> Option<Transmit> {
        let key = self.sealing_key(0);
        self.seal(
            &key,
            0,
            &Plaintext::without_message(now, Ack::default(), Content::Empty),
        )
    }

    fn seal_to_life(&mut self, time: Instant, content: Content, message: &[u8]) -> Option<Transmit> {
        let life = self.life.as_ref()?;
        let (key, incarnation, ack) = (life.sealing.clone(), life.incarnation, life.window.ack());
        // Each datagram tells what was seen until now.
        self.ack_due = Instant::NEVER;
        self.seal(
            &key,
            incarnation,
            &Plaintext {
                time,
                ack,
                content,
                message,
            },
        )
    }

    fn seal(
        &mut self,
        key: &SealingKey,
        receiver_incarnation: u64,
        plaintext: &Plaintext,
    ) -> Option<Transmit> {
        self.counter += 1;
        let header = Header {
            sender: self.own,
            receiver: self.peer,
            sender_incarnation: self.incarnation,
            receiver_incarnation,
            counter: self.counter,
        };
        Some(Transmit {
            to: self.address,
            bytes: seal(key, &header, &plaintext.encode())?,
        })
    }

    fn sealing_key(&self, receiver_incarnation: u64) -> SealingKey {
        self.secret
            .sealing_key(self.own, self.incarnation, receiver_incarnation)
    }

    fn opening_key(&self, sender_incarnation: u64, receiver_incarnation: u64) -> SealingKey {
        self.secret
            .sealing_key(self.peer, sender_incarnation, receiver_incarnation)
    }
}
