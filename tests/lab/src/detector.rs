//! Agents and stewards of a lab: manifests, credentials, command lines.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Node;

use crate::api::Cluster;
use crate::kubeconfig::{self, Credential};
use crate::layout::Layout;
use crate::options::{DetectorOptions, Options};
use crate::process;
use crate::service::Service;
use crate::topology::{API_SERVICE, HUB, Host};

/// The namespace of everything of ours.
pub const NAMESPACE: &str = "node-failure-detector";

/// What in `deploy/` are workloads: here they are processes of the nodes.
const WORKLOADS: &[&str] = &["agent.yaml", "steward.yaml"];

/// The resources of the kustomize base, in its order, without the workloads.
fn manifests() -> Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/base");
    let folder = folder
        .canonicalize()
        .with_context(|| format!("looking for {}", folder.display()))?;
    let list = std::fs::read_to_string(folder.join("kustomization.yaml"))?;
    let resources = list.lines().filter_map(|line| line.trim().strip_prefix("- "));
    Ok(resources
        .filter(|file| !WORKLOADS.contains(file))
        .map(|file| folder.join(file))
        .collect())
}

/// Applies the manifests as the administrator.
pub(crate) fn apply(binary: &Path, layout: &Layout) -> Result<()> {
    let mut command = kubectl(binary, layout);
    command.args(["apply", "--server-side"]);
    for file in manifests()? {
        command.arg("-f").arg(file);
    }
    process::output(&mut command, Duration::from_secs(60)).context("applying the manifests of deploy/")?;
    Ok(())
}

/// kubectl as the administrator of this lab, with no configuration of the caller's.
pub(crate) fn kubectl(binary: &Path, layout: &Layout) -> Command {
    let mut command = Command::new(binary);
    process::die_with_parent(&mut command);
    command
        .arg("kubectl")
        .arg("--kubeconfig")
        .arg(layout.kubeconfig("admin"));
    for variable in ["KUBECONFIG", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(variable).env_remove(variable.to_lowercase());
    }
    // Its cache of the API lies under HOME.
    command.env("KUBERC", "off").env("HOME", layout.root());
    command
}

/// Where clients of the API on the nodes connect: behind the service address where there are two servers.
pub(crate) fn server(options: &Options) -> String {
    let address = if options.api_servers == 2 {
        format!("{API_SERVICE}:443")
    } else {
        format!("{HUB}:6443")
    };
    format!("https://{address}")
}

/// Writes a kubeconfig for each agent and steward, with a token of its service account that is bound to its Node.
pub(crate) fn credentials(layout: &Layout, options: &Options, cluster: &Cluster) -> Result<()> {
    let nodes = cluster.nodes()?;
    let node = |host: Host| {
        nodes
            .iter()
            .find(|node| node.metadata.name.as_deref() == Some(&host.name()))
    };
    let write = |account: &str, host: Host, node: Option<&Node>| -> Result<()> {
        let token = cluster.token(NAMESPACE, account, node)?;
        let authority = layout.pki().join("ca.crt");
        let path = layout.kubeconfig(&format!("{account}-{}", host.name()));
        kubeconfig::write(&path, &server(options), &authority, &Credential::Token(&token))
    };
    for host in options.nodes() {
        write(
            "agent",
            host,
            Some(node(host).with_context(|| format!("no Node {}", host.name()))?),
        )?;
    }
    for host in options.steward_hosts() {
        write("steward", host, node(host))?;
    }
    Ok(())
}

/// The services of agent and steward on a host.
pub(crate) fn services(layout: &Layout, options: &Options, host: Host) -> Vec<Service> {
    let Some(detector) = &options.detector else {
        return Vec::new();
    };
    let mut roles = Vec::new();
    if options.nodes().any(|node| node == host) {
        roles.push("agent");
    }
    if options.steward_hosts().contains(&host) {
        roles.push("steward");
    }
    let service = |role: &str| {
        let log = layout.log(&format!("{}/{role}", host.name()));
        Service::new(role, &log, detector_args(layout, detector, role, host))
    };
    roles.into_iter().map(service).collect()
}

/// The command line of an agent or a steward.
fn detector_args(layout: &Layout, detector: &DetectorOptions, role: &str, host: Host) -> Vec<String> {
    let kubeconfig = layout.kubeconfig(&format!("{role}-{}", host.name()));
    let mut argv = vec![
        copy_of_binary(layout).display().to_string(),
        role.to_owned(),
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--node-name={}", host.name()),
    ];
    if role == "steward" {
        argv.push(format!("--address={}", host.address()));
        // A steward's pod would have an empty folder of its own.
        argv.push("--state-dir=/var/lib/node-failure-detector-steward".to_owned());
    }
    let more = if role == "agent" {
        &detector.agent_args
    } else {
        &detector.steward_args
    };
    argv.extend(more.iter().cloned());
    argv
}

/// The lab's own copy of the detector.
pub(crate) fn copy_of_binary(layout: &Layout) -> PathBuf {
    layout.root().join("detector")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workloads_alone_are_left_out() -> Result<()> {
        let files = manifests()?;
        assert!(
            files.first().is_some_and(|file| file.ends_with("namespace.yaml")),
            "{files:?}"
        );
        assert!(
            files.iter().any(|file| file.ends_with("admission.yaml")),
            "{files:?}"
        );
        assert!(files.iter().all(|file| file.is_file()), "{files:?}");
        for workload in WORKLOADS {
            assert!(!files.iter().any(|file| file.ends_with(workload)), "{files:?}");
        }
        Ok(())
    }
}
