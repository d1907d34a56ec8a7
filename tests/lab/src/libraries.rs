//! What a program of this machine needs to run somewhere else: in an image, in a guest.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::process;

/// The files that the dynamic loader would load for a program, the loader itself included; none for a static one.
///
/// # Errors
/// When one of them is not installed.
pub fn libraries(program: &Path) -> Result<BTreeSet<String>> {
    let listed = process::output(Command::new("ldd").arg(program), Duration::from_secs(20));
    let listed = match listed {
        Err(error) if format!("{error:#}").contains("not a dynamic executable") => return Ok(BTreeSet::new()),
        listed => listed?,
    };
    if let Some(line) = listed.lines().find(|line| line.contains("not found")) {
        bail!(
            "{} needs a library that is not installed: {}",
            program.display(),
            line.trim()
        );
    }
    // "libz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x…)", "/lib64/ld-linux-x86-64.so.2 (0x…)"
    let path = |line: &str| {
        line.split_whitespace()
            .find(|word| word.starts_with('/'))
            .map(str::to_owned)
    };
    Ok(listed.lines().filter_map(path).collect())
}
