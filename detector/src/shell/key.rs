//! The host's key as an agent holds it: found on disk or in the kernel, or made, and looked after.

use std::path::{Path, PathBuf};

use detector::clock;
use detector::datapath::{pin_host_key, pinned_host_key, pinned_keys};
use detector::disk::StateDir;
use detector::keys::HostKey;
use detector::keys::record::{Decision, KeyRecord, Pinned};
use detector::roster::PublicKey;

/// Between two looks at the file. What a look finds wrong is told as the host's health until the next one: long enough
/// for stewards, who tell no state that lasts less than a second.
pub(crate) const LOOK: std::time::Duration = std::time::Duration::from_secs(60);

/// What is there before anything is decided.
pub(crate) struct Found {
    file: Option<KeyRecord>,
    pinned: Pinned,
}

impl Found {
    pub(crate) fn look(state: &StateDir, bpffs: &Path) -> anyhow::Result<Self> {
        let pinned = match pinned_host_key(bpffs) {
            Ok(Some(record)) => Pinned::Key(record),
            Ok(None) if pinned_keys(bpffs).is_empty() => Pinned::Nothing,
            Ok(None) => Pinned::PairsAlone,
            Err(error) => {
                tracing::warn!(error = error.reason(), "the pinned host key is not used");
                Pinned::PairsAlone
            }
        };
        Ok(Self {
            file: state.read_key()?,
            pinned,
        })
    }

    /// The Node that this host was, for an agent that cannot ask the API.
    pub(crate) fn node_uid(&self) -> Option<&str> {
        let pinned = match &self.pinned {
            Pinned::Key(record) => Some(record),
            Pinned::Nothing | Pinned::PairsAlone => None,
        };
        Some(&self.file.as_ref().or(pinned)?.node_uid)
    }

    /// Decides by the rules that forbid a silent new key; a new one is on disk before anybody hears of it.
    pub(crate) fn settle(
        self,
        state: StateDir,
        bpffs: &Path,
        node_uid: &str,
        announced: Option<PublicKey>,
    ) -> anyhow::Result<Keeper> {
        let decision = Decision::of(self.file, self.pinned, announced, node_uid);
        let record = |key| KeyRecord {
            node_uid: node_uid.to_owned(),
            key,
        };
        let mut keeper = Keeper {
            state,
            bpffs: bpffs.to_owned(),
            record: None,
            alarm: None,
            is_lost: false,
        };
        if let Some(alarm) = decision.alarm() {
            keeper.tell(alarm);
        }
        match decision {
            Decision::Keep { key, .. } => keeper.record = Some(record(key)),
            Decision::Restore(key) => {
                keeper.record = Some(record(key));
                keeper.write_again();
            }
            Decision::EchoOnly => keeper.is_lost = true,
            Decision::Make(_) => {
                let record = record(HostKey(clock::random_key()?));
                keeper.state.write_key(&record)?;
                tracing::info!(public_key = %record.key.public(), "a key was made for this host");
                keeper.record = Some(record);
            }
        }
        keeper.pin();
        Ok(keeper)
    }
}

/// Looks after the key as long as the agent runs.
pub(crate) struct Keeper {
    state: StateDir,
    bpffs: PathBuf,
    /// None: the pairs' keys are all that is left.
    record: Option<KeyRecord>,
    alarm: Option<String>,
    is_lost: bool,
}

impl Keeper {
    pub(crate) fn key(&self) -> Option<&HostKey> {
        self.record.as_ref().map(|record| &record.key)
    }

    /// The last that an operator must hear of since this agent started.
    pub(crate) fn alarm(&self) -> Option<&str> {
        self.alarm.as_deref()
    }

    /// Whether the last look did not find the key in its file.
    pub(crate) const fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Looks whether the key is still in its file; one that is gone is written again.
    pub(crate) fn look(&mut self) {
        let Some(record) = &self.record else { return };
        match self.state.read_key() {
            Ok(Some(found)) if found == *record => {
                self.is_lost = false;
                return;
            }
            Ok(None) => {
                self.tell("the host's key file was gone: it is written again".to_owned());
                self.write_again();
            }
            Ok(Some(other)) => {
                let public = other.key.public();
                self.tell(format!(
                    "the host's key file now holds the key {public} of {:?}: it counts from this agent's next start",
                    other.node_uid
                ));
            }
            Err(error) => self.tell(format!("the host's key file: {error}")),
        }
        self.is_lost = true;
    }

