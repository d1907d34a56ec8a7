//! How lossy the way to a subject is while it lives: q̂, what one loss weighs in the evidence.

use std::time::Duration;

use crate::profile::{LOSS_FLOOR, LOSS_MEMORY, LOSS_UNKNOWN};

/// Mean loss of the slot probes over [`LOSS_MEMORY`].
///
/// Only slot probes are counted: they are sent at times that no loss has chosen, while dense probes follow losses
/// and would make the link look worse than it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct LossEstimate {
    mean: f64,
    /// Samples in the mean, up to `memory`.
    weight: f64,
    /// Slot probes in [`LOSS_MEMORY`].
    memory: f64,
    frozen: Option<f64>,
}

impl LossEstimate {
    /// For slot probes that are sent once in `period`. Begins at [`LOSS_UNKNOWN`], worth one sample.
    pub(super) fn new(period: Duration) -> Self {
        Self {
            mean: LOSS_UNKNOWN,
            weight: 1.0,
            memory: (LOSS_MEMORY.as_secs_f64() / period.as_secs_f64()).max(1.0),
            frozen: None,
        }
    }

    /// The fate of one slot probe.
    pub(super) fn record(&mut self, lost: bool) {
        self.weight = (self.weight + 1.0).min(self.memory);
        let sample = if lost { 1.0 } else { 0.0 };
        self.mean += (sample - self.mean) / self.weight;
    }

    /// At the first loss since an echo, before that loss is recorded: the silence under judgement must not make
    /// itself look likely.
    pub(super) fn freeze(&mut self) {
        self.frozen.get_or_insert(self.mean);
    }

    /// At an echo: the losses before it were the link's, and count in the mean from now on.
    pub(super) fn thaw(&mut self) {
        self.frozen = None;
    }

    /// q̂, at least [`LOSS_FLOOR`], at most 1.
    pub(super) fn estimate(&self) -> f64 {
        self.frozen.unwrap_or(self.mean).clamp(LOSS_FLOOR, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::LossEstimate;
    use crate::profile::{LOSS_FLOOR, LOSS_UNKNOWN, SLOT};

    fn after(outcomes: impl Iterator<Item = bool>) -> LossEstimate {
        let mut loss = LossEstimate::new(SLOT * 8);
        outcomes.for_each(|lost| loss.record(lost));
        loss
    }

    #[test]
    fn knows_nothing_at_first_and_stops_at_the_floor() {
        assert!((after(std::iter::empty()).estimate() - LOSS_UNKNOWN).abs() < 1e-9);
        assert!((after((0..200).map(|_| false)).estimate() - LOSS_FLOOR).abs() < 1e-9);
    }

    #[test]
    fn is_the_mean_of_about_two_seconds() {
        // Two seconds hold 12.5 slot probes: after 25 losses an old link of 0 % has become e^−2 from 100 %.
        let mut loss = after((0..200).map(|_| false));
        (0..25).for_each(|_| loss.record(true));
        assert!((0.84..0.89).contains(&loss.estimate()), "{}", loss.estimate());
        let half = after((0..200).map(|n| n % 2 == 0));
        assert!((0.45..0.55).contains(&half.estimate()), "{}", half.estimate());
    }

    #[test]
    fn a_silence_does_not_explain_itself_but_is_remembered_after_it() {
        let mut loss = after((0..200).map(|_| false));
        loss.freeze();
        (0..12).for_each(|_| loss.record(true));
        assert!((loss.estimate() - LOSS_FLOOR).abs() < 1e-9);
        loss.thaw();
        assert!(loss.estimate() > 0.5);
    }
}
