//! IO: connections to the API servers: kept warm, each with its limits, and thrown away where one does not answer.
#![expect(
    clippy::disallowed_methods,
    reason = "an IO file: tries are timed out, connections are kept warm by tasks"
)]

use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::http::{Request, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::Client;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use thiserror::Error;
use tokio::sync::watch;
use tower::{BoxError, ServiceBuilder};

use crate::kube::view::{Page, SliceView};
use crate::profile::WRITE_TIMEOUT;
use crate::remedy::request::Http;

/// How often each server is asked something small: an idle connection may have been closed by the other side, and one
/// to a dead server looks like a living one.
const PING: Duration = Duration::from_secs(2);

/// Connections to each server that are kept warm: ledger, taint and slices leave at once.
const WARM: usize = 4;

/// How often the list of servers is read anew.
const DISCOVER: Duration = Duration::from_secs(60);

/// Servers beyond the configured address: enough to survive one.
const MAX_SERVERS: usize = 3;

/// A whole list of 5,000 objects.
const LIST_TIMEOUT: Duration = Duration::from_secs(15);

/// Why there is no connection to Kubernetes at all.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The file cannot be read or understood.
    #[error("kubeconfig {path}: {problem}")]
    Kubeconfig {
        /// Which.
        path: String,
        /// Why.
        problem: String,
    },
    /// There is no file, and this is no pod with a service account either.
    #[error("no kubeconfig was given (--kubeconfig FILE), and this is not a pod: {0}")]
    InCluster(String),
    /// Certificates or credentials are not usable.
    #[error("API server {server}: {problem}")]
    Credentials {
        /// Address.
        server: String,
        /// Why.
        problem: String,
    },
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub code: u16,
    /// Body.
    pub body: Vec<u8>,
}

/// For what a connection is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Short: dead after one unanswered write.
    Calls,
    /// Long, mostly silent: dead after unanswered keepalives.
    Watches,
}

/// One address behind which an API server, or a balancer, answers.
pub struct Server {
    config: kube::Config,
    calls: Mutex<Client>,
    watches: Mutex<Client>,
    /// Counts how often the connections were renewed.
    renewed: watch::Sender<u64>,
    healthy: AtomicBool,
}

