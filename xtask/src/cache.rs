//! Tools that are built once for all checkouts.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::command::{cargo, run};

/// `cargo install` of one version into a folder of its own; the binary appears there when it is complete. Says so, as it takes
/// minutes.
pub(crate) fn install_crate(
    root: &Path,
    name: &str,
    version: &str,
    arguments: &[&str],
    environment: impl FnOnce(&mut Command),
) -> Result<()> {
    println!("building {name} {version} into {}", root.display());
    let started = Instant::now();
    // On the same disk as the cache: /tmp may be small.
    let scratch = root.join("build");
    fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    let mut install = cargo();
    install
        .args([
            "install",
            name,
            "--version",
            version,
            "--locked",
            "--force",
            "--quiet",
        ])
        .args(arguments)
        .arg("--root")
        .arg(root)
        .env("CARGO_TARGET_DIR", &scratch)
        // Outside the checkout, whose cargo configuration is not the tool's.
        .current_dir(root);
    environment(&mut install);
    run(&mut install)?;
    fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))?;
    println!("built {name} in {} s", started.elapsed().as_secs());
    Ok(())
}
