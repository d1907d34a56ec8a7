//! IO: the state directory of an agent or steward (0700): the host's key, the roster's copy, the incidents.
//!
//! What is read may have been half written, or put there by somebody else: owner, mode, kind and length are checked
//! before anything is believed. What is written is whole or not there: a new file, synced, then renamed.
#![expect(
    clippy::disallowed_methods,
    reason = "an IO file: a static roster is looked at again each second"
)]

mod incidents;

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::keys::record::{Corrupt, KeyRecord, MAX_TEXT};
use crate::roster::source::{Source, SourceError};
use crate::roster::{PublicKey, Roster, file, shard};

pub use incidents::IncidentLog;

/// How often a static roster's file is read again.
const RELOAD: Duration = Duration::from_secs(1);

const KEY: &str = "key";
const ROSTER: &str = "roster.json";
const INCIDENTS: &str = "incidents.jsonl";

/// What is wrong on disk.
#[derive(Debug, Error)]
pub enum DiskError {
    /// The kernel said no.
    #[error("{path}: {error}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// Others can read or write it, or it is not ours: what it says is not secret, or not true.
    #[error(
        "{path}: {problem}; wanted: a file of user {user} with mode 0600 (chown, chmod; if others have read a key, remove it, then run `detector cleanup`, and a new one is made)"
    )]
    Exposed {
        /// Where.
        path: PathBuf,
        /// What was found.
        problem: String,
        /// Who should own it.
        user: u32,
    },
    /// The state directory is open to others, or not ours.
    #[error("{path}: {problem}; wanted: a directory of user {user} with mode 0700, or an empty one")]
    Directory {
        /// Where.
        path: PathBuf,
        /// What was found.
        problem: String,
        /// Who should own it.
        user: u32,
    },
    /// More bytes than are read.
    #[error("{path}: longer than {most} bytes")]
    TooLarge {
        /// Where.
        path: PathBuf,
        /// What is read.
        most: usize,
    },
    /// The key file is no key.
    #[error(
        "{path}: {corrupt} (restore it; or remove it, and the key that is pinned in the kernel is written again, or a new one is made and announced)"
    )]
    Key {
        /// Where.
        path: PathBuf,
        /// Why.
        corrupt: Corrupt,
    },
    /// The roster's copy cannot be read.
    #[error("{path}: {unreadable}")]
    Roster {
        /// Where.
        path: PathBuf,
        /// Why.
        unreadable: shard::Unreadable,
    },
    /// There is a key for somebody else already.
    #[error("{path}: holds the key of {owner:?}; wanted: no key, or that of {wanted:?}")]
    OtherOwner {
        /// Where.
        path: PathBuf,
        /// Whose key it is.
        owner: String,
        /// Whose it should be.
        wanted: String,
    },
}

/// The state directory.
#[derive(Clone, Debug)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// Makes the directory. One that is there must be closed to others, or empty: then it is closed (a kubelet makes
    /// hostPath directories with mode 0755).
    ///
    /// # Errors
    /// It cannot be made, belongs to somebody else, or is open and in use: `/var/lib` by mistake, for one.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        let at = |error| DiskError::Io {
            path: path.to_owned(),
            error,
        };
        fs::create_dir_all(path).map_err(at)?;
        let metadata = fs::metadata(path).map_err(at)?;
        let user = rustix::process::geteuid().as_raw();
        let open = metadata.mode() & 0o077 != 0;
        let problem = if metadata.uid() != user {
            Some(format!("belongs to user {}", metadata.uid()))
        } else if open && fs::read_dir(path).map_err(at)?.next().is_some() {
            Some(format!("mode {:04o} lets others in", metadata.mode() & 0o7777))
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(DiskError::Directory {
                path: path.to_owned(),
                problem,
                user,
            });
        }
        if open {
            fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(at)?;
        }
        Ok(Self(path.to_owned()))
    }

    /// The host's key; None: there is no file.
    ///
    /// # Errors
    /// It is exposed, corrupt or cannot be read. Never to be answered by a new key.
    pub fn read_key(&self) -> Result<Option<KeyRecord>, DiskError> {
        let path = self.0.join(KEY);
        let Some(text) = read(&path, MAX_TEXT)? else {
            return Ok(None);
        };
        let record = KeyRecord::decode(&text).map_err(|corrupt| DiskError::Key { path, corrupt })?;
        Ok(Some(record))
    }

    /// Writes the host's key, whole, before anybody hears of it.
    ///
    /// # Errors
    /// It could not be written: then it must not be used.
    pub fn write_key(&self, record: &KeyRecord) -> Result<(), DiskError> {
        write(&self.0, KEY, record.encode().as_bytes())
    }

    /// The roster as it last was; None: no copy yet.
    ///
    /// # Errors
    /// It is exposed, or no roster: to be told, and done without.
    pub fn read_roster(&self) -> Result<Option<Roster>, DiskError> {
        let path = self.0.join(ROSTER);
        let Some(text) = read(&path, shard::MAX_COPY)? else {
            return Ok(None);
        };
        let roster =
            shard::decode_copy(&text).map_err(|unreadable| DiskError::Roster { path, unreadable })?;
        Ok(Some(roster))
    }

    /// Keeps a copy of the roster for the next API outage.
    ///
    /// # Errors
    /// It could not be written; the old copy is still there.
    pub fn write_roster(&self, roster: &Roster) -> Result<(), DiskError> {
        write(&self.0, ROSTER, shard::encode_copy(roster).as_bytes())
    }

    /// The incidents' file, to append to.
    #[must_use]
    pub fn incidents(&self) -> IncidentLog {
        IncidentLog::new(self.0.join(INCIDENTS))
    }

    /// `detector keygen`: the public key of `name` on this host, whose secret is made from these random bytes if there
    /// is none yet.
    ///
    /// # Errors
    /// There is a key of somebody else, or it cannot be read or written.
    pub fn keygen(&self, name: &str, random: [u8; 32]) -> Result<PublicKey, DiskError> {
        if let Some(record) = self.read_key()? {
            if record.node_uid == name {
                return Ok(record.key.public());
            }
            return Err(DiskError::OtherOwner {
                path: self.0.join(KEY),
                owner: record.node_uid,
                wanted: name.to_owned(),
            });
        }
        let record = KeyRecord {
            node_uid: name.to_owned(),
            key: crate::keys::HostKey(random),
        };
        self.write_key(&record)?;
        Ok(record.key.public())
    }
}

