//! The only source of chance: a seed gives the same run bit for bit.
//!
//! xoshiro256++ (Blackman, Vigna: "Scrambled linear pseudorandom number generators", 2021), seeded by SplitMix64.
//! Written out here because a library's generator may change between versions, and with it every replay.

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Rng([u64; 4]);

/// One step of SplitMix64: a good hash of a word, too.
#[must_use]
pub fn mix(word: u64) -> u64 {
    let mut z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Rng {
    /// The stream of this seed and purpose: one more draw for one purpose shifts no other.
    #[must_use]
    pub fn new(seed: u64, purpose: u64) -> Self {
        let first = mix(seed ^ mix(purpose));
        Self([first, mix(first ^ 1), mix(first ^ 2), mix(first ^ 3)])
    }

    /// 64 random bits.
    pub fn word(&mut self) -> u64 {
        let Self(s) = self;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Uniform in `0..n`; `n` is not 0.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.word()) * u128::from(n)) >> 64) as u64
    }

    /// Uniform in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// True with this probability; draws nothing where the answer is certain.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && (probability >= 1.0 || self.unit() < probability)
    }

    /// Exponentially distributed with this mean.
    pub fn exponential(&mut self, mean: u64) -> u64 {
        (-(1.0 - self.unit()).ln() * mean as f64) as u64
    }

    /// `count` different numbers of `0..n`, in random order.
    pub fn choose(&mut self, count: usize, n: u32) -> Vec<u32> {
        let mut all: Vec<u32> = (0..n).collect();
        for index in 0..count.min(all.len()) {
            let other = index + self.below((all.len() - index) as u64) as usize;
            all.swap(index, other);
        }
        all.truncate(count);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn streams_repeat_and_differ_by_purpose() {
        let draw = |seed, purpose| {
            let mut rng = Rng::new(seed, purpose);
            std::array::from_fn::<u64, 8, _>(|_| rng.word())
        };
        assert_eq!(draw(7, 1), draw(7, 1));
        assert_ne!(draw(7, 1), draw(7, 2));
        assert_ne!(draw(7, 1), draw(8, 1));
    }

    #[test]
    fn means_are_right() {
        let mut rng = Rng::new(1, 1);
        let n = 200_000;
        let mean = (0..n).map(|_| rng.exponential(1_000)).sum::<u64>() as f64 / f64::from(n);
        assert!((mean - 1_000.0).abs() < 15.0, "mean {mean}");
        let hits = (0..n).filter(|_| rng.chance(0.3)).count() as f64 / f64::from(n);
        assert!((hits - 0.3).abs() < 0.005, "rate {hits}");
    }

    #[test]
    fn choices_are_distinct() {
        let mut rng = Rng::new(3, 1);
        let mut chosen = rng.choose(20, 50);
        chosen.sort_unstable();
        chosen.dedup();
        assert_eq!(chosen.len(), 20);
        assert!(chosen.iter().all(|index| *index < 50));
    }
}
