//! Packages of Debian 12, the distribution whose packages we know by name.

use std::fs;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result, bail};

use crate::command::{run, tool};

/// Whether this machine runs Debian 12.
pub(crate) fn is_bookworm() -> bool {
    fs::read_to_string("/etc/os-release").is_ok_and(|text| names_bookworm(&text))
}

fn names_bookworm(os_release: &str) -> bool {
    let field = |name: &str| {
        os_release
            .lines()
            .find_map(|line| Some(line.strip_prefix(name)?.strip_prefix('=')?.trim_matches('"')))
    };
    field("ID") == Some("debian") && field("VERSION_ID") == Some("12")
}

/// Those of the packages that are not installed.
pub(crate) fn missing<'a>(packages: &[&'a str]) -> Result<Vec<&'a str>> {
    if packages.is_empty() {
        return Ok(Vec::new());
    }
    // Fails for names it does not know, and still lists the others.
    let output = tool("dpkg-query")
        .args(["--show", "--showformat=${Package} ${db:Status-Status}\\n"])
        .args(packages)
        .output()
        .context("cannot start dpkg-query")?;
    let installed = String::from_utf8_lossy(&output.stdout);
    Ok(not_installed(packages, &installed))
}

fn not_installed<'a>(packages: &[&'a str], listing: &str) -> Vec<&'a str> {
    let is_installed = |package: &str| {
        listing
            .lines()
            .any(|line| line.split_once(' ') == Some((package, "installed")))
    };
    packages
        .iter()
        .copied()
        .filter(|package| !is_installed(package))
        .collect()
}

/// Installs packages by apt-get, without recommendations; says what it does. Only root may.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    // The owner of our own entry is who we are.
    let root = fs::metadata("/proc/self").context("/proc/self")?.uid() == 0;
    if !root {
        bail!("as root: apt-get install --no-install-recommends {list}");
    }
    println!("installing Debian packages: {list}");
    run(apt_get().args(["update", "-qq"]))?;
    run(apt_get()
        .args(["install", "-qq", "--yes", "--no-install-recommends"])
        .args(packages))
}

fn apt_get() -> std::process::Command {
    let mut apt = tool("apt-get");
    // Another apt-get may be at work: wait for it, up to five minutes.
    apt.args(["-o", "DPkg::Lock::Timeout=300"])
        .env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

#[cfg(test)]
mod tests {
    use super::{names_bookworm, not_installed};

    #[test]
    fn knows_its_distribution() {
        assert!(names_bookworm(
            "PRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_ID=\"12\"\nID=debian\n"
        ));
        assert!(!names_bookworm("VERSION_ID=\"13\"\nID=debian\n"));
        assert!(!names_bookworm("ID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"12\"\n"));
    }

    #[test]
    fn a_package_that_was_removed_is_missing() {
        let listing = "rustc-web installed\nnginx config-files\n";
        assert_eq!(
            not_installed(&["rustc-web", "nginx", "rust-web-src"], listing),
            ["nginx", "rust-web-src"]
        );
    }
}
