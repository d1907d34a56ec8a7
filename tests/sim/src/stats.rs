//! Order statistics of samples.

/// Samples of one series, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Series(Vec<u64>);

impl Series {
    /// Adds one.
    pub fn push(&mut self, sample: u64) {
        self.0.push(sample);
    }

    /// Adds all of another series.
    pub fn extend(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The nearest-rank percentile in milliseconds, `share` in 0 to 1; NaN without samples.
    #[must_use]
    pub fn percentile_ms(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted
            .get(rank.saturating_sub(1))
            .map_or(f64::NAN, |sample| *sample as f64 / 1e6)
    }

    /// One line: n, p50, p99, max.
    #[must_use]
    pub fn line(&self) -> String {
        format!(
            "n {} p50 {:.1} p99 {:.1} max {:.1} ms",
            self.len(),
            self.percentile_ms(0.5),
            self.percentile_ms(0.99),
            self.percentile_ms(1.0)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Series;

    #[test]
    fn nearest_rank() {
        let mut series = Series::default();
        assert!(series.percentile_ms(0.5).is_nan());
        for sample in (1..=100).rev() {
            series.push(sample * 1_000_000);
        }
        assert!((series.percentile_ms(0.5) - 50.0).abs() < 1e-9);
        assert!((series.percentile_ms(0.99) - 99.0).abs() < 1e-9);
        assert!((series.percentile_ms(1.0) - 100.0).abs() < 1e-9);
    }
}
