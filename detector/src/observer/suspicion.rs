//! One suspicion: from the first loss or hint until the stewards have heard of its end.

use crate::identity::IncidentId;
use crate::profile::{DENSE_AGAIN, DENSE_REST, DENSE_TIME, REPORT_TAIL};
use crate::time::Instant;

/// What an observer remembers of it.
#[derive(Clone, Debug)]
pub(super) struct Suspicion {
    /// Its label.
    pub(super) incident: IncidentId,
    /// Reports go on until then, also without losses.
    pub(super) until: Instant,
    /// The last report; 0: none yet.
    pub(super) reported: Instant,
    /// The last hint told to others; 0: none yet.
    pub(super) told: Instant,
    /// Whether one was told since the newest echo.
    pub(super) told_now: bool,
    /// The last hint that was heard and obeyed; 0: none.
    pub(super) hinted: Instant,
    /// That hint waits for an echo to a probe sent after it.
    pub(super) asked: Option<Instant>,
    /// Dense probing ends then, at the latest.
    dense_until: Instant,
    /// After it, only the slots are used until then.
    rest_until: Option<Instant>,
    /// There was a rest since the newest echo: this silence is old.
    pub(super) rested: bool,
}

impl Suspicion {
    /// Open at least until all stewards had their reports.
    pub(super) fn new(incident: IncidentId, now: Instant) -> Self {
        Self {
            incident,
            until: now + REPORT_TAIL,
            reported: Instant(0),
            told: Instant(0),
            told_now: false,
            hinted: Instant(0),
            asked: None,
            dense_until: now + DENSE_TIME,
            rest_until: None,
            rested: false,
        }
    }

    /// The first loss since an echo, or since a rest.
    pub(super) fn begin_run(&mut self, now: Instant) {
        self.dense_until = now + if self.rested { DENSE_AGAIN } else { DENSE_TIME };
    }

    /// Whether it is the time of a rest.
    pub(super) fn resting(&self) -> bool {
        self.rest_until.is_some()
    }

    /// Starts or ends a rest when it is time to; whether one started: the losses before it are given up then.
    pub(super) fn rest(&mut self, now: Instant) -> bool {
        match self.rest_until {
            Some(until) if until <= now => self.wake(now),
            None if self.dense_until <= now => {
                self.rest_until = Some(now + DENSE_REST);
                self.rested = true;
                self.told_now = false;
                return true;
            }
            _ => {}
        }
        false
    }

    /// Ends a rest: a steward asks.
    pub(super) fn wake(&mut self, now: Instant) {
        if self.rest_until.take().is_some() {
            self.begin_run(now);
        }
    }

    /// Another observer begins a run: its hint ends a rest that is half over, so that all run together, but not one
    /// that has just begun, or they would keep each other awake. Whether this one is awake.
    pub(super) fn join(&mut self, now: Instant) -> bool {
        if self
            .rest_until
            .is_some_and(|until| until.since(now) <= DENSE_REST / 2)
        {
            self.wake(now);
        }
        !self.resting()
    }

    /// When [`Self::rest`] has something to do, as long as there are losses.
    pub(super) fn turn(&self) -> Instant {
        self.rest_until.unwrap_or(self.dense_until)
    }

    /// An echo cleared all losses: tell it, and begin anew with the next.
    pub(super) fn recovered(&mut self, now: Instant) {
        self.until = self.until.max(now + REPORT_TAIL);
        self.told_now = false;
        self.rest_until = None;
        self.rested = false;
    }
}

#[cfg(test)]
mod tests {
    use super::Suspicion;
    use crate::identity::IncidentId;
    use crate::profile::{DENSE_AGAIN, DENSE_REST, DENSE_TIME};
    use crate::time::Instant;

    #[test]
    fn a_long_silence_rests_and_runs_again() {
        let start = Instant(1_000);
        let mut suspicion = Suspicion::new(IncidentId(1), start);
        suspicion.begin_run(start);
        assert!(!suspicion.rest(Instant(start.0 + 1)));
        let rest = start + DENSE_TIME;
        assert!(suspicion.rest(rest) && suspicion.resting());
        assert!(!suspicion.rest(rest), "it rests already");
        let again = rest + DENSE_REST;
        assert!(!suspicion.rest(again) && !suspicion.resting());
        assert!(suspicion.rest(again + DENSE_AGAIN), "a shorter run");
    }

    #[test]
    fn an_echo_makes_the_next_silence_a_new_one() {
        let mut suspicion = Suspicion::new(IncidentId(1), Instant(0));
        assert!(suspicion.rest(Instant(0) + DENSE_TIME));
        suspicion.recovered(Instant(0) + DENSE_TIME);
        suspicion.begin_run(Instant(0) + DENSE_TIME);
        assert!(!suspicion.rested && !suspicion.resting());
        assert_eq!(suspicion.turn(), Instant(0) + DENSE_TIME + DENSE_TIME);
    }
}
