//! The command lines of the control plane and of a node's Kubernetes components, and their configuration files.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::layout::Layout;
use crate::service::Service;
use crate::topology::{API_SERVICE, CLUSTER_DNS, HUB, Host, POD_SUBNET, SERVICE_SUBNET};

/// Only our own service accounts' requests: a test compares them with what the roles grant.
pub(crate) const AUDIT_POLICY: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [
  {"level": "Metadata", "userGroups": ["system:serviceaccounts:node-failure-detector"]},
  {"level": "None"}]}"#;

/// Makes services out of a component's flags.
pub(crate) struct Components<'a> {
    /// The program that is every component.
    pub(crate) binary: &'a Path,
    /// Where files lie.
    pub(crate) layout: &'a Layout,
}

impl Components<'_> {
    fn service(&self, host: Option<Host>, name: &str, flags: Vec<String>) -> Service {
        let log = host.map_or_else(|| name.to_owned(), |host| format!("{}/{name}", host.name()));
        let argv = [self.binary.display().to_string(), name.to_owned()];
        let mut service = Service::new(name, &self.layout.log(&log), argv.into_iter().chain(flags));
        service
            .environment
            .push(("HOME".to_owned(), self.layout.root().display().to_string()));
        service
    }

    fn pki(&self, file: &str) -> String {
        self.layout.pki().join(file).display().to_string()
    }

    fn kubeconfig(&self, user: &str) -> String {
        self.layout.kubeconfig(user).display().to_string()
    }

    /// etcd listens on the hub's address too where a second API server needs it.
    pub(crate) fn etcd(&self, shared: bool) -> Service {
        let mut listen = "http://127.0.0.1:2379".to_owned();
        if shared {
            listen.push_str(&format!(",http://{HUB}:2379"));
        }
        let flags = vec![
            format!("--data-dir={}", self.layout.root().join("etcd").display()),
            format!("--listen-client-urls={listen}"),
            format!("--advertise-client-urls={listen}"),
            // A lab does not survive its machine.
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ];
        self.service(None, "etcd", flags)
    }

    /// The API server in the hub, or the second one on a node.
    pub(crate) fn api_server(&self, on: Option<Host>) -> Service {
        let (address, etcd, number) = match on {
            None => (HUB, "127.0.0.1".to_owned(), 1),
            Some(host) => (host.address(), HUB.to_string(), 2),
        };
        let flags = vec![
            format!("--etcd-servers=http://{etcd}:2379"),
            format!("--advertise-address={address}"),
            "--secure-port=6443".to_owned(),
            format!("--tls-cert-file={}", self.pki("server.crt")),
            format!("--tls-private-key-file={}", self.pki("server.key")),
            format!("--client-ca-file={}", self.pki("ca.crt")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", self.pki("sa.pub")),
            format!("--service-account-signing-key-file={}", self.pki("sa.key")),
            format!("--service-cluster-ip-range={SERVICE_SUBNET}"),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--allow-privileged=true".to_owned(),
            "--profiling=false".to_owned(),
            // exec and logs reach a kubelet by its address and with a certificate.
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            format!("--kubelet-client-certificate={}", self.pki("admin.crt")),
            format!("--kubelet-client-key={}", self.pki("admin.key")),
            format!(
                "--audit-policy-file={}",
                self.layout.root().join("audit-policy.json").display()
            ),
            format!("--audit-log-path={}", self.layout.audit_log(number).display()),
            // The container runtime's files of a node are no place for a temporary certificate.
            format!("--cert-dir={}", self.layout.root().join("apiserver").display()),
        ];
        self.service(on, "kube-apiserver", flags)
    }

    /// Started when the API server is ready: before that it gives up with "forbidden".
    pub(crate) fn controller_manager(&self) -> Service {
        let mut flags = self.controller("kube-controller-manager");
        flags.extend([
            format!("--service-account-private-key-file={}", self.pki("sa.key")),
            format!("--root-ca-file={}", self.pki("ca.crt")),
            "--use-service-account-credentials=true".to_owned(),
            format!("--cluster-signing-cert-file={}", self.pki("ca.crt")),
            format!("--cluster-signing-key-file={}", self.pki("ca.key")),
        ]);
        self.service(None, "kube-controller-manager", flags)
    }

    /// The scheduler.
    pub(crate) fn scheduler(&self) -> Service {
        self.service(None, "kube-scheduler", self.controller("kube-scheduler"))
    }

    fn controller(&self, name: &str) -> Vec<String> {
        let kubeconfig = self.kubeconfig(name);
        vec![
            format!("--kubeconfig={kubeconfig}"),
            format!("--authentication-kubeconfig={kubeconfig}"),
            format!("--authorization-kubeconfig={kubeconfig}"),
            "--leader-elect=false".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
        ]
    }

    /// A kubelet without containers. All of them share the hub's network: each has a port of its own.
    pub(crate) fn hollow(&self, number: u16) -> Service {
        let name = hollow_name(number);
        let flags = vec![
            "--morph=kubelet".to_owned(),
            format!("--name={name}"),
            format!("--kubeconfig={}", self.kubeconfig(&name)),
            format!("--kubelet-port={}", 20_000 + number),
            "--kubelet-read-only-port=0".to_owned(),
            "--use-host-image-service=false".to_owned(),
            format!(
                "--node-labels=topology.kubernetes.io/zone=zone-{}",
                (number + 2) % 3 + 1
            ),
        ];
        let mut service = self.service(None, "kubemark", flags);
        service.log = self.layout.log(&name);
        // It keeps its state under TMPDIR, and takes another one's for its own.
        service
            .environment
            .push(("TMPDIR".to_owned(), self.layout.disk(&name).display().to_string()));
        service.name = name;
        service
    }

    /// A node's kubelet.
    pub(crate) fn kubelet(&self, host: Host) -> Service {
        let name = host.name();
        let flags = vec![
            format!(
                "--config={}",
                self.layout.config(&name).join("kubelet.json").display()
            ),
            format!("--kubeconfig={}", self.kubeconfig(&name)),
            format!("--hostname-override={name}"),
            format!("--node-ip={}", host.address()),
            format!("--node-labels=topology.kubernetes.io/zone={}", host.zone()),
        ];
        self.service(Some(host), "kubelet", flags)
    }

    /// A node's kube-proxy.
    pub(crate) fn proxy(&self, host: Host, min_sync_ms: u64) -> Service {
        let config = self.proxy_config_file(host, min_sync_ms);
        self.service(
            Some(host),
            "kube-proxy",
            vec![format!("--config={}", config.display())],
        )
    }

    /// Another setting is another file: the command line tells that the proxy has to be started again.
    pub(crate) fn proxy_config_file(&self, host: Host, min_sync_ms: u64) -> PathBuf {
        self.layout
            .config(&host.name())
            .join(format!("kube-proxy-{min_sync_ms}ms.json"))
    }

    /// What the kubelet's `--config` holds.
    pub(crate) fn kubelet_config(&self, host: Host) -> Value {
        let name = host.name();
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "failCgroupV1": false,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": format!("/{}", self.layout.cgroup(&name)),
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "failSwapOn": false,
            // kube-proxy uses nftables: no chains for an iptables that may not be there.
            "makeIPTablesUtilChains": false,
            "address": host.address(),
            "authentication": {
                "anonymous": {"enabled": false},
                "webhook": {"enabled": false},
                "x509": {"clientCAFile": self.pki("ca.crt")},
            },
            "authorization": {"mode": "AlwaysAllow"},
            // Nobody answers there: a lab has no DNS, but kubelet warns about every pod without one.
            "clusterDNS": [CLUSTER_DNS],
            "resolvConf": self.layout.root().join("resolv.conf"),
            "localStorageCapacityIsolation": false,
            // The machine's disk may be fuller than a node's ought to be, and the images exist nowhere else.
            "evictionHard": {"memory.available": "50Mi"},
            "imageGCHighThresholdPercent": 100,
        })
    }

    /// What kube-proxy's `--config` holds.
    pub(crate) fn proxy_config(&self, host: Host, min_sync_ms: u64) -> Value {
        json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": {"kubeconfig": self.layout.kubeconfig("kube-proxy")},
            "hostnameOverride": host.name(),
            "clusterCIDR": POD_SUBNET,
            // These sysctls belong to the machine and not to a namespace.
            "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "nftables": {"minSyncPeriod": format!("{min_sync_ms}ms")},
        })
    }
}

/// `hollow-1`.
pub(crate) fn hollow_name(number: u16) -> String {
    format!("hollow-{number}")
}

/// Every name and address under which an API server is reached.
pub(crate) fn server_names(second: Option<Host>) -> Vec<String> {
    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "localhost",
        "127.0.0.1",
    ];
    let addresses = [HUB, API_SERVICE].into_iter().chain(second.map(Host::address));
    names
        .into_iter()
        .map(str::to_owned)
        .chain(addresses.map(|address| address.to_string()))
        .collect()
}
