//! IO: the steward's loop on the real-time thread: reports in, judgements out.

use serde::Serialize;

use detector_common::packet::{VERSION, kind};

use super::mailbox::{Inbox, Outbox};
use super::socket::MeshSocket;
use super::thread::Scheduling;
use super::wait::wait;
use super::{BATCH, MAX_DATAGRAM};
use crate::clock;
use crate::identity::MemberId;
use crate::judgement::{Ask, Judgement};
use crate::steward::{Members, Steward, StewardCommand, StewardStatus};

/// What tokio tells the thread.
pub enum ToSteward {
    /// The roster has changed.
    Roster(Box<Members>),
    /// What the remedy asks.
    Ask(Ask),
    /// Tell [`FromSteward::Status`].
    Status,
    /// End.
    Stop,
}

/// What the thread tells tokio.
pub enum FromSteward {
    /// For the remedy.
    Judged(Box<Judgement>),
    /// Another steward greeted.
    Fellow(MemberId),
    /// The socket fails over and over; it is tried again all the time.
    SocketFault(std::io::Error),
    /// As asked for.
    Status(Box<StewardSnapshot>),
}

/// Everything that `detector status` shows of a steward's real-time half.
#[derive(Debug, Serialize)]
pub struct StewardSnapshot {
    /// The thread's scheduling.
    pub scheduling: String,
    /// Judgements that found the mailbox full.
    pub dropped: u64,
    /// Errors at the socket that were skipped: ICMP's answers to earlier datagrams, mostly.
    pub socket_errors: u64,
    /// The error that the socket meets over and over, while it does: nothing is received.
    pub socket_fault: Option<String>,
    /// The machine.
    #[serde(flatten)]
    pub steward: StewardStatus,
}

/// The loop's parts.
pub struct StewardLoop {
    /// The machine.
    pub steward: Steward,
    /// The mesh socket, on the steward's port.
    pub socket: MeshSocket,
    /// From tokio.
    pub inbox: Inbox<ToSteward>,
    /// To tokio.
    pub outbox: Outbox<FromSteward>,
}

impl StewardLoop {
    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn run(mut self, scheduling: &Scheduling) -> std::io::Result<()> {
        loop {
            // 1. All that has arrived, so that evidence is judged with what speaks against it.
            self.receive()?;
            if let Some(fault) = self.socket.untold_fault() {
                self.outbox.post(FromSteward::SocketFault(fault));
            }
            // 2. What tokio wants.
            self.inbox.hush();
            while let Some(message) = self.inbox.take() {
                let now = clock::now();
                match message {
                    ToSteward::Roster(members) => self.steward.handle_members(*members, now),
                    ToSteward::Ask(ask) => self.steward.handle_ask(&ask, now),
                    ToSteward::Status => {
                        let snapshot = StewardSnapshot {
                            scheduling: scheduling.to_string(),
                            dropped: self.outbox.dropped(),
                            socket_errors: self.socket.skipped(),
                            socket_fault: self.socket.fault().map(|fault| fault.to_string()),
                            steward: self.steward.status(now),
                        };
                        self.outbox.post(FromSteward::Status(Box::new(snapshot)));
                    }
                    ToSteward::Stop => return Ok(()),
                }
            }
            // 3. What is due.
            self.steward.handle_timeout(clock::now());
            // 4. What is to be said and sent.
            self.carry_out();
            // 5. The deadline is armed after all state has changed.
            wait(&self.socket, &self.inbox, self.steward.poll_timeout());
        }
    }

    fn receive(&mut self) -> std::io::Result<()> {
        let mut buffer = [0_u8; MAX_DATAGRAM];
        for _ in 0..BATCH {
            let Some((length, _)) = self.socket.receive(&mut buffer)? else {
                return Ok(());
            };
            if let Some(datagram @ [VERSION, kind::SEALED, ..]) = buffer.get(..length) {
                // Refusals are counted by the channel.
                self.steward.handle_sealed(datagram, clock::now());
            }
        }
        Ok(())
    }

    fn carry_out(&mut self) {
        while let Some(command) = self.steward.poll_command() {
            match command {
                StewardCommand::Judged(judgement) => self.tell(judgement),
                StewardCommand::Fellow(fellow) => _ = self.outbox.post(FromSteward::Fellow(fellow)),
                StewardCommand::Datagram(transmit) => _ = self.socket.send(transmit.to, &transmit.bytes),
            }
        }
    }

