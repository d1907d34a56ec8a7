//! A host's monotonic clock: its own origin, its own pace, and a hypervisor that can stop it.

use detector::time::Instant;

/// Maps the world's time (nanoseconds since the run began) to a host's CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug)]
pub struct HostClock {
    world: u64,
    local: u64,
    /// Gain against the world's time in units of 2⁻³².
    drift: i64,
    stopped: bool,
}

impl HostClock {
    /// A clock that shows `origin` nanoseconds at the world's time `now` and gains `ppm` millionths.
    #[must_use]
    pub fn new(now: u64, origin: u64, ppm: i64) -> Self {
        Self {
            world: now,
            local: origin,
            drift: ppm * (1 << 32) / 1_000_000,
            stopped: false,
        }
    }

    /// What the clock shows at the world's time `now`.
    #[must_use]
    pub fn at(&self, now: u64) -> Instant {
        if self.stopped {
            return Instant(self.local);
        }
        let passed = now.saturating_sub(self.world) as i128;
        let gained = (passed * i128::from(self.drift)) >> 32;
        Instant(self.local.saturating_add((passed + gained) as u64))
    }

    /// The first moment of the world's time at which a running clock shows `local` or later.
    #[must_use]
    pub fn when(&self, local: Instant) -> u64 {
        if local == Instant::NEVER {
            return u64::MAX;
        }
        let mut world = self.world;
        loop {
            let shown = self.at(world);
            if shown >= local {
                return world;
            }
            // The pace differs from the world's by 100 ppm at most: two or three rounds.
            let missing = local.0 - shown.0;
            world = world.saturating_add((missing - missing / 1_000).saturating_sub(1).max(1));
        }
    }

    /// The hypervisor holds the machine: the clock stands still.
    pub fn stop(&mut self, now: u64) {
        if !self.stopped {
            self.local = self.at(now).0;
            self.world = now;
            self.stopped = true;
        }
    }

    /// It goes on from where it stood.
    pub fn go_on(&mut self, now: u64) {
        self.world = now;
        self.stopped = false;
    }
}

#[cfg(test)]
mod tests {
    use super::HostClock;
    use detector::time::Instant;

    #[test]
    fn a_timer_fires_when_its_clock_shows_its_time_and_not_before() {
        for ppm in [-100, -7, 0, 50, 100] {
            let clock = HostClock::new(1_000, 5_000_000_000, ppm);
            for ahead in [0, 1, 999, 20_000_000, 3_600_000_000_000] {
                let target = Instant(5_000_000_000 + ahead);
                let world = clock.when(target);
                assert!(clock.at(world) >= target);
                assert!(world == 1_000 || clock.at(world - 1) < target, "{ppm} {ahead}");
            }
        }
    }

    #[test]
    fn a_stopped_clock_misses_the_pause() {
        let mut clock = HostClock::new(0, 100, 0);
        clock.stop(50);
        assert_eq!(clock.at(1_000_050), Instant(150));
        clock.go_on(1_000_050);
        assert_eq!(clock.at(1_000_060), Instant(160));
    }
}
