//! What an agent said when it went, and how long that holds.

use crate::message::Farewell;
use crate::offset::PeerTime;
use crate::time::Instant;

/// A farewell, and what would take it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parting {
    /// What was said.
    pub(super) farewell: Farewell,
    /// When it arrived.
    pub(super) at: Instant,
    /// By which incarnation of the agent, and when by its clock.
    pub(super) incarnation: u64,
    /// See there.
    pub(super) sealed: PeerTime,
}

/// What a farewell means now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The host goes down.
    Leaving,
    /// The agent alone is away.
    Away,
    /// The agent said that it would be back by now.
    Overdue,
}

impl Parting {
    /// What it means at `now`.
    #[must_use]
    pub(super) fn standing(&self, now: Instant) -> Standing {
        match self.farewell {
            Farewell::PowerOff | Farewell::Reboot => Standing::Leaving,
            Farewell::Left => Standing::Away,
            Farewell::Restart { ttl } if now.since(self.at) < ttl => Standing::Away,
            Farewell::Restart { .. } => Standing::Overdue,
        }
    }

    /// Whether silence means nothing meanwhile. An agent that was removed may take its kernel program along; one that
    /// restarts leaves it in place, unless it answered by its own socket.
    #[must_use]
    pub(super) fn excuses_silence(&self, echoes_by_socket: bool, now: Instant) -> bool {
        match (self.standing(now), self.farewell) {
            (Standing::Away, Farewell::Left) => true,
            (Standing::Away, _) => echoes_by_socket,
            (Standing::Leaving | Standing::Overdue, _) => false,
        }
    }

    /// Whether a greeting takes it back: by another agent, or said later. One that was overtaken does not.
    #[must_use]
    pub(super) fn taken_back_by(&self, incarnation: u64, sealed: PeerTime) -> bool {
        incarnation != self.incarnation || sealed > self.sealed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Parting, Standing};
    use crate::message::Farewell;
    use crate::offset::PeerTime;
    use crate::time::Instant;

    const SECOND: u64 = 1_000_000_000;
    const TTL: Duration = Duration::from_secs(30);

    fn parting(farewell: Farewell) -> Parting {
        Parting {
            farewell,
            at: Instant(100 * SECOND),
            incarnation: 7,
            sealed: PeerTime(5),
        }
    }

    #[test]
    fn each_farewell_has_its_meaning() {
        let later = Instant(131 * SECOND);
        assert_eq!(parting(Farewell::PowerOff).standing(later), Standing::Leaving);
        assert_eq!(parting(Farewell::Reboot).standing(later), Standing::Leaving);
        assert_eq!(parting(Farewell::Left).standing(later), Standing::Away);
        let restart = parting(Farewell::Restart { ttl: TTL });
        assert_eq!(restart.standing(Instant(129 * SECOND)), Standing::Away);
        assert_eq!(restart.standing(Instant(130 * SECOND)), Standing::Overdue);
    }

    #[test]
    fn silence_is_excused_where_the_agent_was_what_answered() {
        let now = Instant(101 * SECOND);
        assert!(parting(Farewell::Left).excuses_silence(false, now));
        assert!(!parting(Farewell::Reboot).excuses_silence(true, now));
        let restart = parting(Farewell::Restart { ttl: TTL });
        assert!(
            !restart.excuses_silence(false, now),
            "the kernel goes on answering"
        );
        assert!(restart.excuses_silence(true, now));
        assert!(!restart.excuses_silence(true, Instant(131 * SECOND)), "overdue");
    }

    #[test]
    fn an_overtaken_greeting_takes_nothing_back() {
        let parting = parting(Farewell::Reboot);
        assert!(!parting.taken_back_by(7, PeerTime(4)));
        assert!(parting.taken_back_by(7, PeerTime(6)));
        assert!(parting.taken_back_by(8, PeerTime(0)), "another agent");
    }
}
