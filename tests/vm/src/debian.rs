//! Kernels from Debian's packages: of other releases too, by an apt state of our own, so that this machine's stays as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use detector_lab::process;

const INDEX_LIMIT: Duration = Duration::from_secs(300);
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(300);
const LOCAL_LIMIT: Duration = Duration::from_secs(60);

/// Which of Debian's archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Archive {
    Main,
    Security,
}

/// One suite of Debian, with its index in a folder of our own.
#[derive(Debug)]
pub(crate) struct Suite {
    folder: PathBuf,
}

impl Suite {
    /// Fetches the index of `suite` (`bookworm-backports`) from the mirror that this machine is set up with.
    pub(crate) fn open(archive: Archive, suite: &str, folder: &Path) -> Result<Self> {
        let mirror = mirror(archive)?;
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))?;
        }
        fs::write(
            folder.join("sources.list"),
            format!("deb {mirror} {suite} main\n"),
        )?;
        let suite = Self {
            folder: folder.to_owned(),
        };
        process::output(suite.apt("apt-get").args(["update", "-qq"]), INDEX_LIMIT)?;
        Ok(suite)
    }

    /// The names of packages that match a regular expression.
    pub(crate) fn names(&self, pattern: &str) -> Result<Vec<String>> {
        let found = process::output(
            self.apt("apt-cache").args(["search", "--names-only", pattern]),
            LOCAL_LIMIT,
        )?;
        let name = |line: &str| line.split_whitespace().next().map(str::to_owned);
        Ok(found.lines().filter_map(name).collect())
    }

    /// Downloads a package and unpacks it; nothing is installed.
    pub(crate) fn unpack(&self, package: &str, into: &Path) -> Result<()> {
        let downloads = tempfile::tempdir_in(&self.folder)?;
        process::output(
            self.apt("apt-get")
                .args(["download", "-qq", package])
                .current_dir(downloads.path()),
            DOWNLOAD_LIMIT,
        )?;
        let archive = fs::read_dir(downloads.path())?
            .next()
            .with_context(|| format!("apt-get download {package} gave no file"))??;
        let mut unpack = Command::new("dpkg-deb");
        unpack.arg("-x").arg(archive.path()).arg(into);
        process::output(&mut unpack, LOCAL_LIMIT)?;
        Ok(())
    }

    fn apt(&self, program: &str) -> Command {
        let option = |name: &str, path: &str| format!("{name}={}", self.folder.join(path).display());
        let mut command = Command::new(program);
        for option in [
            option("Dir::State", "state"),
            option("Dir::Cache", "cache"),
            option("Dir::Etc::sourcelist", "sources.list"),
            "Dir::State::status=/dev/null".to_owned(),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            // An old release's index is not made anew any more.
            "Acquire::Check-Valid-Until=false".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }
}

/// The mirror of this machine, as apt itself reads its configuration.
fn mirror(archive: Archive) -> Result<String> {
    let mut targets = Command::new("apt-get");
    targets.args([
        "indextargets",
        "--format",
        "$(RELEASE) $(REPO_URI)",
        "Created-By: Packages",
    ]);
    let listed = process::output(&mut targets, LOCAL_LIMIT)
        .context("guests boot Debian's kernels, which apt-get downloads")?;
    match choose(&listed, archive) {
        Some(mirror) => Ok(mirror.to_owned()),
        None => bail!("apt knows no {archive:?} archive of Debian: set one up, or run `apt-get update`"),
    }
}

/// The first mirror in `RELEASE URI` lines that is of this archive.
fn choose(listed: &str, archive: Archive) -> Option<&str> {
    listed.lines().find_map(|line| {
        let (release, mirror) = line.split_once(' ')?;
        let is_security = release.ends_with("-security");
        let is_debian = is_security || mirror.trim_end_matches('/').ends_with("/debian");
        (is_debian && is_security == (archive == Archive::Security)).then_some(mirror)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_told_by_its_release() {
        let listed = "bookworm http://a/other\nbookworm-security http://a/debian-security/\nbookworm http://a/debian/\n";
        assert_eq!(choose(listed, Archive::Main), Some("http://a/debian/"));
        assert_eq!(
            choose(listed, Archive::Security),
            Some("http://a/debian-security/")
        );
        assert_eq!(choose("", Archive::Main), None);
    }
}
