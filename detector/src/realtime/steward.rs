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
            while let Some(command) = self.steward.poll_command() {
                match command {
                    StewardCommand::Judged(judgement) => {
                        self.outbox.post(FromSteward::Judged(Box::new(judgement)));
                    }
                    StewardCommand::Fellow(fellow) => _ = self.outbox.post(FromSteward::Fellow(fellow)),
                    StewardCommand::Datagram(transmit) => _ = self.socket.send(transmit.to, &transmit.bytes),
                }
            }
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
}