    fn write_again(&mut self) {
        self.is_lost = true;
        let Some(record) = &self.record else { return };
        if let Err(error) = self.state.write_key(record) {
            self.tell(format!(
                "the host's key is in the kernel alone, a reboot would lose it, as its file cannot be written: {error}"
            ));
        }
    }

    fn pin(&self) {
        let Some(record) = &self.record else { return };
        if let Err(error) = pin_host_key(&self.bpffs, record) {
            tracing::warn!(
                error = error.reason(),
                "the host's key is not pinned: it is lost with its file"
            );
        }
    }

    fn tell(&mut self, alarm: String) {
        tracing::error!("{alarm}");
        self.alarm = Some(alarm);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::{Found, HostKey, Keeper, KeyRecord};
    use detector::disk::StateDir;
    use std::path::Path;

    /// No BPF file system: nothing is pinned.
    const NOWHERE: &str = "/nowhere";

    fn keeper(state: &StateDir) -> Keeper {
        let found = Found::look(state, Path::new(NOWHERE)).unwrap();
        found
            .settle(state.clone(), Path::new(NOWHERE), "uid-1", None)
            .unwrap()
    }

    #[test]
    fn a_first_key_is_on_disk_and_no_alarm() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::open(directory.path()).unwrap();
        let made = keeper(&state);
        let record = state.read_key().unwrap().unwrap();
        assert_eq!(
            (Some(&record.key), record.node_uid.as_str()),
            (made.key(), "uid-1")
        );
        assert_eq!((made.alarm(), made.is_lost()), (None, false));
        let again = keeper(&state);
        assert_eq!((again.key(), again.alarm()), (made.key(), None));
    }

    #[test]
    fn a_file_that_goes_while_the_agent_runs_is_written_again_and_told_until_the_next_look() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::open(directory.path()).unwrap();
        let mut keeper = keeper(&state);
        let path = directory.path().join("key");
        let text = std::fs::read(&path).unwrap();
        keeper.look();
        assert_eq!((keeper.alarm(), keeper.is_lost()), (None, false));

        std::fs::remove_file(&path).unwrap();
        keeper.look();
        assert!(keeper.is_lost() && keeper.alarm().unwrap().contains("was gone"));
        assert_eq!(std::fs::read(&path).unwrap(), text);
        keeper.look();
        assert!(!keeper.is_lost() && keeper.alarm().is_some());
    }

    #[test]
    fn what_cannot_be_written_is_told_until_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::open(directory.path()).unwrap();
        let mut keeper = keeper(&state);
        let (path, aside) = (directory.path().join("key"), directory.path().join("key.new"));
        std::fs::remove_file(&path).unwrap();
        // Where the new file would be made.
        std::fs::create_dir(&aside).unwrap();
        for _ in 0..2 {
            keeper.look();
            assert!(keeper.is_lost() && keeper.alarm().unwrap().contains("cannot be written"));
        }
        std::fs::remove_dir(&aside).unwrap();
        keeper.look();
        keeper.look();
        assert!(!keeper.is_lost() && path.exists());
    }

    #[test]
    fn another_key_in_the_file_is_told_and_left() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::open(directory.path()).unwrap();
        let mut keeper = keeper(&state);
        let other = KeyRecord {
            node_uid: "uid-1".to_owned(),
            key: HostKey([9; 32]),
        };
        state.write_key(&other).unwrap();
        keeper.look();
        let public = other.key.public().to_string();
        assert!(keeper.is_lost() && keeper.alarm().unwrap().contains(&public));
        assert_eq!(state.read_key().unwrap(), Some(other));
        std::fs::write(directory.path().join("key"), "{").unwrap();
        keeper.look();
        assert!(keeper.is_lost() && keeper.alarm().unwrap().contains("not a key file"));
    }
}
