//! `cargo xtask lab …`: the command line of a lab that outlives the command which brought it up.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use crate::control;
use crate::lab::{Lab, Launcher};
use crate::layout::Layout;
use crate::options::{DetectorOptions, Options};
use crate::progress::Progress;
use crate::{init, supervisor, sweeper};

/// Which lab.
#[derive(Debug, Args)]
pub struct Name {
    /// The lab's name, where there are several
    #[arg(long = "lab", value_name = "NAME", default_value = "default", global = true)]
    name: String,
}

/// A lab: a real control plane and real nodes in namespaces of this machine.
#[derive(Debug, Args)]
pub struct LabCommand {
    #[command(flatten)]
    lab: Name,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Brings a lab up and leaves it running
    Up(Up),
    /// Ends it; nothing is left
    Down {
        /// Every lab of this machine
        #[arg(long)]
        all: bool,
    },
    /// Shows hosts, their state and where things are
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Cuts a host's power: link down, every process killed in one stroke
    Cut {
        /// For example node-2
        host: String,
    },
    /// Boots a host that was cut, and waits until it is Ready
    Heal {
        /// For example node-2
        host: String,
    },
    /// Stops every process of a host; its kernel goes on
    Pause {
        /// For example node-2
        host: String,
        /// Lets them go on
        #[arg(long)]
        resume: bool,
    },
    /// Kills a host's agent and nothing else
    KillAgent {
        /// For example node-2
        host: String,
    },
    /// kubectl as the administrator of the lab
    #[command(disable_help_flag = true)]
    Kubectl {
        /// What kubectl is told
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The process that holds a lab (internal)
    #[command(hide = true)]
    Supervise { name: String },
    /// The first process of a host (internal)
    #[command(hide = true)]
    Init { spec: PathBuf },
    /// Removes a lab's files and cgroups when standard input ends (internal)
    #[command(hide = true)]
    Sweep {
        name: String,
        /// A mesh's, not a lab's
        #[arg(long)]
        mesh: bool,
    },
}

#[derive(Debug, Args)]
struct Up {
    /// Real nodes: kubelet, containerd, kube-proxy, agent
    #[arg(long, default_value_t = 3)]
    real: u8,
    /// Hollow nodes: kubelets without containers
    #[arg(long, default_value_t = 0)]
    hollow: u16,
    /// 2: another API server on the last real node, behind the same service address
    #[arg(long, default_value_t = 1)]
    api_servers: u8,
    /// The detector to run as agents and stewards; default: the one built beside this program, if there is one
    #[arg(long)]
    detector: Option<PathBuf>,
    /// No agents and stewards
    #[arg(long, conflicts_with = "detector")]
    no_detector: bool,
    /// Stewards on hosts of their own
    #[arg(long)]
    stewards_apart: bool,
    /// An argument for every agent (repeat it)
    #[arg(long = "agent-arg", allow_hyphen_values = true)]
    agent_args: Vec<String>,
    /// An argument for every steward, for example --mode=enforce (repeat it)
    #[arg(long = "steward-arg", allow_hyphen_values = true)]
    steward_args: Vec<String>,
}

impl LabCommand {
    /// Does it.
    ///
    /// # Errors
    /// In words for the user.
    pub fn run(&self) -> Result<ExitCode> {
        let name = &self.lab.name;
        match &self.verb {
            Verb::Up(up) => up.run(name)?,
            Verb::Down { all: true } => return down_all(),
            Verb::Down { all: false } => down(&Layout::new(name)?)?,
            Verb::Status { json } => status(&Lab::attach(name)?, *json)?,
            Verb::Cut { host } => {
                let cut = Lab::attach(name)?.cut(host)?;
                let ms = |moment: crate::moment::Moment| moment.ms_since(cut.started);
                eprintln!(
                    "{host}: link down after {:.2} ms, killed after {:.2} ms, last process gone after {:.1} ms",
                    ms(cut.link_down),
                    ms(cut.killed),
                    ms(cut.gone)
                );
            }
            Verb::Heal { host } => {
                let boot_id = Lab::attach(name)?.heal(host)?;
                eprintln!("{host}: up again, boot id {boot_id}");
            }
            Verb::Pause { host, resume: false } => {
                eprintln!("{host}: {} processes stopped", Lab::attach(name)?.pause(host)?);
            }
            Verb::Pause { host, resume: true } => {
                eprintln!("{host}: {} processes go on", Lab::attach(name)?.resume(host)?);
            }
            Verb::KillAgent { host } => match Lab::attach(name)?.kill_agent(host)? {
                0 => bail!("{host} has no agent running"),
                count => eprintln!("{host}: {count} process killed"),
            },
            Verb::Kubectl { arguments } => {
                let status = Lab::attach(name)?.kubectl_command()?.args(arguments).status()?;
                return Ok(status
                    .code()
                    .and_then(|code| u8::try_from(code).ok())
                    .unwrap_or(1)
                    .into());
            }
            Verb::Supervise { name } => supervisor::run(&Layout::new(name)?, &own_launcher("supervise")?)?,
            Verb::Init { spec } => init::run(spec)?,
            Verb::Sweep { name, mesh } => {
                // Nothing is ever written: this is the wait for the other end to be closed.
                std::io::stdin().read_to_end(&mut Vec::new())?;
                let layout = if *mesh {
                    Layout::mesh(name)?
                } else {
                    Layout::new(name)?
                };
                sweeper::sweep(&layout)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Up {
    fn run(&self, name: &str) -> Result<()> {
        let beside = std::env::current_exe()?.with_file_name("detector");
        let binary = self
            .detector
            .clone()
            .or_else(|| beside.exists().then_some(beside));
        let detector = binary
            .filter(|_| !self.no_detector)
            .map(|binary| DetectorOptions {
                binary,
                agent_args: self.agent_args.clone(),
                steward_args: self.steward_args.clone(),
            });
        let options = Options {
            real: self.real,
            hollow: self.hollow,
            api_servers: self.api_servers,
            detector,
            stewards_apart: self.stewards_apart,
            ..Options::new(name)
        };
        let launcher = Launcher {
            program: std::env::current_exe()?,
            prefix: own_prefix("up")?,
        };
        let lab = Lab::up(&options, &launcher, &mut Progress::terminal())?;
        status(&lab, false)?;
        lab.detach()
    }
}

/// Ends a lab, or cleans up after one that has ended.
fn down(layout: &Layout) -> Result<()> {
    if control::is_up(&layout.socket()) {
        return Lab::attach(layout.name())?.down();
    }
    if !layout.root().exists() {
        eprintln!("no lab {:?}", layout.name());
    }
    sweeper::sweep(layout)
}

fn down_all() -> Result<ExitCode> {
    for layout in Layout::all() {
        down(&layout)?;
        eprintln!("{}: gone", layout.name());
    }
    Ok(ExitCode::SUCCESS)
}

fn status(lab: &Lab, json: bool) -> Result<()> {
    let state = lab.state()?;
    let mut text = String::new();
    if json {
        text = serde_json::to_string_pretty(&state)?;
    } else {
        for host in &state.hosts {
            let power = format!("{:?}", host.power).to_lowercase();
            let roles = host.roles.join(", ");
            text.push_str(&format!(
                "{:<10} {:<7} {:<11} {} {roles}\n",
                host.name, power, host.address, host.zone
            ));
        }
        for ended in &state.ended {
            text.push_str(&format!("{ended}\n"));
        }
        text.push_str(&format!(
            "supervisor {}, files and logs in {}",
            state.supervisor,
            lab.layout().root().display()
        ));
    }
    use std::io::Write;
    writeln!(std::io::stdout(), "{text}").context("writing to the terminal")
}

/// The words before a verb of this command line: how this program is told that `lab` is meant.
fn own_prefix(verb: &str) -> Result<Vec<String>> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let at = words
        .iter()
        .position(|word| word == verb)
        .with_context(|| format!("no {verb:?} in {words:?}"))?;
    // `--lab NAME` may stand before the verb as well.
    let options = words
        .iter()
        .position(|word| word.starts_with("--lab"))
        .unwrap_or(at)
        .min(at);
    Ok(words.into_iter().take(options).collect())
}

/// This very program, also after it was built anew meanwhile.
fn own_launcher(verb: &str) -> Result<Vec<String>> {
    let program = "/proc/self/exe".to_owned();
    Ok(std::iter::once(program).chain(own_prefix(verb)?).collect())
}
