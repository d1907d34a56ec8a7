//! One member as an observer: its clock, and whether its silence may count.

use crate::offset::{Offset, PeerTime};
use crate::profile::{ACQUAINTANCE, MAJORITY_WINDOW, PING_IDLE, PING_INTERVAL};
use crate::time::Instant;

/// Pings that may still be answered: an answer that is older says nothing that a newer one does not.
const PINGS: usize = 8;

/// See the head of this file.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    /// Its clock.
    pub(super) offset: Offset,
    /// Its agent, as last heard; 0: never heard.
    pub(super) incarnation: u64,
    /// Newest message.
    pub(super) heard_at: Option<Instant>,
    /// The ledger condemns it.
    pub(super) condemned: bool,
    /// It is itself suspected.
    pub(super) suspected: bool,
    /// Two observers find it silent, or more: what the storm guard counts.
    pub(super) quiet: bool,
    /// It took its leave, or its agent did.
    pub(super) parted: bool,
    /// It decides by other numbers.
    pub(super) other_config: bool,
    pings: [Option<(u64, Instant)>; PINGS],
    pinged_at: Option<Instant>,
}

impl Peer {
    /// A message of this incarnation, sealed at `sealed`, has arrived.
    pub(super) fn heard(&mut self, incarnation: u64, sealed: PeerTime, now: Instant) {
        if self.incarnation != incarnation {
            self.incarnation = incarnation;
            self.offset = Offset::default();
        }
        self.offset.arrived(sealed, now);
        self.heard_at = Some(now);
    }

    /// Whether it was heard lately.
    #[must_use]
    pub(super) fn is_heard(&self, now: Instant) -> bool {
        self.heard_at.is_some_and(|at| now.since(at) < MAJORITY_WINDOW)
    }

    /// Whether its word need not be waited for: it took its leave, or is not heard any more. To a steward that has just
    /// begun to listen, whom it never heard may be there.
    #[must_use]
    pub(super) fn is_gone(&self, listens_since: Instant, now: Instant) -> bool {
        let unknown = self.heard_at.is_none() && now.since(listens_since) < ACQUAINTANCE;
        self.parted || !self.is_heard(now) && !unknown
    }

    /// Whether it could be heard: neither condemned nor gone by its own word.
    #[must_use]
    pub(super) const fn is_known(&self) -> bool {
        !self.condemned && !self.parted
    }

    /// Whether a ping is due, now that its clock matters (`urgent`), or at its turn. Notes that it is sent.
    pub(super) fn ping(&mut self, number: u64, urgent: bool, now: Instant) -> bool {
        let since = self.pinged_at.map(|at| now.since(at));
        let due = match since {
            None => true,
            Some(since) if urgent => since >= PING_INTERVAL && self.offset.wants_round_trip(now),
            Some(since) => since >= PING_IDLE,
        };
        if !due || !self.is_heard(now) || self.condemned {
            return false;
        }
        self.pinged_at = Some(now);
        self.pings.rotate_right(1);
        if let Some(newest) = self.pings.first_mut() {
            *newest = Some((number, now));
        }
        true
    }

    /// The answer to one of ours; anything else proves nothing.
    pub(super) fn pong(&mut self, number: u64, sealed: PeerTime, now: Instant) {
        let asked = self.pings.iter().flatten().find(|(asked, _)| *asked == number);
        if let Some((_, asked)) = asked.copied() {
            self.offset.answered(asked, sealed, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Peer;
    use crate::offset::PeerTime;
    use crate::time::Instant;

    fn at(ms: u64) -> Instant {
        Instant(1_000_000_000 + ms * 1_000_000)
    }

    #[test]
    fn a_pong_counts_for_the_ping_it_answers() {
        let mut peer = Peer::default();
        assert!(!peer.ping(1, true, at(0)), "never heard");
        peer.heard(9, PeerTime(5), at(1));
        assert!(peer.ping(2, true, at(2)));
        assert!(!peer.ping(3, true, at(11)), "too soon");
        assert!(peer.ping(3, true, at(12)), "unanswered");
        peer.pong(77, PeerTime(6), at(13));
        assert_eq!(peer.offset.earliest(PeerTime(6), at(13)), None, "never asked");
        peer.pong(2, PeerTime(6), at(13));
        assert_eq!(peer.offset.earliest(PeerTime(6), at(13)), Some(at(2)));
        assert!(!peer.ping(4, true, at(500)), "the bound is good enough");
        peer.heard(9, PeerTime(10_000_000_000), at(10_011));
        assert!(
            !peer.ping(4, false, at(10_011)) && peer.ping(4, false, at(10_012)),
            "its turn"
        );
    }

    #[test]
    fn another_incarnation_has_another_clock() {
        let mut peer = Peer::default();
        peer.heard(9, PeerTime(5), at(1));
        assert!(peer.ping(1, true, at(1)));
        peer.pong(1, PeerTime(5), at(1));
        peer.heard(10, PeerTime(900), at(2));
        assert_eq!(peer.offset.earliest(PeerTime(900), at(2)), None);
        assert!(peer.is_heard(at(2_001)) && !peer.is_heard(at(2_002)));
    }
}
