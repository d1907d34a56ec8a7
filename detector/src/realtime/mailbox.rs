//! IO: the way between tokio and the real-time thread: a bounded queue of the standard library, and an eventfd to
//! wake the other side.
//!
//! Neither side can block the other: posting to a full queue drops and counts, taking from an empty one returns, and
//! waking is one system call. (A tokio channel would take the scheduler's lock to wake its receiver.) The end of the
//! posting side rings too: nobody waits for a thread that is no more.

use std::io::{Error, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use rustix::event::{EventfdFlags, eventfd};
use tokio::io::unix::AsyncFd;

/// The posting side. Clones share the queue.
pub struct Outbox<T> {
    // Before the bell: fields are dropped in this order, and who is woken by the drop must find the queue closed.
    queue: SyncSender<T>,
    bell: Bell,
    dropped: Arc<AtomicU64>,
}

/// Rings when it is told to, and when it is dropped.
#[derive(Clone)]
struct Bell(Arc<OwnedFd>);

impl Bell {
    fn ring(&self) {
        // Fails only when the counter is at its end (EAGAIN), and then the bell rings already.
        let _full = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.ring();
    }
}

/// The taking side.
pub struct Inbox<T> {
    queue: Receiver<T>,
    bell: Arc<OwnedFd>,
}

/// A queue of this many messages.
///
/// # Errors
/// No file descriptor is left.
pub fn mailbox<T>(capacity: usize) -> std::io::Result<(Outbox<T>, Inbox<T>)> {
    let (sender, receiver) = sync_channel(capacity);
    let bell = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
    let outbox = Outbox {
        queue: sender,
        bell: Bell(Arc::clone(&bell)),
        dropped: Arc::default(),
    };
    Ok((
        outbox,
        Inbox {
            queue: receiver,
            bell,
        },
    ))
}

impl<T> Clone for Outbox<T> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            bell: self.bell.clone(),
            dropped: Arc::clone(&self.dropped),
        }
    }
}

impl<T> Outbox<T> {
    /// Posts and wakes; `false`: the queue was full or nobody takes any more, and the drop was counted.
    pub fn post(&self, message: T) -> bool {
        let posted = self.queue.try_send(message).is_ok();
        if !posted {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        self.bell.ring();
        posted
    }

    /// Messages dropped so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl<T> Inbox<T> {
    /// Silences the bell. To be called before the queue is emptied, or a message may wait for the next one.
    pub fn hush(&self) {
        let mut count = [0; 8];
        // EAGAIN: it did not ring.
        let _silent = rustix::io::read(&*self.bell, &mut count);
    }

    /// The next message.
    pub fn take(&self) -> Option<T> {
        self.queue.try_recv().ok()
    }
}

/// The taking side within tokio.
pub struct AsyncInbox<T>(AsyncFd<Inbox<T>>);

impl<T> AsyncInbox<T> {
    /// Registers the bell with the current runtime.
    ///
    /// # Errors
    /// The runtime's poll set refuses it.
    pub fn new(inbox: Inbox<T>) -> std::io::Result<Self> {
        // SAFETY: the descriptor that `Inbox` names is its eventfd, the same one for as long as the inbox lives, and
        // the inbox is moved into the registration: it is closed only after it was taken out of the poll set.
        unsafe { AsyncFd::register(inbox) }.map(Self).map_err(Error::from)
    }

