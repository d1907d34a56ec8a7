//! The lab's API server, asked as its administrator from inside the lab's network.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::api::{ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::Value;
use tokio::runtime::Runtime;

/// One call to the API.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// A lab lives no longer.
const TOKEN_SECONDS: i64 = 30 * 24 * 3600;

/// A client and the runtime that drives it, in the thread (and so the network namespace) that uses it.
pub struct Cluster {
    runtime: Runtime,
    client: Client,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Cluster")
    }
}

impl Cluster {
    /// Reads that kubeconfig and no other.
    ///
    /// # Errors
    /// When the file is not one.
    pub fn new(kubeconfig: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let client = runtime.block_on(async {
            let file = Kubeconfig::read_from(kubeconfig)?;
            let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
            config.connect_timeout = Some(Duration::from_secs(2));
            // The caller's environment may name one; nothing of a lab is behind it.
            config.proxy_url = None;
            anyhow::Ok(Client::try_from(config)?)
        });
        let client = client.with_context(|| format!("kubeconfig {}", kubeconfig.display()))?;
        Ok(Self { runtime, client })
    }

    /// The client, for calls inside [`Cluster::run`].
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Drives calls to the API, for ten seconds at most.
    ///
    /// # Errors
    /// Those of the calls; when they take too long.
    pub fn run<T, E>(&self, calls: impl Future<Output = Result<T, E>>) -> Result<T>
    where
        E: Into<anyhow::Error>,
    {
        let limited = async { tokio::time::timeout(CALL_LIMIT, calls).await };
        self.runtime
            .block_on(limited)
            .context("the API server did not answer within 10 s")?
            .map_err(Into::into)
    }

    /// Whether the API server says that it is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else {
            return false;
        };
        self.run(self.client.request_text(request)).is_ok()
    }

    /// Whether the controllers have given the default namespace its service account.
    ///
    /// # Errors
    /// Those of the API.
    pub fn has_service_account(&self) -> Result<bool> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client(), "default");
        Ok(self.run(async { api.get_opt("default").await })?.is_some())
    }

    /// One request as it is: method, path with query, body; gives the answer's body.
    ///
    /// # Errors
    /// Every status but 2xx, with the API server's words.
    pub fn request(&self, method: &str, path: &str, content: &str, body: &Value) -> Result<Value> {
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            serde_json::to_vec(body)?
        };
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content);
        let answer = self.run(self.client.request_text(request.body(bytes)?))?;
        Ok(serde_json::from_str(&answer)?)
    }

    /// All Nodes.
    ///
    /// # Errors
    /// Those of the API.
    pub fn nodes(&self) -> Result<Vec<Node>> {
        let api: Api<Node> = Api::all(self.client());
        Ok(self.run(async { api.list(&ListParams::default()).await })?.items)
    }

    /// A token of a service account, bound to a Node where one is given: so it carries that node's name and ends with
    /// the Node, as a pod's would.
    ///
    /// # Errors
    /// Those of the API.
    pub fn token(&self, namespace: &str, account: &str, node: Option<&Node>) -> Result<String> {
        let bound = node.map(|node| BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: node.metadata.name.clone(),
            uid: node.metadata.uid.clone(),
        });
        let spec = TokenRequestSpec {
            audiences: Vec::new(),
            bound_object_ref: bound,
            expiration_seconds: Some(TOKEN_SECONDS),
        };
        let request = TokenRequest {
            spec,
            ..TokenRequest::default()
        };
        let api: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let call = async {
            api.create_subresource::<_, TokenRequest>("token", account, &PostParams::default(), &request)
                .await
        };
        let answer = self
            .run(call)
            .with_context(|| format!("a token for service account {account}"))?;
        Ok(answer.status.context("a TokenRequest without an answer")?.token)
    }
}

/// Whether a Node says Ready; with a boot id, only if it says so of that boot.
#[must_use]
pub fn is_ready(node: &Node, boot_id: Option<&str>) -> bool {
    let Some(status) = &node.status else { return false };
    let ready = |conditions: &Vec<k8s_openapi::api::core::v1::NodeCondition>| {
        conditions
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    let boot = status.node_info.as_ref().map(|info| info.boot_id.as_str());
    status.conditions.as_ref().is_some_and(ready) && (boot_id.is_none() || boot_id == boot)
}
