//! IO: incidents as JSON lines, appended; two files of bounded length, the older one overwritten.

use std::fs::{File, OpenOptions, rename};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use crate::incident::Entry;

/// The length at which a file is put aside, in bytes: about 30,000 entries, a thousand incidents.
const MAX_FILE: u64 = 8 * 1024 * 1024;

/// The longest line, in bytes; a longer one is dropped.
const MAX_LINE: usize = 64 * 1024;

/// Appends entries, and never stands in anybody's way: what cannot be written is counted and dropped.
#[derive(Debug)]
pub struct IncidentLog {
    path: PathBuf,
    file: Option<File>,
    length: u64,
    most: u64,
    dropped: u64,
}

impl IncidentLog {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            length: 0,
            most: MAX_FILE,
            dropped: 0,
        }
    }

    /// Where the entries go.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Entries that could not be written.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Appends one line.
    ///
    /// # Errors
    /// It was dropped, and counted; the file ends with a whole line as before.
    pub fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let result = self.try_append(entry);
        if result.is_err() {
            self.dropped += 1;
            // The next one opens the file anew: it may be gone, or on a disk that is back.
            self.file = None;
        }
        result
    }

    fn try_append(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry).map_err(io::Error::other)?;
        line.push(b'\n');
        if line.len() > MAX_LINE {
            return Err(io::Error::other(format!(
                "an entry of {} bytes; allowed: {MAX_LINE}",
                line.len()
            )));
        }
        if self.file.is_some() && self.length + line.len() as u64 > self.most {
            self.file = None;
            rename(&self.path, self.path.with_extension("jsonl.1"))?;
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.open()?,
        };
        if let Err(error) = file.write_all(&line) {
            // Half a line would spoil the next one as well.
            file.set_len(self.length)?;
            return Err(error);
        }
        self.length += line.len() as u64;
        self.file = Some(file);
        Ok(())
    }

    fn open(&mut self) -> io::Result<File> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&self.path)?;
        self.length = file.metadata()?.len();
        Ok(file)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may end at once")]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::{IncidentLog, MAX_LINE};
    use crate::identity::{BootId, IncidentId};
    use crate::incident::{Entry, SCHEMA, Step};

    fn entry(number: u64, node: &str) -> Entry {
        Entry {
            v: SCHEMA,
            incident: IncidentId(1),
            node: node.to_owned(),
            boot: BootId(1),
            steward: "n1".to_owned(),
            at_us: number,
            wall_ms: 0,
            step: Step::Suspected,
        }
    }

    fn numbers(path: &std::path::Path) -> Vec<u64> {
        let text = fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<Entry>(line).unwrap().at_us)
            .collect()
    }

    #[test]
    fn lines_are_appended_over_restarts_and_the_files_stay_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("incidents.jsonl");
        let mut log = IncidentLog::new(path.clone());
        log.append(&entry(0, "n")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let one = fs::metadata(&path).unwrap().len();
        let mut log = IncidentLog::new(path.clone());
        log.most = one * 4;
        for number in 1..10 {
            log.append(&entry(number, "n")).unwrap();
        }
        assert_eq!(log.dropped(), 0);
        assert_eq!(numbers(&path.with_extension("jsonl.1")), [4, 5, 6, 7]);
        assert_eq!(numbers(&path), [8, 9]);
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_the_next_one_is_tried() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gone").join("incidents.jsonl");
        let mut log = IncidentLog::new(path.clone());
        log.append(&entry(1, "n")).unwrap_err();
        log.append(&entry(2, &"n".repeat(MAX_LINE))).unwrap_err();
        assert_eq!(log.dropped(), 2);
        fs::create_dir(directory.path().join("gone")).unwrap();
        log.append(&entry(3, "n")).unwrap();
        assert_eq!((log.dropped(), numbers(&path)), (2, vec![3]));
    }
}
