//! A look: who still finds the subject silent, each asked with a nonce that is younger than the question's cause.
//!
//! The remedy takes one before what cannot be undone. The judge takes one itself where the rule holds but for an
//! observer that says nothing: is it not asking, or is its word lost on the way?

use std::time::Duration;

use crate::identity::MemberId;
use crate::judge::evidence::Witness;
use crate::profile::{LOOK_REPEAT_DIVISOR, LOOK_WINDOWS, Profile};
use crate::time::Instant;

/// Who wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// The remedy, which is told how it ended.
    Remedy,
    /// The judge, for as long as it lacks somebody's word.
    Judge,
}

/// A look that is under way. Its answers are kept with the witnesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LookRound {
    /// For whom.
    pub(super) asker: Asker,
    /// Never 0, and no other look's: answers are sealed to this steward's incarnation.
    pub(super) nonce: u64,
    /// When it was asked first: what was sealed before is no answer.
    pub(super) asked_at: Instant,
    repeat_at: Instant,
}

impl LookRound {
    /// Begins now: everybody is asked at the next [`LookRound::whom_to_ask`].
    #[must_use]
    pub(super) const fn new(asker: Asker, nonce: u64, now: Instant) -> Self {
        Self {
            asker,
            nonce,
            asked_at: now,
            repeat_at: now,
        }
    }

    /// Whom to ask now (again); notes that they are.
    pub(super) fn whom_to_ask<'a, F: Fn(&Witness) -> bool>(
        &mut self,
        witnesses: &'a [Witness],
        has_answered: F,
        profile: &Profile,
        now: Instant,
    ) -> impl Iterator<Item = MemberId> + use<'a, F> {
        let due = self.repeat_at <= now;
        if due {
            self.repeat_at = now + profile.window / LOOK_REPEAT_DIVISOR;
        }
        let open = witnesses
            .iter()
            .filter(move |witness| due && !has_answered(witness));
        open.map(|witness| witness.observer)
    }

    /// Whether it ends without an answer.
    #[must_use]
    pub(super) fn is_over(&self, profile: &Profile, now: Instant) -> bool {
        now.since(self.asked_at) >= lasts(profile)
    }
}

fn lasts(profile: &Profile) -> Duration {
    profile.window * LOOK_WINDOWS
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Asker, LookRound};
    use crate::identity::MemberId;
    use crate::judge::evidence::Witness;
    use crate::profile::Profile;
    use crate::time::Instant;

    #[test]
    fn those_who_have_not_answered_are_asked_again() {
        let witnesses: Vec<_> = (1..4).map(|id| Witness::new(MemberId(id))).collect();
        let start = Instant(1_000_000_000);
        let mut look = LookRound::new(Asker::Remedy, 7, start);
        let mut asked = |after: u64| {
            let now = start + Duration::from_millis(after);
            look.whom_to_ask(&witnesses, |_| false, &Profile::LAN, now)
                .count()
        };
        assert_eq!(
            [asked(0), asked(1), asked(29), asked(30), asked(31)],
            [3, 0, 0, 3, 0]
        );
        assert!(!look.is_over(&Profile::LAN, start + Duration::from_millis(359)));
        assert!(look.is_over(&Profile::LAN, start + Duration::from_millis(360)));
    }
}
