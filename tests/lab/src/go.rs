//! A Go that builds the control plane: the machine's own, or the release that is asked for, fetched by an older one.
//!
//! Go 1.21 and later fetch another release by themselves, as the module `golang.org/toolchain`. Debian 12's Go 1.19 does not,
//! but can download a module: what newer ones do with it afterwards is done here.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::cache::{Cache, Key};
use crate::process;
use crate::progress::Progress;

/// What Debian 12 has of it, enough to fetch the rest; not on PATH.
pub const APT: &str = "golang-1.19-go";
const APT_PROGRAM: &str = "/usr/lib/go-1.19/bin/go";

/// Newer ones build an API server whose `/openapi/v2` is broken.
pub(crate) const RELEASE: Release = Release { major: 1, minor: 26 };
/// Which of them is fetched.
const EXACT: &str = "go1.26.8";
/// From here on Go switches to the release in `GOTOOLCHAIN`.
const SWITCHES: Release = Release { major: 1, minor: 21 };
/// From here on Go knows `GOMODCACHE` and compares modules with the public checksum database.
const FETCHES: Release = Release { major: 1, minor: 15 };
/// 66 MB.
const FETCH_LIMIT: Duration = Duration::from_secs(15 * 60);
const VERSION_LIMIT: Duration = Duration::from_secs(30);

/// A program that builds with the release [`RELEASE`].
#[derive(Debug)]
pub struct Go {
    program: PathBuf,
    /// What it has to be told to switch to.
    toolchain: Option<&'static str>,
}

impl Go {
    /// The one on PATH, or the one in the cache.
    #[must_use]
    pub fn find(cache: &Cache) -> Option<Self> {
        let own = version_of(Path::new("go")).and_then(Self::on_path);
        own.or_else(|| Some(Self::cached(&cache.get(ENTRY, &Module::here()?.key())?)))
    }

    /// The same; where neither is there, an older Go fetches one into the cache.
    ///
    /// # Errors
    /// Without any Go, or when the download fails or is not the content that is expected.
    pub fn find_or_fetch(cache: &Cache, progress: &mut Progress) -> Result<Self> {
        if let Some(go) = Self::find(cache) {
            return Ok(go);
        }
        let (Some(module), Some(fetcher)) = (Module::here(), fetcher()) else {
            bail!("the control plane needs Go {SWITCHES} or later on PATH: https://go.dev/doc/install");
        };
        let entry = cache.entry(ENTRY, &module.key(), |folder| {
            progress.say(format!(
                "fetching {EXACT} through the Go module proxy, once: 66 MB"
            ));
            progress.stage("Go fetched", |_| module.fetch(&fetcher, folder))
        })?;
        Ok(Self::cached(&entry))
    }

    /// Whether [`Self::find_or_fetch`] has something to begin with.
    #[must_use]
    pub fn within_reach(cache: &Cache) -> bool {
        Self::find(cache).is_some() || (Module::here().is_some() && fetcher().is_some())
    }

    fn on_path(release: Release) -> Option<Self> {
        (release >= SWITCHES).then(|| Self {
            program: "go".into(),
            toolchain: (release != RELEASE).then_some(EXACT),
        })
    }

    fn cached(entry: &Path) -> Self {
        Self {
            program: entry.join("go/bin/go"),
            toolchain: None,
        }
    }

    /// The program, told which release to be.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        process::die_with_parent(&mut command);
        if let Some(toolchain) = self.toolchain {
            command.env("GOTOOLCHAIN", toolchain);
        }
        if self.program.is_absolute() {
            // Another installation's.
            command.env_remove("GOROOT");
        }
        command
    }
}

impl std::fmt::Display for Go {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.program.display())?;
        match self.toolchain {
            Some(toolchain) => write!(formatter, " (fetches {toolchain})"),
            None => Ok(()),
        }
    }
}

/// `1.26`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Release {
    major: u32,
    minor: u32,
}

impl Release {
    /// Reads what `go env GOVERSION` prints: `go1.26.8`, `go1.27rc1`, `devel go1.28-a1b2c3d`.
    fn parse(text: &str) -> Option<Self> {
        let (major, rest) = text.split_once("go")?.1.split_once('.')?;
        let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Some(Self {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        })
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// The release of a program that may not be there.
fn version_of(program: &Path) -> Option<Release> {
    let mut command = Command::new(program);
    process::die_with_parent(&mut command);
    // Where no go.mod asks for another release, which would be fetched to answer.
    command.args(["env", "GOVERSION"]).current_dir("/");
    Release::parse(&process::output(&mut command, VERSION_LIMIT).ok()?)
}

/// A Go that can download a module.
fn fetcher() -> Option<PathBuf> {
    ["go", APT_PROGRAM]
        .map(PathBuf::from)
        .into_iter()
        .find(|program| version_of(program).is_some_and(|release| release >= FETCHES))
}

/// Name of the entry in the cache; its folder `go` is a GOROOT.
const ENTRY: &str = "go";

/// A release for one platform, as a Go module.
struct Module {
    platform: &'static str,
    /// As go.sum has it: of all names and contents.
    sum: &'static str,
}

/// What `go mod download -json` says.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Downloaded {
    dir: PathBuf,
    sum: String,
}

impl Module {
    fn here() -> Option<Self> {
        let (platform, sum) = match std::env::consts::ARCH {
            "x86_64" => ("linux-amd64", "h1:ZOmGe1OnfREDMIdb1Qi4G9JSuDPBLGExZMQ4nis1RXM="),
            "aarch64" => ("linux-arm64", "h1:sYL/O6MqS68ML0kjsQ36WoYIpJqkw60TxizWUYUKQMc="),
            _ => return None,
        };
        Some(Self { platform, sum })
    }

