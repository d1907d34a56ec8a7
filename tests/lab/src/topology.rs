//! Names and addresses of a lab: everything follows from a node's number.

use std::net::Ipv4Addr;

/// The network that nodes, control plane and client share.
const LAN: [u8; 3] = [10, 99, 0];
/// Prefix length of it.
const LAN_PREFIX: u8 = 24;
/// Where services live; the first address is the API server's.
pub const SERVICE_SUBNET: &str = "10.96.0.0/16";
/// The API server behind its service address, as pods see it.
pub const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// Where a cluster's DNS would be.
pub const CLUSTER_DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// Where pods live, a /24 a node.
pub const POD_SUBNET: &str = "10.88.0.0/16";
/// The control plane: also the bridge and everybody's default route.
pub const HUB: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// The measuring client.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
/// As many real nodes as there are addresses set aside for them (31 to 60).
pub const MAX_REAL: u8 = 30;
/// Hollow nodes get ports from a range of this size.
pub const MAX_HOLLOW: u16 = 500;
/// How many stewards there are: one a zone.
pub const STEWARDS: u8 = 3;

/// A machine on the lab's bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// A real Kubernetes node, from 1.
    Node(u8),
    /// A host that runs a steward and nothing else, from 1: where there are too few nodes, or the caller wants
    /// stewards that no cut of a node takes with it.
    Steward(u8),
}

impl Host {
    /// `node-1`, `steward-1`.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Node(number) => format!("node-{number}"),
            Self::Steward(number) => format!("steward-{number}"),
        }
    }

    /// Its address on the lab's network.
    #[must_use]
    pub fn address(self) -> Ipv4Addr {
        let [a, b, c] = LAN;
        match self {
            Self::Steward(number) => Ipv4Addr::new(a, b, c, 10 + number),
            Self::Node(number) => Ipv4Addr::new(a, b, c, 30 + number),
        }
    }

    /// Its failure domain: nodes and stewards are spread over three zones.
    #[must_use]
    pub fn zone(self) -> String {
        let (Self::Node(number) | Self::Steward(number)) = self;
        format!("zone-{}", (number + STEWARDS - 1) % STEWARDS + 1)
    }

    /// The subnet of a node's pods.
    #[must_use]
    pub fn pods(self) -> Option<String> {
        match self {
            Self::Node(number) => Some(format!("10.88.{number}.0/24")),
            Self::Steward(_) => None,
        }
    }
}

/// An address with the network's prefix length, as `ip addr add` takes it.
#[must_use]
pub fn on_lan(address: Ipv4Addr) -> String {
    format!("{address}/{LAN_PREFIX}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_distinct_addresses_and_three_zones() {
        let nodes = (1..=MAX_REAL).map(Host::Node);
        let hosts: Vec<_> = nodes.chain((1..=STEWARDS).map(Host::Steward)).collect();
        let mut addresses: Vec<_> = hosts
            .iter()
            .map(|host| host.address())
            .chain([HUB, CLIENT])
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), hosts.len() + 2);
        let zones: Vec<_> = (1..=4).map(|number| Host::Node(number).zone()).collect();
        assert_eq!(zones, ["zone-1", "zone-2", "zone-3", "zone-1"]);
    }
}
