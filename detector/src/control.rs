//! Sealed control messages between any two members: handshake, replay, acknowledgement, repetition — bounded, and
//! each refusal counted by its cause.
//!
//! ```text
//!  send ─▶ channel (one a peer) ─▶ seal ─▶ poll_transmit ─▶ wire ─▶ handle_datagram ─▶ open ─▶ replay ─▶ Received
//! ```
//! A reliable message may come twice, and after a newer one: what a receiver does must not depend on it, and
//! [`Received::sender_time`] tells the order.

mod channel;
mod limit;
mod pending;
mod plaintext;
mod status;
mod window;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use thiserror::Error;

use crate::identity::MemberId;
use crate::keys::PairSecret;
use crate::message::Message;
use crate::seal::{Header, Unreadable};
use crate::time::Instant;
use channel::Channel;

pub use status::PeerStatus;

/// Datagrams that wait for the socket: a burst of reports about a tenth of 5,000 members.
const MAX_TRANSMITS: usize = 4_096;

/// Whether a message is worth repeating.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Sent once; the next one will say the same.
    Once,
    /// Repeated every 20 to 200 ms until it is acknowledged, for at most 5 s.
    Reliable,
}

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub bytes: Vec<u8>,
}

/// A message that is authentic, new, and sealed to this life of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// Who sent it.
    pub from: MemberId,
    /// The sender's life: another value means that it was started anew.
    pub incarnation: u64,
    /// The sender's clock when the message was made; never compared with our own but through an offset.
    pub sender_time: Instant,
    /// What it says.
    pub message: Message,
}

/// Why a datagram gave no message. The discriminant is the index of its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
#[repr(u32)]
pub enum Refused {
    /// Too short or too long.
    #[error("length")]
    Length = 0,
    /// Another version or kind.
    #[error("version")]
    Version = 1,
    /// Sealed for somebody else, or by ourselves.
    #[error("not_for_me")]
    NotForMe = 2,
    /// No peer of ours.
    #[error("unknown_peer")]
    UnknownPeer = 3,
    /// Not sealed by this peer under this header.
    #[error("tag")]
    Tag = 4,
    /// Seen before, or too old to tell; a hello no newer than one that was answered.
    #[error("replay")]
    Replay = 5,
    /// By a life of the peer that is over.
    #[error("retired")]
    Retired = 6,
    /// For a life of ours that is over.
    #[error("incarnation")]
    Incarnation = 7,
    /// Authentic, but no message of this version.
    #[error("content")]
    Content = 8,
    /// A hello: answered, and nothing else.
    #[error("hello")]
    Hello = 9,
    /// More hellos, or datagrams for or of a life that is not known, in this peer's name than are opened.
    #[error("rate")]
    Rate = 10,
}

impl Refused {
    /// All causes, in the order of their counters.
    pub const ALL: [Self; 11] = [
        Self::Length,
        Self::Version,
        Self::NotForMe,
        Self::UnknownPeer,
        Self::Tag,
        Self::Replay,
        Self::Retired,
        Self::Incarnation,
        Self::Content,
        Self::Hello,
        Self::Rate,
    ];
}

/// What happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages received.
    pub received: u64,
    /// Datagrams sent.
    pub sent: u64,
    /// Of those, messages repeated.
    pub repeated: u64,
    /// Of those, hellos.
    pub hellos: u64,
    /// Messages that were replaced by a newer one of the same slot before they were acknowledged.
    pub replaced: u64,
    /// Messages never acknowledged, or for which no handshake came about in time.
    pub given_up: u64,
    /// Messages and datagrams dropped because a queue was full.
    pub dropped: u64,
    /// Of the messages received, those that were none of the receiver's business.
    pub misdirected: u64,
    /// Refusals, by the discriminant of [`Refused`].
    pub refused: [u64; Refused::ALL.len()],
}

impl Counts {
    /// Refusals for this cause.
    #[must_use]
    pub fn refused(&self, cause: Refused) -> u64 {
        self.refused.get(cause as usize).copied().unwrap_or_default()
    }
}

/// All channels of one agent or steward.
pub struct Control {
    own: MemberId,
    /// For the next new channel: a pair's nonces never begin anew under the same life.
    incarnation: u64,
    channels: BTreeMap<MemberId, Channel>,
    timers: BTreeSet<(Instant, MemberId)>,
    transmits: VecDeque<Transmit>,
    counts: Counts,
}