impl Server {
    fn new(config: kube::Config) -> Result<Self, ConnectError> {
        Ok(Self {
            calls: Mutex::new(build(&config, Use::Calls)?),
            watches: Mutex::new(build(&config, Use::Watches)?),
            renewed: watch::Sender::new(0),
            healthy: AtomicBool::new(true),
            config,
        })
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> String {
        self.config.cluster_url.to_string()
    }

    fn calls(&self) -> Client {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// For a watch.
    #[must_use]
    pub fn watches(&self) -> Client {
        self.watches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Changes when the connections are renewed: a watch on one of before may hear nothing more.
    #[must_use]
    pub fn renewed(&self) -> watch::Receiver<u64> {
        self.renewed.subscribe()
    }

    /// It did not answer: the next try opens a connection of its own, which may lead to another server behind the same
    /// address.
    pub fn renew(&self) {
        self.healthy.store(false, Ordering::Relaxed);
        for (slot, of) in [(&self.calls, Use::Calls), (&self.watches, Use::Watches)] {
            match build(&self.config, of) {
                Ok(client) => *slot.lock().unwrap_or_else(PoisonError::into_inner) = client,
                Err(error) => tracing::error!(%error, "connections are not renewed"),
            }
        }
        self.renewed.send_modify(|times| *times += 1);
    }

    /// One try, at most [`WRITE_TIMEOUT`]. A try that is given up takes its connection along, so that nothing of it
    /// arrives late.
    ///
    /// # Errors
    /// Why there is no reply; the connections were renewed.
    pub async fn send(&self, http: &Http) -> Result<Reply, String> {
        self.send_within(http, WRITE_TIMEOUT).await
    }

    /// The same with another limit.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_within(&self, http: &Http, limit: Duration) -> Result<Reply, String> {
        let mut request = Request::builder().method(http.method).uri(&http.path);
        if let Some(content_type) = http.content_type {
            request = request.header("content-type", content_type);
        }
        let body = match &http.body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        let request = request
            .body(Body::from(body))
            .map_err(|error| error.to_string())?;
        let client = self.calls();
        let exchange = async {
            let response = client.send(request).await?;
            let code = response.status().as_u16();
            let body = response.into_body().collect_bytes().await?.to_vec();
            Ok::<_, kube::Error>(Reply { code, body })
        };
        let reply = match tokio::time::timeout(limit, exchange).await {
            Ok(Ok(reply)) => {
                self.healthy.store(true, Ordering::Relaxed);
                return Ok(reply);
            }
            Ok(Err(error)) => format!("{}: {}", self.address(), chain(&error)),
            Err(_) => format!("{}: no answer within {} ms", self.address(), limit.as_millis()),
        };
        self.renew();
        Err(reply)
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// All servers: the configured address, and those that the cluster itself names.
pub struct Servers {
    base: kube::Config,
    all: Mutex<Vec<Arc<Server>>>,
}

impl Servers {
    /// With this kubeconfig, or the pod's service account. Nothing is asked yet.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(kubeconfig: Option<&Path>) -> Result<Arc<Self>, ConnectError> {
        let base = match kubeconfig {
            Some(path) => {
                let problem = |error: &dyn std::error::Error| ConnectError::Kubeconfig {
                    path: path.display().to_string(),
                    problem: chain(error),
                };
                let file = Kubeconfig::read_from(path).map_err(|error| problem(&error))?;
                kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                    .await
                    .map_err(|error| problem(&error))?
            }
            None => kube::Config::incluster().map_err(|error| ConnectError::InCluster(chain(&error)))?,
        };
        let first = Arc::new(Server::new(base.clone())?);
        Ok(Arc::new(Self {
            base,
            all: Mutex::new(vec![first]),
        }))
    }

    fn all(&self) -> Vec<Arc<Server>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The server for the n-th try (from 0): those that answered last time first, and of these the ones that are one
    /// server each: behind the configured address a new connection may lead to a dead one.
    #[must_use]
    pub fn pick(&self, n: usize) -> Arc<Server> {
        let mut all = self.all();
        all.rotate_left(1);
        let (mut order, others): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|server| server.healthy.load(Ordering::Relaxed));
        order.extend(others);
        let n = n % order.len().max(1);
        match order.into_iter().nth(n) {
            Some(server) => server,
            // There always is the configured one.
            None => unreachable!("no server is configured"),
        }
    }

    /// A node with these addresses is suspected: a server on it is not asked first any more.
    pub fn avoid(&self, addresses: &[IpAddr]) {
        for server in self.all() {
            let host = server.config.cluster_url.host().unwrap_or_default();
            let host: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
            if host.is_some_and(|host| addresses.contains(&host)) {
                server.renew();
            }
        }
    }

    /// Keeps connections warm and the list of servers true, as long as it is polled.
    pub async fn keep_warm(self: Arc<Self>) {
        let mut since_discovery = DISCOVER;
        loop {
            if since_discovery >= DISCOVER {
                since_discovery = Duration::ZERO;
                if let Err(problem) = self.discover().await {
                    tracing::debug!(problem, "the list of API servers is not read");
                }
            }
            let pings = self.all().into_iter().map(|server| async move {
                let ping = Http {
                    method: "GET",
                    path: String::from("/version"),
                    content_type: None,
                    body: Value::Null,
                };
                let all = (0..WARM).map(|_| server.send(&ping));
                let answers = futures::future::join_all(all).await;
                let alive = answers.iter().any(Result::is_ok);
                server.healthy.store(alive, Ordering::Relaxed);
            });
            futures::future::join_all(pings).await;
            tokio::time::sleep(PING).await;
            since_discovery += PING;
        }
    }

    /// Reads the EndpointSlice of the service `kubernetes`: behind the service address a new connection may lead to the
    /// dead server again.
    async fn discover(&self) -> Result<(), String> {
        let list = Http {
            method: "GET",
            path: String::from(
                "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?fieldSelector=metadata.name%3Dkubernetes",
            ),
            content_type: None,
            body: Value::Null,
        };
        let reply = self.pick(0).send_within(&list, LIST_TIMEOUT).await?;
        if reply.code != 200 {
            return Err(format!("status {}", reply.code));
        }
        let page: Page<SliceView> = serde_json::from_slice(&reply.body).map_err(|error| error.to_string())?;
        let sockets = page.items.iter().flat_map(SliceView::sockets);
        let old = self.all();
        let mut all: Vec<Arc<Server>> = old.iter().take(1).cloned().collect();
        for (ip, port) in sockets.take(MAX_SERVERS) {
            let Some(config) = self.direct(ip, port) else {
                continue;
            };
            let known = old
                .iter()
                .find(|server| server.config.cluster_url == config.cluster_url);
            match known {
                Some(known) if all.iter().any(|server| Arc::ptr_eq(server, known)) => {}
                Some(known) => all.push(Arc::clone(known)),
                None => match Server::new(config) {
                    Ok(server) => {
                        // Not first in line before it has answered.
                        server.healthy.store(false, Ordering::Relaxed);
                        all.push(Arc::new(server));
                    }
                    Err(error) => tracing::warn!(%error, "an API server is left out"),
                },
            }
        }
        *self.all.lock().unwrap_or_else(PoisonError::into_inner) = all;
        Ok(())
    }

    /// The configuration for one server itself. Its certificate is checked for the configured name.
    fn direct(&self, ip: IpAddr, port: u16) -> Option<kube::Config> {
        let url = match ip {
            IpAddr::V4(ip) => format!("https://{ip}:{port}/"),
            IpAddr::V6(ip) => format!("https://[{ip}]:{port}/"),
        };
        let url: Uri = url.parse().ok()?;
        let mut config = self.base.clone();
        if config.tls_server_name.is_none() {
            let host = self.base.cluster_url.host()?;
            config.tls_server_name = Some(host.trim_matches(['[', ']']).to_owned());
        }
        config.cluster_url = url;
        Some(config)
    }
}

fn build(config: &kube::Config, of: Use) -> Result<Client, ConnectError> {
    let problem = |error: kube::Error| ConnectError::Credentials {
        server: config.cluster_url.to_string(),
        problem: chain(&error),
    };
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(WRITE_TIMEOUT));
    connector.set_keepalive(Some(Duration::from_secs(2)));
    connector.set_keepalive_interval(Some(Duration::from_secs(1)));
    connector.set_keepalive_retries(Some(3));
    if of == Use::Calls {
        connector.set_tcp_user_timeout(Some(WRITE_TIMEOUT));
    }
    let https = config
        .rustls_https_connector_with_connector(connector)
        .map_err(problem)?;
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        // A second try must ask its guard first.
        .retry_canceled_requests(false)
        .build::<_, Body>(https);
    let stack = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().map_err(problem)?)
        .map_err(BoxError::from)
        .service(client);
    Ok(ClientBuilder::new(stack, config.default_namespace.clone()).build())
}
