//! An API server for tests: a loopback socket that answers each request as its scenario says, and remembers it.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test's server: tasks, and failing by panicking"
)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::kube::client::Servers;

/// How one request is met.
#[derive(Clone, Debug)]
pub(super) enum Scenario {
    /// An answer.
    Answer(u16, String),
    /// No answer, as long as the other side waits.
    Silence,
    /// The connection is closed.
    Close,
    /// The lines of a watch, each at once; then the stream ends.
    Lines(Vec<String>),
    /// The same, but the stream stays open without a word.
    Held(Vec<String>),
}

/// What happened.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Method and path of each request.
    pub(super) requests: Vec<String>,
    /// Silent connections that the other side has closed.
    pub(super) abandoned: usize,
}

pub(super) struct Double {
    pub(super) seen: Arc<Mutex<Seen>>,
    pub(super) servers: Arc<Servers>,
}

impl Double {
    /// Meets requests in this order, the last one over and over.
    pub(super) async fn start(scenarios: Vec<Scenario>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let left = Arc::new(Mutex::new(VecDeque::from(scenarios)));
        let of_server = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&of_server), Arc::clone(&left)));
            }
        });
        let file = tempfile::NamedTempFile::new().unwrap();
        let config = format!(
            "{{apiVersion: v1, kind: Config, current-context: c, contexts: [{{name: c, context: {{cluster: c, user: u}}}}], \
             clusters: [{{name: c, cluster: {{server: \"http://{address}\"}}}}], users: [{{name: u, user: {{}}}}]}}"
        );
        std::fs::write(file.path(), config).unwrap();
        let servers = Servers::connect(Some(file.path())).await.unwrap();
        Self { seen, servers }
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().requests.clone()
    }
}

async fn serve(stream: TcpStream, seen: Arc<Mutex<Seen>>, left: Arc<Mutex<VecDeque<Scenario>>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut first = String::new();
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            if first.is_empty() {
                first = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        seen.lock().unwrap().requests.push(first);
        let scenario = {
            let mut left = left.lock().unwrap();
            let next = left.front().cloned();
            if left.len() > 1 {
                left.pop_front();
            }
            next
        };
        match scenario {
            Some(Scenario::Answer(code, body)) => {
                let head = format!(
                    "HTTP/1.1 {code} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                let _closed = stream
                    .get_mut()
                    .write_all(format!("{head}{body}").as_bytes())
                    .await;
            }
            Some(scenario @ (Scenario::Lines(_) | Scenario::Held(_))) => {
                let (lines, held) = match scenario {
                    Scenario::Held(lines) => (lines, true),
                    Scenario::Lines(lines) => (lines, false),
                    _ => return,
                };
                let head = "HTTP/1.1 200 x\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
                let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
                let _closed = stream
                    .get_mut()
                    .write_all(format!("{head}{body}").as_bytes())
                    .await;
                if held {
                    let mut byte = [0];
                    let wait = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut byte));
                    let _closed = wait.await;
                }
                return;
            }
            Some(Scenario::Silence) => {
                let mut byte = [0];
                let wait = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut byte));
                if matches!(wait.await, Ok(Ok(0) | Err(_))) {
                    seen.lock().unwrap().abandoned += 1;
                }
                return;
            }
            Some(Scenario::Close) | None => return,
        }
    }
}
