//! From a verdict to the writes that move its pods: what is irreversible comes last.

pub mod command;
pub mod ledger;
pub mod object;
