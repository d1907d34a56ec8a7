//! IO: list, then watch, for ever: each kind of object trimmed as it is read.
#![expect(
    clippy::disallowed_methods,
    reason = "an IO file: silence of a watch is timed out"
)]

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use hyper::http::Request;
use kube::core::WatchEvent;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::clock;
use crate::kube::client::{Server, Servers};
use crate::kube::view::{Object, Page};
use crate::remedy::request::Http;

/// Objects a page: one answer of a few megabytes at most.
const PAGE: u32 = 500;

/// The server ends a watch after this time, and it goes on elsewhere.
const WATCH_SECONDS: u32 = 240;

/// Bookmarks come once a minute: a watch that is silent for longer is dead.
const SILENCE: Duration = Duration::from_secs(90);

/// A page must have come within this time.
const LIST_TIMEOUT: Duration = Duration::from_secs(15);

/// The pause after a failure; doubles up to [`MAX_PAUSE`].
const PAUSE: Duration = Duration::from_millis(100);

/// See [`PAUSE`].
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// What is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Path of the collection.
    pub path: String,
    /// Selectors, percent-encoded, `&`-separated; or empty.
    pub selectors: String,
}

/// What a watch shows.
#[derive(Clone, Debug)]
pub enum Change<T> {
    /// Everything that there is: what was known and is not in here is gone.
    All(Vec<T>),
    /// New, or changed.
    Applied(T),
    /// Gone.
    Gone(T),
}

/// Why a watch came to its end.
enum End {
    /// It goes on from where it was.
    Resume,
    /// What it knew is too old: list again.
    Relist,
    /// The server is not well.
    Failed(String),
}

/// Follows a collection until `sink` gives false.
pub async fn follow<T, F>(servers: Arc<Servers>, target: Target, mut sink: impl FnMut(Change<T>) -> F + Send)
where
    T: Object + Clone + DeserializeOwned + Send + 'static,
    F: Future<Output = bool> + Send,
{
    let mut version: Option<String> = None;
    let mut failures: u32 = 0;
    loop {
        let server = servers.pick(failures as usize);
        let end = match &version {
            None => match list(&server, &target).await {
                Ok((all, at)) => {
                    version = Some(at);
                    failures = 0;
                    if !sink(Change::All(all)).await {
                        return;
                    }
                    continue;
                }
                Err(reason) => End::Failed(reason),
            },
            Some(at) => {
                let mut at = at.clone();
                let end = watch(&server, &target, &mut at, &mut sink, &mut failures).await;
                version = Some(at);
                match end {
                    Some(end) => end,
                    None => return,
                }
            }
        };
        match end {
            // Never at once: a server that ends each watch as it begins would be asked without a pause.
            End::Resume => tokio::time::sleep(PAUSE).await,
            End::Relist => version = None,
            End::Failed(reason) => {
                tracing::warn!(path = target.path, reason, failures, "a watch is interrupted");
                let whole = PAUSE.saturating_mul(1 << failures.min(10)).min(MAX_PAUSE);
                let drawn = clock::random().unwrap_or(0) % 1_000;
                tokio::time::sleep(whole / 2 + whole / 2_000 * u32::try_from(drawn).unwrap_or(0)).await;
                failures = failures.saturating_add(1);
            }
        }
    }
}

async fn list<T: Object + DeserializeOwned>(
    server: &Server,
    target: &Target,
) -> Result<(Vec<T>, String), String> {
    let mut all = Vec::new();
    let mut next = String::new();
    loop {
        let mut path = format!("{}?limit={PAGE}", target.path);
        for more in [&target.selectors, &next]
            .into_iter()
            .filter(|more| !more.is_empty())
        {
            path = format!("{path}&{more}");
        }
        let http = Http {
            method: "GET",
            path,
            content_type: None,
            body: Value::Null,
        };
        let reply = server.send_within(&http, LIST_TIMEOUT).await?;
        if reply.code != 200 {
            return Err(format!("list: status {}", reply.code));
        }
        let page: Page<T> = serde_json::from_slice(&reply.body).map_err(|error| format!("list: {error}"))?;
        all.extend(page.items);
        if page.metadata.r#continue.is_empty() {
            return Ok((all, page.metadata.resource_version));
        }
        next = format!("continue={}", page.metadata.r#continue);
    }
}

/// None: the sink wants no more.
async fn watch<T, F>(
    server: &Server,
    target: &Target,
    version: &mut String,
    sink: &mut (impl FnMut(Change<T>) -> F + Send),
    failures: &mut u32,
) -> Option<End>
where
    T: Object + Clone + DeserializeOwned + Send + 'static,
    F: Future<Output = bool> + Send,
{
    let mut path = format!(
        "{}?watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={version}",
        target.path
    );
    if !target.selectors.is_empty() {
        path = format!("{path}&{}", target.selectors);
    }
    let request = match Request::get(path).body(Vec::new()) {
        Ok(request) => request,
        Err(error) => return Some(End::Failed(error.to_string())),
    };
    let mut renewed = server.renewed();
    let client = server.watches();
    let opened = tokio::select! {
        biased;
        _ = renewed.changed() => return Some(End::Resume),
        opened = tokio::time::timeout(LIST_TIMEOUT, client.request_events::<T>(request)) => opened,
    };
    let events = match opened {
        Ok(Ok(events)) => events,
        Ok(Err(kube::Error::Api(status))) if status.code == 410 => return Some(End::Relist),
        Ok(Err(error)) => {
            server.renew();
            return Some(End::Failed(error.to_string()));
        }
        Err(_) => {
            server.renew();
            return Some(End::Failed(String::from("no answer")));
        }
    };
    let mut events = std::pin::pin!(events);
    loop {
        let next = tokio::select! {
            biased;
            // It goes on where it was, on another server if there is one.
            _ = renewed.changed() => return Some(End::Resume),
            next = tokio::time::timeout(SILENCE, events.next()) => next,
        };
        let event = match next {
            Ok(Some(Ok(event))) => event,
            Ok(None) => return Some(End::Resume),
            Ok(Some(Err(kube::Error::Api(status)))) if status.code == 410 => return Some(End::Relist),
            Ok(Some(Err(error))) => return Some(End::Failed(error.to_string())),
            Err(_) => return Some(End::Failed(String::from("silence"))),
        };
        *failures = 0;
        let go_on = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                version.clone_from(&object.meta().resource_version);
                sink(Change::Applied(object)).await
            }
            WatchEvent::Deleted(object) => {
                version.clone_from(&object.meta().resource_version);
                sink(Change::Gone(object)).await
            }
            WatchEvent::Bookmark(bookmark) => {
                *version = bookmark.metadata.resource_version;
                true
            }
            WatchEvent::Error(status) if status.code == 410 => return Some(End::Relist),
            WatchEvent::Error(status) => return Some(End::Failed(status.to_string())),
        };
        if !go_on {
            return None;
        }
    }
}

#[cfg(test)]
mod tests;
