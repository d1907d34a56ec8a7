//! The stewards' incident records, from the hosts' disks: what every other program would read too.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use detector::incident::{Entry, SCHEMA};

use crate::control::State;
use crate::lab::Lab;
use crate::moment::Moment;

/// Where a host keeps what its steward wrote.
const INCIDENTS: &str = "lib/node-failure-detector-steward/incidents.jsonl";

/// Everything that any steward recorded since a moment, by time: all hosts of a lab share the kernel's clock.
///
/// # Errors
/// When a record is not one.
pub fn incidents(lab: &Lab, state: &State, since: Moment) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for host in &state.hosts {
        let path = lab.layout().disk(&host.name).join(INCIDENTS);
        entries.extend(read(&path).with_context(|| format!("reading {}", path.display()))?);
    }
    entries.retain(|entry| entry.at_us >= since.monotonic_ns / 1_000);
    entries.sort_by_key(|entry| entry.at_us);
    Ok(entries)
}

/// All whole lines of a file; none where there is no file.
fn read(path: &Path) -> Result<Vec<Entry>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    // The last line may be half written.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let parse = |line: &str| -> Result<Entry> {
        let entry: Entry = serde_json::from_str(line).with_context(|| line.to_owned())?;
        ensure!(
            entry.v == SCHEMA,
            "schema {}: this program reads {SCHEMA}",
            entry.v
        );
        Ok(entry)
    };
    whole.lines().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use anyhow::{Context, Result};

    use super::read;

    const LINE: &str = r#"{"v":1,"incident":"0000000000000001","node":"node-1","boot":"0000000000000002","steward":"node-2","at_us":7,"wall_ms":0,"step":"suspected"}"#;

    #[test]
    fn whole_lines_of_this_schema_are_read_and_nothing_else() -> Result<()> {
        let mut file = tempfile::NamedTempFile::new()?;
        let begun = LINE.get(..30).context("half a line")?;
        write!(file, "{LINE}\n{LINE}\n{begun}")?;
        assert_eq!(read(file.path())?.len(), 2);
        assert_eq!(read(&file.path().with_extension("none"))?.len(), 0);
        let other = tempfile::NamedTempFile::new()?;
        std::fs::write(other.path(), format!("{}\n", LINE.replace("\"v\":1", "\"v\":2")))?;
        assert!(read(other.path()).is_err());
        Ok(())
    }
}
