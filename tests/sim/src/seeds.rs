//! Which seeds a test runs, and how a failing one is run again.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Only this seed.
pub const ONE: &str = "SIM_SEED";

/// This many times the usual number of seeds.
pub const MORE: &str = "SIM_MORE";

/// Runs `scenario` with the seeds 1 to `usual`, or as the environment says. `file` is the test's own
/// `env!("CARGO_CRATE_NAME")`.
///
/// A seed that fails is told with the one command that replays it.
pub fn each(file: &str, usual: u64, scenario: impl Fn(u64)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number(ONE) {
        Some(seed) => seed..=seed,
        None => 1..=usual * number(MORE).unwrap_or(1),
    };
    for seed in seeds {
        if let Err(cause) = catch_unwind(AssertUnwindSafe(|| scenario(seed))) {
            let thread = std::thread::current();
            let test = thread.name().unwrap_or_default();
            eprintln!("seed {seed} failed; again:\n  {}", replay(file, test, seed));
            resume_unwind(cause);
        }
    }
}

/// The command that runs one test with one seed.
#[must_use]
pub fn replay(file: &str, test: &str, seed: u64) -> String {
    format!("{ONE}={seed} cargo test -p detector-sim --test {file} {test} -- --exact --nocapture")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_replay_is_one_command() {
        assert_eq!(
            super::replay("crash", "one_of_nine", 7),
            "SIM_SEED=7 cargo test -p detector-sim --test crash one_of_nine -- --exact --nocapture"
        );
    }
}
