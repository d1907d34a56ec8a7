//! The kubelet's polls, in a task of their own: a healthz that hangs holds up no goodbye.
#![expect(
    clippy::disallowed_methods,
    reason = "a shell is IO: the polls are a task, and wait for their time"
)]

use std::net::SocketAddr;

use detector::local::kubelet::{INTERVAL, KubeletHealth, poll};
use tokio::sync::watch;

/// Whether the kubelet is down, as of the last poll; false without an address. Changes are told; where nobody polls
/// there are none, and the sending side is closed.
pub(crate) fn watch(address: Option<SocketAddr>) -> watch::Receiver<bool> {
    let (told, heard) = watch::channel(false);
    if let Some(address) = address {
        tokio::spawn(async move {
            let mut polls = tokio::time::interval(INTERVAL);
            let mut health = KubeletHealth::default();
            while !told.is_closed() {
                polls.tick().await;
                let down = health.handle_poll(poll(address).await);
                told.send_if_modified(|last| std::mem::replace(last, down) != down);
            }
        });
    }
    heard
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_healthz_that_hangs_is_told_and_holds_up_nothing() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut down = super::watch(Some(listener.local_addr().unwrap()));
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 256];
        let _read = stream.read(&mut request).await.unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
        // From now on the kernel takes connections, and nobody answers. Whoever waits for the change may stop at any
        // moment, as a select does.
        let told = async {
            while tokio::time::timeout(Duration::from_millis(10), down.changed())
                .await
                .is_err()
            {}
            *down.borrow_and_update()
        };
        assert!(tokio::time::timeout(Duration::from_secs(30), told).await.unwrap());
    }

    #[tokio::test]
    async fn where_nobody_polls_nothing_changes() {
        assert!(super::watch(None).changed().await.is_err());
    }
}
