//! Keys of everybody, and the static roster that names them.

use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result};
use detector::clock;
use detector::disk::StateDir;

use super::files::Files;
use super::places::{Place, Role};

/// Makes a key on each host's disk, as `detector keygen` does, and writes the roster.
pub(super) fn write(files: &Files, places: &[Place]) -> Result<()> {
    let mut text = String::new();
    for place in places {
        let state = StateDir::open(&files.state(&place.name))?;
        let key = state.keygen(&place.name, clock::random_key()?)?;
        let Place { name, address, .. } = place;
        match place.role {
            Role::Agent => write!(
                text,
                "[[members]]\nname = \"{name}\"\naddresses = [\"{address}\"]\npublic_key = \"{key}\"\n\n"
            )?,
            Role::Steward => write!(
                text,
                "[[stewards]]\nname = \"{name}\"\nnode = \"{name}\"\naddress = \"{}\"\npublic_key = \"{key}\"\n\n",
                place.steward_socket()
            )?,
        }
    }
    let path = files.roster();
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}
