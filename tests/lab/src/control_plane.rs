//! Builds `tests/control-plane`: every Kubernetes component in one program.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cache::{Cache, Key};
use crate::go::{self, Go};
use crate::process;
use crate::progress::Progress;

/// The version that the API server reports: as in go.mod, which a test compares.
const KUBERNETES: &str = "v1.36.3";
/// A cold build takes six minutes on two cores.
const BUILD_LIMIT: Duration = Duration::from_secs(45 * 60);

/// The program, built now if the cache does not have it.
///
/// # Errors
/// Without Go, or when the build fails.
pub fn control_plane_binary(cache: &Cache, progress: &mut Progress) -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../control-plane");
    let source = source
        .canonicalize()
        .with_context(|| format!("looking for {}", source.display()))?;
    let flags = linker_flags();
    let mut key = Key::default().text(&format!("go{}", go::RELEASE)).text(&flags);
    for file in ["main.go", "go.mod", "go.sum"] {
        key = key.file(&source.join(file))?;
    }
    let entry = cache.entry("control-plane", &key, |folder| {
        let go = Go::find_or_fetch(cache, progress)?;
        progress.say("building the control plane from its Go modules, once: about six minutes");
        progress.stage("control plane built", |_| build(&go, &source, &flags, folder))
    })?;
    Ok(entry.join("control-plane"))
}

/// `go build`; no C compiler is needed.
fn build(go: &Go, source: &Path, flags: &str, folder: &Path) -> Result<()> {
    let mut command = go.command();
    command.current_dir(source).env("CGO_ENABLED", "0");
    command.args(["build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o"]);
    command.arg(folder.join("control-plane")).arg(".");
    process::output(&mut command, BUILD_LIMIT)?;
    Ok(())
}

/// Gives the components their version: without it they call themselves v0.0.0 and refuse each other's feature gates.
fn linker_flags() -> String {
    let mut flags = "-s -w".to_owned();
    let mut parts = KUBERNETES.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let values = [
        ("gitVersion", KUBERNETES),
        ("gitMajor", major),
        ("gitMinor", minor),
        ("gitTreeState", "clean"),
    ];
    for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
        for (name, value) in values {
            flags.push_str(&format!(" -X {package}.{name}={value}"));
        }
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_told_is_the_version_built() -> Result<()> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../control-plane/go.mod");
        let text = std::fs::read_to_string(path)?;
        assert!(text.contains(&format!("k8s.io/kubernetes {KUBERNETES}\n")));
        assert!(linker_flags().contains("-X k8s.io/component-base/version.gitMinor=36"));
        Ok(())
    }
}
