//! IO: the tokio side of a steward: watches feed the remedy and the publisher, the writer carries out what they decide.
#![expect(
    clippy::disallowed_methods,
    reason = "an IO file: what is published is a task"
)]

mod watches;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::clock;
use crate::identity::MemberId;
use crate::incident::Entry;
use crate::judgement::{Ask, Judgement, Verdict};
use crate::kube::client::Servers;
use crate::kube::publish::{MapState, Publish, Publisher};
use crate::kube::view::MapView;
use crate::kube::writer::Writer;
use crate::names;
use crate::profile::Profile;
use crate::remedy::command::{ApiEvent, Command};
use crate::remedy::verdicts::Verdicts;
use crate::remedy::{Config, Mode, Remedy, ledger, pause};
use crate::roster::shard::{MEMBERS, STEWARDS};
use crate::roster::{Roster, StewardEntry};
use crate::time::Instant;
use watches::{Seen, watch_all};

/// Events of watches and answers on their way to the remedy; a full channel holds the watches back.
const CHANNEL: usize = 4_096;

/// What the steward tells its other half, and its log.
pub trait Surroundings: Send {
    /// The judge is asked.
    fn ask(&mut self, ask: Ask);
    /// Members or stewards changed.
    fn roster(&mut self, roster: &Roster);
    /// Something happened in an incident.
    fn record(&mut self, entry: &Entry);
}

/// What the steward hears from its other half.
#[derive(Clone, Debug)]
pub enum Heard {
    /// The judge spoke.
    Judgement(Judgement),
    /// Another steward greeted.
    Steward(MemberId),
}

/// Who this steward is, and what it may do.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its entry in the roster.
    pub entry: StewardEntry,
    /// Whether what is decided is written.
    pub mode: Mode,
    /// When the second look is.
    pub profile: Profile,
}

/// Runs until `heard` is closed.
///
/// # Errors
/// There is no randomness.
pub async fn run(
    servers: Arc<Servers>,
    identity: Identity,
    mut heard: mpsc::Receiver<Heard>,
    mut surroundings: impl Surroundings,
) -> std::io::Result<()> {
    let (seen_sender, mut seen) = mpsc::channel(CHANNEL);
    let (answer_sender, mut answers) = mpsc::channel(CHANNEL);
    let verdicts = Arc::new(Mutex::new(Verdicts::default()));
    let instance = format!("{}/{}", identity.entry.node, identity.entry.id);
    let mut steward = Steward {
        remedy: Remedy::new(
            Config {
                own: identity.entry.id,
                own_node: identity.entry.node.clone(),
                mode: identity.mode,
                profile: identity.profile,
                seed: clock::random()?,
            },
            clock::wall(),
        ),
        publisher: Publisher::new(identity.entry, identity.mode),
        writer: Writer::new(
            Arc::clone(&servers),
            Arc::clone(&verdicts),
            instance,
            answer_sender,
        ),
        verdicts,
        servers: Arc::clone(&servers),
        seen: seen_sender.clone(),
        members: Roster::default(),
    };
    let warm = tokio::spawn(Arc::clone(&servers).keep_warm());
    let watches = watch_all(&servers, &seen_sender);
    loop {
        let now = clock::now();
        let at = steward
            .remedy
            .poll_timeout()
            .min(steward.publisher.poll_timeout(now));
        tokio::select! {
            biased;
            // 1. What the judge says, above all that something lives again.
            news = heard.recv() => match news {
                Some(news) => steward.heard(&news),
                None => break,
            },
            // 2. Answers: each lets the next step begin.
            answer = answers.recv() => if let Some(answer) = answer {
                steward.remedy.handle_api(answer, clock::now());
            },
            // 3. Watches: what is there is taken together, or a long list would move everything for each of its Nodes.
            first = seen.recv() => {
                let mut next = first;
                for _ in 0..CHANNEL {
                    let Some(event) = next else { break };
                    steward.seen(event);
                    next = seen.try_recv().ok();
                }
            },
            // 4. Time.
            () = clock::sleep_until(at) => {},
        }
        steward.go_on(&mut surroundings);
    }
    warm.abort();
    for watch in watches {
        watch.abort();
    }
    Ok(())
}

struct Steward {
    remedy: Remedy,
    publisher: Publisher,
    writer: Arc<Writer>,
    verdicts: Arc<Mutex<Verdicts>>,
    servers: Arc<Servers>,
    seen: mpsc::Sender<Seen>,
    members: Roster,
}

