//! The validated configuration: what a role may rely on.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

use super::raw::{Invalid, Raw};
pub use crate::datapath::EchoChoice;
use crate::profile::Profile;
use crate::remedy::Mode;

/// Where members come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RosterSource {
    /// A TOML file: no Kubernetes at all.
    File(PathBuf),
    /// Watches, with this kubeconfig or the pod's service account.
    Kubernetes {
        /// Empty: the pod's service account.
        kubeconfig: Option<PathBuf>,
    },
}

/// What both roles have.
#[derive(Clone, Debug)]
pub struct Common {
    /// The Node this runs on.
    pub node_name: String,
    /// Window and second look.
    pub profile: Profile,
    /// UDP port of all agents.
    pub port: u16,
    /// Where members come from.
    pub roster: RosterSource,
    /// Key, roster copy, incidents.
    pub state_dir: PathBuf,
    /// `detector status` asks here.
    pub status_socket: PathBuf,
    /// Whether the probing thread asks for SCHED_FIFO.
    pub realtime: bool,
    /// Logs as JSON lines.
    pub log_json: bool,
    /// Log filter.
    pub log_filter: String,
}

/// `detector agent`.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// What both roles have.
    pub common: Common,
    /// Who answers probes.
    pub echo: EchoChoice,
    /// The BPF file system.
    pub bpffs: PathBuf,
    /// The kubelet's healthz; None: not asked.
    pub kubelet_healthz: Option<SocketAddr>,
}

/// `detector steward`.
#[derive(Clone, Debug)]
pub struct StewardConfig {
    /// What both roles have.
    pub common: Common,
    /// Own UDP port.
    pub steward_port: u16,
    /// Own address; None: the Node's first InternalIP.
    pub address: Option<IpAddr>,
    /// Whether it writes.
    pub mode: Mode,
}

fn one_of<T: Copy>(text: &str, allowed: &[(&str, T)]) -> Result<T, String> {
    let names: Vec<_> = allowed.iter().map(|(name, _)| *name).collect();
    let found = allowed
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, value)| *value);
    found.ok_or_else(|| format!("{text:?} is unknown; allowed: {}", names.join(", ")))
}

fn port(text: &str) -> Result<u16, String> {
    let number = text.parse::<u16>().ok().filter(|number| *number != 0);
    number.ok_or_else(|| format!("{text:?} is no port; allowed: 1-65535"))
}

pub(super) fn required(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() || name.len() > 253 {
        return Err(format!("{name:?} is no name; wanted: 1-253 characters"));
    }
    Ok(name.to_owned())
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        return Err(format!(
            "{text:?} is no absolute path; wanted: one that begins with /"
        ));
    }
    Ok(path)
}

/// Understood now: a role that has begun is too late for it.
fn log_filter(text: &str) -> Result<String, String> {
    let wanted = "wanted: a filter as of RUST_LOG, such as info or warn,detector=debug";
    match EnvFilter::try_new(text) {
        Ok(_) if !text.trim().is_empty() => Ok(text.to_owned()),
        Ok(_) => Err(format!("empty; {wanted}")),
        Err(error) => Err(format!("{text:?} is no log filter ({error}); {wanted}")),
    }
}

fn optional<T>(text: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if text.is_empty() {
        Ok(None)
    } else {
        parse(text).map(Some)
    }
}

pub(super) fn optional_path(text: &str) -> Result<Option<PathBuf>, String> {
    optional(text, path)
}

/// Where a role listens for `detector status` by default.
pub(super) fn socket(role: &str) -> PathBuf {
    PathBuf::from(format!("/run/node-failure-detector/{role}.sock"))
}

impl Common {
    fn validate(raw: &Raw, role: &str) -> Result<Self, Invalid> {
        let socket = raw.get("status-socket", optional_path)?;
        // A static roster may be given relative to where the command is run: it is for labs and trials.
        let roster = match raw.get("roster", |text| optional(text, |text| Ok(PathBuf::from(text))))? {
            Some(file) => RosterSource::File(file),
            None => RosterSource::Kubernetes {
                kubeconfig: raw.get("kubeconfig", |text| optional(text, path))?,
            },
        };
        Ok(Self {
            node_name: raw.get("node-name", required)?,
            profile: raw.get("profile", |text| {
                one_of(text, &[("lan", Profile::LAN), ("fast", Profile::FAST)])
            })?,
            port: raw.get("port", port)?,
            roster,
            state_dir: raw.get("state-dir", path)?,
            status_socket: socket.unwrap_or_else(|| self::socket(role)),
            realtime: raw.get("realtime", |text| {
                one_of(text, &[("fifo", true), ("normal", false)])
            })?,
            log_json: raw.get("log-format", |text| {
                one_of(text, &[("text", false), ("json", true)])
            })?,
            log_filter: raw.get("log", log_filter)?,
        })
    }
}

