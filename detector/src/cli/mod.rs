//! The command line: one table of options, raw text, validated configuration.

pub mod config;
pub mod options;
pub mod raw;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};

use config::{AgentConfig, StewardConfig};
use options::{For, TABLE};
use raw::{Invalid, Origin, Raw};

/// What the command line asks for.
#[derive(Debug)]
pub enum Action {
    /// Run the agent.
    Agent(AgentConfig),
    /// Run the steward.
    Steward(StewardConfig),
    /// Show what the agent or steward behind this socket knows.
    Status {
        /// Its unix socket.
        socket: PathBuf,
        /// As it came, in JSON.
        json: bool,
    },
    /// Say whether a configuration is valid.
    CheckConfig(String),
    /// Make a host key for a static roster.
    Keygen {
        /// Where the key is kept.
        state_dir: PathBuf,
        /// The member's name.
        node_name: String,
    },
    /// Remove programs, links, filters and pins.
    Cleanup {
        /// The BPF file system.
        bpffs: PathBuf,
        /// The socket of an agent that may still run: it says goodbye first.
        socket: PathBuf,
    },
    /// Print the version.
    Version,
}

/// The whole command line.
#[must_use]
pub fn command() -> Command {
    Command::new("detector")
        .about("Finds dead Kubernetes nodes in 0.15 s, by a quorum of their peers")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(role("agent", For::Agent, "The peer-mesh daemon, one on every node"))
        .subcommand(role("steward", For::Steward, "Verdicts and remediation, three in a cluster"))
        .subcommand(
            Command::new("status")
                .about("Show what the agent or steward on this host knows")
                .arg(
                    Arg::new("socket")
                        .long("socket")
                        .default_value("/run/node-failure-detector/agent.sock")
                        .value_parser(clap::value_parser!(PathBuf))
                        .help("its unix socket"),
                )
                .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("as JSON")),
        )
        .subcommand(
            Command::new("check-config")
                .about("Say whether a configuration is valid, and what it amounts to")
                .subcommand_required(true)
                .subcommand(role("agent", For::Agent, "Options of the agent"))
                .subcommand(role("steward", For::Steward, "Options of the steward")),
        )
        .subcommand(
            Command::new("keygen")
                .about("Make this host's key for a static roster, and print its line; under Kubernetes agents do it")
                .args(TABLE.iter().filter(|opt| ["state-dir", "node-name"].contains(&opt.name)).map(flag)),
        )
        .subcommand(
            Command::new("cleanup")
                .about("Remove every program, link, filter and pin of the agent from this host")
                .args(TABLE.iter().filter(|opt| ["bpffs", "status-socket"].contains(&opt.name)).map(flag)),
        )
        .subcommand(Command::new("version").about("Print the version"))
}

fn role(name: &'static str, role: For, about: &'static str) -> Command {
    Command::new(name)
        .about(about)
        .arg(
            Arg::new("config")
                .long("config")
                .value_parser(clap::value_parser!(PathBuf))
                .help("TOML file; its keys are the names of the flags"),
        )
        .args(TABLE.iter().filter(|opt| opt.is_for(role)).map(flag))
}

fn flag(opt: &options::Opt) -> Arg {
    let default = if opt.default.is_empty() {
        String::new()
    } else {
        format!(", default: {}", opt.default)
    };
    Arg::new(opt.name)
        .long(opt.name)
        .help(format!("{} [env: {}{default}]", opt.help, opt.env()))
}

