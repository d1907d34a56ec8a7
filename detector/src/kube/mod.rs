//! Kubernetes, asked and written to: the counterpart of [`crate::remedy`], which decides.
//!
//! ```text
//!  API servers ──watch──▶ view ──▶ steward ──▶ remedy ──▶ writer ──▶ API servers
//!       ▲                            │  └──────▶ publish (roster) ──▶ writer
//!       └── client: warm connections, a fresh one where a try found none
//! ```
//!
//! Pure in here: [`view`] (what of an object is kept), [`reply`] (what an answer means), [`publish`] (what the roster's
//! ConfigMaps should hold), [`rights`] (what may be asked at all). The rest is IO.

pub mod agent;
pub mod client;
pub mod publish;
pub mod reply;
pub mod rights;
pub mod steward;
pub mod view;
pub mod watch;
pub mod writer;

#[cfg(test)]
mod double;
