//! Container images without a registry: docker-archives for `ctr images import`, made from this machine's packages.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::cache::{Cache, Key, hex};
use crate::libraries::libraries;
use crate::progress::Progress;
use crate::{process, requirements};

/// The sandbox of every pod.
pub const PAUSE: &str = "lab.local/pause:1";
/// The web server that demo and tests deploy; answers with its pod's name.
pub const NGINX: &str = "lab.local/nginx:1";

/// Ends at once on SIGTERM, writes no log, runs in one process.
const NGINX_CONFIG: &str = "\
daemon off;
master_process off;
user root root;
error_log stderr crit;
pid /run/nginx.pid;
events { worker_connections 1024; }
http {
  access_log off;
  server { listen 80 backlog=1024; location / { return 200 \"$hostname\\n\"; } }
}
";

/// The folder that holds `pause.tar` and `nginx.tar`.
///
/// # Errors
/// When busybox or nginx cannot be had from Debian's packages.
pub fn images(cache: &Cache, progress: &mut Progress) -> Result<PathBuf> {
    let key = Key::default()
        .text(NGINX_CONFIG)
        .text(include_str!("images.rs"))
        .file(&requirements::busybox()?)?;
    cache.entry("images", &key, |folder| {
        progress.stage("container images made", |_| {
            pause(&folder.join("pause.tar"))?;
            nginx(&folder.join("nginx.tar"))
        })
    })
}

/// busybox's `sleep`, which as a container's first process ends on SIGKILL only: kubelet gives a sandbox no grace.
fn pause(path: &Path) -> Result<()> {
    let mut layer = Layer::default();
    let busybox = requirements::busybox()?;
    layer.file("bin/busybox", &fs::read(&busybox)?, 0o755)?;
    layer.libraries(&busybox)?;
    layer.link("bin/sleep", "busybox")?;
    layer.link("bin/sh", "busybox")?;
    layer.write(path, PAUSE, &["/bin/sleep", "1000000000"])
}

/// Debian's nginx, with the libraries that it loads; the package is unpacked and not installed, as its installation
/// would start a server on this machine.
fn nginx(path: &Path) -> Result<()> {
    let unpacked = tempfile::tempdir()?;
    download("nginx", unpacked.path())?;
    let program = unpacked.path().join("usr/sbin/nginx");
    let mut layer = Layer::default();
    layer.file(
        "usr/sbin/nginx",
        &fs::read(&program).context("the package nginx has no nginx in it")?,
        0o755,
    )?;
    layer.libraries(&program)?;
    layer.file("etc/nginx/nginx.conf", NGINX_CONFIG.as_bytes(), 0o644)?;
    layer.file("etc/passwd", b"root:x:0:0:root:/:/sbin/nologin\n", 0o644)?;
    layer.file("etc/group", b"root:x:0:\n", 0o644)?;
    for folder in ["run", "tmp", "var/lib/nginx", "var/log/nginx"] {
        layer.folder(folder)?;
    }
    layer.write(path, NGINX, &["/usr/sbin/nginx", "-e", "stderr"])
}

/// `apt-get download` and `dpkg -x`.
fn download(package: &str, folder: &Path) -> Result<()> {
    let mut fetch = Command::new("apt-get");
    fetch.args(["download", "-qq", package]).current_dir(folder);
    process::output(&mut fetch, Duration::from_secs(180))
        .with_context(|| format!("downloading Debian's package {package} (try `apt-get update`)"))?;
    let archives = fs::read_dir(folder)?
        .filter_map(Result::ok)
        .map(|entry| entry.path());
    let archive = archives
        .into_iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    let mut unpack = Command::new("dpkg");
    unpack
        .arg("-x")
        .arg(archive.context("apt-get download gave no .deb")?)
        .arg(folder);
    process::output(&mut unpack, Duration::from_secs(60))?;
    Ok(())
}

/// One layer of an image.
struct Layer {
    tar: Builder<Vec<u8>>,
    folders: BTreeSet<PathBuf>,
}

impl Default for Layer {
    fn default() -> Self {
        Self {
            tar: Builder::new(Vec::new()),
            folders: BTreeSet::new(),
        }
    }
}

impl Layer {
    fn file(&mut self, path: &str, bytes: &[u8], mode: u32) -> Result<()> {
        self.parents(path)?;
        Ok(self.tar.append_data(
            &mut header(EntryType::Regular, mode, bytes.len() as u64),
            path,
            bytes,
        )?)
    }

    /// What a program on this machine needs to run, at the same paths.
    fn libraries(&mut self, program: &Path) -> Result<()> {
        for library in libraries(program)? {
            self.file(library.trim_start_matches('/'), &fs::read(&library)?, 0o755)?;
        }
        Ok(())
    }

    fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.parents(path)?;
        Ok(self
            .tar
            .append_link(&mut header(EntryType::Symlink, 0o777, 0), path, target)?)
    }

    fn folder(&mut self, path: &str) -> Result<()> {
        self.parents(path)?;
        if self.folders.insert(path.into()) {
            let mut header = header(EntryType::Directory, 0o755, 0);
            self.tar
                .append_data(&mut header, format!("{path}/"), std::io::empty())?;
        }
        Ok(())
    }

    /// containerd makes a missing parent with mode 0700: spell each out.
    fn parents(&mut self, path: &str) -> Result<()> {
        match Path::new(path).parent().and_then(Path::to_str) {
            Some(parent) if !parent.is_empty() => self.folder(parent),
            _ => Ok(()),
        }
    }

    /// Writes the docker-archive: the layer, a config that names it by its hash, a manifest.
    fn write(self, path: &Path, name: &str, argv: &[&str]) -> Result<()> {
        let layer = self.tar.into_inner()?;
        let digest = hex(Sha256::digest(&layer).as_slice());
        let architecture = if cfg!(target_arch = "aarch64") {
            "arm64"
        } else {
            "amd64"
        };
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {"Cmd": argv, "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
        });
        let manifest = json!([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer/layer.tar"]}]);
        let mut archive = Builder::new(File::create(path)?);
        let mut add = |name: &str, bytes: &[u8]| {
            archive.append_data(
                &mut header(EntryType::Regular, 0o644, bytes.len() as u64),
                name,
                bytes,
            )
        };
        add("layer/layer.tar", &layer)?;
        add("config.json", config.to_string().as_bytes())?;
        add("manifest.json", manifest.to_string().as_bytes())?;
        archive.into_inner()?.flush()?;
        Ok(())
    }
}

/// A header without times or owners: the same files give the same digest.
fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn an_archive_names_its_layer_by_hash_and_spells_out_folders() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("image.tar");
        let mut layer = Layer::default();
        layer.file("a/b/file", b"text", 0o644)?;
        layer.link("a/b/link", "file")?;
        layer.write(&path, "lab.local/test:1", &["/a"])?;

        let (mut config, mut bytes) = (String::new(), Vec::new());
        for entry in tar::Archive::new(File::open(&path)?).entries()? {
            let mut entry = entry?;
            match entry.path()?.to_str() {
                Some("config.json") => drop(entry.read_to_string(&mut config)?),
                Some("layer/layer.tar") => drop(entry.read_to_end(&mut bytes)?),
                _ => {}
            }
        }
        assert!(config.contains(&hex(Sha256::digest(&bytes).as_slice())));
        let names = tar::Archive::new(bytes.as_slice())
            .entries()?
            .map(|entry| Ok(entry?.path()?.display().to_string()))
            .collect::<Result<Vec<_>>>()?;
        assert_eq!(names, ["a/", "a/b/", "a/b/file", "a/b/link"]);
        Ok(())
    }
}
