//! The remedy without Kubernetes: a static roster, verdicts and incidents, and nothing that could be written to.

use detector::clock;
use detector::disk::FileSource;
use detector::kube::steward::{Heard, Identity, Surroundings};
use detector::remedy::command::{ApiEvent, Command, Outcome};
use detector::remedy::{Config, Mode, Remedy};
use detector::roster::source::Source;
use tokio::sync::mpsc;

/// Runs until `heard` is closed. Always in mode observe.
pub(crate) async fn run(
    mut source: FileSource,
    identity: Identity,
    mut heard: mpsc::Receiver<Heard>,
    mut surroundings: impl Surroundings,
) -> anyhow::Result<()> {
    let config = Config {
        own: identity.entry.id,
        own_node: identity.entry.node,
        mode: Mode::Observe,
        profile: identity.profile,
        seed: clock::random()?,
    };
    let mut remedy = Remedy::new(config, clock::wall());
    loop {
        tokio::select! {
            news = heard.recv() => match news {
                Some(Heard::Judgement(judgement)) => remedy.handle_judgement(&judgement, clock::now()),
                Some(Heard::Steward(_)) => {}
                None => return Ok(()),
            },
            roster = source.next() => match roster {
                Ok(roster) => {
                    remedy.set_roster(&roster, clock::now());
                    surroundings.roster(&roster);
                }
                Err(error) => tracing::error!(%error, "the last roster stands"),
            },
            () = clock::sleep_until(remedy.poll_timeout()) => {}
        }
        remedy.set_wall(clock::wall());
        remedy.handle_timeout(clock::now());
        while let Some(command) = remedy.poll_command() {
            match command {
                Command::Call(request) => {
                    let outcome = Outcome::Refused("a static roster has no API".to_owned());
                    remedy.handle_api(
                        ApiEvent::Answered {
                            id: request.id,
                            tries: 0,
                            outcome,
                        },
                        clock::now(),
                    );
                }
                Command::Withheld(request) => tracing::debug!(call = ?request.call, "withheld"),
                Command::Ask(ask) => surroundings.ask(ask),
                Command::Record(entry) => surroundings.record(&entry),
                Command::Alarm(alarm) => tracing::error!(alarm, "needs a human"),
            }
        }
    }
}