    /// The next message; waits for it. Safe to drop half-way: a message is taken only when it is returned.
    ///
    /// # Errors
    /// [`ErrorKind::BrokenPipe`]: all was taken, and the posting side has ended. Else the runtime is shutting down.
    pub async fn next(&mut self) -> std::io::Result<T> {
        loop {
            match self.0.get_ref().queue.try_recv() {
                Ok(message) => return Ok(message),
                Err(TryRecvError::Disconnected) => {
                    return Err(Error::new(ErrorKind::BrokenPipe, "the posting side has ended"));
                }
                Err(TryRecvError::Empty) => {}
            }
            let mut ready = self.0.readable().await?;
            ready.get_inner().hush();
            ready.clear_ready();
            drop(ready);
        }
    }
}

impl<T> AsFd for Inbox<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

impl<T> AsRawFd for Inbox<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.bell.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        clippy::disallowed_methods,
        reason = "a test may panic, and gives up after a while"
    )]
    use super::{AsyncInbox, Inbox, mailbox};
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::io::ErrorKind;
    use std::time::Duration;

    /// Nothing that is awaited here takes so long.
    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (outbox, inbox) = mailbox(2).unwrap();
        assert_eq!([1, 2, 3].map(|n| outbox.post(n)), [true, true, false]);
        assert_eq!(outbox.dropped(), 1);
        inbox.hush();
        assert_eq!(
            [inbox.take(), inbox.take(), inbox.take()],
            [Some(1), Some(2), None]
        );
    }

    #[test]
    fn clones_share_the_queue_and_the_count() {
        let (outbox, inbox) = mailbox(1).unwrap();
        let clone = outbox.clone();
        assert_eq!([outbox.post(1), clone.post(2)], [true, false]);
        assert_eq!([outbox.dropped(), clone.dropped()], [1, 1]);
        assert_eq!(inbox.take(), Some(1));
        drop(inbox);
        // Nobody takes any more: no panic, and no silence.
        assert!(!clone.post(3));
        assert_eq!(outbox.dropped(), 2);
    }

    /// Whether poll finds the bell ringing.
    fn rings<T>(inbox: &Inbox<T>) -> bool {
        let mut bell = [PollFd::new(inbox, PollFlags::IN)];
        poll(&mut bell, Some(&Timespec::default())).unwrap() == 1
    }

    #[test]
    fn the_bell_rings_from_a_post_until_it_is_hushed_dropped_or_not() {
        let (outbox, inbox) = mailbox(1).unwrap();
        assert!(!rings(&inbox));
        for posted in [true, false] {
            assert_eq!(outbox.post(()), posted);
            // Taking does not hush: who empties the queue hushes first, and then finds what was posted meanwhile.
            assert!(rings(&inbox));
            inbox.hush();
            assert!(!rings(&inbox));
            inbox.hush();
        }
    }

    #[tokio::test]
    async fn a_post_wakes_the_reactor() {
        let (outbox, inbox) = mailbox(8).unwrap();
        let mut inbox = AsyncInbox::new(inbox).unwrap();
        #[expect(
            clippy::disallowed_methods,
            reason = "the other side of the mailbox is a thread"
        )]
        let thread = std::thread::spawn(move || [7, 8].map(|n| outbox.post(n)));
        assert_eq!([inbox.next().await.unwrap(), inbox.next().await.unwrap()], [7, 8]);
        assert_eq!(thread.join().unwrap(), [true, true]);
    }

    /// Also while somebody already waits: a thread that dies must not go unnoticed.
    #[tokio::test]
    async fn the_end_of_the_posting_side_is_told_after_its_last_message() {
        let (outbox, inbox) = mailbox(8).unwrap();
        let mut inbox = AsyncInbox::new(inbox).unwrap();
        let clone = outbox.clone();
        let ends = async {
            tokio::task::yield_now().await;
            drop(outbox);
            tokio::task::yield_now().await;
            clone.post("last");
            drop(clone);
        };
        let ((), last) = tokio::join!(ends, inbox.next());
        assert_eq!(last.unwrap(), "last");
        let told = tokio::time::timeout(PATIENCE, inbox.next()).await;
        assert_eq!(told.unwrap().unwrap_err().kind(), ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_the_end() {
        let (outbox, inbox) = mailbox::<()>(8).unwrap();
        let mut inbox = AsyncInbox::new(inbox).unwrap();
        let ends = async {
            tokio::task::yield_now().await;
            drop(outbox);
        };
        let waits = tokio::time::timeout(PATIENCE, inbox.next());
        let (told, ()) = tokio::join!(waits, ends);
        assert_eq!(told.unwrap().unwrap_err().kind(), ErrorKind::BrokenPipe);
    }

    /// More wait than one ring of the bell tells.
    #[tokio::test]
    async fn all_that_is_posted_is_taken_in_order() {
        let (outbox, inbox) = mailbox(64).unwrap();
        let mut inbox = AsyncInbox::new(inbox).unwrap();
        for round in 0..3 {
            (0..64).for_each(|n| assert!(outbox.post((round, n))));
            for n in 0..64 {
                assert_eq!(inbox.next().await.unwrap(), (round, n));
            }
        }
    }
}
