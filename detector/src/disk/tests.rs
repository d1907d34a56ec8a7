#![expect(clippy::unwrap_used, reason = "a test may end at once")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::{DiskError, FileSource, StateDir};
use crate::keys::HostKey;
use crate::keys::record::KeyRecord;
use crate::roster::source::Source;
use crate::roster::{Member, PublicKey, Roster};

fn record(byte: u8) -> KeyRecord {
    KeyRecord {
        node_uid: "uid-1".to_owned(),
        key: HostKey([byte; 32]),
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_key_is_kept_for_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    fs::create_dir(&path).unwrap();
    chmod(&path, 0o755);
    let state = StateDir::open(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
    assert_eq!(state.read_key().unwrap(), None);
    // Left by a process that was killed while it wrote.
    fs::write(path.join("key.new"), "half").unwrap();
    state.write_key(&record(1)).unwrap();
    state.write_key(&record(2)).unwrap();
    assert_eq!(mode(&path.join("key")), 0o600);
    assert_eq!(state.read_key().unwrap(), Some(record(2)));
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
}

#[test]
fn a_directory_of_others_is_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("theirs"), "").unwrap();
    chmod(directory.path(), 0o755);
    let error = StateDir::open(directory.path()).unwrap_err().to_string();
    assert!(
        error.contains("mode 0755 lets others in; wanted: a directory of user"),
        "{error}"
    );
    assert_eq!(mode(directory.path()), 0o755);
    chmod(directory.path(), 0o700);
    StateDir::open(directory.path()).unwrap();
}

#[test]
fn an_exposed_or_corrupt_key_is_refused_with_its_cure() {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDir::open(directory.path()).unwrap();
    let key = directory.path().join("key");
    state.write_key(&record(1)).unwrap();
    for exposed in [0o644, 0o640, 0o602] {
        chmod(&key, exposed);
        let error = state.read_key().unwrap_err();
        assert!(matches!(error, DiskError::Exposed { .. }), "{error}");
        assert!(
            error
                .to_string()
                .contains(&format!("mode {exposed:04o} lets others in; wanted:")),
            "{error}"
        );
    }
    chmod(&key, 0o600);
    fs::write(&key, "{\"version\":1,\"node_uid\":\"uid-1\",\"secret\":\"00").unwrap();
    let error = state.read_key().unwrap_err();
    assert!(matches!(error, DiskError::Key { .. }), "{error}");
    fs::write(&key, vec![b' '; 5_000]).unwrap();
    assert!(matches!(state.read_key(), Err(DiskError::TooLarge { .. })));
    fs::write(&key, [0xff, 0xfe]).unwrap();
    assert!(matches!(state.read_key(), Err(DiskError::Io { .. })));
    fs::remove_file(&key).unwrap();
    fs::create_dir(&key).unwrap();
    assert!(matches!(state.read_key(), Err(DiskError::Exposed { .. })));
    fs::remove_dir(&key).unwrap();
    symlink("elsewhere", &key).unwrap();
    assert!(matches!(state.read_key(), Err(DiskError::Io { .. })));
}

#[test]
fn keygen_makes_one_key_and_never_another() {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDir::open(directory.path()).unwrap();
    let made = state.keygen("n1", [7; 32]).unwrap();
    assert_eq!(made, HostKey([7; 32]).public());
    assert_eq!(state.keygen("n1", [8; 32]).unwrap(), made);
    let error = state.keygen("n2", [8; 32]).unwrap_err().to_string();
    assert!(
        error.contains("holds the key of \"n1\"; wanted: no key, or that of \"n2\""),
        "{error}"
    );
    assert_eq!(state.read_key().unwrap().unwrap().key, HostKey([7; 32]));
}

#[test]
fn the_rosters_copy_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDir::open(directory.path()).unwrap();
    assert_eq!(state.read_roster().unwrap(), None);
    let member = Member {
        name: "n1".to_owned(),
        uid: "uid-1".to_owned(),
        addresses: vec![[10, 0, 0, 1].into()],
        zone: String::new(),
        key: Some(PublicKey([1; 32])),
        control_plane: false,
        leaving: false,
    };
    let roster = Roster::new([member], Vec::new());
    state.write_roster(&roster).unwrap();
    assert_eq!(
        StateDir::open(directory.path()).unwrap().read_roster().unwrap(),
        Some(roster)
    );
    let copy = directory.path().join("roster.json");
    fs::write(&copy, "{}").unwrap();
    assert!(matches!(state.read_roster(), Err(DiskError::Roster { .. })));
}

fn static_roster(names: &[&str]) -> String {
    names
        .iter()
        .zip(1..)
        .map(|(name, number)| {
            crate::roster::file::entry(name, &PublicKey([number; 32]))
                .replace("ADDRESS", &format!("10.0.0.{number}"))
        })
        .collect()
}

#[tokio::test]
async fn a_static_roster_is_read_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("roster.toml");
    let error = FileSource::new(path.clone()).next().await.unwrap_err();
    assert!(error.to_string().contains("roster.toml: No such file"), "{error}");
    fs::write(&path, static_roster(&["n1", "n2"])).unwrap();
    assert_eq!(FileSource::new(path).next().await.unwrap().members.len(), 2);
}

#[test]
fn a_static_roster_may_change_and_nonsense_is_told_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("roster.toml");
    let mut source = FileSource::new(path.clone());
    fs::write(&path, static_roster(&["n1", "n2"])).unwrap();
    assert_eq!(source.look().unwrap().unwrap().members.len(), 2);
    assert_eq!(source.look(), Ok(None));
    fs::write(&path, "members = 3").unwrap();
    assert!(source.look().unwrap_err().contains("members"));
    assert_eq!(source.look(), Ok(None));
    fs::write(&path, static_roster(&["n1", "n2", "n3"])).unwrap();
    assert_eq!(source.look().unwrap().unwrap().members.len(), 3);
}
