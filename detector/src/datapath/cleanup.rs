//! `detector cleanup`: the kernel forgets us.

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
    /// Legacy filters, in this network namespace.
    pub filters: usize,
    /// Whether there were pinned maps and programs.
    pub pins: bool,
}

/// Detaches the program everywhere and removes all pins. The clsact qdisc stays where a legacy filter needed it: others
/// may use it by now.
///
/// # Errors
/// When something of ours is there and cannot be removed; what comes before it is gone then.
pub fn cleanup(bpffs: &Path) -> Result<Removed, Error> {
    let pins = Pins::below(bpffs);
    let mut removed = Removed {
        links: pins.links().len(),
        ..Removed::default()
    };
    for name in interfaces()? {
        removed.filters += usize::from(remove_filter(&name)?);
    }
    let root = pins.root();
    // The kernel detaches a link when its last pin goes.
    match std::fs::remove_dir_all(root) {
        Ok(()) => removed.pins = true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => {
            return Err(Error::Io {
                what: format!("removing {}", root.display()),
                source,
            });
        }
    }
    Ok(removed)
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
