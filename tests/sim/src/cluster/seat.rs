//! A steward's other half: the remedy, and the writer between it and the API.

use std::collections::VecDeque;

use detector::identity::MemberId;
use detector::profile::WRITE_TIMEOUT;
use detector::remedy::Remedy;
use detector::remedy::command::{ApiEvent, Outcome, Request, RequestId};
use detector::remedy::verdicts::Verdicts;

use super::fault::Mishap;
use crate::network::End;

/// Steward → API server, and back, in nanoseconds: a warm PATCH takes 5.9 ms.
pub(super) const TO_API: u64 = 3_000_000;

/// An event of a watch reaches its steward after this time.
pub(super) const WATCH: u64 = 4_000_000;

/// A try that nobody answers, in nanoseconds.
pub(super) const TRY: u64 = WRITE_TIMEOUT.as_millis() as u64 * 1_000_000;

/// The writer gives up after so many tries.
pub(super) const TRIES: u32 = 6;

/// Milliseconds since the epoch at the beginning of each run.
pub(super) const EPOCH_MS: u64 = 1_800_000_000_000;

/// One of the three stewards.
pub struct Seat {
    /// Where it runs.
    pub host: u32,
    /// Its starts so far: what was sent to an earlier one is nothing to a later one.
    pub start: u32,
    /// Its id, of this start.
    pub id: MemberId,
    /// None: killed.
    pub remedy: Option<Remedy>,
    /// What the writer asks before each try.
    pub verdicts: Verdicts,
    /// Watch events that it has not seen.
    pub unseen: VecDeque<ApiEvent>,
    /// Writes of this start that the API server carried out.
    pub writes: u64,
    /// What befalls it right after which of them.
    pub mishap: Option<(u64, Mishap)>,
    /// The world's time of the wake that counts.
    pub wake: u64,
}

impl Seat {
    /// Where its real-time half runs.
    #[must_use]
    pub const fn end(&self) -> End {
        End::steward(self.host)
    }
}

/// A request on its way.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// Whose.
    pub seat: usize,
    /// Of which start.
    pub start: u32,
    /// What.
    pub request: Request,
    /// This one included.
    pub tries: u32,
}

/// An answer on its way.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    /// To whom.
    pub seat: usize,
    /// To which start.
    pub start: u32,
    /// To which request.
    pub id: RequestId,
    /// After so many.
    pub tries: u32,
    /// How it ended.
    pub outcome: Outcome,
}