impl Steward {
    /// The writer's table first: a try that begins now must know.
    fn verdicts(&self, change: impl FnOnce(&mut Verdicts)) {
        change(&mut self.verdicts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn heard(&mut self, news: &Heard) {
        let now = clock::now();
        match news {
            Heard::Judgement(judgement) => {
                self.verdicts(|verdicts| verdicts.note(judgement));
                if let Judgement::EarlyWarning { subject, .. }
                | Judgement::Changed {
                    subject,
                    verdict: Verdict::Dead,
                    ..
                } = judgement
                    && let Some(member) = self.members.members.get(subject)
                {
                    self.servers.avoid(&member.addresses);
                }
                self.remedy.handle_judgement(judgement, now);
            }
            Heard::Steward(steward) => self.publisher.handle_heard(*steward, now),
        }
    }

    fn seen(&mut self, seen: Seen) {
        let now = clock::now();
        match seen {
            Seen::Node(view) => {
                self.publisher.handle_member(view.member(), now);
                self.remedy.handle_api(ApiEvent::Node(view.node()), now);
            }
            Seen::NodeGone(uid) => {
                self.publisher.handle_member_gone(&uid, now);
                self.remedy.handle_api(ApiEvent::NodeGone { uid }, now);
            }
            Seen::Synced => self.publisher.handle_synced(now),
            Seen::Api(event) => self.remedy.handle_api(event, now),
            Seen::Map(name, map) => self.map_seen(name, map.as_ref(), now),
            Seen::Published(name, done) => self.publisher.handle_written(name, done, now),
        }
    }

    fn map_seen(&mut self, name: &'static str, map: Option<&MapView>, now: Instant) {
        let state = |key: &str| {
            map.map(|map| MapState {
                resource_version: map.metadata.resource_version.clone(),
                text: map.data.get(key).cloned(),
            })
        };
        match name {
            names::LEDGER => {
                self.publisher.handle_map(name, state(ledger::KEY), now);
                if let Some(map) = map {
                    self.remedy.handle_api(ApiEvent::Ledger(map.ledger()), now);
                }
            }
            names::SETTINGS => {
                let value = map.and_then(|map| map.data.get(pause::KEY)).cloned();
                self.verdicts(|verdicts| verdicts.pause(pause::is_paused(value.as_deref())));
                self.remedy.handle_api(ApiEvent::Paused(value), now);
            }
            names::ROSTER => self.publisher.handle_map(name, state(MEMBERS), now),
            _ => self.publisher.handle_map(name, state(STEWARDS), now),
        }
    }

    /// Everything that is due, and everything that is wanted.
    fn go_on(&mut self, surroundings: &mut impl Surroundings) {
        let now = clock::now();
        self.remedy.set_wall(clock::wall());
        if let Some(roster) = self.publisher.take_roster() {
            self.remedy.set_roster(&roster, now);
            surroundings.roster(&roster);
            self.verdicts(|verdicts| verdicts.keep(|subject| roster.members.contains_key(&subject)));
            self.members = roster;
        }
        if self.remedy.poll_timeout() <= now {
            self.remedy.handle_timeout(now);
        }
        while let Some(command) = self.remedy.poll_command() {
            match command {
                Command::Call(request) => self.writer.carry_out(request),
                Command::Withheld(request) => {
                    tracing::info!(incident = %request.incident, call = ?request.call, "withheld");
                }
                Command::Ask(ask) => {
                    if let Ask::SaysAlive { subject, boot } = ask {
                        self.verdicts(|verdicts| verdicts.says_alive(subject, boot));
                    }
                    surroundings.ask(ask);
                }
                Command::Record(entry) => surroundings.record(&entry),
                Command::Alarm(alarm) => tracing::error!(alarm, "needs a human"),
            }
        }
        if let Some(publish) = self.publisher.poll(now) {
            self.publish(publish);
        }
    }

    fn publish(&self, publish: Publish) {
        let (servers, seen) = (Arc::clone(&self.servers), self.seen.clone());
        tokio::spawn(async move {
            let reply = servers.pick(0).send(&publish.http()).await;
            let done = matches!(&reply, Ok(reply) if (200..300).contains(&reply.code));
            match reply {
                // Somebody was first.
                Ok(reply) if done || reply.code == 409 => {}
                Ok(reply) => tracing::warn!(name = publish.name, code = reply.code, "not published"),
                Err(reason) => tracing::warn!(name = publish.name, reason, "not published"),
            }
            let _ended = seen.send(Seen::Published(publish.name, done)).await;
        });
    }
}
