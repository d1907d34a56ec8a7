//! Two ends and a wire.

use std::net::SocketAddr;
use std::time::Duration;

use crate::control::{Control, Delivery, Received, Refused, Transmit};
use crate::identity::{BootId, IncidentId, MemberId};
use crate::keys::PairSecret;
use crate::message::{Hint, Message};
use crate::seal::MAX_DATAGRAM;
use crate::time::Instant;

pub(super) const A: MemberId = MemberId(10);
pub(super) const B: MemberId = MemberId(20);
pub(super) const SECRET: PairSecret = PairSecret([9; 32]);

pub(super) fn address(member: MemberId) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(member.0).unwrap()], 930))
}

fn control(own: MemberId, peer: MemberId, incarnation: u64) -> Control {
    let mut control = Control::new(own, incarnation);
    control.set_peer(peer, address(peer), SECRET);
    control
}

pub(super) fn hint(subject: u64) -> Message {
    Message::Hint(Hint {
        subject: MemberId(subject),
        boot: BootId(1),
        incident: IncidentId(1),
    })
}

pub(super) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Two ends, and a wire that keeps a copy of all that went over it.
pub(super) struct Pair {
    pub(super) ends: [Control; 2],
    pub(super) now: Instant,
    /// To whom, and what.
    pub(super) tape: Vec<(usize, Vec<u8>)>,
    pub(super) got: [Vec<Received>; 2],
}

impl Pair {
    pub(super) fn new() -> Self {
        Self {
            ends: [control(A, B, 100), control(B, A, 200)],
            now: Instant(1_000_000_000),
            tape: Vec::new(),
            got: [Vec::new(), Vec::new()],
        }
    }

    pub(super) fn send(&mut self, end: usize, message: &Message, delivery: Delivery) {
        let peer = [B, A][end];
        self.ends[end].send(peer, message, delivery, self.now);
    }

    /// What an end has to send now, with the end that it is for.
    pub(super) fn transmits(&mut self) -> Vec<(usize, Vec<u8>)> {
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

    pub(super) fn deliver(&mut self, end: usize, bytes: &[u8]) -> Result<(), Refused> {
        let received = self.ends[end].handle_datagram(bytes, self.now)?;
        self.got[end].extend(received);
        Ok(())
    }

    /// Passes the time, and every datagram that `lost` does not take.
    pub(super) fn run(&mut self, time: Duration, mut lost: impl FnMut() -> bool) {
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

    pub(super) fn settle(&mut self) {
        self.run(ms(300), || false);
    }

    pub(super) fn restart(&mut self, end: usize, incarnation: u64) {
        let (own, peer) = [(A, B), (B, A)][end];
        self.ends[end] = control(own, peer, incarnation);
    }

    pub(super) fn subjects(&self, end: usize) -> Vec<u64> {
        self.got[end]
            .iter()
            .map(|received| match &received.message {
                Message::Hint(hint) => hint.subject.0,
                other => panic!("{other:?} was never sent"),
            })
            .collect()
    }

    /// Both ends speak to the other's life of today.
    pub(super) fn assert_whole(&mut self) {
        let before = [self.got[0].len(), self.got[1].len()];
        self.send(0, &hint(7_001), Delivery::Reliable);
        self.send(1, &hint(7_002), Delivery::Reliable);
        self.settle();
        assert!(self.subjects(1)[before[1]..].contains(&7_001));
        assert!(self.subjects(0)[before[0]..].contains(&7_002));
        assert_eq!(self.ends[0].pending(B) + self.ends[1].pending(A), 0);
    }
}
