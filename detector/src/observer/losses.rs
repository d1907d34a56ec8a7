//! The losses since the newest echo: the evidence of one observer.

use crate::message::MAX_LOSSES;
use crate::time::Instant;

/// One lost probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    /// When it was sent.
    pub(super) sent: Instant,
    /// When it counted as lost.
    pub(super) deadline: Instant,
    /// Low half of its sequence.
    pub(super) counter: u32,
    /// Whether another host was heard after the deadline: only then it is told.
    pub(super) counted: bool,
}

/// By time of sending, at most [`MAX_LOSSES`]. Beyond that the middle is thinned: first and last stay, so the span is
/// true, and the number is understated.
#[derive(Clone, Debug)]
pub(super) struct Losses {
    list: Vec<Loss>,
    /// How many of them are counted.
    counted: usize,
}

impl Losses {
    pub(super) fn new() -> Self {
        Self {
            list: Vec::with_capacity(MAX_LOSSES),
            counted: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// How many count.
    pub(super) fn counted(&self) -> usize {
        self.counted
    }

    /// The deadlines that wait for a proof of the receive path: the newest of them; None: none waits.
    pub(super) fn waiting(&self) -> Option<Instant> {
        if self.counted == self.list.len() {
            return None;
        }
        let waiting = self.list.iter().filter(|loss| !loss.counted);
        waiting.map(|loss| loss.deadline).max()
    }

    /// Sendings of the losses that count, oldest first.
    pub(super) fn sendings(&self) -> impl Iterator<Item = Instant> {
        self.list.iter().filter(|loss| loss.counted).map(|loss| loss.sent)
    }

    /// Adds one.
    pub(super) fn push(&mut self, loss: Loss) {
        if self.list.len() >= MAX_LOSSES {
            self.remove_at(MAX_LOSSES / 2);
        }
        let place = self.list.partition_point(|other| other.sent <= loss.sent);
        self.list.insert(place, loss);
        self.counted += usize::from(loss.counted);
    }

    /// Counts those whose deadline lies before `proven`, a reception from another host; whether there were any.
    pub(super) fn count(&mut self, proven: Instant) -> bool {
        let before = self.counted;
        for loss in &mut self.list {
            if !loss.counted && loss.deadline < proven {
                loss.counted = true;
                self.counted += 1;
            }
        }
        self.counted > before
    }

    /// An echo came to the probe sent at `echoed`: nothing before it is a loss any more. Whether there was anything.
    pub(super) fn keep_after(&mut self, echoed: Instant) -> bool {
        let before = self.list.len();
        self.list.retain(|loss| loss.sent > echoed);
        self.recount();
        self.list.len() < before
    }

    /// Takes back the loss of this probe.
    pub(super) fn remove(&mut self, counter: u32) {
        self.list.retain(|loss| loss.counter != counter);
        self.recount();
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.counted = 0;
    }

    fn remove_at(&mut self, index: usize) {
        self.list.remove(index);
        self.recount();
    }

    fn recount(&mut self) {
        self.counted = self.list.iter().filter(|loss| loss.counted).count();
    }
}

#[cfg(test)]
mod tests {
    use super::{Loss, Losses};
    use crate::message::MAX_LOSSES;
    use crate::time::Instant;

    fn losses(sendings: std::ops::Range<u64>) -> Losses {
        let mut losses = Losses::new();
        for at in sendings {
            losses.push(Loss {
                sent: Instant(at * 10),
                deadline: Instant(at * 10 + 5),
                counter: 1,
                counted: false,
            });
        }
        losses
    }

    #[test]
    fn thinned_in_the_middle_the_span_stays_true_and_the_number_is_understated() {
        let mut losses = losses(1..1_001);
        losses.count(Instant(u64::MAX));
        let sendings: Vec<Instant> = losses.sendings().collect();
        assert_eq!(sendings.len(), MAX_LOSSES);
        assert_eq!(losses.counted(), MAX_LOSSES);
        assert_eq!(
            (sendings.first(), sendings.last()),
            (Some(&Instant(10)), Some(&Instant(10_000)))
        );
        assert!(sendings.is_sorted());
        let newest = sendings
            .iter()
            .rev()
            .zip((1..=1_000).rev())
            .take(MAX_LOSSES / 2 - 1);
        assert!(newest.into_iter().all(|(sent, at)| *sent == Instant(at * 10)));
    }

    #[test]
    fn a_loss_waits_for_a_reception_after_its_deadline() {
        let mut losses = losses(1..4);
        assert_eq!(losses.waiting(), Some(Instant(35)));
        assert!(!losses.count(Instant(15)), "at the deadline is not after it");
        assert!(losses.count(Instant(26)));
        assert_eq!(losses.counted(), 2);
        assert!(!losses.count(Instant(26)));
        assert!(losses.count(Instant(36)));
        assert_eq!(losses.waiting(), None);
    }

    #[test]
    fn an_echo_ends_what_was_sent_before_it() {
        let mut losses = losses(1..5);
        losses.count(Instant(26));
        assert!(losses.keep_after(Instant(20)));
        assert_eq!((losses.len(), losses.counted()), (2, 0));
        assert!(!losses.keep_after(Instant(20)));
    }
}
