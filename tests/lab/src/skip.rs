//! What a test does not check where the kernel lacks what it needs: it says so, in a line that whoever runs it reads.

use std::fs::OpenOptions;
use std::io::Write as _;

use anyhow::{Context, Result};

/// The file that gets a line `CHECK<tab>FEATURE<tab>REASON`; where it is not set, standard error has to do.
const FILE: &str = "DETECTOR_SKIPPED";

/// Notes that a test was skipped for want of a feature; the test by its name, `module::function`. (Threads do not know it:
/// where tests run one at a time, all run in the first.)
///
/// # Errors
/// When the file that is named cannot be written.
pub fn skipped(check: &str, feature: &str, reason: &str) -> Result<()> {
    let reason = reason.replace(['\n', '\t'], " ");
    let line = format!("{check}\t{feature}\t{reason}\n");
    match std::env::var_os(FILE) {
        Some(path) => OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)?
            .write_all(line.as_bytes())
            .with_context(|| format!("noting a skipped test in {}", path.display())),
        None => Ok(write!(std::io::stderr(), "skipped: {line}")?),
    }
}
