//! Kernel × check: for people, and as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::results::Outcome;

/// One kernel's checks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Column {
    /// `uname -r`.
    pub kernel: String,
    /// By name.
    pub checks: BTreeMap<String, Outcome>,
    /// Where its console is kept.
    #[serde(skip)]
    pub console: PathBuf,
}

/// A column for each kernel.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Table {
    /// In the order of their versions.
    pub columns: Vec<Column>,
}

impl Table {
    fn rows(&self) -> BTreeSet<&str> {
        self.columns
            .iter()
            .flat_map(|column| column.checks.keys().map(String::as_str))
            .collect()
    }

    /// What failed and what was skipped, a line each.
    #[must_use]
    pub fn reasons(&self) -> String {
        let mut text = String::new();
        for column in &self.columns {
            for (check, outcome) in &column.checks {
                let (word, why) = match outcome {
                    Outcome::Passed => continue,
                    Outcome::Failed(why) => ("FAILED", why),
                    Outcome::Skipped(why) => ("skipped", why),
                };
                let _ = writeln!(text, "{word}: {}, {check}: {why}", column.kernel);
            }
        }
        text
    }
}

/// As Markdown, which reads well as it is.
impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        let width = rows.iter().map(|row| row.len()).max().unwrap_or(0);
        write!(formatter, "| {:width$} |", "")?;
        for column in &self.columns {
            write!(formatter, " {} |", column.kernel)?;
        }
        write!(formatter, "\n|{:-<1$}|", "", width + 2)?;
        for column in &self.columns {
            write!(formatter, "{:-<1$}|", "", column.kernel.len() + 2)?;
        }
        writeln!(formatter)?;
        for row in rows {
            write!(formatter, "| {row:width$} |")?;
            for column in &self.columns {
                let word = match column.checks.get(row) {
                    Some(Outcome::Passed) => "yes",
                    Some(Outcome::Failed(_)) => "FAILED",
                    Some(Outcome::Skipped(_)) => "skipped",
                    None => "not run",
                };
                write!(formatter, " {word:width$} |", width = column.kernel.len())?;
            }
            writeln!(formatter)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_is_a_row_and_every_kernel_a_column() {
        let column = |kernel: &str, checks: &[(&str, Outcome)]| Column {
            kernel: kernel.to_owned(),
            checks: checks
                .iter()
                .map(|(name, outcome)| ((*name).to_owned(), outcome.clone()))
                .collect(),
            console: PathBuf::new(),
        };
        let table = Table {
            columns: vec![
                column(
                    "5.10",
                    &[
                        ("boot", Outcome::Passed),
                        ("tcx", Outcome::Skipped("old".to_owned())),
                    ],
                ),
                column("7.3", &[("tcx", Outcome::Failed("EINVAL".to_owned()))]),
            ],
        };
        assert_eq!(
            table.to_string(),
            "\
|      | 5.10 | 7.3 |
|------|------|-----|
| boot | yes  | not run |
| tcx  | skipped | FAILED |
"
        );
        assert_eq!(
            table.reasons(),
            "skipped: 5.10, tcx: old\nFAILED: 7.3, tcx: EINVAL\n"
        );
        assert_eq!(table.counts(), (1, 1, 1));
    }
}
