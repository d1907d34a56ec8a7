//! `detector steward`: the remedy, and everything around the real-time thread.

use std::time::Duration;

use anyhow::Context;
use detector::cli::config::{RosterSource, StewardConfig};
use detector::clock;
use detector::disk::{FileSource, IncidentLog, StateDir};
use detector::identity::MemberId;
use detector::incident::Entry;
use detector::realtime::mailbox::{AsyncInbox, Outbox, mailbox};
use detector::realtime::socket::MeshSocket;
use detector::realtime::steward::{FromSteward, StewardLoop, ToSteward};
use detector::realtime::thread;
use detector::remedy::command::{ApiEvent, Command, Outcome};
use detector::remedy::{self, Remedy, Wall};
use detector::roster::Roster;
use detector::roster::source::Source;
use detector::status::{self, Question};
use detector::steward::{Members, Steward};
use detector::time::Instant;
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};

use super::members::{AnySource, Pairs};

/// Messages that wait on either side of the real-time thread: a verdict on each of 1,000 members, twice.
const MAILBOX: usize = 2_048;

/// Runs until a signal.
pub(crate) fn run(config: StewardConfig) -> anyhow::Result<()> {
    super::prepare(&config.common)?;
    super::runtime()?.block_on(steward(config))
}

async fn steward(config: StewardConfig) -> anyhow::Result<()> {
    let common = &config.common;
    let state = StateDir::open(&common.state_dir)?;
    let (own, pairs, mut source) = match &common.roster {
        RosterSource::File(path) => {
            let record = state.read_key()?.with_context(|| {
                format!(
                    "state-dir: {} holds no key; `detector keygen` makes one",
                    common.state_dir.display()
                )
            })?;
            let mut source = FileSource::new(path.clone());
            let roster = source.next().await?;
            let public = record.key.public();
            let entry = roster.stewards.iter().find(|steward| steward.key == public);
            let own = entry
                .with_context(|| format!("roster: no steward has the key {public} of this one"))?
                .id;
            (
                own,
                Pairs::new(record.key),
                AnySource::File(FileSource::new(path.clone())),
            )
        }
        RosterSource::Kubernetes { .. } => anyhow::bail!("unreachable"),
    };

    let socket = MeshSocket::bind(config.steward_port)
        .with_context(|| format!("steward-port: UDP {} cannot be bound", config.steward_port))?;
    let (to_thread, inbox) = mailbox::<ToSteward>(MAILBOX)?;
    let (outbox, from_thread) = mailbox::<FromSteward>(MAILBOX)?;
    let machine = Steward::new(own, clock::random()?, common.port, common.profile, clock::now());
    let parts = StewardLoop {
        steward: machine,
        socket,
        inbox,
        outbox,
    };
    let running = thread::start("judge", common.realtime, move |scheduling| {
        tracing::info!(%scheduling, "the judging thread runs");
        parts.run(&scheduling)
    })?;

    let remedy_config = remedy::Config {
        own,
        own_node: common.node_name.clone(),
        mode: config.mode,
        profile: common.profile,
        seed: clock::random()?,
    };
    let mut desk = Desk {
        own,
        port: common.port,
        thread: to_thread,
        pairs,
        remedy: Remedy::new(
            remedy_config,
            Wall {
                at: clock::now(),
                ms: clock::wall_ms(),
            },
        ),
        incidents: state.incidents(),
        waiting: Vec::new(),
    };
    let mut from_thread = AsyncInbox::new(from_thread)?;
    let listener = status::bind(&common.status_socket)
        .with_context(|| format!("status-socket: {}", common.status_socket.display()))?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tracing::info!(node = %common.node_name, id = %own, mode = ?config.mode, port = config.steward_port, "steward started");
    loop {
        desk.carry_out();
        tokio::select! {
            // 1. The end.
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            // 2. Verdicts.
            message = from_thread.next() => desk.handle(message?).await,
            // 3. Who is a member.
            roster = source.next() => match roster {
                Ok(roster) => desk.handle_roster(&roster),
                Err(error) => tracing::error!(%error, "the last roster stands"),
            },
            // 4. What is due.
            () = sleep_until(desk.remedy.poll_timeout()) => desk.remedy.handle_timeout(clock::now()),
            // 5. Who asks.
            asked = status::next(&listener) => match asked? {
                (Question::Status, stream) => desk.handle_question(stream),
                (Question::Leave, stream) => {
                    status::answer(stream, "{}").await;
                    break;
                }
            },
        }
    }
    desk.thread.post(ToSteward::Stop);
    let ended = running
        .join()
        .map_err(|_| anyhow::anyhow!("the judging thread panicked"))?;
    ended.context("the mesh socket")
}

/// Sleeps until this instant of the monotonic clock.
#[expect(clippy::disallowed_methods, reason = "the steward's one timer")]
async fn sleep_until(at: Instant) {
    /// What tokio's timer takes at a time; longer sleeps begin anew.
    const MOST: Duration = Duration::from_secs(3_600);
    tokio::time::sleep(at.since(clock::now()).min(MOST)).await;
}

/// What tokio's side knows.
struct Desk {
    own: MemberId,
    port: u16,
    thread: Outbox<ToSteward>,
    pairs: Pairs,
    remedy: Remedy,
    incidents: IncidentLog,
    waiting: Vec<UnixStream>,
}

impl Desk {
    fn handle_roster(&mut self, roster: &Roster) {
        let pairs = self.pairs.with(roster, self.own);
        let members = Members::new(self.own, self.port, roster, &pairs);
        tracing::info!(
            members = roster.members.len(),
            stewards = roster.stewards.len(),
            "roster"
        );
        self.thread.post(ToSteward::Roster(Box::new(members)));
        self.remedy.set_roster(roster, clock::now());
    }

    fn handle_question(&mut self, stream: UnixStream) {
        self.waiting.push(stream);
        self.thread.post(ToSteward::Status);
    }

    async fn handle(&mut self, message: FromSteward) {
        match message {
            FromSteward::Judged(judgement) => {
                tracing::debug!(?judgement);
                self.remedy.handle_judgement(&judgement, clock::now());
            }
            FromSteward::Status(snapshot) => {
                let json = serde_json::to_string(&snapshot)
                    .unwrap_or_else(|error| format!("{{\"error\":{:?}}}", error.to_string()));
                for stream in self.waiting.drain(..) {
                    status::answer(stream, &json).await;
                }
            }
        }
    }

    /// Carries out what the remedy wants.
    fn carry_out(&mut self) {
        while let Some(command) = self.remedy.poll_command() {
            match command {
                Command::Call(request) => {
                    let outcome = Outcome::Refused("a static roster has no API".to_owned());
                    let answer = ApiEvent::Answered {
                        id: request.id,
                        tries: 0,
                        outcome,
                    };
                    self.remedy.handle_api(answer, clock::now());
                }
                Command::Withheld(request) => tracing::debug!(call = ?request.call, "observe: not written"),
                Command::Ask(ask) => _ = self.thread.post(ToSteward::Ask(ask)),
                Command::Record(entry) => self.record(&entry),
                Command::Alarm(alarm) => tracing::error!("{alarm}"),
            }
        }
    }

    fn record(&mut self, entry: &Entry) {
        match serde_json::to_string(entry) {
            Ok(line) => tracing::info!(target: "incident", "{line}"),
            Err(error) => tracing::error!(%error, "an incident's entry"),
        }
        if let Err(error) = self.incidents.append(entry) {
            tracing::error!(%error, path = %self.incidents.path().display(), "the incident is in this log only");
        }
    }
}
