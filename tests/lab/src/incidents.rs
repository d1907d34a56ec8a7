//! The stewards' incident files, read as they grow: what every other program would read too.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use detector::incident::{Entry, SCHEMA};

/// One steward's file.
#[derive(Debug)]
pub(crate) struct Incidents {
    path: PathBuf,
    /// What was read already, in bytes.
    offset: u64,
    /// The beginning of a line whose end is not written yet.
    begun: Vec<u8>,
}

impl Incidents {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            offset: 0,
            begun: Vec::new(),
        }
    }

    /// What was appended since the last look.
    pub(crate) fn poll(&mut self) -> Result<Vec<Entry>> {
        self.read()
            .with_context(|| format!("reading {}", self.path.display()))
    }

    fn read(&mut self) -> Result<Vec<Entry>> {
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        let length = file.metadata()?.len();
        ensure!(
            length >= self.offset,
            "the file was put aside: it was read too seldom"
        );
        file.seek(SeekFrom::Start(self.offset))?;
        let read = file.read_to_end(&mut self.begun)?;
        self.offset += u64::try_from(read)?;
        let Some(last) = self.begun.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(Vec::new());
        };
        let rest = self.begun.split_off(last + 1);
        let whole = std::mem::replace(&mut self.begun, rest);
        whole
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(entry)
            .collect()
    }
}

fn entry(line: &[u8]) -> Result<Entry> {
    let entry: Entry =
        serde_json::from_slice(line).with_context(|| String::from_utf8_lossy(line).into_owned())?;
    ensure!(
        entry.v == SCHEMA,
        "schema {}: this program reads {SCHEMA}",
        entry.v
    );
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use anyhow::Result;

    use super::{Incidents, SCHEMA};

    const LINE: &str = r#"{"v":2,"incident":"0000000000000001","node":"node-1","boot":"0000000000000002","steward":"steward-1","at_us":7,"wall_ms":0,"step":"suspected"}"#;

    #[test]
    fn a_line_is_read_once_and_only_when_it_is_whole() -> Result<()> {
        let mut file = tempfile::NamedTempFile::new()?;
        let mut none = Incidents::new(file.path().with_extension("none"));
        assert_eq!(none.poll()?.len(), 0);
        let mut incidents = Incidents::new(file.path().to_owned());
        let (first, second) = LINE.split_at(30);
        write!(file, "{LINE}\n{first}")?;
        assert_eq!(incidents.poll()?.len(), 1);
        assert_eq!(incidents.poll()?.len(), 0);
        writeln!(file, "{second}")?;
        assert_eq!(incidents.poll()?.first().map(|entry| entry.at_us), Some(7));
        let other = SCHEMA + 1;
        writeln!(file, "{}", LINE.replace(r#""v":2"#, &format!(r#""v":{other}"#)))?;
        let refused = incidents.poll().err().map(|error| format!("{error:#}"));
        assert!(refused.is_some_and(|text| text.contains(&format!("schema {other}"))));
        Ok(())
    }
}
