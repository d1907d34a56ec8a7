//! The processes of a host, found from outside by their parents.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;
use rustix::process::{Pid, Signal, kill_process};

/// A process and all its descendants: those of a PID namespace, given its init, as orphans become children of init.
pub(crate) fn tree(root: u32) -> Result<Vec<Pid>> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc")?.filter_map(Result::ok) {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Gone meanwhile, else "pid (name) state ppid …", where the name may hold anything.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let after_name = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
        if let Some(parent) = after_name
            .split_whitespace()
            .nth(1)
            .and_then(|word| word.parse().ok())
        {
            children.entry(parent).or_default().push(pid);
        }
    }
    let (mut found, mut to_visit) = (Vec::new(), vec![i32::try_from(root)?]);
    while let Some(pid) = to_visit.pop() {
        found.extend(Pid::from_raw(pid));
        to_visit.extend(children.remove(&pid).unwrap_or_default());
    }
    Ok(found)
}

/// Signals a whole tree, until a look finds nobody new: processes may be born meanwhile.
pub(crate) fn signal_tree(root: u32, signal: Signal) -> Result<usize> {
    let mut done: Vec<Pid> = Vec::new();
    loop {
        let new: Vec<_> = tree(root)?
            .into_iter()
            .filter(|pid| !done.contains(pid))
            .collect();
        if new.is_empty() {
            return Ok(done.len());
        }
        for pid in new {
            // It may have ended since.
            let _ = kill_process(pid, signal);
            done.push(pid);
        }
    }
}

/// Signals those of a tree that run a program (by its file's name) in a role: the word behind it on the command line,
/// which a script's interpreter may precede. Gives their number.
///
/// # Errors
/// When the processes cannot be listed, or one of them is gone before its signal.
pub fn signal_role(root: u32, program: &str, role: &str, signal: Signal) -> Result<usize> {
    let is_it = |pair: &[String]| match pair {
        [first, second] => Path::new(first).ends_with(program) && second == role,
        _ => false,
    };
    let mut signalled = 0;
    for pid in tree(root)? {
        if command_line(pid).windows(2).any(is_it) {
            kill_process(pid, signal)?;
            signalled += 1;
        }
    }
    Ok(signalled)
}

/// The words of a process's command line; none when it is gone.
pub(crate) fn command_line(pid: Pid) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{}/cmdline", pid.as_raw_pid())).unwrap_or_default();
    bytes
        .split(|byte| *byte == 0)
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}
