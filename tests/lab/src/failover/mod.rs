//! A node's power is cut, and what follows is written down: by the stewards (incident records), by the API server
//! (watches), and by a client of the pods. One such run is what the demo shows, the bench counts and the test checks.

pub mod record;
pub mod round;
pub mod sightings;
pub mod timeline;

pub use record::incidents;
pub use round::{Goal, Round, await_alive};
pub use sightings::Watcher;
pub use timeline::Timeline;
