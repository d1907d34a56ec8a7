//! Which kernels guests boot, and where they come from.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use detector_lab::cache::{Cache, Key};
use detector_lab::progress::Progress;
use serde::{Deserialize, Serialize};

use crate::debian::{Archive, Suite};

/// Kernels of these lines are booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Where support begins.
    V5_10,
    /// Debian 12's; softirqs may starve there.
    V6_1,
    /// The first long-term one with tcx.
    V6_12,
    /// The long-term one after it.
    V6_18,
    /// Whatever is newest in Debian's backports.
    Newest,
}

impl Line {
    /// Every line.
    pub const ALL: [Self; 5] = [Self::V5_10, Self::V6_1, Self::V6_12, Self::V6_18, Self::Newest];
    /// The lines of `.ci/run`: the oldest, the one with the oldest trouble, the newest.
    pub const CI: [Self; 3] = [Self::V5_10, Self::V6_1, Self::Newest];

    /// As the command line calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V5_10 => "5.10",
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::V6_18 => "6.18",
            Self::Newest => "newest",
        }
    }

    fn suite(self) -> (Archive, &'static str) {
        match self {
            Self::V5_10 => (Archive::Security, "bullseye-security"),
            Self::V6_1 => (Archive::Security, "bookworm-security"),
            Self::V6_12 => (Archive::Main, "bookworm-backports"),
            Self::V6_18 | Self::Newest => (Archive::Main, "trixie-backports"),
        }
    }

    fn holds(self, version: &Version) -> bool {
        match self {
            Self::V5_10 => version.is(5, 10),
            Self::V6_1 => version.is(6, 1),
            Self::V6_12 => version.is(6, 12),
            Self::V6_18 => version.is(6, 18),
            Self::Newest => true,
        }
    }
}

impl FromStr for Line {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|line| line.name() == text)
            .ok_or_else(|| format!("{text}: one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// The numbers of a release (`6.12.95+deb12-cloud-amd64`), in order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version(Vec<u32>);

impl Version {
    /// Reads every number of a release; letters and signs part them.
    #[must_use]
    pub fn parse(release: &str) -> Self {
        let words = release.split(|c: char| !c.is_ascii_digit());
        Self(words.filter_map(|word| word.parse().ok()).collect())
    }

    /// Whether it is of this line.
    #[must_use]
    pub fn is(&self, major: u32, minor: u32) -> bool {
        self.0.starts_with(&[major, minor])
    }

    /// Whether it is this one or a later one.
    #[must_use]
    pub fn since(&self, major: u32, minor: u32) -> bool {
        self.0.as_slice() >= [major, minor].as_slice()
    }
}

/// A kernel that can be booted.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// `uname -r`.
    pub release: String,
    folder: PathBuf,
}

impl fmt::Display for Kernel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.release)
    }
}

impl Kernel {
    /// The newest of a line, from the cache where it was fetched once.
    ///
    /// # Errors
    /// When Debian's packages cannot be had.
    pub fn find(line: Line, cache: &Cache, progress: &mut Progress) -> Result<Self> {
        let key = Key::default().text(include_str!("kernel.rs"));
        let folder = cache.entry(&format!("kernel-{}", line.name()), &key, |folder| {
            progress.stage(&format!("kernel {} fetched", line.name()), |_| {
                fetch(line, folder)
            })
        })?;
        let release = fs::read_to_string(folder.join("release"))?;
        Ok(Self { release, folder })
    }

