//! Whether anybody still asks this host: one whose mesh is closed, but whose API is open, can say that it lives.

use std::time::Duration;

use crate::identity::MemberId;
use crate::observer::Arrivals;
use crate::profile::{Profile, SLOT, UNHEARD_DIVISOR, UNHEARD_MIN, UNHEARD_REPEAT, quorum};
use crate::time::{Instant, nanos};

/// Watches the watchers.
#[derive(Clone, Debug)]
pub(super) struct Unheard {
    watchers: Vec<MemberId>,
    /// At least this.
    shortest: Duration,
    patience: Duration,
    /// When this was told last, since somebody asked.
    told: Option<Instant>,
    /// When to look again.
    pub(super) due: Instant,
}

impl Unheard {
    pub(super) fn new(profile: &Profile) -> Self {
        let shortest = (profile.window / UNHEARD_DIVISOR).max(UNHEARD_MIN);
        Self {
            watchers: Vec::new(),
            shortest,
            patience: shortest,
            told: None,
            due: Instant::NEVER,
        }
    }

    pub(super) fn set_watchers(&mut self, watchers: Vec<MemberId>, now: Instant) {
        // As many as leave a quorum may be gone, and their turns follow each other: that is no closed mesh.
        let gone = watchers.len() - quorum(watchers.len()).min(watchers.len());
        let turns = SLOT * u32::try_from(gone + 1).unwrap_or(u32::MAX) + SLOT / 2;
        self.patience = self.shortest.max(turns);
        self.watchers = watchers;
        self.due = if self.watchers.is_empty() {
            Instant::NEVER
        } else {
            now
        };
    }

    /// Whether it is to be told now: no probe of any of H or more watchers that once came has come for too long.
    pub(super) fn check(&mut self, now: Instant, arrivals: &impl Arrivals) -> bool {
        if now < self.due {
            return false;
        }
        let mut newest = Instant(0);
        let mut heard = 0;
        for watcher in &mut self.watchers {
            let at = arrivals.state(*watcher).map_or(0, |state| state.heard_at.get());
            heard += usize::from(at != 0);
            newest = newest.max(Instant(at));
            if newest + self.patience > now {
                // One is enough, and on a quiet day the first that is looked at is.
                self.told = None;
                self.due = newest + self.patience;
                return false;
            }
        }
        self.due = now + self.patience;
        let told_lately = self.told.is_some_and(|at| now.since(at) < UNHEARD_REPEAT);
        if heard < quorum(self.watchers.len()) || told_lately {
            return false;
        }
        self.told = Some(now);
        true
    }

    /// Since the newest probe of any watcher, in ms, for the status; None: none came.
    pub(super) fn heard_ms(&self, now: Instant, arrivals: &impl Arrivals) -> Option<f64> {
        let of = |watcher: &MemberId| arrivals.state(*watcher).map_or(0, |state| state.heard_at.get());
        let newest = self.watchers.iter().map(of).max().filter(|at| *at != 0)?;
        #[expect(clippy::cast_precision_loss, reason = "for the eye")]
        Some(nanos(now - Instant(newest)) as f64 / 1e6)
    }
}