/// From the parsed command line to what is to be done.
///
/// # Errors
/// The first wrong value, with field, value, allowed range and where it stood.
pub fn action(matches: &ArgMatches, environment: impl Fn(&str) -> Option<String>) -> Result<Action, Invalid> {
    match matches.subcommand() {
        Some(("agent", role)) => Ok(Action::Agent(AgentConfig::validate(&raw(
            For::Agent,
            role,
            environment,
        )?)?)),
        Some(("steward", role)) => Ok(Action::Steward(StewardConfig::validate(&raw(
            For::Steward,
            role,
            environment,
        )?)?)),
        Some(("check-config", check)) => match check.subcommand() {
            Some(("agent", role)) => {
                let config = AgentConfig::validate(&raw(For::Agent, role, environment)?)?;
                Ok(Action::CheckConfig(format!("{config:#?}")))
            }
            Some((_, role)) => {
                let config = StewardConfig::validate(&raw(For::Steward, role, environment)?)?;
                Ok(Action::CheckConfig(format!("{config:#?}")))
            }
            None => Ok(Action::Version),
        },
        Some(("status", status)) => Ok(Action::Status {
            socket: status.get_one::<PathBuf>("socket").cloned().unwrap_or_default(),
            json: status.get_flag("json"),
        }),
        Some(("keygen", keygen)) => {
            let raw = from_flags(For::Agent, keygen, &environment, None)?;
            Ok(Action::Keygen {
                state_dir: raw.get("state-dir", config::path)?,
                node_name: raw.get("node-name", config::required)?,
            })
        }
        Some(("cleanup", cleanup)) => {
            let raw = from_flags(For::Agent, cleanup, &environment, None)?;
            Ok(Action::Cleanup {
                bpffs: raw.get("bpffs", config::path)?,
                socket: raw
                    .get("status-socket", config::optional_path)?
                    .unwrap_or_else(|| config::socket("agent")),
            })
        }
        _ => Ok(Action::Version),
    }
}

fn raw(
    role: For,
    matches: &ArgMatches,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Raw, Invalid> {
    let Some(path) = matches.get_one::<PathBuf>("config") else {
        return from_flags(role, matches, &environment, None);
    };
    let text = raw::read_file(path).map_err(|error| Invalid {
        field: "config".to_owned(),
        problem: format!("{}: {error}", path.display()),
        origin: Origin::Flag,
    })?;
    from_flags(role, matches, &environment, Some((path, &text)))
}

fn from_flags(
    role: For,
    matches: &ArgMatches,
    environment: &impl Fn(&str) -> Option<String>,
    file: Option<(&Path, &str)>,
) -> Result<Raw, Invalid> {
    let given = |name: &str| matches.try_get_one::<String>(name).ok().flatten().cloned();
    let flags: BTreeMap<_, _> = TABLE
        .iter()
        .filter_map(|opt| Some((opt.name.to_owned(), given(opt.name)?)))
        .collect();
    Raw::collect(role, &flags, environment, file)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::{Action, action, command};

    fn run(words: &[&str]) -> Result<Action, super::Invalid> {
        let matches = command()
            .try_get_matches_from([&["detector"], words].concat())
            .unwrap();
        action(&matches, |name| {
            (name == "DETECTOR_NODE_NAME").then(|| "n1".to_owned())
        })
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_subcommand_leads_somewhere() {
        assert!(matches!(run(&["agent"]), Ok(Action::Agent(config)) if config.common.node_name == "n1"));
        assert!(matches!(
            run(&["steward", "--mode", "enforce"]),
            Ok(Action::Steward(_))
        ));
        assert!(matches!(
            run(&["status", "--json"]),
            Ok(Action::Status { json: true, .. })
        ));
        assert!(matches!(
            run(&["check-config", "agent"]),
            Ok(Action::CheckConfig(_))
        ));
        assert!(matches!(run(&["keygen"]), Ok(Action::Keygen { .. })));
        assert!(matches!(run(&["cleanup"]), Ok(Action::Cleanup { .. })));
        assert!(matches!(run(&["version"]), Ok(Action::Version)));
    }

    #[test]
    fn a_wrong_flag_is_told_with_its_place() {
        let error = run(&["steward", "--mode", "kill"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "mode: \"kill\" is unknown; allowed: observe, enforce (given as --mode)"
        );
        let error = run(&["agent", "--config", "/nowhere.toml"]).unwrap_err();
        assert_eq!(error.field, "config");
    }
}
