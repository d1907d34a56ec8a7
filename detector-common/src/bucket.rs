//! A token bucket in one word: the generic cell rate algorithm (ITU-T I.371), whose whole state is the theoretical
//! arrival time of the next packet.

use crate::word::Word;

/// Echoes per peer and second: five times the densest probing of the protocol (every 5 ms).
pub const ECHOES_PER_SECOND: u64 = 1_000;

/// How far ahead of its rate a peer may run, in nanoseconds: 200 packets at once, a stall's worth of queued probes.
pub const BURST_NS: u64 = 200_000_000;

const INTERVAL_NS: u64 = 1_000_000_000 / ECHOES_PER_SECOND;

/// Takes one token at `now` (nanoseconds, monotonic); `false` when the bucket is empty.
///
/// A `replay` may only take from the upper half: repeating a recorded probe cannot use up what the peer's own next
/// probe needs.
#[inline(always)]
#[must_use]
pub fn take(bucket: &Word, now: u64, replay: bool) -> bool {
    let allowance = if replay { BURST_NS / 2 } else { BURST_NS };
    take_within(bucket, now, INTERVAL_NS, allowance)
}

/// The same at a rate of the caller's: one token each `interval`, and as far ahead of that as `allowance`, both in
/// nanoseconds.
#[inline(always)]
#[must_use]
pub fn take_within(bucket: &Word, now: u64, interval: u64, allowance: u64) -> bool {
    let due = bucket.get().max(now);
    if due - now > allowance {
        return false;
    }
    bucket.set(due + interval);
    true
}

#[cfg(test)]
mod tests {
    use super::{BURST_NS, ECHOES_PER_SECOND, INTERVAL_NS, take};
    use crate::word::Word;

    #[test]
    fn a_burst_then_the_rate() {
        let bucket = Word::default();
        let burst = (0..1_000).filter(|_| take(&bucket, 1_000, false)).count() as u64;
        assert_eq!(burst, BURST_NS / INTERVAL_NS + 1);
        let second = (1..=1_000)
            .filter(|ms| take(&bucket, 1_000 + ms * 1_000_000, false))
            .count() as u64;
        assert_eq!(second, ECHOES_PER_SECOND);
    }

    #[test]
    fn replays_leave_half_the_burst_to_new_probes() {
        let bucket = Word::default();
        while take(&bucket, 0, true) {}
        assert!((0..90).all(|_| take(&bucket, 0, false)));
    }
}
