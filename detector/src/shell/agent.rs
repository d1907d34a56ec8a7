//! `detector agent`: everything around the real-time thread.
#![expect(clippy::disallowed_methods, reason = "a shell is IO: it waits")]

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use detector::agent::{Agent, Event, Neighbours};
use detector::cli::config::AgentConfig;
use detector::clock;
use detector::datapath::{Carrier, Config, Datapath};
use detector::disk::StateDir;
use detector::identity::MemberId;
use detector::local::farewell::farewell;
use detector::local::systemd::{BUS_SOCKET, SYSTEMD_SOCKET, host_state};
use detector::message::Farewell;
use detector::realtime::agent::{AgentLoop, AgentSnapshot, FromAgent, ToAgent};
use detector::realtime::mailbox::Outbox;
use detector::realtime::socket::MeshSocket;
use detector::rings::Rings;
use detector::roster::Roster;
use detector::roster::source::Source;
use detector::status::{self, Question};
use detector_common::packet::health;
use serde::Serialize;
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};

use super::host::{Host, publish};
use super::key::{self, Found, Keeper};
use super::kubelet;
use super::members::{Pairs, addresses};
use super::thread::Thread;

/// Messages that wait on either side of the real-time thread.
const MAILBOX: usize = 256;

/// How long `detector cleanup` waits for the agent to end.
const LEAVE_PATIENCE: Duration = Duration::from_secs(3);

/// Runs until a signal, or until `detector cleanup` asks it to leave.
pub(crate) fn run(config: AgentConfig) -> anyhow::Result<()> {
    super::prepare(&config.common)?;
    super::runtime()?.block_on(agent(config))
}

/// Asks an agent that may run behind `socket` to say goodbye as one that is removed, and waits for its end.
pub(crate) fn say_left(socket: &Path) -> anyhow::Result<()> {
    super::small_runtime()?.block_on(async {
        if status::ask(socket, Question::Leave).await.is_err() {
            return Ok(());
        }
        let gone = async {
            while UnixStream::connect(socket).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LEAVE_PATIENCE, gone).await.with_context(|| {
            format!(
                "{}: the agent was told to leave, and still runs",
                socket.display()
            )
        })
    })
}

async fn agent(config: AgentConfig) -> anyhow::Result<()> {
    let common = &config.common;
    let state = StateDir::open(&common.state_dir)?;
    let boot = clock::boot_id().context("/proc/sys/kernel/random/boot_id")?;
    let found = Found::look(&state, &config.bpffs)?;
    let mut host = Host::find(common, &state, &found).await?;
    let own = MemberId::of_node(&host.uid);
    let keeper = found.settle(state.clone(), &config.bpffs, &host.uid, host.announced)?;
    if let (Some(api), Some(key)) = (&host.api, keeper.key()) {
        publish(api.clone(), key.public());
    }

    let incarnation = clock::random()?;
    let low = u32::try_from(incarnation & u64::from(u32::MAX))?;
    let mut datapath = Datapath::open(&Config {
        port: common.port,
        echo: config.echo,
        bpffs: config.bpffs.clone(),
        members: Vec::new(),
    });
    if let Err(error) = datapath.set_me(own.0, boot.0, low) {
        tracing::error!(
            error = error.reason(),
            "the kernel program does not know who this is: the socket answers"
        );
    }
    let socket = MeshSocket::bind(common.port)
        .with_context(|| format!("port: UDP {} cannot be bound", common.port))?;
    let agent = Agent::new(own, boot, incarnation, common.port, common.profile, clock::now());
    let mut thread = Thread::start("mesh", common.realtime, MAILBOX, |inbox, outbox| {
        let parts = AgentLoop {
            agent,
            datapath,
            me: (own, boot),
            socket,
            inbox,
            outbox,
        };
        move |scheduling| parts.run(scheduling)
    })?;

    let mut desk = Desk {
        own,
        port: common.port,
        thread: thread.inbox().clone(),
        pairs: keeper.key().cloned().map(Pairs::new),
        health: 0,
        keeper,
        echo: String::new(),
        waiting: Vec::new(),
        link_up: true,
        leaving: false,
    };
    desk.tell_key();
    if let Some(copy) = host.copy.take() {
        desk.handle_roster(&copy);
    }
    let listener = status::bind(&common.status_socket)
        .with_context(|| format!("status-socket: {}", common.status_socket.display()))?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut carrier = Carrier::open().context("rtnetlink")?;
    let mut kubelet = kubelet::watch(config.kubelet_healthz);
    let mut looks = tokio::time::interval(key::LOOK);
    looks.reset();
    tracing::info!(node = %common.node_name, id = %own, boot = %boot, port = common.port, "agent started");
    loop {
        tokio::select! {
            // 1. The end: nothing may delay the goodbye.
            _ = terminate.recv() => desk.leave(said_by_host().await),
            _ = interrupt.recv() => desk.leave(said_by_host().await),
            // 2. What the thread says.
            message = thread.next() => {
                let message = match message {
                    Ok(message) => message,
                    Err(error) => return Err(thread.silent(error)),
                };
                if let FromAgent::Unheard(boot) = message {
                    host.say_alive(boot);
                }
                if let Some(acknowledged) = desk.handle(message).await {
                    tracing::info!(acknowledged, "goodbye said");
                    break;
                }
            }
            // 3. Who is a member.
            roster = host.source.next() => match roster {
                Ok(roster) => {
                    desk.handle_roster(&roster);
                    desk.handle_link(carrier.set_members(&addresses(&roster, own)));
                    host.keep(&state, &roster);
                }
                Err(error) => tracing::error!(%error, "the last roster stands"),
            },
            // 4. How this node is.
            up = carrier.changed() => desk.handle_link(up?),
            Ok(()) = kubelet.changed() => {
                let down = *kubelet.borrow_and_update();
                desk.handle_health(health::KUBELET_DOWN, down);
            }
            _ = looks.tick() => {
                desk.keeper.look();
                desk.tell_key();
            }
            // 5. Who asks.
            asked = status::next(&listener) => match asked? {
                (Question::Status, stream) => desk.handle_question(stream),
                (Question::Leave, stream) => {
                    desk.leave(Farewell::Left);
                    status::answer(stream, "{}").await;
                }
            },
        }
    }
    thread.end()
}

