//! `cargo xtask build`: kernel programs first, then the binary that carries them.

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

/// Builds both and says where the binary is.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    ebpf::build(workspace)?;
    let mut build = cargo();
    // The whole workspace is named, so that features are the same as for the tests and nothing is built twice.
    build
        .args(["build", "--workspace", "--bin=detector"])
        .current_dir(&workspace.root);
    let profile = if options.release {
        build.arg("--release");
        "release"
    } else {
        "debug"
    };
    crate::command::run(&mut build)?;
    println!("{}", workspace.target.join(profile).join("detector").display());
    Ok(true)
}
