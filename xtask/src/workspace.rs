//! Where things are: the checkout, cargo's target folder, and the cache outside the checkout.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::command::{self, cargo};

/// The folders of this checkout and this user.
pub(crate) struct Workspace {
    /// Top level of the checkout.
    pub(crate) root: PathBuf,
    /// Cargo's target folder, wherever it was told to be.
    pub(crate) target: PathBuf,
    /// What is built once for all checkouts: `$DETECTOR_CACHE`, else `~/.cache/node-failure-detector`.
    pub(crate) cache: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

impl Workspace {
    /// Asks cargo and the environment.
    pub(crate) fn find() -> Result<Self> {
        // Set by `cargo run`; whoever starts the binary by hand does so inside the checkout.
        let package = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from);
        let mut metadata = cargo();
        metadata
            .args(["metadata", "--no-deps", "--format-version=1"])
            .current_dir(package);
        let metadata: Metadata =
            serde_json::from_str(&command::capture(&mut metadata)?).context("output of cargo metadata")?;
        Ok(Self {
            root: metadata.workspace_root,
            target: metadata.target_directory,
            cache: cache_folder()?,
        })
    }

    /// Where `cargo xtask build` leaves the kernel programs; `.cargo/config.toml` names the same file.
    pub(crate) fn ebpf_object(&self) -> PathBuf {
        self.root.join("target/detector-ebpf.o")
    }

    /// The folder of a tool in the cache; `key` names everything that its content depends on.
    pub(crate) fn tool(&self, key: &str) -> PathBuf {
        self.cache.join("tools").join(key)
    }
}

fn cache_folder() -> Result<PathBuf> {
    if let Some(cache) = env::var_os("DETECTOR_CACHE").filter(|value| !value.is_empty()) {
        // Children run in other folders: a relative one would be many.
        return std::path::absolute(Path::new(&cache)).context("DETECTOR_CACHE");
    }
    let home = env::home_dir().context("neither DETECTOR_CACHE nor HOME is set: where may the cache be?")?;
    Ok(home.join(".cache/node-failure-detector"))
}
