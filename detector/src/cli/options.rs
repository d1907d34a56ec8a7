//! The one table of options: flag, environment variable, key of the file, default and help of each.
//!
//! A value comes from the first of: flag, environment, file, default. All are text until [`super::config`] has
//! validated them, so that a wrong value is told in the same words wherever it stood.

/// Which role an option is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// `detector agent`.
    Agent,
    /// `detector steward`.
    Steward,
    /// Both.
    Both,
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// Flag without its dashes, and the file's key.
    pub name: &'static str,
    /// Which role it is for.
    pub role: For,
    /// Its default; empty: not set.
    pub default: &'static str,
    /// One line, with unit and range.
    pub help: &'static str,
}

impl Opt {
    /// The environment variable: `DETECTOR_` and the name in capitals.
    #[must_use]
    pub fn env(&self) -> String {
        format!("DETECTOR_{}", self.name.to_uppercase().replace('-', "_"))
    }

    /// Whether this role has it.
    #[must_use]
    pub fn is_for(&self, role: For) -> bool {
        self.role == For::Both || self.role == role
    }
}

const fn opt(name: &'static str, role: For, default: &'static str, help: &'static str) -> Opt {
    Opt {
        name,
        role,
        default,
        help,
    }
}

/// Every option there is.
pub const TABLE: &[Opt] = &[
    opt(
        "node-name",
        For::Both,
        "",
        "name of the Node this runs on; under Kubernetes spec.nodeName",
    ),
    opt(
        "profile",
        For::Both,
        "lan",
        "how fast silence is believed: lan (W = 120 ms) or fast (W = 60 ms)",
    ),
    opt(
        "port",
        For::Both,
        "273",
        "UDP port of all agents, 1-65535; below 1024 no CNI rewrites it",
    ),
    opt(
        "steward-port",
        For::Steward,
        "274",
        "UDP port this steward listens on, 1-65535",
    ),
    opt(
        "address",
        For::Steward,
        "",
        "IP address the agents reach this steward at; default: the Node's first InternalIP",
    ),
    opt(
        "roster",
        For::Both,
        "",
        "static roster (TOML file) instead of Kubernetes",
    ),
    opt(
        "kubeconfig",
        For::Both,
        "",
        "kubeconfig file; default: the pod's service account",
    ),
    opt(
        "mode",
        For::Steward,
        "observe",
        "observe: decide and record; enforce: write as well",
    ),
    opt(
        "echo",
        For::Agent,
        "auto",
        "who answers probes: auto, tc or xdp (kernel), or user (this process)",
    ),
    opt(
        "bpffs",
        For::Agent,
        "/sys/fs/bpf",
        "where the BPF file system is, or is to be mounted",
    ),
    opt(
        "state-dir",
        For::Both,
        "/var/lib/node-failure-detector",
        "directory of key, roster copy and incidents, mode 0700",
    ),
    opt(
        "status-socket",
        For::Both,
        "",
        "unix socket of `detector status`; default: <role>.sock in /run/node-failure-detector",
    ),
    opt(
        "kubelet-healthz",
        For::Agent,
        "127.0.0.1:10248",
        "address of the kubelet's healthz, asked once a second; off: not asked",
    ),
    opt(
        "realtime",
        For::Both,
        "fifo",
        "scheduling of the probing thread: fifo (falls back to nice -20) or normal",
    ),
    opt("log-format", For::Both, "text", "text or json"),
    opt("log", For::Both, "info", "log filter as of RUST_LOG"),
];

/// The option of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Opt> {
    TABLE.iter().find(|opt| opt.name == name)
}

#[cfg(test)]
mod tests {
    use super::TABLE;

    #[test]
    fn names_are_unique_and_every_option_is_explained() {
        for (index, opt) in TABLE.iter().enumerate() {
            assert!(!opt.help.is_empty(), "{}", opt.name);
            assert_eq!(
                TABLE.iter().position(|other| other.name == opt.name),
                Some(index),
                "{} twice",
                opt.name
            );
        }
    }
}
