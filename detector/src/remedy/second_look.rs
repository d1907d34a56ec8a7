//! When the irreversible may begin: a silence that ends by itself must have had its time.

use std::time::Duration;

use crate::message::Farewell;
use crate::profile::{
    FRESH_LOOK, Profile, REBOOT_GRACE, SECOND_LOOK_FACTOR, SECOND_LOOK_MAX, UNHEARD_REPEAT, WRITE_TIMEOUT,
};
use crate::time::Instant;

/// A taint that comes so much later than the verdict: the API was away, and a node whose mesh alone is closed could not
/// say that it lives either.
const LATE: Duration = Duration::from_secs(1);

/// From the verdict to the second look: max(`delete_after`, 5 × the longest silence from which this boot came back),
/// at most 10 s.
#[must_use]
pub fn wait(profile: &Profile, longest_silence: Duration) -> Duration {
    let flapping = longest_silence.saturating_mul(SECOND_LOOK_FACTOR);
    profile.delete_after.max(flapping).min(SECOND_LOOK_MAX)
}

/// When the look is taken: counted from the verdict, or from the taint (None: not yet there) where that came later;
/// where it came much later, not before the node itself has had its next chance to say through the API that it lives;
/// after a goodbye that announced a reboot not before its grace is over.
#[must_use]
pub fn due(
    profile: &Profile,
    verdict: Instant,
    tainted: Option<Instant>,
    longest_silence: Duration,
    goodbye: Option<(Farewell, Instant)>,
) -> Instant {
    let tainted = tainted.unwrap_or(verdict).max(verdict);
    let mut wait = wait(profile, longest_silence);
    if tainted.since(verdict) > LATE {
        wait = wait.max(UNHEARD_REPEAT + WRITE_TIMEOUT);
    }
    let look = tainted + wait;
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
    fn a_late_taint_leaves_time_for_a_word_through_the_api() {
        let verdict = Instant(5_000_000_000);
        let due = |tainted| due(&Profile::LAN, verdict, tainted, MS(0), None);
        assert_eq!(due(None), verdict + MS(1_000));
        let before = verdict.before(MS(300));
        assert_eq!(due(Some(before)), verdict + MS(1_000), "of an earlier death");
        assert_eq!(due(Some(verdict + MS(20))), verdict + MS(1_020));
        assert_eq!(due(Some(verdict + MS(1_000))), verdict + MS(2_000));
        let late = verdict + MS(1_001);
        assert_eq!(due(Some(late)), late + UNHEARD_REPEAT + WRITE_TIMEOUT);
    }

    #[test]
    fn an_announced_reboot_has_two_minutes_from_the_goodbye() {
        let (goodbye, verdict) = (Instant(1_000_000_000), Instant(5_000_000_000));
        let due = |farewell| due(&Profile::LAN, verdict, None, MS(0), Some((farewell, goodbye)));
        assert_eq!(due(Farewell::Reboot), goodbye + MS(120_000));
        assert_eq!(due(Farewell::PowerOff), verdict + MS(1_000));
    }
}