impl AgentConfig {
    /// Validates the options of `detector agent`.
    ///
    /// # Errors
    /// The first wrong value.
    pub fn validate(raw: &Raw) -> Result<Self, Invalid> {
        let choices = [
            ("auto", EchoChoice::Auto),
            ("tc", EchoChoice::Tc),
            ("xdp", EchoChoice::Xdp),
            ("user", EchoChoice::User),
        ];
        Ok(Self {
            common: Common::validate(raw, "agent")?,
            echo: raw.get("echo", |text| one_of(text, &choices))?,
            bpffs: raw.get("bpffs", path)?,
            kubelet_healthz: raw.get("kubelet-healthz", |text| match text {
                "off" => Ok(None),
                text => text
                    .parse()
                    .map(Some)
                    .map_err(|_| format!("{text:?} is no address; wanted: IP:PORT, or off")),
            })?,
        })
    }
}

impl StewardConfig {
    /// Validates the options of `detector steward`.
    ///
    /// # Errors
    /// The first wrong value.
    pub fn validate(raw: &Raw) -> Result<Self, Invalid> {
        let common = Common::validate(raw, "steward")?;
        let is_static = matches!(common.roster, RosterSource::File(_));
        Ok(Self {
            steward_port: raw.get("steward-port", port)?,
            address: raw.get("address", |text| {
                optional(text, |text| {
                    let wanted = "wanted: an IPv4 or IPv6 address without a port, such as 10.0.0.7";
                    text.parse()
                        .map_err(|_| format!("{text:?} is no IP address; {wanted}"))
                })
            })?,
            mode: raw.get("mode", |text| {
                let mode = one_of(text, &[("observe", Mode::Observe), ("enforce", Mode::Enforce)])?;
                if is_static && mode == Mode::Enforce {
                    return Err(format!(
                        "{text:?} needs Kubernetes to write to; wanted with a static roster: observe"
                    ));
                }
                Ok(mode)
            })?,
            common,
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::{AgentConfig, EchoChoice, Mode, RosterSource, StewardConfig};
    use crate::cli::options::For;
    use crate::cli::raw::Raw;
    use crate::profile::Profile;
    use std::collections::BTreeMap;

    fn raw(role: For, flags: &[(&str, &str)]) -> Raw {
        let mut all = BTreeMap::from([("node-name".to_owned(), "n1".to_owned())]);
        all.extend(
            flags
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        Raw::collect(role, &all, |_| None, None).unwrap()
    }

    #[test]
    fn the_defaults_are_valid() {
        let agent = AgentConfig::validate(&raw(For::Agent, &[])).unwrap();
        assert_eq!(
            (agent.echo, agent.common.profile, agent.common.port),
            (EchoChoice::Auto, Profile::LAN, 273)
        );
        let steward = StewardConfig::validate(&raw(For::Steward, &[])).unwrap();
        assert_eq!(
            (steward.mode, steward.steward_port, steward.address),
            (Mode::Observe, 274, None)
        );
        assert!(matches!(
            steward.common.roster,
            RosterSource::Kubernetes { kubeconfig: None, .. }
        ));
    }

    #[test]
    fn wrong_values_name_the_field_and_what_is_allowed() {
        for (name, value, says) in [
            ("port", "0", "allowed: 1-65535"),
            ("profile", "wan2", "allowed: lan, fast"),
            ("echo", "clsact", "allowed: auto, tc, xdp, user"),
            ("node-name", "", "wanted: 1-253 characters"),
            ("state-dir", "here", "begins with /"),
            ("kubelet-healthz", "localhost", "IP:PORT, or off"),
        ] {
            let error = AgentConfig::validate(&raw(For::Agent, &[(name, value)])).unwrap_err();
            assert_eq!(error.field, name);
            assert!(
                error.problem.contains(says) && error.problem.contains(&format!("{value:?}")),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_refused_names_field_value_and_what_is_wanted() {
        for (flags, words) in [
            (vec![("log", "a=b=c")], ["log", "\"a=b=c\"", "RUST_LOG"]),
            (vec![("log", "")], ["log", "empty", "RUST_LOG"]),
            (
                vec![("address", "10.0.0.7:274")],
                ["address", "\"10.0.0.7:274\"", "without a port"],
            ),
            (
                vec![("mode", "enforce"), ("roster", "roster.toml")],
                ["mode", "\"enforce\"", "observe"],
            ),
        ] {
            let told = StewardConfig::validate(&raw(For::Steward, &flags))
                .unwrap_err()
                .to_string();
            for word in words {
                assert!(told.contains(word), "{told}");
            }
        }
        let right = [
            ("log", "warn,detector=debug"),
            ("address", "fe80::1"),
            ("mode", "enforce"),
        ];
        assert!(StewardConfig::validate(&raw(For::Steward, &right)).is_ok());
    }
}
