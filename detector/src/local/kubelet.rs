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
    use super::{KubeletHealth, poll};
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

    async fn answers(status: &'static str) -> bool {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 256];
            let _read = stream.read(&mut request).await.unwrap();
            stream
                .write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes())
                .await
                .unwrap();
        };
        tokio::join!(serve, poll(address)).1
    }

    #[tokio::test]
    async fn only_a_200_is_healthy() {
        assert!(answers("200 OK").await);
        assert!(!answers("500 Internal Server Error").await);
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        assert!(!poll(closed).await);
    }
}
