//! When the irreversible may begin: a silence that ends by itself must have had its time.

use std::time::Duration;

use crate::message::Farewell;
use crate::profile::{FRESH_LOOK, Profile, REBOOT_GRACE, SECOND_LOOK_FACTOR, SECOND_LOOK_MAX};
use crate::time::Instant;

/// From the verdict to the second look: max(`delete_after`, 5 × the longest silence from which this boot came back),
/// at most 10 s.
#[must_use]
pub fn wait(profile: &Profile, longest_silence: Duration) -> Duration {
    let flapping = longest_silence.saturating_mul(SECOND_LOOK_FACTOR);
    profile.delete_after.max(flapping).min(SECOND_LOOK_MAX)
}

/// When the look is taken; after a goodbye that announced a reboot not before its grace is over.
#[must_use]
pub fn due(
    profile: &Profile,
    verdict: Instant,
    longest_silence: Duration,
    goodbye: Option<(Farewell, Instant)>,
) -> Instant {
    let look = verdict + wait(profile, longest_silence);
    grace(goodbye).map_or(look, |grace| look.max(grace))
}

/// The end of the grace of an announced reboot.
#[must_use]
pub fn grace(goodbye: Option<(Farewell, Instant)>) -> Option<Instant> {
    match goodbye {
        Some((Farewell::Reboot, at)) => Some(at + REBOOT_GRACE),
        _ => None,
    }
}

/// Until when a look authorises a delete.
#[must_use]
pub fn fresh_until(look: Instant) -> Instant {
    look + FRESH_LOOK
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_node_that_came_back_before_gets_five_times_as_long() {
        for (profile, silence, wanted) in [
            (Profile::LAN, MS(0), MS(1_000)),
            (Profile::LAN, MS(200), MS(1_000)),
            (Profile::LAN, MS(600), MS(3_000)),
            (Profile::FAST, MS(0), MS(300)),
            (Profile::FAST, MS(100), MS(500)),
            (Profile::LAN, MS(60_000), MS(10_000)),
            (Profile::LAN, Duration::MAX, MS(10_000)),
        ] {
            assert_eq!(wait(&profile, silence), wanted, "{silence:?}");
        }
    }

    #[test]
    fn an_announced_reboot_has_two_minutes_from_the_goodbye() {
        let (goodbye, verdict) = (Instant(1_000_000_000), Instant(5_000_000_000));
        let due = |farewell| due(&Profile::LAN, verdict, MS(0), Some((farewell, goodbye)));
        assert_eq!(due(Farewell::Reboot), goodbye + MS(120_000));
        assert_eq!(due(Farewell::PowerOff), verdict + MS(1_000));
    }
}
