//! The measuring client: what a user of the cluster sees, a hundred times a second.
//!
//! Each request is a new TCP connection to the NodePort of one of the targets in turn, has 250 ms, and is not tried
//! again. It runs on a thread in a namespace of its own, as a machine beside the cluster.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::LocalSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::moment::Moment;
use crate::netns::Namespace;

/// Between two requests.
pub const PERIOD: Duration = Duration::from_millis(10);
/// What a request may take.
pub const LIMIT: Duration = Duration::from_millis(250);
/// An answer is a line; more is not read.
const MAX_ANSWER: usize = 4096;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Status 200, whole.
    Answered,
    /// Nothing, or not all, within 250 ms.
    TimedOut,
    /// Refused, reset, unreachable, or another status.
    Failed,
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// When it began.
    pub started: Moment,
    /// How long it took, ms.
    pub took_ms: f64,
    /// Whom it asked.
    pub target: SocketAddr,
    /// Its source port. A node translates what comes from the port of an earlier request, for a while, as it did that one.
    pub port: u16,
    /// What became of it.
    pub outcome: Outcome,
}

/// The failed requests around an event, in ms from it, by the time at which they began.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ErrorWindow {
    /// Requests that began after the event.
    pub sent: usize,
    /// Those that failed, with the ones that were under way at the event.
    pub failed: usize,
    /// When the first of these began; negative: it was under way.
    pub first_ms: Option<f64>,
    /// When the last of these began.
    pub last_ms: Option<f64>,
}

impl ErrorWindow {
    /// From what a client recorded.
    #[must_use]
    pub fn since(event: Moment, requests: &[Request]) -> Self {
        let mut window = Self::default();
        for request in requests {
            let at = request.started.ms_since(event);
            window.sent += usize::from(at >= 0.0);
            // What ended before the event had nothing to do with it.
            if request.outcome != Outcome::Answered && at + request.took_ms >= 0.0 {
                window.failed += 1;
                window.first_ms = Some(window.first_ms.map_or(at, |first| first.min(at)));
                window.last_ms = Some(window.last_ms.map_or(at, |last| last.max(at)));
            }
        }
        window
    }
}

/// A client that is sending.
#[derive(Debug)]
pub struct Client {
    targets: Arc<Mutex<Vec<SocketAddr>>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Request>>>,
}

impl Client {
    /// Starts sending from inside a namespace.
    ///
    /// # Errors
    /// Without targets.
    pub fn start(namespace: Namespace, targets: &[SocketAddr]) -> Result<Self> {
        if targets.is_empty() {
            bail!("a client needs at least one target");
        }
        let targets = Arc::new(Mutex::new(targets.to_vec()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (targets, stop) = (Arc::clone(&targets), Arc::clone(&stop));
            std::thread::spawn(move || namespace.enter(|| send(&targets, &stop))?)
        };
        Ok(Self {
            targets,
            stop,
            thread,
        })
    }

    /// Asks only these from now on: a load balancer before the cluster does not send to a node that is gone.
    pub fn set_targets(&self, targets: &[SocketAddr]) {
        *self.targets.lock().unwrap_or_else(PoisonError::into_inner) = targets.to_vec();
    }

    /// Stops it, waits for the last answers, and gives all requests by the time at which they began.
    ///
    /// # Errors
    /// When it could not send.
    pub fn stop(self) -> Result<Vec<Request>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut requests = self
            .thread
            .join()
            .map_err(|_| anyhow!("the client's thread panicked"))??;
        requests.sort_by_key(|request| request.started.monotonic_ns);
        Ok(requests)
    }
}

/// One request from inside a namespace.
///
/// # Errors
/// When the namespace cannot be entered.
pub fn request(namespace: &Namespace, target: SocketAddr) -> Result<Request> {
    namespace.enter(|| Ok(runtime()?.block_on(ask(target))))?
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("a runtime for the client")
}

fn send(targets: &Mutex<Vec<SocketAddr>>, stop: &AtomicBool) -> Result<Vec<Request>> {
    let requests = Rc::new(RefCell::new(Vec::new()));
    let local = LocalSet::new();
    local.block_on(&runtime()?, async {
        let mut ticks = interval(PERIOD);
        // After a stall of this machine no burst follows: that would be another load than the one promised.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut turn = 0_usize;
        while !stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            let target = {
                let targets = targets.lock().unwrap_or_else(PoisonError::into_inner);
                targets
                    .get(turn.checked_rem(targets.len()).unwrap_or_default())
                    .copied()
            };
            turn = turn.wrapping_add(1);
            let Some(target) = target else { continue };
            let requests = Rc::clone(&requests);
            tokio::task::spawn_local(async move {
                let done = ask(target).await;
                requests.borrow_mut().push(done);
            });
        }
        tokio::time::sleep(LIMIT * 2).await;
    });
    Ok(requests.take())
}

