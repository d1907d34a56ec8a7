//! Why the agent is told to end: a shutdown of the host told apart from a restart of the agent (pure).

use std::time::Duration;

use crate::message::Farewell;

/// How long a restarting agent may be away before its node is `Degraded`: an image may have to be pulled first.
pub const RESTART_TTL: Duration = Duration::from_secs(120);

/// What systemd and logind say at SIGTERM. `None`: not asked, or no answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostState {
    /// Units that systemd has start jobs for (`org.freedesktop.systemd1.Manager.ListJobs`).
    pub starting: Option<Vec<String>>,
    /// `PreparingForShutdown` of `org.freedesktop.login1.Manager`: set while inhibitors, the kubelet's among them,
    /// still delay the shutdown, so before systemd has any job for it.
    pub preparing: Option<bool>,
    /// First part of logind's `ScheduledShutdown`: `reboot`, `poweroff`, `halt`, `kexec`, or empty.
    pub scheduled: Option<String>,
}

/// The agent's last words, from what the host says.
///
/// Where a shutdown is on its way but its kind is not known, it counts as a reboot: the deletes then wait longer.
#[must_use]
pub fn farewell(state: &HostState) -> Farewell {
    let starts = |unit: &str| state.starting.iter().flatten().any(|started| started == unit);
    if starts("reboot.target") || starts("kexec.target") || starts("soft-reboot.target") {
        return Farewell::Reboot;
    }
    if starts("poweroff.target") || starts("halt.target") {
        return Farewell::PowerOff;
    }
    if starts("shutdown.target") {
        return Farewell::Reboot;
    }
    if state.preparing == Some(true) {
        return match state.scheduled.as_deref() {
            Some("poweroff" | "halt") => Farewell::PowerOff,
            _ => Farewell::Reboot,
        };
    }
    Farewell::Restart { ttl: RESTART_TTL }
}

#[cfg(test)]
mod tests {
    use super::{HostState, RESTART_TTL, farewell};
    use crate::message::Farewell;

    fn jobs(units: &[&str]) -> HostState {
        HostState {
            starting: Some(units.iter().map(|unit| (*unit).to_owned()).collect()),
            ..HostState::default()
        }
    }

    fn logind(preparing: bool, scheduled: &str) -> HostState {
        HostState {
            starting: Some(vec![]),
            preparing: Some(preparing),
            scheduled: Some(scheduled.to_owned()),
        }
    }

    #[test]
    fn each_answer_of_the_host_has_its_last_words() {
        let restart = Farewell::Restart { ttl: RESTART_TTL };
        for (state, words) in [
            (HostState::default(), restart),
            (jobs(&["kubelet.service"]), restart),
            (jobs(&["shutdown.target", "reboot.target"]), Farewell::Reboot),
            (jobs(&["reboot.target"]), Farewell::Reboot),
            (jobs(&["kexec.target"]), Farewell::Reboot),
            (jobs(&["soft-reboot.target"]), Farewell::Reboot),
            (jobs(&["shutdown.target", "poweroff.target"]), Farewell::PowerOff),
            (jobs(&["halt.target"]), Farewell::PowerOff),
            (jobs(&["shutdown.target"]), Farewell::Reboot),
            (logind(true, ""), Farewell::Reboot),
            (logind(true, "poweroff"), Farewell::PowerOff),
            (logind(true, "halt"), Farewell::PowerOff),
            (logind(true, "reboot"), Farewell::Reboot),
            (logind(false, "poweroff"), restart),
            // What systemd does counts, not what was planned.
            (
                HostState {
                    starting: jobs(&["reboot.target"]).starting,
                    ..logind(true, "poweroff")
                },
                Farewell::Reboot,
            ),
            (
                HostState {
                    starting: None,
                    ..logind(true, "poweroff")
                },
                Farewell::PowerOff,
            ),
        ] {
            assert_eq!(farewell(&state), words, "{state:?}");
        }
    }
}
