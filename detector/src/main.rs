//! The binary `detector`: parses the command line, and runs one role or one errand.

mod shell;

use std::process::ExitCode;

use detector::cli::{Action, action, command};
use detector::{datapath, disk, roster, status};

fn main() -> ExitCode {
    let matches = command().get_matches();
    let asked = match action(&matches, |name| std::env::var(name).ok()) {
        Ok(asked) => asked,
        Err(invalid) => {
            shell::complain(&format!("error: {invalid}"));
            return ExitCode::from(2);
        }
    };
    match run(asked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            shell::complain(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(asked: Action) -> anyhow::Result<()> {
    match asked {
        Action::Agent(config) => shell::agent::run(config),
        Action::Steward(config) => shell::steward::run(config),
        Action::Status { socket, json } => {
            let answer = shell::small_runtime()?.block_on(status::ask(&socket, status::Question::Status));
            let answer = answer.map_err(|error| anyhow::anyhow!("{}: {error}", socket.display()))?;
            shell::say(&if json {
                answer
            } else {
                shell::table::render(&answer)?
            })
        }
        Action::CheckConfig(valid) => shell::say(&valid),
        Action::Keygen { state_dir, node_name } => {
            let state = disk::StateDir::open(&state_dir)?;
            let public = state.keygen(&node_name, detector::clock::random_key()?)?;
            shell::say(&roster::file::entry(&node_name, &public))
        }
        Action::Cleanup { bpffs, socket } => {
            shell::agent::say_left(&socket)?;
            let removed = datapath::cleanup(&bpffs).map_err(|error| anyhow::anyhow!(error.reason()))?;
            shell::say(&format!("removed {removed}"))
        }
        Action::Version => shell::say(concat!("detector ", env!("CARGO_PKG_VERSION"))),
    }
}
