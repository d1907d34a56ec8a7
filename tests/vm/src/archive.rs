//! The archive that a kernel unpacks as its first file system: cpio in its "newc" form
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Component, Path};

use anyhow::{Context, Result, bail};

const FOLDER: u32 = 0o040_755;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_777;

/// An archive that is being written.
#[derive(Debug)]
pub(crate) struct Archive<W> {
    out: W,
    written: u64,
    /// Every path that is in it.
    paths: BTreeSet<String>,
    inode: u32,
}

impl<W: Write> Archive<W> {
    pub(crate) fn new(out: W) -> Self {
        Self {
            out,
            written: 0,
            paths: BTreeSet::new(),
            inode: 0,
        }
    }

    /// A file; the folders that lead there come first. What is there already stays.
    pub(crate) fn file(&mut self, path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
        self.entry(path, REGULAR | mode, bytes)
    }

    pub(crate) fn link(&mut self, path: &Path, target: &str) -> Result<()> {
        self.entry(path, SYMLINK, target.as_bytes())
    }

    pub(crate) fn folder(&mut self, path: &Path) -> Result<()> {
        self.entry(path, FOLDER, &[])
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> Result<W> {
        self.record("TRAILER!!!", 0, &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &Path, mode: u32, content: &[u8]) -> Result<()> {
        let mut name = String::new();
        let mut parts = path
            .components()
            .filter(|part| *part != Component::RootDir)
            .peekable();
        while let Some(part) = parts.next() {
            let Component::Normal(part) = part else {
                bail!("{} is no plain path", path.display());
            };
            if !name.is_empty() {
                name.push('/');
            }
            name.push_str(part.to_str().context("a path that is no text")?);
            let (mode, content) = if parts.peek().is_some() {
                (FOLDER, &[][..])
            } else {
                (mode, content)
            };
            if self.paths.insert(name.clone()) {
                self.record(&name, mode, content)
                    .with_context(|| format!("archiving /{name}"))?;
            }
        }
        Ok(())
    }

    fn record(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.inode += 1;
        let size = u32::try_from(content.len()).context("cpio holds no file of 4 GiB")?;
        let name_size = u32::try_from(name.len() + 1)?;
        // inode, mode, uid, gid, links, mtime, size, device (two), special device (two), length of the name, checksum
        let fields = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        let mut head = String::from("070701");
        for field in fields {
            head.push_str(&format!("{field:08x}"));
        }
        self.write(head.as_bytes())?;
        self.write(name.as_bytes())?;
        self.write(&[0])?;
        self.pad()?;
        self.write(content)?;
        self.pad()?;
        Ok(())
    }

    /// Head with name, and content, end at a multiple of four.
    fn pad(&mut self) -> io::Result<()> {
        while !self.written.is_multiple_of(4) {
            self.write(&[0])?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn busybox_reads_what_was_written() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut archive = Archive::new(Vec::new());
        archive.file(Path::new("/a/b/odd"), b"seven b", 0o755)?;
        archive.file(Path::new("/a/b/odd"), b"twice", 0o755)?;
        archive.file(Path::new("/a/empty"), b"", 0o644)?;
        archive.link(Path::new("/a/link"), "b/odd")?;
        archive.folder(Path::new("/proc"))?;
        let bytes = archive.finish()?;

        let mut reader = Command::new("busybox")
            .args(["cpio", "-i", "-d"])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        reader.stdin.take().context("a pipe")?.write_all(&bytes)?;
        assert!(reader.wait()?.success());
        assert_eq!(std::fs::read(folder.path().join("a/link"))?, b"seven b");
        assert_eq!(std::fs::read(folder.path().join("a/empty"))?, b"");
        assert!(folder.path().join("proc").is_dir());
        Ok(())
    }

    #[test]
    fn a_path_that_climbs_is_refused() {
        let mut archive = Archive::new(Vec::new());
        assert!(archive.folder(Path::new("/a/../b")).is_err());
    }
}
