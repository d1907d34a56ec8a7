//! `cargo xtask build`: kernel programs first, then the binary that carries them.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::command::cargo;
use crate::ebpf;
use crate::workspace::Workspace;

#[derive(Args)]
pub(crate) struct Options {
    /// Builds the optimised binary that is deployed
    #[arg(long)]
    release: bool,
}

/// How cargo builds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// For tests, labs and demos.
    Dev,
    /// What is deployed, and measured.
    Release,
}

/// Builds both and says where the binary is.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let profile = if options.release {
        Profile::Release
    } else {
        Profile::Dev
    };
    println!("{}", detector(workspace, profile)?.display());
    Ok(true)
}

/// Builds the detector with its kernel programs inside.
pub(crate) fn detector(workspace: &Workspace, profile: Profile) -> Result<PathBuf> {
    ebpf::build(workspace)?;
    let mut build = cargo();
    // The whole workspace is named, so that features are the same as for the tests and nothing is built twice.
    build
        .args(["build", "--workspace", "--bin=detector"])
        .current_dir(&workspace.root);
    let folder = match profile {
        Profile::Dev => "debug",
        Profile::Release => {
            build.arg("--release");
            "release"
        }
    };
    crate::command::run(&mut build)?;
    Ok(workspace.target.join(folder).join("detector"))
}