async fn said_by_host() -> Farewell {
    farewell(&host_state(Path::new(SYSTEMD_SOCKET), Path::new(BUS_SOCKET)).await)
}

/// What `detector status` shows.
#[derive(Serialize)]
struct Told<'a> {
    /// The last that an operator must hear of since this agent started; null: nothing.
    alarm: Option<&'a str>,
    #[serde(flatten)]
    snapshot: &'a AgentSnapshot,
}

/// What tokio's side knows.
struct Desk {
    own: MemberId,
    port: u16,
    thread: Outbox<ToAgent>,
    keeper: Keeper,
    /// None: the host's key is gone, and the kernel and the socket echo on with the pinned ones.
    pairs: Option<Pairs>,
    health: u32,
    echo: String,
    waiting: Vec<UnixStream>,
    link_up: bool,
    leaving: bool,
}

impl Desk {
    fn leave(&mut self, farewell: Farewell) {
        if !std::mem::replace(&mut self.leaving, true) {
            tracing::info!(?farewell, "saying goodbye");
            self.thread.post(ToAgent::Farewell(farewell));
        }
    }

    fn handle_roster(&mut self, roster: &Roster) {
        let routes = addresses(roster, self.own);
        let Some(pairs) = &mut self.pairs else {
            self.thread.post(ToAgent::Routes(routes));
            return;
        };
        if !roster.members.contains_key(&self.own) {
            tracing::warn!("this node is not in the roster: it is watched by nobody");
        }
        let pairs = pairs.with(roster, self.own);
        let neighbours = Neighbours::new(self.own, self.port, roster, &Rings::new(roster), &pairs);
        tracing::info!(
            members = roster.members.len(),
            stewards = roster.stewards.len(),
            "roster"
        );
        self.thread.post(ToAgent::Roster(Box::new(neighbours), routes));
        // The way of the echo may have changed with the routes: it is told when it has.
        self.thread.post(ToAgent::Status);
    }

    fn handle_link(&mut self, up: bool) {
        if std::mem::replace(&mut self.link_up, up) != up {
            tracing::warn!(up, "the link to the members");
            self.thread.post(ToAgent::Link(up));
        }
    }

    /// A bit of [`health`] holds now, or does not.
    fn handle_health(&mut self, bit: u32, holds: bool) {
        self.health = if holds {
            self.health | bit
        } else {
            self.health & !bit
        };
        self.thread.post(ToAgent::Health(self.health));
    }

    fn tell_key(&mut self) {
        self.handle_health(health::KEY_LOST, self.keeper.is_lost());
    }

    fn handle_question(&mut self, stream: UnixStream) {
        self.waiting.push(stream);
        self.thread.post(ToAgent::Status);
    }

    /// Whether the goodbye was acknowledged, once it is said.
    async fn handle(&mut self, message: FromAgent) -> Option<bool> {
        match message {
            FromAgent::Departed { acknowledged } => return Some(acknowledged),
            FromAgent::Unheard(boot) => {
                tracing::warn!(%boot, "no observer asks any more: the API is told that this boot lives");
            }
            FromAgent::SocketFault(error) => tracing::error!(%error, "the mesh socket receives nothing"),
            FromAgent::KernelMaps(error) => tracing::error!(error, "the kernel's maps"),
            FromAgent::Event(Event::LateTick) => {
                tracing::warn!("the own tick was late: this observer abstains for a window");
            }
            FromAgent::Event(Event::Raised { incarnation }) => {
                tracing::info!(incarnation, "sequences go on above those of an earlier process");
            }
            FromAgent::Status(snapshot) => {
                let echo = format!("{} ({})", snapshot.echo_mode, snapshot.echo_reason);
                if self.echo != echo {
                    tracing::info!(mode = snapshot.echo_mode, reason = snapshot.echo_reason, "echo");
                    self.echo = echo;
                }
                if !self.waiting.is_empty() {
                    let told = Told {
                        alarm: self.keeper.alarm(),
                        snapshot: &snapshot,
                    };
                    let json = serde_json::to_string(&told)
                        .unwrap_or_else(|error| format!("{{\"error\":{:?}}}", error.to_string()));
                    for stream in self.waiting.drain(..) {
                        status::answer(stream, &json).await;
                    }
                }
            }
        }
        None
    }
}
