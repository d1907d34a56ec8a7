//! `detector cleanup`: the kernel forgets us.

use std::fmt;
use std::io;
use std::path::Path;

use super::Error;
use super::attach::remove_filter;
use super::pins::Pins;

/// What was there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// tcx links.
    pub links: usize,
    /// XDP links.
    pub xdp: usize,
    /// Legacy filters, in this network namespace.
    pub filters: usize,
    /// Whether there were pinned maps and programs.
    pub pins: bool,
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pins = if self.pins { "the pins" } else { "no pins" };
        write!(
            f,
            "{} tcx links, {} XDP links, {} legacy filters, {pins}",
            self.links, self.xdp, self.filters
        )
    }
}

/// Detaches the program everywhere and removes all pins. The clsact qdisc stays where a legacy filter needed it: others
/// may use it by now.
///
/// # Errors
/// When something of ours is there and cannot be removed; what comes before it is gone then.
pub fn cleanup(bpffs: &Path) -> Result<Removed, Error> {
    let mut removed = detach(bpffs)?;
    let pins = Pins::below(bpffs);
    let root = pins.root();
    match std::fs::remove_dir_all(root) {
        Ok(()) => removed.pins = true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(cannot_remove(root, source)),
    }
    Ok(removed)
}

/// Detaches the program everywhere, and leaves it and its maps.
///
/// # Errors
/// When a hook of ours is there and cannot be removed; what comes before it is gone then.
pub fn detach(bpffs: &Path) -> Result<Removed, Error> {
    let mut removed = Removed::default();
    for name in interfaces()? {
        removed.filters += usize::from(remove_filter(&name)?);
    }
    let pins = Pins::below(bpffs);
    // The kernel detaches a link when its last pin goes.
    for (_, pin) in pins.xdp_links() {
        std::fs::remove_file(&pin).map_err(|source| cannot_remove(&pin, source))?;
        removed.xdp += 1;
    }
    for (_, pin) in pins.links() {
        std::fs::remove_file(&pin).map_err(|source| cannot_remove(&pin, source))?;
        removed.links += 1;
    }
    Ok(removed)
}

fn cannot_remove(path: &Path, source: io::Error) -> Error {
    Error::Io {
        what: format!("removing {}", path.display()),
        source,
    }
}

/// Names of this network namespace's interfaces.
fn interfaces() -> Result<Vec<String>, Error> {
    const TABLE: &str = "/proc/thread-self/net/dev";
    let table = std::fs::read_to_string(TABLE);
    let table = table.map_err(|source| Error::Io {
        what: format!("reading {TABLE}"),
        source,
    })?;
    let named = table.lines().filter_map(|line| line.split_once(':'));
    Ok(named.map(|(name, _)| name.trim().to_owned()).collect())
}
