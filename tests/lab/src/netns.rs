//! Network namespaces that cannot outlive the process that made them.
//!
//! A namespace is held by a file descriptor and not by a name under `/run/netns`: when the process ends, however it
//! ends, the kernel takes down the namespace with its links, addresses and filters. Nothing has to be swept.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::process::{self, Running};

/// How long [`Namespace::exec`] lets a command run.
const EXEC_LIMIT: Duration = Duration::from_secs(20);

/// A network namespace, open as long as this value or a process inside lives.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    fd: Arc<OwnedFd>,
}

impl Namespace {
    /// Makes a new namespace with its loopback up. The name is for messages; it gets this process's id.
    ///
    /// # Errors
    /// Without CAP_SYS_ADMIN.
    pub fn create(name: &str) -> Result<Self> {
        let name = format!("{name}-{}", std::process::id());
        let fd = std::thread::scope(|scope| scope.spawn(new_namespace).join())
            .map_err(|_| anyhow::anyhow!("the thread that makes namespace {name} panicked"))?
            .with_context(|| format!("making network namespace {name} (needs root)"))?;
        let namespace = Self {
            name,
            fd: Arc::new(fd),
        };
        namespace.exec(&["ip", "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// The namespace that a process lives in.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of_process(pid: u32) -> Result<Self> {
        Self::open(Path::new(&format!("/proc/{pid}/ns/net")))
    }

    /// A namespace by a path such as [`Namespace::path`] of another process gives.
    ///
    /// # Errors
    /// When nothing is there any more.
    pub fn open(path: &Path) -> Result<Self> {
        let fd = File::open(path).with_context(|| format!("opening network namespace {}", path.display()))?;
        Ok(Self {
            name: path.display().to_string(),
            fd: Arc::new(fd.into()),
        })
    }

    /// What messages call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A path that other processes (`nsenter --net=…`, `ip link … netns …`) can open while this value lives.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.fd.as_raw_fd()).into()
    }

    /// A command that will run inside and die with the *thread* that spawns it.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        process::die_with_parent(&mut command);
        self.enter_command(&mut command);
        command
    }

    /// Lets a command run inside.
    pub fn enter_command(&self, command: &mut Command) {
        enter_on_exec(command, Arc::clone(&self.fd));
    }

    /// Runs a command inside, for 20 seconds at most, and gives its standard output.
    ///
    /// # Errors
    /// When it cannot be started, fails (the error holds what it wrote) or takes too long (it is killed).
    pub fn exec(&self, argv: &[&str]) -> Result<String> {
        let (program, arguments) = argv.split_first().context("an empty command")?;
        let mut command = self.command(program);
        command.args(arguments);
        process::output(&mut command, EXEC_LIMIT).with_context(|| format!("in namespace {}", self.name))
    }

    /// Starts a command inside; it is killed when the value returned is dropped, or when this thread ends.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, argv: &[&str]) -> Result<Running> {
        let (program, arguments) = argv.split_first().context("an empty command")?;
        let mut command = self.command(program);
        command.args(arguments);
        Running::start(command).with_context(|| format!("in namespace {}", self.name))
    }

    /// Runs a closure inside, on a thread of its own: sockets that it opens belong to the namespace wherever they go.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or the closure panics.
    pub fn enter<T: Send>(&self, body: impl FnOnce() -> T + Send) -> Result<T> {
        let fd = self.fd.as_fd();
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || enter_here(fd).map(|()| body()));
            inside
                .join()
                .map_err(|_| anyhow::anyhow!("a closure in namespace {} panicked", self.name))
        })?
        .with_context(|| format!("entering network namespace {}", self.name))
    }

    /// Writes a sysctl under `net`, for example `net.ipv4.ip_forward`.
    ///
    /// # Errors
    /// When there is no such setting or it refuses the value.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        self.enter(|| std::fs::write(&path, value))?
            .with_context(|| format!("{path} = {value}"))
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A bridge `br0` inside a namespace: the switch that a lab's nodes hang on.
#[derive(Debug)]
pub struct Bridge<'a> {
    hub: &'a Namespace,
}

impl<'a> Bridge<'a> {
    /// Makes `br0` inside `hub`, with the hub's own address (`10.0.0.1/24`) on it.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn create(hub: &'a Namespace, address: &str) -> Result<Self> {
        hub.exec(&["ip", "link", "add", "br0", "type", "bridge"])?;
        add_address(hub, "br0", address)?;
        hub.exec(&["ip", "link", "set", "br0", "up"])?;
        Ok(Self { hub })
    }

    /// The bridge that [`Bridge::create`] made there earlier.
    #[must_use]
    pub fn existing(hub: &'a Namespace) -> Self {
        Self { hub }
    }

    /// Connects a namespace: a veth pair whose end `eth0` is inside with that address (`10.0.0.2/24`, or IPv6), and
    /// whose other end hangs on the bridge under the name given (15 bytes at most).
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn connect(&self, namespace: &Namespace, port: &str, address: &str) -> Result<()> {
        let inside = namespace.path().display().to_string();
        let add = [
            "ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", &inside,
        ];
        self.hub.exec(&add)?;
        self.hub
            .exec(&["ip", "link", "set", port, "master", "br0", "up"])?;
        add_address(namespace, "eth0", address)?;
        namespace.exec(&["ip", "link", "set", "eth0", "up"])?;
        Ok(())
    }

    /// Plugs or unplugs the cable of a port: its peer sees the carrier come or go.
    ///
    /// # Errors
    /// When there is no such port.
    pub fn set_link(&self, port: &str, up: bool) -> Result<()> {
        self.hub
            .exec(&["ip", "link", "set", port, if up { "up" } else { "down" }])?;
        Ok(())
    }
}

/// Adds an address to an interface; an IPv6 one is usable at once, without duplicate detection.
///
/// # Errors
/// When `ip` refuses.
pub fn add_address(namespace: &Namespace, interface: &str, address: &str) -> Result<()> {
    let mut argv = vec!["ip", "addr", "add", address, "dev", interface];
    if address.contains(':') {
        argv.push("nodad");
    }
    namespace.exec(&argv)?;
    Ok(())
}

/// Lets a command enter a network namespace between fork and exec.
fn enter_on_exec(command: &mut Command, fd: Arc<OwnedFd>) {
    let enter = move || enter_here(fd.as_fd());
    // SAFETY: the closure makes one system call and allocates nothing, which is all that is allowed after a fork.
    unsafe { command.pre_exec(enter) };
}

/// Moves the calling thread.
fn enter_here(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(move_into_link_name_space(fd, Some(LinkNameSpaceType::Network))?)
}

/// Unshares this (short-lived) thread's network and opens what it got.
fn new_namespace() -> io::Result<OwnedFd> {
    // SAFETY: only the calling thread's network namespace changes; no memory or descriptor table is unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    Ok(File::open("/proc/thread-self/ns/net")?.into())
}

/// A UDP socket that lives in the namespace, usable from any thread: what tests need most often.
///
/// # Errors
/// When the address cannot be bound there.
pub fn udp_socket(namespace: &Namespace, address: &str) -> Result<UdpSocket> {
    namespace
        .enter(|| UdpSocket::bind(address))?
        .with_context(|| format!("binding {address}"))
}
