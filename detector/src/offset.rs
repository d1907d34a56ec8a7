//! A peer's clock in terms of the own one: two bounds on the offset between them, neither of which trusts the network.
//!
//! A message that was sealed at `s` (peer's clock) and arrived at `a` (own clock) says: offset ≤ a − s, by the delay.
//! The least of these within [`OFFSET_WINDOW`] is the *ceiling*; a smaller one is adopted at once. It maps a time of
//! the peer to the latest own time at which it can have been, exact but for the least delay.
//! A message that answers a question of ours, asked at `q`, says: offset ≥ q − s, by the round trip. The largest of
//! these is the *floor*, lowered by [`CLOCK_DRIFT_PPM`] as it ages. It maps to the earliest own time. What must not be
//! wrong (`Dead`) takes of the two bounds always the one that makes it later, so a message that waited in a queue, also
//! a first one and also all of them, can delay a verdict and never bring it about.
//!
//! Clocks that a hypervisor stops:
//! - *Ours stood still*: what was sealed meanwhile seems to come from the future, below the floor. That floor is void,
//!   the peer counts again after a new round trip. The ceiling falls with the same message.
//! - *The peer's stood still*: the offset grew, and the first round trip afterwards shows a floor above the ceiling.
//!   The ceiling starts anew, and the peer's times before that message map to nothing any more.
//! - In both cases, until the contradiction is seen, the floor was true for what it is used on: messages sealed before.

use std::time::Duration;

use crate::profile::{CLOCK_DRIFT_PPM, OFFSET_WINDOW, ROUND_TRIP_RENEWAL};
use crate::time::{Instant, nanos};

/// A time by a peer's monotonic clock: comparable with others of the same peer and incarnation only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerTime(pub u64);

impl PeerTime {
    /// This long before; not below zero.
    #[must_use]
    pub fn before(self, age: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(age)))
    }

    /// Time since `earlier`; zero if that is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// In the own clock, under this offset.
    #[must_use]
    pub const fn under(self, offset: i64) -> Instant {
        Instant(self.0.wrapping_add_signed(offset))
    }
}

