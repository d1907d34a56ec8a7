//! Which compiler builds the kernel programs: `-Zbuild-std` wants the sources of the library, and a nightly, or a stable
//! one that is told to behave as such.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{capture, tool};

/// Major versions of LLVM that bpf-linker can be built for.
const LLVM_MAJORS: std::ops::RangeInclusive<u32> = 21..=23;

/// A compiler that can build the kernel programs.
#[derive(Debug)]
pub(crate) struct Compiler {
    /// The compiler itself, not rustup's proxy.
    pub(crate) rustc: PathBuf,
    pub(crate) sysroot: PathBuf,
    pub(crate) version: Version,
}

/// What `rustc -vV` says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// `1.96.0`, or `1.97.0-nightly`.
    pub(crate) release: String,
    /// First twelve digits, or `unknown`.
    pub(crate) commit: String,
    pub(crate) llvm_major: u32,
}

impl Version {
    /// Reads the output of `rustc -vV`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .with_context(|| format!("rustc -vV has no `{name}`"))
        };
        let llvm = field("LLVM version")?;
        let llvm_major = llvm.split('.').next().unwrap_or_default();
        Ok(Self {
            release: field("release")?.to_owned(),
            commit: field("commit-hash")?.chars().take(12).collect(),
            llvm_major: llvm_major
                .parse()
                .with_context(|| format!("LLVM version `{llvm}`"))?,
        })
    }

    fn is_nightly(&self) -> bool {
        self.release.ends_with("-nightly") || self.release.ends_with("-dev")
    }
}

impl Compiler {
    /// Takes the first that can do it: `$EBPF_RUSTC`, rustup's nightly, the current compiler, the distribution's.
    pub(crate) fn choose() -> Result<Self> {
        if let Some(rustc) = env::var_os("EBPF_RUSTC").filter(|value| !value.is_empty()) {
            return Self::examine(tool(&rustc)).with_context(|| format!("EBPF_RUSTC={}", rustc.display()));
        }
        let mut rustup_nightly = tool("rustup");
        rustup_nightly.args(["run", "nightly", "rustc"]);
        let candidates = [
            ("rustup's nightly", rustup_nightly),
            ("the current rustc", tool("rustc")),
            ("/usr/bin/rustc", tool("/usr/bin/rustc")),
        ];
        let mut refused = String::new();
        for (name, command) in candidates {
            match Self::examine(command) {
                Ok(compiler) => return Ok(compiler),
                Err(error) => refused.push_str(&format!("\n  {name}: {error:#}")),
            }
        }
        bail!("no compiler here can build the kernel programs:{refused}")
    }

    fn examine(mut rustc: Command) -> Result<Self> {
        let program = rustc.get_program().to_owned();
        let arguments: Vec<_> = rustc.get_args().map(ToOwned::to_owned).collect();
        rustc
            .args(["--print", "sysroot"])
            .stderr(std::process::Stdio::null());
        let output = rustc.output().context("not there")?;
        if !output.status.success() {
            bail!("not there");
        }
        let sysroot = PathBuf::from(String::from_utf8(output.stdout)?.trim_end());
        let sources = sysroot.join("lib/rustlib/src/rust/library/Cargo.lock");
        if !sources.is_file() {
            bail!("has no library sources (component rust-src)");
        }
        let version = Version::parse(&capture(tool(program).args(arguments).arg("-vV"))?)?;
        if !LLVM_MAJORS.contains(&version.llvm_major) {
            bail!(
                "LLVM {} is outside {}..={}, which bpf-linker can be built for",
                version.llvm_major,
                LLVM_MAJORS.start(),
                LLVM_MAJORS.end()
            );
        }
        let rustc = sysroot.join("bin/rustc");
        Ok(Self {
            rustc,
            sysroot,
            version,
        })
    }

    /// A cargo that will build with this compiler, unstable options included.
    pub(crate) fn cargo(&self) -> Command {
        // A nightly's library has a lock file that only a cargo of its age need be able to read. Where the distribution has
        // split off cargo, the current one serves.
        let beside = self.sysroot.join("bin/cargo");
        let mut cargo = if self.version.is_nightly() && beside.is_file() {
            tool(beside)
        } else {
            crate::command::cargo()
        };
        cargo.env("RUSTC", &self.rustc);
        if !self.version.is_nightly() {
            cargo.env("RUSTC_BOOTSTRAP", "1");
        }
        cargo
    }

    /// The LLVM library that this compiler itself uses.
    pub(crate) fn libllvm(&self) -> Result<PathBuf> {
        let major = self.version.llvm_major;
        let mut folders = vec![self.sysroot.join("lib")];
        folders.extend(subfolders(Path::new("/usr/lib")).filter(|folder| names_linux_gnu(folder)));
        folders.extend([
            format!("/usr/lib/llvm-{major}/lib").into(),
            "/usr/lib64".into(),
            "/usr/lib".into(),
        ]);
        folders
            .iter()
            .find_map(|folder| {
                let mut names: Vec<_> = std::fs::read_dir(folder).ok()?.flatten().collect();
                names.sort_by_key(std::fs::DirEntry::file_name);
                names
                    .iter()
                    .find(|name| is_libllvm(&name.file_name().to_string_lossy(), major))?
                    .path()
                    .into()
            })
            .with_context(|| format!("libLLVM.so.{major}.* is in none of {folders:?}"))
    }
}

fn subfolders(folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}

fn names_linux_gnu(folder: &Path) -> bool {
    folder
        .file_name()
        .is_some_and(|name| name.to_string_lossy().ends_with("-linux-gnu"))
}

/// `libLLVM.so.22.1`, or rustup's `libLLVM.so.22.1-rust-1.97.0-nightly`; not the linker script beside it.
fn is_libllvm(name: &str, major: u32) -> bool {
    name.strip_prefix("libLLVM.so.")
        .and_then(|rest| rest.split(['.', '-']).next())
        == Some(&major.to_string())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{Version, is_libllvm};

    #[test]
    fn reads_what_rustc_says() {
        let text = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\nbinary: rustc\n\
            commit-hash: e50aa6fba0c7c0ac5ee3ae33e40c7a4f9a3b3f1c\nhost: x86_64-unknown-linux-gnu\n\
            release: 1.97.0-nightly\nLLVM version: 22.1.2\n";
        let version = Version::parse(text).unwrap();
        assert_eq!(version.release, "1.97.0-nightly");
        assert_eq!(version.commit, "e50aa6fba0c7");
        assert_eq!(version.llvm_major, 22);
        assert!(version.is_nightly());
    }

    #[test]
    fn says_what_is_missing() {
        let error = Version::parse("release: 1.96.0\ncommit-hash: unknown\n").unwrap_err();
        assert!(error.to_string().contains("LLVM version"), "{error}");
    }

    #[test]
    fn knows_the_library_from_its_neighbours() {
        assert!(is_libllvm("libLLVM.so.22.1", 22));
        assert!(is_libllvm("libLLVM.so.22.1-rust-1.97.0-nightly", 22));
        assert!(!is_libllvm("libLLVM.so.22.1", 2));
        assert!(!is_libllvm("libLLVM-22-rust-1.97.0-nightly.so", 22));
        assert!(!is_libllvm("libLLVM-14.so.1", 14));
    }
}
