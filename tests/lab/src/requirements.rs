//! What a machine needs before it can run a lab.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Debian packages that hold the programs below: `cargo xtask setup` installs them.
pub const APT: &[&str] = &[
    "busybox-static",
    "containerd",
    "containernetworking-plugins",
    "iproute2",
    "nftables",
    "runc",
];

/// The packages that are enough for a mesh without Kubernetes.
pub const MESH_APT: &[&str] = &["iproute2"];

/// Programs that a lab runs, beside the control plane that it builds itself.
const PROGRAMS: &[&str] = &["containerd", "ctr", "ip", "mount", "nft", "runc"];

/// Where Debian, and everybody else, puts the CNI plugins.
const CNI_FOLDERS: &[&str] = &["/usr/lib/cni", "/opt/cni/bin"];

/// The search path of everything in a lab: the caller's may lack `sbin`.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Refuses to start what cannot work, with the way to mend it.
///
/// # Errors
/// When not root, or when a program is missing.
pub fn check() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("a lab makes namespaces and mounts: run it as root");
    }
    let mut missing: Vec<_> = PROGRAMS
        .iter()
        .copied()
        .filter(|name| find(name).is_none())
        .collect();
    if cni_folder().is_err() {
        missing.push("CNI plugins");
    }
    if busybox().is_err() {
        missing.push("busybox-static");
    }
    if !missing.is_empty() {
        bail!(
            "missing: {}\nfix: apt-get install --no-install-recommends {}",
            missing.join(", "),
            APT.join(" ")
        );
    }
    Ok(())
}

/// The folder with the plugins `bridge` and `host-local`.
///
/// # Errors
/// When there is none.
pub fn cni_folder() -> Result<&'static str> {
    let holds_bridge = |folder: &&&str| Path::new(folder).join("bridge").is_file();
    CNI_FOLDERS
        .iter()
        .find(holds_bridge)
        .copied()
        .context("no CNI plugins in /usr/lib/cni or /opt/cni/bin")
}

/// The static busybox: it is copied into an image, so it may need no library.
///
/// # Errors
/// When it is not installed.
pub fn busybox() -> Result<PathBuf> {
    find("busybox").context("busybox is not installed: apt-get install busybox-static")
}

/// A program's path.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    PATH.split(':')
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
}
