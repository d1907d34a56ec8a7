//! Where a lab keeps its files: one folder, which goes with the lab.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// All labs of this machine; not under `/run` or `/var/lib`, which each node has its own of.
const ROOT: &str = "/tmp/detector-lab";
/// A lab's cgroups are called by its name behind this.
const CGROUP_PREFIX: &str = "detector-lab";
/// The same for meshes, which have no supervisor: `lab down --all` would take them for dead.
const MESH_ROOT: &str = "/tmp/detector-mesh";
const MESH_CGROUP_PREFIX: &str = "detector-mesh";

/// The folder of one lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    name: String,
    root: PathBuf,
    cgroups: &'static str,
}

impl Layout {
    /// Of the lab with that name: 1 to 24 lower-case letters, digits and hyphens, as it becomes part of paths.
    ///
    /// # Errors
    /// For any other name.
    pub fn new(name: &str) -> Result<Self> {
        Self::under(ROOT, CGROUP_PREFIX, name)
    }

    /// Of the mesh with that name; the same names are allowed.
    ///
    /// # Errors
    /// For any other name.
    pub fn mesh(name: &str) -> Result<Self> {
        Self::under(MESH_ROOT, MESH_CGROUP_PREFIX, name)
    }

    fn under(root: &str, cgroups: &'static str, name: &str) -> Result<Self> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > 24 || !name.bytes().all(fits) {
            bail!("lab name {name:?}: 1 to 24 of a-z, 0-9 and - are allowed");
        }
        Ok(Self {
            name: name.to_owned(),
            root: Path::new(root).join(name),
            cgroups,
        })
    }

    /// Every lab that has a folder, running or not.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let entries = std::fs::read_dir(ROOT)
            .into_iter()
            .flatten()
            .filter_map(Result::ok);
        entries
            .filter_map(|entry| Self::new(entry.file_name().to_str()?).ok())
            .collect()
    }

    /// The lab's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What [`crate::options::Options`] the lab was started with.
    pub(crate) fn options(&self) -> PathBuf {
        self.root.join("options.json")
    }

    /// Where the supervisor listens (a unix socket).
    pub(crate) fn socket(&self) -> PathBuf {
        self.root.join("control.sock")
    }

    /// Certificates and keys.
    #[must_use]
    pub fn pki(&self) -> PathBuf {
        self.root.join("pki")
    }

    /// A user's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.root.join("kubeconfig").join(user)
    }

    /// A component's log: of the control plane (`kube-apiserver`), or of a host (`node-1/kubelet`).
    #[must_use]
    pub fn log(&self, component: &str) -> PathBuf {
        self.root.join("logs").join(format!("{component}.log"))
    }

    /// The audit log of the API server in the hub (1), or of the second one on a node (2): JSON lines, of our service
    /// accounts' requests only.
    #[must_use]
    pub fn audit_log(&self, server: u8) -> PathBuf {
        self.root.join(format!("audit-{server}.log"))
    }

    /// A host's disk: what survives a power cut.
    #[must_use]
    pub fn disk(&self, host: &str) -> PathBuf {
        self.root.join("disks").join(host)
    }

    /// Configuration files of a host.
    pub(crate) fn config(&self, host: &str) -> PathBuf {
        self.root.join("config").join(host)
    }

    /// The cgroup of a host's pods, relative to each controller.
    pub(crate) fn cgroup(&self, host: &str) -> String {
        format!("{}{host}", self.cgroup_prefix())
    }

    /// What the names of all its cgroups begin with. Dots part it, which no name has: `a` is not swept with `a-b`.
    pub(crate) fn cgroup_prefix(&self) -> String {
        format!("{}.{}.", self.cgroups, self.name)
    }
}
