//! IO: the one place that reads clocks, the boot id and randomness.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::identity::BootId;
use crate::time::{Instant, Wall};

/// CLOCK_MONOTONIC: what `bpf_ktime_get_ns` gives the kernel programs.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the IO file for clocks")]
pub fn now() -> Instant {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Instant(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// Both clocks. The wall clock is for people only.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the IO file for clocks")]
pub fn wall() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall {
        at: now(),
        ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Sleeps until `at`, at most a minute: a machine's `poll_timeout` may be [`Instant::NEVER`].
#[expect(clippy::disallowed_methods, reason = "the IO file for clocks")]
pub async fn sleep_until(at: Instant) {
    const MOST: Duration = Duration::from_secs(60);
    tokio::time::sleep(at.since(now()).min(MOST)).await;
}

/// This boot, as the kernel names it.
///
/// # Errors
/// `/proc` is not there.
pub fn boot_id() -> std::io::Result<BootId> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| BootId::of(&text))
}

/// A random word that is not zero.
///
/// # Errors
/// The kernel gives no randomness: a machine that young must wait.
#[expect(clippy::disallowed_methods, reason = "the IO file for randomness")]
pub fn random() -> std::io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(u64::from_ne_bytes(bytes).max(1))
}

/// 32 random bytes: a new key.
///
/// # Errors
/// As [`random`].
#[expect(clippy::disallowed_methods, reason = "the IO file for randomness")]
pub fn random_key() -> std::io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(bytes)
}
