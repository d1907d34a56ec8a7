//! From certificates to Ready nodes and running agents.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Supervisor;
use super::component::Component;
use crate::api::{Cluster, is_ready};
use crate::certificates::Authority;
use crate::components::{AUDIT_POLICY, hollow_name, server_names};
use crate::detector;
use crate::kubeconfig::{self, Credential};
use crate::progress::Progress;
use crate::service::last_lines;
use crate::topology::{CLUSTER_DNS, HUB, Host};

/// Certificates to API server, on a machine with two busy cores.
const API_LIMIT: Duration = Duration::from_secs(60);
/// Nodes register within seconds; hollow ones need more.
const NODES_LIMIT: Duration = Duration::from_secs(120);
/// A hollow node that is not Ready by then is started again: it may have registered too late for its own CSINode.
const HOLLOW_PATIENCE: Duration = Duration::from_secs(45);

impl Supervisor {
    /// The whole way from certificates to Ready nodes and running agents.
    pub(super) fn bring_up(&mut self, progress: &mut Progress) -> Result<()> {
        progress.stage("certificates", |_| self.credentials())?;
        progress.stage("API server ready", |_| self.api_server())?;
        progress.stage("controllers at work", |_| self.controllers())?;
        let count = self.options().real;
        progress.stage(&format!("{count} real nodes Ready"), |_| self.await_nodes(false))?;
        if self.options().hollow > 0 {
            let count = self.options().hollow;
            progress.say(format!("starting {count} hollow nodes: about half a minute"));
            progress.stage(&format!("{count} hollow nodes Ready"), |_| self.hollow_nodes())?;
        }
        if self.options().detector.is_some() {
            progress.stage("agents and stewards started", |_| self.start_detector())?;
        }
        Ok(())
    }

    /// Certificates and kubeconfigs of every user, and files that never change.
    fn credentials(&self) -> Result<()> {
        let (layout, options) = (&self.layout, self.options());
        fs::create_dir_all(layout.kubeconfig("admin").parent().context("no folder")?)?;
        let authority = Authority::create(&layout.pki())?;
        authority.service_accounts()?;
        authority.server("server", &server_names(options.second_api_server()))?;
        let local = "https://127.0.0.1:6443".to_owned();
        let mut users = vec![(
            "admin".to_owned(),
            "admin".to_owned(),
            "system:masters",
            local.clone(),
        )];
        for name in ["kube-controller-manager", "kube-scheduler"] {
            users.push((name.to_owned(), format!("system:{name}"), "", local.clone()));
        }
        let server = format!("https://{HUB}:6443");
        users.push((
            "kube-proxy".to_owned(),
            "system:kube-proxy".to_owned(),
            "",
            server.clone(),
        ));
        let nodes = options
            .nodes()
            .map(Host::name)
            .chain((1..=options.hollow).map(hollow_name));
        users.extend(nodes.map(|name| {
            let user = format!("system:node:{name}");
            (name, user, "system:nodes", server.clone())
        }));
        for (name, user, group, server) in users {
            let pair = authority.client(&name, &user, group)?;
            let credential = Credential::Certificate(&pair);
            kubeconfig::write(
                &layout.kubeconfig(&name),
                &server,
                &authority.certificate(),
                &credential,
            )?;
        }
        fs::write(layout.root().join("audit-policy.json"), AUDIT_POLICY)?;
        // Pods find nothing by name: a lab has no DNS.
        fs::write(
            layout.root().join("resolv.conf"),
            format!("nameserver {CLUSTER_DNS}\n"),
        )?;
        Ok(())
    }

    fn api_server(&mut self) -> Result<()> {
        let shared = self.options().api_servers == 2;
        self.launch(self.components().etcd(shared))?;
        self.launch(self.components().api_server(None))?;
        let cluster = Cluster::new(&self.layout.kubeconfig("admin"))?;
        // Nodes take their time to start containerd: they begin now and meet a ready API server.
        self.boot_all()?;
        self.wait("the API server is not ready", "kube-apiserver", API_LIMIT, |_| {
            Ok(cluster.is_ready())
        })?;
        self.cluster = Some(cluster);
        Ok(())
    }

    fn controllers(&mut self) -> Result<()> {
        self.launch(self.components().controller_manager())?;
        self.launch(self.components().scheduler())?;
        // No pod can be made before its namespace has a service account.
        let works = |supervisor: &mut Self| supervisor.cluster()?.has_service_account();
        self.wait(
            "there is no default service account",
            "kube-controller-manager",
            API_LIMIT,
            works,
        )
    }

    fn boot_all(&mut self) -> Result<()> {
        for host in self.options().hosts() {
            if let Some(pods) = host.pods() {
                self.hub
                    .exec(&["ip", "route", "add", &pods, "via", &host.address().to_string()])?;
            }
            self.write_services(host)?;
            let machine = self.boot(host)?;
            self.machines.push(machine);
        }
        Ok(())
    }

    fn await_nodes(&mut self, hollow: bool) -> Result<()> {
        let real: Vec<_> = self.options().nodes().map(Host::name).collect();
        let hollow = (1..=self.options().hollow).filter(|_| hollow).map(hollow_name);
        let wanted: Vec<_> = real.into_iter().chain(hollow).collect();
        let mut missing = wanted.clone();
        let mut look = |supervisor: &mut Self| {
            let nodes = supervisor.cluster()?.nodes()?;
            let ready = |name: &String| {
                nodes
                    .iter()
                    .any(|node| node.metadata.name.as_ref() == Some(name) && is_ready(node, None))
            };
            missing = wanted.iter().filter(|name| !ready(name)).cloned().collect();
            supervisor.restart_late(&missing)?;
            Ok(missing.is_empty())
        };
        let outcome = self.wait(
            "not every node is Ready",
            "kube-controller-manager",
            NODES_LIMIT,
            &mut look,
        );
        let Some(first) = missing.first() else {
            return outcome;
        };
        let log = if first.starts_with("hollow") {
            first.clone()
        } else {
            format!("{first}/kubelet")
        };
        outcome.with_context(|| {
            format!(
                "missing: {}\n{}",
                missing.join(", "),
                last_lines(&self.layout.log(&log), 12)
            )
        })
    }

    fn hollow_nodes(&mut self) -> Result<()> {
        for number in 1..=self.options().hollow {
            fs::create_dir_all(self.layout.disk(&hollow_name(number)))?;
            self.launch(self.components().hollow(number))?;
        }
        self.await_nodes(true)
    }

    fn restart_late(&mut self, missing: &[String]) -> Result<()> {
        for component in &mut self.components {
            if missing.contains(&component.service.name) && component.age() > HOLLOW_PATIENCE {
                *component = Component::start(component.service.clone())?;
            }
        }
        Ok(())
    }

    /// Manifests, tokens, then the processes.
    fn start_detector(&mut self) -> Result<()> {
        let Some(options) = &self.options().detector else {
            return Ok(());
        };
        install(&options.binary, &detector::copy_of_binary(&self.layout))?;
        detector::apply(&self.setup.binary, &self.layout)?;
        detector::credentials(&self.layout, self.options(), self.cluster()?)?;
        self.has_detector = true;
        self.reload()
    }
}

/// Copies a program, whole.
fn install(from: &Path, to: &Path) -> Result<()> {
    let copy = || -> io::Result<()> {
        let unfinished = to.with_extension("unfinished");
        fs::copy(from, &unfinished)?;
        fs::rename(&unfinished, to)
    };
    copy().with_context(|| format!("copying {} (build it by `cargo xtask build`)", from.display()))
}
