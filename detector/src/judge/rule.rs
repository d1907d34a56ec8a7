//! The rule: when silence is `Dead`, when it is suspected. Pure arithmetic over what able observers lost after the last
//! sign of life.

use std::time::Duration;

use crate::profile::{EVIDENCE, LOSS_FLOOR, MIN_LOSSES, Profile, quorum};
use crate::time::{Instant, nanos};

/// What the silence must reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bar {
    /// H: so many observers with [`MIN_LOSSES`] each.
    pub(super) quorum: usize,
    /// From the first loss of all to the last.
    pub(super) span: Duration,
    /// Σ losses·ln(1/q̂).
    pub(super) weight: f64,
}

impl Bar {
    /// For `Dead`, among `observers` of the subject.
    #[must_use]
    pub(super) const fn dead(observers: usize, profile: &Profile) -> Self {
        Self {
            quorum: quorum(observers),
            span: profile.window,
            weight: EVIDENCE,
        }
    }

    /// For a suspicion: half the window, half the evidence, half the quorum. Where half the cluster is cut off, so are
    /// half of each subject's observers: with a whole quorum the storm guard would count a third of what is lost.
    #[must_use]
    pub(super) fn suspected(observers: usize, profile: &Profile) -> Self {
        Self {
            quorum: quorum(observers).div_ceil(2),
            span: profile.window / 2,
            weight: EVIDENCE / 2.0,
        }
    }

    /// For the storm guard: two observers, soon. Those of the others that are as silent as the subject cannot speak, so
    /// a quorum is not waited for; one alone, if it lies, must not hold every verdict; and all of a storm must be
    /// counted before the first of them could be condemned.
    #[must_use]
    pub(super) fn quiet(observers: usize, profile: &Profile) -> Self {
        Self {
            quorum: quorum(observers).min(2),
            span: profile.window / 4,
            weight: 0.0,
        }
    }
}

/// What one able observer lost after the last sign of life.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Silence {
    /// How many; more than 0.
    pub(super) losses: usize,
    /// Sending of the first, at the latest.
    pub(super) first: Instant,
    /// Sending of the last, at the earliest.
    pub(super) last: Instant,
    /// Of one loss, see [`loss_weight`].
    pub(super) weight: f64,
}

/// What all of them lost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sum {
    /// Observers with [`MIN_LOSSES`] each.
    pub(super) silent: usize,
    /// Losses of all.
    pub(super) losses: usize,
    /// The first loss of all and the last.
    pub(super) between: Option<(Instant, Instant)>,
    /// Σ losses·ln(1/q̂).
    pub(super) weight: f64,
}

impl Sum {
    /// One observer more.
    #[expect(clippy::cast_precision_loss, reason = "at most a few thousand losses")]
    pub(super) fn add(&mut self, silence: Silence) {
        self.silent += usize::from(silence.losses >= MIN_LOSSES);
        self.losses += silence.losses;
        self.weight += silence.losses as f64 * silence.weight;
        let (first, last) = self.between.unwrap_or((silence.first, silence.last));
        self.between = Some((first.min(silence.first), last.max(silence.last)));
    }

    /// From the first loss to the last.
    #[must_use]
    pub(super) fn span(&self) -> Duration {
        self.between
            .map_or(Duration::ZERO, |(first, last)| last.since(first))
    }

    /// The three conditions.
    #[must_use]
    pub(super) fn reaches(&self, bar: &Bar) -> bool {
        self.silent >= bar.quorum && self.span() >= bar.span && self.weight >= bar.weight
    }

    /// The span in µs, as evidence tells it.
    #[must_use]
    pub(super) fn span_us(&self) -> u64 {
        nanos(self.span()) / 1_000
    }
}

