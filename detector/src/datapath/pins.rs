//! Where the kernel keeps our objects when no agent runs.
//!
//! ```text
//!  /sys/fs/bpf/node-failure-detector/
//!      link-<interface index>        the tcx link
//!      xdp-<interface index>-<port>  the XDP link
//!      host-key                      what the host's key is restored from
//!      layout-<version>/             maps, whose records have this layout:
//!          ME KEYS STATES COUNTERS
//!          echo-<port>               the program
//! ```

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use aya::maps::{HashMap, Map, MapData, MapError};
use detector_common::state::{LAYOUT, PeerKey};
use rustix::fs::statfs;
use rustix::mount::{MountFlags, mount};

use super::Error;

/// Where distributions mount the BPF file system.
pub const DEFAULT_BPFFS: &str = "/sys/fs/bpf";

const DIRECTORY: &str = "node-failure-detector";
/// `BPF_FS_MAGIC`.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// The paths of our pins.
#[derive(Clone, Debug)]
pub(super) struct Pins {
    root: PathBuf,
}

impl Pins {
    /// Below this BPF file system, whether or not anything is there.
    pub(super) fn below(bpffs: &Path) -> Self {
        Self {
            root: bpffs.join(DIRECTORY),
        }
    }

    /// Mounts the file system if it is not, and makes the directories, for root alone.
    pub(super) fn create(bpffs: &Path) -> Result<Self, Error> {
        let no_bpffs = |source: io::Error| Error::Bpffs {
            path: bpffs.to_owned(),
            source,
        };
        if !is_bpffs(bpffs).map_err(no_bpffs)? {
            let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            mount("bpf", bpffs, "bpf", flags, None).map_err(|errno| no_bpffs(errno.into()))?;
        }
        let pins = Self::below(bpffs);
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(pins.layout()).map_err(no_bpffs)?;
        Ok(pins)
    }

    /// Holds all the others.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Holds maps and program of this build's layout.
    pub(super) fn layout(&self) -> PathBuf {
        self.root.join(format!("layout-{LAYOUT}"))
    }

    /// A map.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.layout().join(name)
    }

    /// The program that serves a port.
    pub(super) fn program(&self, port: u16) -> PathBuf {
        self.layout().join(format!("echo-{port}"))
    }

    /// The program on its way to [`Self::program`].
    pub(super) fn new_program(&self) -> PathBuf {
        self.layout().join("new")
    }

    /// The tcx link of an interface.
    pub(super) fn link(&self, interface: u32) -> PathBuf {
        self.root.join(format!("{LINK}{interface}"))
    }

    /// The host's own key: whatever the layout.
    pub(super) fn host_key(&self) -> PathBuf {
        self.root.join("host-key")
    }

    /// The host's key on its way to [`Self::host_key`].
    pub(super) fn new_host_key(&self) -> PathBuf {
        self.root.join("host-key-new")
    }

    /// The XDP link of an interface, to a program that serves this port.
    pub(super) fn xdp_link(&self, interface: u32, port: u16) -> PathBuf {
        self.root.join(format!("{XDP_LINK}{interface}-{port}"))
    }

    /// All tcx links' pins with their interfaces' indices.
    pub(super) fn links(&self) -> Vec<(u32, PathBuf)> {
        self.by_interface(LINK)
    }

    /// All XDP links' pins with their interfaces' indices.
    pub(super) fn xdp_links(&self) -> Vec<(u32, PathBuf)> {
        self.by_interface(XDP_LINK)
    }

    fn by_interface(&self, prefix: &str) -> Vec<(u32, PathBuf)> {
        let named = |(name, path): (String, PathBuf)| {
            let interface = name.strip_prefix(prefix)?.split('-').next()?;
            Some((interface.parse().ok()?, path))
        };
        entries(&self.root).into_iter().filter_map(named).collect()
    }

    /// Removes what another build or port left: nothing runs of it once the links lead to this program.
    pub(super) fn remove_superseded(&self, port: u16) {
        let keep = [self.layout(), self.program(port)];
        for (name, path) in entries(&self.root).into_iter().chain(entries(&self.layout())) {
            let ours = name.starts_with("layout-") || name.starts_with("echo-") || name == "new";
            if ours && !keep.contains(&path) {
                remove(&path);
            }
        }
    }
}

const LINK: &str = "link-";
const XDP_LINK: &str = "xdp-";

/// Names and paths in a directory; none when it cannot be read.
fn entries(directory: &Path) -> Vec<(String, PathBuf)> {
    let Ok(read) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut entries: Vec<_> = read
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .collect();
    entries.sort();
    entries
}

/// Removes a pin, or a directory of pins; what cannot be removed stays, and is tried again by the next agent.
fn remove(path: &Path) {
    let removed = if path.is_dir() {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    };
    if let Err(error) = removed {
        tracing::warn!(path = %path.display(), %error, "a superseded pin cannot be removed");
    }
}

fn is_bpffs(path: &Path) -> io::Result<bool> {
    let kind = statfs(path)?.f_type;
    // The type of this field differs between architectures.
    Ok(i128::from(kind) & 0xffff_ffff == i128::from(BPF_FS_MAGIC))
}

/// The members' keys that an earlier agent of this boot left in the kernel: read without loading anything.
#[must_use]
pub fn pinned_keys(bpffs: &Path) -> BTreeMap<u64, PeerKey> {
    let path = Pins::below(bpffs).map(super::maps::KEYS);
    let open = || -> Result<_, MapError> { Map::from_map_data(MapData::from_pin(path)?)?.try_into() };
    let Ok(keys): Result<HashMap<MapData, u64, [u64; PeerKey::WORDS]>, _> = open() else {
        return BTreeMap::new();
    };
    let pinned = keys.iter().filter_map(Result::ok);
    pinned
        .map(|(peer, words)| (peer, PeerKey::from_words(words)))
        .collect()
}