    fn key(&self) -> Key {
        Key::default().text(EXACT).text(self.sum)
    }

    /// Downloads it as the user's `GOPROXY` and `GOSUMDB` say, into `folder`/go.
    fn fetch(&self, fetcher: &Path, folder: &Path) -> Result<()> {
        let modules = folder.join("modules");
        let name = format!("golang.org/toolchain@v0.0.1-{EXACT}.{}", self.platform);
        let mut command = Command::new(fetcher);
        process::die_with_parent(&mut command);
        command
            .args(["mod", "download", "-json", &name])
            .current_dir(folder)
            .env("GOMODCACHE", &modules)
            // Else nobody but root could remove it again; and nobody else's flags.
            .env("GOFLAGS", "-modcacherw");
        let said = process::output(&mut command, FETCH_LIMIT)?;
        let root = folder.join("go");
        fs::rename(self.checked(&said)?, &root).context("moving the toolchain")?;
        fs::remove_dir_all(&modules).context("removing what was downloaded")?;
        complete(&root)
    }

    /// The folder of what was downloaded, if it is what was meant.
    fn checked(&self, said: &str) -> Result<PathBuf> {
        let Downloaded { dir, sum } = serde_json::from_str(said).context("output of go mod download")?;
        if sum != self.sum {
            bail!(
                "{EXACT} for {} has the sum {sum}, not {}",
                self.platform,
                self.sum
            );
        }
        Ok(dir)
    }
}

/// What Go 1.21 does with a toolchain that it has downloaded: modules carry no execute bits and no `go.mod` below their top.
fn complete(root: &Path) -> Result<()> {
    for_each_file(&root.join("pkg/tool"), &mut make_executable)?;
    for_each_file(&root.join("bin"), &mut make_executable)?;
    for_each_file(&root.join("src"), &mut |file| {
        if file.file_name().is_some_and(|name| name == "_go.mod") {
            fs::copy(file, file.with_file_name("go.mod"))
                .with_context(|| format!("copying {}", file.display()))?;
        }
        Ok(())
    })
}

fn make_executable(file: &Path) -> Result<()> {
    fs::set_permissions(file, Permissions::from_mode(0o755))
        .with_context(|| format!("making {} executable", file.display()))
}

fn for_each_file(folder: &Path, act: &mut impl FnMut(&Path) -> Result<()>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            for_each_file(&entry.path(), act)?;
        } else {
            act(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn reads_versions() {
        let release = |minor| Some(Release { major: 1, minor });
        assert_eq!(Release::parse("go1.26.8\n"), release(26));
        assert_eq!(Release::parse("go1.27rc1"), release(27));
        assert_eq!(Release::parse("devel go1.28-a1b2c3d Tue Nov 24"), release(28));
        assert_eq!(Release::parse("gccgo"), None);
        assert_eq!(Release::parse(""), None);
    }

    #[test]
    fn newer_ones_switch_and_older_ones_are_no_use() {
        let toolchain = |minor| Go::on_path(Release { major: 1, minor }).map(|go| go.toolchain);
        assert_eq!(toolchain(19), None);
        assert_eq!(toolchain(20), None);
        assert_eq!(toolchain(21), Some(Some(EXACT)));
        assert_eq!(toolchain(26), Some(None));
        assert_eq!(toolchain(27), Some(Some(EXACT)));
        assert_eq!(Release::parse(EXACT), Some(RELEASE));
    }

    #[test]
    fn other_content_than_expected_is_refused() {
        let module = Module {
            platform: "linux-amd64",
            sum: "h1:good",
        };
        let said =
            |sum: &str| format!("{{\"Dir\": \"/modules/toolchain\", \"Sum\": \"{sum}\", \"Info\": \"\"}}");
        assert_eq!(
            module.checked(&said("h1:good")).unwrap(),
            Path::new("/modules/toolchain")
        );
        let error = module.checked(&said("h1:bad")).unwrap_err().to_string();
        assert!(error.contains("h1:bad") && error.contains("h1:good"), "{error}");
        assert!(module.checked("{\"Error\": \"no\"}").is_err());
    }

    #[test]
    fn a_module_becomes_an_installation() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for file in [
            "bin/go",
            "pkg/tool/linux_amd64/compile",
            "src/_go.mod",
            "src/cmd/_go.mod",
            "src/a.go",
        ] {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, file).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
        }
        complete(root).unwrap();
        let mode = |file: &str| fs::metadata(root.join(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("bin/go"), 0o755);
        assert_eq!(mode("pkg/tool/linux_amd64/compile"), 0o755);
        assert_eq!(mode("src/a.go"), 0o444);
        assert_eq!(
            fs::read_to_string(root.join("src/go.mod")).unwrap(),
            "src/_go.mod"
        );
        assert_eq!(
            fs::read_to_string(root.join("src/cmd/go.mod")).unwrap(),
            "src/cmd/_go.mod"
        );
    }
}
