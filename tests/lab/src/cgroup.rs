//! Cgroups of nodes' pods, in both versions' hierarchies.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

const ROOT: &str = "/sys/fs/cgroup";

/// Makes a cgroup (version 1: in every controller) for kubelet to put its pods under.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn create(name: &str) -> Result<()> {
    for hierarchy in hierarchies() {
        let path = hierarchy.join(name);
        fs::create_dir_all(&path).with_context(|| format!("making cgroup {}", path.display()))?;
        // Version 1 gives a new cpuset neither processors nor memory: nothing could run in it.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let from = hierarchy.join(file);
            if from.exists() && !is_v2() {
                fs::write(path.join(file), fs::read(&from)?)?;
            }
        }
        if is_v2() {
            let controllers = fs::read_to_string(path.join("cgroup.controllers"))?;
            let all: String = controllers
                .split_whitespace()
                .map(|name| format!("+{name} "))
                .collect();
            fs::write(path.join("cgroup.subtree_control"), all)?;
        }
    }
    Ok(())
}

/// Removes every cgroup whose name begins so, as soon as the processes in it are gone.
///
/// # Errors
/// When one of them still holds a process after 20 seconds.
pub(crate) fn remove(prefix: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let left = remaining(prefix);
        let Some(first) = left.iter().find(|path| !remove_tree(path)) else {
            return Ok(());
        };
        if Instant::now() > deadline {
            bail!(
                "cgroup {} cannot be removed: something still runs in it",
                first.display()
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The cgroups there are whose name begins so.
fn remaining(prefix: &str) -> Vec<PathBuf> {
    let begins = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with(prefix))
    };
    hierarchies()
        .iter()
        .flat_map(|root| folders(root))
        .filter(begins)
        .collect()
}

/// Where cgroups can be made: the one tree of version 2, or each tree of version 1.
fn hierarchies() -> Vec<PathBuf> {
    if is_v2() {
        return vec![ROOT.into()];
    }
    // "unified" is a version 2 tree without controllers: kubelet does not use it, but runc puts containers there.
    folders(Path::new(ROOT))
        .into_iter()
        .filter(|path| path.join("cgroup.procs").exists())
        .collect()
}

fn is_v2() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

/// Children first; true when nothing is left.
fn remove_tree(path: &Path) -> bool {
    for child in folders(path) {
        remove_tree(&child);
    }
    // EBUSY while a process is still on its way out: the caller tries again.
    fs::remove_dir(path).is_ok() || !path.exists()
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}
