//! Where rosters come from: one small interface, behind which are a file or watches of ConfigMaps.

use thiserror::Error;

use super::Roster;

/// Gives a roster now, and again whenever it has changed.
pub trait Source: Send {
    /// The next roster: the first call gives the one of now, each later one waits for a change. An error leaves the
    /// last roster standing; the next call goes on.
    fn next(&mut self) -> impl Future<Output = Result<Roster, SourceError>> + Send;
}

/// No new roster.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("roster {from}: {problem}")]
pub struct SourceError {
    /// The file or object.
    pub from: String,
    /// What is wrong with it.
    pub problem: String,
}