    /// A verdict that finds the mailbox full is told again. Looks and good rounds the remedy asks for again where they
    /// do not come; early warnings and holds change nothing that is written.
    fn tell(&mut self, judgement: Judgement) {
        let verdict_on = match judgement {
            Judgement::Changed { subject, .. } => Some(subject),
            _ => None,
        };
        let posted = self.outbox.post(FromSteward::Judged(Box::new(judgement)));
        if let (false, Some(subject)) = (posted, verdict_on) {
            self.steward.handle_untold(subject);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        clippy::disallowed_methods,
        reason = "a test may panic, and gives up after a while"
    )]
    use super::{FromSteward, StewardLoop, ToSteward};
    use crate::clock;
    use crate::identity::MemberId;
    use crate::judgement::Judgement;
    use crate::profile::Profile;
    use crate::realtime::mailbox::{AsyncInbox, Inbox, Outbox, mailbox};
    use crate::realtime::socket::MeshSocket;
    use crate::realtime::thread::Scheduling;
    use crate::steward::{Steward, greeted_steward};
    use crate::time::Instant;
    use socket2::{Domain, Socket, Type};
    use std::fs::File;
    use std::time::Duration;

    fn parts(steward: Steward, capacity: usize) -> (StewardLoop, Outbox<ToSteward>, Inbox<FromSteward>) {
        let (to_thread, inbox) = mailbox(8).unwrap();
        let (outbox, from_thread) = mailbox(capacity).unwrap();
        let parts = StewardLoop {
            steward,
            socket: MeshSocket::bind(0).unwrap(),
            inbox,
            outbox,
        };
        (parts, to_thread, from_thread)
    }

    #[test]
    fn a_verdict_that_found_the_mailbox_full_is_told_again() {
        let (steward, subject, mut now) = greeted_steward();
        let (mut parts, _to_thread, from_thread) = parts(steward, 1);
        // Nothing of this leaves the host.
        parts.socket.replace(&File::open("/dev/null").unwrap()).unwrap();
        assert!(parts.outbox.post(FromSteward::Fellow(MemberId(9))));
        parts.carry_out();
        assert!(parts.outbox.dropped() > 0, "there was a verdict to tell");
        assert!(matches!(from_thread.take(), Some(FromSteward::Fellow(_))));
        let is_verdict = |told: FromSteward| match told {
            FromSteward::Judged(judgement) => {
                matches!(*judgement, Judgement::Changed { subject: of, .. } if of == subject)
            }
            _ => false,
        };
        // Longer than a sweep of all members takes.
        let until = now + Duration::from_secs(5);
        let mut times = 0;
        while now < until {
            now = parts.steward.poll_timeout().max(Instant(now.0 + 1));
            parts.steward.handle_timeout(now);
            parts.carry_out();
            times += usize::from(from_thread.take().is_some_and(is_verdict));
        }
        assert_eq!(times, 1);
    }

    /// A SCHED_FIFO thread that spins would take its CPU from everything else.
    #[test]
    fn a_socket_that_fails_does_not_make_the_thread_spin_and_is_told() {
        let steward = Steward::new(MemberId(1), 1, 700, Profile::LAN, clock::now());
        let (parts, to_thread, from_thread) = parts(steward, 8);
        // ENOTCONN, for ever; and poll returns for it at once.
        let stream = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        parts.socket.replace(&stream).unwrap();
        let thread = std::thread::spawn(move || parts.run(&Scheduling::Normal(String::new())));
        let mut faults = Vec::new();
        let mut errors_at = |wait: Duration| {
            std::thread::sleep(wait);
            assert!(to_thread.post(ToSteward::Status));
            loop {
                match from_thread.take() {
                    Some(FromSteward::Status(snapshot)) => break snapshot,
                    Some(FromSteward::SocketFault(fault)) => faults.push(fault.raw_os_error()),
                    Some(_) => {}
                    None => std::thread::sleep(Duration::from_millis(1)),
                }
            }
        };
        let [first, last] = [Duration::from_millis(200), Duration::from_secs(1)].map(&mut errors_at);
        assert!(
            last.socket_fault
                .as_ref()
                .is_some_and(|fault| fault.contains("not connected"))
        );
        assert_eq!(faults, [Some(libc::ENOTCONN)]);
        // 32 errors a turn; in a second 50 turns, those of the steward's own deadlines, and ours.
        let errors = last.socket_errors - first.socket_errors;
        assert!((32..=32 * 200).contains(&errors), "{errors} errors in a second");
        assert!(to_thread.post(ToSteward::Stop));
        thread.join().unwrap().unwrap();
    }

    /// The thread ends with its socket, and tokio's side hears of it.
    #[tokio::test]
    async fn the_end_of_the_thread_is_told() {
        let steward = Steward::new(MemberId(1), 1, 700, Profile::LAN, clock::now());
        let (parts, _to_thread, from_thread) = parts(steward, 8);
        let mut from_thread = AsyncInbox::new(from_thread).unwrap();
        parts.socket.replace(&File::open("/dev/null").unwrap()).unwrap();
        let ended = parts.run(&Scheduling::Normal(String::new()));
        assert_eq!(ended.unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));
        let told = tokio::time::timeout(Duration::from_secs(20), from_thread.next()).await;
        assert_eq!(
            told.unwrap().err().unwrap().kind(),
            std::io::ErrorKind::BrokenPipe
        );
    }
}
