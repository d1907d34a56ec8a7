//! Who an agent's host is, and how it reaches the API: by name in a static roster, by its Node under Kubernetes.
#![expect(
    clippy::disallowed_methods,
    reason = "calls to the API are tasks: nothing of the mesh waits for them"
)]

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use detector::cli::config::{Common, RosterSource};
use detector::clock;
use detector::disk::{FileSource, StateDir};
use detector::identity::BootId;
use detector::kube::agent::{AgentApi, MapSource};
use detector::kube::client::Servers;
use detector::roster::{PublicKey, Roster};

use super::key::Found;
use super::members::AnySource;

/// Between two tries to announce the key: as long as it is not announced, nobody watches this node.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(1);

/// The host.
pub(crate) struct Host {
    /// The Node's UID, or the name in a static roster.
    pub(crate) uid: String,
    /// The public key that is written on the Node.
    pub(crate) announced: Option<PublicKey>,
    /// Rosters.
    pub(crate) source: AnySource,
    /// The roster as it last was, until the API gives another one.
    pub(crate) copy: Option<Roster>,
    /// None: a static roster.
    pub(crate) api: Option<AgentApi>,
}

impl Host {
    pub(crate) async fn find(common: &Common, state: &StateDir, key: &Found) -> anyhow::Result<Self> {
        match &common.roster {
            RosterSource::File(path) => Ok(Self {
                uid: common.node_name.clone(),
                announced: None,
                source: AnySource::File(FileSource::new(path.clone())),
                copy: None,
                api: None,
            }),
            RosterSource::Kubernetes { kubeconfig } => {
                let servers = Servers::connect(kubeconfig.as_deref()).await?;
                let api = AgentApi::new(Arc::clone(&servers), common.node_name.clone());
                let (uid, announced) = match api.own_node().await {
                    Ok(node) => (node.uid, node.key),
                    // An agent that starts in an API outage is who it was.
                    Err(error) => {
                        let uid = key
                            .node_uid()
                            .with_context(|| format!("{error}; and there is no key of before"))?;
                        tracing::warn!(error, uid, "no API: this is the Node of the key that is here");
                        (uid.to_owned(), None)
                    }
                };
                let copy = state.read_roster().unwrap_or_else(|error| {
                    tracing::warn!(%error, "the roster's copy is not used");
                    None
                });
                Ok(Self {
                    uid,
                    announced,
                    source: AnySource::Maps(MapSource::watch(&servers)),
                    copy,
                    api: Some(api),
                })
            }
        }
    }

    /// Keeps a copy for the next outage.
    pub(crate) fn keep(&self, state: &StateDir, roster: &Roster) {
        if self.api.is_some()
            && let Err(error) = state.write_roster(roster)
        {
            tracing::warn!(%error, "no copy of the roster is kept");
        }
    }

    /// Tells the API that this boot lives.
    pub(crate) fn say_alive(&self, boot: BootId) {
        let Some(api) = self.api.clone() else {
            return;
        };
        let uid = self.uid.clone();
        tokio::spawn(async move {
            if let Err(error) = api.say_alive(&uid, boot, clock::now().0).await {
                tracing::warn!(error, "the API was not told that this boot lives");
            }
        });
    }
}

/// Announces the key on the own Node, until it stands there.
pub(crate) fn publish(api: AgentApi, key: PublicKey) {
    tokio::spawn(async move {
        while let Err(error) = api.publish_key(&key).await {
            tracing::warn!(error, "the public key is not announced yet");
            tokio::time::sleep(ANNOUNCE_AGAIN).await;
        }
        tracing::info!(%key, "the public key stands on the Node");
    });
}
