//! The names under which this project is known to Kubernetes: each once.

/// Prefix of everything that is ours.
pub const PREFIX: &str = "node-failure-detector.io/";

/// The namespace of agents, stewards and their ConfigMaps.
pub const NAMESPACE: &str = "node-failure-detector";

/// Annotation of a Node, written by its own agent: public key in hexadecimal.
pub const PUBLIC_KEY: &str = "node-failure-detector.io/public-key";

/// Annotation of a Node, written by its own agent when no probe reaches it: boot id and a word that changes.
pub const ALIVE: &str = "node-failure-detector.io/alive";

/// The taint of a dead node; its value is the incident.
pub const DEAD_TAINT: &str = "node-failure-detector.io/dead";

/// The taint of a degraded node that can start no pod; its value is the incident.
pub const DEGRADED_TAINT: &str = "node-failure-detector.io/degraded";

/// The only effect of either: what runs there is not evicted by it.
pub const NO_SCHEDULE: &str = "NoSchedule";

/// Condition of a Node: whether its peers hear it.
pub const REACHABLE: &str = "node-failure-detector.io/Reachable";

/// Annotation of a Node, Namespace or Pod: `off` opts out.
pub const REMEDIATION: &str = "node-failure-detector.io/remediation";

/// The value of [`REMEDIATION`] that opts out.
pub const OFF: &str = "off";

/// The reason in every mark: admission policies hold the stewards to it.
pub const REASON: &str = "NodeFailureDetected";

/// ConfigMap: the roster's members, first shard.
pub const ROSTER: &str = "node-failure-detector-roster-0";

/// ConfigMap: the roster's stewards.
pub const STEWARDS: &str = "node-failure-detector-stewards";

/// ConfigMap: the ledger of open condemnations.
pub const LEDGER: &str = "node-failure-detector-ledger";

/// ConfigMap: settings of the whole cluster, the pause switch among them.
pub const SETTINGS: &str = "node-failure-detector";

/// Who reports our Events, and the field manager of our writes.
pub const CONTROLLER: &str = "node-failure-detector.io/steward";