impl Control {
    /// No channel yet. `incarnation`: random, new with every start of the process.
    #[must_use]
    pub fn new(own: MemberId, incarnation: u64) -> Self {
        Self {
            own,
            incarnation: incarnation.max(1),
            channels: BTreeMap::new(),
            timers: BTreeSet::new(),
            transmits: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// The peers from now on, with address and secret; others are forgotten.
    pub fn set_peers(&mut self, peers: BTreeMap<MemberId, (SocketAddr, PairSecret)>) {
        let gone: Vec<MemberId> = self.peers().filter(|peer| !peers.contains_key(peer)).collect();
        gone.into_iter().for_each(|peer| self.remove_peer(peer));
        for (peer, (address, secret)) in peers {
            self.set_peer(peer, address, secret);
        }
    }

    /// Adds a peer, or moves it to another address. With another secret it is another peer under the same id.
    pub fn set_peer(&mut self, peer: MemberId, address: SocketAddr, secret: PairSecret) {
        if peer == self.own {
            return;
        }
        if self
            .channels
            .get(&peer)
            .is_some_and(|channel| !channel.has_secret(&secret))
        {
            self.remove_peer(peer);
        }
        let incarnation = self.incarnation;
        self.channels
            .entry(peer)
            .or_insert_with(|| Channel::new(self.own, incarnation, peer, address, secret))
            .address = address;
    }

    /// Forgets a peer and what waits for it. If it comes back, it meets another life of ours: its old messages are
    /// then worth nothing, and no nonce is used twice.
    pub fn remove_peer(&mut self, peer: MemberId) {
        if let Some(channel) = self.channels.remove(&peer) {
            self.timers.remove(&(channel.poll_timeout(), peer));
            self.incarnation = self.incarnation.wrapping_add(1).max(1);
        }
    }

    /// The peers.
    pub fn peers(&self) -> impl Iterator<Item = MemberId> {
        self.channels.keys().copied()
    }

    /// The life of `peer` with which there is a channel; None: no handshake yet, or no peer.
    #[must_use]
    pub fn peer_incarnation(&self, peer: MemberId) -> Option<u64> {
        self.channels.get(&peer)?.peer_incarnation()
    }

    /// Messages that wait for `peer`.
    #[must_use]
    pub fn pending(&self, peer: MemberId) -> usize {
        self.channels.get(&peer).map_or(0, Channel::pending)
    }

    /// What happened since the start.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Opens the channel to `peer` before there is something to say, and keeps trying once a second: a handshake
    /// in the middle of a suspicion would cost a round trip.
    pub fn connect(&mut self, peer: MemberId, now: Instant) {
        self.with_channel(peer, now, |channel, _, _| channel.wish());
    }

    /// Sends `message` to a peer; to nobody else.
    pub fn send(&mut self, to: MemberId, message: &Message, delivery: Delivery, now: Instant) {
        self.with_channel(to, now, |channel, counts, _| {
            channel.push(message, delivery, now, counts);
        });
    }

    /// A datagram of kind [`detector_common::packet::kind::SEALED`]. Where it came from proves nothing, so nobody
    /// asks: answers go to the address of the roster.
    ///
    /// # Errors
    /// The first check that failed; counted.
    pub fn handle_datagram(&mut self, datagram: &[u8], now: Instant) -> Result<Option<Received>, Refused> {
        let result = self.receive(datagram, now);
        match &result {
            Ok(received) => self.counts.received += u64::from(received.is_some()),
            Err(refused) => {
                if let Some(count) = self.counts.refused.get_mut(*refused as usize) {
                    *count += 1;
                }
            }
        }
        result
    }

    /// What was received was none of our business.
    pub fn count_misdirected(&mut self) {
        self.counts.misdirected += 1;
    }

    fn receive(&mut self, datagram: &[u8], now: Instant) -> Result<Option<Received>, Refused> {
        let (header, sealed) = Header::decode(datagram).map_err(|unreadable| match unreadable {
            Unreadable::Length => Refused::Length,
            Unreadable::Version => Refused::Version,
        })?;
        if header.receiver != self.own || header.sender == self.own {
            return Err(Refused::NotForMe);
        }
        let opened = self
            .with_channel(header.sender, now, |channel, _, out| {
                channel.receive(&header, sealed, now, out)
            })
            .ok_or(Refused::UnknownPeer)??;
        let Some(encoded) = opened.message else {
            return Ok(None);
        };
        let message = Message::decode(&encoded).map_err(|_| Refused::Content)?;
        if let Some(channel) = self.channels.get_mut(&header.sender) {
            channel.heard = Some(now);
        }
        Ok(Some(Received {
            from: header.sender,
            incarnation: opened.incarnation,
            sender_time: opened.sender_time,
            message,
        }))
    }

    /// Sends what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((due, peer)) = self.timers.first().copied().filter(|(due, _)| *due <= now) {
            if self.with_channel(peer, now, |_, _, _| ()).is_none() {
                self.timers.remove(&(due, peer));
            }
        }
    }

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        self.timers.first().map_or(Instant::NEVER, |(due, _)| *due)
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// Does something with a channel, then what is due there, then arms its timer: the only way to change one.
    fn with_channel<R>(
        &mut self,
        peer: MemberId,
        now: Instant,
        change: impl FnOnce(&mut Channel, &mut Counts, &mut Vec<Transmit>) -> R,
    ) -> Option<R> {
        let channel = self.channels.get_mut(&peer)?;
        let armed = channel.poll_timeout();
        let mut out = Vec::new();
        let result = change(channel, &mut self.counts, &mut out);
        channel.handle_timeout(now, &mut self.counts, &mut out);
        let due = channel.poll_timeout();
        if armed != due {
            self.timers.remove(&(armed, peer));
        }
        if due != Instant::NEVER {
            self.timers.insert((due, peer));
        }
        for transmit in out {
            if self.transmits.len() == MAX_TRANSMITS {
                self.counts.dropped += 1;
            } else {
                self.counts.sent += 1;
                self.transmits.push_back(transmit);
            }
        }
        Some(result)
    }
}

#[cfg(test)]
mod tests;
