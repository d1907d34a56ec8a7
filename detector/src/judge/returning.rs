//! The way back: good rounds, and the silences that were survived. How many rounds a flapping node must show is the
//! remedy's to say.

use std::collections::VecDeque;
use std::time::Duration;

use crate::profile::{FLAP_MEMORY, GREETING, RETURN_ROUNDS, SLOT};
use crate::time::{Instant, nanos};

/// Survived silences that are kept; beyond, the two oldest become one, as long as the longer and as young as the
/// younger.
const SILENCES: usize = 8;

/// What one subject's record says about its return.
#[derive(Clone, Debug, Default)]
pub(super) struct Returning {
    good_since: Option<Instant>,
    /// What was heard before does not count.
    bad_until: Instant,
    /// Good rounds were told this far.
    told: Option<Instant>,
    /// It was last `Dead`.
    died_at: Option<Instant>,
    silences: VecDeque<(Instant, Duration)>,
}

impl Returning {
    /// It is `Dead`.
    pub(super) fn died(&mut self, now: Instant) {
        self.died_at = Some(now);
        self.interrupted(now);
    }

    /// A silence that it came back from.
    pub(super) fn survived(&mut self, silence: Duration, now: Instant) {
        if self.silences.len() == SILENCES
            && let Some((_, oldest)) = self.silences.pop_front()
            && let Some((_, next)) = self.silences.front_mut()
        {
            *next = oldest.max(*next);
        }
        self.silences.push_back((now, silence));
    }

    /// A new boot has survived nothing yet.
    pub(super) fn rebooted(&mut self, now: Instant) {
        self.silences.clear();
        self.interrupted(now);
    }

    /// The longest silence survived in [`FLAP_MEMORY`].
    #[must_use]
    pub(super) fn longest_silence(&self, now: Instant) -> Duration {
        let remembered = self
            .silences
            .iter()
            .filter(|(at, _)| now.since(*at) < FLAP_MEMORY);
        remembered.map(|(_, silence)| *silence).max().unwrap_or_default()
    }

    /// It is suspected, or too few hear it.
    pub(super) fn interrupted(&mut self, now: Instant) {
        self.good_since = None;
        self.told = None;
        self.bad_until = now;
    }

    /// Before this time nothing counts as heard.
    #[must_use]
    pub(super) const fn bad_until(&self) -> Instant {
        self.bad_until
    }

    /// A quorum of its `observers` hears it. The good rounds so far, if they are to be told: once when they
    /// are enough for a first return (a steward that starts may find marks), and each second where there is one to be
    /// expected: it died lately, or is `condemned`.
    pub(super) fn good(&mut self, observers: usize, condemned: bool, now: Instant) -> Option<u32> {
        let since = *self.good_since.get_or_insert(now);
        let round = nanos(SLOT) * observers.max(1) as u64;
        let rounds = u32::try_from(nanos(now.since(since)) / round).unwrap_or(u32::MAX);
        let awaited = condemned || self.died_at.is_some_and(|at| now.since(at) < FLAP_MEMORY);
        let due = self.told.is_none_or(|at| awaited && now.since(at) >= GREETING);
        if rounds < RETURN_ROUNDS || !due {
            return None;
        }
        self.told = Some(now);
        Some(rounds)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Returning;
    use crate::time::Instant;

    fn at(seconds: u64) -> Instant {
        Instant(seconds * 1_000_000_000)
    }

    #[test]
    fn rounds_are_counted_from_the_last_interruption() {
        let mut record = Returning::default();
        assert_eq!(record.good(8, false, at(10)), None);
        assert_eq!(record.good(8, false, at(18)), Some(50), "8 × 20 ms each");
        record.interrupted(at(19));
        assert_eq!(record.bad_until(), at(19));
        assert_eq!(record.good(8, false, at(20)), None);
        assert_eq!(record.good(8, false, at(27)), None);
        assert_eq!(
            record.good(2, false, at(27)),
            Some(175),
            "fewer observers, shorter rounds"
        );
    }

    #[test]
    fn good_rounds_go_on_being_told_while_a_return_is_awaited() {
        let told = |record: &mut Returning, condemned| {
            let seconds = 10..40;
            seconds
                .filter(|second| record.good(8, condemned, at(*second)).is_some())
                .count()
        };
        assert_eq!(told(&mut Returning::default(), false), 1);
        assert_eq!(told(&mut Returning::default(), true), 22);
        let mut dead = Returning::default();
        dead.died(at(9));
        assert_eq!(told(&mut dead, false), 22);
    }

    #[test]
    fn the_longest_silence_is_remembered_for_half_an_hour() {
        let mut record = Returning::default();
        record.survived(Duration::from_millis(700), at(10));
        for second in 11..60 {
            record.survived(Duration::from_millis(200), at(second));
        }
        assert_eq!(
            record.longest_silence(at(60)),
            Duration::from_millis(700),
            "merged, not lost"
        );
        assert!(record.silences.len() <= super::SILENCES);
        assert_eq!(record.longest_silence(at(1_900)), Duration::ZERO);
        record.survived(Duration::from_millis(300), at(2_000));
        record.rebooted(at(2_001));
        assert_eq!(record.longest_silence(at(2_001)), Duration::ZERO, "of this boot");
    }
}
