//! The stages of a run, their outcome as a table, and the closing line `N passed, N failed`.

use std::time::{Duration, Instant};

use anyhow::Result;

/// Tests by their outcome.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl Count {
    /// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; …`; any other line is none.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let of = |word: &str| {
            numbers
                .split("; ")
                .find_map(|part| part.strip_suffix(word)?.strip_suffix(' ')?.parse().ok())
        };
        Some(Self {
            passed: of("passed")?,
            failed: of("failed")?,
            ignored: of("ignored")?,
        })
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

/// When everything must be over.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn in_minutes(minutes: u64) -> Self {
        Self::after(Duration::from_secs(60 * minutes))
    }

    pub(crate) fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// What is left, or `longest` where that is less.
    pub(crate) fn at_most(self, longest: Duration) -> Duration {
        self.0.saturating_duration_since(Instant::now()).min(longest)
    }
}

/// One row of the table.
pub(crate) struct Stage {
    name: &'static str,
    took: Duration,
    count: Count,
    /// Failures that are not tests: commands, builds, test programs that died.
    broken: u64,
    /// What the cache had.
    note: String,
}

impl Stage {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            took: Duration::ZERO,
            count: Count::default(),
            broken: 0,
            note: String::new(),
        }
    }

    /// A stage that another program measured.
    pub(crate) fn measured(name: &'static str, took: Duration, note: &str) -> Self {
        Self {
            took,
            note: note.to_owned(),
            ..Self::new(name)
        }
    }

    pub(crate) fn count(&mut self, count: Count) {
        self.count.add(count);
    }

    pub(crate) fn took(&mut self, time: Duration) {
        self.took = time;
    }

    /// Told at once; the table has the number only.
    pub(crate) fn failure(&mut self, why: &str) {
        eprintln!("error: {}: {why}", self.name);
        self.broken += 1;
    }

    fn failed(&self) -> u64 {
        self.count.failed + self.broken
    }

    fn outcome(&self) -> String {
        let Count { passed, ignored, .. } = self.count;
        let mut outcome = match (passed, self.failed()) {
            (0, 0) => "ok".to_owned(),
            (passed, 0) => format!("{passed} passed"),
            (0, _) => "FAILED".to_owned(),
            (passed, failed) => format!("{passed} passed, {failed} FAILED"),
        };
        if ignored > 0 {
            outcome.push_str(&format!(", {ignored} ignored"));
        }
        outcome
    }
}

/// All stages of a run.
#[derive(Default)]
pub(crate) struct Table(Vec<Stage>);

impl Table {
    pub(crate) fn add(&mut self, stage: Stage) {
        self.0.push(stage);
    }

    /// Runs a stage that gives a note, or fails; true where it did not.
    pub(crate) fn stage(&mut self, name: &'static str, work: impl FnOnce() -> Result<String>) -> bool {
        println!("== {name}");
        let mut stage = Stage::new(name);
        let started = Instant::now();
        match work() {
            Ok(note) => stage.note = note,
            Err(error) => stage.failure(&format!("{error:#}")),
        }
        stage.took(started.elapsed());
        let ok = stage.failed() == 0;
        self.add(stage);
        ok
    }

    /// Prints the table and the closing line. True where nothing failed.
    pub(crate) fn finish(&self) -> bool {
        print!("\n{}", self.render());
        self.0.iter().all(|stage| stage.failed() == 0)
    }

    fn render(&self) -> String {
        let mut text = format!(
            "{:<18} {:>8}  {:<24} {}\n",
            "stage", "seconds", "outcome", "cache"
        );
        let mut passed = 0;
        let mut failed = 0;
        for stage in &self.0 {
            passed += stage.count.passed;
            failed += stage.failed();
            let row = format!(
                "{:<18} {:>8.1}  {:<24} {}",
                stage.name,
                stage.took.as_secs_f64(),
                stage.outcome(),
                stage.note
            );
            text.push_str(row.trim_end());
            text.push('\n');
        }
        text.push_str(&format!("{passed} passed, {failed} failed\n"));
        text
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::time::Duration;

    use anyhow::bail;

    use super::{Count, Stage, Table};

    #[test]
    fn reads_the_line_of_a_test_program_and_no_other() {
        let line =
            "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(
            Count::parse(line),
            Some(Count {
                passed: 12,
                failed: 0,
                ignored: 3
            })
        );
        assert_eq!(Count::parse("test result: nothing to speak of"), None);
        assert_eq!(Count::parse("test stages::tests::reads ... ok"), None);
    }

    #[test]
    fn the_closing_line_counts_tests_and_broken_stages() {
        let mut table = Table::default();
        assert!(table.stage("format", || Ok(String::new())));
        assert!(!table.stage("clippy", || bail!("two\nlines")));
        let mut units = Stage::measured("unit tests", Duration::from_millis(1540), "");
        units.count(Count {
            passed: 7,
            failed: 1,
            ignored: 2,
        });
        table.add(units);

        assert!(!table.finish());
        let text = table.render();
        assert_eq!(text.lines().last().unwrap(), "7 passed, 2 failed");
        assert!(
            text.contains("unit tests              1.5  7 passed, 1 FAILED, 2 ignored\n"),
            "{text}"
        );
        assert!(text.contains("clippy                  0.0  FAILED\n"), "{text}");
    }
}
