//! What is built once and kept outside the checkout, keyed by what it was built from.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// The folder `${DETECTOR_CACHE:-~/.cache/node-failure-detector}`.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// A hash of everything that an entry is built from.
#[derive(Debug, Clone, Default)]
pub struct Key(Sha256);

impl Key {
    /// Adds a text: a version, a list of flags.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.add(text.as_bytes());
        self
    }

    /// Adds a file's content.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn file(mut self, path: &Path) -> Result<Self> {
        self.add(&fs::read(path).with_context(|| format!("reading {}", path.display()))?);
        Ok(self)
    }

    /// Length first, so that two parts never read as one.
    fn add(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// 16 hexadecimal digits.
    fn hex(&self) -> String {
        hex(self.0.clone().finalize().as_slice())
            .chars()
            .take(16)
            .collect()
    }
}

impl Cache {
    /// Opens it, made where it is not there yet.
    ///
    /// # Errors
    /// When neither `DETECTOR_CACHE` nor `HOME` is set, or the folder cannot be made.
    pub fn open() -> Result<Self> {
        let given = std::env::var_os("DETECTOR_CACHE").map(PathBuf::from);
        let home =
            || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/node-failure-detector"));
        Self::at(
            &given
                .or_else(home)
                .context("set DETECTOR_CACHE or HOME: there is no place for the cache")?,
        )
    }

    /// A cache in a folder of the caller's choice.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn at(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("making the cache {}", root.display()))?;
        Ok(Self {
            root: root.canonicalize()?,
        })
    }

    /// The folder of an entry, if it is there.
    #[must_use]
    pub fn get(&self, name: &str, key: &Key) -> Option<PathBuf> {
        let entry = self.root.join(format!("{name}-{}", key.hex()));
        entry.is_dir().then_some(entry)
    }

    /// The folder of an entry, built now if it is not there. Another process that wants the same one waits; a build
    /// that fails or is killed leaves no entry behind.
    ///
    /// # Errors
    /// Those of the build, which gets an empty folder to fill.
    pub fn entry(&self, name: &str, key: &Key, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        if let Some(entry) = self.get(name, key) {
            return Ok(entry);
        }
        let entry = self.root.join(format!("{name}-{}", key.hex()));
        let lock = File::create(self.root.join(format!(".{name}.lock")))?;
        lock.lock()
            .context("waiting for another build of the same entry")?;
        if !entry.is_dir() {
            let unfinished = tempfile::Builder::new()
                .prefix(&format!(".{name}-"))
                .tempdir_in(&self.root)?;
            build(unfinished.path()).with_context(|| format!("building {name} for the cache"))?;
            fs::rename(unfinished.path(), &entry)?;
        }
        Ok(entry)
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_built_once_and_a_failed_build_leaves_nothing() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let cache = Cache::at(folder.path())?;
        let key = Key::default().text("1");
        assert!(cache.entry("thing", &key, |_| anyhow::bail!("no")).is_err());
        assert_eq!(cache.get("thing", &key), None);
        let entry = cache.entry("thing", &key, |path| Ok(fs::write(path.join("a"), "1")?))?;
        let again = cache.entry("thing", &key, |_| anyhow::bail!("built twice"))?;
        assert_eq!(entry, again);
        assert_eq!(cache.get("thing", &key), Some(entry));
        let visible = |entry: &fs::DirEntry| !entry.file_name().to_string_lossy().ends_with(".lock");
        assert_eq!(
            fs::read_dir(folder.path())?
                .filter_map(Result::ok)
                .filter(visible)
                .count(),
            1
        );
        Ok(())
    }

    #[test]
    fn the_key_tells_the_parts_apart() {
        let one = Key::default().text("ab").text("c").hex();
        assert_ne!(one, Key::default().text("a").text("bc").hex());
        assert_eq!(one, Key::default().text("ab").text("c").hex());
        assert_eq!(one.len(), 16);
    }
}