    /// The image.
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// The folder below which its modules are.
    #[must_use]
    pub fn modules(&self) -> PathBuf {
        self.folder.join("modules")
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> Version {
        Version::parse(&self.release)
    }
}

/// Downloads the newest kernel of a line. An index may name packages that its mirror has no more: then the one before.
fn fetch(line: Line, folder: &Path) -> Result<()> {
    let (archive, suite) = line.suite();
    let apt = tempfile::tempdir_in(folder)?;
    let suite = Suite::open(archive, suite, apt.path())?;
    let names = suite.names("^linux-(image|binary|modules)-[0-9].*-cloud-amd64$")?;
    let mut refused = Vec::new();
    for (release, packages) in candidates(line, &names) {
        let unpacked = tempfile::tempdir_in(folder)?;
        let all = packages
            .iter()
            .try_for_each(|package| suite.unpack(package, unpacked.path()));
        match all.and_then(|()| keep(&release, unpacked.path(), folder)) {
            Ok(()) => return Ok(()),
            Err(error) => refused.push(format!("{release}: {error:#}")),
        }
    }
    bail!(
        "no kernel {} among Debian's packages: {}",
        line.name(),
        refused.join("; ")
    )
}

/// Releases of a line with their packages, the newest first. From 6.19 on, image and modules are packages of their own.
fn candidates(line: Line, names: &[String]) -> Vec<(String, Vec<String>)> {
    let has = |kind: &str, release: &str| names.contains(&format!("linux-{kind}-{release}"));
    let mut found: Vec<(Version, String, Vec<String>)> = Vec::new();
    for name in names {
        let release = ["linux-image-", "linux-binary-"]
            .iter()
            .find_map(|kind| name.strip_prefix(kind));
        let Some(release) = release.filter(|release| line.holds(&Version::parse(release))) else {
            continue;
        };
        let split = has("binary", release) && has("modules", release);
        let packages = match (split, name.starts_with("linux-image-")) {
            (true, true) | (false, false) => continue,
            (true, false) => vec![name.clone(), format!("linux-modules-{release}")],
            (false, true) => vec![name.clone()],
        };
        found.push((Version::parse(release), release.to_owned(), packages));
    }
    found.sort_by(|one, other| other.0.cmp(&one.0));
    found
        .into_iter()
        .map(|(_, release, packages)| (release, packages))
        .collect()
}

/// Keeps image, modules and release of what was unpacked.
fn keep(release: &str, unpacked: &Path, folder: &Path) -> Result<()> {
    let found = |paths: &[String]| {
        paths
            .iter()
            .map(|path| unpacked.join(path))
            .find(|path| path.exists())
    };
    let (old, new) = (
        format!("lib/modules/{release}"),
        format!("usr/lib/modules/{release}"),
    );
    let image = found(&[format!("boot/vmlinuz-{release}"), format!("{new}/vmlinuz")]);
    let modules = found(&[format!("{new}/kernel"), format!("{old}/kernel")]);
    fs::rename(
        image.context("no vmlinuz in its packages")?,
        folder.join("vmlinuz"),
    )?;
    fs::rename(
        modules.context("no modules in its packages")?,
        folder.join("modules"),
    )?;
    ensure!(!release.is_empty(), "a kernel without a release");
    Ok(fs::write(folder.join("release"), release)?)
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn versions_stand_in_order() {
        let version = Version::parse("6.12.95+deb12-cloud-amd64");
        assert!(version > Version::parse("6.12.9+deb12-cloud-amd64"));
        assert!(version.since(6, 6) && version.is(6, 12) && !version.is(6, 1));
        assert!(!Version::parse("5.10.0-46-cloud-amd64").since(6, 6));
        assert!(Version::parse("7.3.4+deb13-cloud-amd64").since(6, 6));
    }

    #[test]
    fn the_newest_comes_first_with_the_packages_it_needs() {
        let names = [
            "linux-image-7.3.4+deb13-cloud-amd64",
            "linux-binary-7.3.4+deb13-cloud-amd64",
            "linux-modules-7.3.4+deb13-cloud-amd64",
            "linux-image-6.18.5+deb13-cloud-amd64",
            "linux-image-6.18.15+deb13-cloud-amd64",
            "linux-binary-7.4.0+deb13-cloud-amd64",
        ]
        .map(str::to_owned);
        let newest = candidates(Line::Newest, &names);
        assert_eq!(
            newest[0].1,
            [
                "linux-binary-7.3.4+deb13-cloud-amd64",
                "linux-modules-7.3.4+deb13-cloud-amd64"
            ]
        );
        let releases: Vec<_> = candidates(Line::V6_18, &names)
            .into_iter()
            .map(|(release, _)| release)
            .collect();
        assert_eq!(
            releases,
            ["6.18.15+deb13-cloud-amd64", "6.18.5+deb13-cloud-amd64"]
        );
        assert!(candidates(Line::V6_1, &names).is_empty());
    }
}
