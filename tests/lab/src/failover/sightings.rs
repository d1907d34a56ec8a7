//! What a watcher of the API sees of nodes, EndpointSlices and pods, each sighting with its moment: Kubernetes' own times
//! have whole seconds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource};
use serde::de::DeserializeOwned;

use crate::lab::Lab;
use crate::moment::Moment;
use crate::netns::Namespace;

/// A watch that ended is begun again after this.
const AGAIN: Duration = Duration::from_millis(100);
/// How soon a watcher that is told to stop does.
const STOP: Duration = Duration::from_millis(20);

/// Something that was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// When the watch delivered it.
    pub at: Moment,
    /// What.
    pub what: What,
}

/// The part of an object that matters here.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A Node.
    Node {
        /// Its name.
        name: String,
        /// The keys of its taints.
        taints: Vec<String>,
        /// Whether its condition Ready is True.
        ready: bool,
    },
    /// An EndpointSlice of the watched Service.
    Slice {
        /// Its name.
        name: String,
        /// How many ready endpoints it has on which node.
        ready: BTreeMap<String, usize>,
    },
    /// A pod of the watched workload.
    Pod(PodSeen),
}

/// A pod, as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodSeen {
    /// What tells it from its namesakes.
    pub uid: String,
    /// Name.
    pub name: String,
    /// Where it was bound to, once it is.
    pub node: Option<String>,
    /// Whether its condition Ready is True.
    pub ready: bool,
    /// Whether it is being deleted, or gone.
    pub leaving: bool,
}

/// Watches until it is stopped.
#[derive(Debug)]
pub struct Watcher {
    seen: Arc<Mutex<Vec<Sighting>>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Watcher {
    /// Starts watching all nodes, and the pods `app=…` and slices of the Service of that name in `default`.
    ///
    /// # Errors
    /// When the lab has ended.
    pub fn start(lab: &Lab, app: &str) -> Result<Self> {
        let (seen, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let hub = lab.hub()?;
        let kubeconfig = lab.layout().kubeconfig("admin");
        let (to, until, app) = (Arc::clone(&seen), Arc::clone(&stop), app.to_owned());
        let thread = std::thread::spawn(move || watch(&hub, kubeconfig, &app, &to, &until));
        Ok(Self { seen, stop, thread })
    }

    /// Everything seen so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Sighting> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops, and gives everything that was seen.
    ///
    /// # Errors
    /// When it could not watch.
    pub fn stop(self) -> Result<Vec<Sighting>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow!("the watcher's thread panicked"))??;
        Ok(std::mem::take(
            &mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

fn watch(
    hub: &Namespace,
    kubeconfig: PathBuf,
    app: &str,
    seen: &Mutex<Vec<Sighting>>,
    stop: &AtomicBool,
) -> Result<()> {
    hub.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let file = Kubeconfig::read_from(kubeconfig)?;
            let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
            config.proxy_url = None;
            let client = Client::try_from(config)?;
            let all = WatchParams::default();
            let pods = all.clone().labels(&format!("app={app}"));
            let slices = all.clone().labels(&format!("kubernetes.io/service-name={app}"));
            let stopped = async {
                while !stop.load(Ordering::Relaxed) {
                    tokio::time::sleep(STOP).await;
                }
            };
            tokio::select! {
                () = follow(Api::<Node>::all(client.clone()), all, seen, |node, _| of_node(&node)) => {}
                () = follow(Api::<Pod>::namespaced(client.clone(), "default"), pods, seen, of_pod) => {}
                () = follow(Api::<EndpointSlice>::namespaced(client, "default"), slices, seen, of_slice) => {}
                () = stopped => {}
            }
            anyhow::Ok(())
        })
    })?
}

/// Watches one kind, again and again: each watch begins with everything that there is.
async fn follow<K>(
    api: Api<K>,
    parameters: WatchParams,
    seen: &Mutex<Vec<Sighting>>,
    reduce: impl Fn(K, bool) -> What,
) where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let note = |object: K, gone: bool| {
        let at = Moment::now();
        let what = reduce(object, gone);
        seen.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Sighting { at, what });
    };
    loop {
        if let Ok(events) = api.watch(&parameters, "0").await {
            let mut events = std::pin::pin!(events);
            while let Ok(Some(event)) = events.try_next().await {
                match event {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => note(object, false),
                    WatchEvent::Deleted(object) => note(object, true),
                    WatchEvent::Bookmark(_) | WatchEvent::Error(_) => {}
                }
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn of_node(node: &Node) -> What {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    What::Node {
        name: node.metadata.name.clone().unwrap_or_default(),
        taints: taints
            .into_iter()
            .flatten()
            .map(|taint| taint.key.clone())
            .collect(),
        ready: crate::api::is_ready(node, None),
    }
}

fn of_slice(slice: EndpointSlice, gone: bool) -> What {
    let mut ready = BTreeMap::new();
    for endpoint in slice.endpoints.iter().filter(|_| !gone) {
        let is_ready = endpoint
            .conditions
            .as_ref()
            .and_then(|conditions| conditions.ready);
        if is_ready != Some(false) {
            *ready
                .entry(endpoint.node_name.clone().unwrap_or_default())
                .or_insert(0) += 1;
        }
    }
    What::Slice {
        name: slice.metadata.name.unwrap_or_default(),
        ready,
    }
}

fn of_pod(pod: Pod, gone: bool) -> What {
    let conditions = pod.status.and_then(|status| status.conditions);
    let is_ready = conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    What::Pod(PodSeen {
        uid: pod.metadata.uid.unwrap_or_default(),
        name: pod.metadata.name.unwrap_or_default(),
        node: pod.spec.and_then(|spec| spec.node_name),
        ready: is_ready && !gone,
        leaving: gone || pod.metadata.deletion_timestamp.is_some(),
    })
}
