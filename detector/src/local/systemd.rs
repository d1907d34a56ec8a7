//! IO: asks systemd and logind whether the host is shutting down.
//!
//! systemd is asked on its private socket, where it answers root without a bus: the bus daemon is among the first to
//! be stopped. logind is asked on the system bus. Under Kubernetes both sockets are mounted from the host.
#![expect(
    clippy::disallowed_methods,
    reason = "an IO file: nobody waits long for an answer at SIGTERM"
)]

use std::path::Path;
use std::time::Duration;

use zbus::Connection;
use zbus::connection::Builder;
use zbus::zvariant::{OwnedObjectPath, OwnedValue};

use super::farewell::HostState;

/// systemd's own socket.
pub const SYSTEMD_SOCKET: &str = "/run/systemd/private";

/// The system bus.
pub const BUS_SOCKET: &str = "/run/dbus/system_bus_socket";

/// Both are asked at once, and for no longer than this: the goodbye has to leave while there is a network.
const PATIENCE: Duration = Duration::from_millis(300);

/// What of the host's state can be learned in [`PATIENCE`].
pub async fn host_state(systemd: &Path, bus: &Path) -> HostState {
    let (starting, logind) = tokio::join!(
        tokio::time::timeout(PATIENCE, starting(systemd)),
        tokio::time::timeout(PATIENCE, logind(bus)),
    );
    let starting = starting.map_err(|_| zbus::Error::InputOutput(std::io::Error::other("no answer").into()));
    if let Ok(Err(error)) | Err(error) = &starting {
        tracing::debug!(%error, socket = %systemd.display(), "systemd does not say whether the host shuts down");
    }
    let (preparing, scheduled) = logind.ok().and_then(Result::ok).unzip();
    HostState {
        starting: starting.ok().and_then(Result::ok),
        preparing,
        scheduled,
    }
}

/// Id, unit, type, state, and the paths of job and unit.
type Job = (u32, String, String, String, OwnedObjectPath, OwnedObjectPath);

async fn starting(socket: &Path) -> zbus::Result<Vec<String>> {
    let stream = tokio::net::UnixStream::connect(socket).await?;
    let connection = Builder::unix_stream(stream).p2p().build().await?;
    let manager = Some("org.freedesktop.systemd1.Manager");
    let to = None::<&str>;
    let reply = connection
        .call_method(to, "/org/freedesktop/systemd1", manager, "ListJobs", &())
        .await?;
    let jobs: Vec<Job> = reply.body().deserialize()?;
    Ok(jobs
        .into_iter()
        .filter(|(_, _, kind, ..)| kind == "start")
        .map(|(_, unit, ..)| unit)
        .collect())
}

async fn logind(socket: &Path) -> zbus::Result<(bool, String)> {
    let stream = tokio::net::UnixStream::connect(socket).await?;
    let connection = Builder::unix_stream(stream).build().await?;
    let preparing = bool::try_from(logind_property(&connection, "PreparingForShutdown").await?)?;
    let (kind, _at) = <(String, u64)>::try_from(logind_property(&connection, "ScheduledShutdown").await?)?;
    Ok((preparing, kind))
}

