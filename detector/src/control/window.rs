//! The replay window: which of a peer's counters were seen (RFC 4303, section 3.4.3).

/// How far behind the highest counter one may still come: reordering beyond that is a replay or as old as one.
pub(super) const WIDTH: u64 = 64;

/// The counters that were seen in one life of a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    highest: u64,
    /// Bit i: `highest − i` was seen.
    seen: u64,
}

impl Window {
    /// Whether `counter` is new; it then counts as seen. 0 never is: counters begin at 1.
    pub(super) fn admit(&mut self, counter: u64) -> bool {
        if counter > self.highest {
            let shift = counter - self.highest;
            self.seen = if shift < WIDTH { self.seen << shift } else { 0 } | 1;
            self.highest = counter;
            return true;
        }
        let behind = self.highest - counter;
        let bit = if counter > 0 && behind < WIDTH {
            1 << behind
        } else {
            0
        };
        let new = bit != 0 && self.seen & bit == 0;
        self.seen |= bit;
        new
    }

    /// What is told to the peer.
    pub(super) fn ack(&self) -> Ack {
        Ack {
            highest: self.highest,
            seen: self.seen,
        }
    }
}

/// A window as the peer tells it: which of our counters it has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ack {
    pub(super) highest: u64,
    pub(super) seen: u64,
}

impl Ack {
    /// Whether the peer has certainly seen `counter`.
    pub(super) fn covers(self, counter: u64) -> bool {
        let behind = self.highest.checked_sub(counter).filter(|behind| *behind < WIDTH);
        behind.is_some_and(|behind| self.seen >> behind & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::{WIDTH, Window};

    #[test]
    fn each_counter_once() {
        let mut window = Window::default();
        for counter in [1, 2, 5, 4, 3, 70, 69, 7, 1_000, 937] {
            assert!(window.admit(counter), "{counter}");
            assert!(!window.admit(counter), "{counter} again");
        }
        assert!(!window.admit(0));
    }

    #[test]
    fn what_is_too_old_counts_as_seen() {
        let mut window = Window::default();
        assert!(window.admit(100));
        assert!(!window.admit(100 - WIDTH));
        assert!(window.admit(100 - WIDTH + 1));
        assert!(window.admit(u64::MAX));
        assert!(!window.admit(100 - WIDTH + 2));
    }

    #[test]
    fn acknowledges_exactly_what_was_seen() {
        let mut window = Window::default();
        for counter in [3, 5, 66] {
            window.admit(counter);
        }
        let ack = window.ack();
        let covered: Vec<u64> = (0..=70).filter(|counter| ack.covers(*counter)).collect();
        assert_eq!(covered, [3, 5, 66]);
        assert!(!Window::default().ack().covers(0));
    }
}