/// Own clock less the peer's, in nanoseconds (wrapping, so that no value of a peer overflows).
#[must_use]
pub const fn difference(own: Instant, peer: PeerTime) -> i64 {
    own.0.wrapping_sub(peer.0).cast_signed()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bound {
    offset: i64,
    at: Instant,
}

impl Bound {
    /// What drift may have made of it since.
    fn slack(self, now: Instant) -> i64 {
        let parts = nanos(now.since(self.at)) / 1_000_000;
        i64::try_from(parts.saturating_mul(CLOCK_DRIFT_PPM)).unwrap_or(i64::MAX)
    }
}

/// The offset to one incarnation of one peer.
#[derive(Clone, Debug, Default)]
pub struct Offset {
    /// Least in this half of the window, and in the one before.
    ceiling: [Option<Bound>; 2],
    half_began: Instant,
    floor: Option<Bound>,
    /// The peer's clock stood still before this time.
    comparable_from: PeerTime,
}

impl Offset {
    /// A message sealed at `sealed` has arrived.
    pub fn arrived(&mut self, sealed: PeerTime, now: Instant) {
        let offset = difference(now, sealed);
        if self.floor.is_some_and(|floor| offset < lowered(floor, now)) {
            self.floor = None;
        }
        let half = OFFSET_WINDOW / 2;
        let age = now.since(self.half_began);
        if age >= half {
            let [last, _] = self.ceiling;
            self.ceiling = [None, if age < OFFSET_WINDOW { last } else { None }];
            self.half_began = now;
        }
        let [least, _] = &mut self.ceiling;
        if least.is_none_or(|least| offset <= least.offset) {
            *least = Some(Bound { offset, at: now });
        }
    }

    /// A message sealed at `sealed` has arrived ([`Offset::arrived`] was told) and answers what we asked at `asked`.
    pub fn answered(&mut self, asked: Instant, sealed: PeerTime, now: Instant) {
        let floor = Bound {
            offset: difference(asked, sealed),
            at: now,
        };
        if let Some(least) = self.least()
            && floor.offset > least.offset.saturating_add(least.slack(now))
        {
            self.ceiling = [
                Some(Bound {
                    offset: difference(now, sealed),
                    at: now,
                }),
                None,
            ];
            self.half_began = now;
            self.comparable_from = sealed;
        }
        if self.floor.is_none_or(|old| lowered(old, now) <= floor.offset) {
            self.floor = Some(floor);
        }
    }

    fn least(&self) -> Option<Bound> {
        let [this, last] = self.ceiling;
        match (this, last) {
            (Some(this), Some(last)) => Some(if last.offset < this.offset { last } else { this }),
            (this, last) => this.or(last),
        }
    }

    /// The latest own time that `time` can have been, exact but for the least delay; None: nothing arrived yet.
    #[must_use]
    pub fn latest(&self, time: PeerTime) -> Option<Instant> {
        self.least().map(|least| time.under(least.offset))
    }

    /// The earliest own time that `time` can have been, exact but for the round trip; None: no round trip proves any.
    #[must_use]
    pub fn earliest(&self, time: PeerTime, now: Instant) -> Option<Instant> {
        let floor = self.floor?;
        (time >= self.comparable_from).then(|| time.under(lowered(floor, now)).min(now))
    }

    /// Whether a round trip is wanted before this peer's silence can count, or soon.
    #[must_use]
    pub fn wants_round_trip(&self, now: Instant) -> bool {
        self.floor
            .is_none_or(|floor| now.since(floor.at) >= ROUND_TRIP_RENEWAL)
    }
}

fn lowered(floor: Bound, now: Instant) -> i64 {
    floor.offset.saturating_sub(floor.slack(now))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Offset, PeerTime, difference};
    use crate::time::Instant;

    const MS: u64 = 1_000_000;
    /// The peer's clock is this far behind.
    const AHEAD: u64 = 70_000 * MS;

    fn own(ms: u64) -> Instant {
        Instant(AHEAD + ms * MS)
    }

    fn peer(ms: u64) -> PeerTime {
        PeerTime(ms * MS)
    }

    #[test]
    fn the_least_delay_counts_and_a_smaller_one_is_adopted_at_once() {
        let mut offset = Offset::default();
        offset.arrived(peer(0), own(900));
        assert_eq!(offset.latest(peer(0)), Some(own(900)), "a first one may be late");
        offset.arrived(peer(1_000), own(1_001));
        assert_eq!(offset.latest(peer(0)), Some(own(1)));
        offset.arrived(peer(1_500), own(2_500));
        assert_eq!(
            offset.latest(peer(1_500)),
            Some(own(1_501)),
            "a queue shifts nothing"
        );
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut offset = Offset::default();
        offset.arrived(peer(1_000), own(1_001));
        for second in 2..20 {
            offset.arrived(peer(second * 1_000), own(second * 1_000 + 7));
        }
        assert_eq!(offset.latest(peer(0)), Some(own(7)));
        offset.arrived(peer(60_000), own(60_009));
        assert_eq!(offset.latest(peer(0)), Some(own(9)), "both halves are over");
    }

    #[test]
    fn no_round_trip_no_earliest_time() {
        let mut offset = Offset::default();
        offset.arrived(peer(10), own(11));
        assert_eq!(offset.earliest(peer(10), own(11)), None);
        assert!(offset.wants_round_trip(own(11)));
        offset.answered(own(9), peer(10), own(11));
        assert_eq!(offset.earliest(peer(10), own(11)), Some(own(9)));
        assert!(!offset.wants_round_trip(own(11)));
        assert!(offset.wants_round_trip(own(2_011)));
    }

    #[test]
    fn the_floor_sinks_by_drift_until_a_better_one_comes() {
        let mut offset = Offset::default();
        offset.arrived(peer(10), own(11));
        offset.answered(own(9), peer(10), own(11));
        assert_eq!(
            offset.earliest(peer(1_011), own(1_011)),
            Some(own(1_009)),
            "1 ms in a second"
        );
        offset.arrived(peer(1_020), own(1_021));
        offset.answered(own(1_015), peer(1_020), own(1_021));
        assert_eq!(
            offset.earliest(peer(1_020), own(1_021)),
            Some(Instant(own(1_018).0 - 10_000)),
            "the old one is still better"
        );
    }

    #[test]
    fn a_pause_of_ours_voids_the_floor() {
        let mut offset = Offset::default();
        offset.arrived(peer(10), own(11));
        offset.answered(own(9), peer(10), own(11));
        // Sealed 500 ms later by the peer, 5 ms later by the clock that stood still.
        offset.arrived(peer(510), own(16));
        assert_eq!(offset.earliest(peer(510), own(16)), None);
        assert_eq!(offset.latest(peer(510)), Some(own(16)));
    }

    #[test]
    fn a_pause_of_the_peer_makes_its_old_times_incomparable() {
        let mut offset = Offset::default();
        offset.arrived(peer(10), own(11));
        // It stood still for 300 ms.
        offset.arrived(peer(20), own(321));
        assert_eq!(
            offset.latest(peer(20)),
            Some(own(21)),
            "not to be told from a queue"
        );
        offset.answered(own(319), peer(20), own(321));
        assert_eq!(offset.latest(peer(20)), Some(own(321)));
        assert_eq!(
            offset.earliest(peer(19), own(321)),
            None,
            "sent before, or during"
        );
        assert_eq!(offset.earliest(peer(20), own(321)), Some(own(319)));
    }

    #[test]
    fn drift_alone_is_no_pause() {
        let mut offset = Offset::default();
        offset.arrived(peer(1_000), own(1_000));
        // 400 ppm in 4 s, more than the round trip.
        offset.arrived(PeerTime(4_998_400_000), own(5_000));
        offset.answered(
            Instant(own(5_000).0 - 100_000),
            PeerTime(4_998_400_000),
            own(5_000),
        );
        assert!(offset.earliest(peer(1_000), own(5_000)).is_some());
    }

    #[test]
    fn no_time_of_a_peer_overflows() {
        let mut offset = Offset::default();
        for time in [0, 1, u64::MAX / 2, u64::MAX] {
            offset.arrived(PeerTime(time), own(1));
            offset.answered(own(0), PeerTime(time), own(1));
            for other in [0, u64::MAX] {
                let _ = offset.latest(PeerTime(other));
                assert!(
                    offset
                        .earliest(PeerTime(other), own(1))
                        .is_none_or(|at| at <= own(1))
                );
            }
        }
        assert_eq!(difference(Instant(1), PeerTime(2)), -1);
        assert_eq!(PeerTime(5).before(Duration::MAX), PeerTime(0));
    }
}
