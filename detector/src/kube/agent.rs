//! IO: what an agent asks of the API: its own Node's two annotations, and the roster.
#![expect(
    clippy::disallowed_methods,
    reason = "an IO file: watches are tasks, tries are spaced"
)]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::clock;
use crate::identity::BootId;
use crate::kube::client::Servers;
use crate::kube::view::{MapView, NodeView, Object};
use crate::kube::watch::{Change, Target, follow};
use crate::kube::writer::pause;
use crate::names;
use crate::profile::UNHEARD_REPEAT;
use crate::remedy::request::{Http, node_path};
use crate::roster::shard::{MEMBERS, STEWARDS, Shards};
use crate::roster::source::{Source, SourceError};
use crate::roster::{PublicKey, Roster};

/// Tries of one call; the caller decides whether to begin again.
const MAX_TRIES: usize = 3;

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// The Node that this agent runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnNode {
    /// Its UID.
    pub uid: String,
    /// InternalIPs.
    pub addresses: Vec<IpAddr>,
    /// The public key that is written on it.
    pub key: Option<PublicKey>,
}

/// The API as an agent uses it.
#[derive(Clone)]
pub struct AgentApi {
    servers: Arc<Servers>,
    node: String,
}

impl AgentApi {
    /// For the Node with this name.
    #[must_use]
    pub const fn new(servers: Arc<Servers>, node: String) -> Self {
        Self { servers, node }
    }

    /// The own Node.
    ///
    /// # Errors
    /// What the API server, or the last try, says.
    pub async fn own_node(&self) -> Result<OwnNode, String> {
        let http = Http {
            method: "GET",
            path: node_path(&self.node),
            content_type: None,
            body: Value::Null,
        };
        self.send(&http).await
    }

    /// Writes the public key on the own Node, if it does not stand there.
    ///
    /// # Errors
    /// As [`Self::own_node`].
    pub async fn publish_key(&self, key: &PublicKey) -> Result<OwnNode, String> {
        let own = self.own_node().await?;
        if own.key.as_ref() == Some(key) {
            return Ok(own);
        }
        let http = self.annotation(&own.uid, names::PUBLIC_KEY, &key.to_string());
        self.send(&http).await
    }

    /// Says that this boot lives, where no probe arrives: again and again, until it is said, refused, or due to be said
    /// anew ([`UNHEARD_REPEAT`]), as a verdict may come about meanwhile. `word` must differ from the last one: what is
    /// news to the stewards is a change.
    ///
    /// # Errors
    /// What the API server, or the last try, says.
    pub async fn say_alive(&self, uid: &str, boot: BootId, word: u64) -> Result<(), String> {
        let http = self.annotation(uid, names::ALIVE, &format!("{boot} {word}"));
        let began = clock::now();
        let mut tried = 0;
        loop {
            let reason = match self.send_once(&http, tried).await {
                Ok(_) => return Ok(()),
                Err(Failure::Final(reason)) => return Err(reason),
                Err(Failure::Again(reason)) => reason,
            };
            let drawn = clock::random().unwrap_or(u64::MAX);
            let Some(pause) = pause_of_word(tried, clock::now().since(began), drawn) else {
                return Err(format!("{reason} (after {} tries)", tried + 1));
            };
            tokio::time::sleep(pause).await;
            tried += 1;
        }
    }

    /// Bound to the UID: a Node that was made again under this name is not ours to speak for.
    fn annotation(&self, uid: &str, key: &str, value: &str) -> Http {
        Http {
            method: "PATCH",
            path: node_path(&self.node),
            content_type: Some("application/merge-patch+json"),
            body: json!({"metadata": {"uid": uid, "annotations": {key: value}}}),
        }
    }

    async fn send(&self, http: &Http) -> Result<OwnNode, String> {
        let mut last = String::new();
        for tried in 0..MAX_TRIES {
            if tried > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            match self.send_once(http, tried).await {
                Ok(node) => return Ok(node),
                Err(Failure::Final(reason)) => return Err(reason),
                Err(Failure::Again(reason)) => last = reason,
            }
        }
        Err(last)
    }

