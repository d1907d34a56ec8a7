//! Whose turn it is: every subject is asked once in [`SLOT`] by one of its k observers in turn.
//!
//! The turns are cut from the subject's own clock, which its echoes carry: all its observers read the same clock, so
//! they need not know of each other. Boot times differ, so the turns of a cluster do not fall together.

use std::time::Duration;

use crate::identity::MemberId;
use crate::profile::SLOT;
use crate::time::{Instant, nanos};

/// The turn of one observer with one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// k·20 ms.
    period: u64,
    /// Where in the period this observer's turn begins, by the subject's clock.
    phase: u64,
    /// The same by the own clock, as long as the subject's is not known: from the ids, so that a cluster that starts
    /// at once does not ask at once.
    blind_phase: u64,
}

impl Turn {
    /// For the observer `own` of `subject`, which stands at `rank` of its `k` observers sorted by id.
    pub(super) fn new(own: MemberId, subject: MemberId, rank: usize, k: usize) -> Self {
        let slot = nanos(SLOT);
        let period = slot * (k.max(1) as u64);
        Self {
            period,
            phase: slot * (rank as u64) % period,
            blind_phase: mix(own.0 ^ subject.0.rotate_left(32)) % period,
        }
    }

    /// Between two turns.
    pub(super) fn period(self) -> Duration {
        Duration::from_nanos(self.period)
    }

    /// The next turn after one that was used, or is waited for, at `now`: at least half a period later, so that a
    /// better measured clock never makes one turn into two.
    ///
    /// `offset` is the subject's clock less the own one (wrapping); None: not known yet.
    pub(super) fn next(self, now: Instant, offset: Option<u64>) -> Instant {
        let wait = self.wait(now, offset);
        let wait = if wait < self.period / 2 {
            wait + self.period
        } else {
            wait
        };
        now + Duration::from_nanos(wait)
    }

    /// The first turn at or after `now`, when none has been used yet.
    pub(super) fn first(self, now: Instant, offset: Option<u64>) -> Instant {
        now + Duration::from_nanos(self.wait(now, offset))
    }

    /// From `now` to the turn's next beginning.
    fn wait(self, now: Instant, offset: Option<u64>) -> u64 {
        let (clock, phase) = match offset {
            Some(offset) => (now.0.wrapping_add(offset), self.phase),
            None => (now.0, self.blind_phase),
        };
        let into = (clock % self.period + self.period - phase) % self.period;
        (self.period - into) % self.period
    }
}

/// The subject's clock less the own one, from an echo's stamp less its arrival: the stamp is half a round trip older
/// than the arrival.
pub(super) fn offset(stamp_less_arrival: u64, round_trip: Duration) -> u64 {
    stamp_less_arrival.wrapping_add(nanos(round_trip) / 2)
}

/// SplitMix64's finalizer: spreads ids over the period.
fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking; ranks are small"
)]
mod tests {
    use std::time::Duration;

    use super::{Turn, offset};
    use crate::identity::MemberId;
    use crate::profile::SLOT;
    use crate::time::{Instant, nanos};

    const MS: u64 = 1_000_000;

    #[test]
    fn eight_observers_take_eight_different_turns_by_the_subjects_clock() {
        // Observers whose clocks differ wildly from the subject's.
        let subject_at = 77_000 * MS + 3;
        let mut turns: Vec<u64> = (0..8_u64)
            .map(|rank| {
                let own = rank * 1_234_567_891_011 + 5_000 * MS;
                let offset = subject_at.wrapping_sub(own);
                let turn = Turn::new(MemberId(rank + 1), MemberId(99), rank as usize, 8);
                let due = turn.first(Instant(own), Some(offset));
                due.0.wrapping_add(offset)
            })
            .collect();
        turns.sort_unstable();
        let gaps: Vec<u64> = turns.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(gaps, [20 * MS; 7], "{turns:?}");
    }

    #[test]
    fn one_turn_a_period_also_when_the_clock_is_measured_better() {
        let turn = Turn::new(MemberId(1), MemberId(2), 3, 8);
        let period = nanos(turn.period());
        for jitter in [0, 1, 900_000, 70 * MS] {
            let used = turn.first(Instant(10_000 * MS), Some(5));
            let next = turn.next(used, Some(5_u64.wrapping_sub(jitter)));
            let wait = nanos(next - used);
            assert!((period / 2..period * 3 / 2).contains(&wait), "{jitter}: {wait}");
            assert_eq!(
                next.0.wrapping_add(5).wrapping_sub(jitter) % period,
                3 * nanos(SLOT)
            );
        }
    }

    #[test]
    fn before_any_echo_the_ids_choose_the_phase() {
        let due = |own| {
            Turn::new(MemberId(own), MemberId(9), 0, 8)
                .first(Instant(0), None)
                .0
        };
        let mut phases: Vec<u64> = (1..=64).map(due).collect();
        assert!(phases.iter().all(|phase| *phase < 160 * MS));
        phases.sort_unstable();
        let widest = phases.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(widest < Some(20 * MS), "a gap of {widest:?} ns: not spread");
    }

    #[test]
    fn an_echo_is_half_a_round_trip_old() {
        // Subject's clock is 1 s ahead; the echo took 2 of 4 ms.
        let (stamp, arrival) = (2_000 * MS, 1_002 * MS);
        let measured = offset(stamp - arrival, Duration::from_millis(4));
        assert_eq!(measured, 1_000 * MS);
    }
}
