//! The monotonic clock's time, as the kernel programs stamp it (`bpf_ktime_get_ns`, CLOCK_MONOTONIC).
//!
//! Times of two hosts are never compared: what crosses the wire is an age, or goes through an offset that was
//! measured.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Nanoseconds of this host's monotonic clock. 0 stands for "never" in the maps, and no machine is that young.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// An instant after every other: a timer that is not armed.
    pub const NEVER: Self = Self(u64::MAX);

    /// Time since `earlier`; zero if that is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This long before; not below zero.
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(by)))
    }
}

/// A duration in whole nanoseconds, saturating after 584 years.
#[must_use]
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// One reading of both clocks: what tells people when an [`Instant`] was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wall {
    /// Monotonic.
    pub at: Instant,
    /// Wall clock, in ms since the epoch.
    pub ms: u64,
}

impl Wall {
    /// What the wall clock showed, or will show, at `at`, in ms since the epoch.
    #[must_use]
    pub fn ms_of(self, at: Instant) -> u64 {
        let behind = u64::try_from(self.at.since(at).as_millis()).unwrap_or(u64::MAX);
        let ahead = u64::try_from(at.since(self.at).as_millis()).unwrap_or(u64::MAX);
        self.ms.saturating_sub(behind).saturating_add(ahead)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(nanos(by)))
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}
