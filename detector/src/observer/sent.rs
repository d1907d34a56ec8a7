//! The probes sent to one subject of which something may still be heard: as many as the kernel keeps arrivals of.

use std::time::Duration;

use detector_common::state::{ARRIVALS, Arrival, PeerState};

use crate::time::{Instant, nanos};

/// How far an arrival may lie ahead of the tick that reads it: the clock was read before the map. Far below the 78
/// hours after which an arrival's clock comes round.
const AHEAD: u64 = 1_000_000_000;

/// What became of a probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing can be said of it any more: not sent, of another boot or incarnation, or its arrival was overwritten.
    #[default]
    Void,
    /// Waiting for its echo or its timeout.
    Out,
    /// Its timeout passed. The echo may still come.
    Lost,
    /// Its echo came.
    Echoed,
}

/// One probe.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    /// When it was sent.
    pub(super) at: Instant,
    /// Low half of its sequence.
    pub(super) counter: u32,
    /// Nanoseconds until it counts as lost.
    timeout: u32,
    /// Sent in the observer's turn, not because of a loss, a hint or a look.
    pub(super) slot: bool,
    pub(super) fate: Fate,
}

/// What the kernel's arrival slot says about a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    /// Nothing came.
    No,
    /// Its echo came then.
    At(Instant),
    /// The echo of an older probe came after this one was sent and took its place: its own may have come before.
    Overwritten,
}

impl Sent {
    /// When it counts as lost.
    pub(super) fn deadline(&self) -> Instant {
        self.at + Duration::from_nanos(u64::from(self.timeout))
    }

    fn arrived(&self, word: Arrival, sequence: u64, now: Instant) -> Arrived {
        let at = Instant(word.time(now.0.saturating_add(AHEAD)));
        if word.0 == 0 || at < self.at {
            // Empty, or from before this probe: the 16 bits of a sequence come round.
            Arrived::No
        } else if word.is_of(sequence) {
            Arrived::At(at)
        } else {
            Arrived::Overwritten
        }
    }
}

/// The newest [`ARRIVALS`] probes; each lies where the kernel notes its arrival.
#[derive(Clone, Debug, Default)]
pub(super) struct Ring {
    probes: [Sent; ARRIVALS],
    /// Counter of the newest probe; 0: none was sent.
    newest: u32,
}

impl Ring {
    /// The counter of the next probe. Never 0, as 0 means "none" in a look and to the subject.
    pub(super) fn next_counter(&self) -> u32 {
        self.newest.wrapping_add(1).max(1)
    }

    /// Lets the counters go on above `counter`.
    pub(super) fn raise(&mut self, counter: u32) {
        self.newest = self.newest.max(counter);
    }

    /// Counter of the newest probe.
    pub(super) fn newest(&self) -> u32 {
        self.newest
    }

    /// Whether the next probe would take the place of one whose fate is open.
    pub(super) fn full(&self) -> bool {
        self.at(self.next_counter())
            .is_some_and(|probe| probe.fate == Fate::Out)
    }

    /// Notes a probe as sent, under [`Self::next_counter`].
    pub(super) fn push(&mut self, at: Instant, timeout: Duration, slot: bool) {
        let counter = self.next_counter();
        self.newest = counter;
        if let Some(place) = self.probes.get_mut(Arrival::slot(u64::from(counter))) {
            *place = Sent {
                at,
                counter,
                timeout: u32::try_from(nanos(timeout)).unwrap_or(u32::MAX),
                slot,
                fate: Fate::Out,
            };
        }
    }

    fn at(&self, counter: u32) -> Option<&Sent> {
        self.probes.get(Arrival::slot(u64::from(counter)))
    }

    /// The probe of this counter, if it is still kept.
    pub(super) fn get_mut(&mut self, counter: u32) -> Option<&mut Sent> {
        let place = self.probes.get_mut(Arrival::slot(u64::from(counter)));
        place.filter(|probe| probe.counter == counter)
    }

    /// Each probe whose echo may still matter, with what the kernel's slot says of it. `incarnation` is the high half
    /// of their sequences.
    pub(super) fn arrivals<'a>(
        &'a mut self,
        state: &'a PeerState,
        incarnation: u32,
        now: Instant,
    ) -> impl Iterator<Item = (&'a mut Sent, Arrived)> {
        let open = |(probe, _): &(&mut Sent, _)| matches!(probe.fate, Fate::Out | Fate::Lost);
        let slots = self.probes.iter_mut().zip(&state.arrivals).filter(open);
        slots.map(move |(probe, word)| {
            let sequence = super::sequence(incarnation, probe.counter);
            let arrived = probe.arrived(Arrival(word.get()), sequence, now);
            (probe, arrived)
        })
    }

    /// The earliest timeout that is still waited for.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let out = self.probes.iter().filter(|probe| probe.fate == Fate::Out);
        out.map(Sent::deadline).min()
    }

    /// Gives up on every probe: whatever comes of them says nothing now.
    pub(super) fn void(&mut self) {
        for probe in &mut self.probes {
            probe.fate = Fate::Void;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use detector_common::state::{ARRIVALS, Arrival, PeerState};

    use super::{Arrived, Ring};
    use crate::time::Instant;

    const TIMEOUT: Duration = Duration::from_millis(5);

    fn arrivals(ring: &mut Ring, state: &PeerState, now: u64) -> Vec<Arrived> {
        ring.arrivals(state, 1, Instant(now))
            .map(|(_, arrived)| arrived)
            .collect()
    }

    fn note(state: &PeerState, sequence: u64, at: u64) {
        let slot = state.arrivals.get(Arrival::slot(sequence));
        slot.into_iter()
            .for_each(|slot| slot.set(Arrival::pack(sequence, at).0));
    }

    #[test]
    fn an_arrival_after_the_clock_was_read_is_still_an_arrival() {
        let (mut ring, state) = (Ring::default(), PeerState::default());
        ring.push(Instant(1_000), TIMEOUT, true);
        note(&state, (1 << 32) | 1, 2_000);
        assert_eq!(arrivals(&mut ring, &state, 1_999), [Arrived::At(Instant(2_000))]);
    }

    #[test]
    fn an_arrival_of_65536_probes_ago_is_none() {
        let (mut ring, state) = (Ring::default(), PeerState::default());
        note(&state, (1 << 32) | 7, 500);
        ring.raise(65_536 + 6);
        ring.push(Instant(1_000), TIMEOUT, true);
        assert_eq!(ring.newest(), 65_536 + 7);
        assert_eq!(arrivals(&mut ring, &state, 2_000), [Arrived::No]);
    }

    #[test]
    fn an_older_echo_that_took_the_place_says_that_nothing_is_known() {
        let (mut ring, state) = (Ring::default(), PeerState::default());
        ring.raise(40);
        ring.push(Instant(1_000), TIMEOUT, true);
        note(&state, (1 << 32) | (41 - ARRIVALS as u64), 1_500);
        assert_eq!(arrivals(&mut ring, &state, 2_000), [Arrived::Overwritten]);
    }

    #[test]
    fn is_full_rather_than_forgetful() {
        let mut ring = Ring::default();
        for _ in 0..ARRIVALS {
            assert!(!ring.full());
            ring.push(Instant(1_000), TIMEOUT, true);
        }
        assert!(ring.full());
        assert_eq!(ring.next_deadline(), Some(Instant(1_000) + TIMEOUT));
        ring.void();
        assert!(!ring.full());
        assert_eq!(ring.next_deadline(), None);
    }
}