/// A static roster's file, read again each second.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    started: bool,
    last: Option<String>,
}

impl FileSource {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            started: false,
            last: None,
        }
    }

    /// The roster in the file, if it has changed since the last look; the same nonsense is told once.
    fn look(&mut self) -> Result<Option<Roster>, String> {
        let mut text = String::new();
        let file = File::open(&self.path).map_err(|error| error.to_string())?;
        let most = u64::try_from(file::MAX_FILE).unwrap_or(u64::MAX);
        file.take(most + 1)
            .read_to_string(&mut text)
            .map_err(|error| error.to_string())?;
        if self.last.as_ref() == Some(&text) {
            return Ok(None);
        }
        let roster = file::parse(&text).map_err(|invalid| invalid.to_string());
        self.last = Some(text);
        roster.map(Some)
    }
}

impl Source for FileSource {
    async fn next(&mut self) -> Result<Roster, SourceError> {
        loop {
            if std::mem::replace(&mut self.started, true) {
                tokio::time::sleep(RELOAD).await;
            }
            let found = self.look().map_err(|problem| SourceError {
                from: self.path.display().to_string(),
                problem,
            })?;
            if let Some(roster) = found {
                return Ok(roster);
            }
        }
    }
}

/// A file of ours, of at most `most` bytes; None: it is not there.
fn read(path: &Path, most: usize) -> Result<Option<String>, DiskError> {
    let at = |error| DiskError::Io {
        path: path.to_owned(),
        error,
    };
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(at)?,
    };
    let metadata = file.metadata().map_err(at)?;
    let user = rustix::process::geteuid().as_raw();
    let problem = if !metadata.is_file() {
        Some("not a plain file".to_owned())
    } else if metadata.uid() != user {
        Some(format!("belongs to user {}", metadata.uid()))
    } else if metadata.mode() & 0o077 != 0 {
        Some(format!("mode {:04o} lets others in", metadata.mode() & 0o7777))
    } else {
        None
    };
    if let Some(problem) = problem {
        return Err(DiskError::Exposed {
            path: path.to_owned(),
            problem,
            user,
        });
    }
    let mut text = String::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX);
    file.take(limit.saturating_add(1))
        .read_to_string(&mut text)
        .map_err(at)?;
    if text.len() > most {
        return Err(DiskError::TooLarge {
            path: path.to_owned(),
            most,
        });
    }
    Ok(Some(text))
}

/// Writes a file of mode 0600 that is either the old or the new one, also after a power cut.
fn write(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
    let path = directory.join(name);
    let new = directory.join(format!("{name}.new"));
    let at = |error| DiskError::Io {
        path: path.clone(),
        error,
    };
    // One that a killed process left.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(error)),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .map_err(at)?;
    file.write_all(bytes).map_err(at)?;
    file.sync_all().map_err(at)?;
    fs::rename(&new, &path).map_err(at)?;
    let directory = File::open(directory).map_err(at)?;
    directory.sync_all().map_err(at)
}

#[cfg(test)]
mod tests;
