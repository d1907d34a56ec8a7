//! `detector steward`: everything around the real-time thread and the remedy.

use anyhow::Context;
use detector::cli::config::{RosterSource, StewardConfig};
use detector::clock;
use detector::disk::{FileSource, IncidentLog, StateDir};
use detector::identity::MemberId;
use detector::incident::Entry;
use detector::judgement::Ask;
use detector::keys::HostKey;
use detector::kube::agent::AgentApi;
use detector::kube::client::Servers;
use detector::kube::steward::{Heard, Identity, Surroundings};
use detector::realtime::mailbox::Outbox;
use detector::realtime::socket::MeshSocket;
use detector::realtime::steward::{FromSteward, StewardLoop, ToSteward};
use detector::roster::source::Source;
use detector::roster::{Roster, StewardEntry};
use detector::status::{self, Question};
use detector::steward::{Members, Steward};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::fixed;
use super::members::Pairs;
use super::thread::Thread;

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
    let (entry, key, api) = who_am_i(&config, &state).await?;
    let own = entry.id;

    let socket = MeshSocket::bind(config.steward_port)
        .with_context(|| format!("steward-port: UDP {} cannot be bound", config.steward_port))?;
    let steward = Steward::new(own, clock::random()?, common.port, common.profile, clock::now());
    let mut thread = Thread::start("judge", common.realtime, MAILBOX, |inbox, outbox| {
        let parts = StewardLoop {
            steward,
            socket,
            inbox,
            outbox,
        };
        move |scheduling| parts.run(scheduling)
    })?;

    let office = Office {
        own,
        port: common.port,
        thread: thread.inbox().clone(),
        pairs: Pairs::new(key),
        incidents: state.incidents(),
    };
    let identity = Identity {
        entry,
        mode: config.mode,
        profile: common.profile,
    };
    let (heard, hears) = mpsc::channel(MAILBOX);
    let remedy: std::pin::Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>> =
        match (api, &common.roster) {
            (Some(servers), _) => {
                Box::pin(
                    async move { Ok(detector::kube::steward::run(servers, identity, hears, office).await?) },
                )
            }
            (None, RosterSource::File(path)) => {
                Box::pin(fixed::run(FileSource::new(path.clone()), identity, hears, office))
            }
            (None, RosterSource::Kubernetes { .. }) => anyhow::bail!("no API server is known"),
        };
    #[expect(
        clippy::disallowed_methods,
        reason = "the remedy is a task of its own, so that a slow disk or status reader holds up no write"
    )]
    let mut remedy = tokio::spawn(remedy);

    let listener = status::bind(&common.status_socket)
        .with_context(|| format!("status-socket: {}", common.status_socket.display()))?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut waiting: Vec<UnixStream> = Vec::new();
    tracing::info!(node = %common.node_name, id = %own, mode = ?config.mode, port = config.steward_port, "steward started");
    loop {
        tokio::select! {
            // 1. The end.
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            ended = &mut remedy => {
                ended.context("the remedy")??;
                anyhow::bail!("the remedy ended by itself");
            }
            // 2. Verdicts: where the remedy is slow they wait here, and those that find the mailbox full are counted.
            message = thread.next() => match message {
                Err(error) => return Err(thread.silent(error)),
                Ok(FromSteward::Judged(judgement)) => _ = heard.send(Heard::Judgement(*judgement)).await,
                Ok(FromSteward::Fellow(fellow)) => _ = heard.send(Heard::Steward(fellow)).await,
                Ok(FromSteward::SocketFault(error)) => {
                    tracing::error!(%error, "the mesh socket receives nothing");
                }
                Ok(FromSteward::Status(snapshot)) => {
                    let json = serde_json::to_string(&snapshot)?;
                    for stream in waiting.drain(..) {
                        status::answer(stream, &json).await;
                    }
                }
            },
            // 3. Who asks.
            asked = status::next(&listener) => match asked? {
                (Question::Status, stream) => {
                    waiting.push(stream);
                    thread.inbox().post(ToSteward::Status);
                }
                (Question::Leave, stream) => {
                    status::answer(stream, "{}").await;
                    break;
                }
            },
        }
    }
    thread.inbox().post(ToSteward::Stop);
    thread.end()
}

/// The own entry in the roster, its key, and the API where there is one.
async fn who_am_i(
    config: &StewardConfig,
    state: &StateDir,
) -> anyhow::Result<(StewardEntry, HostKey, Option<std::sync::Arc<Servers>>)> {
    let common = &config.common;
    match &common.roster {
        RosterSource::File(path) => {
            let record = state.read_key()?.with_context(|| {
                format!(
                    "state-dir: {} holds no key; `detector keygen` makes one",
                    common.state_dir.display()
                )
            })?;
            let public = record.key.public();
            let roster = FileSource::new(path.clone()).next().await?;
            let entry = roster.stewards.into_iter().find(|steward| steward.key == public);
            let entry =
                entry.with_context(|| format!("roster: no steward has the key {public} of this one"))?;
            Ok((entry, record.key, None))
        }
        RosterSource::Kubernetes { kubeconfig } => {
            let servers = Servers::connect(kubeconfig.as_deref()).await?;
            let ip = match config.address {
                Some(ip) => ip,
                None => {
                    let node = AgentApi::new(std::sync::Arc::clone(&servers), common.node_name.clone())
                        .own_node()
                        .await;
                    let node = node.map_err(anyhow::Error::msg)?;
                    *node
                        .addresses
                        .first()
                        .with_context(|| format!("Node {} has no InternalIP", common.node_name))?
                }
            };
            // It lives in memory: a steward that starts anew is another one.
            let key = HostKey(clock::random_key()?);
            let entry = StewardEntry {
                id: MemberId::of_steward(&format!("{} {:016x}", common.node_name, clock::random()?)),
                node: common.node_name.clone(),
                address: (ip, config.steward_port).into(),
                key: key.public(),
            };
            Ok((entry, key, Some(servers)))
        }
    }
}

/// What the remedy reaches: the real-time thread, the incidents, the log.
struct Office {
    own: MemberId,
    port: u16,
    thread: Outbox<ToSteward>,
    pairs: Pairs,
    incidents: IncidentLog,
}

impl Surroundings for Office {
    fn ask(&mut self, ask: Ask) {
        self.thread.post(ToSteward::Ask(ask));
    }

    fn roster(&mut self, roster: &Roster) {
        let pairs = self.pairs.with(roster, self.own);
        let members = Members::new(self.own, self.port, roster, &pairs);
        tracing::info!(
            members = roster.members.len(),
            stewards = roster.stewards.len(),
            "roster"
        );
        self.thread.post(ToSteward::Roster(Box::new(members)));
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
