//! Who is where: names and addresses follow from a number.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::Serialize;

/// The stewards of every mesh.
pub const STEWARDS: u8 = 3;
/// As many agents as a mesh may have.
pub const MAX_NODES: u8 = 60;
/// UDP port of every steward.
pub(super) const STEWARD_PORT: u16 = 274;

/// Which addresses the hosts have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// 10.98.0.0/24.
    V4,
    /// fd98::/64.
    V6,
}

/// What a host runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A member of the mesh.
    Agent,
    /// Who judges the members.
    Steward,
}

impl Role {
    /// As the detector's command line names it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Steward => "steward",
        }
    }
}

/// A host of the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// `node-1`, `steward-1`.
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) address: IpAddr,
}

impl Place {
    /// All of a mesh: agents, then stewards in the order in which they act.
    pub(super) fn all(nodes: u8, family: Family) -> Vec<Self> {
        let agents = (1..=nodes).map(|number| Self {
            name: format!("node-{number}"),
            role: Role::Agent,
            address: family.address(30 + number),
        });
        let stewards = (1..=STEWARDS).map(|number| Self {
            name: format!("steward-{number}"),
            role: Role::Steward,
            address: family.address(10 + number),
        });
        agents.chain(stewards).collect()
    }

    /// Where a steward listens.
    pub(super) fn steward_socket(&self) -> SocketAddr {
        SocketAddr::new(self.address, STEWARD_PORT)
    }
}

impl Family {
    /// The bridge's own address.
    pub(super) fn hub(self) -> IpAddr {
        self.address(1)
    }

    fn address(self, number: u8) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(10, 98, 0, number).into(),
            Self::V6 => Ipv6Addr::new(0xfd98, 0, 0, 0, 0, 0, 0, u16::from(number)).into(),
        }
    }

    /// An address with the network's prefix length, as `ip addr add` takes it.
    pub(super) fn on_lan(self, address: IpAddr) -> String {
        match self {
            Self::V4 => format!("{address}/24"),
            Self::V6 => format!("{address}/64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Family, MAX_NODES, Place, STEWARDS};

    #[test]
    fn everybody_has_an_address_of_his_own() {
        for family in [Family::V4, Family::V6] {
            let places = Place::all(MAX_NODES, family);
            let addresses: BTreeSet<_> = places
                .iter()
                .map(|place| place.address)
                .chain([family.hub()])
                .collect();
            assert_eq!(addresses.len(), usize::from(MAX_NODES + STEWARDS) + 1);
        }
    }
}
