//! IO: carries out what the remedy decided. Each try has half a second and asks the verdict again; then another
//! connection; then it gives up loudly.
#![expect(
    clippy::disallowed_methods,
    reason = "an IO file: each call is a task, tries are spaced"
)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use crate::clock;
use crate::kube::client::Servers;
use crate::kube::reply::{self, Try};
use crate::remedy::command::{ApiEvent, Call, Outcome, Request};
use crate::remedy::request::http;
use crate::remedy::verdicts::Verdicts;

/// Tries of one call: with their pauses about five seconds in all.
const MAX_TRIES: u32 = 6;

/// The pause before the second try; doubles, up to [`MAX_PAUSE`], and half of it is drawn.
const PAUSE: Duration = Duration::from_millis(20);

/// See [`PAUSE`].
const MAX_PAUSE: Duration = Duration::from_millis(1_000);

/// Marks, deletes, conditions and Events at once: more do not make it faster on two cores, and the API server counts
/// each as a seat.
const MANY: usize = 16;

/// Ledger, taints, slices and reads at once.
const SWIFT: usize = 32;

/// Calls on their way or waiting: marks of 500 nodes of 30 pods, and something to spare. What is beyond is refused.
const MAX_OPEN: usize = 20_000;

/// The writer.
pub struct Writer {
    servers: Arc<Servers>,
    verdicts: Arc<Mutex<Verdicts>>,
    instance: String,
    answers: mpsc::Sender<ApiEvent>,
    swift: Semaphore,
    many: Semaphore,
    open: AtomicUsize,
}

impl Writer {
    /// `verdicts`: kept true by whoever hears the judge; `instance`: this steward, in Events.
    #[must_use]
    pub fn new(
        servers: Arc<Servers>,
        verdicts: Arc<Mutex<Verdicts>>,
        instance: String,
        answers: mpsc::Sender<ApiEvent>,
    ) -> Arc<Self> {
        Arc::new(Self {
            servers,
            verdicts,
            instance,
            answers,
            swift: Semaphore::new(SWIFT),
            many: Semaphore::new(MANY),
            open: AtomicUsize::new(0),
        })
    }

    /// Begins a call; its answer comes through the channel.
    pub fn carry_out(self: &Arc<Self>, request: Request) {
        let writer = Arc::clone(self);
        let open = self.open.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let (tries, outcome) = if open < MAX_OPEN {
                writer.run(&request).await
            } else {
                (
                    0,
                    Outcome::GaveUp(format!("{MAX_OPEN} calls are waiting already")),
                )
            };
            writer.open.fetch_sub(1, Ordering::Relaxed);
            if let Outcome::GaveUp(reason) | Outcome::Refused(reason) = &outcome {
                tracing::error!(incident = %request.incident, call = ?request.call, reason, tries, "not done");
            }
            let answer = ApiEvent::Answered {
                id: request.id,
                tries,
                outcome,
            };
            // Nobody listens: the steward is ending.
            let _ended = writer.answers.send(answer).await;
        });
    }

    fn may(&self, request: &Request) -> bool {
        let verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        request
            .guard
            .is_none_or(|guard| verdicts.allow(&guard, clock::now()))
    }

    async fn run(&self, request: &Request) -> (u32, Outcome) {
        let lane = match request.call {
            Call::Mark { .. } | Call::Delete { .. } | Call::Condition { .. } | Call::Event { .. } => {
                &self.many
            }
            _ => &self.swift,
        };
        // Never closed.
        let _seat = lane.acquire().await;
        let http = http(&request.call, &self.instance);
        let mut last = String::new();
        for tried in 0..MAX_TRIES {
            if tried > 1 {
                // The second try follows at once: its connection is another one.
                tokio::time::sleep(pause(tried - 1, clock::random().unwrap_or(u64::MAX))).await;
            }
            if !self.may(request) {
                return (tried, Outcome::Stale);
            }
            let server = self.servers.pick(usize::from(tried > 0) * tried as usize);
            let tried_now = match server.send(&http).await {
                Ok(reply) => reply::read(&request.call, reply.code, &reply.body),
                Err(reason) => Try::Again(reason),
            };
            match tried_now {
                Try::Final(outcome) => return (tried + 1, outcome),
                Try::Again(reason) => {
                    tracing::warn!(call = ?request.call, tried, reason, "another try");
                    last = reason;
                }
            }
        }
        (MAX_TRIES, Outcome::GaveUp(last))
    }
}

/// The pause before try `n`, half of it drawn: who fails together does not return together.
pub(super) fn pause(n: u32, drawn: u64) -> Duration {
    let whole = PAUSE
        .saturating_mul(1_u32.checked_shl(n).unwrap_or(u32::MAX))
        .min(MAX_PAUSE);
    let half = whole / 2;
    let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
    half + Duration::from_nanos(drawn % nanos)
}

#[cfg(test)]
mod tests;