    async fn send_once(&self, http: &Http, tried: usize) -> Result<OwnNode, Failure> {
        let reply = self
            .servers
            .pick(tried)
            .send(http)
            .await
            .map_err(Failure::Again)?;
        if reply.code == 200 {
            let view: NodeView =
                serde_json::from_slice(&reply.body).map_err(|error| Failure::Final(error.to_string()))?;
            let key = view.member().key;
            return Ok(OwnNode {
                uid: view.metadata.uid.clone(),
                addresses: view.addresses(),
                key,
            });
        }
        let body = String::from_utf8_lossy(&reply.body);
        let body: String = body.chars().take(300).collect();
        let reason = format!("Node {}: {} {body}", self.node, reply.code);
        Err(if reply.code < 500 && reply.code != 429 {
            Failure::Final(reason)
        } else {
            Failure::Again(reason)
        })
    }
}

/// Why a try failed, and whether another one may not.
enum Failure {
    Final(String),
    Again(String),
}

/// The pause after the try of this number, 0 the first, when the word has waited this long; None: the next word is due
/// before.
fn pause_of_word(tried: usize, waited: Duration, drawn: u64) -> Option<Duration> {
    let pause = pause(u32::try_from(tried).unwrap_or(u32::MAX), drawn);
    (waited + pause < UNHEARD_REPEAT).then_some(pause)
}

/// A ConfigMap of our namespace: the target of its watch.
#[must_use]
pub fn map_target(name: &str) -> Target {
    Target {
        path: format!("/api/v1/namespaces/{}/configmaps", names::NAMESPACE),
        selectors: format!("fieldSelector=metadata.name%3D{name}"),
    }
}

/// The roster from its ConfigMaps.
pub struct MapSource {
    seen: mpsc::Receiver<(&'static str, Option<String>)>,
    shards: Shards,
    last: Option<Roster>,
}

impl MapSource {
    /// Begins to watch.
    #[must_use]
    pub fn watch(servers: &Arc<Servers>) -> Self {
        let (sender, seen) = mpsc::channel(16);
        for (name, key) in [(names::ROSTER, MEMBERS), (names::STEWARDS, STEWARDS)] {
            let (servers, sender) = (Arc::clone(servers), sender.clone());
            tokio::spawn(follow(
                servers,
                map_target(name),
                move |change: Change<MapView>| {
                    let texts: BTreeMap<String, Option<String>> = match change {
                        Change::All(maps) => maps.into_iter().map(|map| text(map, key)).collect(),
                        Change::Applied(map) => [text(map, key)].into(),
                        // A roster that is deleted is still the last one known.
                        Change::Gone(_) => BTreeMap::new(),
                    };
                    let sender = sender.clone();
                    async move {
                        match texts.into_iter().find(|(of, _)| of == name) {
                            Some((_, text)) => sender.send((name, text)).await.is_ok(),
                            None => !sender.is_closed(),
                        }
                    }
                },
            ));
        }
        Self {
            seen,
            shards: Shards::default(),
            last: None,
        }
    }
}

fn text(mut map: MapView, key: &str) -> (String, Option<String>) {
    (map.meta().name.clone(), map.data.remove(key))
}

impl Source for MapSource {
    async fn next(&mut self) -> Result<Roster, SourceError> {
        loop {
            let problem = |from: &str, problem: String| SourceError {
                from: format!("ConfigMap {}/{from}", names::NAMESPACE),
                problem,
            };
            let Some((name, text)) = self.seen.recv().await else {
                return Err(problem(names::ROSTER, String::from("its watch has ended")));
            };
            let Some(text) = text else {
                continue;
            };
            let read = if name == names::ROSTER {
                self.shards.handle_members(&text)
            } else {
                self.shards.handle_stewards(&text)
            };
            read.map_err(|error| problem(name, error.to_string()))?;
            let roster = self.shards.roster();
            if let Some(roster) = roster
                && self.last.as_ref() != Some(&roster)
            {
                self.last = Some(roster.clone());
                return Ok(roster);
            }
        }
    }
}

#[cfg(test)]
mod tests;