async fn ask(target: SocketAddr) -> Request {
    let (started, clock) = (Moment::now(), Instant::now());
    let (outcome, port) = match Connection::new() {
        Err(_) => (Outcome::Failed, 0),
        Ok(connection) => {
            let outcome = match timeout(LIMIT, get(connection.socket, target)).await {
                Err(_) => Outcome::TimedOut,
                Ok(Ok(answer)) if is_ok(&answer) => Outcome::Answered,
                Ok(_) => Outcome::Failed,
            };
            (outcome, port_of(&connection.same))
        }
    };
    Request {
        started,
        took_ms: clock.elapsed().as_secs_f64() * 1e3,
        target,
        port,
        outcome,
    }
}

/// A socket that is going to be connected, and a second descriptor of it: a connection that does not come about leaves
/// nothing else to ask for its port.
struct Connection {
    socket: TcpSocket,
    same: OwnedFd,
}

impl Connection {
    fn new() -> std::io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        let same = socket.as_fd().try_clone_to_owned()?;
        Ok(Self { socket, same })
    }
}

/// 0 where it has none yet.
fn port_of(socket: &OwnedFd) -> u16 {
    let address = rustix::net::getsockname(socket).ok();
    let address = address.and_then(|address| SocketAddr::try_from(address).ok());
    address.map_or(0, |address| address.port())
}

/// Asks a target until every one of so many pods has answered through it, as its proxy knows them only then.
///
/// # Errors
/// When fewer have answered within the limit.
pub fn await_pods(namespace: &Namespace, target: SocketAddr, count: usize, limit: Duration) -> Result<()> {
    let asked = async {
        let mut seen = BTreeSet::new();
        let deadline = Instant::now() + limit;
        while seen.len() < count && Instant::now() < deadline {
            match timeout(LIMIT, get(TcpSocket::new_v4()?, target)).await {
                Ok(Ok(answer)) if is_ok(&answer) => drop(seen.insert(body(&answer))),
                _ => tokio::time::sleep(PERIOD).await,
            }
        }
        anyhow::Ok(seen)
    };
    let seen = namespace.enter(|| runtime()?.block_on(asked))??;
    if seen.len() < count {
        bail!(
            "{target} answers for {} of {count} pods after {} s: {seen:?}",
            seen.len(),
            limit.as_secs()
        );
    }
    Ok(())
}

async fn get(socket: TcpSocket, target: SocketAddr) -> std::io::Result<Vec<u8>> {
    let mut stream = socket.connect(target).await?;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    while answer.len() < MAX_ANSWER && stream.read_buf(&mut answer).await? > 0 {}
    Ok(answer)
}

fn is_ok(answer: &[u8]) -> bool {
    answer.starts_with(b"HTTP/1.1 200 ")
}

/// What follows the headers: the name of the pod.
fn body(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    text.rsplit_once("\r\n\r\n")
        .map(|(_, body)| body.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64, took_ms: f64, outcome: Outcome) -> Request {
        let started = Moment {
            monotonic_ns: ms * 1_000_000,
            boottime_ns: 0,
            unix_ns: 0,
        };
        Request {
            started,
            took_ms,
            target: SocketAddr::from(([10, 0, 0, 1], 80)),
            port: 1,
            outcome,
        }
    }

    #[test]
    fn the_window_holds_what_failed_because_of_the_event() {
        let requests = [
            at(100, 250.0, Outcome::TimedOut), // over before the event: another story
            at(900, 250.0, Outcome::TimedOut), // under way
            at(1010, 1.0, Outcome::Answered),
            at(1020, 0.5, Outcome::Failed),
            at(1130, 1.0, Outcome::Answered),
        ];
        let event = Moment {
            monotonic_ns: 1_000_000_000,
            boottime_ns: 0,
            unix_ns: 0,
        };
        let window = ErrorWindow::since(event, &requests);
        let expected = ErrorWindow {
            sent: 3,
            failed: 2,
            first_ms: Some(-100.0),
            last_ms: Some(20.0),
        };
        assert_eq!(window, expected);
    }
}