/// ln(1/q̂): what one loss weighs on a link that loses `estimate` of all probes. A link that loses everything, and an
/// estimate that is no number, weigh nothing.
#[must_use]
pub(super) fn loss_weight(estimate: f64) -> f64 {
    if estimate.is_nan() {
        return 0.0;
    }
    -estimate.clamp(LOSS_FLOOR, 1.0).ln()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Bar, Silence, Sum, loss_weight};
    use crate::profile::Profile;
    use crate::time::Instant;

    const MS: u64 = 1_000_000;
    const START: u64 = 1_000 * MS;

    fn silence(losses: usize, first: u64, last: u64) -> Silence {
        Silence {
            losses,
            first: Instant(START + first * MS),
            last: Instant(START + last * MS),
            weight: loss_weight(0.02),
        }
    }

    fn sum(silences: &[Silence]) -> Sum {
        let mut sum = Sum::default();
        silences.iter().for_each(|silence| sum.add(*silence));
        sum
    }

    const EIGHT: Bar = Bar::dead(8, &Profile::LAN);

    #[test]
    fn five_of_eight_over_w_are_dead() {
        let five = [
            silence(3, 0, 100),
            silence(3, 5, 110),
            silence(3, 9, 120),
            silence(3, 1, 90),
            silence(3, 2, 95),
        ];
        let all = sum(&five);
        assert_eq!((all.silent, all.losses, all.span_us()), (5, 15, 120_000));
        assert!(all.reaches(&EIGHT));
    }

    #[test]
    fn a_quorum_must_be_silent() {
        let four = [silence(30, 0, 300); 4];
        assert!(!sum(&four).reaches(&EIGHT));
        let two_losses_are_an_accident = [four.as_slice(), &[silence(2, 0, 300)]].concat();
        assert!(!sum(&two_losses_are_an_accident).reaches(&EIGHT));
        let three_are_not = [four.as_slice(), &[silence(3, 0, 300)]].concat();
        assert!(sum(&three_are_not).reaches(&EIGHT));
    }

    #[test]
    fn a_window_must_be_spanned() {
        let short = [silence(12, 0, 119); 8];
        assert!(!sum(&short).reaches(&EIGHT));
        let one_ends_later = [short.as_slice(), &[silence(3, 60, 120)]].concat();
        assert!(sum(&one_ends_later).reaches(&EIGHT));
    }

    #[test]
    fn losses_on_a_lossy_link_weigh_less() {
        let mut lossy = [silence(3, 0, 130); 5];
        lossy
            .iter_mut()
            .for_each(|silence| silence.weight = loss_weight(0.5));
        assert!(!sum(&lossy).reaches(&EIGHT), "15 losses of 0.69");
        lossy.iter_mut().for_each(|silence| silence.losses = 11);
        assert!(sum(&lossy).reaches(&EIGHT), "55 of them");
    }

    #[test]
    fn a_suspicion_needs_half() {
        let half = [silence(3, 0, 60); 3];
        assert!(sum(&half).reaches(&Bar::suspected(8, &Profile::LAN)));
        assert!(!sum(&half).reaches(&EIGHT));
        assert!(!sum(&[silence(9, 0, 60); 2]).reaches(&Bar::suspected(8, &Profile::LAN)));
        assert!(!sum(&[silence(3, 0, 59); 5]).reaches(&Bar::suspected(8, &Profile::LAN)));
        assert_eq!(Bar::suspected(3, &Profile::FAST).span, Duration::from_millis(30));
    }

    #[test]
    fn nothing_lost_reaches_no_bar() {
        assert!(!Sum::default().reaches(&EIGHT));
        assert!(!Sum::default().reaches(&Bar::dead(0, &Profile::LAN)));
    }

    #[test]
    fn estimates_out_of_range_weigh_no_more_than_the_floor() {
        assert!((loss_weight(0.02) - 3.912).abs() < 1e-3);
        assert_eq!(loss_weight(0.0).to_bits(), loss_weight(0.02).to_bits());
        assert_eq!(loss_weight(-5.0).to_bits(), loss_weight(0.02).to_bits());
        for all_lost in [1.0, 2.0, f64::INFINITY, f64::NAN] {
            assert_eq!(loss_weight(all_lost), 0.0);
        }
    }
}
