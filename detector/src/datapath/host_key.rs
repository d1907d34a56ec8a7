//! The host's key, held by the kernel as long as it is up: what its file is restored from.
//!
//! A map of its own, beside the pairs' keys that it explains and gone with them (`detector cleanup`, a reboot); pinned
//! with mode 0600 in a directory of mode 0700: who may read it could read the file. It is a stack, and no array, as
//! nothing lists the elements of a stack: what `bpftool map dump` finds in all maps stands in support bundles.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use aya::maps::{Map, MapData, Stack};

use super::Error;
use super::load::allow_locked_memory;
use super::pins::Pins;
use crate::keys::record::{KeyRecord, MAX_TEXT};

/// The record as it lies on disk, and zeros.
type Value = [u8; MAX_TEXT];

/// `BPF_MAP_LOOKUP_ELEM`.
const LOOKUP: libc::c_int = 1;

/// Pins this key in place of an older one. Killed half-way, it leaves the old one or the new one.
///
/// # Errors
/// There is no BPF file system, or no right to make maps: the key is on disk alone then.
pub fn pin_host_key(bpffs: &Path, record: &KeyRecord) -> Result<(), Error> {
    if pinned_host_key(bpffs).is_ok_and(|pinned| pinned.as_ref() == Some(record)) {
        return Ok(());
    }
    let text = record.encode();
    let mut value: Value = [0; MAX_TEXT];
    let room = value.get_mut(..text.len());
    room.ok_or(Error::HostKey("is too long"))?
        .copy_from_slice(text.as_bytes());
    let pins = Pins::create(bpffs)?;
    allow_locked_memory();
    let mut stack = Stack::<MapData, Value>::create(1, 0)?;
    stack.push(value, 0)?;
    let (new, place) = (pins.new_host_key(), pins.host_key());
    // Left by an agent that was killed just here.
    let _ = std::fs::remove_file(&new);
    stack.pin(&new)?;
    std::fs::rename(&new, &place).map_err(|source| Error::Io {
        what: format!("renaming {} to {}", new.display(), place.display()),
        source,
    })
}

/// The key that an agent of this boot pinned last; `None`: there is no pin.
///
/// # Errors
/// There is one, and it cannot be read or believed. Never to be answered by a new key.
pub fn pinned_host_key(bpffs: &Path) -> Result<Option<KeyRecord>, Error> {
    let path = Pins::below(bpffs).host_key();
    let unreadable = |source| Error::Io {
        what: format!("reading {}", path.display()),
        source,
    };
    match std::fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
        Ok(metadata) => {
            let owner = rustix::process::geteuid().as_raw();
            if metadata.uid() != owner || metadata.mode() & 0o077 != 0 {
                return Err(Error::HostKey("belongs to somebody else, or lets others in"));
            }
        }
    }
    let map = Map::from_map_data(MapData::from_pin(&path)?)?;
    let Map::Stack(data) = &map else {
        return Err(Error::HostKey("is no stack"));
    };
    // Refuses values of another size.
    Stack::<_, Value>::try_from(&map)?;
    let value = peek(data).map_err(unreadable)?;
    let text = value.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = std::str::from_utf8(text).map_err(|_| Error::HostKey("is no text"))?;
    Ok(Some(KeyRecord::decode(text)?))
}

/// The top of a stack whose values have this size, left where it is.
fn peek(stack: &MapData) -> io::Result<Value> {
    /// `union bpf_attr`, as it is for this command.
    #[repr(C)]
    struct Lookup {
        map: u32,
        padding: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    let mut value: Value = [0; MAX_TEXT];
    let lookup = Lookup {
        map: stack.fd().as_fd().as_raw_fd().cast_unsigned(),
        padding: 0,
        // Without a key, as a stack has none.
        key: 0,
        value: (&raw mut value).expose_provenance() as u64,
        flags: 0,
    };
    // SAFETY: the kernel reads `size_of::<Lookup>()` bytes, all of them initialised, and writes one value of the map,
    // which has the size of `value`; both live until the call ends.
    let done = unsafe { libc::syscall(libc::SYS_bpf, LOOKUP, &raw const lookup, size_of::<Lookup>()) };
    if done == 0 {
        Ok(value)
    } else {
        Err(io::Error::last_os_error())
    }
}
