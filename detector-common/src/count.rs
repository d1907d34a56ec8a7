//! Counters: what became of each packet that reached the program or the agent's socket.

use crate::check::Refusal;

/// One counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// For our port, and without effect.
    Refused(Refusal),
    /// A probe that was answered.
    Echoed,
    /// An echo whose arrival was noted.
    Noted,
    /// A sealed control message, passed on to the agent's socket.
    Sealed,
    /// Not for our port: passed on untouched. It moves with the interface's own counter as long as the program runs.
    Foreign,
    /// A probe whose echo could not be written into the packet (no memory): lost, as on the wire.
    Unsent,
}

impl Count {
    /// All counters that are no refusal.
    pub const OTHERS: [Self; 5] = [
        Self::Echoed,
        Self::Noted,
        Self::Sealed,
        Self::Foreign,
        Self::Unsent,
    ];

    /// Its name in status and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused(cause) => cause.as_str(),
            Self::Echoed => "echoed",
            Self::Noted => "noted",
            Self::Sealed => "sealed",
            Self::Foreign => "foreign",
            Self::Unsent => "unsent",
        }
    }

    /// How many counters there are.
    pub const LEN: u32 = (Refusal::ALL.len() + Self::OTHERS.len()) as u32;

    /// The counter's place in the map.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> u32 {
        let after = Refusal::ALL.len() as u32;
        match self {
            Self::Refused(cause) => cause as u32,
            Self::Echoed => after,
            Self::Noted => after + 1,
            Self::Sealed => after + 2,
            Self::Foreign => after + 3,
            Self::Unsent => after + 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Count;
    use crate::check::Refusal;

    #[test]
    fn each_counter_has_a_place_of_its_own() {
        let all = Refusal::ALL.into_iter().map(Count::Refused).chain(Count::OTHERS);
        assert!(all.map(Count::index).eq(0..Count::LEN));
    }
}
