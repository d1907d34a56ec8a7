//! What holds every verdict of `Dead` back: a fault of the network, or of this steward itself.

use std::time::Duration;

use crate::judgement::Hold;
use crate::profile::{GREETING, Profile, REPORT_EXPIRY, SLOT, STORM_DIVISOR};
use crate::time::Instant;

/// The counts, and this steward's own condition. Asked again whenever a verdict is due; nothing is latched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Guard {
    /// Members that could be heard: condemned ones and those that took their leave are left out.
    pub(super) known: usize,
    /// Of the known, those that are suspected, or would be if their other observers were not silent themselves.
    pub(super) suspected: usize,
    /// Of the known, those heard in [`crate::profile::MAJORITY_WINDOW`].
    pub(super) heard: usize,
    /// When this steward began to listen.
    pub(super) listens_since: Instant,
    /// Its newest own late tick.
    pub(super) late_at: Option<Instant>,
    /// The newest storm, or time in the minority.
    fault: Option<(Hold, Instant)>,
    /// For how long that goes on after it: silence from within it is no evidence.
    linger: Duration,
}

impl Guard {
    /// Nothing known, nothing heard.
    #[must_use]
    pub(super) fn new(profile: &Profile, now: Instant) -> Self {
        Self {
            known: 0,
            suspected: 0,
            heard: 0,
            listens_since: now,
            late_at: None,
            fault: None,
            linger: profile.window + SLOT,
        }
    }

    /// To be called at each tick, and when a count has changed.
    pub(super) fn note(&mut self, now: Instant) {
        if let Some(fault) = self.fault_now(now) {
            self.fault = Some((fault, now));
        }
    }

    /// What holds verdicts back at `now`, the gravest first.
    #[must_use]
    pub(super) fn hold(&self, now: Instant) -> Option<Hold> {
        let late = self.is_late(now).then_some(Hold::LateTick);
        self.fault_now(now).or_else(|| self.fault_lately(now)).or(late)
    }

    fn fault_now(&self, now: Instant) -> Option<Hold> {
        if self.is_minority(now) {
            Some(Hold::Minority)
        } else if self.is_storm() {
            Some(Hold::Storm)
        } else {
            None
        }
    }

    /// When a cut heals, some are heard before others: whoever comes last must not be condemned for what was held.
    fn fault_lately(&self, now: Instant) -> Option<Hold> {
        let lately = self.fault.filter(|(_, at)| now.since(*at) < self.linger);
        lately.map(|(fault, _)| fault)
    }

    /// Less than half are heard; or nobody had the time to greet since this steward began to listen.
    fn is_minority(&self, now: Instant) -> bool {
        self.heard * 2 < self.known || now.since(self.listens_since) < GREETING
    }

    /// More than a third at once.
    const fn is_storm(&self) -> bool {
        self.suspected * STORM_DIVISOR > self.known
    }

    /// Since a late tick all silence of before is dropped; what comes in first must not be judged before the rest is
    /// back, or the storm guard would be blind.
    fn is_late(&self, now: Instant) -> bool {
        self.late_at.is_some_and(|at| now.since(at) < REPORT_EXPIRY)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Guard;
    use crate::judgement::Hold;
    use crate::profile::Profile;
    use crate::time::Instant;

    const NOW: Instant = Instant(100_000_000_000);

    fn guard(known: usize, heard: usize, suspected: usize) -> Guard {
        Guard {
            known,
            suspected,
            heard,
            ..Guard::new(&Profile::LAN, Instant(1))
        }
    }

    #[test]
    fn a_third_may_be_suspected_and_not_one_more() {
        assert_eq!(guard(9, 9, 3).hold(NOW), None);
        assert_eq!(guard(9, 9, 4).hold(NOW), Some(Hold::Storm));
        assert_eq!(guard(3, 3, 1).hold(NOW), None);
        assert_eq!(guard(3, 3, 2).hold(NOW), Some(Hold::Storm));
        assert_eq!(guard(2, 2, 1).hold(NOW), Some(Hold::Storm));
    }

    #[test]
    fn who_hears_less_than_half_is_the_minority() {
        assert_eq!(guard(10, 5, 0).hold(NOW), None);
        assert_eq!(guard(10, 4, 0).hold(NOW), Some(Hold::Minority));
        assert_eq!(
            guard(10, 4, 9).hold(NOW),
            Some(Hold::Minority),
            "the gravest is told"
        );
    }

    #[test]
    fn a_storm_holds_until_silence_of_after_it_could_be_evidence() {
        let mut guard = guard(9, 9, 4);
        guard.note(NOW);
        guard.suspected = 1;
        assert_eq!(guard.hold(NOW + Duration::from_millis(139)), Some(Hold::Storm));
        assert_eq!(guard.hold(NOW + Duration::from_millis(140)), None);
    }

    #[test]
    fn a_new_steward_listens_first() {
        let new = Guard {
            listens_since: NOW,
            ..guard(9, 9, 0)
        };
        assert_eq!(new.hold(NOW + Duration::from_millis(999)), Some(Hold::Minority));
        assert_eq!(new.hold(NOW + Duration::from_millis(1_000)), None);
    }

    #[test]
    fn a_late_tick_holds_until_reports_have_come_again() {
        let late = Guard {
            late_at: Some(NOW),
            ..guard(9, 9, 1)
        };
        assert_eq!(late.hold(NOW), Some(Hold::LateTick));
        assert_eq!(late.hold(NOW + Duration::from_millis(50)), None);
    }
}
