//! The real-time thread as tokio knows it: the way to it, the way from it, and its end.

use std::io;
use std::thread::JoinHandle;

use anyhow::Context;
use detector::realtime::mailbox::{AsyncInbox, Inbox, Outbox, mailbox};
use detector::realtime::thread::{self, Scheduling};

/// A thread that runs.
pub(crate) struct Thread<In, Out> {
    inbox: Outbox<In>,
    outbox: AsyncInbox<Out>,
    running: JoinHandle<io::Result<()>>,
}

impl<In: Send + 'static, Out: Send + 'static> Thread<In, Out> {
    /// Starts what `body` makes of the thread's two mailboxes; `capacity` messages wait in each.
    pub(crate) fn start<Run>(
        name: &'static str,
        realtime: bool,
        capacity: usize,
        body: impl FnOnce(Inbox<In>, Outbox<Out>) -> Run,
    ) -> anyhow::Result<Self>
    where
        Run: FnOnce(&Scheduling) -> io::Result<()> + Send + 'static,
    {
        let (to_thread, inbox) = mailbox(capacity)?;
        let (outbox, from_thread) = mailbox(capacity)?;
        let run = body(inbox, outbox);
        let running = thread::start(name, realtime, move |scheduling| {
            tracing::info!(thread = name, %scheduling, "the real-time thread runs");
            run(&scheduling)
        })?;
        Ok(Self {
            inbox: to_thread,
            outbox: AsyncInbox::new(from_thread)?,
            running,
        })
    }

    /// Where messages to it are posted.
    pub(crate) const fn inbox(&self) -> &Outbox<In> {
        &self.inbox
    }

    /// What it says next. Safe to drop half-way; an error is for [`Self::silent`].
    pub(crate) async fn next(&mut self) -> io::Result<Out> {
        self.outbox.next().await
    }

    /// Waits until it has ended, as it was told to.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        match self.running.join() {
            Err(_) => anyhow::bail!("the real-time thread panicked"),
            Ok(ended) => ended.context("the mesh socket"),
        }
    }

    /// Why it is heard no more: without it this process is worse than none, as what it said last would stand for ever.
    pub(crate) fn silent(self, error: io::Error) -> anyhow::Error {
        if error.kind() != io::ErrorKind::BrokenPipe {
            return anyhow::Error::new(error).context("the real-time thread cannot be heard");
        }
        match self.end() {
            Err(error) => error,
            Ok(()) => anyhow::anyhow!("the real-time thread ended by itself"),
        }
    }
}