async fn logind_property(connection: &Connection, name: &str) -> zbus::Result<OwnedValue> {
    let to = Some("org.freedesktop.login1");
    let properties = Some("org.freedesktop.DBus.Properties");
    let body = ("org.freedesktop.login1.Manager", name);
    let reply = connection
        .call_method(to, "/org/freedesktop/login1", properties, "Get", &body)
        .await?;
    reply.body().deserialize()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::{Job, PATIENCE, host_state};
    use crate::local::farewell::{HostState, farewell};
    use crate::message::Farewell;
    use std::path::{Path, PathBuf};
    use tokio::net::UnixListener;
    use zbus::Connection;
    use zbus::connection::Builder;
    use zbus::zvariant::OwnedObjectPath;

    /// A manager that speaks as systemd does on its private socket: no machine of ours has a systemd that could be
    /// told to shut down.
    struct Manager;

    #[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
    impl Manager {
        #[zbus(name = "ListJobs")]
        fn list_jobs(&self) -> Vec<Job> {
            let job = |id, unit: &str, kind: &str| {
                let path = OwnedObjectPath::try_from("/org/freedesktop/systemd1").unwrap();
                (
                    id,
                    unit.to_owned(),
                    kind.to_owned(),
                    "waiting".to_owned(),
                    path.clone(),
                    path,
                )
            };
            vec![
                job(1, "reboot.target", "start"),
                job(2, "kubelet.service", "stop"),
            ]
        }
    }

    /// The bus daemon, as far as one client needs it.
    struct Bus;

    #[zbus::interface(name = "org.freedesktop.DBus")]
    impl Bus {
        fn hello(&self) -> String {
            ":1.7".to_owned()
        }
    }

    /// logind on that bus: a power-off is scheduled, and inhibitors delay it.
    struct Login;

    #[zbus::interface(name = "org.freedesktop.login1.Manager")]
    impl Login {
        #[zbus(property)]
        fn preparing_for_shutdown(&self) -> bool {
            true
        }

        #[zbus(property)]
        fn scheduled_shutdown(&self) -> (String, u64) {
            ("poweroff".to_owned(), 1_800_000_000_000_000)
        }
    }

    struct Sockets {
        _directory: tempfile::TempDir,
        systemd: PathBuf,
        bus: PathBuf,
    }

    fn sockets() -> (Sockets, UnixListener, UnixListener) {
        let directory = tempfile::tempdir().unwrap();
        let (systemd, bus) = (directory.path().join("private"), directory.path().join("bus"));
        let listeners = [&systemd, &bus].map(|path| UnixListener::bind(path).unwrap());
        let [of_systemd, of_bus] = listeners;
        let sockets = Sockets {
            _directory: directory,
            systemd,
            bus,
        };
        (sockets, of_systemd, of_bus)
    }

    async fn systemd_answers(listener: &UnixListener) -> Connection {
        let server = server(listener).await;
        let server = server.serve_at("/org/freedesktop/systemd1", Manager).unwrap();
        server.build().await.unwrap()
    }

    async fn logind_answers(listener: &UnixListener) -> Connection {
        let server = server(listener).await;
        let server = server.serve_at("/org/freedesktop/DBus", Bus).unwrap();
        let server = server.serve_at("/org/freedesktop/login1", Login).unwrap();
        server.build().await.unwrap()
    }

    async fn server(listener: &UnixListener) -> Builder<'static> {
        let (stream, _) = listener.accept().await.unwrap();
        let server = Builder::unix_stream(stream).server(zbus::Guid::generate());
        server.unwrap().p2p()
    }

    #[tokio::test]
    async fn systemd_is_asked_for_start_jobs_and_logind_for_what_it_prepares() {
        let (sockets, systemd, bus) = sockets();
        let (_systemd, _logind, state) = tokio::join!(
            systemd_answers(&systemd),
            logind_answers(&bus),
            host_state(&sockets.systemd, &sockets.bus)
        );
        let expected = HostState {
            starting: Some(vec!["reboot.target".to_owned()]),
            preparing: Some(true),
            scheduled: Some("poweroff".to_owned()),
        };
        assert_eq!(state, expected);
    }

    #[tokio::test]
    async fn who_accepts_and_says_nothing_takes_nothing_from_the_other_and_does_not_hold_the_goodbye() {
        let (sockets, _silent, bus) = sockets();
        let asked = async { tokio::join!(logind_answers(&bus), host_state(&sockets.systemd, &sockets.bus)) };
        // Below the 5 s after which the kubelet kills, and yet time for a machine that is busy.
        let (_logind, state) = tokio::time::timeout(10 * PATIENCE, asked).await.unwrap();
        assert_eq!(state.starting, None);
        assert_eq!(farewell(&state), Farewell::PowerOff);
    }

    #[tokio::test]
    async fn a_host_without_systemd_says_nothing() {
        assert_eq!(
            host_state(Path::new("/nowhere"), Path::new("/nowhere")).await,
            HostState::default()
        );
    }
}
