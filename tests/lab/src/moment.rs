//! One moment on the clocks that different programs stamp with.

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Read one after the other, within a microsecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// `CLOCK_MONOTONIC`, ns.
    pub monotonic_ns: u64,
    /// `CLOCK_BOOTTIME`, ns.
    pub boottime_ns: u64,
    /// `CLOCK_REALTIME`, ns since 1970.
    pub unix_ns: u64,
}

impl Moment {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Self {
            monotonic_ns: read(ClockId::Monotonic),
            boottime_ns: read(ClockId::Boottime),
            unix_ns: read(ClockId::Realtime),
        }
    }

    /// Milliseconds from `earlier` to this one, by `CLOCK_MONOTONIC`.
    #[must_use]
    pub fn ms_since(self, earlier: Self) -> f64 {
        let ns = i128::from(self.monotonic_ns) - i128::from(earlier.monotonic_ns);
        ns as f64 / 1e6
    }
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    u64::try_from(time.tv_sec).unwrap_or_default() * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or_default()
}
