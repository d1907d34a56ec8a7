//! How long an echo may take: the retransmission timeout of RFC 6298, with this protocol's floor and cap.

use std::time::Duration;

use crate::profile::TIMEOUT_FLOOR;
use crate::time::nanos;

/// Smoothed round trip and its variation, in nanoseconds (RFC 6298 §2, α = 1/8, β = 1/4).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rtt {
    /// 0: no sample yet.
    smoothed: u64,
    variation: u64,
}

impl Rtt {
    /// One measured round trip. Echoes name their probe, so a late one is as good a sample as any.
    pub(super) fn sample(&mut self, round_trip: Duration) {
        let sample = nanos(round_trip).max(1);
        if self.smoothed == 0 {
            *self = Self {
                smoothed: sample,
                variation: sample / 2,
            };
            return;
        }
        self.variation = self.variation - self.variation / 4 + self.smoothed.abs_diff(sample) / 4;
        self.smoothed = (self.smoothed - self.smoothed / 8 + sample / 8).max(1);
    }

    /// When a probe counts as lost: srtt + 4·rttvar, between the floor and `cap`; `cap` before the first sample.
    pub(super) fn timeout(self, cap: Duration) -> Duration {
        if self.smoothed == 0 {
            return cap;
        }
        let timeout = self.smoothed.saturating_add(self.variation.saturating_mul(4));
        Duration::from_nanos(timeout).max(TIMEOUT_FLOOR).min(cap)
    }

    /// The smoothed round trip; None before the first sample.
    pub(super) fn smoothed(self) -> Option<Duration> {
        (self.smoothed != 0).then(|| Duration::from_nanos(self.smoothed))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Rtt;

    const CAP: Duration = Duration::from_millis(30);

    fn after(samples: &[u64]) -> Rtt {
        let mut rtt = Rtt::default();
        for micros in samples {
            rtt.sample(Duration::from_micros(*micros));
        }
        rtt
    }

    #[test]
    fn the_first_sample_and_the_next_are_those_of_rfc_6298() {
        // R = 8 ms: srtt 8, rttvar 4 → 24 ms.
        assert_eq!(after(&[8_000]).timeout(CAP), Duration::from_millis(24));
        // Then R = 4 ms: rttvar = 3/4·4 + 1/4·|8−4| = 4, srtt = 7/8·8 + 1/8·4 = 7.5 → 23.5 ms.
        assert_eq!(after(&[8_000, 4_000]).timeout(CAP), Duration::from_micros(23_500));
    }

    #[test]
    fn between_floor_and_cap() {
        assert_eq!(Rtt::default().timeout(CAP), CAP, "nothing measured: be patient");
        assert_eq!(after(&[100; 50]).timeout(CAP), Duration::from_millis(5));
        assert_eq!(after(&[90_000]).timeout(CAP), CAP);
    }
}
