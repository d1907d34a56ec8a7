//! What a guest is told to do, and what it tells: JSON, read and written by both sides.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where init finds its plan.
pub const PLAN: &str = "/plan.json";
/// Where the modules are, in files named by their place in the order.
pub const MODULES: &str = "/modules";
/// The second serial port: nothing but [`Said`], a line each.
pub const RESULTS: &str = "/dev/ttyS1";
/// Tests append a line `CHECK<tab>FEATURE<tab>REASON` here for what this kernel cannot do.
pub const SKIPPED: &str = "/tmp/skipped";

/// All that a guest does between its boot and its end.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Plan {
    /// Files below [`MODULES`], in the order in which they are loaded.
    pub modules: Vec<String>,
    /// One after the other, also after one failed.
    pub steps: Vec<Step>,
}

/// One program.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    /// What the table calls it.
    pub name: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Its environment, beside a search path.
    pub env: BTreeMap<String, String>,
    /// Where it runs.
    pub folder: PathBuf,
    /// It is killed after so many seconds.
    pub limit_s: u64,
}

/// One line of a guest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// Init runs on this kernel.
    Booted {
        /// `uname -r`.
        release: String,
    },
    /// Something that a guest needs did not work: a mount, a module.
    Trouble(String),
    /// A step begins.
    Step(String),
    /// A line that it wrote to standard output.
    Output(String),
    /// What a check of it could not do on this kernel.
    Skipped {
        /// The check.
        check: String,
        /// What the kernel lacks.
        feature: String,
        /// How that was seen.
        reason: String,
    },
    /// The step is over: in words, and whether it went well.
    Ended {
        /// Exit code zero.
        well: bool,
        /// How it ended.
        how: String,
    },
    /// Every step is over.
    Done,
}
