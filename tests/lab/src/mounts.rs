//! A mount namespace for a test: what is mounted or pinned inside is gone with its thread and its children.

use std::panic::resume_unwind;

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Where the BPF file system of [`in_own_mounts`] is.
pub const BPFFS: &str = "/sys/fs/bpf";

/// Runs `body` on a thread whose mounts are its own, with an empty BPF file system at [`BPFFS`]. Threads and processes
/// that it starts see the same.
///
/// # Errors
/// Those of `body`, or when there is no right to do so (root is needed).
pub fn in_own_mounts<T: Send>(body: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let inside = || {
        leave_mounts().context("making a mount namespace (needs root)")?;
        body()
    };
    std::thread::scope(|scope| {
        scope
            .spawn(inside)
            .join()
            .unwrap_or_else(|panic| resume_unwind(panic))
    })
}

fn leave_mounts() -> std::io::Result<()> {
    // SAFETY: only this thread's view of mounts, root and working directory changes; no memory or descriptor table is
    // unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
    mount("bpf", BPFFS, "bpf", MountFlags::empty(), None)?;
    Ok(())
}
