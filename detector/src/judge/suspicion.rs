//! A silence before it is long enough to condemn: when it begins, and when it is over.

use crate::profile::REPORT_TAIL;
use crate::time::Instant;

/// A silence of half the window, until it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suspicion {
    /// L, when it began.
    pub(super) sign: Instant,
    /// When the rule's half last held: for want of reports alone it ends later than they expire, so that the storm
    /// guard is not blind after a late tick.
    pub(super) held_at: Instant,
}

impl Suspicion {
    /// What becomes of `before`, now that the bar is reached (`holds`) or not. A condemned subject's stays until it is
    /// heard.
    pub(super) fn follow(
        before: Option<Self>,
        holds: bool,
        sign: Instant,
        is_condemned: bool,
        now: Instant,
    ) -> Option<Self> {
        match before {
            Some(old) if holds => Some(Self { held_at: now, ..old }),
            None if holds => Some(Self { sign, held_at: now }),
            // Heard, or for want of reports: not at once, or the storm guard would be blind after a late tick.
            Some(old) if !is_condemned && sign > old.sign => None,
            Some(old) if !is_condemned && now.since(old.held_at) >= REPORT_TAIL => None,
            other => other,
        }
    }
}
