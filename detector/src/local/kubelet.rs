//! The kubelet's healthz: one poll a second, and the rule that makes a verdict of polls.
#![expect(
    clippy::disallowed_methods,
    reason = "an IO file: a poll may not take for ever"
)]

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

/// Between two polls.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// A poll that takes longer has failed.
const PATIENCE: Duration = Duration::from_millis(900);

/// Failed polls in a row that make a kubelet down: its restart takes about two seconds, and is none of our business.
const FAILURES: u32 = 3;

/// The rule (pure): down after [`FAILURES`] in a row, up at the first success. A kubelet that was never seen up is
/// not called down: there may be none here.
#[derive(Clone, Copy, Debug, Default)]
pub struct KubeletHealth {
    seen: bool,
    failures: u32,
}

impl KubeletHealth {
    /// Takes one poll's result; whether the kubelet is down now.
    pub fn handle_poll(&mut self, healthy: bool) -> bool {
        self.seen |= healthy;
        self.failures = if healthy {
            0
        } else {
            self.failures.saturating_add(1)
        };
        self.is_down()
    }

    /// Whether the kubelet is down.
    #[must_use]
    pub const fn is_down(&self) -> bool {
        self.seen && self.failures >= FAILURES
    }
}

/// Asks once; anything but a 200 in time is a failure.
pub async fn poll(address: SocketAddr) -> bool {
    tokio::time::timeout(PATIENCE, ask(address))
        .await
        .is_ok_and(|answer| answer.is_ok_and(|ok| ok))
}

async fn ask(address: SocketAddr) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = hyper::Request::get("/healthz")
        .header(hyper::header::HOST, address.to_string())
        .body(Empty::<Bytes>::new())?;
    let mut answer = pin!(sender.send_request(request));
    // The connection is driven here, within this poll's time. A server may close it with its answer: both are ready
    // then.
    let answer = tokio::select! {
        answer = &mut answer => answer?,
        ended = connection => { ended?; answer.await? }
    };
    Ok(answer.status() == hyper::StatusCode::OK)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::{INTERVAL, KubeletHealth, PATIENCE, poll};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn three_failures_in_a_row_and_only_after_a_success() {
        let mut never = KubeletHealth::default();
        assert!((0..10).all(|_| !never.handle_poll(false)));
        let mut health = KubeletHealth::default();
        let polls = [true, false, false, true, false, false, false, false, true];
        let down = polls.map(|healthy| health.handle_poll(healthy));
        assert_eq!(
            down,
            [false, false, false, false, false, false, true, true, false]
        );
    }

    /// Polls a server that reads the request and answers with these bytes; closed or left open after them.
    async fn answered(bytes: &[u8], close: bool) -> bool {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 256];
            let length = stream.read(&mut request).await.unwrap();
            assert!(
                request
                    .get(..length)
                    .unwrap()
                    .starts_with(b"GET /healthz HTTP/1.1\r\n")
            );
            stream.write_all(bytes).await.unwrap();
            (!close).then_some(stream)
        };
        tokio::join!(serve, poll(address)).1
    }

    #[tokio::test]
    async fn only_a_200_is_healthy() {
        for close in [false, true] {
            for (answer, healthy) in [
                ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", true),
                ("HTTP/1.1 204 No Content\r\n\r\n", false),
                (
                    "HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
                    false,
                ),
                (
                    "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
                    false,
                ),
                ("200 OK, says something that is no HTTP server\r\n\r\n", false),
            ] {
                assert_eq!(answered(answer.as_bytes(), close).await, healthy, "{answer}");
            }
        }
        assert!(!answered(b"", true).await, "closed without a word");
        assert!(!answered(&[0xff; 600], true).await, "garbage");
    }

    #[tokio::test]
    async fn a_port_without_a_listener_is_a_failure() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = listener.local_addr().unwrap();
        drop(listener);
        assert!(!poll(closed).await);
    }

    /// Accepted by the kernel, read by nobody: a poll ends before the next one is due.
    #[tokio::test]
    async fn a_kubelet_that_hangs_is_a_failure_in_time() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let polled = tokio::time::timeout(10 * PATIENCE, poll(address)).await;
        assert_eq!(polled, Ok(false));
        const { assert!(PATIENCE.as_nanos() < INTERVAL.as_nanos()) };
        // Half an answer is none.
        assert!(!answered(b"HTTP/1.1 200 OK\r\ncontent-le", false).await);
    }
}
