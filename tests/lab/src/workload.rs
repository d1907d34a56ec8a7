//! What the lab's users deploy.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use crate::client::await_pods;
use crate::control::State;
use crate::lab::Lab;
use crate::machine::Power;

/// Deployment and Service `nginx`: six pods behind a NodePort.
pub const NGINX: &str = include_str!("../manifests/nginx.yaml");
/// Where every node answers for it.
pub const NGINX_PORT: u16 = 30080;

/// How many pods there are.
const NGINX_PODS: usize = 6;

/// Deploys nginx and waits until its six pods are Ready and every node that is on sends to all of them.
///
/// # Errors
/// When that takes longer than the limit; the error tells how the pods are.
pub fn deploy_nginx(lab: &Lab, limit: Duration) -> Result<()> {
    lab.apply(NGINX)?;
    await_nginx(lab, limit)
}

/// Gives nginx six new pods, spread over the nodes that are on, and waits for them in the same way: after a failover the
/// node that came back has none.
///
/// # Errors
/// As [`deploy_nginx`].
pub fn spread_nginx(lab: &Lab, limit: Duration) -> Result<()> {
    // All at once: pods that are still there would count in the spread of the new ones.
    lab.kubectl(&["scale", "deployment/nginx", "--replicas=0"])?;
    lab.kubectl(&["delete", "pods", "-l", "app=nginx", "--force", "--grace-period=0"])?;
    lab.kubectl(&["scale", "deployment/nginx", &format!("--replicas={NGINX_PODS}")])?;
    await_nginx(lab, limit)
}

fn await_nginx(lab: &Lab, limit: Duration) -> Result<()> {
    let timeout = format!("--timeout={}s", limit.as_secs());
    let rollout = lab.kubectl(&["rollout", "status", "deployment/nginx", &timeout]);
    rollout.map_err(|error| {
        let pods = lab.kubectl(&["get", "pods", "-o", "wide"]).unwrap_or_default();
        error.context(format!("nginx is not Ready:\n{pods}"))
    })?;
    let client = lab.client()?;
    nginx_targets(&lab.state()?)
        .into_iter()
        .try_for_each(|target| await_pods(&client, target, NGINX_PODS, limit))
}

/// nginx behind each node that is on.
#[must_use]
pub fn nginx_targets(state: &State) -> Vec<SocketAddr> {
    let on = state
        .hosts
        .iter()
        .filter(|host| host.power == Power::On && host.name.starts_with("node-"));
    on.map(|host| SocketAddr::from((host.address, NGINX_PORT)))
        .collect()
}
